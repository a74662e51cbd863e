//! What a replica says of the keys of a range, for comparison with another.

use super::{Replica, Shelf};
use crate::planted::{Bug, planted};
use crate::quorum::Reply;
use crate::record::{Rank, Record};
use crate::repair::{Digest, FANOUT, HashRange, LISTED, Leaf};
use crate::slot::Slot;
use bytes::Bytes;

/// How many records are looked at in one go.
const PAGE: usize = 256;

impl Replica {
    /// Walks through the slot and digests what lies in `range`.
    pub(super) fn digest<S: Shelf>(
        &self,
        slot: Slot,
        range: HashRange,
        shelf: &S,
    ) -> Result<(Reply, S::Ticket), S::Error> {
        let secret = self.limits.secret;
        let mut parts = Box::new([Leaf::default(); FANOUT]);
        let mut keys: Vec<(Bytes, Rank)> = Vec::new();
        let mut count = 0_usize;
        let may_divide = range.parts().next().is_some();
        let mut ticket = S::Ticket::default();
        let mut after: Option<Bytes> = None;
        loop {
            let mut looked_at = 0;
            let mut last = None;
            let mut note = |key: &[u8], record: &Record<'_>| {
                looked_at += 1;
                last = Some(Bytes::copy_from_slice(key));
                if !range.contains(secret, key) {
                    return true;
                }
                let rank = record.rank();
                if rank.tombstone && planted(Bug::TombstonesNotDigested) {
                    return true;
                }
                count += 1;
                if may_divide {
                    parts[range.part_of(secret, key)].add(secret, key, &rank);
                }
                if count <= LISTED || !may_divide {
                    keys.push((Bytes::copy_from_slice(key), rank));
                }
                true
            };
            let durable = shelf.page(slot, after.as_deref(), PAGE, &mut note)?;
            ticket = ticket.max(durable);
            after = last;
            if looked_at < PAGE {
                break;
            }
        }
        let digest =
            if count <= LISTED || !may_divide { Digest::Keys(keys) } else { Digest::Parts(parts) };
        Ok((Reply::Digest(digest), ticket))
    }
}
