//! Walking a keyspace: SCAN, ordered lists, counts, a random key.
//!
//! Holds: an entry that is there from the first page to the last is shown at least once. A
//! cursor is a number that means the same after a restart: the slot in its upper bits, the
//! engine's position within the slot in the lower 48.

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
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bits of a cursor that are the position within its slot.
const POSITION_BITS: u32 = 48;
/// Draws of a random key before the first key found has to do.
const RANDOM_DRAWS: usize = 64;

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
    /// cursor to go on from, 0 at the end.
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
        let Some(keyspace) = self.routing.find(target).map(Arc::clone) else { return Ok(0) };
        let (Some(first), position) = split_cursor(cursor) else { return Ok(0) };
        let next = if scope == Scope::Cluster && !keyspace.local {
            self.scan_cluster(&keyspace, (first, position), count, visit)?
        } else {
            self.may_walk(&keyspace)?;
            let slots = self.slots_in(&keyspace, scope);
            self.scan_slots(&keyspace, &slots, (first, position), count, visit)?
        };
        Ok(next.map_or(0, |(slot, position)| join_cursor(slot, position)))
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

    /// Shows `visit` up to `limit` live entries whose key starts with `prefix`, ordered by slot,
    /// then key, strictly after `after`. Returns whether more may follow.
    ///
    /// # Errors
    /// As [`Access::scan`].
    pub fn list(
        &mut self,
        target: &Target,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>),
    ) -> Result<bool, Halt> {
        self.list_in(target, Scope::Cluster, prefix, after, limit, visit)
    }

    /// As [`Access::list`], of what is in `scope`.
    ///
    /// # Errors
    /// As [`Access::scan`].
    pub fn list_in(
        &mut self,
        target: &Target,
        scope: Scope,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>),
    ) -> Result<bool, Halt> {
        let Some(keyspace) = self.routing.find(target).map(Arc::clone) else {
            return Ok(false);
        };
        let mut visit = |key: &[u8], record: Record<'_>| {
            visit(key, record);
            true
        };
        if scope == Scope::Cluster && !keyspace.local {
            return self.list_cluster(&keyspace, prefix, after, limit, &mut visit);
        }
        self.may_walk(&keyspace)?;
        let slots = self.slots_in(&keyspace, scope);
        let first = after.map_or(0, |key| Slot::of(key).number());
        self.list_slots(&keyspace, &slots, first, prefix, after, limit, &mut visit)
    }

    /// Shows `visit` up to `limit` live entries of these slots that are held here, in order, from
    /// the slot `first` on, in it after `after`, until it says no. Returns whether more may follow.
    #[expect(clippy::too_many_arguments, reason = "all of them are what is looked for")]
    pub(crate) fn list_slots(
        &mut self,
        keyspace: &Keyspace,
        slots: &Slots,
        first: u16,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<bool, Halt> {
        let goes_on = Cell::new(true);
        let mut visit = |key: &[u8], record: Record<'_>| {
            goes_on.set(visit(key, record));
            goes_on.get()
        };
        let mut slot = first;
        let mut after = after.map(<[u8]>::to_vec);
        let mut left = limit;
        while left > 0 && goes_on.get() {
            if after.is_some() && !slots.contain(slot) {
                after = None;
            }
            if after.is_none() {
                slot = self.next_used_of(keyspace, slots, slot);
            }
            if slot >= SLOT_COUNT {
                return Ok(false);
            }
            let shown = self.list_slot(keyspace, slot, prefix, after.take(), left, &mut visit)?;
            left -= shown;
            slot += 1;
        }
        Ok(true)
    }

    fn list_slot(
        &mut self,
        keyspace: &Keyspace,
        slot: u16,
        prefix: &[u8],
        mut after: Option<Vec<u8>>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<usize, Halt> {
        const PAGE: usize = 1_024;
        let number = Slot::new(slot).unwrap_or_default();
        if self.staged.as_ref().is_some_and(|s| s.touches(keyspace.space(), number)) {
            return self.list_staged_slot(keyspace, number, prefix, after.as_deref(), limit, visit);
        }
        let now = self.now;
        let mut shown = 0;
        let mut goes_on = true;
        // Keys before the prefix are skipped by starting just below it.
        if after.as_deref().is_none_or(|key| key < prefix) && !prefix.is_empty() {
            after = below(prefix);
        }
        loop {
            let mut damage: Result<(), EngineError> = Ok(());
            let mut last = None;
            let mut pulled = 0;
            let mut past = false;
            let commit = keyspace.engine.scan(
                keyspace.space(),
                slot,
                after.as_deref(),
                PAGE,
                &mut |key, value| {
                    pulled += 1;
                    if !key.starts_with(prefix) {
                        past = key > prefix;
                        last = Some(key.to_vec());
                        return !past;
                    }
                    match read_record(key, value) {
                        Ok(record) if record.is_live_at(now) => {
                            goes_on = visit(key, record);
                            shown += 1;
                        }
                        Ok(_) => {}
                        Err(error) => damage = Err(error),
                    }
                    last = Some(key.to_vec());
                    damage.is_ok() && goes_on && shown < limit
                },
            )?;
            self.commit = self.commit.join(commit);
            damage?;
            if shown >= limit || !goes_on || past || pulled < PAGE {
                return Ok(shown);
            }
            after = last;
        }
    }

    /// As [`Access::list_slot`], for a slot that the transaction changed: what is stored and what
    /// is staged are put in order together.
    fn list_staged_slot(
        &mut self,
        keyspace: &Keyspace,
        slot: Slot,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<usize, Halt> {
        let Some(staged) = self.staged.as_deref() else { return Ok(0) };
        let space = keyspace.space();
        let wanted = |key: &[u8]| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        let mut entries = BTreeMap::new();
        let commit =
            keyspace.engine.scan(space, slot.number(), None, usize::MAX, &mut |k, v| {
                if wanted(k) {
                    entries.insert(k.to_vec(), v.to_vec());
                }
                true
            })?;
        entries.retain(|key, _| staged.find(keyspace, slot, key).is_none());
        let changed = staged.of_slot(space, slot).filter(|(key, _)| wanted(key));
        entries.extend(changed.map(|(key, value)| (key.to_vec(), value.to_vec())));
        self.commit = self.commit.join(commit);
        let mut shown = 0;
        for (key, value) in &entries {
            let record = read_record(key, value)?;
            if record.is_live_at(self.now) {
                shown += 1;
                if !visit(key, record) || shown >= limit {
                    break;
                }
            }
        }
        Ok(shown)
    }

    /// Shows `visit` up to `limit` keys of `slot`.
    ///
    /// # Errors
    /// As [`Access::scan`].
    pub fn keys_of_slot(
        &mut self,
        target: &Target,
        slot: Slot,
        limit: usize,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Halt> {
        let Some(keyspace) = self.routing.find(target).map(Arc::clone) else { return Ok(()) };
        self.may_walk(&keyspace)?;
        let mut show = |key: &[u8], _: Record<'_>| {
            visit(key);
            true
        };
        self.list_slot(&keyspace, slot.number(), &[], None, limit, &mut show)?;
        Ok(())
    }

    /// A live key, drawn at random: first a slot, weighted by how many keys it has, then one of
    /// its keys. `None` where there is none.
    ///
    /// # Errors
    /// As [`Access::scan`].
    pub fn random_key(&mut self, target: &Target) -> Result<Option<Vec<u8>>, Halt> {
        self.random_key_in(target, Scope::Cluster)
    }

    /// As [`Access::random_key`], of what is in `scope`.
    ///
    /// # Errors
    /// As [`Access::scan`].
    pub fn random_key_in(
        &mut self,
        target: &Target,
        scope: Scope,
    ) -> Result<Option<Vec<u8>>, Halt> {
        let Some(keyspace) = self.routing.find(target).map(Arc::clone) else { return Ok(None) };
        if scope == Scope::Cluster && !keyspace.local {
            return self.random_key_afar(&keyspace);
        }
        self.may_walk(&keyspace)?;
        let slots = self.slots_in(&keyspace, scope);
        for _ in 0..RANDOM_DRAWS {
            let Ok(total @ 1..) = u64::try_from(self.count_in(target, scope).keys) else { break };
            let nth = fastrand::u64(..total);
            let Some((slot, nth)) = self.slot_of_nth(&keyspace, &slots, nth) else { break };
            let mut at = 0;
            let mut drawn = None;
            let mut show = |key: &[u8], _: Record<'_>| {
                if at <= nth {
                    drawn = Some(key.to_vec());
                }
                at += 1;
                true
            };
            let limit = usize::try_from(nth).unwrap_or(usize::MAX).saturating_add(1);
            self.list_slot(&keyspace, slot, &[], None, limit, &mut show)?;
            if drawn.is_some() {
                return Ok(drawn);
            }
        }
        let mut first = None;
        let mut cursor = 0;
        loop {
            cursor = self.scan_in(target, scope, cursor, 64, &mut |key, _| {
                first.get_or_insert_with(|| key.to_vec());
                false
            })?;
            if first.is_some() || cursor == 0 {
                return Ok(first);
            }
        }
    }

    /// The slot in which the `nth` key of these slots lies, and its place among the slot's keys.
    fn slot_of_nth(&self, keyspace: &Keyspace, slots: &Slots, mut nth: u64) -> Option<(u16, u64)> {
        let keys = |slots: std::ops::Range<u16>| {
            u64::try_from(self.tally_of(keyspace, slots).keys).unwrap_or(0)
        };
        let of = |partition| keyspace.partitioning().slots_of(partition);
        // A partition is led as a whole.
        for slots in keyspace.partitions().map(of).filter(|of| slots.contain(of.start)) {
            let there = keys(slots.clone());
            if nth >= there {
                nth -= there;
                continue;
            }
            for slot in slots {
                let here = keys(slot..slot + 1);
                if nth < here {
                    return Some((slot, nth));
                }
                nth -= here;
            }
        }
        None
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

/// A key below `prefix` and above everything smaller that does not start with it, as near as a
/// key can come; `None` where nothing is below.
fn below(prefix: &[u8]) -> Option<Vec<u8>> {
    let (last, rest) = prefix.split_last()?;
    if *last == 0 {
        return if rest.is_empty() { None } else { Some(rest.to_vec()) };
    }
    // One less in the last byte, then as many high bytes as a key can have.
    let mut key = rest.to_vec();
    key.push(last - 1);
    key.resize(crate::access::MAX_KEY, u8::MAX);
    Some(key)
}

/// The refusal of a cursor that no scan gave out.
#[must_use]
pub fn bad_cursor() -> Refusal {
    Refusal::new(Code::BadRequest, "invalid cursor")
}
