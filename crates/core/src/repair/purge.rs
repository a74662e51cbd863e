//! How deletes and expiries die: one round of proven purge.
//!
//! A dead record may be dropped only when no older, live one can come back. So every owner proves
//! that it holds the record or something newer, then every owner raises its floor, below which
//! nothing is taken that was read before the floor rose, and only then exactly the proven records
//! are dropped.
//!
//! Holds: the round runs at one epoch, with every owner answering; anything else ends it, and
//! nothing was dropped that was not proven. The floor rises after the proof, never before:
//! a record read in between would carry the new floor and still be under way when the proof
//! passes.
//!
//! Does not know: when a round is due, or whether all owners count and no change is under way;
//! whoever begins one has looked.

use crate::ids::NodeId;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::quorum::{Answer, Ask, Item, Member, Reply};
use crate::record::Rank;
use crate::replica::Floor;
use crate::version::Millis;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many records are looked at in one round's page.
const PAGE: u16 = 256;

/// What a round wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeEffect {
    /// Ask an owner, the own one too.
    Send {
        /// Its node.
        to: NodeId,
        /// The round that the answer must repeat.
        round: u32,
        /// The question.
        ask: Ask,
    },
    /// The round is over.
    Over {
        /// How many records were dropped everywhere.
        purged: u64,
    },
}

/// One round of purge, begun by one owner.
#[derive(Clone, Debug)]
pub struct Purge {
    me: NodeId,
    owners: Vec<Member>,
    floor: Floor,
    /// How long older events may still come, where the keyspace accepts event time.
    event_horizon_ms: Option<Millis>,
    dead: Arc<[(Bytes, Rank)]>,
    covered: Vec<bool>,
    /// Where the next page of own records begins.
    after: Option<Bytes>,
    /// What every owner proved, of the pages so far.
    proven: Vec<(Bytes, Rank)>,
    answered: BTreeSet<Member>,
    round: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Looking,
    Proving { more: bool },
    Raising,
    Dropping,
    Over,
}

impl Purge {
    /// Begins a round among all owners, for what was dead and written by `floor`; in a keyspace
    /// that accepts event time only for what no event can come before any more, which
    /// `event_horizon_ms` after its version's time is so.
    #[must_use]
    pub fn start(
        me: NodeId,
        owners: Vec<Member>,
        floor: Floor,
        event_horizon_ms: Option<Millis>,
        out: &mut Vec<PurgeEffect>,
    ) -> Self {
        let mut purge = Self {
            me,
            owners,
            floor,
            event_horizon_ms,
            dead: Arc::from([]),
            covered: Vec::new(),
            after: None,
            proven: Vec::new(),
            answered: BTreeSet::new(),
            round: 0,
            stage: Stage::Looking,
        };
        if planted(Bug::FloorBeforeProof) {
            purge.round = 1_000;
            purge.ask_all(&Ask::RaiseFloor { to: floor }, out);
            purge.round = 0;
        }
        purge.look(out);
        purge
    }

    /// Whether the round has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// The floor that the round is for.
    #[must_use]
    pub const fn floor(&self) -> Floor {
        self.floor
    }

    /// Takes in an answer. One that is not what was asked for ends the round.
    pub fn answered(&mut self, answer: &Answer, out: &mut Vec<PurgeEffect>) {
        if answer.round != self.round || self.is_over() {
            return;
        }
        match (self.stage, &answer.reply) {
            (Stage::Looking, Reply::Page { items, more, .. }) => self.seen(items, *more, out),
            (Stage::Proving { more }, Reply::Proven(covered)) => {
                for (all, one) in self.covered.iter_mut().zip(covered) {
                    *all &= *one;
                }
                if self.all_answered(answer.from) {
                    self.proved(more, out);
                }
            }
            (Stage::Raising, Reply::Floors { floor, .. }) if *floor >= self.floor => {
                if self.all_answered(answer.from) {
                    self.begin_dropping(out);
                }
            }
            (Stage::Dropping, Reply::Accepted) => {
                if self.all_answered(answer.from) {
                    probe("purge: dropped everywhere");
                    self.end(self.proven.len() as u64, out);
                }
            }
            _ => {
                probe("purge: a round was broken off");
                self.end(0, out);
            }
        }
    }

    fn all_answered(&mut self, from: Member) -> bool {
        self.answered.insert(from);
        self.owners.iter().all(|member| self.answered.contains(member))
    }

    fn ask_all(&mut self, ask: &Ask, out: &mut Vec<PurgeEffect>) {
        self.round += 1;
        self.answered.clear();
        for member in &self.owners {
            out.push(PurgeEffect::Send { to: member.node, round: self.round, ask: ask.clone() });
        }
    }

    /// Looks at the next page of what the own replica holds.
    fn look(&mut self, out: &mut Vec<PurgeEffect>) {
        self.round += 1;
        self.stage = Stage::Looking;
        let ask = Ask::Page { after: self.after.clone(), limit: PAGE };
        out.push(PurgeEffect::Send { to: self.me, round: self.round, ask });
    }

    fn seen(&mut self, items: &[Item], more: bool, out: &mut Vec<PurgeEffect>) {
        self.after = items.last().map(|item| item.key.clone());
        let at_ms = self.floor.0.wall_ms();
        let dead = items.iter().filter_map(|item| {
            let rank = item.record.borrow().rank();
            let is_old = self.floor.covers(rank.written) && self.is_past_events(&rank);
            (rank.is_dead_at(at_ms) && is_old).then(|| (item.key.clone(), rank))
        });
        self.dead = dead.collect();
        self.covered = vec![true; self.dead.len()];
        if self.dead.is_empty() {
            return self.proved(more, out);
        }
        self.stage = Stage::Proving { more };
        if planted(Bug::PurgeWithoutProof) {
            return self.proved(more, out);
        }
        let ask = Ask::Prove { round: self.floor, dead: Arc::clone(&self.dead) };
        self.ask_all(&ask, out);
    }

    /// Whether an event older than a record of this rank would be refused by now.
    fn is_past_events(&self, rank: &Rank) -> bool {
        let horizon_ms = self.event_horizon_ms.filter(|_| !planted(Bug::EventsPurgedByWritten));
        horizon_ms.is_none_or(|horizon_ms| {
            rank.version.wall_ms.saturating_add(horizon_ms) <= self.floor.0.wall_ms()
        })
    }

    fn proved(&mut self, more: bool, out: &mut Vec<PurgeEffect>) {
        let covered = self.dead.iter().zip(&self.covered).filter(|(_, covered)| **covered);
        self.proven.extend(covered.map(|(pair, _)| pair.clone()));
        if more && self.after.is_some() {
            return self.look(out);
        }
        if self.proven.is_empty() {
            return self.end(0, out);
        }
        self.stage = Stage::Raising;
        if planted(Bug::NoFloor) {
            return self.begin_dropping(out);
        }
        self.ask_all(&Ask::RaiseFloor { to: self.floor }, out);
    }

    fn begin_dropping(&mut self, out: &mut Vec<PurgeEffect>) {
        self.stage = Stage::Dropping;
        let ask = Ask::Purge { round: self.floor, proven: self.proven.as_slice().into() };
        self.ask_all(&ask, out);
    }

    fn end(&mut self, purged: u64, out: &mut Vec<PurgeEffect>) {
        self.stage = Stage::Over;
        out.push(PurgeEffect::Over { purged });
    }
}

#[cfg(test)]
mod tests;
