//! Ordered lists: entries by slot, then key.
//!
//! Does not know: cursors; whoever lists goes on behind the last key.

use crate::access::Access;
use crate::keyspace::Keyspace;
use crate::refusal::Halt;
use crate::request::Target;
use crate::rules::read_record;
use crate::scope::{Scope, Slots};
use shoal_core::slot::SLOT_COUNT;
use shoal_core::{Record, Slot};
use shoal_storage::EngineError;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which entries to list, in the order of slots and keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listing<'l> {
    /// What their keys begin with.
    pub prefix: &'l [u8],
    /// The key behind which the list begins.
    pub after: Option<&'l [u8]>,
    /// How many at the most.
    pub limit: usize,
    /// Whether their values are wanted. Where they are not, a record that comes from another node
    /// has lost its own.
    pub values: bool,
}

impl Access<'_> {
    /// Shows `visit` the live entries that are listed, ordered by slot, then key. Returns whether
    /// more may follow.
    ///
    /// # Errors
    /// As [`Access::scan`].
    pub fn list(
        &mut self,
        target: &Target,
        listing: &Listing<'_>,
        visit: &mut dyn FnMut(&[u8], Record<'_>),
    ) -> Result<bool, Halt> {
        self.list_in(target, Scope::Cluster, listing, visit)
    }

    /// As [`Access::list`], of what is in `scope`.
    ///
    /// # Errors
    /// As [`Access::scan`].
    pub fn list_in(
        &mut self,
        target: &Target,
        scope: Scope,
        listing: &Listing<'_>,
        visit: &mut dyn FnMut(&[u8], Record<'_>),
    ) -> Result<bool, Halt> {
        self.know(target)?;
        let Some(keyspace) = self.routing.find(target).map(Arc::clone) else {
            return Ok(false);
        };
        let mut visit = |key: &[u8], record: Record<'_>| {
            visit(key, record);
            true
        };
        if scope == Scope::Cluster && !keyspace.local {
            return self.list_cluster(&keyspace, listing, &mut visit);
        }
        let first = listing.after.map_or(0, |key| Slot::of(key).number());
        self.within(&keyspace, scope, |access, slots| {
            access.list_slots(&keyspace, slots, first, listing, &mut visit)
        })
    }

    /// Shows `visit` the listed entries of these slots that are held here, in order, from the slot
    /// `first` on, until it says no. Returns whether more may follow.
    pub(crate) fn list_slots(
        &mut self,
        keyspace: &Keyspace,
        slots: &Slots,
        first: u16,
        listing: &Listing<'_>,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<bool, Halt> {
        let goes_on = Cell::new(true);
        let mut visit = |key: &[u8], record: Record<'_>| {
            goes_on.set(visit(key, record));
            goes_on.get()
        };
        let mut slot = first;
        let mut after = listing.after.map(<[u8]>::to_vec);
        let mut left = listing.limit;
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
            let (prefix, after) = (listing.prefix, after.take());
            let shown = self.list_slot(keyspace, slot, prefix, after, left, &mut visit)?;
            left -= shown;
            slot += 1;
        }
        Ok(true)
    }

    pub(super) fn list_slot(
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
        self.know(target)?;
        let Some(keyspace) = self.routing.find(target).map(Arc::clone) else { return Ok(()) };
        self.may_walk(&keyspace)?;
        let mut show = |key: &[u8], _: Record<'_>| {
            visit(key);
            true
        };
        self.list_slot(&keyspace, slot.number(), &[], None, limit, &mut show)?;
        Ok(())
    }
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
