//! Requests that several replicas answer: the machines of `shoal_core::quorum`, driven by answers
//! from the own copies and from other nodes.
//!
//! Where a write goes: [`Coordinator::write`] stamps it and begins a machine; what the machine
//! wants sent goes to the own copy at once and to the others by the [`Transport`]; every answer is
//! an event for the machine, under its own lock; when the level is reached whoever waits is told,
//! and the machine lives on until every owner has answered or its time is over.
//!
//! Holds: no lock is held while somebody is asked or told. Read-modify-writes of one key are
//! carried out one after the other.
//!
//! Does not know: interfaces, where maps come from, who is up but by what it is told.

mod ask;
mod decide;
mod hinted;
mod job;
#[cfg(test)]
pub(crate) mod rig;
mod routes;
mod serve;
mod timers;
mod turns;

pub(crate) use ask::Question;
pub(crate) use job::Done;
pub(crate) use routes::Routes;

use crate::clock::NodeClock;
use crate::replicas::Copies;
use crate::transport::Transport;
use bytes::Bytes;
use hinted::Hinted;
use job::{Job, ReadJob, Step, WriteJob};
use parking_lot::Mutex;
use shoal_core::NodeId;
use shoal_core::clock::{ClockError, Stamp};
use shoal_core::ids::{Epoch, Incarnation};
use shoal_core::quorum::{
    Ask, Event, Item, Level, NoQuorum, Read, ReadOutcome, Restamp, Stamps, Write, WriteOutcome,
};
use shoal_core::record::{OwnedBody, OwnedRecord};
use shoal_core::slot::Slot;
use shoal_core::version::Millis;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use timers::Line;
use tokio::runtime::Handle;
use turns::Turns;

/// How long a request may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// After how long one more owner is asked than has to be.
const SLOW: Duration = Duration::from_millis(50);
/// Into how many parts the table of requests is divided.
const PARTS: usize = 16;

/// What the coordinator asks of the rest of its node.
pub(crate) trait Surroundings: Send + Sync + 'static {
    /// Whether this node is believed to be reachable.
    fn is_up(&self, node: NodeId) -> bool;
    /// A map newer than this epoch is needed; [`Coordinator::adopted`] is called once there is one.
    fn need_map(&self, above: Epoch);
    /// How long a value lives that is written to this keyspace without an expiry.
    fn default_ttl_ms(&self, keyspace: Incarnation) -> Option<Millis>;
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) keyspace: Incarnation,
    pub(crate) slot: Slot,
    pub(crate) level: Level,
}

/// Drives requests.
pub(crate) struct Coordinator {
    me: NodeId,
    clock: Arc<NodeClock>,
    copies: Arc<Copies>,
    routes: Arc<Routes>,
    transport: Arc<dyn Transport>,
    around: Arc<dyn Surroundings>,
    /// Where disks are waited for.
    blocking: Handle,
    max_value_bytes: usize,
    next: AtomicU64,
    jobs: [Mutex<HashMap<u64, Arc<Request>>>; PARTS],
    /// Requests that wait for a map, and above which epoch of their partition.
    mapless: Mutex<Vec<(u64, Epoch)>>,
    slow: Line<u64>,
    deadlines: Line<u64>,
    turns: Turns,
    hints: Hinted,
}

/// A request under way.
struct Request {
    keyspace: Incarnation,
    slot: Slot,
    job: Mutex<Box<dyn Job>>,
}

/// What a coordinator is made of.
pub(crate) struct Parts {
    pub(crate) me: NodeId,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) copies: Arc<Copies>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) around: Arc<dyn Surroundings>,
    pub(crate) blocking: Handle,
    pub(crate) max_value_bytes: usize,
}

impl Coordinator {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { me, clock, copies, routes, transport, around, blocking, max_value_bytes } =
            parts;
        Arc::new(Self {
            me,
            clock,
            copies,
            routes,
            transport,
            around,
            blocking,
            max_value_bytes,
            next: AtomicU64::new(1),
            jobs: std::array::from_fn(|_| Mutex::default()),
            mapless: Mutex::default(),
            slow: Line::new(SLOW),
            deadlines: Line::new(DEADLINE),
            turns: Turns::default(),
            hints: Hinted::default(),
        })
    }

    /// Lets requests know when they are slow and when their time is over. Runs for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            tokio::select! {
                id = self.slow.next() => {
                    self.tell(id, Event::Slow);
                    // One more owner may be asked the next time.
                    if self.request(id).is_some() {
                        self.slow.join(id);
                    }
                }
                id = self.deadlines.next() => self.tell(id, Event::Deadline),
            }
        }
    }

    /// Reads one key at a level.
    pub(crate) fn read(self: &Arc<Self>, about: &About, key: Bytes, done: Done<ReadOutcome>) {
        let Some((_, owners)) = self.routes.find(about.keyspace, about.slot) else {
            return done(ReadOutcome::NoQuorum(nobody()));
        };
        let mut out = Vec::new();
        let prefer = |node| u32::from(node != self.me);
        match Read::start(key, about.level, owners, self.up(), prefer, &mut out) {
            Ok(machine) => {
                let mut job = ReadJob { machine, done: Some(done) };
                let steps = job.steps(out);
                self.begin(about, Box::new(job), steps);
            }
            Err(outcome) => done(outcome),
        }
    }

    /// Writes keys of one slot as one, without looking at what is there.
    ///
    /// # Errors
    /// [`ClockError`] where this node may not stamp now; `done` is not called.
    pub(crate) fn write(
        self: &Arc<Self>,
        about: &About,
        records: Vec<(Bytes, OwnedBody, Option<Millis>)>,
        done: Done<WriteOutcome>,
    ) -> Result<(), ClockError> {
        let Some((_, owners)) = self.routes.find(about.keyspace, about.slot) else {
            done(WriteOutcome::NoQuorum(nobody()));
            return Ok(());
        };
        let version = self.clock.next()?.version(self.me);
        let item = |(key, body, expires_at)| {
            let record = OwnedRecord { version, written: version, expires_at, body };
            Item { key, record }
        };
        let items: Arc<[Item]> = records.into_iter().map(item).collect();
        let mut out = Vec::new();
        let (me, level, up) = (self.me, about.level, self.up());
        match Write::start(me, items, level, Restamp::Once, owners, up, &mut out) {
            Ok(machine) => {
                let mut job = WriteJob { machine, done: Some(done) };
                let steps = job.steps(out);
                self.begin(about, Box::new(job), steps);
            }
            Err(outcome) => done(outcome),
        }
        Ok(())
    }

    /// A newer map is in force: requests that waited for one go on. The routes and the copies
    /// have it already.
    pub(crate) fn adopted(self: &Arc<Self>) {
        let mapless = std::mem::take(&mut *self.mapless.lock());
        for (id, above) in mapless {
            let Some(request) = self.request(id) else { continue };
            match self.routes.find(request.keyspace, request.slot) {
                Some((_, owners)) if owners.epoch > above => self.tell(id, Event::Remapped(owners)),
                // A change of something else.
                Some(_) => self.mapless.lock().push((id, above)),
                // That life of the keyspace is over.
                None => self.tell(id, Event::Deadline),
            }
        }
    }

    /// How many requests are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.jobs.iter().map(|part| part.lock().len()).sum()
    }

    /// Who owns what, as far as it is known here.
    pub(crate) const fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// The copies of this node.
    pub(crate) const fn copies(&self) -> &Arc<Copies> {
        &self.copies
    }

    /// Where disks are waited for.
    pub(crate) const fn blocking(&self) -> &Handle {
        &self.blocking
    }

    /// Says that a map newer than this epoch is needed.
    pub(crate) fn need_map(&self, above: Epoch) {
        self.around.need_map(above);
    }

    fn up(&self) -> impl Fn(NodeId) -> bool {
        |node| node == self.me || self.around.is_up(node)
    }

    fn part(&self, id: u64) -> &Mutex<HashMap<u64, Arc<Request>>> {
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of a small number")]
        let part = (id % PARTS as u64) as usize;
        &self.jobs[part]
    }

    fn request(&self, id: u64) -> Option<Arc<Request>> {
        self.part(id).lock().get(&id).map(Arc::clone)
    }

    fn begin(self: &Arc<Self>, about: &About, job: Box<dyn Job>, steps: Vec<Step>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (keyspace, slot) = (about.keyspace, about.slot);
        let request = Arc::new(Request { keyspace, slot, job: Mutex::new(job) });
        self.part(id).lock().insert(id, Arc::clone(&request));
        self.slow.join(id);
        self.deadlines.join(id);
        self.carry_out(id, &request, steps);
    }

    /// Gives a request an event, if it is still under way.
    fn tell(self: &Arc<Self>, id: u64, event: Event) {
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
        for step in steps {
            match step {
                Step::Tell(tell) => tell(),
                Step::Send { to, round, epoch, ask } => {
                    self.send(id, request, to, round, epoch, ask);
                }
                Step::PullMap { above } => self.await_map(id, request, above),
                Step::Hint { to, items } => self.keep_hints(request, to, &items),
            }
        }
    }

    fn await_map(self: &Arc<Self>, id: u64, request: &Request, above: Epoch) {
        // Entered first, so that a map which comes now is not missed.
        self.mapless.lock().push((id, above));
        match self.routes.find(request.keyspace, request.slot) {
            Some((_, owners)) if owners.epoch > above => self.tell(id, Event::Remapped(owners)),
            _ => self.around.need_map(above),
        }
    }

    fn send(
        self: &Arc<Self>,
        id: u64,
        request: &Request,
        to: NodeId,
        round: u32,
        epoch: Epoch,
        ask: Ask,
    ) {
        let (keyspace, slot) = (request.keyspace, request.slot);
        let this = Arc::clone(self);
        self.ask(Question { to, keyspace, slot, epoch, round, ask }, move |answer| {
            this.tell(id, answer.map_or(Event::Failed(to), Event::Answered));
        });
    }
}

/// The answer of owners where there are none: the keyspace is not known here.
const fn nobody() -> NoQuorum {
    NoQuorum { have: 0, need: 1, unreachable: Vec::new() }
}

/// The node's clock as machines see it.
struct Ticker<'c>(&'c NodeClock);

impl Stamps for Ticker<'_> {
    fn stamp(&mut self) -> Result<Stamp, ClockError> {
        self.0.next()
    }
}

#[cfg(test)]
mod tests;
