//! How dead records go: rounds of proven purge, begun by the first owner of a partition.
//!
//! Holds: a round begins only where the owners do not change, nobody who left still holds anything,
//! and every owner is up; and for what has been dead for the purge delay. One partition at a time,
//! with a rest in between that grows with the work.
//!
//! Does not know: what is proven and how, which is `shoal_core::repair::Purge`.

use super::counts::{more, one_more};
use super::talk::{SILENCE, Said, Talk};
use super::{Ground, Maps, Options, grounds, rest, rest_from_work};
use crate::coordinator::Coordinator;
use crate::replicas::PartitionCopy;
use shoal_core::clock::Stamp;
use shoal_core::quorum::{Ask, Member, Owners, Reply};
use shoal_core::repair::{Purge, PurgeEffect};
use shoal_core::replica::Floor;
use shoal_core::slot::Slot;
use shoal_core::version::Millis;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Purges until `stop` turns true.
pub(super) async fn run(
    coordinator: Arc<Coordinator>,
    maps: Maps,
    mut stop: watch::Receiver<bool>,
    options: Options,
) {
    loop {
        if rest(&mut stop, options.purge_interval).await {
            return;
        }
        if pass(&coordinator, &maps, &mut stop, options.purge_delay).await {
            return;
        }
    }
}

/// Goes through what this node is the first owner of; whether it is time to stop.
async fn pass(
    coordinator: &Arc<Coordinator>,
    maps: &Maps,
    stop: &mut watch::Receiver<bool>,
    delay: Duration,
) -> bool {
    for ground in grounds(&maps(), coordinator.own_id()) {
        let Some(copy) = coordinator.copies().find(ground.keyspace, ground.partition) else {
            continue;
        };
        let owners = copy.owners();
        if owners.epoch != ground.epoch || owners.replicas.first() != Some(&copy.member()) {
            continue;
        }
        let all_up = owners.replicas.iter().all(|member| coordinator.believes_up(member.node));
        if !all_up || ground.has_leavers || !owners.next.is_empty() {
            one_more(&coordinator.repairs().purge_put_off);
            continue;
        }
        let began = Instant::now();
        tokio::select! {
            () = round(coordinator, &ground, &copy, &owners, delay) => {}
            _said_or_nobody_left = stop.wait_for(|stopped| *stopped) => return true,
        }
        if rest_from_work(stop, began).await {
            return true;
        }
    }
    false
}

/// One round, to its end.
async fn round(
    coordinator: &Arc<Coordinator>,
    ground: &Ground,
    copy: &PartitionCopy,
    owners: &Owners,
    delay: Duration,
) {
    let counts = coordinator.repairs();
    let mut talk = Talk::new(coordinator, ground.keyspace, ground.epoch);
    let slots = ground.slots.clone().filter_map(Slot::new);
    // What is kept of most slots says that nothing in them ever dies: they need no look.
    let slots: Vec<Slot> = slots.filter(|slot| copy.may_hold_dead(*slot)).collect();
    let (Some(me), Some(first)) = (owners.replicas.first(), slots.first().copied()) else { return };
    let Some(floor) = floor(coordinator, &mut talk, *me, first, delay).await else { return };
    one_more(&counts.purge_rounds);
    let mut out = Vec::new();
    let replicas = owners.replicas.clone();
    let mut purge =
        Purge::start(me.node, replicas, slots, floor, ground.event_horizon_ms, &mut out);
    if ground.evicts {
        purge = purge.among_evicting();
    }
    loop {
        for effect in out.drain(..) {
            match effect {
                PurgeEffect::Send { to, slot, round, ask } => talk.ask(to, slot, round, ask),
                PurgeEffect::Over { purged, broken_off } => {
                    more(&counts.purged, usize::try_from(purged).unwrap_or(usize::MAX));
                    if broken_off {
                        one_more(&counts.purge_failures);
                    }
                    return;
                }
            }
        }
        let Said::Answer(answer) = talk.hear(SILENCE).await else {
            return one_more(&counts.purge_failures);
        };
        purge.answered(&answer, &mut out);
    }
}

/// The floor of the next round, above the own one, if it is old enough.
async fn floor(
    coordinator: &Coordinator,
    talk: &mut Talk,
    me: Member,
    slot: Slot,
    delay: Duration,
) -> Option<Floor> {
    talk.ask(me.node, slot, 0, Ask::Floors);
    let Said::Answer(answer) = talk.hear(SILENCE).await else { return None };
    let Reply::Floors { floor, .. } = answer.reply else { return None };
    let delay_ms = Millis::try_from(delay.as_millis()).unwrap_or(Millis::MAX);
    let upto_ms = coordinator.moment().wall_ms().saturating_sub(delay_ms);
    let next = Floor(Stamp::start_of(upto_ms));
    (next > floor).then_some(next)
}
