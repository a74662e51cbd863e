//! The slots of a partition, those that hold something.
//!
//! They lie side by side in one array, and a number of two bytes says where each one is: the
//! numbers of a partition fit two cache lines, so that the way to a slot costs one step, and a
//! slot's first key allocates nothing here unless the array is full.
//!
//! Holds: `places[number]` is where slot `number` lies, [`NOWHERE`] if it is not there; without
//! any slot before, nothing is allocated.

use crate::engine::Tally;
use crate::memory::size::size_class;
use crate::memory::table::Table;

/// The place of a slot that is not there.
const NOWHERE: u16 = u16::MAX;

/// Slots for which room is made at first.
const FIRST: usize = 4;

/// The keys of one slot.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) table: Table,
    pub(super) tally: Tally,
    /// Before this time nothing here falls due.
    pub(super) earliest: u64,
    /// Which slot it is, so that it can be told where it lies when it is moved.
    number: u16,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.table.len() == 0 && self.tally == Tally::default()
    }
}

/// All slots of a partition.
#[derive(Debug, Default)]
pub(super) struct Slots {
    places: Box<[u16]>,
    held: Vec<Slot>,
}

impl Slots {
    /// The slot of this number.
    pub(super) fn get(&self, number: usize) -> Option<&Slot> {
        self.held.get(usize::from(*self.places.get(number)?))
    }

    /// The slot of this number, to be changed.
    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Slot> {
        self.held.get_mut(usize::from(*self.places.get(number)?))
    }

    /// The slot of this number, one of `width`, which is made if it is not there.
    pub(super) fn make(&mut self, number: usize, width: usize) -> &mut Slot {
        if self.places.is_empty() {
            self.places = std::iter::repeat_n(NOWHERE, width).collect();
        }
        if self.places[number] == NOWHERE {
            if self.held.len() == self.held.capacity() {
                let more = (self.held.len() / 2).max(FIRST).min(width - self.held.len());
                self.held.reserve_exact(more);
            }
            self.places[number] = u16_of(self.held.len());
            let (table, tally) = (Table::default(), Tally::default());
            self.held.push(Slot { table, tally, earliest: u64::MAX, number: u16_of(number) });
        }
        &mut self.held[usize::from(self.places[number])]
    }

    /// Forgets the slot of this number if it holds nothing.
    pub(super) fn forget_if_empty(&mut self, number: usize) {
        if !self.get(number).is_some_and(Slot::is_empty) {
            return;
        }
        let place = std::mem::replace(&mut self.places[number], NOWHERE);
        self.held.swap_remove(usize::from(place));
        if let Some(moved) = self.held.get(usize::from(place)) {
            self.places[usize::from(moved.number)] = place;
        }
        // Room for as many again, so that a slot that comes and goes does not move the others.
        if self.held.len() <= self.held.capacity() / 4 {
            self.held.shrink_to(self.held.len() * 2);
        }
    }

    /// Those that are there, in no order.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.held.iter()
    }

    /// Those that are there, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.held.iter_mut()
    }

    /// Gives back what nothing uses.
    pub(super) fn shrink_to_fit(&mut self) {
        if self.held.is_empty() {
            self.places = Box::default();
        }
        self.held.shrink_to_fit();
    }

    /// The bytes of the arrays, without what the tables allocate.
    pub(super) fn size(&self) -> usize {
        size_class(size_of_val(&*self.places))
            + size_class(self.held.capacity() * size_of::<Slot>())
    }
}

fn u16_of(number: usize) -> u16 {
    u16::try_from(number).expect("a partition has 16,384 slots at most")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_slot_stays_itself_whatever_comes_and_goes(
            steps in proptest::collection::vec((any::<bool>(), 0usize..64), 1..300),
        ) {
            let mut slots = Slots::default();
            let mut model = BTreeSet::new();
            for (come, number) in steps {
                if come {
                    model.insert(number);
                    slots.make(number, 64).tally.keys = number as i64 + 1;
                } else {
                    model.remove(&number);
                    if let Some(slot) = slots.get_mut(number) {
                        slot.tally.keys = 0;
                    }
                    slots.forget_if_empty(number);
                }
                for number in 0..64 {
                    let known = model.contains(&number).then_some(number as i64 + 1);
                    prop_assert_eq!(slots.get(number).map(|slot| slot.tally.keys), known);
                }
                prop_assert_eq!(slots.iter().count(), model.len());
            }
            for number in model {
                slots.make(number, 64).tally.keys = 0;
                slots.forget_if_empty(number);
            }
            slots.shrink_to_fit();
            prop_assert_eq!(slots.size(), 0);
        }
    }
}
