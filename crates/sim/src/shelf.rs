//! A node's store, which can be cut off from its power: what is put is seen at once, and durable
//! later, in order. All partitions of the node share it. While it is full it takes removals only.

use bytes::Bytes;
use shoal_core::planted::{Bug, planted};
use shoal_core::record::Rank;
use shoal_core::repair::{Leaf, Tree, TreeSecret};
use shoal_core::replica::{Put, Shelf};
use shoal_core::slot::SLOT_COUNT;
use shoal_core::{OwnedRecord, Record, Slot, Version};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A key within its slot.
type At = (Slot, Bytes);
/// A key, and its new record; none removes it.
type Change = (At, Option<OwnedRecord>);

/// What digests are keyed with, everywhere.
pub(crate) const SECRET: TreeSecret = TreeSecret(0x5EC2_E700);

/// The store is full; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// The records of one node.
#[derive(Clone, Debug)]
pub(crate) struct SimShelf {
    live: BTreeMap<At, (OwnedRecord, u64)>,
    durable: BTreeMap<At, (OwnedRecord, u64)>,
    /// What is not durable yet, in the order in which it was put.
    pending: Vec<(u64, Vec<Change>)>,
    position: u64,
    synced: u64,
    /// Whether it takes removals only.
    pub(crate) full: bool,
    /// By slot, up to which version anything was evicted.
    marks: BTreeMap<Slot, Version>,
    /// The digests of what is stored, which are in memory.
    tree: RefCell<Tree>,
}

impl Default for SimShelf {
    fn default() -> Self {
        Self {
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            position: 0,
            synced: 0,
            full: false,
            marks: BTreeMap::new(),
            tree: RefCell::new(Tree::new(SECRET, 0..SLOT_COUNT)),
        }
    }
}

impl SimShelf {
    /// What is kept of a slot, and where anything is, what it holds.
    pub(crate) fn leaves(&self, slot: Slot) -> (Option<Leaf>, Leaf) {
        let mut found = Leaf::default();
        let kept = self.tree.borrow().leaf(slot);
        let from = self.live.range((slot, Bytes::new())..).take_while(|((of, _), _)| *of == slot);
        // Nobody asks what it holds where nothing is kept.
        for ((_, key), (record, _)) in from.filter(|_| kept.is_some()) {
            found.add(SECRET, key, &record.borrow().rank());
        }
        (kept, found)
    }

    /// The newest position; a sync that begins now covers it.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Up to where everything is durable.
    pub(crate) const fn synced(&self) -> u64 {
        self.synced
    }

    /// What was put up to `position` is durable from now on.
    pub(crate) fn sync(&mut self, position: u64) {
        self.synced = self.synced.max(position);
        let rest = self.pending.iter().position(|(at, _)| *at > position);
        let rest = rest.unwrap_or(self.pending.len());
        for (at, records) in self.pending.drain(..rest) {
            for (key, record) in records {
                match record {
                    Some(record) => drop(self.durable.insert(key, (record, at))),
                    None => drop(self.durable.remove(&key)),
                }
            }
        }
    }

    /// The power goes: of what was not durable, the first `kept` puts happen to be.
    pub(crate) fn crash(&mut self, kept: usize) {
        let upto = kept.checked_sub(1).and_then(|last| self.pending.get(last)).map(|(at, _)| *at);
        if let Some(upto) = upto {
            self.sync(upto);
        }
        self.pending.clear();
        self.live = self.durable.clone();
        self.tree.get_mut().forget(|_| true);
        self.synced = self.position;
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Everything in the slots of which `is` is true is gone, durably.
    pub(crate) fn wipe(&mut self, is: impl Fn(Slot) -> bool) {
        self.live.retain(|(slot, _), _| !is(*slot));
        self.durable.retain(|(slot, _), _| !is(*slot));
        self.marks.retain(|slot, _| !is(*slot));
        for (_, changes) in &mut self.pending {
            changes.retain(|((slot, _), _)| !is(*slot));
        }
        self.tree.get_mut().forget(is);
    }

    /// What is stored now, durable or not.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Slot, &Bytes, &OwnedRecord)> {
        self.live.iter().map(|((slot, key), (record, _))| (*slot, key, record))
    }

    /// Where values are stored: what could be evicted.
    pub(crate) fn values(&self) -> impl Iterator<Item = &(Slot, Bytes)> {
        self.live
            .iter()
            .filter(|(_, (record, _))| !record.borrow().is_tombstone())
            .map(|(at, _)| at)
    }

    /// Evicts the value under a key, if there is one; whether there was.
    pub(crate) fn evict(&mut self, slot: Slot, key: &Bytes) -> bool {
        let Some(record) = self.get(slot, key).filter(|held| !held.borrow().is_tombstone()) else {
            return false;
        };
        let (upto, rank) = (record.version.max(record.written), record.borrow().rank());
        if !planted(Bug::MarkNotRaised) {
            let mark = self.marks.entry(slot).or_default();
            *mark = upto.max(*mark);
        }
        self.remove(slot, &[(key, rank)]).is_ok()
    }

    /// What is stored under a key, durable or not.
    pub(crate) fn get(&self, slot: Slot, key: &Bytes) -> Option<&OwnedRecord> {
        self.live.get(&(slot, key.clone())).map(|(record, _)| record)
    }
}

impl Shelf for SimShelf {
    type Ticket = u64;
    type Error = NoRoom;

    fn look<R>(
        &self,
        slot: Slot,
        key: &[u8],
        f: impl FnOnce(Option<&Record<'_>>) -> R,
    ) -> Result<(R, u64), NoRoom> {
        let held = self.live.get(&(slot, Bytes::copy_from_slice(key)));
        let record = held.map(|(record, _)| record.borrow());
        Ok((f(record.as_ref()), held.map_or(0, |(_, at)| *at)))
    }

    fn page(
        &self,
        slot: Slot,
        after: Option<&[u8]>,
        limit: usize,
        mut f: impl FnMut(&[u8], &Record<'_>) -> bool,
    ) -> Result<u64, NoRoom> {
        let mut ticket = 0;
        let first = match after {
            Some(after) => Bound::Excluded((slot, Bytes::copy_from_slice(after))),
            None => Bound::Included((slot, Bytes::new())),
        };
        let rest = self.live.range((first, Bound::Unbounded));
        let rest = rest.take_while(|((at, _), _)| *at == slot);
        for ((_, key), (record, at)) in rest.take(limit) {
            ticket = ticket.max(*at);
            if !f(key, &record.borrow()) {
                break;
            }
        }
        Ok(ticket)
    }

    fn mark(&self, slot: Slot) -> Version {
        self.marks.get(&slot).copied().unwrap_or_default()
    }

    fn put(&mut self, slot: Slot, records: &[Put<'_>]) -> Result<u64, NoRoom> {
        if self.full && records.iter().any(|put| !put.record.is_tombstone()) {
            return Err(NoRoom);
        }
        self.position += 1;
        let at = self.position;
        let mut owned = Vec::new();
        for Put { key, record, rank, before } in records {
            self.tree.get_mut().changed(slot, key, before.as_ref(), Some(rank));
            let (key, record) = (Bytes::copy_from_slice(key), OwnedRecord::from(*record));
            self.live.insert((slot, key.clone()), (record.clone(), at));
            owned.push(((slot, key), Some(record)));
        }
        self.pending.push((at, owned));
        Ok(at)
    }

    fn remove(&mut self, slot: Slot, keys: &[(&[u8], Rank)]) -> Result<u64, NoRoom> {
        self.position += 1;
        let at = self.position;
        let mut gone = Vec::new();
        for (key, before) in keys {
            self.tree.get_mut().changed(slot, key, Some(before), None);
            let key = (slot, Bytes::copy_from_slice(key));
            self.live.remove(&key);
            gone.push((key, None));
        }
        self.pending.push((at, gone));
        Ok(at)
    }

    fn tree<R>(&self, f: impl FnOnce(&mut Tree) -> R) -> R {
        f(&mut self.tree.borrow_mut())
    }
}
