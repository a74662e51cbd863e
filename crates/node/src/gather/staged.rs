//! What a transaction is about to write, as walks and counts of the same transaction see it.
//!
//! Does not know: how it is sent.

use crate::access::Access;
use crate::afar::Spot;
use crate::errand::AT_ONCE;
use crate::keyspace::Keyspace;
use crate::overlay::Standing;
use crate::refusal::Halt;
use crate::request::Target;
use shoal_core::Slot;
use shoal_core::record::OwnedRecord;
use shoal_storage::Tally;
use std::ops::Range;
use std::sync::Arc;

/// A key that the transaction has written, and the record that it is to have; none where it is to
/// be gone.
pub(super) type Written = (Vec<u8>, Option<OwnedRecord>);

impl Access<'_> {
    /// Whether the transaction has written to this key.
    pub(super) fn has_written(&self, keyspace: &Keyspace, key: &[u8]) -> bool {
        let slot = Slot::of(key).number();
        let overlay = self.overlay.as_ref();
        overlay.is_some_and(|overlay| overlay.stands(keyspace.space(), slot, key).is_some())
    }

    /// What the transaction has written to these slots, in the order of slots and keys.
    pub(super) fn written_to(&self, keyspace: &Keyspace, slots: Range<u16>) -> Vec<Written> {
        let Some(overlay) = &self.overlay else { return Vec::new() };
        let written = overlay.all_of(keyspace.space(), slots);
        let live = |standing: Standing<'_>| {
            let record = standing.record();
            let record = record.filter(|record| record.borrow().is_live_at(self.now));
            (standing.key.to_vec(), record)
        };
        written.map(live).collect()
    }

    /// What the transaction adds to the keys of `keyspace`: each key that it has written is looked
    /// up, as it is for others.
    pub(super) fn written_tally(&mut self, keyspace: &Arc<Keyspace>) -> Result<Tally, Halt> {
        let written = self.written_to(keyspace, super::ask::rest(0));
        if written.is_empty() {
            return Ok(Tally::default());
        }
        // To count is not to depend on what is there.
        let overlay = self.overlay.take();
        let tally = self.tally_of_written(keyspace, &written);
        self.overlay = overlay;
        tally
    }

    fn tally_of_written(
        &mut self,
        keyspace: &Arc<Keyspace>,
        written: &[Written],
    ) -> Result<Tally, Halt> {
        let target = Target::Named(Arc::clone(&keyspace.name));
        let mut sum = Tally::default();
        for some in written.chunks(AT_ONCE) {
            self.ahead(&target, some.iter().map(|(key, _)| &key[..]))?;
            for (key, next) in some {
                let spot = Spot { keyspace: Arc::clone(keyspace), slot: Slot::of(key) };
                let before = tally_of(self.look(&spot, key)?.live());
                let after = tally_of(next.as_ref());
                sum.keys += after.keys - before.keys;
                sum.expiring += after.expiring - before.expiring;
            }
        }
        Ok(sum)
    }
}

fn tally_of(live: Option<&OwnedRecord>) -> Tally {
    let expires = live.is_some_and(|record| record.expires_at.is_some());
    Tally { keys: live.is_some().into(), expiring: expires.into() }
}
