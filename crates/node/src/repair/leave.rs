//! How a copy goes that the map does not name any more: it hands over what it alone may have, and
//! then forgets everything.
//!
//! Holds: nothing is removed before every owner has, or has something newer than, everything that
//! was read here; what lies below an owner's floor was purged there and is not wanted. What an
//! owner has already is not sent again: it is asked about ranks first.
//!
//! Does not know: whom it is reported to.

use super::counts::one_more;
use super::talk::{SILENCE, Said, Talk};
use crate::coordinator::Coordinator;
use crate::replicas::PartitionCopy;
use shoal_core::NodeId;
use shoal_core::clock::Stamp;
use shoal_core::ids::Incarnation;
use shoal_core::quorum::{Ask, Item, Origin, Reply};
use shoal_core::replica::Floor;
use shoal_core::slot::Slot;
use std::ops::Range;
use std::sync::Arc;

/// How many records are handed over together.
const AT_ONCE: usize = 64;
/// How many records are on their way to one owner.
const WINDOW: usize = 8;
/// A floor that no copy ever has: the question which records are covered is about no round then.
const NO_ROUND: Floor = Floor(Stamp(u64::MAX));

/// Lets go of a partition; whether nothing is left of it here. Where it did not come to that, for
/// an owner could not be asked, it is to be begun again later. May be dropped at any time.
pub(crate) async fn leave(
    coordinator: &Arc<Coordinator>,
    copy: &Arc<PartitionCopy>,
    keyspace: Incarnation,
    slots: Range<u16>,
) -> bool {
    for slot in slots.filter_map(Slot::new) {
        if !hand_over(coordinator, copy, keyspace, slot).await {
            return false;
        }
    }
    let copy = Arc::clone(copy);
    let forgotten = coordinator.blocking().spawn_blocking(move || copy.forget()).await;
    matches!(forgotten, Ok(Ok(true)))
}

/// Whether every owner has what is here in `slot`.
async fn hand_over(
    coordinator: &Arc<Coordinator>,
    copy: &Arc<PartitionCopy>,
    keyspace: Incarnation,
    slot: Slot,
) -> bool {
    let mut after = None;
    loop {
        let (read, from) = (Arc::clone(copy), after.take());
        let legacy = coordinator.blocking().spawn_blocking(move || {
            let from: Option<bytes::Bytes> = from;
            read.legacy(slot, from.as_deref(), AT_ONCE)
        });
        let Ok(Ok(Some(legacy))) = legacy.await else { return false };
        let Some(last) = legacy.items.last() else { return true };
        after = Some(last.key.clone());
        let owners = copy.owners();
        if owners.epoch != legacy.epoch {
            return false;
        }
        let mut talk = Talk::new(coordinator, keyspace, owners.epoch);
        for owner in owners.nodes() {
            let lacking = lacking(&mut talk, owner, slot, &legacy.items).await;
            if !push(coordinator, &mut talk, owner, slot, lacking, legacy.floor).await {
                return false;
            }
        }
    }
}

/// What of `items` an owner does not say that it has: all, where it cannot say.
async fn lacking<'i>(
    talk: &mut Talk,
    owner: NodeId,
    slot: Slot,
    items: &'i [Item],
) -> Vec<&'i Item> {
    let ranks = items.iter().map(|item| (item.key.clone(), item.record.borrow().rank()));
    talk.ask(owner, slot, 0, Ask::Prove { round: NO_ROUND, dead: ranks.collect() });
    let covered = match talk.hear(SILENCE).await {
        Said::Answer(answer) => match answer.reply {
            Reply::Proven(covered) => covered,
            _ => Vec::new(),
        },
        Said::Failed | Said::Nothing => Vec::new(),
    };
    let covered = covered.into_iter().chain(std::iter::repeat(false));
    items.iter().zip(covered).filter(|(_, covered)| !covered).map(|(item, _)| item).collect()
}

/// Whether an owner took all of `items`, or does not want them.
async fn push(
    coordinator: &Coordinator,
    talk: &mut Talk,
    owner: NodeId,
    slot: Slot,
    items: Vec<&Item>,
    floor: Floor,
) -> bool {
    let mut items = items.into_iter();
    loop {
        while talk.under_way() < WINDOW
            && let Some(item) = items.next()
        {
            let take =
                Ask::Take { items: Arc::from([item.clone()]), origin: Origin::Kept { floor } };
            talk.ask(owner, slot, 1, take);
        }
        if talk.under_way() == 0 {
            return true;
        }
        let Said::Answer(answer) = talk.hear(SILENCE).await else { return false };
        match answer.reply {
            // A late word about what was asked before, by an owner that was given up.
            _ if answer.round != 1 || answer.node() != owner => {}
            Reply::Accepted => one_more(&coordinator.repairs().leaving_pushed),
            Reply::Newer(_) | Reply::BelowFloor(_) | Reply::BelowMark(_) => {}
            _ => return false,
        }
    }
}
