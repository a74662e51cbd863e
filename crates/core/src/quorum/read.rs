//! A read at a level.
//!
//! As many owners are asked as the level needs, the first of them for the record, the others for
//! its rank. At quorum the answer is given only once the newest record seen, tombstones included,
//! is on a quorum; owners that lack it are repaired first. Else one read could see a write that
//! the next one does not.
//!
//! Where keys are evicted a value is answered only if a quorum holds it. An owner that holds no
//! value, and whose mark covers the newest one, may have had it and evicted it, or something newer;
//! with such ones among the first to answer it is a miss, where the others are too few.
//!
//! Holds: expiry is judged once, by the greatest clock among the answers, and an expired record
//! is called expired only when a quorum of clocks is past its time.

mod seen;

use self::seen::Seen;
use super::answers::Answers;
use super::{
    Answer, Ask, Effect, Event, Found, Item, Level, Member, NoQuorum, Origin, Owners, ReadOutcome,
    Refusal, Reply,
};
use crate::ids::NodeId;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::record::OwnedRecord;
use crate::replica::Floor;
use bytes::Bytes;
use std::sync::Arc;

/// How often a read begins again when floors rise under its repairs.
const MAX_RESTARTS: u8 = 8;

/// A read under way.
#[derive(Clone, Debug)]
pub struct Read {
    key: Bytes,
    level: Level,
    owners: Arc<Owners>,
    /// Whom to ask, best first.
    order: Vec<NodeId>,
    /// How many of `order` were asked.
    asked: usize,
    round: u32,
    restarts: u8,
    seen: Answers<Seen>,
    /// Who was asked for the newest record itself and has not sent it yet.
    fetching: Vec<NodeId>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Answers are awaited.
    Asking,
    /// The newest record itself is awaited, from an owner that told its rank.
    Fetching,
    /// The newest record is being brought to a quorum.
    Repairing(OwnedRecord, Floor),
    /// The floors of these, from which the newest record was read, are being raised to that of an
    /// owner which did not take it; then the read begins again.
    Lifting(Vec<NodeId>),
    /// Clocks are being brought past the record's expiry.
    Raising(OwnedRecord),
    /// A newer map is awaited.
    Mapless,
    /// The client was answered.
    Over,
}

type Effects = Vec<Effect<ReadOutcome>>;

impl Read {
    /// Begins to read `key`. `prefer` orders owners that are otherwise alike: smaller first. Whom it
    /// gives zero is asked before those that count in both sets too.
    ///
    /// # Errors
    /// [`ReadOutcome::NoQuorum`] if too few owners are `reachable`.
    #[expect(clippy::result_large_err, reason = "what came of a read is moved on at once")]
    pub fn start(
        key: Bytes,
        level: Level,
        owners: Arc<Owners>,
        reachable: impl Fn(NodeId) -> bool,
        prefer: impl Fn(NodeId) -> u32,
        out: &mut Effects,
    ) -> Result<Self, ReadOutcome> {
        Self::start_after(0, key, level, owners, reachable, prefer, out)
            .map_err(ReadOutcome::NoQuorum)
    }

    /// As [`Self::start`], as part of a request whose rounds up to `round` are used.
    pub(super) fn start_after(
        round: u32,
        key: Bytes,
        level: Level,
        owners: Arc<Owners>,
        reachable: impl Fn(NodeId) -> bool,
        prefer: impl Fn(NodeId) -> u32,
        out: &mut Effects,
    ) -> Result<Self, NoQuorum> {
        if !owners.reach(level, |member| reachable(member.node)) {
            let lack = owners.no_quorum(level, |m| reachable(m.node), |node| !reachable(node));
            return Err(lack);
        }
        let mut order: Vec<NodeId> = owners.nodes().collect();
        let both = |node| {
            owners.replicas.iter().any(|member| member.node == node)
                && owners.next.iter().any(|member| member.node == node)
        };
        // Stable: among equals the map's order of preference stays.
        order.sort_by_key(|node| {
            let last = prefer(*node);
            (!reachable(*node), last != 0, !both(*node), last)
        });
        let (seen, fetching, state) = (Answers::new(), Vec::new(), State::Asking);
        let (asked, restarts) = (0, 0);
        let mut read =
            Self { key, level, owners, order, asked, round, restarts, seen, fetching, state };
        read.ask(out);
        Ok(read)
    }

    /// Takes an event in and lists what is to be done.
    pub fn on(&mut self, event: Event, out: &mut Effects) {
        if self.is_over() {
            return;
        }
        match event {
            Event::Answered(answer) => self.answered(answer, out),
            Event::Failed { node, round } if round == self.round => {
                self.lost(node, out);
                self.evaluate(out);
            }
            Event::Failed { .. } => {}
            Event::Remapped(owners) => self.remapped(owners, out),
            Event::Slow => self.hedge(out),
            Event::Deadline => self.give_up(out),
        }
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The owners that are asked.
    #[must_use]
    pub fn owners(&self) -> &Arc<Owners> {
        &self.owners
    }

    /// Asks as many owners as the level needs.
    fn ask(&mut self, out: &mut Effects) {
        self.round += 1;
        self.seen.clear();
        self.fetching.clear();
        self.asked = 0;
        self.state = State::Asking;
        while self.asked < self.order.len() {
            let asked = &self.order[..self.asked];
            if self.owners.reach(self.level, |member| asked.contains(&member.node)) {
                break;
            }
            self.ask_another(out);
        }
    }

    fn ask_another(&mut self, out: &mut Effects) {
        let Some(to) = self.order.get(self.asked).copied() else { return };
        let has_record = self.seen.iter().any(|(_, seen)| seen.record.is_some());
        let whole = self.asked == 0 || (self.seen.given() > 0 && !has_record);
        let ask = match &self.state {
            State::Asking => Ask::Read { key: self.key.clone(), whole },
            State::Fetching => Ask::Read { key: self.key.clone(), whole: true },
            State::Repairing(record, floor) => self.repair(record.clone(), *floor),
            State::Raising(_) => Ask::Clock,
            // Nobody else can help now; whoever was not asked can be asked later.
            State::Lifting(_) | State::Mapless | State::Over => return,
        };
        self.asked += 1;
        out.push(Effect::Send { to, round: self.round, ask });
    }

    fn repair(&self, record: OwnedRecord, floor: Floor) -> Ask {
        let items = Arc::from([Item { key: self.key.clone(), record }]);
        Ask::Take { items, origin: Origin::Kept { floor } }
    }

    /// Waiting has lasted long: one more owner is asked, or another one.
    fn hedge(&mut self, out: &mut Effects) {
        match self.state {
            State::Fetching => {
                if self.fetch_from_another(out) {
                    probe("read: fetched the newest record from another");
                } else {
                    self.ask_another(out);
                }
            }
            State::Lifting(_) => self.restart(out),
            _ => {
                if self.asked < self.order.len() {
                    probe("read: hedged");
                }
                self.ask_another(out);
            }
        }
    }

    /// Begins again: what was seen is void.
    fn restart(&mut self, out: &mut Effects) {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return self.give_up(out);
        }
        self.ask(out);
    }

    fn remapped(&mut self, owners: Arc<Owners>, out: &mut Effects) {
        if owners.epoch <= self.owners.epoch || self.state != State::Mapless {
            return;
        }
        probe("read: begun again at a newer epoch");
        let known = std::mem::take(&mut self.order);
        let rank = |node: &NodeId| known.iter().position(|other| other == node);
        self.order = owners.nodes().collect();
        self.order.sort_by_key(|node| rank(node).unwrap_or(known.len()));
        self.owners = owners;
        if planted(Bug::AnswersMixEpochs) {
            self.state = State::Asking;
            return self.evaluate(out);
        }
        self.ask(out);
    }

    fn answered(&mut self, answer: Answer, out: &mut Effects) {
        if answer.round != self.round || self.state == State::Mapless {
            return;
        }
        let node = answer.node();
        match answer.reply {
            Reply::Refused(Refusal::Stale) => {
                self.state = State::Mapless;
                out.push(Effect::pull_map(self.owners.epoch, answer.epoch));
                return;
            }
            _ if !self.owners.is_epoch(answer.epoch) => return,
            Reply::Refused(_) => self.lost(node, out),
            Reply::Found { rank, record, floor, mark } => {
                if !matches!(self.state, State::Asking | State::Fetching) {
                    let (clock, told, repaired) = (answer.clock, true, false);
                    let seen = Seen { rank, record: None, floor, mark, clock, told, repaired };
                    self.hear_late(answer.from, seen, out);
                    return self.evaluate(out);
                }
                let known = self.seen.of(answer.from);
                if known.is_some_and(|known| known.rank == rank && record.is_none()) {
                    // Said before, when the record itself was not wanted yet.
                    return;
                }
                if record.is_some() || rank.is_none() {
                    self.fetching.retain(|asked| *asked != node);
                }
                let clock = answer.clock;
                let (told, repaired) = (true, false);
                let seen = Seen { rank, record, floor, mark, clock, told, repaired };
                self.seen.insert(answer.from, seen);
                self.state = State::Asking;
            }
            // Only to a repair or a raising is this an answer: it shows nothing about the key.
            Reply::Accepted | Reply::Newer(_) | Reply::Clock | Reply::BelowMark(_)
                if !self.is_past_asking() =>
            {
                return;
            }
            Reply::Accepted | Reply::Newer(_) | Reply::BelowMark(_)
                if matches!(self.state, State::Raising(_)) =>
            {
                self.raise(answer.from, answer.clock, out);
            }
            Reply::Newer(_) if !self.proves_newer(answer.from) => {
                probe("evict: something newer beside a mark proved nothing");
                self.note(answer.from, answer.clock, false);
            }
            Reply::BelowMark(mark) => self.note_mark(answer.from, answer.clock, mark),
            Reply::Accepted | Reply::Newer(_) => self.note(answer.from, answer.clock, true),
            Reply::Clock => self.note(answer.from, answer.clock, false),
            Reply::BelowFloor(floor) => return self.lift(floor, out),
            Reply::Floors { .. } => return self.lifted(node, out),
            Reply::Conflict { .. }
            | Reply::Changed(_)
            | Reply::Page { .. }
            | Reply::Digest(_)
            | Reply::Leaves(_)
            | Reply::Proven(_) => return,
        }
        self.evaluate(out);
    }

    const fn is_past_asking(&self) -> bool {
        matches!(self.state, State::Repairing(..) | State::Raising(_))
    }

    /// A repair lay below the floor of an owner, since the record was read under a lower one: it is
    /// read again, once those that it was read from have raised theirs. Purge rounds raise floors
    /// everywhere, but one may have been broken off half-way.
    fn lift(&mut self, to: Floor, out: &mut Effects) {
        if !self.is_past_asking() {
            return;
        }
        probe("read: a floor rose under a repair");
        let newest = self.seen.iter().filter_map(|(_, seen)| seen.rank).max();
        let lower: Vec<NodeId> =
            self.nodes_that(|seen| seen.rank == newest && seen.floor < to).collect();
        if lower.is_empty() || self.restarts >= MAX_RESTARTS {
            return self.restart(out);
        }
        for to_raise in &lower {
            let ask = Ask::RaiseFloor { to };
            out.push(Effect::Send { to: *to_raise, round: self.round, ask });
        }
        self.state = State::Lifting(lower);
    }

    /// The floor of `node` is raised, or will not be.
    fn lifted(&mut self, node: NodeId, out: &mut Effects) {
        let State::Lifting(lower) = &mut self.state else { return };
        lower.retain(|other| *other != node);
        if lower.is_empty() {
            self.restart(out);
        }
    }

    /// Nothing more will come from `node`: what it has done stays done, what it was asked to do
    /// is asked of another.
    fn lost(&mut self, node: NodeId, out: &mut Effects) {
        if matches!(self.state, State::Lifting(_)) {
            return self.lifted(node, out);
        }
        let is_done = self.seen.of_node(node).is_some_and(|seen| match &self.state {
            State::Repairing(record, _) => {
                let newest = record.borrow().rank();
                seen.repaired || seen.has(&newest) || seen.has_evicted(&newest)
            }
            State::Raising(record) => {
                record.expires_at.is_some_and(|at| seen.clock.wall_ms() >= at)
            }
            State::Asking | State::Fetching | State::Lifting(_) | State::Mapless | State::Over => {
                true
            }
        });
        let asking = matches!(self.state, State::Asking | State::Fetching);
        if asking && self.fetching.contains(&node) {
            probe("read: the holder of the newest record failed");
            self.fetching.retain(|asked| *asked != node);
            self.seen.lose(node);
            self.state = State::Asking;
            return self.ask_another(out);
        }
        if is_done {
            return;
        }
        self.seen.lose(node);
        self.ask_another(out);
    }

    fn evaluate(&mut self, out: &mut Effects) {
        match self.state.clone() {
            State::Asking => self.look(out),
            State::Repairing(record, _) => self.look_at_repairs(record, out),
            State::Raising(record) => self.judge(record, out),
            State::Fetching | State::Lifting(_) | State::Mapless | State::Over => {}
        }
    }

    /// Looks at the answers, once there are enough.
    fn look(&mut self, out: &mut Effects) {
        if !self.owners.reach(self.level, |member| self.seen.of(member).is_some()) {
            return self.stop_if_hopeless(out);
        }
        let newest = self.seen.iter().filter_map(|(_, seen)| seen.rank).max();
        let Some(newest) = newest else { return self.found(None, out) };
        let held =
            self.seen.iter().find(|(_, seen)| seen.rank == Some(newest) && seen.record.is_some());
        let Some((_, Seen { record: Some(record), floor, .. })) = held else {
            return self.fetch(out);
        };
        let (record, floor) = (record.clone(), *floor);
        let has = |member: Member| self.seen.of(member).is_some_and(|seen| seen.has(&newest));
        let spread = self.owners.reach(Level::Quorum, has)
            || self.level == Level::One
            || planted(Bug::AnswerBeforeRepair)
            || (planted(Bug::NoRepairOfTombstones) && newest.tombstone);
        if spread {
            return self.judge(record, out);
        }
        if self.is_missed(&newest) {
            return self.missed(out);
        }
        probe("read: repaired before it was answered");
        for to in self.nodes_that(|seen| !seen.has(&newest) && !seen.has_evicted(&newest)) {
            let ask = self.repair(record.clone(), floor);
            out.push(Effect::Send { to, round: self.round, ask });
        }
        self.state = State::Repairing(record, floor);
    }

    /// The owners of which `is` is true, of those that answered.
    fn nodes_that(&self, is: impl Fn(&Seen) -> bool) -> impl Iterator<Item = NodeId> {
        self.owners.nodes().filter(move |node| self.seen.of_node(*node).is_some_and(&is))
    }

    /// The owners that told the newest rank, the first to tell it first.
    fn holders(&self) -> impl Iterator<Item = NodeId> {
        let newest = self.seen.iter().filter_map(|(_, seen)| seen.rank).max();
        let holders = self.seen.iter().filter(move |(_, seen)| seen.rank == newest);
        holders.map(|(member, _)| member.node)
    }

    fn fetch(&mut self, out: &mut Effects) {
        self.state = State::Fetching;
        if !self.holders().any(|holder| self.fetching.contains(&holder)) {
            probe("read: fetched the newest record from the one that told its rank");
            self.fetch_from_another(out);
        }
    }

    /// Asks an owner for the record itself that told the newest rank and was not asked for it yet;
    /// whether there is one.
    fn fetch_from_another(&mut self, out: &mut Effects) -> bool {
        let fresh = self.holders().find(|holder| !self.fetching.contains(holder));
        let Some(to) = fresh else { return false };
        self.fetching.push(to);
        let ask = Ask::Read { key: self.key.clone(), whole: true };
        out.push(Effect::Send { to, round: self.round, ask });
        true
    }

    fn look_at_repairs(&mut self, record: OwnedRecord, out: &mut Effects) {
        let newest = record.borrow().rank();
        let has = |member: Member| {
            let seen = self.seen.of(member);
            seen.is_some_and(|seen| seen.repaired || seen.has(&newest))
        };
        if self.owners.reach(Level::Quorum, has) {
            self.judge(record, out);
        } else if self.is_missed(&newest) {
            self.missed(out);
        } else {
            self.stop_if_hopeless(out);
        }
    }

    /// Judges whether the record, which is on a quorum, has expired.
    fn judge(&mut self, record: OwnedRecord, out: &mut Effects) {
        let clock = |seen: &Seen| seen.clock.wall_ms();
        let greatest = self.seen.iter().map(|(_, seen)| clock(seen)).max().unwrap_or(0);
        let Some(at) = record.expires_at.filter(|at| *at <= greatest) else {
            return self.found(Some(record), out);
        };
        let past = |member| self.seen.of(member).is_some_and(|seen| clock(seen) >= at);
        let judged = self.level == Level::One || planted(Bug::ExpiryByOwnClock);
        if judged || self.owners.reach(Level::Quorum, past) {
            return self.found(Some(record), out);
        }
        if matches!(self.state, State::Raising(_)) {
            return self.stop_if_hopeless(out);
        }
        probe("read: clocks raised past an expiry");
        for to in self.nodes_that(|seen| clock(seen) < at) {
            out.push(Effect::Send { to, round: self.round, ask: Ask::Clock });
        }
        self.state = State::Raising(record);
    }

    fn found(&mut self, record: Option<OwnedRecord>, out: &mut Effects) {
        let floor = self.seen.iter().map(|(_, seen)| seen.floor).max().unwrap_or_default();
        let now_ms = self.seen.iter().map(|(_, seen)| seen.clock.wall_ms()).max().unwrap_or(0);
        let newest = self.seen.iter().filter_map(|(_, seen)| seen.rank).max();
        let mark = self.seen.iter().map(|(_, seen)| seen.mark).max().unwrap_or_default();
        self.state = State::Over;
        let found = Found { record, newest, floor, mark, now_ms };
        out.push(Effect::Done(ReadOutcome::Found(found)));
    }

    /// Gives up where those who may still answer are too few.
    fn stop_if_hopeless(&mut self, out: &mut Effects) {
        let may = |member: Member| {
            self.seen.of(member).is_some()
                || (!self.seen.has(member.node) && !self.seen.has_failed(member.node))
        };
        if !self.owners.reach(self.level, may) {
            // Whoever may still answer, this node itself perhaps, can be reached.
            let lack = self.owners.no_quorum(self.level, may, |node| self.seen.has_failed(node));
            self.end_without(lack, out);
        }
    }

    fn give_up(&mut self, out: &mut Effects) {
        let has = |member: Member| self.seen.of(member).is_some();
        let lack = self.owners.no_quorum(self.level, has, |node| !self.seen.has(node));
        self.end_without(lack, out);
    }

    fn end_without(&mut self, lack: NoQuorum, out: &mut Effects) {
        self.state = State::Over;
        out.push(Effect::Done(ReadOutcome::NoQuorum(lack)));
    }
}
