//! Walking a keyspace: SCAN, counts, ordered lists, a random key.
//!
//! Holds: an entry that is there from the first page to the last is shown at least once. A
//! cursor is a number that means the same after a restart: the slot in its upper bits, the
//! engine's position within the slot in the lower 48.

mod draw;
mod list;

pub use list::Listing;

use crate::access::Access;
use crate::keyspace::Keyspace;
use crate::refusal::{Code, Halt, Refusal};
use crate::request::Target;
use crate::rules::read_record;
use crate::scope::{Scope, Slots};
use shoal_core::slot::SLOT_COUNT;
use shoal_core::{Record, Slot};
use shoal_storage::{EngineError, Patience, Tally};
use std::cell::Cell;
use std::sync::Arc;

/// Bits of a cursor that are the position within its slot.
const POSITION_BITS: u32 = 48;

impl Access<'_> {
    /// How many keys there are, and how many of them carry an expiry.
    #[must_use]
    pub fn count(&self, target: &Target) -> Tally {
        self.routing
            .find(target)
            .map_or_else(Tally::default, |keyspace| self.with_staged(keyspace, keyspace.tally()))
    }

    /// How many keys this node holds in `scope`, and how many of them carry an expiry.
    pub(crate) fn count_in(&self, target: &Target, scope: Scope) -> Tally {
        let Some(keyspace) = self.routing.find(target) else { return Tally::default() };
        let slots = self.slots_in(keyspace, scope);
        if slots.are_all() {
            return self.count(target);
        }
        self.tally_in(keyspace, &slots)
    }

    fn tally_in(&self, keyspace: &Keyspace, slots: &Slots) -> Tally {
        slots.runs().map(|run| self.tally_of(keyspace, run)).fold(Tally::default(), Tally::plus)
    }

    /// How many keys of `slot` there are.
    #[must_use]
    pub fn count_slot(&self, target: &Target, slot: Slot) -> Tally {
        let Some(keyspace) = self.routing.find(target) else { return Tally::default() };
        self.tally_of(keyspace, slot.number()..slot.number() + 1)
    }

    /// The tally of a run of slots, with what the transaction changed.
    fn tally_of(&self, keyspace: &Keyspace, slots: std::ops::Range<u16>) -> Tally {
        let stored = keyspace.engine.tally(keyspace.space(), slots.clone());
        let Some(staged) = &self.staged else { return stored };
        let slots = slots.filter_map(Slot::new);
        let added = slots.map(|slot| staged.slot_tally(keyspace.space(), slot));
        added.fold(stored, Tally::plus)
    }

    fn with_staged(&self, keyspace: &Keyspace, tally: Tally) -> Tally {
        self.staged.as_ref().map_or(tally, |staged| tally.plus(staged.tally(keyspace.space())))
    }

    /// Shows `visit` about `count` live entries from `cursor` on (0 first), and returns the
    /// cursor to go on from, 0 at the end. Records that come from other nodes have lost their
    /// values on the way.
    ///
    /// # Errors
    /// [`Halt::Cold`] for a keyspace on disk where waiting is not allowed, else as
    /// [`Access::run`].
    pub fn scan(
        &mut self,
        target: &Target,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<u64, Halt> {
        self.scan_in(target, Scope::Cluster, cursor, count, visit)
    }

    /// As [`Access::scan`], of what is in `scope`.
    ///
    /// # Errors
    /// As [`Access::scan`].
    pub fn scan_in(
        &mut self,
        target: &Target,
        scope: Scope,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<u64, Halt> {
        self.know(target)?;
        let Some(keyspace) = self.routing.find(target).map(Arc::clone) else { return Ok(0) };
        let (Some(first), position) = split_cursor(cursor) else { return Ok(0) };
        let next = if scope == Scope::Cluster && !keyspace.local {
            self.scan_cluster(&keyspace, (first, position), count, visit)?
        } else {
            let from = (first, position);
            self.within(&keyspace, scope, |access, slots| {
                access.scan_slots(&keyspace, slots, from, count, visit)
            })?
        };
        Ok(next.map_or(0, |(slot, position)| join_cursor(slot, position)))
    }

    /// Does `walk` over what this node holds in `scope`.
    fn within<R>(
        &mut self,
        keyspace: &Keyspace,
        scope: Scope,
        walk: impl FnOnce(&mut Self, &Slots) -> Result<R, Halt>,
    ) -> Result<R, Halt> {
        self.node.is_latest()?;
        self.may_walk(keyspace)?;
        let slots = self.slots_in(keyspace, scope);
        if keyspace.local || scope != Scope::Led {
            return walk(self, &slots);
        }
        self.no_part_in_transaction()?;
        self.look_at_led(keyspace, &slots, |access| walk(access, &slots))
    }

    /// Shows `visit` about `count` live entries of these slots that are held here, from a position
    /// of the first slot on, until it says no; returns where to go on from.
    pub(crate) fn scan_slots(
        &mut self,
        keyspace: &Keyspace,
        slots: &Slots,
        (first, mut position): (u16, u64),
        count: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<Option<(u16, u64)>, Halt> {
        let mut shown = 0;
        let mut slot = first;
        let goes_on = Cell::new(true);
        let mut visit = |key: &[u8], record: Record<'_>| {
            goes_on.set(visit(key, record));
            goes_on.get()
        };
        while slot < SLOT_COUNT {
            if shown >= count || !goes_on.get() {
                return Ok(Some((slot, position)));
            }
            if !slots.contain(slot) {
                // Another node leads it by now, or did before.
                (slot, position) = (slots.from(slot), 0);
                continue;
            }
            if position == 0 {
                let next = self.next_used_of(keyspace, slots, slot);
                if next >= SLOT_COUNT {
                    return Ok(None);
                }
                slot = next;
            }
            let left = count - shown;
            let (seen, next) = self.scan_slot(keyspace, slot, position, left, &mut visit)?;
            shown += seen;
            match next {
                Some(next) => position = next,
                None => (slot, position) = (slot + 1, 0),
            }
        }
        Ok(None)
    }

    /// One page of one slot: how many entries it looked at, and where the next page starts.
    fn scan_slot(
        &mut self,
        keyspace: &Keyspace,
        slot: u16,
        position: u64,
        count: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<(usize, Option<u64>), Halt> {
        let number = Slot::new(slot).unwrap_or_default();
        let staged = self.staged.as_deref();
        let now = self.now;
        let mut seen = 0;
        let mut damage: Result<(), EngineError> = Ok(());
        let mut show = |key: &[u8], value: &[u8]| {
            seen += 1;
            match read_record(key, value) {
                Ok(record) => !record.is_live_at(now) || visit(key, record),
                Err(error) => {
                    damage = Err(error);
                    false
                }
            }
        };
        if position == 0
            && let Some(staged) = staged
        {
            for (key, value) in staged.of_slot(keyspace.space(), number) {
                show(key, value);
            }
        }
        let (next, commit) =
            keyspace.engine.page(keyspace.space(), slot, position, count, &mut |key, value| {
                let hidden = staged.is_some_and(|s| s.find(keyspace, number, key).is_some());
                hidden || show(key, value)
            })?;
        self.commit = self.commit.join(commit);
        damage?;
        Ok((seen, next))
    }

    /// The first of these slots from `slot` on that may hold something, `SLOT_COUNT` if none does.
    fn next_used_of(&self, keyspace: &Keyspace, slots: &Slots, slot: u16) -> u16 {
        let mut slot = slots.from(slot);
        while slot < SLOT_COUNT {
            let used = self.next_used(keyspace, slot);
            slot = slots.from(used);
            if used == slot {
                break;
            }
        }
        slot
    }

    /// The first slot from `slot` on that may hold something, `SLOT_COUNT` if none does.
    fn next_used(&self, keyspace: &Keyspace, mut slot: u16) -> u16 {
        let staged = self.staged.as_deref();
        let used = |mut slots: std::ops::Range<u16>| {
            keyspace.engine.tally(keyspace.space(), slots.clone()) != Tally::default()
                || staged.is_some_and(|staged| {
                    let touched = |slot| staged.touches(keyspace.space(), slot);
                    slots.any(|slot| Slot::new(slot).is_some_and(touched))
                })
        };
        while slot < SLOT_COUNT {
            let number = Slot::new(slot).unwrap_or_default();
            let end = keyspace.partitioning().slots_of(keyspace.partition_of(number)).end;
            if !used(slot..end) {
                slot = end;
                continue;
            }
            if let Some(found) = (slot..end).find(|slot| used(*slot..*slot + 1)) {
                return found;
            }
            slot = end;
        }
        SLOT_COUNT
    }

    fn may_walk(&self, keyspace: &Keyspace) -> Result<(), Halt> {
        if self.patience == Patience::Inline && !keyspace.in_memory() {
            return Err(Halt::Cold);
        }
        Ok(())
    }
}

fn split_cursor(cursor: u64) -> (Option<u16>, u64) {
    let slot = u16::try_from(cursor >> POSITION_BITS).ok().filter(|slot| *slot < SLOT_COUNT);
    (slot, cursor & ((1 << POSITION_BITS) - 1))
}

fn join_cursor(slot: u16, position: u64) -> u64 {
    debug_assert!(position < 1 << POSITION_BITS, "positions have 48 bits");
    u64::from(slot) << POSITION_BITS | position
}

/// The refusal of a cursor that no scan gave out.
#[must_use]
pub fn bad_cursor() -> Refusal {
    Refusal::new(Code::BadRequest, "invalid cursor")
}
