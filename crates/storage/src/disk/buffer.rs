//! One generation of the write buffer: the newest value of every key written while it was the
//! active one.
//!
//! A key is found by its hash; the entries of a slot are put in order when somebody walks them,
//! which is rare, so a write pays for no order.
//!
//! Holds: a shard owns 256 neighbouring slots of every space. Keys are in their stored form. A
//! slot's list names every entry of the slot once. The due set holds exactly the entries whose
//! value is due some time. `bytes` counts what an entry costs, not what it carries.

use super::hash::{Table, hash_of};
use super::keys;
use super::record::Record;
use super::spaces::{CHUNK, CHUNKS, Space};
use crate::engine::{Commit, Tally};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Deref};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an entry costs beside key and value: its places in the shard's tables, which are on
/// average three quarters full (100 bytes), and what the allocator rounds up.
const ENTRY_OVERHEAD: usize = 120;
/// The same for a slot that has entries.
const SLOT_OVERHEAD: usize = 112;
/// The same for an entry of the due set, whose key repeats the entry's.
const DUE_OVERHEAD: usize = 56;
/// Due never.
pub(crate) const NEVER: u64 = u64::MAX;
/// No entry.
const NONE: u32 = u32::MAX;

/// One change, ready to be put into the buffer.
pub(crate) struct Change<S> {
    pub(crate) record: Record,
    pub(crate) space: S,
    pub(crate) space_id: u32,
    pub(crate) slot: u16,
    pub(crate) due: u64,
    pub(crate) tally: Tally,
}

/// What a key holds now, and what it depends on.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) commit: Commit,
    due: u64,
    /// Another entry of the same hash.
    next: u32,
}

/// An entry copied out of the buffer with its key.
pub(crate) struct Copied {
    pub(crate) key: Box<[u8]>,
    pub(crate) value: Option<Box<[u8]>>,
    pub(crate) commit: Commit,
}

impl Entry {
    fn cost(&self) -> usize {
        let due = if self.due == NEVER { 0 } else { DUE_OVERHEAD + self.record.key().len() + 12 };
        ENTRY_OVERHEAD + self.record.len() + due
    }
}

/// What one slot has in this generation.
#[derive(Debug, Default)]
struct Slot {
    /// Its entries.
    order: Vec<u32>,
    /// Whether they are in key order.
    sorted: bool,
    bytes: usize,
    /// What was added to the slot's tally in this generation.
    delta: Tally,
}

fn place_of(space: u32, slot: u16) -> u64 {
    u64::from(space) << 16 | u64::from(slot)
}

#[derive(Debug, Default)]
struct Shard {
    /// The first entry of every hash.
    table: Table<u32>,
    entries: Vec<Entry>,
    slots: Table<Slot>,
}

impl Shard {
    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let mut at = *self.table.get(&hash)?;
        while let Some(entry) = self.entries.get(at as usize) {
            if entry.record.key() == key {
                return Some(at as usize);
            }
            at = entry.next;
        }
        None
    }

    /// Puts in an entry whose key is not there.
    fn push(&mut self, hash: u64, entry: Entry) {
        // Four thousand million entries would take more memory than a shard may.
        let at = u32::try_from(self.entries.len()).unwrap_or(NONE);
        let next = self.table.insert(hash, at).unwrap_or(NONE);
        self.entries.push(Entry { next, ..entry });
    }

    /// Puts a slot's entries in key order.
    fn sort(&mut self, place: u64) {
        let Self { entries, slots, .. } = self;
        if let Some(slot) = slots.get_mut(&place).filter(|slot| !slot.sorted) {
            let key = |at: &u32| entries[*at as usize].record.key();
            // Stable, as that makes use of what is sorted already.
            slot.order.sort_by(|a, b| key(a).cmp(key(b)));
            slot.sorted = true;
        }
    }

    /// A slot's entries, in key order if they were sorted.
    fn of_slot(&self, place: u64) -> impl Iterator<Item = &Entry> {
        let order = self.slots.get(&place).map_or(&[][..], |slot| &slot.order);
        order.iter().map(|at| &self.entries[*at as usize])
    }
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
        slot.bytes = (slot.bytes + cost).saturating_sub(freed);
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
        for (space, slot) in self.places(|_| true) {
            let shard = self.sorted(space, slot);
            for entry in shard.of_slot(place_of(space, slot)) {
                visit(entry.record.key(), entry.record.value())?;
            }
        }
        Ok(())
    }

    /// The due set, taken out as a whole.
    pub(crate) fn due_entries(&self) -> Vec<Box<[u8]>> {
        self.due.lock().iter().cloned().collect()
    }

    /// The slots whose tallies changed in this generation, in order.
    pub(crate) fn changed_slots(&self) -> Vec<(u32, u16)> {
        self.places(|slot| slot.delta != Tally::default())
    }

    /// The slots that have entries, in order.
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
        let of_space = |shard: &RwLock<Shard>| -> usize {
            let shard = shard.read();
            let slots = shard.slots.iter().filter(|(place, _)| **place >> 16 == u64::from(space));
            slots.map(|(_, slot)| slot.bytes).sum()
        };
        self.shards.iter().map(of_space).sum()
    }

    /// Drops what belongs to a retired space.
    pub(crate) fn forget(&self, space: u32) {
        let is_dead = |place: &u64| *place >> 16 == u64::from(space);
        for shard in &self.shards {
            let mut shard = shard.write();
            if !shard.slots.keys().any(is_dead) {
                continue;
            }
            let Shard { entries, mut slots, .. } = std::mem::take(&mut *shard);
            let freed: usize =
                slots.extract_if(|place, _| is_dead(place)).map(|(_, slot)| slot.bytes).sum();
            for slot in slots.values_mut() {
                slot.order.clear();
                slot.sorted = false;
            }
            shard.slots = slots;
            let mut dropped = Vec::new();
            for entry in entries {
                let place = keys::decode(entry.record.key()).map(|at| place_of(at.space, at.slot));
                let at = u32::try_from(shard.entries.len()).unwrap_or(NONE);
                if let Some(slot) = place.and_then(|place| shard.slots.get_mut(&place)) {
                    slot.order.push(at);
                    shard.push(hash_of(entry.record.key()), entry);
                } else {
                    dropped.push(entry);
                }
            }
            drop(shard);
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
