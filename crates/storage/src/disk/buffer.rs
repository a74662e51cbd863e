//! One generation of the write buffer: the newest value of every key written while it was the
//! active one.
//!
//! Holds: a shard owns 256 neighbouring slots of every space, so walking the shards of one space
//! in order walks its keys in order. Keys are in their stored form. The due set holds exactly the
//! entries whose value is due some time. `bytes` counts what an entry costs, not what it carries.

use super::keys;
use super::spaces::{CHUNK, CHUNKS, Space};
use crate::engine::{Commit, Tally};
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an entry costs beside key and value: its place in a B-tree that is two thirds full (56
/// bytes), and the allocator's overhead for two small blocks.
const ENTRY_OVERHEAD: usize = 120;
/// The same for an entry of the due set, whose key repeats the entry's.
const DUE_OVERHEAD: usize = 56;
/// Due never.
pub(crate) const NEVER: u64 = u64::MAX;

/// One change, ready to be put into the buffer.
pub(crate) struct Change {
    pub(crate) key: Box<[u8]>,
    pub(crate) space: Arc<Space>,
    pub(crate) space_id: u32,
    pub(crate) slot: u16,
    pub(crate) value: Option<Box<[u8]>>,
    pub(crate) due: u64,
    pub(crate) tally: Tally,
}

/// The newest value of a key; no value means that the key was removed.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) value: Option<Box<[u8]>>,
    pub(crate) commit: Commit,
    pub(crate) due: u64,
}

/// An entry copied out of the buffer with its key.
pub(crate) struct Copied {
    pub(crate) key: Box<[u8]>,
    pub(crate) value: Option<Box<[u8]>>,
    pub(crate) commit: Commit,
}

impl Entry {
    fn cost(&self, key: &[u8]) -> usize {
        let value = self.value.as_ref().map_or(0, |value| value.len());
        let due = if self.due == NEVER { 0 } else { DUE_OVERHEAD + key.len() + 12 };
        ENTRY_OVERHEAD + key.len() + value + due
    }
}

#[derive(Debug, Default)]
struct Shard {
    entries: BTreeMap<Box<[u8]>, Entry>,
    /// What was added to the slots' tallies in this generation.
    deltas: BTreeMap<(u32, u16), Tally>,
    /// Bytes per space.
    spaces: BTreeMap<u32, usize>,
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
        self.shards.iter().all(|shard| {
            let shard = shard.read();
            shard.entries.is_empty() && shard.deltas.is_empty()
        })
    }

    /// Puts the changes of one batch in, so that no one sees a part of them.
    pub(crate) fn apply(&self, changes: Vec<Change>, commit: Commit) {
        let mut due = Due { set: &self.due, add: Vec::new(), remove: Vec::new() };
        if let [only] = changes.as_slice() {
            let shard = shard_of(only.slot);
            let mut guard = self.shards[shard].write();
            for change in changes {
                self.insert(&mut guard, change, commit, &mut due);
            }
            due.settle();
            return;
        }
        let wanted: BTreeSet<usize> = changes.iter().map(|change| shard_of(change.slot)).collect();
        let mut guards: BTreeMap<usize, RwLockWriteGuard<'_, Shard>> =
            wanted.into_iter().map(|shard| (shard, self.shards[shard].write())).collect();
        for change in changes {
            if let Some(guard) = guards.get_mut(&shard_of(change.slot)) {
                self.insert(guard, change, commit, &mut due);
            }
        }
        due.settle();
    }

    fn insert(&self, shard: &mut Shard, change: Change, commit: Commit, due: &mut Due<'_>) {
        if change.tally != Tally::default() {
            change.space.add(change.slot, change.tally);
            let delta = shard.deltas.entry((change.space_id, change.slot)).or_default();
            *delta = delta.plus(change.tally);
        }
        let entry = Entry { value: change.value, commit, due: change.due };
        let cost = entry.cost(&change.key);
        if entry.due != NEVER {
            due.add.push(keys::due(entry.due, &change.key));
        }
        let freed = if let Some(old) = shard.entries.get_mut(&change.key) {
            if old.due != NEVER {
                due.remove.push(keys::due(old.due, &change.key));
            }
            let freed = old.cost(&change.key);
            *old = entry;
            freed
        } else {
            shard.entries.insert(change.key, entry);
            0
        };
        let of_space = shard.spaces.entry(change.space_id).or_default();
        *of_space = (*of_space + cost).saturating_sub(freed);
        self.bytes.fetch_add(cost, Ordering::Relaxed);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
    }

    /// Shows `visit` the entry under a stored key, from under the shard's lock.
    pub(crate) fn read<R>(
        &self,
        slot: u16,
        key: &[u8],
        visit: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        let shard = self.shards[shard_of(slot)].read();
        shard.entries.get(key).map(visit)
    }

    /// Copies the first entries of `from..to`, all within one slot, at most `limit` of them and
    /// not many more than `max_bytes` bytes, into `found`. Says whether there are more.
    pub(crate) fn collect(
        &self,
        slot: u16,
        (from, to): (&[u8], &[u8]),
        (limit, max_bytes): (usize, usize),
        found: &mut Vec<Copied>,
    ) -> bool {
        let shard = self.shards[shard_of(slot)].read();
        let range = (Bound::Included(from), Bound::Excluded(to));
        let mut bytes = 0;
        for (taken, (key, entry)) in shard.entries.range::<[u8], _>(range).enumerate() {
            if taken == limit || bytes >= max_bytes {
                return true;
            }
            bytes += key.len() + entry.value.as_ref().map_or(0, |value| value.len());
            found.push(Copied {
                key: key.clone(),
                value: entry.value.clone(),
                commit: entry.commit,
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
    /// locked against writers while it is walked.
    pub(crate) fn each<E>(
        &self,
        mut visit: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        for space in self.space_ids() {
            let from = keys::slot_prefix(space, 0);
            let to = keys::slot_prefix(space, u16::MAX);
            let range = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
            for shard in &self.shards {
                let shard = shard.read();
                for (key, entry) in shard.entries.range::<[u8], _>(range) {
                    visit(key, entry.value.as_deref())?;
                }
            }
        }
        Ok(())
    }

    /// The due set, taken out as a whole.
    pub(crate) fn due_entries(&self) -> Vec<Box<[u8]>> {
        self.due.lock().iter().cloned().collect()
    }

    /// The slots whose tallies changed in this generation, in order.
    pub(crate) fn changed_slots(&self) -> BTreeSet<(u32, u16)> {
        self.shards
            .iter()
            .flat_map(|shard| shard.read().deltas.keys().copied().collect::<Vec<_>>())
            .collect()
    }

    /// What `space` says of `slot`, without what was added in this generation.
    pub(crate) fn tally_before(&self, space: &Space, space_id: u32, slot: u16) -> Tally {
        // Both are changed under the shard's lock only.
        let shard = self.shards[shard_of(slot)].read();
        let now = space.sum(slot..slot + 1);
        let delta = shard.deltas.get(&(space_id, slot)).copied().unwrap_or_default();
        drop(shard);
        Tally { keys: now.keys - delta.keys, expiring: now.expiring - delta.expiring }
    }

    /// Bytes of one space.
    pub(crate) fn space_bytes(&self, space: u32) -> usize {
        self.shards.iter().map(|shard| shard.read().spaces.get(&space).copied().unwrap_or(0)).sum()
    }

    /// Drops what belongs to a retired space.
    pub(crate) fn forget(&self, space: u32) {
        let from = keys::slot_prefix(space, 0);
        let to = keys::slot_prefix(space, u16::MAX);
        for shard in &self.shards {
            let mut shard = shard.write();
            // Two splits and a merge; most of a shard is moved node by node, not entry by entry.
            let mut dropped = shard.entries.split_off(from.as_slice());
            let mut kept = dropped.split_off(to.as_slice());
            shard.entries.append(&mut kept);
            shard.deltas.retain(|(of, _), _| *of != space);
            shard.spaces.remove(&space);
            drop(shard);
            let freed: usize = dropped.iter().map(|(key, entry)| entry.cost(key)).sum();
            let mut due = self.due.lock();
            for (key, entry) in &dropped {
                if entry.due != NEVER {
                    due.remove(&keys::due(entry.due, key));
                }
            }
            drop(due);
            self.bytes.fetch_sub(freed, Ordering::Relaxed);
        }
    }

    fn space_ids(&self) -> BTreeSet<u32> {
        self.shards
            .iter()
            .flat_map(|shard| shard.read().spaces.keys().copied().collect::<Vec<_>>())
            .collect()
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
