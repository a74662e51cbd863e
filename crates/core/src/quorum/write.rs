//! A plain write at a level.
//!
//! The record goes to every owner at once. If something newer turns up before the level is
//! reached, the write is stamped again, once, above it: of two writes that do not overlap in time
//! the later must win, whatever the clocks say. In the second round what is newer is concurrent,
//! and counts as acceptance.
//!
//! Holds: the client is answered once. After that, nothing is stamped again; owners that did not
//! take the records are left to hints. A second stamp stays used when the epoch changes.

use super::answers::Answers;
use super::{
    Answer, Ask, Effect, Event, Full, Item, Level, Member, NoQuorum, Origin, Owners, Refusal,
    Reply, Stamps,
};
use crate::ids::NodeId;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::version::Version;
use std::sync::Arc;

/// Whether a write may be stamped again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restamp {
    /// Once, as every plain write.
    Once,
    /// Never: its version is the caller's event time, and loses to what is newer.
    Never,
}

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The level was reached with records of this version.
    Done {
        /// The version.
        version: Version,
    },
    /// Something newer than the caller's event time is stored. Nothing needs to be done again.
    Superseded {
        /// The greatest version that was reported.
        by: Version,
    },
    /// Too few owners could be reached; nothing was sent.
    NoQuorum(NoQuorum),
    /// Every owner has said that it has no room; nothing was done.
    Full(Full),
    /// Something was sent and the level was not reached in time: the write may have happened, or
    /// may yet.
    Unknown {
        /// The version that was last tried.
        version: Version,
        /// What some owner was short of.
        full: Option<Full>,
    },
}

/// A plain write under way.
#[derive(Clone, Debug)]
pub struct Write {
    me: NodeId,
    items: Arc<[Item]>,
    level: Level,
    restamp: Restamp,
    owners: Arc<Owners>,
    round: u32,
    /// The greatest version reported, once the write was stamped again.
    base: Option<Version>,
    answers: Answers<Said>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The client waits.
    Asking,
    /// The client waits, and so does the write, for a newer map.
    Mapless,
    /// The client was answered; the rest is for the hints.
    Answered,
    /// Nothing is left to do.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Accepted,
    Newer(Version),
    BelowFloor(Version),
    Void,
    Full(Full),
    Refused,
}

type Effects = Vec<Effect<WriteOutcome>>;

impl Write {
    /// Begins to write `items`, which share a slot and a version of `me`.
    ///
    /// # Errors
    /// [`WriteOutcome::NoQuorum`] if too few owners are `reachable`; nothing was sent.
    pub fn start(
        me: NodeId,
        items: Arc<[Item]>,
        level: Level,
        restamp: Restamp,
        owners: Arc<Owners>,
        reachable: impl Fn(NodeId) -> bool,
        out: &mut Effects,
    ) -> Result<Self, WriteOutcome> {
        if !owners.reach(level, |member| reachable(member.node)) {
            let lack = owners.no_quorum(level, |m| reachable(m.node), |node| !reachable(node));
            return Err(WriteOutcome::NoQuorum(lack));
        }
        let (answers, state) = (Answers::new(), State::Asking);
        let mut write =
            Self { me, items, level, restamp, owners, round: 0, base: None, answers, state };
        write.send(out);
        Ok(write)
    }

    /// Takes an event in and lists what is to be done.
    pub fn on(&mut self, event: Event, clock: &mut dyn Stamps, out: &mut Effects) {
        match event {
            Event::Answered(answer) => self.answered(&answer, clock, out),
            Event::Failed { node, round } if round == self.round => {
                self.answers.fail(node);
                self.evaluate(clock, out);
            }
            Event::Remapped(owners) => self.remapped(owners, out),
            Event::Failed { .. } | Event::Slow => {}
            Event::Deadline => self.end(out),
        }
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// What is being written, with the version last given to it.
    #[must_use]
    pub fn items(&self) -> &Arc<[Item]> {
        &self.items
    }

    /// The owners that are asked.
    #[must_use]
    pub fn owners(&self) -> &Arc<Owners> {
        &self.owners
    }

    fn version(&self) -> Version {
        self.items.first().map_or(Version::ZERO, |item| item.record.version)
    }

    /// Whether it will not be stamped again: a caller's event time never is.
    fn is_last_round(&self) -> bool {
        self.base.is_some() || self.restamp == Restamp::Never
    }

    fn send(&mut self, out: &mut Effects) {
        self.round += 1;
        if !planted(Bug::AnswersMixEpochs) {
            self.answers.clear();
        }
        self.state = State::Asking;
        let origin = Origin::Fresh { base: self.base, last: self.is_last_round() };
        for to in self.owners.nodes() {
            let ask = Ask::Take { items: Arc::clone(&self.items), origin };
            out.push(Effect::Send { to, round: self.round, ask });
        }
    }

    fn answered(&mut self, answer: &Answer, clock: &mut dyn Stamps, out: &mut Effects) {
        if answer.round != self.round || matches!(self.state, State::Mapless | State::Over) {
            return;
        }
        let said = match &answer.reply {
            Reply::Refused(Refusal::Stale) if self.state == State::Asking => {
                self.state = State::Mapless;
                out.push(Effect::pull_map(self.owners.epoch, answer.epoch));
                return;
            }
            Reply::Accepted => Said::Accepted,
            Reply::Newer(version) | Reply::BelowMark(version) => Said::Newer(*version),
            Reply::BelowFloor(floor) => Said::BelowFloor(floor.last_version()),
            Reply::Refused(Refusal::Void) => Said::Void,
            Reply::Refused(Refusal::Full(full)) => Said::Full(*full),
            Reply::Refused(_) => Said::Refused,
            Reply::Conflict { .. }
            | Reply::Changed(_)
            | Reply::Found { .. }
            | Reply::Clock
            | Reply::Page { .. }
            | Reply::Floors { .. }
            | Reply::Digest(_)
            | Reply::Leaves(_)
            | Reply::Proven(_) => return,
        };
        // What was said under another epoch counts for nothing, but it was said.
        let said = if self.owners.is_epoch(answer.epoch) { said } else { Said::Refused };
        // Where it has done something before, that it has no room now says nothing.
        if matches!(said, Said::Full(_)) && self.answers.has(answer.from.node) {
            return;
        }
        self.answers.insert(answer.from, said);
        self.evaluate(clock, out);
    }

    fn evaluate(&mut self, clock: &mut dyn Stamps, out: &mut Effects) {
        if self.state == State::Asking {
            self.decide(clock, out);
        }
        let silent = |node| !self.answers.has(node) && !self.answers.has_failed(node);
        if planted(Bug::StampAfterAnswer)
            && self.state == State::Answered
            && let Some(greatest) = self.greatest()
            && greatest > self.version()
        {
            self.stamp_again(greatest, clock, out);
            self.state = State::Answered;
            return;
        }
        if self.state == State::Answered && !self.owners.nodes().any(silent) {
            self.leave_to_hints(out);
        }
    }

    fn decide(&mut self, clock: &mut dyn Stamps, out: &mut Effects) {
        let version = self.version();
        if self.owners.reach(self.level, |member| self.accepted(member)) {
            return self.answer(WriteOutcome::Done { version }, out);
        }
        let heard = |member| {
            matches!(
                self.answers.of(member),
                Some(Said::Accepted | Said::Newer(_) | Said::BelowFloor(_))
            )
        };
        match (self.restamp, self.greatest()) {
            (Restamp::Once, Some(greatest))
                if self.base.is_none()
                    && self.owners.reach(self.level.min(Level::Quorum), heard) =>
            {
                return self.stamp_again(greatest, clock, out);
            }
            (Restamp::Never, _) if self.owners.reach(self.level, heard) => {
                // A floor is no record: what lies below one was not passed by anything.
                if let Some(by) = self.greatest_stored() {
                    return self.answer(WriteOutcome::Superseded { by }, out);
                }
            }
            _ => {}
        }
        if self.owners.reach(self.level, |member| self.may_accept(member)) {
            return;
        }
        match self.full() {
            Some(full) if self.is_refused_by_all() || planted(Bug::FullOfSome) => {
                probe("write: nobody had room");
                out.push(Effect::Done(WriteOutcome::Full(full)));
                // Hints would bring about what was said not to have happened.
                self.state = State::Over;
                if planted(Bug::FullKeepsHints) {
                    self.leave_to_hints(out);
                }
            }
            // Whoever is silent still may say that it has no room either.
            Some(_) if self.may_be_refused_by_all() => {}
            full => self.answer(WriteOutcome::Unknown { version, full }, out),
        }
    }

    /// What some owner was short of.
    fn full(&self) -> Option<Full> {
        self.answers.iter().find_map(|(_, said)| match said {
            Said::Full(full) => Some(*full),
            _ => None,
        })
    }

    /// Whether every owner has said that it has no room, and none was ever sent anything else: a
    /// message arrives once or not at all.
    fn is_refused_by_all(&self) -> bool {
        self.may_be_refused_by_all() && self.owners.nodes().all(|node| self.answers.has(node))
    }

    /// Whether that may still come about.
    fn may_be_refused_by_all(&self) -> bool {
        self.round == 1
            && !self.owners.nodes().any(|node| self.answers.has_failed(node))
            && self.answers.iter().all(|(_, said)| matches!(said, Said::Full(_)))
    }

    fn accepted(&self, member: Member) -> bool {
        match self.answers.of(member) {
            Some(Said::Accepted) => true,
            Some(Said::Newer(_)) => self.base.is_some() || planted(Bug::NewerAcceptsAtOnce),
            Some(Said::BelowFloor(_)) => self.base.is_some() && planted(Bug::FloorAccepts),
            _ => false,
        }
    }

    /// Whether `member` has accepted or may still.
    fn may_accept(&self, member: Member) -> bool {
        match self.answers.of(member) {
            Some(Said::Accepted | Said::Newer(_)) => true,
            Some(Said::BelowFloor(_)) => self.base.is_none() && self.restamp == Restamp::Once,
            Some(Said::Void | Said::Full(_) | Said::Refused) => false,
            None => !self.answers.has(member.node) && !self.answers.has_failed(member.node),
        }
    }

    /// The greatest version of a record that stood in the way.
    fn greatest_stored(&self) -> Option<Version> {
        let stored = self.answers.iter().filter_map(|(_, said)| match said {
            Said::Newer(version) => Some(*version),
            _ => None,
        });
        stored.max()
    }

    /// The greatest version, of a record or a floor, that stood in the way.
    fn greatest(&self) -> Option<Version> {
        self.answers
            .iter()
            .filter_map(|(_, said)| match said {
                Said::Newer(version) | Said::BelowFloor(version) => Some(*version),
                Said::Accepted | Said::Void | Said::Full(_) | Said::Refused => None,
            })
            .max()
    }

    fn stamp_again(&mut self, greatest: Version, clock: &mut dyn Stamps, out: &mut Effects) {
        probe("write: stamped again");
        let stamped = clock.stamp().ok().map(|stamp| stamp.version(self.me));
        let version = stamped
            .filter(|version| *version > greatest)
            .unwrap_or_else(|| greatest.successor(self.me));
        self.items = self
            .items
            .iter()
            .map(|item| Item { key: item.key.clone(), record: item.record.stamped(version) })
            .collect();
        self.base = Some(greatest);
        self.send(out);
    }

    fn remapped(&mut self, owners: Arc<Owners>, out: &mut Effects) {
        // An answered write goes on as it is: its hints follow the owners by themselves.
        if owners.epoch <= self.owners.epoch || self.state != State::Mapless {
            return;
        }
        probe("write: sent again at a newer epoch");
        self.owners = owners;
        self.send(out);
    }

    fn answer(&mut self, outcome: WriteOutcome, out: &mut Effects) {
        self.state = State::Answered;
        out.push(Effect::Done(outcome));
    }

    fn end(&mut self, out: &mut Effects) {
        if matches!(self.state, State::Asking | State::Mapless) {
            let (version, full) = (self.version(), self.full());
            self.answer(WriteOutcome::Unknown { version, full }, out);
        }
        if self.state == State::Answered {
            self.leave_to_hints(out);
        }
    }

    /// Whether an owner that said so has nothing to gain from a hint. One that refused a batch
    /// whole, since something newer had passed one of its keys by, lacks the others.
    fn is_settled(&self, said: Said) -> bool {
        match said {
            Said::Accepted | Said::BelowFloor(_) | Said::Void => true,
            Said::Newer(_) => self.items.len() == 1 || self.is_last_round(),
            Said::Full(_) | Said::Refused => false,
        }
    }

    fn leave_to_hints(&mut self, out: &mut Effects) {
        self.state = State::Over;
        for to in self.owners.nodes() {
            let said = self.answers.of_node(to);
            if !said.is_some_and(|said| self.is_settled(*said)) {
                out.push(Effect::Hint { to });
            }
        }
    }
}
