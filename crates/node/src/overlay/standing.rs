//! What of a transaction's writes stands at the moment, for those who walk over keys.

use super::{Overlay, Pending};
use shoal_core::record::{Body, OwnedRecord};
use std::ops::Range;

/// One key that is to be written.
#[derive(Clone, Copy)]
pub(crate) struct Standing<'o> {
    /// The key.
    pub(crate) key: &'o [u8],
    next: &'o Pending,
}

impl Standing<'_> {
    /// The record that is to be there; none where the key is to be gone.
    pub(crate) fn record(&self) -> Option<OwnedRecord> {
        let record = self.next.as_record()?;
        let gone = matches!(record.borrow().body, Body::Tombstone);
        (!gone).then_some(record)
    }
}

impl Overlay {
    /// What is to be written under a key, if anything is.
    pub(crate) fn stands(&self, space: u32, slot: u16, key: &[u8]) -> Option<Standing<'_>> {
        let group = &self.groups[*self.places.get(&(space, slot))?];
        let (key, at) = group.places.get_key_value(key)?;
        Some(Standing { key, next: &group.entries[*at].next })
    }

    /// What is to be written to these slots, in the order of slots and keys.
    pub(crate) fn all_of(
        &self,
        space: u32,
        slots: Range<u16>,
    ) -> impl Iterator<Item = Standing<'_>> {
        let groups = self.places.range((space, slots.start)..(space, slots.end));
        groups.flat_map(|(_, group)| {
            let group = &self.groups[*group];
            group.places.iter().map(|(key, at)| Standing { key, next: &group.entries[*at].next })
        })
    }
}
