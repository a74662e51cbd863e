//! What a replica knows of records that were evicted: not which, but up to which version.
//!
//! Eviction is local and says nothing to the other owners, so a record older than an evicted one
//! could be taken as if nothing had ever been there. A *mark* for each slot stands against that:
//! the greatest version that was evicted in it. Where no value is held under a key, nothing at or
//! below the mark is taken. The store raises its own mark as it evicts ([`Shelf::mark`]); a copy
//! that comes in takes over the marks of those it copies from, and lets go of what lies below one
//! and is not held there.
//!
//! Holds: a mark never falls during a life of the copy. What one owner showed is judged by the
//! marks of all others and the own one, but not by that owner's: it holds what it shows whatever it
//! has evicted beside.

use super::admit::Verdict;
use super::{Now, Put, Replica, Shelf};
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::quorum::{Member, Origin, Reply, Shown};
use crate::record::{Rank, Record};
use crate::slot::Slot;
use crate::version::Version;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many own records are looked at in one go.
const PAGE: usize = 256;

/// The marks that were taken over from other owners, by slot. Shared, since whoever only looks at a
/// replica copies it.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    copied: Arc<BTreeMap<Slot, Copied>>,
}

/// Those of one slot.
#[derive(Clone, Debug, Default)]
struct Copied {
    /// Of changes of owners that are over.
    settled: Version,
    /// Of the one under way, by owner.
    from: BTreeMap<Member, Version>,
}

impl Marks {
    /// The greatest one of a slot, without that of `except`.
    fn of(&self, slot: Slot, except: Option<Member>) -> Version {
        let Some(copied) = self.copied.get(&slot) else { return Version::ZERO };
        let others = copied.from.iter().filter(|(from, _)| Some(**from) != except);
        others.map(|(_, mark)| *mark).fold(copied.settled, Version::max)
    }

    fn raise(&mut self, slot: Slot, from: Member, mark: Version) {
        let copied = Arc::make_mut(&mut self.copied).entry(slot).or_default();
        let known = copied.from.entry(from).or_default();
        *known = mark.max(*known);
    }

    /// The change of owners is over: nothing more comes from any of them.
    pub(super) fn settle(&mut self) {
        if self.copied.values().all(|copied| copied.from.is_empty()) {
            return;
        }
        for copied in Arc::make_mut(&mut self.copied).values_mut() {
            let from = std::mem::take(&mut copied.from);
            copied.settled = from.into_values().fold(copied.settled, Version::max);
        }
    }
}

impl Replica {
    /// What stands against a record where this is held under its key, `except` for what the mark
    /// of that owner says: nothing where that is a value. The caller has looked before.
    pub(super) fn mark_against<S: Shelf>(
        &self,
        held: Option<Rank>,
        slot: Slot,
        except: Option<Member>,
        shelf: &S,
    ) -> Version {
        if held.is_some_and(|held| !held.tombstone) {
            return Version::ZERO;
        }
        shelf.mark(slot).max(self.marks.of(slot, except))
    }

    /// The mark of a slot, for others.
    pub(super) fn mark<S: Shelf>(&self, slot: Slot, shelf: &S) -> Version {
        self.mark_against(None, slot, None, shelf)
    }

    /// Takes over what another owner showed, with its mark.
    pub(super) fn copy<S: Shelf>(
        &mut self,
        slot: Slot,
        shown: &Shown,
        now: Now,
        shelf: &mut S,
    ) -> Result<(Reply, S::Ticket), S::Error> {
        let gone = self.not_shown(slot, shown, shelf)?;
        let mut ticket = S::Ticket::default();
        let mut taken: Vec<Put<'_>> = Vec::with_capacity(shown.items.len());
        for item in shown.items.iter() {
            let (held, durable) = shelf.look(slot, &item.key, |held| held.map(Record::rank))?;
            ticket = ticket.max(durable);
            let mark = self.mark_against(held, slot, Some(shown.from), shelf);
            let origin = Origin::Kept { floor: shown.floor };
            let put = Put::over(held, &item.key, item.record.borrow());
            match self.admit(&put, origin, now, mark) {
                Verdict::Take => taken.push(put),
                Verdict::BelowFloor => return Ok((Reply::BelowFloor(self.floor), ticket)),
                Verdict::Refuse(refusal) => return Ok((Reply::Refused(refusal), ticket)),
                Verdict::BelowMark(_) => probe("evict: what one owner holds another has evicted"),
                Verdict::Same | Verdict::Newer(_) | Verdict::Conflict => {}
            }
        }
        if !planted(Bug::MarkNotCopied) {
            self.marks.raise(slot, shown.from, shown.mark);
        }
        if !gone.is_empty() {
            probe("evict: dropped what a source has evicted");
            // What is stored over goes by that.
            let stays = |key: &[u8]| taken.iter().any(|put| put.key == key);
            let gone = gone.iter().filter(|(key, _)| !stays(key));
            let keys: Vec<(&[u8], Rank)> = gone.map(|(key, rank)| (&key[..], *rank)).collect();
            ticket = ticket.max(shelf.remove(slot, &keys)?);
        }
        if !taken.is_empty() {
            ticket = ticket.max(shelf.put(slot, &taken)?);
        }
        Ok((Reply::Accepted, ticket))
    }

    /// The keys of the run under which a value is held here that the other's mark covers, and
    /// none there.
    fn not_shown<S: Shelf>(
        &self,
        slot: Slot,
        shown: &Shown,
        shelf: &S,
    ) -> Result<Vec<(Bytes, Rank)>, S::Error> {
        let mut gone = Vec::new();
        if planted(Bug::MarkNotCopied) || planted(Bug::EvictedKept) {
            return Ok(gone);
        }
        let values = shown.items.iter().filter(|item| !item.record.borrow().is_tombstone());
        let values: BTreeSet<&[u8]> = values.map(|item| &item.key[..]).collect();
        let last = shown.items.last().filter(|_| shown.more).map(|item| &item.key[..]);
        let mut after = shown.after.clone();
        loop {
            let mut looked_at = 0;
            let from = after.clone();
            shelf.page(slot, from.as_deref(), PAGE, |key, record| {
                if last.is_some_and(|last| key > last) {
                    return false;
                }
                looked_at += 1;
                after = Some(Bytes::copy_from_slice(key));
                let is_covered = record.version <= shown.mark && !record.is_tombstone();
                if is_covered && !values.contains(key) {
                    gone.push((Bytes::copy_from_slice(key), record.rank()));
                }
                true
            })?;
            if looked_at < PAGE {
                return Ok(gone);
            }
        }
    }
}

#[cfg(test)]
mod tests;
