//! The spaces the engine knows, and what each of their slots holds.
//!
//! Holds: a retired space never comes back; its number is not used again.

use crate::engine::{Durability, SpaceOptions, Tally};
use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// How many slots there are.
pub(crate) const SLOTS: u16 = 16_384;
/// Slots per chunk of tallies, and per shard of the write buffer.
pub(crate) const CHUNK: u16 = 256;
/// How many chunks there are.
pub(crate) const CHUNKS: usize = (SLOTS / CHUNK) as usize;

/// One space.
#[derive(Debug)]
pub(crate) struct Space {
    open: AtomicBool,
    /// Whether the stored due index may have entries of the space.
    indexed: AtomicBool,
    /// 0 for always, 1 for the operating system's pleasure, else the interval in ms plus 2.
    durability: AtomicU64,
    tallies: [OnceLock<Box<[SlotTally]>>; CHUNKS],
    /// The sum of all slots, kept beside them because it is asked for often.
    total: SlotTally,
}

#[derive(Debug, Default)]
struct SlotTally {
    keys: AtomicI64,
    expiring: AtomicI64,
}

impl SlotTally {
    fn add(&self, delta: Tally) {
        self.keys.fetch_add(delta.keys, Ordering::Relaxed);
        self.expiring.fetch_add(delta.expiring, Ordering::Relaxed);
    }

    fn now(&self) -> Tally {
        Tally {
            keys: self.keys.load(Ordering::Relaxed),
            expiring: self.expiring.load(Ordering::Relaxed),
        }
    }
}

impl Space {
    fn new(indexed: bool) -> Self {
        Self {
            open: AtomicBool::new(false),
            indexed: AtomicBool::new(indexed),
            durability: AtomicU64::new(0),
            tallies: [const { OnceLock::new() }; CHUNKS],
            total: SlotTally::default(),
        }
    }

    /// Whether the space takes writes.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// What its writes wait for.
    pub(crate) fn durability(&self) -> Durability {
        match self.durability.load(Ordering::Relaxed) {
            0 => Durability::Always,
            1 => Durability::Os,
            ms => Durability::Interval(u32::try_from(ms - 2).unwrap_or(u32::MAX)),
        }
    }

    fn open(&self, options: SpaceOptions) {
        let durability = match options.durability {
            Durability::Always => 0,
            Durability::Os => 1,
            Durability::Interval(ms) => u64::from(ms) + 2,
        };
        self.durability.store(durability, Ordering::Relaxed);
        self.open.store(true, Ordering::Release);
    }

    /// Whether the stored due index may have entries of the space.
    pub(crate) fn is_indexed(&self) -> bool {
        self.indexed.load(Ordering::Relaxed)
    }

    /// Notes that an entry of the space goes into the stored due index.
    pub(crate) fn index(&self) {
        self.indexed.store(true, Ordering::Relaxed);
    }

    /// Adds to a slot's tally.
    pub(crate) fn add(&self, slot: u16, delta: Tally) {
        let chunk = self.tallies[usize::from(slot / CHUNK) % CHUNKS]
            .get_or_init(|| (0..CHUNK).map(|_| SlotTally::default()).collect());
        chunk[usize::from(slot % CHUNK)].add(delta);
        self.total.add(delta);
    }

    /// The sum over `slots`; over all of them without walking any.
    pub(crate) fn sum(&self, slots: Range<u16>) -> Tally {
        if slots.start == 0 && slots.end >= SLOTS {
            return self.total.now();
        }
        let mut sum = Tally::default();
        let mut slot = slots.start;
        while slot < slots.end.min(SLOTS) {
            let chunk_end = ((slot / CHUNK) + 1) * CHUNK;
            let end = chunk_end.min(slots.end);
            if let Some(chunk) = self.tallies[usize::from(slot / CHUNK)].get() {
                let (from, to) = (slot % CHUNK, slot % CHUNK + (end - slot));
                for tally in &chunk[usize::from(from)..usize::from(to)] {
                    sum = sum.plus(tally.now());
                }
            }
            slot = end;
        }
        sum
    }
}

/// All spaces. Looking one up takes no lock.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    known: ArcSwap<BTreeMap<u32, Arc<Space>>>,
    retired: Mutex<BTreeSet<u32>>,
    /// Whether the due index had entries when the store was opened, of whichever space.
    indexed: AtomicBool,
}

impl Spaces {
    /// The space, unless it is unknown or retired.
    pub(crate) fn get(&self, space: u32) -> Option<Arc<Space>> {
        self.known.load().get(&space).cloned()
    }

    /// All that are known, as they are now.
    pub(crate) fn known(&self) -> Guard<Arc<BTreeMap<u32, Arc<Space>>>> {
        self.known.load()
    }

    /// Whether the space is known and not retired.
    pub(crate) fn has(&self, space: u32) -> bool {
        self.known.load().contains_key(&space)
    }

    /// How many keys one space has, and how many all of them have together. Costs one look per
    /// space, whatever they hold.
    pub(crate) fn share_of(&self, space: u32) -> (u64, u64) {
        let known = self.known.load();
        let keys = |space: &Arc<Space>| u64::try_from(space.sum(0..SLOTS).keys).unwrap_or(0);
        (known.get(&space).map_or(0, keys), known.values().map(keys).sum())
    }

    /// The space, made known if it was not; `None` if it is retired.
    pub(crate) fn get_or_make(&self, space: u32) -> Option<Arc<Space>> {
        if let Some(known) = self.get(space) {
            return Some(known);
        }
        let retired = self.retired.lock();
        if retired.contains(&space) {
            return None;
        }
        let made = Arc::new(Space::new(self.indexed.load(Ordering::Relaxed)));
        self.known.rcu(|known| {
            let mut next = BTreeMap::clone(known);
            next.entry(space).or_insert_with(|| Arc::clone(&made));
            next
        });
        drop(retired);
        self.get(space)
    }

    /// Notes that the stored due index may have entries of any space that is made from now on.
    pub(crate) fn index_all(&self) {
        self.indexed.store(true, Ordering::Relaxed);
    }

    /// Makes the space take writes, or changes its options. `false` if it is retired.
    pub(crate) fn open(&self, space: u32, options: SpaceOptions) -> bool {
        self.get_or_make(space).is_some_and(|made| {
            made.open(options);
            true
        })
    }

    /// Forgets the space for good.
    pub(crate) fn retire(&self, space: u32) {
        let mut retired = self.retired.lock();
        retired.insert(space);
        self.known.rcu(|known| {
            let mut next = BTreeMap::clone(known);
            next.remove(&space);
            next
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_the_slots_asked_for() {
        let space = Space::new(false);
        let one = Tally { keys: 1, expiring: 0 };
        for slot in [0, 255, 256, 16_383] {
            space.add(slot, one);
        }
        assert_eq!(space.sum(0..SLOTS).keys, 4);
        let each: i64 = (0..SLOTS).map(|slot| space.sum(slot..slot + 1).keys).sum();
        assert_eq!(each, 4, "the total is what the slots have");
        space.add(256, Tally { keys: -1, expiring: 2 });
        assert_eq!(space.sum(0..SLOTS), Tally { keys: 3, expiring: 2 });
        space.add(256, one);
        assert_eq!(space.sum(1..256).keys, 1);
        assert_eq!(space.sum(255..257).keys, 2);
        assert_eq!(space.sum(16_383..16_384).keys, 1);
        assert_eq!(space.sum(300..300).keys, 0);
    }

    #[test]
    fn a_share_counts_the_spaces_that_are_there() {
        let spaces = Spaces::default();
        for (space, keys) in [(1, 10), (2, 30), (3, 5)] {
            let made = spaces.get_or_make(space).expect("it is not retired");
            made.add(9, Tally { keys: keys - 1, expiring: 0 });
            made.add(12_000, Tally { keys: 1, expiring: 0 });
        }
        assert_eq!(spaces.share_of(2), (30, 45));
        spaces.retire(1);
        assert_eq!(spaces.share_of(2), (30, 35));
        assert_eq!(spaces.share_of(1), (0, 35));
    }

    #[test]
    fn a_retired_space_stays_away() {
        let spaces = Spaces::default();
        let options = SpaceOptions {
            partitions: 1,
            durability: Durability::Interval(5),
            max_memory: None,
            evict: false,
        };
        assert!(spaces.open(7, options));
        let known = spaces.get(7).expect("it was just opened");
        assert_eq!(known.durability(), Durability::Interval(5));
        spaces.retire(7);
        assert!(!spaces.has(7));
        assert!(!spaces.open(7, options));
        assert!(spaces.get_or_make(7).is_none());
    }
}
