//! A random key.

use crate::access::Access;
use crate::keyspace::Keyspace;
use crate::refusal::Halt;
use crate::request::Target;
use crate::scope::{Scope, Slots};
use shoal_core::Record;
use std::sync::Arc;

/// Draws of a random key before the first key found has to do.
const DRAWS: usize = 64;

impl Access<'_> {
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
        self.know(target)?;
        let Some(keyspace) = self.routing.find(target).map(Arc::clone) else { return Ok(None) };
        if scope == Scope::Cluster && !keyspace.local {
            return self.random_key_afar(&keyspace);
        }
        self.within(&keyspace, scope, |access, slots| access.draw(&keyspace, slots))
    }

    fn draw(&mut self, keyspace: &Keyspace, slots: &Slots) -> Result<Option<Vec<u8>>, Halt> {
        for _ in 0..DRAWS {
            let Ok(total @ 1..) = u64::try_from(self.tally_in(keyspace, slots).keys) else { break };
            let nth = fastrand::u64(..total);
            let Some((slot, nth)) = self.slot_of_nth(keyspace, slots, nth) else { break };
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
            self.list_slot(keyspace, slot, &[], None, limit, &mut show)?;
            if drawn.is_some() {
                return Ok(drawn);
            }
        }
        let mut first = None;
        let mut at = Some((0, 0));
        while let Some(from) = at.filter(|_| first.is_none()) {
            at = self.scan_slots(keyspace, slots, from, 64, &mut |key, _| {
                first.get_or_insert_with(|| key.to_vec());
                false
            })?;
        }
        Ok(first)
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
}
