//! The hints that this node keeps, by partition, and what repair may know of the coordinator.
//!
//! Holds: a bounded number for each partition, and a bounded number of bytes for all of them; what
//! has no room is left to comparison. Those of keyspaces on disk are on the disk too, once there is
//! a [`HintStore`]. The bytes that are kept are the hints' own, so that they hold on to no message.
//!
//! Does not know: when hints are delivered, and how fast.

use super::{Coordinator, Request};
use crate::repair::{HintStore, RepairCounts, more, one_more};
use crate::replicas::ShelfError;
use bytes::Bytes;
use parking_lot::Mutex;
use shoal_core::clock::Stamp;
use shoal_core::ids::Incarnation;
use shoal_core::quorum::{Answer, Item, Reply};
use shoal_core::record::OwnedBody;
use shoal_core::repair::{Delivery, Hints};
use shoal_core::{NodeId, PartitionId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// The most hints kept for one partition.
const MOST: usize = 10_000;
/// The most bytes of hints in this node.
const MOST_BYTES: usize = 64 << 20;
/// In how many slots copies come in at a time, all of them together: each holds pages of several
/// sources in memory.
const INTAKES_AT_ONCE: usize = 32;

/// A partition in one life of its keyspace.
type Place = (Incarnation, PartitionId);

/// Hints of every partition, and what repair counts.
pub(super) struct Hinted {
    kept: Mutex<Kept>,
    store: OnceLock<HintStore>,
    counts: Arc<RepairCounts>,
    intakes: Arc<Semaphore>,
}

#[derive(Default)]
struct Kept {
    groups: BTreeMap<Place, Group>,
    bytes: usize,
}

/// The hints of one partition.
struct Group {
    hints: Hints,
    /// Deliveries that are not answered: for whom, to whom, of which key.
    under_way: BTreeSet<(NodeId, NodeId, Bytes)>,
    /// Where the next deliveries for a target begin.
    after: BTreeMap<NodeId, Bytes>,
}

impl Default for Hinted {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            store: OnceLock::new(),
            counts: Arc::default(),
            intakes: Arc::new(Semaphore::new(INTAKES_AT_ONCE)),
        }
    }
}

impl Default for Group {
    fn default() -> Self {
        Self { hints: Hints::bounded(MOST), under_way: BTreeSet::new(), after: BTreeMap::new() }
    }
}

impl Hinted {
    /// Keeps `items` for `target`, as far as there is room.
    fn keep(&self, place: Place, target: NodeId, items: &[Item], is_new: bool) {
        let mut kept = self.kept.lock();
        let Kept { groups, bytes } = &mut *kept;
        let group = groups.entry(place).or_default();
        for item in items {
            let before = group.hints.bytes();
            let has_room = *bytes + Hints::cost(item) <= MOST_BYTES;
            if !has_room || !group.hints.keep(target, &own(item)) {
                // Else something newer is kept already.
                if !has_room || group.hints.len() >= MOST {
                    one_more(&self.counts.hints_no_room);
                }
                continue;
            }
            *bytes = *bytes - before + group.hints.bytes();
            if !is_new {
                one_more(&self.counts.hints_restored);
                continue;
            }
            one_more(&self.counts.hints_kept);
            let store = self.store.get();
            if store.is_some_and(|store| store.keep(place.0, place.1, target, item).is_err()) {
                one_more(&self.counts.hints_unwritten);
            }
        }
        if group.hints.is_empty() {
            groups.remove(&place);
        }
    }

    /// Drops everything that is kept for a partition.
    fn void(&self, kept: &mut Kept, place: Place) {
        let Some(group) = kept.groups.remove(&place) else { return };
        kept.bytes -= group.hints.bytes();
        more(&self.counts.hints_void, group.hints.len());
        for (target, key, _) in group.hints.iter() {
            self.unwrite(place, target, key);
        }
    }

    fn unwrite(&self, place: Place, target: NodeId, key: &[u8]) {
        if let Some(store) = self.store.get() {
            // One that stays is delivered once more after a restart.
            let _stays = store.drop_hint(place.0, place.1, target, key);
        }
    }
}

impl Coordinator {
    /// How many hints are kept.
    pub(crate) fn hints(&self) -> usize {
        self.hints.kept.lock().groups.values().map(|group| group.hints.len()).sum()
    }

    /// About how many bytes they take.
    pub(crate) fn hint_bytes(&self) -> usize {
        self.hints.kept.lock().bytes
    }

    /// Takes in what `store` has kept, and keeps hints there from now on. To be called once, and
    /// before anything is hinted or delivered. Blocks.
    ///
    /// # Errors
    /// The engine's: hints are kept in memory alone then.
    pub(crate) fn restore_hints(&self, store: HintStore) -> Result<(), ShelfError> {
        let damaged = store.load(|kept| {
            let place = (kept.keyspace, kept.partition);
            self.hints.keep(place, kept.target, &[kept.item], false);
        })?;
        if damaged > 0 {
            tracing::warn!(damaged, "hints on the disk are damaged and were passed over");
        }
        let _is_set_once = self.hints.store.set(store);
        Ok(())
    }

    /// What repair has done.
    pub(crate) const fn repairs(&self) -> &Arc<RepairCounts> {
        &self.hints.counts
    }

    /// Bounds in how many slots copies come in at a time.
    pub(crate) const fn intakes(&self) -> &Arc<Semaphore> {
        &self.hints.intakes
    }

    /// Who this node is.
    pub(crate) const fn own_id(&self) -> NodeId {
        self.me
    }

    /// Whether a node, perhaps this one, is believed to be reachable.
    pub(crate) fn believes_up(&self, node: NodeId) -> bool {
        (self.up())(node)
    }

    /// The clock as others are told it.
    pub(crate) fn moment(&self) -> Stamp {
        self.clock.told()
    }

    /// The partitions that hints are kept for.
    pub(crate) fn hinted(&self) -> Vec<(Incarnation, PartitionId)> {
        self.hints.kept.lock().groups.keys().copied().collect()
    }

    /// What is to be delivered of a partition's hints now, at most `limit` messages, to nodes that
    /// `may` says yes to; it is asked once for each message. Each counts as under way until it is
    /// [answered](Self::hint_answered).
    pub(crate) fn deliveries(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
        limit: usize,
        mut may: impl FnMut(NodeId) -> bool,
    ) -> Vec<Delivery> {
        let place = (keyspace, partition);
        let owners = self.routes.owners(keyspace, partition);
        let mut kept = self.hints.kept.lock();
        let Some(owners) = owners else {
            // That life of the keyspace is over.
            self.hints.void(&mut kept, place);
            return Vec::new();
        };
        let Some(group) = kept.groups.get_mut(&place) else { return Vec::new() };
        let Group { hints, under_way, after } = group;
        let up = self.up();
        let mut out: Vec<Delivery> = Vec::new();
        for target in hints.targets() {
            if owners.has_node(target) && !up(target) {
                continue;
            }
            let may = |to, key: &Bytes| {
                up(to) && !under_way.contains(&(target, to, key.clone())) && may(to)
            };
            let left = limit - out.len();
            out.extend(hints.deliveries_for(target, after.get(&target), &owners, may, left));
        }
        for delivery in &out {
            under_way.insert((delivery.target, delivery.to, delivery.key.clone()));
            after.insert(delivery.target, delivery.key.clone());
        }
        out
    }

    /// Takes in what was said of a delivery, if anything was. Whether it need not be sent again.
    pub(crate) fn hint_answered(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
        delivery: &Delivery,
        answer: Option<&Answer>,
    ) -> bool {
        let place = (keyspace, partition);
        let owners = self.routes.owners(keyspace, partition);
        let counts = &self.hints.counts;
        let is_over = match answer.map(|answer| &answer.reply) {
            Some(Reply::Accepted) => {
                one_more(&counts.hints_delivered);
                true
            }
            Some(Reply::Newer(_) | Reply::BelowMark(_)) => {
                one_more(&counts.hints_superseded);
                true
            }
            Some(Reply::BelowFloor(_)) => {
                one_more(&counts.hints_below_floor);
                true
            }
            _ => {
                one_more(&counts.hints_failed);
                false
            }
        };
        let mut kept = self.hints.kept.lock();
        let Kept { groups, bytes } = &mut *kept;
        let Some(group) = groups.get_mut(&place) else { return is_over };
        group.under_way.remove(&(delivery.target, delivery.to, delivery.key.clone()));
        let (Some(owners), Some(answer)) = (owners, answer) else { return is_over };
        let before = group.hints.bytes();
        if group.hints.answered(delivery, answer.from, &answer.reply, &owners) {
            self.hints.unwrite(place, delivery.target, &delivery.key);
        }
        *bytes = *bytes - before + group.hints.bytes();
        if group.hints.is_empty() {
            groups.remove(&place);
        }
        is_over
    }

    pub(super) fn keep_hints(&self, request: &Request, to: NodeId, items: &[Item]) {
        let Some((partition, _)) = self.routes.find(request.keyspace, request.slot) else { return };
        self.hints.keep((request.keyspace, partition), to, items, true);
    }
}

/// The same in bytes of its own.
fn own(item: &Item) -> Item {
    let mut record = item.record.clone();
    if let OwnedBody::Live { bytes, .. } = &mut record.body {
        *bytes = Bytes::copy_from_slice(bytes);
    }
    Item { key: Bytes::copy_from_slice(&item.key), record }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicas::rig::{KEYSPACE, live};
    use shoal_core::record::PLAIN;
    use std::sync::atomic::Ordering;

    const PLACE: Place = (KEYSPACE, PartitionId(0));

    fn item(key: u32, wall_ms: u64, bytes: usize) -> Item {
        let body = OwnedBody::Live { kind: PLAIN, bytes: vec![7; bytes].into() };
        let record = shoal_core::OwnedRecord { body, ..live(wall_ms, "") };
        Item { key: key.to_be_bytes().to_vec().into(), record }
    }

    #[test]
    fn all_partitions_together_keep_a_bounded_number_of_bytes() {
        let hinted = Hinted::default();
        for number in 0..100 {
            let place = (KEYSPACE, PartitionId(number % 7));
            let item = item(number.into(), 5, 1 << 20);
            hinted.keep(place, NodeId(3), &[item], true);
        }
        let kept = hinted.counts.hints_kept.load(Ordering::Relaxed);
        assert_eq!(kept, 63, "64 MiB, less what stands around them");
        assert_eq!(hinted.counts.hints_no_room.load(Ordering::Relaxed), 100 - 63);
        let mut all = hinted.kept.lock();
        assert!(all.bytes <= MOST_BYTES);
        let sum: usize = all.groups.values().map(|group| group.hints.bytes()).sum();
        assert_eq!(all.bytes, sum);
        for number in 0..7 {
            hinted.void(&mut all, (KEYSPACE, PartitionId(number)));
        }
        assert_eq!((all.bytes, all.groups.len()), (0, 0));
        drop(all);
        assert_eq!(hinted.counts.hints_void.load(Ordering::Relaxed), 63);
    }

    #[test]
    fn the_newest_alone_counts_and_holds_on_to_no_message() {
        let hinted = Hinted::default();
        let message = Bytes::from(vec![9; 10_000]);
        let mut newer = item(1, 6, 0);
        newer.record.body = OwnedBody::Live { kind: PLAIN, bytes: message.slice(10..20) };
        for item in [item(1, 5, 500), newer.clone(), item(1, 4, 900)] {
            hinted.keep(PLACE, NodeId(3), &[item], true);
        }
        let kept = hinted.kept.lock();
        assert_eq!(kept.bytes, Hints::cost(&newer));
        assert_eq!(hinted.counts.hints_kept.load(Ordering::Relaxed), 2);
        assert_eq!(hinted.counts.hints_no_room.load(Ordering::Relaxed), 0);
        let (_, _, record) = kept.groups[&PLACE].hints.iter().next().expect("it is kept");
        let OwnedBody::Live { bytes, .. } = &record.body else { panic!("it lives") };
        assert!(!message.as_ptr_range().contains(&bytes.as_ptr()));
    }
}
