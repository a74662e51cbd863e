//! A shard of a generation of the write buffer: its entries, and what leads to them.
//!
//! Holds: entries of one hash are a chain; a slot's list names every entry of the slot once, and
//! a space's bytes are the sum of what its entries and slots cost.
//!
//! Does not know: locks, and the due set.

use super::hash::{Table, hash_of};
use super::keys;
use super::record::Record;
use crate::engine::{Commit, Tally};

/// What an entry costs beside key and value: its places in the shard's tables, which are on
/// average three quarters full (100 bytes), and what the allocator rounds up.
const ENTRY_OVERHEAD: usize = 120;
/// The same for a slot that has entries.
pub(super) const SLOT_OVERHEAD: usize = 112;
/// The same for an entry of the due set, whose key repeats the entry's.
const DUE_OVERHEAD: usize = 56;
/// Due never.
pub(crate) const NEVER: u64 = u64::MAX;
/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// What a key holds now, and what it depends on.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) commit: Commit,
    pub(super) due: u64,
    /// Another entry of the same hash.
    pub(super) next: u32,
}

impl Entry {
    /// What the entry costs, in bytes.
    pub(super) fn cost(&self) -> usize {
        let due = if self.due == NEVER { 0 } else { DUE_OVERHEAD + self.record.key().len() + 12 };
        ENTRY_OVERHEAD + self.record.len() + due
    }
}

/// What one slot has in this generation.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Its entries.
    pub(super) order: Vec<u32>,
    /// Whether they are in key order.
    pub(super) sorted: bool,
    /// What was added to the slot's tally in this generation.
    pub(super) delta: Tally,
}

/// What a slot of a space is found by.
pub(super) fn place_of(space: u32, slot: u16) -> u64 {
    u64::from(space) << 16 | u64::from(slot)
}

/// Some neighbouring slots of every space.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// The first entry of every hash.
    table: Table<u32>,
    pub(super) entries: Vec<Entry>,
    pub(super) slots: Table<Slot>,
    /// What each space has here, in bytes, so that nobody has to add up its slots.
    spaces: Table<usize>,
}

impl Shard {
    /// Where the first entry with this hash is.
    pub(super) fn first(&self, hash: u64) -> Option<u32> {
        self.table.get(&hash).copied()
    }

    /// The entry at a place.
    pub(super) fn entry(&self, at: u32) -> Option<&Entry> {
        self.entries.get(at as usize)
    }

    /// Where the entry of a stored key with this hash is.
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let mut at = self.first(hash)?;
        while let Some(entry) = self.entries.get(at as usize) {
            if entry.record.key() == key {
                return Some(at as usize);
            }
            at = entry.next;
        }
        None
    }

    /// Puts in an entry whose key is not there.
    pub(super) fn push(&mut self, hash: u64, entry: Entry) {
        // Four thousand million entries would take more memory than a shard may.
        let at = u32::try_from(self.entries.len()).unwrap_or(NONE);
        let next = self.table.insert(hash, at).unwrap_or(NONE);
        self.entries.push(Entry { next, ..entry });
    }

    /// Puts a slot's entries in key order.
    pub(super) fn sort(&mut self, place: u64) {
        let Self { entries, slots, .. } = self;
        if let Some(slot) = slots.get_mut(&place).filter(|slot| !slot.sorted) {
            let key = |at: &u32| entries[*at as usize].record.key();
            // Stable, as that makes use of what is sorted already.
            slot.order.sort_by(|a, b| key(a).cmp(key(b)));
            slot.sorted = true;
        }
    }

    /// A slot's entries, in key order if they were sorted.
    pub(super) fn of_slot(&self, place: u64) -> impl Iterator<Item = &Entry> {
        let order = self.slots.get(&place).map_or(&[][..], |slot| &slot.order);
        order.iter().map(|at| &self.entries[*at as usize])
    }

    /// What the space costs here, in bytes.
    pub(super) fn space_bytes(&self, space: u32) -> usize {
        self.spaces.get(&u64::from(space)).copied().unwrap_or(0)
    }

    /// Notes that the space costs so much more and so much less.
    pub(super) fn charge(&mut self, space: u32, cost: usize, freed: usize) {
        let bytes = self.spaces.entry(u64::from(space)).or_default();
        *bytes = (*bytes + cost).saturating_sub(freed);
    }

    /// Takes everything of a space out; returns its entries. `None` where there is nothing.
    pub(super) fn forget(&mut self, space: u32) -> Option<(Vec<Entry>, usize)> {
        let freed = self.spaces.remove(&u64::from(space))?;
        let Self { entries, mut slots, spaces, .. } = std::mem::take(self);
        slots.retain(|place, _| *place >> 16 != u64::from(space));
        for slot in slots.values_mut() {
            slot.order.clear();
            slot.sorted = false;
        }
        (self.slots, self.spaces) = (slots, spaces);
        let mut dropped = Vec::new();
        for entry in entries {
            let place = keys::decode(entry.record.key()).map(|at| place_of(at.space, at.slot));
            let at = u32::try_from(self.entries.len()).unwrap_or(NONE);
            if let Some(slot) = place.and_then(|place| self.slots.get_mut(&place)) {
                slot.order.push(at);
                self.push(hash_of(entry.record.key()), entry);
            } else {
                dropped.push(entry);
            }
        }
        Some((dropped, freed))
    }
}
