//! A request under way: one of the machines of `shoal_core::quorum`, and who waits for it.

use super::decide::{Told, Updater};
use shoal_core::NodeId;
use shoal_core::ids::Epoch;
use shoal_core::quorum::{
    Ask, Batch, BatchOutcome, Effect, Event, Execute, Executed, Item, Owners, Read, ReadOutcome,
    Stamps, Write, WriteOutcome,
};
use std::sync::Arc;

/// Takes what came of a request. Called once at most.
pub(crate) type Done<O> = Box<dyn FnOnce(O) + Send>;

/// Told of a machine that is answered.
pub(super) type Over<M> = Box<dyn FnOnce(&M) + Send>;

/// What a request wants done, in this order.
pub(super) enum Step {
    /// Ask a replica, under this epoch.
    Send { to: NodeId, round: u32, epoch: Epoch, ask: Ask },
    /// Fetch a map of at least this version, then tell the request.
    PullMap { at_least: Epoch },
    /// Keep these for a node that did not take them in time.
    Hint { to: NodeId, items: Vec<Item> },
    /// Tell whoever waits.
    Tell(Box<dyn FnOnce() + Send>),
}

/// A machine, whatever it is for.
pub(super) trait Job: Send {
    /// Gives it an event; what it wants done.
    fn on(&mut self, event: Event, clock: &mut dyn Stamps) -> Vec<Step>;
    /// Whether nothing is left to do.
    fn is_over(&self) -> bool;
}

/// A plain write.
pub(super) struct WriteJob {
    pub(super) machine: Write,
    pub(super) done: Option<Done<WriteOutcome>>,
}

/// A read.
pub(super) struct ReadJob {
    pub(super) machine: Read,
    pub(super) done: Option<Done<ReadOutcome>>,
}

/// A read-modify-write that is carried out here.
pub(super) struct ExecuteJob {
    pub(super) machine: Execute<Updater>,
    pub(super) done: Option<Done<Executed<Told>>>,
    /// Told once whoever waits is told, so that the next one on its key begins.
    pub(super) over: Option<Over<Execute<Updater>>>,
}

/// A conditional batch that is carried out here.
pub(super) struct BatchJob {
    pub(super) machine: Batch,
    pub(super) done: Option<Done<BatchOutcome>>,
    /// As of a read-modify-write.
    pub(super) over: Option<Over<Batch>>,
}

impl WriteJob {
    pub(super) fn steps(&mut self, effects: Vec<Effect<WriteOutcome>>) -> Vec<Step> {
        let (owners, items) = (Arc::clone(self.machine.owners()), self.machine.items());
        steps(effects, &owners, items, &mut self.done)
    }
}

impl ReadJob {
    pub(super) fn steps(&mut self, effects: Vec<Effect<ReadOutcome>>) -> Vec<Step> {
        let owners = Arc::clone(self.machine.owners());
        steps(effects, &owners, &[], &mut self.done)
    }
}

impl ExecuteJob {
    pub(super) fn steps(&mut self, effects: Vec<Effect<Executed<Told>>>) -> Vec<Step> {
        let owners = Arc::clone(self.machine.owners());
        let kept = self.machine.kept().map(std::slice::from_ref).unwrap_or_default();
        let steps = steps(effects, &owners, kept, &mut self.done);
        if self.done.is_none()
            && let Some(over) = self.over.take()
        {
            over(&self.machine);
        }
        steps
    }
}

impl BatchJob {
    pub(super) fn steps(&mut self, effects: Vec<Effect<BatchOutcome>>) -> Vec<Step> {
        let owners = Arc::clone(self.machine.owners());
        let steps = steps(effects, &owners, self.machine.kept(), &mut self.done);
        if self.done.is_none()
            && let Some(over) = self.over.take()
        {
            over(&self.machine);
        }
        steps
    }
}

impl Job for WriteJob {
    fn on(&mut self, event: Event, clock: &mut dyn Stamps) -> Vec<Step> {
        let mut out = Vec::new();
        self.machine.on(event, clock, &mut out);
        self.steps(out)
    }

    fn is_over(&self) -> bool {
        self.machine.is_over()
    }
}

impl Job for ReadJob {
    fn on(&mut self, event: Event, _: &mut dyn Stamps) -> Vec<Step> {
        let mut out = Vec::new();
        self.machine.on(event, &mut out);
        self.steps(out)
    }

    fn is_over(&self) -> bool {
        self.machine.is_over()
    }
}

impl Job for ExecuteJob {
    fn on(&mut self, event: Event, clock: &mut dyn Stamps) -> Vec<Step> {
        let mut out = Vec::new();
        self.machine.on(event, clock, &mut out);
        self.steps(out)
    }

    fn is_over(&self) -> bool {
        self.machine.is_over()
    }
}

impl Job for BatchJob {
    fn on(&mut self, event: Event, clock: &mut dyn Stamps) -> Vec<Step> {
        let mut out = Vec::new();
        self.machine.on(event, clock, &mut out);
        self.steps(out)
    }

    fn is_over(&self) -> bool {
        self.machine.is_over()
    }
}

fn steps<O: Send + 'static>(
    effects: Vec<Effect<O>>,
    owners: &Owners,
    items: &[Item],
    done: &mut Option<Done<O>>,
) -> Vec<Step> {
    let epoch = owners.epoch;
    let step = |effect| match effect {
        Effect::Send { to, round, ask } => Some(Step::Send { to, round, epoch, ask }),
        Effect::PullMap { at_least } => Some(Step::PullMap { at_least }),
        Effect::Hint { to } => Some(Step::Hint { to, items: items.to_vec() }),
        Effect::Done(outcome) => {
            done.take().map(|done| Step::Tell(Box::new(move || done(outcome))))
        }
    };
    effects.into_iter().filter_map(step).collect()
}
