//! Several keys of one slot, judged and written as one: a conditional batch, carried out at one
//! owner of the slot.
//!
//! Read every key at quorum, judge every condition, make all records durable in the own copy at
//! once, then send them to the others. A copy takes them all or none: none, where anything newer
//! than what was judged is stored under any of the keys, be it written or only looked at. Then all
//! is read and judged again, at most [`MAX_RETRIES`] times.
//!
//! Holds: each key's record has the smallest successor of what it follows, as that of any
//! read-modify-write, and so the records of one batch have versions of their own. One version above
//! all that was read would be unsafe: a plain write of the key whose record is the oldest, stamped
//! between that record and the batch and acknowledged by owners that the batch has not reached,
//! would lie below a batch that never saw it, and be lost. As it is, what a batch did not see is
//! newer than what it wrote. A version is attempted once.
//!
//! Holds: what a condition is judged by is never a record of this request, but the newest of
//! others. Where the newest of a key is an own attempt, it is written anew at a new version; whether
//! it may be is judged by what was there before, and by what copies have told that stood in the way.
//! So where another write came between, to some owners, the batch does not write over it what
//! its condition forbids.
//!
//! Holds: `Unmet`, `Conflict`, `Elsewhere` and `Full` are answered only if nothing of any attempt can be
//! seen: no copy took one, or every record of them has been passed by. Where a copy took an attempt and
//! another write of one of the keys came between, the other keys may show the batch: that is
//! `Unknown`, as if the batch had come first and the other write over it.
//!
//! Does not know: how requests for one key are kept in order.

mod part;
mod reads;

pub use part::{BatchOutcome, Condition, Part};

use super::answers::Answers;
use super::execute::base_of;
use super::{
    Answer, Ask, Effect, Event, Found, Guarded, Item, Level, Member, Owners, Refusal, Reply, Stamps,
};
use crate::ids::NodeId;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::replica::Floor;
use crate::version::Version;
use bytes::Bytes;
use part::Track;
use reads::Reads;
use std::sync::Arc;

/// How often a refused attempt is followed by another.
const MAX_RETRIES: u8 = 3;

/// A conditional batch under way.
#[derive(Debug)]
pub struct Batch {
    me: NodeId,
    level: Level,
    owners: Arc<Owners>,
    tracks: Vec<Track>,
    retries: u8,
    /// Counts the rounds of reading and of taking alike.
    round: u32,
    /// What the copies are asked to take in this round.
    sent: Arc<[Guarded]>,
    answers: Answers<Said>,
    state: State,
    /// Whether any replica took any attempt, or may have.
    taken: bool,
    /// The newest attempt that the own copy took. Only such a one may become hints.
    kept: Vec<Item>,
}

#[derive(Debug)]
enum State {
    /// The newest records are being read.
    Reading(Reads),
    /// The own copy is to take the batch.
    Own,
    /// The other copies are to take it.
    Others,
    /// A newer map is awaited.
    Mapless,
    /// The client was answered; the rest is for the hints.
    Answered,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Accepted,
    Refused,
}

type Effects = Vec<Effect<BatchOutcome>>;

impl Batch {
    /// Begins. Each key comes once, and all share a slot. `tried` gives the greatest version that
    /// this node has tried for a key and that may still be under way.
    ///
    /// # Errors
    /// [`BatchOutcome::NoQuorum`] if too few owners are `reachable`.
    pub fn start(
        me: NodeId,
        parts: Vec<Part>,
        level: Level,
        owners: Arc<Owners>,
        tried: impl Fn(&Bytes) -> Version,
        reachable: impl Fn(NodeId) -> bool,
        out: &mut Effects,
    ) -> Result<Self, BatchOutcome> {
        if !owners.reach(level, |member| reachable(member.node)) {
            let lack = owners.no_quorum(level, |m| reachable(m.node), |node| !reachable(node));
            return Err(BatchOutcome::NoQuorum(lack));
        }
        let keys = parts.iter().map(|part| &part.key);
        let reads = Reads::start(me, keys, &owners, reachable, 0, out);
        let reads = reads.map_err(BatchOutcome::NoQuorum)?;
        let track = |part: Part| {
            let tried = tried(&part.key);
            Track::new(part, tried)
        };
        Ok(Self {
            me,
            level,
            owners,
            tracks: parts.into_iter().map(track).collect(),
            retries: 0,
            round: 0,
            sent: Arc::from([]),
            answers: Answers::new(),
            state: State::Reading(reads),
            taken: false,
            kept: Vec::new(),
        })
    }

    /// Takes an event in and lists what is to be done.
    pub fn on(&mut self, event: Event, clock: &mut dyn Stamps, out: &mut Effects) {
        if let State::Reading(reads) = &mut self.state {
            if let Event::Remapped(owners) = event {
                if reads.is_mapless() && owners.epoch > self.owners.epoch {
                    probe("batch: begun again at a newer epoch");
                    self.owners = owners;
                    self.read_again(out);
                }
                return;
            }
            match reads.on(event, out) {
                None => {}
                Some(Ok(found)) => self.judge(&found, clock, out),
                Some(Err(lack)) => self.answer(self.unfinished(BatchOutcome::NoQuorum(lack)), out),
            }
            return;
        }
        match event {
            Event::Answered(answer) if answer.round == self.take_round() => {
                self.answered(&answer, out);
            }
            Event::Failed { node, round } if round == self.take_round() => {
                self.answers.fail(node);
                self.evaluate(out);
            }
            Event::Answered(_) | Event::Failed { .. } | Event::Slow => {}
            Event::Remapped(owners) => self.remapped(owners, out),
            Event::Deadline => self.end(out),
        }
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The owners that are asked.
    #[must_use]
    pub const fn owners(&self) -> &Arc<Owners> {
        &self.owners
    }

    /// Of each key the greatest version tried so far, for [`Batch::start`] of the next one.
    pub fn tried(&self) -> impl Iterator<Item = (&Bytes, Version)> {
        self.tracks.iter().map(Track::tried)
    }

    /// The keys and records that hints are to carry.
    #[must_use]
    pub fn kept(&self) -> &[Item] {
        &self.kept
    }

    /// The keys have been read: are the conditions met?
    fn judge(&mut self, found: &[Found], clock: &mut dyn Stamps, out: &mut Effects) {
        let now_ms = found.iter().map(|found| found.now_ms).max().unwrap_or(0);
        let floor = found.iter().map(|found| found.floor).max().unwrap_or_default();
        let mark = found.iter().map(|found| found.mark).max().unwrap_or_default();
        for (track, found) in self.tracks.iter_mut().zip(found) {
            track.learn(base_of(found));
        }
        let again = planted(Bug::OwnBatchAgain) && self.tracks.iter().any(Track::is_own);
        if !again && !self.tracks.iter().all(|track| track.is_met(now_ms)) {
            let outcome = if self.is_traceless() {
                BatchOutcome::Unmet
            } else {
                probe("batch: came between its own attempt");
                BatchOutcome::Unknown
            };
            return self.answer(outcome, out);
        }
        if !self.tracks.iter().any(Track::writes) {
            return self.answer(BatchOutcome::Done { versions: Vec::new() }, out);
        }
        self.attempt((floor, mark), clock, out);
    }

    /// Whether nothing of an attempt can be seen any more.
    fn is_traceless(&self) -> bool {
        !self.taken || self.tracks.iter().all(Track::is_passed_by)
    }

    fn attempt(&mut self, above: (Floor, Version), clock: &mut dyn Stamps, out: &mut Effects) {
        // Where there is nothing to follow, the clock says when it is.
        let first = self.tracks.iter().any(Track::follows_nothing);
        let Ok(stamp) = first.then(|| clock.stamp()).transpose() else {
            probe("batch: the clock gave no stamp");
            return self.answer(self.unfinished(BatchOutcome::Elsewhere), out);
        };
        self.note_round();
        let me = self.me;
        self.sent = self.tracks.iter_mut().map(|track| track.attempt(me, above, stamp)).collect();
        self.round += 1;
        self.answers.clear();
        self.state = State::Own;
        self.send(me, out);
    }

    /// The number of the round as it is sent: those that the reads use leave it free.
    fn take_round(&self) -> u32 {
        reads::shared_round(self.round, self.tracks.len(), self.tracks.len())
    }

    fn send(&self, to: NodeId, out: &mut Effects) {
        let ask = Ask::Batch { parts: Arc::clone(&self.sent) };
        out.push(Effect::Send { to, round: self.take_round(), ask });
    }

    fn answered(&mut self, answer: &Answer, out: &mut Effects) {
        if matches!(self.state, State::Mapless | State::Over) {
            return;
        }
        let from = answer.from;
        match &answer.reply {
            Reply::Refused(Refusal::Stale) => {
                // The replica may have stored it and been fenced before that was durable.
                self.taken = true;
                if matches!(self.state, State::Answered) {
                    self.answers.insert(from, Said::Refused);
                    return self.evaluate(out);
                }
                self.state = State::Mapless;
                out.push(Effect::pull_map(self.owners.epoch, answer.epoch));
                return;
            }
            Reply::Accepted => {
                self.taken = true;
                let now = self.owners.is_epoch(answer.epoch);
                self.answers.insert(from, if now { Said::Accepted } else { Said::Refused });
            }
            // A copy that takes nothing makes this node the wrong one to carry it out.
            Reply::Refused(why) if from.node == self.me && matches!(self.state, State::Own) => {
                probe("batch: the own copy takes nothing");
                let outcome = match why {
                    Refusal::Full(full) => BatchOutcome::Full(*full),
                    _ => BatchOutcome::Elsewhere,
                };
                return self.answer(self.unfinished(outcome), out);
            }
            Reply::Changed(newer) => {
                for (key, rank) in newer {
                    let track = self.tracks.iter_mut().find(|track| track.key() == key);
                    if let Some(track) = track {
                        track.was_told(*rank);
                    }
                }
                self.answers.insert(from, Said::Refused);
            }
            Reply::BelowFloor(_) | Reply::BelowMark(_) | Reply::Refused(_) => {
                self.answers.insert(from, Said::Refused);
            }
            Reply::Newer(_)
            | Reply::Conflict { .. }
            | Reply::Found { .. }
            | Reply::Clock
            | Reply::Page { .. }
            | Reply::Floors { .. }
            | Reply::Digest(_)
            | Reply::Leaves(_)
            | Reply::Proven(_) => return,
        }
        self.evaluate(out);
    }

    fn evaluate(&mut self, out: &mut Effects) {
        match self.state {
            State::Own => match self.answers.of_node(self.me) {
                Some(Said::Accepted) => {
                    self.kept = self.tracks.iter().filter_map(Track::item).collect();
                    self.state = State::Others;
                    for to in self.owners.nodes().filter(|node| *node != self.me) {
                        self.send(to, out);
                    }
                    self.evaluate(out);
                }
                Some(Said::Refused) => self.retry(out),
                None if self.answers.has_failed(self.me) => {
                    // It was sent, and what became of it is not known.
                    self.taken = true;
                    self.retry(out);
                }
                None => {}
            },
            State::Others => {
                let took = |member| self.answers.of(member) == Some(&Said::Accepted);
                let may = |member: Member| {
                    took(member)
                        || (!self.answers.has(member.node) && !self.answers.has_failed(member.node))
                };
                if self.owners.reach(self.level, took) {
                    let versions = self.tracks.iter().filter_map(Track::version).collect();
                    self.answer(BatchOutcome::Done { versions }, out);
                    self.evaluate(out);
                } else if !self.owners.reach(self.level, may) {
                    self.retry(out);
                }
            }
            State::Answered => {
                let silent = |node| !self.answers.has(node) && !self.answers.has_failed(node);
                if !self.owners.nodes().any(silent) {
                    self.leave_to_hints(out);
                }
            }
            State::Reading(_) | State::Mapless | State::Over => {}
        }
    }

    fn retry(&mut self, out: &mut Effects) {
        self.retries += 1;
        if self.retries > MAX_RETRIES {
            probe("batch: gave up after its retries");
            return self.answer(self.unfinished(BatchOutcome::Conflict), out);
        }
        probe("batch: tried again");
        self.read_again(out);
    }

    fn read_again(&mut self, out: &mut Effects) {
        self.note_round();
        let keys = self.tracks.iter().map(Track::key);
        // Whoever has just failed may be back; the reads find out.
        match Reads::start(self.me, keys, &self.owners, |_| true, self.round, out) {
            Ok(reads) => self.state = State::Reading(reads),
            Err(lack) => self.answer(self.unfinished(BatchOutcome::NoQuorum(lack)), out),
        }
    }

    /// The rounds that the reads have used are used.
    fn note_round(&mut self) {
        if let State::Reading(reads) = &self.state {
            self.round = self.round.max(reads.round());
        }
    }

    /// `outcome`, unless some replica took something.
    fn unfinished(&self, outcome: BatchOutcome) -> BatchOutcome {
        if self.taken { BatchOutcome::Unknown } else { outcome }
    }

    fn remapped(&mut self, owners: Arc<Owners>, out: &mut Effects) {
        if owners.epoch <= self.owners.epoch || !matches!(self.state, State::Mapless) {
            return;
        }
        probe("batch: begun again at a newer epoch");
        self.owners = owners;
        self.read_again(out);
    }

    fn answer(&mut self, outcome: BatchOutcome, out: &mut Effects) {
        let wrote = matches!(&outcome, BatchOutcome::Done { versions } if !versions.is_empty());
        out.push(Effect::Done(outcome));
        if wrote {
            self.state = State::Answered;
        } else {
            self.leave_to_hints(out);
        }
    }

    fn end(&mut self, out: &mut Effects) {
        match self.state {
            // Reads end by their own deadline.
            State::Over | State::Reading(_) => {}
            State::Answered => self.leave_to_hints(out),
            State::Own | State::Others | State::Mapless => self.answer(BatchOutcome::Unknown, out),
        }
    }

    fn leave_to_hints(&mut self, out: &mut Effects) {
        let this_round = matches!(self.state, State::Others | State::Answered);
        self.state = State::Over;
        if self.kept.is_empty() {
            return;
        }
        let has = |node| {
            node == self.me || this_round && self.answers.of_node(node) == Some(&Said::Accepted)
        };
        let lacking = self.owners.nodes().filter(|node| !has(*node));
        out.extend(lacking.map(|to| Effect::Hint { to }));
    }
}
