//! A replica's part in a round of purge.
//!
//! Holds: a floor once raised is never proven against again: what was read after it rose would
//! carry it.

use super::{Floor, Replica, Shelf};
use crate::planted::{Bug, planted};
use crate::quorum::{Refusal, Reply};
use crate::record::{Rank, Record};
use crate::slot::Slot;
use crate::version::Version;
use bytes::Bytes;

impl Replica {
    /// Says which of the dead records are covered here: by themselves or something newer.
    pub(super) fn prove<S: Shelf>(
        &self,
        slot: Slot,
        round: Floor,
        dead: &[(Bytes, Rank)],
        shelf: &S,
    ) -> Result<(Reply, S::Ticket), S::Error> {
        if self.floor >= round && !planted(Bug::FloorBeforeProof) {
            return Ok((Reply::Refused(Refusal::Stale), S::Ticket::default()));
        }
        let mut ticket = S::Ticket::default();
        let mut covered = Vec::with_capacity(dead.len());
        for (key, rank) in dead {
            let (held, durable) = shelf.look(slot, key, |held| held.map(Record::rank))?;
            ticket = ticket.max(durable);
            // Below the mark nothing comes in where there is no value, as if the dead one were here.
            let mark = self.mark_against(held, slot, None, shelf);
            let is_marked = mark != Version::ZERO && rank.version.max(rank.written) <= mark;
            covered.push(is_marked || held.is_some_and(|held| held >= *rank));
        }
        Ok((Reply::Proven(covered), ticket))
    }

    /// Whether it is one of the owners, and they are not changing: an owner to be may still take
    /// what the dead ones stand against.
    pub(super) fn may_take_part_in_purge(&self) -> bool {
        self.is_present() && (self.owners.next.is_empty() || planted(Bug::PurgeDuringMove))
    }

    /// Whether dead records may be dropped in this round: the floor has risen to it.
    pub(super) fn may_purge(&self, round: Floor) -> bool {
        self.may_take_part_in_purge() && (self.floor >= round || planted(Bug::NoFloor))
    }

    /// Drops exactly the proven records, where they are still what is stored.
    pub(super) fn purge<S: Shelf>(
        &mut self,
        slot: Slot,
        round: Floor,
        proven: &[(Bytes, Rank)],
        shelf: &mut S,
    ) -> Result<(Reply, S::Ticket), S::Error> {
        let mut keys: Vec<(&[u8], Rank)> = Vec::new();
        for (key, rank) in proven {
            let (held, _) = shelf.look(slot, key, |held| held.map(Record::rank))?;
            let by_age = planted(Bug::PurgeByAge)
                && held.is_some_and(|held| held.is_dead_at(round.0.wall_ms()));
            if let Some(held) = held.filter(|held| held == rank || by_age) {
                keys.push((key, held));
            }
        }
        let ticket = shelf.remove(slot, &keys)?;
        if !planted(Bug::NoFloor) {
            self.raise_purged(round);
        }
        Ok((Reply::Accepted, ticket))
    }
}
