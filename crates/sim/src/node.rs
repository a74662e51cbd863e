//! One node of the simulated cluster: its clock, its copy, and the requests under way at it.
//!
//! Holds: no rule of replication. It passes events to the machines of `shoal-core` and carries
//! out what they ask for.

use crate::client::Deciding;
use crate::shelf::SimShelf;
use bytes::Bytes;
use shoal_core::clock::{Ceiling, Clock, ClockError, MAX_SKEW_MS, Stamp};
use shoal_core::movement::Intake;
use shoal_core::quorum::{Effect, Envelope, Event, Execute, Executed, Owners, Read, ReadOutcome};
use shoal_core::quorum::{Stamps, Write, WriteOutcome};
use shoal_core::repair::{Delivery, Hints, Purge, Sync, TreeSecret};
use shoal_core::replica::{Held, Limits, Now, Replica};
use shoal_core::version::Version;
use shoal_core::{Incarnation, NodeId, ReplicaIncarnation};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub(crate) const KEYSPACE: Incarnation = Incarnation(1);
pub(crate) const LIMITS: Limits = Limits {
    max_skew_ms: MAX_SKEW_MS,
    event_horizon_ms: 7 * 24 * 3_600_000,
    secret: TreeSecret(0x5EC2_E700),
};

/// A request under way at a node, by number; numbers are never used twice.
pub(crate) type OpId = u64;

#[derive(Debug)]
pub(crate) enum Op {
    Write(Write),
    Read(Read),
    Execute(Box<Execute<Deciding>>),
    Hint(Delivery),
}

/// An answer that waits for the store.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) held: Held<u64>,
    pub(crate) to: NodeId,
    pub(crate) op: OpId,
    pub(crate) round: u32,
}

#[derive(Debug)]
pub(crate) struct SimNode {
    pub(crate) id: NodeId,
    pub(crate) up: bool,
    /// Rises with every start; what was meant for an earlier one is void.
    pub(crate) life: u64,
    pub(crate) clock: Clock,
    pub(crate) durable_ceiling: Ceiling,
    /// Physical time minus true time, in milliseconds.
    pub(crate) offset_ms: i64,
    pub(crate) replica: Replica,
    pub(crate) shelf: SimShelf,
    pub(crate) hints: Hints,
    /// Its proof as a member of `next`, and the number that the proof's questions carry.
    pub(crate) intake: Option<(OpId, Intake)>,
    /// A comparison with another replica, the number that its questions carry, and when it
    /// began, in milliseconds of true time.
    pub(crate) sync: Option<(OpId, Sync, u64)>,
    /// A round of purge, likewise.
    pub(crate) purge: Option<(OpId, Purge, u64)>,
    pub(crate) ops: BTreeMap<OpId, Op>,
    pub(crate) waiting: Vec<Waiting>,
    /// Questions under a newer epoch than the node knows.
    pub(crate) behind: Vec<(NodeId, OpId, Envelope)>,
    /// Whom it believes to be down.
    pub(crate) suspects: BTreeSet<NodeId>,
    /// Read-modify-writes by key; the first of each is under way.
    pub(crate) turns: BTreeMap<Bytes, VecDeque<(OpId, Deciding)>>,
    /// The greatest version that it tried by key.
    pub(crate) tried: BTreeMap<Bytes, Version>,
}

impl SimNode {
    pub(crate) fn new(id: NodeId, owners: &Arc<Owners>, offset_ms: i64) -> Self {
        let incarnation = if owners.has_node(id) { 1 } else { 0 };
        let owners = Arc::clone(owners);
        let replica = Replica::new(id, KEYSPACE, owners, ReplicaIncarnation(incarnation), LIMITS);
        Self {
            id,
            up: true,
            life: 1,
            clock: Clock::restart(Ceiling(0), MAX_SKEW_MS),
            durable_ceiling: Ceiling(0),
            offset_ms,
            replica,
            shelf: SimShelf::default(),
            hints: Hints::default(),
            intake: None,
            sync: None,
            purge: None,
            ops: BTreeMap::new(),
            waiting: Vec::new(),
            behind: Vec::new(),
            suspects: BTreeSet::new(),
            turns: BTreeMap::new(),
            tried: BTreeMap::new(),
        }
    }

    pub(crate) fn physical_ms(&self, true_ms: u64) -> u64 {
        true_ms.saturating_add_signed(self.offset_ms)
    }

    /// Raises the clock's ceiling, durably and at once.
    pub(crate) fn tend_clock(&mut self, true_ms: u64) {
        if let Some(ceiling) = self.clock.wanted_ceiling(self.physical_ms(true_ms)) {
            self.durable_ceiling = ceiling;
            self.clock.raise_ceiling(ceiling);
        }
    }

    pub(crate) fn hear(&mut self, clock: Stamp, true_ms: u64) {
        let physical_ms = self.physical_ms(true_ms);
        self.clock.observe(clock, physical_ms);
    }

    /// The clock as it is told to others: never behind physical time.
    pub(crate) fn told_clock(&self, true_ms: u64) -> Stamp {
        let physical = Stamp::start_of(self.physical_ms(true_ms));
        self.clock.last().max(physical)
    }

    pub(crate) fn now(&self, true_ms: u64) -> Now {
        Now { clock: self.told_clock(true_ms), physical_ms: self.physical_ms(true_ms) }
    }

    /// The power goes and comes back: what was in memory is gone.
    pub(crate) fn crash(&mut self, kept: usize, memory: bool) {
        self.up = false;
        self.ops.clear();
        self.waiting.clear();
        self.behind.clear();
        self.turns.clear();
        self.suspects.clear();
        self.intake = None;
        self.sync = None;
        self.purge = None;
        if memory {
            self.shelf.wipe();
            self.replica.lose();
        } else {
            self.shelf.crash(kept);
        }
    }
}

/// A node's clock as a machine sees it.
pub(crate) struct Ticker<'a> {
    pub(crate) clock: &'a mut Clock,
    pub(crate) physical_ms: u64,
}

impl Stamps for Ticker<'_> {
    fn stamp(&mut self) -> Result<Stamp, ClockError> {
        self.clock.next(self.physical_ms)
    }
}

/// What any machine wants done.
#[derive(Debug)]
pub(crate) enum Done {
    Write(WriteOutcome),
    Read(ReadOutcome),
    Executed(Executed<bool>),
}

/// The effects of any machine, of one type.
pub(crate) fn widen<O>(effects: Vec<Effect<O>>, done: impl Fn(O) -> Done) -> Vec<Effect<Done>> {
    let widen = |effect| match effect {
        Effect::Send { to, round, ask } => Effect::Send { to, round, ask },
        Effect::PullMap { above } => Effect::PullMap { above },
        Effect::Done(outcome) => Effect::Done(done(outcome)),
        Effect::Hint { to } => Effect::Hint { to },
    };
    effects.into_iter().map(widen).collect()
}

impl Op {
    pub(crate) fn on(&mut self, event: Event, ticker: &mut Ticker<'_>) -> Vec<Effect<Done>> {
        match self {
            Self::Write(write) => {
                let mut out = Vec::new();
                write.on(event, ticker, &mut out);
                widen(out, Done::Write)
            }
            Self::Read(read) => {
                let mut out = Vec::new();
                read.on(event, &mut out);
                widen(out, Done::Read)
            }
            Self::Execute(execute) => {
                let mut out = Vec::new();
                execute.on(event, ticker, &mut out);
                widen(out, Done::Executed)
            }
            Self::Hint(_) => Vec::new(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Write(write) => write.is_over(),
            Self::Read(read) => read.is_over(),
            Self::Execute(execute) => execute.is_over(),
            Self::Hint(_) => false,
        }
    }

    pub(crate) fn owners(&self) -> Option<&Arc<Owners>> {
        match self {
            Self::Write(write) => Some(write.owners()),
            Self::Read(read) => Some(read.owners()),
            Self::Execute(execute) => Some(execute.owners()),
            Self::Hint(_) => None,
        }
    }
}
