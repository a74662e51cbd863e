//! A read-modify-write, carried out at one owner of its key.
//!
//! Read the key at quorum, decide, make the result durable in the own copy, then send it to the
//! others, all of which check that what it was computed from is still the newest they hold. If
//! not, begin again, at most [`MAX_RETRIES`] times.
//!
//! Holds: what was decided once is not decided again over itself: where the newest record read
//! is an earlier attempt of this request, that result is written anew at a new version. A
//! version is attempted once. `Conflict`, `Elsewhere` and `Full` are answered only if no replica took any
//! attempt. The own copy is among those that are read.
//!
//! Does not know: what is decided; how requests for one key are kept in order.

use super::answers::Answers;
use super::attempt::Attempts;
use super::{
    Answer, Ask, Base, Decide, Effect, Event, Executed, Found, Item, Level, Member, NoQuorum,
    Origin, Owners, Read, ReadOutcome, Refusal, Reply, Stamps,
};
use crate::ids::NodeId;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::record::{OwnedBody, OwnedRecord};
use crate::version::Version;
use bytes::Bytes;
use std::sync::Arc;

/// How often a refused attempt is followed by another.
const MAX_RETRIES: u8 = 3;

/// A read-modify-write under way.
#[derive(Debug)]
pub struct Execute<D: Decide> {
    me: NodeId,
    key: Bytes,
    level: Level,
    owners: Arc<Owners>,
    decide: D,
    retries: u8,
    attempts: Attempts<D::Answer>,
    round: u32,
    answers: Answers<Said>,
    state: State,
    /// Whether any replica took any attempt, or may have.
    taken: bool,
    /// The newest attempt that the own copy took. Only such a one may become a hint: nothing else
    /// has proven what it was computed from.
    kept: Option<Item>,
}

#[derive(Debug)]
enum State {
    /// The newest record is being read.
    Reading(Read),
    /// The own copy is to take the result.
    Own(Base),
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

type Effects<A> = Vec<Effect<Executed<A>>>;

impl<D: Decide> Execute<D> {
    /// Begins. `tried` is the greatest version that this node has tried for the key and that may
    /// still be under way.
    ///
    /// # Errors
    /// [`Executed::NoQuorum`] if too few owners are `reachable`.
    #[expect(clippy::too_many_arguments, reason = "each is one fact of the request")]
    pub fn start(
        me: NodeId,
        key: Bytes,
        level: Level,
        owners: Arc<Owners>,
        decide: D,
        tried: Version,
        reachable: impl Fn(NodeId) -> bool,
        out: &mut Effects<D::Answer>,
    ) -> Result<Self, Executed<D::Answer>> {
        if !owners.reach(level, |member| reachable(member.node)) {
            let lack = owners.no_quorum(level, |m| reachable(m.node), |node| !reachable(node));
            return Err(Executed::NoQuorum(lack));
        }
        let mut inner = Vec::new();
        let read =
            start_read(me, &key, &owners, reachable, 0, &mut inner).map_err(Executed::NoQuorum)?;
        let mut execute = Self {
            me,
            key,
            level,
            owners,
            decide,
            retries: 0,
            attempts: Attempts::new(me, tried),
            round: 0,
            answers: Answers::new(),
            state: State::Reading(read),
            taken: false,
            kept: None,
        };
        execute.pass_on(inner, out);
        Ok(execute)
    }

    /// Takes an event in and lists what is to be done.
    pub fn on(&mut self, event: Event, clock: &mut dyn Stamps, out: &mut Effects<D::Answer>) {
        if let State::Reading(read) = &mut self.state {
            let mut inner = Vec::new();
            read.on(event, &mut inner);
            // What is sent goes under the epoch that the read counts by, and no other.
            self.owners = Arc::clone(read.owners());
            let found = self.pass_on(inner, out);
            if let Some(outcome) = found {
                self.read_done(outcome, clock, out);
            }
            return;
        }
        match event {
            Event::Answered(answer) if answer.round == self.round => {
                self.answered(&answer, out);
            }
            Event::Failed { node, round } if round == self.round => {
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

    /// The greatest version tried so far, for [`Execute::start`] of the next one on this key.
    #[must_use]
    pub const fn tried(&self) -> Version {
        self.attempts.tried()
    }

    /// The key and the record that hints are to carry.
    #[must_use]
    pub const fn kept(&self) -> Option<&Item> {
        self.kept.as_ref()
    }

    /// The key and the record last tried.
    pub(super) fn attempt(&self) -> Option<Item> {
        let attempt = self.attempts.last()?;
        Some(Item { key: self.key.clone(), record: attempt.record.clone() })
    }

    /// Passes a read's effects on as this machine's; its outcome comes back.
    fn pass_on(
        &mut self,
        inner: Vec<Effect<ReadOutcome>>,
        out: &mut Effects<D::Answer>,
    ) -> Option<ReadOutcome> {
        let mut outcome = None;
        for effect in inner {
            match effect {
                Effect::Send { to, round, ask } => {
                    self.round = self.round.max(round);
                    out.push(Effect::Send { to, round, ask });
                }
                Effect::PullMap { at_least } => out.push(Effect::PullMap { at_least }),
                Effect::Hint { to } => out.push(Effect::Hint { to }),
                Effect::Done(done) => outcome = Some(done),
            }
        }
        outcome
    }

    fn read_done(
        &mut self,
        outcome: ReadOutcome,
        clock: &mut dyn Stamps,
        out: &mut Effects<D::Answer>,
    ) {
        let found = match outcome {
            ReadOutcome::Found(found) => found,
            ReadOutcome::NoQuorum(lack) => {
                return self.answer(self.unfinished(Executed::NoQuorum(lack)), out);
            }
        };
        let base = base_of(&found);
        let decided = match self.attempts.of(base) {
            Some(attempt) if !planted(Bug::OwnAttemptTwice) => {
                probe("execute: an own attempt was written anew");
                let OwnedRecord { body, expires_at, .. } = attempt.record.clone();
                (attempt.answer.clone(), Some((body, expires_at)))
            }
            _ => {
                let before = found.record.as_ref().map(OwnedRecord::borrow);
                self.decide.decide(before.as_ref(), found.now_ms)
            }
        };
        let (answer, change) = decided;
        let may_be_found = matches!(base, Base::Missed(newest) if !newest.tombstone);
        let removed =
            || (may_be_found && self.decide.removes()).then_some((OwnedBody::Tombstone, None));
        let Some((body, expires_at)) = change.or_else(removed) else {
            return self.answer(Executed::Done { answer, version: None }, out);
        };
        // Where there is nothing to follow, the clock says when it is.
        let follows = matches!(base, Base::Record(_));
        let stamp = match (!follows).then(|| clock.stamp()).transpose() {
            Ok(stamp) => stamp,
            Err(_) => {
                probe("execute: the clock gave no stamp");
                return self.answer(self.unfinished(Executed::Elsewhere), out);
            }
        };
        self.attempts.add(base, (found.floor, found.mark), stamp, body, expires_at, answer);
        self.begin_round();
        self.state = State::Own(base);
        self.send(self.me, base, out);
    }

    fn begin_round(&mut self) {
        self.round += 1;
        self.answers.clear();
    }

    fn send(&self, to: NodeId, base: Base, out: &mut Effects<D::Answer>) {
        let Some(item) = self.attempt() else { return };
        let ask = Ask::Take { items: Arc::from([item]), origin: Origin::Update { base } };
        out.push(Effect::Send { to, round: self.round, ask });
    }

    fn answered(&mut self, answer: &Answer, out: &mut Effects<D::Answer>) {
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
            Reply::Refused(why) if from.node == self.me && matches!(self.state, State::Own(_)) => {
                probe("execute: the own copy takes nothing");
                let outcome = match why {
                    Refusal::Full(full) => Executed::Full(*full),
                    _ => Executed::Elsewhere,
                };
                return self.answer(self.unfinished(outcome), out);
            }
            Reply::Newer(_)
            | Reply::BelowFloor(_)
            | Reply::BelowMark(_)
            | Reply::Conflict { .. }
            | Reply::Refused(_) => {
                self.answers.insert(from, Said::Refused);
            }
            Reply::Changed(_)
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

    fn evaluate(&mut self, out: &mut Effects<D::Answer>) {
        match self.state {
            State::Own(base) => match self.answers.of_node(self.me) {
                Some(Said::Accepted) => {
                    self.kept = self.attempt();
                    self.state = State::Others;
                    for to in self.owners.nodes().filter(|node| *node != self.me) {
                        self.send(to, base, out);
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
                    let attempt = self.attempts.last().expect("what was sent was an attempt");
                    let (answer, version) = (attempt.answer.clone(), attempt.record.version);
                    self.answer(Executed::Done { answer, version: Some(version) }, out);
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

    fn retry(&mut self, out: &mut Effects<D::Answer>) {
        self.retries += 1;
        if self.retries > MAX_RETRIES {
            probe("execute: gave up after its retries");
            let outcome = self.unfinished(Executed::Conflict);
            return self.answer(outcome, out);
        }
        probe("execute: tried again");
        self.read_again(out);
    }

    fn read_again(&mut self, out: &mut Effects<D::Answer>) {
        let mut inner = Vec::new();
        // Whoever has just failed may be back; the read finds out.
        let started =
            start_read(self.me, &self.key, &self.owners, |_| true, self.round, &mut inner);
        match started {
            Ok(read) => {
                self.state = State::Reading(read);
                self.pass_on(inner, out);
            }
            Err(lack) => self.answer(self.unfinished(Executed::NoQuorum(lack)), out),
        }
    }

    /// `outcome`, unless some replica took something.
    fn unfinished(&self, outcome: Executed<D::Answer>) -> Executed<D::Answer> {
        let untaken =
            matches!(outcome, Executed::Conflict | Executed::Elsewhere | Executed::Full(_));
        match self.attempts.last() {
            Some(attempt) if self.taken || !untaken => {
                Executed::Unknown { version: attempt.record.version }
            }
            _ => outcome,
        }
    }

    fn remapped(&mut self, owners: Arc<Owners>, out: &mut Effects<D::Answer>) {
        if owners.epoch <= self.owners.epoch || !matches!(self.state, State::Mapless) {
            return;
        }
        probe("execute: begun again at a newer epoch");
        self.owners = owners;
        self.read_again(out);
    }

    fn answer(&mut self, outcome: Executed<D::Answer>, out: &mut Effects<D::Answer>) {
        let wrote = matches!(outcome, Executed::Done { version: Some(_), .. });
        out.push(Effect::Done(outcome));
        if wrote {
            self.state = State::Answered;
        } else {
            self.leave_to_hints(out);
        }
    }

    fn end(&mut self, out: &mut Effects<D::Answer>) {
        match self.state {
            // A read ends by its own deadline.
            State::Over | State::Reading(_) => {}
            State::Answered => self.leave_to_hints(out),
            State::Own(_) | State::Others | State::Mapless => {
                let attempt = self.attempts.last().expect("what was sent was an attempt");
                let version = attempt.record.version;
                self.answer(Executed::Unknown { version }, out);
            }
        }
    }

    fn leave_to_hints(&mut self, out: &mut Effects<D::Answer>) {
        let this_round = matches!(self.state, State::Others | State::Answered);
        self.state = State::Over;
        if self.kept.is_none() {
            return;
        }
        let has = |node| {
            node == self.me || this_round && self.answers.of_node(node) == Some(&Said::Accepted)
        };
        let lacking = self.owners.nodes().filter(|node| !has(*node));
        out.extend(lacking.map(|to| Effect::Hint { to }));
    }
}

/// What is decided on. Where something was evicted, no value is as good as none, whatever was there
/// before: an owner that holds nothing cannot tell whether it held the newest.
pub(super) fn base_of(found: &Found) -> Base {
    let has_evicted = found.mark != Version::ZERO;
    match (&found.record, found.newest) {
        (_, Some(newest)) if has_evicted && found.live().is_none() => Base::Missed(newest),
        (Some(record), _) => Base::Record(record.borrow().rank()),
        (None, _) => Base::Nothing,
    }
}

fn start_read(
    me: NodeId,
    key: &Bytes,
    owners: &Arc<Owners>,
    reachable: impl Fn(NodeId) -> bool,
    after_round: u32,
    out: &mut Vec<Effect<ReadOutcome>>,
) -> Result<Read, NoQuorum> {
    let prefer = |node| u32::from(node != me);
    Read::start_after(
        after_round,
        key.clone(),
        Level::Quorum,
        Arc::clone(owners),
        reachable,
        prefer,
        out,
    )
}
