//! Passing a change on to whoever carries changes of its key out.
//!
//! Holds: another owner is asked only where nothing was done: the one before could not be reached,
//! or said that it does not carry it out or has no room. While owners agree on who is up they all ask
//! the same one first. One that has no room carries out what only removes, beside the next one.

use super::write::{MAX_BATCH_BYTES, bytes_of};
use super::{About, Coordinator, DEADLINE, nobody};
use crate::transport::{Kind, Unreachable};
use bytes::Bytes;
use shoal_core::codec::batch::{read_outcome, write_batch};
use shoal_core::codec::forward::{read_forwarded, write_forward};
use shoal_core::quorum::{
    BatchOutcome, Forward, ForwardBatch, Forwarded, Full, Header, Level, NoQuorum, Owners, Part,
};
use shoal_core::record::OwnedBody;
use shoal_core::update::OwnedUpdate;
use shoal_core::{NodeId, PartitionId, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::job::Done;

/// How often every owner is asked. Where it is not for want of room, all of them decline together
/// only for moments: while a map is on its way, or a copy comes back.
const PASSES: u32 = 6;
/// How long to wait after the first time; after each further one twice as long.
const PAUSE: Duration = Duration::from_millis(20);

/// What can be passed on.
trait Passed: Clone + Send + 'static {
    /// What comes of it.
    type Outcome: Send + 'static;

    /// Carries it out here, until then.
    fn execute(
        self,
        at: &Arc<Coordinator>,
        until: Instant,
        about: &About,
        done: Done<Self::Outcome>,
    );
    /// The bytes that ask another node for it.
    fn asked(&self, header: Header, level: Level) -> Vec<u8>;
    /// What another node has told.
    fn told(bytes: &Bytes) -> Option<Self::Outcome>;
    /// It may have happened.
    fn unknown() -> Self::Outcome;
    /// Nobody does it.
    fn elsewhere() -> Self::Outcome;
    /// Nobody has room.
    fn without_room(full: Full) -> Self::Outcome;
    /// Too few are up.
    fn lacking(lack: NoQuorum) -> Self::Outcome;
    /// What this says of a node that did nothing, if it says so.
    fn declined(outcome: &Self::Outcome) -> Option<Declined>;
}

/// Why a node did nothing.
#[derive(Clone, Copy)]
enum Declined {
    /// It does not carry the change out.
    Elsewhere,
    /// Its copy has no room.
    Full(Full),
}

/// A change of one key.
#[derive(Clone)]
struct Update {
    key: Bytes,
    update: OwnedUpdate,
    look: bool,
}

impl Passed for Update {
    type Outcome = Forwarded;

    fn execute(self, at: &Arc<Coordinator>, until: Instant, about: &About, done: Done<Forwarded>) {
        at.execute(until, about, self.key, self.update, self.look, done);
    }

    fn asked(&self, header: Header, level: Level) -> Vec<u8> {
        let Self { key, update, look } = self.clone();
        let mut body = Vec::new();
        write_forward(&Forward { header, level, key, update, look, event_time: None }, &mut body);
        body
    }

    fn told(bytes: &Bytes) -> Option<Forwarded> {
        read_forwarded(bytes).ok()
    }

    fn unknown() -> Forwarded {
        Forwarded::Unknown { version: Version::ZERO }
    }

    fn elsewhere() -> Forwarded {
        Forwarded::Elsewhere
    }

    fn lacking(lack: NoQuorum) -> Forwarded {
        Forwarded::NoQuorum(lack)
    }

    fn without_room(full: Full) -> Forwarded {
        Forwarded::Full(full)
    }

    fn declined(outcome: &Forwarded) -> Option<Declined> {
        match outcome {
            Forwarded::Elsewhere => Some(Declined::Elsewhere),
            Forwarded::Full(full) => Some(Declined::Full(*full)),
            _ => None,
        }
    }
}

/// Several keys of a slot.
#[derive(Clone)]
struct Parts(Vec<Part>);

impl Passed for Parts {
    type Outcome = BatchOutcome;

    fn execute(
        self,
        at: &Arc<Coordinator>,
        until: Instant,
        about: &About,
        done: Done<BatchOutcome>,
    ) {
        at.execute_batch(until, about, self.0, done);
    }

    fn asked(&self, header: Header, level: Level) -> Vec<u8> {
        let mut body = Vec::new();
        write_batch(&ForwardBatch { header, level, parts: self.0.clone() }, &mut body);
        body
    }

    fn told(bytes: &Bytes) -> Option<BatchOutcome> {
        read_outcome(bytes).ok()
    }

    fn unknown() -> BatchOutcome {
        BatchOutcome::Unknown
    }

    fn elsewhere() -> BatchOutcome {
        BatchOutcome::Elsewhere
    }

    fn lacking(lack: NoQuorum) -> BatchOutcome {
        BatchOutcome::NoQuorum(lack)
    }

    fn without_room(full: Full) -> BatchOutcome {
        BatchOutcome::Full(full)
    }

    fn declined(outcome: &BatchOutcome) -> Option<Declined> {
        match outcome {
            BatchOutcome::Elsewhere => Some(Declined::Elsewhere),
            BatchOutcome::Full(full) => Some(Declined::Full(*full)),
            _ => None,
        }
    }
}

/// A change on its way.
struct Passing<T> {
    about: About,
    task: T,
    until: Instant,
    /// Who has declined in this pass.
    declined: Vec<NodeId>,
    /// How many of them have no room, and of what.
    without_room: (usize, Option<Full>),
    passes: u32,
}

impl Coordinator {
    /// Changes a key, at whichever node carries changes of it out; with `look` what was there before
    /// is told.
    pub(crate) fn update(
        self: &Arc<Self>,
        about: &About,
        key: Bytes,
        update: OwnedUpdate,
        look: bool,
        done: Done<Forwarded>,
    ) {
        let done = self.counted(about.level, done);
        self.pass(Passing::new(about, Update { key, update, look }), done);
    }

    /// Judges and writes several keys of one slot as one, each key once, at whichever node carries
    /// changes of the slot out. A batch longer than [`MAX_BATCH_BYTES`] finds nobody who takes it.
    pub(crate) fn batch(
        self: &Arc<Self>,
        about: &About,
        parts: Vec<Part>,
        done: Done<BatchOutcome>,
    ) {
        let done = self.counted(about.level, done);
        let is_one_message =
            bytes_of(parts.iter().map(|part| (&part.key, body_of(part)))) <= MAX_BATCH_BYTES;
        if !is_one_message {
            return done(BatchOutcome::NoQuorum(nobody()));
        }
        self.pass(Passing::new(about, Parts(parts)), done);
    }

    /// Whether changes of keys of a partition are carried out here: the own copy takes them.
    pub(super) fn carries_out(&self, about: &About, partition: PartitionId) -> bool {
        !self.is_closed()
            && self.copies.find(about.keyspace, partition).is_some_and(|copy| copy.takes())
    }

    fn pass<T: Passed>(self: &Arc<Self>, mut passing: Passing<T>, done: Done<T::Outcome>) {
        let (keyspace, slot) = (passing.about.keyspace, passing.about.slot);
        let Some((partition, owners)) = self.routes.find(keyspace, slot) else {
            return done(T::elsewhere());
        };
        let (level, up) = (passing.about.level.max(Level::Quorum), self.up());
        if !owners.reach(level, |member| up(member.node)) {
            let lack = owners.no_quorum(level, |member| up(member.node), |node| !up(node));
            return done(T::lacking(lack));
        }
        let Some(to) = self.executor(&owners, &passing.declined) else {
            return self.pass_again(passing, done);
        };
        passing.declined.push(to);
        if to != self.me {
            return self.forward(to, &owners, passing, done);
        }
        if !self.carries_out(&passing.about, partition) {
            return self.pass(passing, done);
        }
        let (until, about, task) = (passing.until, passing.about.clone(), passing.task.clone());
        let this = Arc::clone(self);
        let next = move |outcome| match T::declined(&outcome) {
            Some(why) => {
                passing.note(why);
                this.pass(passing, done);
            }
            None => done(outcome),
        };
        task.execute(self, until, &about, Box::new(next));
    }

    /// The first owner that is up and has not declined.
    fn executor(&self, owners: &Owners, declined: &[NodeId]) -> Option<NodeId> {
        let up = self.up();
        let mut members = owners.replicas.iter().map(|member| member.node);
        members.find(|node| up(*node) && !declined.contains(node))
    }

    fn forward<T: Passed>(
        self: &Arc<Self>,
        to: NodeId,
        owners: &Owners,
        mut passing: Passing<T>,
        done: Done<T::Outcome>,
    ) {
        let About { keyspace, slot, level } = passing.about;
        let header = Header { keyspace, slot, epoch: owners.epoch, clock: self.clock.told() };
        let body = passing.task.asked(header, level);
        let this = Arc::clone(self);
        let patience = passing.until.saturating_duration_since(Instant::now());
        let reply = move |answered: Result<Bytes, Unreachable>| {
            let outcome = match answered {
                Ok(bytes) => T::told(&bytes).unwrap_or_else(T::unknown),
                Err(why) if why.may_be_done() => T::unknown(),
                Err(_) => T::elsewhere(),
            };
            let Some(why) = T::declined(&outcome) else { return done(outcome) };
            passing.note(why);
            // Not from within the link that the answer came on.
            let runtime = this.blocking.clone();
            runtime.spawn(async move { this.pass(passing, done) });
        };
        self.transport.ask(to, Kind::Forward, body.into(), patience, Box::new(reply));
    }

    /// Every owner has declined: once more, a little later, unless that was often enough or nobody
    /// has room.
    fn pass_again<T: Passed>(self: &Arc<Self>, mut passing: Passing<T>, done: Done<T::Outcome>) {
        passing.passes += 1;
        let nobody_has_room = passing.nobody_has_room();
        let pause = PAUSE * (1 << (passing.passes - 1).min(PASSES));
        let late = Instant::now() + pause >= passing.until;
        let is_over = passing.passes >= PASSES || late || self.is_closed();
        if is_over || nobody_has_room.is_some() {
            return done(nobody_has_room.map_or_else(T::elsewhere, T::without_room));
        }
        passing.begin_again();
        let this = Arc::clone(self);
        self.blocking.spawn(async move {
            sleep(pause).await;
            this.pass(passing, done);
        });
    }
}

impl<T> Passing<T> {
    fn new(about: &About, task: T) -> Self {
        let until = Instant::now() + DEADLINE;
        let declined = Vec::new();
        Self { about: about.clone(), task, until, declined, without_room: (0, None), passes: 0 }
    }

    /// The node that was asked last has done nothing.
    fn note(&mut self, why: Declined) {
        if let Declined::Full(full) = why {
            self.without_room = (self.without_room.0 + 1, Some(full));
        }
    }

    /// What all who were asked in this pass are short of; nothing where any declined otherwise.
    fn nobody_has_room(&self) -> Option<Full> {
        let (count, full) = self.without_room;
        full.filter(|_| count == self.declined.len())
    }

    /// What was said in a pass says nothing of the next.
    fn begin_again(&mut self) {
        self.declined.clear();
        self.without_room = (0, None);
    }
}

/// What a part writes; what it only looks at is as short as a tombstone.
fn body_of(part: &Part) -> &OwnedBody {
    part.next.as_ref().map_or(&OwnedBody::Tombstone, |(body, _)| body)
}

#[cfg(test)]
mod tests;
