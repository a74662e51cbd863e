//! How deletes and expiries die: one round of proven purge.
//!
//! A dead record may be dropped only when no older, live one can come back. So every owner proves
//! that it holds the record or something newer, then every owner raises its floor, below which
//! nothing is taken that was read before the floor rose, and only then exactly the proven records
//! are dropped.
//!
//! A round is for a partition and goes through its slots one after the other. Whether a slot has
//! anything dead is seen from its digest while that lists keys, and from its pages otherwise.
//!
//! Holds: the round runs at one epoch, with every owner answering; anything else ends it, and
//! nothing was dropped that was not proven. The floor rises after the proof, never before:
//! a record read in between would carry the new floor and still be under way when the proof
//! passes.
//!
//! Does not know: when a round is due, or whether all owners count and no change is under way;
//! whoever begins one has looked.

use super::{Digest, HashRange};
use crate::ids::NodeId;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::quorum::{Answer, Ask, Member, Reply};
use crate::record::Rank;
use crate::replica::Floor;
use crate::slot::Slot;
use crate::version::Millis;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// How many records are looked at, or dropped, in one go.
const PAGE: u16 = 256;
/// After how many proven records a round looks no further: what is left is for the next one.
const MOST_PROVEN: usize = 4_096;
/// The same in bytes of keys.
const MOST_PROVEN_BYTES: usize = 2 << 20;

/// What a round wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeEffect {
    /// Ask an owner, the own one too.
    Send {
        /// Its node.
        to: NodeId,
        /// The slot that it is asked about.
        slot: Slot,
        /// The round that the answer must repeat.
        round: u32,
        /// The question.
        ask: Ask,
    },
    /// The round is over.
    Over {
        /// How many records were dropped everywhere.
        purged: u64,
        /// Whether an answer that was not what was asked for ended it.
        broken_off: bool,
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
    /// Whether what has expired is left to eviction.
    evicts: bool,
    /// The slots that are still to be looked at.
    slots: VecDeque<Slot>,
    /// The one that is looked at, or dropped from.
    slot: Slot,
    dead: Arc<[(Bytes, Rank)]>,
    covered: Vec<bool>,
    /// Where the next page of own records begins.
    after: Option<Bytes>,
    /// What every owner proved, slot by slot, and is not dropped yet.
    proven: VecDeque<(Slot, Vec<(Bytes, Rank)>)>,
    listed: usize,
    listed_bytes: usize,
    dropped: u64,
    answered: BTreeSet<Member>,
    round: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Looking,
    Proving { more: bool },
    Raising,
    Dropping { records: usize },
    Over,
}

impl Purge {
    /// Begins a round among all owners in these slots, for what was dead and written by `floor`;
    /// in a keyspace that accepts event time only for what no event can come before any more,
    /// which `event_horizon_ms` after its version's time is so.
    #[must_use]
    pub fn start(
        me: NodeId,
        owners: Vec<Member>,
        slots: impl IntoIterator<Item = Slot>,
        floor: Floor,
        event_horizon_ms: Option<Millis>,
        out: &mut Vec<PurgeEffect>,
    ) -> Self {
        let slots: VecDeque<Slot> = slots.into_iter().collect();
        let mut purge = Self {
            me,
            owners,
            floor,
            event_horizon_ms,
            evicts: false,
            slot: slots.front().copied().unwrap_or_default(),
            slots,
            dead: Arc::from([]),
            covered: Vec::new(),
            after: None,
            proven: VecDeque::new(),
            listed: 0,
            listed_bytes: 0,
            dropped: 0,
            answered: BTreeSet::new(),
            round: 0,
            stage: Stage::Looking,
        };
        if planted(Bug::FloorBeforeProof) {
            purge.round = 1_000;
            purge.ask_all(&Ask::RaiseFloor { to: floor }, out);
            purge.round = 0;
        }
        purge.look_at_next(out);
        purge
    }

    /// The same where keys are evicted: tombstones alone are purged, what has expired is evicted
    /// sooner or later.
    #[must_use]
    pub const fn among_evicting(mut self) -> Self {
        self.evicts = true;
        self
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
            (Stage::Looking, Reply::Digest(Digest::Keys(keys))) => {
                self.after = None;
                let ranks = keys.iter().map(|(key, rank)| (key, *rank));
                self.seen(ranks, false, out);
            }
            (Stage::Looking, Reply::Digest(Digest::Parts(_))) => {
                self.after = None;
                self.look_at_page(out);
            }
            (Stage::Looking, Reply::Page { items, more, .. }) => {
                self.after = items.last().map(|item| item.key.clone());
                let ranks = items.iter().map(|item| (&item.key, item.record.borrow().rank()));
                self.seen(ranks, *more, out);
            }
            (Stage::Proving { more }, Reply::Proven(covered)) => {
                // One that says less than it was asked proves nothing more.
                let said = covered.iter().copied().chain(std::iter::repeat(false));
                for (all, one) in self.covered.iter_mut().zip(said) {
                    *all &= one;
                }
                if self.all_answered(answer.from) {
                    self.proved(more, out);
                }
            }
            (Stage::Raising, Reply::Floors { floor, .. }) if *floor >= self.floor => {
                if self.all_answered(answer.from) {
                    self.drop_next(out);
                }
            }
            (Stage::Dropping { records }, Reply::Accepted) => {
                if self.all_answered(answer.from) {
                    self.dropped += records as u64;
                    self.drop_next(out);
                }
            }
            _ => {
                probe("purge: a round was broken off");
                self.end(true, out);
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
            let (to, slot, round) = (member.node, self.slot, self.round);
            out.push(PurgeEffect::Send { to, slot, round, ask: ask.clone() });
        }
    }

    /// Looks at what the own replica holds in the next slot.
    fn look_at_next(&mut self, out: &mut Vec<PurgeEffect>) {
        let has_room = self.listed < MOST_PROVEN && self.listed_bytes < MOST_PROVEN_BYTES;
        let Some(slot) = self.slots.pop_front().filter(|_| has_room) else {
            return self.conclude(out);
        };
        self.slot = slot;
        self.ask_own(Ask::Digest { range: HashRange::ALL }, out);
    }

    fn look_at_page(&mut self, out: &mut Vec<PurgeEffect>) {
        self.ask_own(Ask::Page { after: self.after.clone(), limit: PAGE }, out);
    }

    fn ask_own(&mut self, ask: Ask, out: &mut Vec<PurgeEffect>) {
        self.round += 1;
        self.stage = Stage::Looking;
        let (to, slot, round) = (self.me, self.slot, self.round);
        out.push(PurgeEffect::Send { to, slot, round, ask });
    }

    fn seen<'k>(
        &mut self,
        ranks: impl Iterator<Item = (&'k Bytes, Rank)>,
        more: bool,
        out: &mut Vec<PurgeEffect>,
    ) {
        let at_ms = self.floor.0.wall_ms();
        let dead = ranks.filter(|(_, rank)| {
            let is_old = self.floor.covers(rank.written) && self.is_past_events(rank);
            let is_dead = if self.evicts { rank.tombstone } else { rank.is_dead_at(at_ms) };
            is_dead && is_old
        });
        self.dead = dead.map(|(key, rank)| (key.clone(), rank)).collect();
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
        let covered: Vec<(Bytes, Rank)> = covered.map(|(pair, _)| pair.clone()).collect();
        if !covered.is_empty() {
            self.listed += covered.len();
            self.listed_bytes += covered.iter().map(|(key, _)| key.len()).sum::<usize>();
            match self.proven.back_mut() {
                Some((slot, proven)) if *slot == self.slot => proven.extend(covered),
                _ => self.proven.push_back((self.slot, covered)),
            }
        }
        let has_room = self.listed < MOST_PROVEN && self.listed_bytes < MOST_PROVEN_BYTES;
        if more && self.after.is_some() && has_room {
            return self.look_at_page(out);
        }
        self.look_at_next(out);
    }

    /// Everything was looked at, or as much as goes into one round.
    fn conclude(&mut self, out: &mut Vec<PurgeEffect>) {
        if self.proven.is_empty() {
            return self.end(false, out);
        }
        self.stage = Stage::Raising;
        if planted(Bug::NoFloor) {
            return self.drop_next(out);
        }
        self.ask_all(&Ask::RaiseFloor { to: self.floor }, out);
    }

    /// Lets some more of the proven records be dropped, of one slot.
    fn drop_next(&mut self, out: &mut Vec<PurgeEffect>) {
        let Some((slot, mut proven)) = self.proven.pop_front() else {
            probe("purge: dropped everywhere");
            return self.end(false, out);
        };
        if proven.len() > usize::from(PAGE) {
            // An owner holds its copy's lock while it drops them.
            let rest = proven.split_off(usize::from(PAGE));
            self.proven.push_front((slot, rest));
        }
        self.slot = slot;
        self.stage = Stage::Dropping { records: proven.len() };
        self.ask_all(&Ask::Purge { round: self.floor, proven: proven.into() }, out);
    }

    fn end(&mut self, broken_off: bool, out: &mut Vec<PurgeEffect>) {
        self.stage = Stage::Over;
        out.push(PurgeEffect::Over { purged: self.dropped, broken_off });
    }
}

#[cfg(test)]
mod tests;
