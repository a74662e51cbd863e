//! What goes on beside requests so that copies become and stay alike: hints are delivered, owners
//! compare what they hold, dead records are purged once all have proven them, copies that come in
//! take over what the present owners hold, and copies that go hand over what they alone have.
//!
//! Holds: everything is asked by the same messages as a request's, under the same epochs, so that
//! nothing here can do what a request could not. Everything is slow on purpose: a bounded number of
//! questions at a time, and rests in between that grow with the work.
//!
//! Does not know: who decides that owners change, and when.

mod counts;
mod hints;
mod intake;
mod leave;
mod purge;
mod store;
mod sync;
mod talk;

#[cfg(test)]
mod tests;

pub(crate) use counts::{RepairCounts, more, one_more};
pub(crate) use intake::{TakenIn, take_in};
pub(crate) use leave::leave;
pub(crate) use store::HintStore;

use crate::coordinator::Coordinator;
use shoal_core::ids::{Epoch, Incarnation};
use shoal_core::map::{ClusterMap, Eviction};
use shoal_core::version::Millis;
use shoal_core::{NodeId, PartitionId};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Says which map the copies of this node act under.
pub(crate) type Maps = Arc<dyn Fn() -> Arc<ClusterMap> + Send + Sync>;

/// How often, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// How often owners compare what they hold.
    pub(crate) sync_interval: Duration,
    /// How long after a change of the map, or after a node came back, they do so beside that: what
    /// hints and clients do by themselves is done by then.
    pub(crate) settle: Duration,
    /// How often dead records are looked for.
    pub(crate) purge_interval: Duration,
    /// How long a record has been dead, and is kept, before it may be purged.
    pub(crate) purge_delay: Duration,
    /// How many hints this node delivers in a second, at most.
    pub(crate) hints_per_second: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_interval: Duration::from_secs(60),
            settle: Duration::from_secs(15),
            purge_interval: Duration::from_secs(60),
            purge_delay: Duration::from_secs(600),
            hints_per_second: 4_000,
        }
    }
}

/// Delivers hints, compares and purges, until `stop` turns true or nobody can turn it any more.
/// The routes know the present map already.
pub(crate) async fn run(
    coordinator: Arc<Coordinator>,
    maps: Maps,
    stop: watch::Receiver<bool>,
    options: Options,
) {
    let hints = hints::run(Arc::clone(&coordinator), stop.clone(), options);
    let sync = sync::run(Arc::clone(&coordinator), Arc::clone(&maps), stop.clone(), options);
    let purge = purge::run(coordinator, maps, stop, options);
    tokio::join!(hints, sync, purge);
}

/// Waits; whether it is time to stop.
async fn rest(stop: &mut watch::Receiver<bool>, time: Duration) -> bool {
    tokio::select! {
        () = sleep(time) => false,
        _said_or_nobody_left = stop.wait_for(|stopped| *stopped) => true,
    }
}

/// The same, as long in comparison to the work since `began` as is good for whoever else wants the
/// disk and the network.
async fn rest_from_work(stop: &mut watch::Receiver<bool>, began: Instant) -> bool {
    const PER_WORK: u32 = 2;
    const AT_LEAST: Duration = Duration::from_millis(20);
    rest(stop, (began.elapsed() * PER_WORK).max(AT_LEAST)).await
}

/// One partition that this node is an owner of.
struct Ground {
    keyspace: Incarnation,
    partition: PartitionId,
    slots: Range<u16>,
    epoch: Epoch,
    /// Whether keys go by themselves when there is no room.
    evicts: bool,
    /// How long older events may still come, where the keyspace accepts event time.
    event_horizon_ms: Option<Millis>,
    /// Whether some node that left has not forgotten yet what it held.
    has_leavers: bool,
}

/// What `me` is a present owner of, with no change under way.
fn grounds(map: &ClusterMap, me: NodeId) -> Vec<Ground> {
    let mut grounds = Vec::new();
    for keyspace in map.keyspaces.values() {
        let options = &keyspace.options;
        for (id, partition) in (0..).map(PartitionId).zip(&keyspace.partitions) {
            let is_owner = partition.replicas.iter().any(|member| member.node == me);
            if is_owner && !partition.is_moving() {
                grounds.push(Ground {
                    keyspace: keyspace.incarnation,
                    partition: id,
                    slots: keyspace.partitioning.slots_of(id),
                    epoch: partition.epoch,
                    evicts: options.eviction != Eviction::None,
                    event_horizon_ms: keyspace
                        .accepts_event_time
                        .then_some(options.event_horizon_ms),
                    has_leavers: !partition.outgoing.is_empty(),
                });
            }
        }
    }
    grounds
}
