//! One generation of the write buffer: the newest value of every key written while it was the
//! active one.
//!
//! A key is found by its hash; the entries of a slot are put in order when somebody walks them,
//! which is rare, so a write pays for no order.
//!
//! Holds: a shard owns 256 neighbouring slots of every space. Keys are in their stored form. The
//! due set holds every entry whose value is due some time, and what the stored due index was found
//! to lack. `bytes` counts what an entry costs, not what it carries.

use super::hash::hash_of;
use super::keys;
use super::record::Record;
pub(crate) use super::shard::{Entry, NEVER};
use super::shard::{NONE, SLOT_OVERHEAD, Shard, Slot, place_of};
use super::spaces::{CHUNK, CHUNKS, Space};
use crate::engine::{Commit, Tally};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Deref};
use std::sync::atomic::{AtomicUsize, Ordering};

/// One change, ready to be put into the buffer.
pub(crate) struct Change<S> {
    pub(crate) record: Record,
    pub(crate) space: S,
    pub(crate) space_id: u32,
    pub(crate) slot: u16,
    pub(crate) due: u64,
    pub(crate) tally: Tally,
}

/// An entry copied out of the buffer with its key.
pub(crate) struct Copied {
    pub(crate) key: Box<[u8]>,
    pub(crate) value: Option<Box<[u8]>>,
    pub(crate) commit: Commit,
}

/// A generation.
#[derive(Debug)]
pub(crate) struct Buffer {
    shards: Box<[RwLock<Shard>]>,
    due: Mutex<BTreeSet<Box<[u8]>>>,
    bytes: AtomicUsize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            shards: (0..CHUNKS).map(|_| RwLock::default()).collect(),
            due: Mutex::default(),
            bytes: AtomicUsize::new(0),
        }
    }
}

fn shard_of(slot: u16) -> usize {
    usize::from(slot / CHUNK) % CHUNKS
}

impl Buffer {
    /// What the generation costs, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether nothing was ever put in, not even a change of a tally.
    pub(crate) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.read().slots.is_empty())
    }

    /// Puts the changes of one batch in, so that no one sees a part of them.
    pub(crate) fn apply<S: Deref<Target = Space>>(
        &self,
        changes: impl IntoIterator<Item = Change<S>>,
        commit: Commit,
    ) {
        let mut changes = changes.into_iter();
        let mut due = Due { set: &self.due, add: Vec::new(), remove: Vec::new() };
        let Some(first) = changes.next() else { return };
        let Some(second) = changes.next() else {
            // The old record is freed without the lock.
            let hash = hash_of(first.record.key());
            let mut guard = self.shards[shard_of(first.slot)].write();
            let replaced = self.insert(&mut guard, hash, first, commit, &mut due);
            drop(guard);
            drop(replaced);
            due.settle();
            return;
        };
        let all: Vec<Change<S>> = [first, second].into_iter().chain(changes).collect();
        let wanted: BTreeSet<usize> = all.iter().map(|change| shard_of(change.slot)).collect();
        let mut guards: BTreeMap<usize, RwLockWriteGuard<'_, Shard>> =
            wanted.into_iter().map(|shard| (shard, self.shards[shard].write())).collect();
        for change in all {
            if let Some(guard) = guards.get_mut(&shard_of(change.slot)) {
                let hash = hash_of(change.record.key());
                self.insert(guard, hash, change, commit, &mut due);
            }
        }
        due.settle();
    }

    /// Puts one change in, and returns the record it replaces.
    fn insert<S: Deref<Target = Space>>(
        &self,
        shard: &mut Shard,
        hash: u64,
        change: Change<S>,
        commit: Commit,
        due: &mut Due<'_>,
    ) -> Option<Record> {
        let entry = Entry { record: change.record, commit, due: change.due, next: NONE };
        let mut cost = entry.cost();
        if entry.due != NEVER {
            due.add.push(keys::due(entry.due, entry.record.key()));
        }
        let place = place_of(change.space_id, change.slot);
        let mut freed = 0;
        let mut replaced = None;
        if let Some(at) = shard.find(hash, entry.record.key()) {
            let old = &mut shard.entries[at];
            if old.due != NEVER {
                due.remove.push(keys::due(old.due, old.record.key()));
            }
            freed = old.cost();
            let next = old.next;
            replaced = Some(std::mem::replace(old, Entry { next, ..entry }).record);
            if cost == freed && change.tally == Tally::default() {
                return replaced;
            }
        } else {
            shard.push(hash, entry);
        }
        let slot = shard.slots.entry(place).or_insert_with(|| {
            cost += SLOT_OVERHEAD;
            Slot::default()
        });
        if replaced.is_none() {
            slot.order.push(u32::try_from(shard.entries.len() - 1).unwrap_or(NONE));
            slot.sorted = slot.order.len() == 1;
        }
        if change.tally != Tally::default() {
            change.space.add(change.slot, change.tally);
            slot.delta = slot.delta.plus(change.tally);
        }
        shard.charge(change.space_id, cost, freed);
        self.bytes.fetch_add(cost, Ordering::Relaxed);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
        replaced
    }

    /// Shows `visit` the entry under a stored key with this hash, from under the shard's lock.
    pub(crate) fn read<R>(
        &self,
        slot: u16,
        hash: u64,
        key: &[u8],
        visit: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        let shard = self.shards[shard_of(slot)].read();
        shard.find(hash, key).map(|at| visit(&shard.entries[at]))
    }

    /// The shard of a slot, if it is to be had without waiting.
    pub(super) fn try_lock(&self, slot: u16) -> Option<RwLockReadGuard<'_, Shard>> {
        // Not kept out by a waiting writer: the same thread may hold the shard for another key.
        self.shards[shard_of(slot)].try_read_recursive()
    }

    /// The shard of a slot whose entries are in key order.
    fn sorted(&self, space: u32, slot: u16) -> RwLockReadGuard<'_, Shard> {
        let lock = &self.shards[shard_of(slot)];
        let place = place_of(space, slot);
        let shard = lock.read();
        if shard.slots.get(&place).is_none_or(|slot| slot.sorted) {
            return shard;
        }
        drop(shard);
        let mut shard = lock.write();
        shard.sort(place);
        RwLockWriteGuard::downgrade(shard)
    }

    /// Copies the first entries of `from..to`, all within one slot, at most `limit` of them and
    /// not many more than `max_bytes` bytes, into `found`. Says whether there are more.
    pub(crate) fn collect(
        &self,
        (space, slot): (u32, u16),
        (from, to): (&[u8], &[u8]),
        (limit, max_bytes): (usize, usize),
        found: &mut Vec<Copied>,
    ) -> bool {
        let shard = self.sorted(space, slot);
        let Some(of_slot) = shard.slots.get(&place_of(space, slot)) else { return false };
        let key = |at: u32| shard.entries[at as usize].record.key();
        let start = of_slot.order.partition_point(|at| key(*at) < from);
        let mut bytes = 0;
        for (taken, at) in of_slot.order[start..].iter().enumerate() {
            let Entry { record, commit, .. } = &shard.entries[*at as usize];
            if record.key() >= to {
                return false;
            }
            if taken == limit || bytes >= max_bytes {
                return true;
            }
            bytes += record.len();
            found.push(Copied {
                key: record.key().into(),
                value: record.value().map(Into::into),
                commit: *commit,
            });
        }
        false
    }

    /// Up to `limit` keys of the due index in `from..to`.
    pub(crate) fn due_between(&self, from: &[u8], to: &[u8], limit: usize) -> Vec<Box<[u8]>> {
        let range = (Bound::Included(from), Bound::Excluded(to));
        self.due.lock().range::<[u8], _>(range).take(limit).cloned().collect()
    }

    /// Hands every entry to `visit` in key order. Meant for a sealed generation: a shard stays
    /// locked against writers while a slot of it is walked.
    pub(crate) fn each<E>(
        &self,
        mut visit: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (space, slot) in self.written_slots() {
            let shard = self.sorted(space, slot);
            for entry in shard.of_slot(place_of(space, slot)) {
                visit(entry.record.key(), entry.record.value())?;
            }
        }
        Ok(())
    }

    /// Adds what the stored due index lacks, so that the checkpoint of this generation puts it in.
    pub(crate) fn add_due(&self, entry: Box<[u8]>) {
        self.due.lock().insert(entry);
    }

    /// A copy of the due set.
    pub(crate) fn due_entries(&self) -> Vec<Box<[u8]>> {
        self.due.lock().iter().cloned().collect()
    }

    /// Every key of a slot and when its value is due.
    pub(crate) fn due_times(&self, space: u32, slot: u16) -> Vec<(Box<[u8]>, u64)> {
        let shard = self.shards[shard_of(slot)].read();
        let of_slot = shard.of_slot(place_of(space, slot));
        of_slot.map(|entry| (entry.record.key().into(), entry.due)).collect()
    }

    /// The slots that have entries, in order.
    pub(crate) fn written_slots(&self) -> Vec<(u32, u16)> {
        self.places(|_| true)
    }

    /// The slots whose tallies changed in this generation, in order.
    pub(crate) fn changed_slots(&self) -> Vec<(u32, u16)> {
        self.places(|slot| slot.delta != Tally::default())
    }

    /// Those of the slots that have entries that are wanted, in order.
    fn places(&self, wanted: impl Fn(&Slot) -> bool) -> Vec<(u32, u16)> {
        let mut places: Vec<u64> = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            let slots = shard.slots.iter().filter(|(_, slot)| wanted(slot));
            places.extend(slots.map(|(place, _)| *place));
        }
        places.sort_unstable();
        places
            .into_iter()
            .filter_map(|place| {
                Some((u32::try_from(place >> 16).ok()?, u16::try_from(place & 0xFFFF).ok()?))
            })
            .collect()
    }

    /// What `space` says of `slot`, without what was added in this generation.
    pub(crate) fn tally_before(&self, space: &Space, space_id: u32, slot: u16) -> Tally {
        // Both are changed under the shard's lock only.
        let shard = self.shards[shard_of(slot)].read();
        let now = space.sum(slot..slot + 1);
        let delta = shard.slots.get(&place_of(space_id, slot)).map(|slot| slot.delta);
        drop(shard);
        let delta = delta.unwrap_or_default();
        Tally { keys: now.keys - delta.keys, expiring: now.expiring - delta.expiring }
    }

    /// Bytes of one space.
    pub(crate) fn space_bytes(&self, space: u32) -> usize {
        self.shards.iter().map(|shard| shard.read().space_bytes(space)).sum()
    }

    /// Drops what belongs to a retired space.
    pub(crate) fn forget(&self, space: u32) {
        for shard in &self.shards {
            let Some((dropped, freed)) = shard.write().forget(space) else { continue };
            let mut due = self.due.lock();
            for entry in dropped.iter().filter(|entry| entry.due != NEVER) {
                due.remove(&keys::due(entry.due, entry.record.key()));
            }
            drop(due);
            self.bytes.fetch_sub(freed, Ordering::Relaxed);
        }
    }
}

/// Changes of the due set, gathered so that its lock is taken once per batch, and only by
/// batches that have to do with it.
struct Due<'b> {
    set: &'b Mutex<BTreeSet<Box<[u8]>>>,
    add: Vec<Box<[u8]>>,
    remove: Vec<Box<[u8]>>,
}

impl Due<'_> {
    fn settle(self) {
        if self.add.is_empty() && self.remove.is_empty() {
            return;
        }
        let mut set = self.set.lock();
        for key in &self.remove {
            set.remove(key);
        }
        set.extend(self.add);
    }
}
