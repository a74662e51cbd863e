//! A run of slots under one lock.
//!
//! Holds: `tally`, `entries` and `bytes` are the sums over the slots, and `bytes` has the marks
//! too; a slot's mark never falls until it is forgotten; `earliest`, of a slot and
//! of the partition, is never later than the first moment at which one of its entries falls due,
//! but while the sweep is inside, which lowers it again as it goes (see the sweep).
//! Slots without keys and tally are not allocated, nor is the list of them before the first.
//!
//! In a space that evicts, entries go behind the caller's back, so what the caller knows of a
//! key may be out of date by the time its change arrives. There a slot's tally is therefore what
//! its entries count for by the policy; elsewhere it is the sum of what the changes said.

use crate::engine::{Op, Parts, Policy, Tally};
use crate::memory::bucket::Bucket;
use crate::memory::entry::{Entry, Hash};
use crate::memory::size::size_class;
use crate::memory::slots::{Slot, Slots};
use crate::memory::table::Place;

use std::collections::BinaryHeap;

/// What a change needs to know besides itself.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// The seed of the hashes.
    pub(super) seed: u64,
    /// What values mean.
    pub(super) policy: &'a dyn Policy,
    /// The space.
    pub(super) space: u32,
    /// The space's clock.
    pub(super) tick: u32,
}

impl Context<'_> {
    /// From when on a value is due; never is `None`, and so is the end of time.
    fn due(&self, value: &[u8]) -> Option<u64> {
        self.policy.due(self.space, value).filter(|&due| due < u64::MAX)
    }
}

/// Where in a partition a key is, or would be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// The slot, counted from the partition's first.
    pub(super) slot: usize,
    /// The key's hash.
    pub(super) hash: Hash,
    /// Where in the slot it is, if it is.
    pub(super) place: Option<Place>,
}

/// A run of slots.
#[derive(Debug)]
pub(super) struct Partition {
    slots: Slots,
    width: usize,
    tally: Tally,
    entries: usize,
    bytes: i64,
    earliest: u64,
    stamped: bool,
    closed: bool,
    /// By slot, the greatest mark of what was evicted; nothing before the first that is not 0.
    marks: Box<[u128]>,
}

impl Partition {
    /// An empty partition of `width` slots, whose entries carry stamps if `stamped`.
    pub(super) fn new(width: usize, stamped: bool) -> Self {
        Self {
            slots: Slots::default(),
            width,
            tally: Tally { keys: 0, expiring: 0 },
            entries: 0,
            bytes: 0,
            earliest: u64::MAX,
            stamped,
            closed: false,
            marks: Box::default(),
        }
    }

    /// Whether the space was retired and this partition emptied.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether there is no entry.
    pub(super) const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn slot(&self, slot: usize) -> Option<&Slot> {
        self.slots.get(slot)
    }

    fn slot_mut(&mut self, slot: usize) -> Option<&mut Slot> {
        self.slots.get_mut(slot)
    }

    /// Where `key` is.
    pub(super) fn find(&self, slot: usize, hash: Hash, key: &[u8]) -> Option<Place> {
        self.slot(slot)?.table.find(hash, key)
    }

    /// The bucket in which a key of this hash would be.
    pub(super) fn bucket(&self, slot: usize, hash: Hash) -> Option<&Bucket> {
        self.slot(slot)?.table.bucket(hash)
    }

    /// The value at `place`, noting the use if entries carry stamps.
    pub(super) fn show(
        &mut self,
        slot: usize,
        place: Option<Place>,
        tick: impl FnOnce() -> u32,
    ) -> Option<&[u8]> {
        let (stamped, place) = (self.stamped, place?);
        let table = &mut self.slot_mut(slot)?.table;
        if stamped {
            table.entry_mut(place).touch(tick());
        }
        Some(table.entry(place).value(stamped))
    }

    /// How many bytes of entries `put` at `spot` adds; what a table grows by is not foreseen.
    pub(super) fn need(&self, spot: Spot, key: &[u8], put: Option<Parts<'_>>) -> i64 {
        let new = put.map_or(0, |value| Entry::size_of(key, value, self.stamped));
        let slot = self.slot(spot.slot).zip(spot.place);
        let old = slot.map_or(0, |(slot, place)| slot.table.entry(place).size());
        new as i64 - old as i64
    }

    /// Applies `op`, whose key is at `spot`; returns by how many bytes the partition grew.
    pub(super) fn apply(&mut self, spot: Spot, op: &Op<'_>, context: Context<'_>) -> i64 {
        let Spot { slot: number, hash, place } = spot;
        if place.is_none() && op.put.is_none() && (self.stamped || op.tally == Tally::default()) {
            return 0;
        }
        let stamp = self.stamped.then_some(context.tick);
        let list = self.slots.size();
        let slot = self.slots.make(number, self.width);
        let mut grown = 0;
        let mut tally = if self.stamped { Tally::default() } else { op.tally };
        let before = slot.table.size();
        if let Some(place) = place {
            let old = slot.table.entry(place);
            grown -= old.size() as i64;
            if self.stamped {
                tally = minus(weigh(old.value(true), context));
            }
        }
        let mut put = None;
        match (place, op.put) {
            (Some(place), Some(value)) => {
                let entry = slot.table.entry_mut(place);
                if !entry.overwrite(value, stamp) {
                    *entry = Entry::new(op.at.key, value, stamp);
                }
                put = Some((entry.size(), context.due(entry.value(self.stamped))));
                if self.stamped {
                    tally = tally.plus(weigh(entry.value(true), context));
                }
            }
            (None, Some(value)) => {
                let entry = Entry::new(op.at.key, value, stamp);
                put = Some((entry.size(), context.due(entry.value(self.stamped))));
                if self.stamped {
                    tally = weigh(entry.value(true), context);
                }
                slot.table.insert(context.seed, hash, entry);
                self.entries += 1;
            }
            (Some(place), None) => {
                drop(slot.table.remove(place));
                self.entries -= 1;
            }
            (None, None) => {}
        }
        if let Some((size, due)) = put {
            grown += size as i64;
            let due = due.unwrap_or(u64::MAX);
            slot.earliest = slot.earliest.min(due);
            self.earliest = self.earliest.min(due);
        }
        slot.tally = slot.tally.plus(tally);
        self.tally = self.tally.plus(tally);
        grown += slot.table.size() as i64 - before as i64;
        if op.put.is_none() {
            self.slots.forget_if_empty(number);
        }
        grown += self.slots.size() as i64 - list as i64;
        self.bytes += grown;
        grown
    }

    /// Evicts the entry of `hash`, if it may be and was not used since `stamp`, and raises its slot's
    /// mark; returns the bytes that freed.
    pub(super) fn evict(
        &mut self,
        slot: usize,
        hash: Hash,
        stamp: u32,
        context: Context<'_>,
    ) -> Option<i64> {
        let list = self.slots.size();
        let held = self.slots.get_mut(slot)?;
        let place = held.table.find_where(hash, |entry| {
            entry.stamp() == stamp && Hash::of(context.seed, entry.key()) == hash
        })?;
        let mark = context.policy.mark(context.space, held.table.entry(place).value(true))?;
        let before = held.table.size();
        let entry = held.table.remove(place);
        let mut freed = (before + entry.size()) as i64 - held.table.size() as i64;
        let tally = minus(weigh(entry.value(true), context));
        held.tally = held.tally.plus(tally);
        self.tally = self.tally.plus(tally);
        self.entries -= 1;
        self.slots.forget_if_empty(slot);
        freed += list as i64 - self.slots.size() as i64;
        freed -= self.raise_mark(slot, mark);
        self.bytes -= freed;
        Some(freed)
    }

    /// Raises a slot's mark; returns the bytes that took.
    fn raise_mark(&mut self, slot: usize, mark: u128) -> i64 {
        let before = self.marks_size();
        if mark > 0 && self.marks.is_empty() {
            self.marks = std::iter::repeat_n(0, self.width).collect();
        }
        if let Some(known) = self.marks.get_mut(slot) {
            *known = mark.max(*known);
        }
        self.marks_size() - before
    }

    /// The greatest mark of what was evicted in a slot.
    pub(super) fn mark(&self, slot: usize) -> u128 {
        self.marks.get(slot).copied().unwrap_or(0)
    }

    /// Forgets a slot's mark.
    pub(super) fn forget_mark(&mut self, slot: usize) {
        if let Some(mark) = self.marks.get_mut(slot) {
            *mark = 0;
        }
    }

    fn marks_size(&self) -> i64 {
        size_class(size_of_val(&*self.marks)) as i64
    }

    /// Shows `visit` a few neighbouring entries of a slot chosen at random, with their stamps.
    pub(super) fn sample(
        &self,
        random: &mut fastrand::Rng,
        count: usize,
        mut visit: impl FnMut(usize, &Entry),
    ) {
        if !self.stamped || self.entries == 0 {
            return;
        }
        let start = random.usize(..self.width);
        let mut slots = (start..self.width).chain(0..start);
        let found = slots.find_map(|number| {
            self.slot(number).filter(|slot| slot.table.len() > 0).map(|slot| (number, slot))
        });
        if let Some((number, slot)) = found {
            for entry in slot.table.sample(random, count) {
                visit(number, entry);
            }
        }
    }

    /// The sum of the tallies of `slots`.
    pub(super) fn tally(&self, slots: std::ops::Range<usize>) -> Tally {
        if slots.len() == self.width {
            return self.tally;
        }
        let slots = slots.filter_map(|number| self.slot(number));
        slots.fold(Tally::default(), |sum, slot| sum.plus(slot.tally))
    }

    /// Shows `visit` the `limit` smallest keys of a slot after `after`, in order.
    pub(super) fn scan(
        &self,
        slot: usize,
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) {
        let Some(slot) = self.slot(slot).filter(|_| limit > 0) else {
            return;
        };
        let mut smallest: BinaryHeap<(&[u8], &[u8])> = BinaryHeap::new();
        for entry in slot.table.iter() {
            let key = entry.key();
            if after.is_some_and(|after| key <= after) {
                continue;
            }
            if smallest.len() == limit {
                if smallest.peek().is_some_and(|&(largest, _)| key >= largest) {
                    continue;
                }
                smallest.pop();
            }
            smallest.push((key, entry.value(self.stamped)));
        }
        for (key, value) in smallest.into_sorted_vec() {
            if !visit(key, value) {
                return;
            }
        }
    }

    /// Shows `visit` about `count` entries of a slot from `from` on; see [`Table::walk`].
    pub(super) fn page(
        &self,
        seed: u64,
        slot: usize,
        from: u64,
        count: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Option<u64> {
        let table = &self.slot(slot)?.table;
        table.walk(seed, from, count, |entry| visit(entry.key(), entry.value(self.stamped)))
    }

    /// Before this time nothing here falls due.
    pub(super) const fn earliest(&self) -> u64 {
        self.earliest
    }

    /// Forgets what is known of due times; they are to be lowered again.
    pub(super) fn begin_sweep(&mut self) {
        self.earliest = u64::MAX;
    }

    /// Shows `visit` about `limit` entries of a slot that may be due at `now_ms`, from `from` on;
    /// `visit` returns from when on an entry is to be looked at again. Returns the position to go
    /// on from, `None` at the slot's end.
    pub(super) fn sweep(
        &mut self,
        seed: u64,
        slot: usize,
        from: u64,
        (now_ms, limit): (u64, usize),
        mut visit: impl FnMut(&[u8], &[u8]) -> Option<u64>,
    ) -> Option<u64> {
        let stamped = self.stamped;
        let slot = self.slots.get_mut(slot)?;
        let mut next = None;
        if from > 0 || slot.earliest <= now_ms {
            // Changes lower it while the walk is under way, as the walk itself does.
            let mut earliest = if from == 0 { u64::MAX } else { slot.earliest };
            next = slot.table.walk(seed, from, limit, |entry| {
                if let Some(due) = visit(entry.key(), entry.value(stamped)) {
                    earliest = earliest.min(due);
                }
                true
            });
            slot.earliest = earliest;
        }
        self.earliest = self.earliest.min(slot.earliest);
        next
    }

    /// Gives every entry a stamp; returns by how many bytes the partition grew.
    pub(super) fn stamp_all(&mut self, tick: u32) -> i64 {
        if self.stamped {
            return 0;
        }
        let mut grown = 0;
        for slot in self.slots.iter_mut() {
            let before: usize = slot.table.iter().map(Entry::size).sum();
            slot.table.replace_all(|entry| entry.stamped(tick));
            grown += slot.table.iter().map(Entry::size).sum::<usize>() as i64 - before as i64;
        }
        self.stamped = true;
        self.bytes += grown;
        grown
    }

    /// Gives back the capacity that nothing uses; returns by how many bytes the partition grew,
    /// which is not above 0.
    pub(super) fn shrink_to_fit(&mut self) -> i64 {
        let mut grown = -(self.slots.size() as i64);
        for slot in self.slots.iter_mut() {
            let before = slot.table.size();
            slot.table.shrink_to_fit();
            grown += slot.table.size() as i64 - before as i64;
        }
        self.slots.shrink_to_fit();
        grown += self.slots.size() as i64;
        self.bytes += grown;
        grown
    }

    /// Empties the partition for good. The slots are handed over, to be dropped without the
    /// lock, with the bytes they held.
    pub(super) fn close(&mut self) -> (Slots, i64) {
        let bytes = self.bytes;
        let slots = std::mem::take(&mut self.slots);
        *self = Self::new(self.width, self.stamped);
        self.closed = true;
        (slots, bytes)
    }

    /// Derives the sums anew; a sentence on what does not add up.
    #[cfg(test)]
    pub(super) fn check(&self, seed: u64) -> Result<(), String> {
        let mut bytes = self.slots.size() + size_class(size_of_val(&*self.marks));
        let (mut entries, mut tally) = (0, Tally::default());
        for slot in self.slots.iter() {
            slot.table.check(seed)?;
            bytes += slot.table.size() + slot.table.iter().map(Entry::size).sum::<usize>();
            entries += slot.table.len();
            tally = tally.plus(slot.tally);
        }
        if (bytes as i64, entries, tally) == (self.bytes, self.entries, self.tally) {
            return Ok(());
        }
        Err(format!("{bytes} bytes, {entries} entries, {tally:?}, but said: {self:?}"))
    }

    /// The bytes held, tables included.
    #[cfg(test)]
    pub(super) const fn bytes(&self) -> i64 {
        self.bytes
    }
}

/// What an entry of a space that evicts counts as.
fn weigh(value: &[u8], context: Context<'_>) -> Tally {
    context.policy.counts(context.space, value)
}

const fn minus(tally: Tally) -> Tally {
    Tally { keys: -tally.keys, expiring: -tally.expiring }
}
