//! What a replica says of the keys of a range, or of whole slots, for comparison with another.
//!
//! Holds: what is said of a whole slot is what is kept of it. Where nothing is, it is counted by
//! walking through the slot, and kept from then on. What is looked into more closely, because it
//! differs, is counted anew on the way: a digest that is wrong does not stay so.

use super::{Replica, Shelf};
use crate::planted::{Bug, planted};
use crate::quorum::Reply;
use crate::record::Rank;
use crate::repair::{Digest, FANOUT, HashRange, LISTED, Leaf};
use crate::slot::Slot;
use bytes::Bytes;

/// How many records are looked at in one go.
const PAGE: usize = 256;
/// After how many records no further slot is counted for one answer.
const MOST_COUNTED: u64 = 65_536;
/// The most slots that one answer speaks of.
const MOST_LEAVES: u16 = 1_024;

impl Replica {
    /// Says what the slots from this one on hold: as many as are known, and a few that are not.
    pub(super) fn leaves<S: Shelf>(
        &self,
        slot: Slot,
        count: u16,
        shelf: &S,
    ) -> Result<(Reply, S::Ticket), S::Error> {
        let end = slot.number().saturating_add(count.clamp(1, MOST_LEAVES));
        let (mut leaves, mut counted) = (Vec::new(), 0);
        for slot in (slot.number()..end).map_while(Slot::new) {
            let leaf = match shelf.tree(|tree| tree.leaf(slot)) {
                Some(known) => known,
                None if counted >= MOST_COUNTED => break,
                None => {
                    let leaf = self.count(slot, shelf)?;
                    counted += leaf.count;
                    leaf
                }
            };
            leaves.push(leaf);
        }
        Ok((Reply::Leaves(leaves), S::Ticket::default()))
    }

    /// What a slot holds, counted now.
    fn count<S: Shelf>(&self, slot: Slot, shelf: &S) -> Result<Leaf, S::Error> {
        let mut leaf = Leaf::default();
        walk(slot, true, shelf, |key, rank| leaf.add(self.limits.secret, key, rank))?;
        // What changed meanwhile is in what is kept, unless somebody else counts just now.
        Ok(shelf.tree(|tree| tree.leaf(slot)).unwrap_or(leaf))
    }

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
        let ticket = walk(slot, range == HashRange::ALL, shelf, |key, rank| {
            let is_passed_over = rank.tombstone && planted(Bug::TombstonesNotDigested);
            if is_passed_over || !range.contains(secret, key) {
                return;
            }
            count += 1;
            if may_divide {
                parts[range.part_of(secret, key)].add(secret, key, rank);
            }
            if count <= LISTED || !may_divide {
                keys.push((key.clone(), *rank));
            }
        })?;
        let digest =
            if count <= LISTED || !may_divide { Digest::Keys(keys) } else { Digest::Parts(parts) };
        Ok((Reply::Digest(digest), ticket))
    }
}

/// Shows `see` everything that a slot holds. Where it `counts`, the slot's digest is kept from then
/// on, unless somebody else is at that.
fn walk<S: Shelf>(
    slot: Slot,
    counts: bool,
    shelf: &S,
    mut see: impl FnMut(&Bytes, &Rank),
) -> Result<S::Ticket, S::Error> {
    let walk = counts.then(|| shelf.tree(|tree| tree.begin(slot))).flatten();
    let mut ticket = S::Ticket::default();
    let mut page: Vec<(Bytes, Rank)> = Vec::with_capacity(PAGE);
    loop {
        let after = page.last().map(|(key, _)| key.clone());
        page.clear();
        let shown = shelf.page(slot, after.as_deref(), PAGE, |key, record| {
            page.push((Bytes::copy_from_slice(key), record.rank()));
            true
        });
        match shown {
            Ok(durable) => ticket = ticket.max(durable),
            Err(error) => {
                if let Some(walk) = walk {
                    shelf.tree(|tree| tree.give_up(walk));
                }
                return Err(error);
            }
        }
        let is_last = page.len() < PAGE;
        if let Some(walk) = walk {
            shelf.tree(|tree| tree.pass(walk, &page, is_last));
        }
        page.iter().for_each(|(key, rank)| see(key, rank));
        if is_last {
            return Ok(ticket);
        }
    }
}
