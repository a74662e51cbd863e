//! One node of the simulated cluster: its clock, its copies, and the requests under way at it.
//!
//! Holds: no rule of replication. It passes events to the machines of `shoal-core` and carries
//! out what they ask for.

use crate::client::{Deciding, Task};
use crate::copy::{Job, SimCopy};
use crate::layout::Place;
use crate::shelf::SimShelf;
use bytes::Bytes;
use shoal_core::clock::{Ceiling, Clock, ClockError, MAX_SKEW_MS, Stamp};
use shoal_core::quorum::{Batch, BatchOutcome, Effect, Envelope, Event, Execute, Executed};
use shoal_core::quorum::{Owners, Read, ReadOutcome};
use shoal_core::quorum::{Stamps, Write, WriteOutcome};
use shoal_core::repair::Delivery;
use shoal_core::replica::{Held, Now};
use shoal_core::version::Version;
use shoal_core::{Incarnation, NodeId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub(crate) const KEYSPACE: Incarnation = Incarnation(1);
/// A request under way at a node, by number; numbers are never used twice.
pub(crate) type OpId = u64;

#[derive(Debug)]
pub(crate) enum Op {
    Write(Write),
    Read(Read),
    Execute(Box<Execute<Deciding>>),
    Batch(Box<Batch>),
    Hint(Delivery),
}

/// A request under way, and where its keys lie.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) op: Op,
    pub(crate) place: Place,
    /// When it began, in milliseconds of the run.
    pub(crate) began_ms: u64,
}

/// An answer that waits for the store.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) held: Held<u64>,
    pub(crate) partition: usize,
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
    pub(crate) shelf: SimShelf,
    /// What it has of each partition.
    pub(crate) copies: Vec<SimCopy>,
    pub(crate) ops: BTreeMap<OpId, Running>,
    pub(crate) waiting: Vec<Waiting>,
    /// Questions under a newer epoch than the node knows.
    pub(crate) behind: Vec<(NodeId, OpId, Envelope)>,
    /// Whom it believes to be down.
    pub(crate) suspects: BTreeSet<NodeId>,
    /// Who waits for a key; whoever is the first for all of its keys is under way.
    pub(crate) turns: BTreeMap<Bytes, VecDeque<OpId>>,
    /// What those want done that are not under way yet.
    pub(crate) tasks: BTreeMap<OpId, Task>,
    /// The greatest version that it tried by key.
    pub(crate) tried: BTreeMap<Bytes, Version>,
}

impl SimNode {
    pub(crate) fn new(id: NodeId, copies: Vec<SimCopy>, offset_ms: i64) -> Self {
        Self {
            id,
            up: true,
            life: 1,
            clock: Clock::restart(Ceiling(0), MAX_SKEW_MS),
            durable_ceiling: Ceiling(0),
            offset_ms,
            shelf: SimShelf::default(),
            copies,
            ops: BTreeMap::new(),
            waiting: Vec::new(),
            behind: Vec::new(),
            suspects: BTreeSet::new(),
            turns: BTreeMap::new(),
            tasks: BTreeMap::new(),
            tried: BTreeMap::new(),
        }
    }

    /// The partition of which the question with this number is part of a job, if it is.
    pub(crate) fn job(&self, id: OpId) -> Option<(usize, Job)> {
        self.copies
            .iter()
            .enumerate()
            .find_map(|(partition, copy)| copy.job(id).map(|job| (partition, job)))
    }

    pub(crate) fn owners(&self, partition: usize) -> &Arc<Owners> {
        self.copies[partition].replica.owners()
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

    /// The clock as a machine sees it.
    pub(crate) const fn ticker(&mut self, physical_ms: u64) -> Ticker<'_> {
        Ticker { clock: &mut self.clock, durable: &mut self.durable_ceiling, physical_ms }
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
        self.tasks.clear();
        self.suspects.clear();
        for copy in &mut self.copies {
            copy.intakes.clear();
            copy.sync = None;
            copy.purge = None;
            if memory {
                copy.replica.lose();
            }
        }
        if memory {
            self.shelf.wipe(|_| true);
        }
        self.shelf.crash(kept);
    }
}

/// A node's clock as a machine sees it.
pub(crate) struct Ticker<'a> {
    clock: &'a mut Clock,
    durable: &'a mut Ceiling,
    physical_ms: u64,
}

impl Stamps for Ticker<'_> {
    fn stamp(&mut self) -> Result<Stamp, ClockError> {
        match self.clock.next(self.physical_ms) {
            Err(ClockError::Ceiling { .. }) => {}
            stamped => return stamped,
        }
        if let Some(ceiling) = self.clock.wanted_ceiling(self.physical_ms) {
            *self.durable = ceiling;
            self.clock.raise_ceiling(ceiling);
        }
        self.clock.next(self.physical_ms)
    }
}

/// What any machine wants done.
#[derive(Debug)]
pub(crate) enum Done {
    Write(WriteOutcome),
    Read(ReadOutcome),
    Executed(Executed<bool>),
    Batch(BatchOutcome),
}

/// The effects of any machine, of one type.
pub(crate) fn widen<O>(effects: Vec<Effect<O>>, done: impl Fn(O) -> Done) -> Vec<Effect<Done>> {
    let widen = |effect| match effect {
        Effect::Send { to, round, ask } => Effect::Send { to, round, ask },
        Effect::PullMap { at_least } => Effect::PullMap { at_least },
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
            Self::Batch(batch) => {
                let mut out = Vec::new();
                batch.on(event, ticker, &mut out);
                widen(out, Done::Batch)
            }
            Self::Hint(_) => Vec::new(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Write(write) => write.is_over(),
            Self::Read(read) => read.is_over(),
            Self::Execute(execute) => execute.is_over(),
            Self::Batch(batch) => batch.is_over(),
            Self::Hint(_) => false,
        }
    }

    pub(crate) fn owners(&self) -> Option<&Arc<Owners>> {
        match self {
            Self::Write(write) => Some(write.owners()),
            Self::Read(read) => Some(read.owners()),
            Self::Execute(execute) => Some(execute.owners()),
            Self::Batch(batch) => Some(batch.owners()),
            Self::Hint(_) => None,
        }
    }
}
