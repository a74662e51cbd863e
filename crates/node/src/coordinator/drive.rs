//! The requests under way, and how each goes on: an event for its machine, and then what the
//! machine wants done.
//!
//! Holds: a machine's lock is not held while what it wants is done.

use super::ask::encoded;
use super::job::{Job, Step};
use super::{About, Coordinator, DEADLINE, PARTS};
use crate::clock::NodeClock;
use bytes::Bytes;
use parking_lot::Mutex;
use shoal_core::NodeId;
use shoal_core::clock::{ClockError, Stamp};
use shoal_core::ids::{Epoch, Incarnation};
use shoal_core::quorum::{Answer, Ask, Envelope, Event, Header, Stamps};
use shoal_core::slot::Slot;
use shoal_storage::Patience;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// A request under way.
pub(super) struct Request {
    pub(super) keyspace: Incarnation,
    pub(super) slot: Slot,
    job: Mutex<Box<dyn Job>>,
}

impl Coordinator {
    fn part(&self, id: u64) -> &Mutex<HashMap<u64, Arc<Request>>> {
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of a small number")]
        let part = (id % PARTS as u64) as usize;
        &self.jobs[part]
    }

    pub(super) fn request(&self, id: u64) -> Option<Arc<Request>> {
        self.part(id).lock().get(&id).map(Arc::clone)
    }

    pub(super) fn begin(self: &Arc<Self>, about: &About, job: Box<dyn Job>, steps: Vec<Step>) {
        self.begin_until(Instant::now() + DEADLINE, about, job, steps);
    }

    /// As [`Coordinator::begin`]; its time is over at `until`.
    pub(super) fn begin_until(
        self: &Arc<Self>,
        until: Instant,
        about: &About,
        job: Box<dyn Job>,
        steps: Vec<Step>,
    ) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (keyspace, slot) = (about.keyspace, about.slot);
        let request = Arc::new(Request { keyspace, slot, job: Mutex::new(job) });
        self.part(id).lock().insert(id, Arc::clone(&request));
        self.slow.join(Instant::now(), id);
        self.deadlines.join_until(until, id);
        self.carry_out(id, &request, steps);
        if self.is_closed() {
            self.tell(id, Event::Deadline);
        }
    }

    /// Gives a request an event, if it is still under way.
    pub(super) fn tell(self: &Arc<Self>, id: u64, event: Event) {
        let Some(request) = self.request(id) else { return };
        let mut ticker = Ticker(&self.clock);
        let mut job = request.job.lock();
        let steps = job.on(event, &mut ticker);
        let over = job.is_over();
        drop(job);
        if over {
            self.part(id).lock().remove(&id);
        }
        self.carry_out(id, &request, steps);
    }

    fn carry_out(self: &Arc<Self>, id: u64, request: &Request, steps: Vec<Step>) {
        // What the own copy does is done while the others are asked.
        let mut own = Vec::new();
        let mut sent: Option<Sent> = None;
        for step in steps {
            match step {
                Step::Tell(tell) => tell(),
                Step::Send { to, round, epoch, ask } if to == self.me => {
                    own.push((round, epoch, ask));
                }
                Step::Send { to, round, epoch, ask } => {
                    // Most of what is sent goes to several nodes as it is.
                    let again = sent.take().filter(|sent| sent.round == round && sent.is_of(&ask));
                    let Sent { body, .. } = sent.insert(again.unwrap_or_else(|| {
                        let envelope = self.envelope(request, round, epoch, ask);
                        Sent { round, body: encoded(&envelope), ask: envelope.ask }
                    }));
                    self.ask_other(to, body.clone(), self.teller(id, to, round));
                }
                Step::PullMap { at_least } => self.await_map(id, request, at_least),
                Step::Hint { to, items } => self.keep_hints(request, to, &items),
            }
        }
        for (round, epoch, ask) in own {
            let envelope = self.envelope(request, round, epoch, ask);
            let tell = Box::new(self.teller(id, self.me, round));
            self.ask_own(envelope, Patience::Inline, tell);
        }
    }

    fn envelope(&self, request: &Request, round: u32, epoch: Epoch, ask: Ask) -> Envelope {
        let Request { keyspace, slot, .. } = *request;
        Envelope { header: Header { keyspace, slot, epoch, clock: self.clock.told() }, round, ask }
    }

    /// Tells a request what became of what `to` was asked.
    fn teller(
        self: &Arc<Self>,
        id: u64,
        to: NodeId,
        round: u32,
    ) -> impl FnOnce(Option<Answer>) + Send + 'static {
        let this = Arc::clone(self);
        move |answer| {
            let failed = Event::Failed { node: to, round };
            this.tell(id, answer.map_or(failed, Event::Answered));
        }
    }

    fn await_map(self: &Arc<Self>, id: u64, request: &Request, at_least: Epoch) {
        // Entered first, so that a map which comes now is not missed.
        self.mapless.lock().push((id, at_least));
        match self.routes.find(request.keyspace, request.slot) {
            Some((_, owners)) if owners.epoch >= at_least => {
                self.tell(id, Event::Remapped(owners));
            }
            _ => self.around.need_map(at_least),
        }
    }
}

/// A question that was sent to a node, as it is sent to others.
struct Sent {
    round: u32,
    ask: Ask,
    body: Bytes,
}

impl Sent {
    /// Whether `ask` is the same question, as far as can be told at a glance.
    fn is_of(&self, ask: &Ask) -> bool {
        match (&self.ask, ask) {
            (Ask::Take { items, origin }, Ask::Take { items: others, origin: other }) => {
                Arc::ptr_eq(items, others) && origin == other
            }
            (Ask::Batch { parts }, Ask::Batch { parts: others }) => Arc::ptr_eq(parts, others),
            (Ask::Read { key, whole }, Ask::Read { key: other, whole: also }) => {
                key.as_ptr() == other.as_ptr() && key.len() == other.len() && whole == also
            }
            _ => false,
        }
    }
}

/// The node's clock as machines see it.
struct Ticker<'c>(&'c NodeClock);

impl Stamps for Ticker<'_> {
    fn stamp(&mut self) -> Result<Stamp, ClockError> {
        self.0.next()
    }
}
