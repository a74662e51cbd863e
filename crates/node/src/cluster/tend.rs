//! What the map asks of the copies of this node: to come in, to go, to say that they are lost.
//!
//! Holds: a copy comes in, or goes, at most once at a time, and a bounded number of them together.
//! What is reported is what holds under the map that the copies act under at that moment, again
//! and again until the map shows that it was heard.
//!
//! Does not know: how copies come in, where reports go.

use super::{Cluster, over, report};
use crate::repair::{TakenIn, leave, take_in};
use parking_lot::Mutex;
use shoal_core::control::Report;
use shoal_core::ids::Incarnation;
use shoal_core::map::{ClusterMap, Keyspace, Partition, Place};
use shoal_core::{Epoch, PartitionId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// How many copies come in or go at a time.
const AT_ONCE: usize = 16;
/// How often copies are looked through when nothing happens.
const EVERY: Duration = Duration::from_secs(1);

/// Which copy.
type Which = (Incarnation, PartitionId);

/// What was done for the copies.
pub(crate) struct Tending {
    done: Mutex<Done>,
    /// Something is to be looked at.
    wake: Notify,
    permits: Arc<Semaphore>,
}

#[derive(Default)]
struct Done {
    /// Copies that have proven themselves, and under which epoch.
    proven: BTreeMap<Which, Epoch>,
    /// Copies that are gone, and since which epoch.
    gone: BTreeMap<Which, Epoch>,
    /// Copies for which something is being done.
    busy: BTreeSet<Which>,
}

impl Default for Tending {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        Self { done: Mutex::default(), wake: Notify::new(), permits }
    }
}

impl Tending {
    /// The map or a copy has changed.
    pub(super) fn look(&self) {
        self.wake.notify_one();
    }
}

/// Tends the copies until the node stops.
pub(super) async fn run(cluster: Arc<Cluster>) {
    let mut stop = cluster.stop.subscribe();
    loop {
        let map = cluster.custody.map();
        let reports = look_through(&cluster, &map);
        report::set(&cluster, reports);
        tokio::select! {
            () = cluster.tending.wake.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
            () = over(&mut stop) => return,
        }
    }
}

/// Begins what is to be done, and says what there is to report.
fn look_through(cluster: &Arc<Cluster>, map: &ClusterMap) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut done = cluster.tending.done.lock();
    for keyspace in map.keyspaces.values() {
        for (id, partition) in (0..).map(PartitionId).zip(&keyspace.partitions) {
            if partition.names(cluster.me) {
                let report = tend(cluster, &mut done, keyspace, id, partition);
                reports.extend(report);
            }
        }
    }
    let is_named = |(incarnation, id): &Which| {
        let mut all = map.keyspaces.values();
        let keyspace = all.find(|keyspace| keyspace.incarnation == *incarnation);
        let partition = keyspace.and_then(|found| found.partitions.get(usize::from(id.0)));
        partition.is_some_and(|partition| partition.names(cluster.me))
    };
    done.proven.retain(|which, _| is_named(which));
    done.gone.retain(|which, _| is_named(which));
    reports
}

fn tend(
    cluster: &Arc<Cluster>,
    done: &mut Done,
    keyspace: &Keyspace,
    id: PartitionId,
    partition: &Partition,
) -> Option<Report> {
    let (node, which) = (cluster.me, (keyspace.incarnation, id));
    let place = Place { keyspace: keyspace.incarnation, partition: id, epoch: partition.epoch };
    let is_leaving = !partition.has_node(node);
    let is_coming = partition.next.iter().any(|member| member.node == node);
    if is_leaving && done.gone.get(&which) == Some(&partition.epoch) {
        return Some(Report::Forgotten { node, place });
    }
    if !is_leaving && !is_coming && partition.next.is_empty() {
        let copy = cluster.custody.copies().find(keyspace.incarnation, id)?;
        return copy.is_lost().then_some(Report::Lost { node, place });
    }
    let copy = cluster.custody.copies().find(keyspace.incarnation, id)?;
    if copy.is_lost() {
        return Some(Report::Lost { node, place });
    }
    if is_coming && done.proven.get(&which) == Some(&partition.epoch) {
        return Some(Report::Proven { node, place });
    }
    if (is_coming || is_leaving) && done.busy.insert(which) {
        let (cluster, slots) = (Arc::clone(cluster), keyspace.partitioning.slots_of(id));
        let runtime = cluster.runtime.clone();
        runtime.spawn(async move {
            // Nobody closes it.
            let permit = cluster.tending.permits.acquire().await;
            let coordinator = &cluster.coordinator;
            // What is done counts under these owners. Where others come meanwhile it is begun anew.
            let epoch = copy.owners().epoch;
            let is_done = if is_leaving {
                let _held = permit;
                leave(coordinator, &copy, which.0, slots).await
            } else {
                take_in(coordinator, &copy, which.0, slots, permit).await == TakenIn::Proven
            };
            let mut done = cluster.tending.done.lock();
            done.busy.remove(&which);
            if is_done {
                let kept = if is_leaving { &mut done.gone } else { &mut done.proven };
                kept.insert(which, epoch);
            }
            drop(done);
            cluster.tending.look();
        });
    }
    None
}
