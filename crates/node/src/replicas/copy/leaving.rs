//! What a copy holds that is no owner's any more: it answers nobody, but hands over what it has.

use super::PartitionCopy;
use crate::replicas::ShelfError;
use bytes::Bytes;
use shoal_core::quorum::Item;
use shoal_core::record::OwnedRecord;
use shoal_core::replica::{Floor, Shelf as _};
use shoal_core::slot::Slot;
use shoal_core::{Body, Epoch};
use shoal_storage::Patience;

/// How many bytes of records are handed over together, give or take a record.
const PAGE_BYTES: usize = 1 << 20;

/// Some of what a copy that goes holds.
pub(crate) struct Legacy {
    /// Keys and records, in order of keys; none after the last.
    pub(crate) items: Vec<Item>,
    /// The copy's floor when they were read.
    pub(crate) floor: Floor,
    /// Under which epoch it is no owner.
    pub(crate) epoch: Epoch,
}

impl PartitionCopy {
    /// What is stored in `slot` under the keys after `after`, at most `limit` records; nothing at
    /// all where the node is an owner. Blocks.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn legacy(
        &self,
        slot: Slot,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Option<Legacy>, ShelfError> {
        let state = self.state.lock();
        let owners = state.replica.owners();
        if owners.has_node(state.replica.member().node) {
            return Ok(None);
        }
        // Nobody puts anything any more: a copy that is no owner's takes nothing.
        let (floor, epoch) = (state.replica.floor(), owners.epoch);
        drop(state);
        let (mut items, mut bytes) = (Vec::new(), 0);
        self.shelf(Patience::Block).page(slot, after, limit, |key, record| {
            bytes += key.len();
            if let Body::Live { bytes: value, .. } = record.body {
                bytes += value.len();
            }
            let key = Bytes::copy_from_slice(key);
            items.push(Item { key, record: OwnedRecord::from(*record) });
            bytes < PAGE_BYTES
        })?;
        Ok(Some(Legacy { items, floor, epoch }))
    }
}
