//! Requests that several replicas answer: the machines of `shoal_core::quorum`, driven by answers
//! from the own copies and from other nodes.
//!
//! Where a write goes: [`Coordinator::write`] stamps it and begins a machine; what the machine
//! wants sent goes to the own copy at once and to the others by the [`Transport`]; every answer is
//! an event for the machine, under its own lock; when the level is reached whoever waits is told,
//! and the machine lives on until every owner has answered or its time is over.
//!
//! Holds: no lock is held while somebody is asked or told. Read-modify-writes of one key are
//! carried out one after the other. Whatever waits here has an end to its waiting. Once closed it
//! holds on to nothing.
//!
//! Does not know: interfaces, where maps come from, who is up but by what it is told.

mod ask;
mod cold;
mod decide;
mod drive;
mod event;
mod hinted;
mod job;
mod pass;
#[cfg(test)]
pub(crate) mod rig;
mod routes;
mod serve;
mod tally;
mod timers;
mod turns;
mod write;

pub(crate) use ask::Question;
pub(crate) use job::Done;
pub(crate) use routes::Routes;
pub use tally::{Queues, RequestFigure};
pub(crate) use write::{MAX_BATCH_BYTES, bytes_of};

use crate::clock::NodeClock;
use crate::replicas::Copies;
use crate::transport::Transport;
use bytes::Bytes;
use cold::Cold;
use drive::Request;
use hinted::Hinted;
use job::ReadJob;
use parking_lot::Mutex;
use serve::Homeless;
use shoal_core::ids::{Epoch, Incarnation};
use shoal_core::quorum::{Event, Level, NoQuorum, Read, ReadOutcome, Refusal};
use shoal_core::slot::Slot;
use shoal_core::version::Millis;
use shoal_core::{NodeId, PartitionId};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tally::Tally;
use timers::Line;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};
use turns::Turns;

/// How long a request may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// After how long one more owner is asked than has to be.
const SLOW: Duration = Duration::from_millis(50);
/// How often the clock is looked after, and what waits for a map.
const TEND_EVERY: Duration = Duration::from_millis(250);
/// Into how many parts the table of requests is divided.
const PARTS: usize = 16;

/// What the coordinator asks of the rest of its node.
pub(crate) trait Surroundings: Send + Sync + 'static {
    /// Whether this node is believed to be reachable.
    fn is_up(&self, node: NodeId) -> bool;
    /// A map of at least this version is needed; [`Coordinator::adopted`] is called once there is
    /// one.
    fn need_map(&self, at_least: Epoch);
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
    /// Requests that wait for a map, and which epoch of their partition at least.
    mapless: Mutex<Vec<(u64, Epoch)>>,
    slow: Line<u64>,
    deadlines: Line<u64>,
    /// Changes that wait for those before them.
    turn_ends: Line<u64>,
    /// Copies in which something waits, each once for each time that something began to.
    waits: Line<(Incarnation, PartitionId)>,
    homeless: Homeless,
    cold: Cold,
    turns: Turns,
    hints: Hinted,
    tally: Arc<Tally>,
    closed: AtomicBool,
    end: Notify,
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
            turn_ends: Line::new(DEADLINE),
            waits: Line::new(DEADLINE),
            homeless: Homeless::default(),
            cold: Cold::default(),
            turns: Turns::default(),
            hints: Hinted::default(),
            tally: Arc::default(),
            closed: AtomicBool::new(false),
            end: Notify::new(),
        })
    }

    /// Lets requests know when they are slow and when their time is over, and looks after the clock.
    /// Runs until this is [closed](Self::close).
    pub(crate) async fn run(self: Arc<Self>) {
        let mut tend = interval(TEND_EVERY);
        tend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_closed() {
            tokio::select! {
                () = self.end.notified() => {}
                ids = self.slow.due() => {
                    for id in ids {
                        self.tell(id, Event::Slow);
                        // One more owner may be asked the next time.
                        if self.request(id).is_some() {
                            self.slow.join(Instant::now(), id);
                        }
                    }
                }
                ids = self.deadlines.due() => {
                    for id in ids {
                        self.tell(id, Event::Deadline);
                    }
                }
                ids = self.turn_ends.due() => self.give_up_turns(&ids),
                places = self.waits.due() => self.give_up_waiting(&places),
                _ = tend.tick() => self.tend(),
            }
        }
    }

    /// Ends everything that is under way as if its time were over, and takes nothing on any more.
    pub(crate) fn close(self: &Arc<Self>) {
        self.closed.store(true, Ordering::Release);
        self.end.notify_one();
        let ids: Vec<u64> = self
            .jobs
            .iter()
            .flat_map(|part| part.lock().keys().copied().collect::<Vec<_>>())
            .collect();
        for id in ids {
            self.tell(id, Event::Deadline);
        }
        self.end_turns();
        for (envelope, tell) in self.empty_cold() {
            tell(Some(self.refused(&envelope, Refusal::Unable)));
        }
        let now = Instant::now();
        self.give_up_homeless(now);
        for (_, copy) in self.copies.all() {
            copy.give_up(now, self.clock.told());
        }
        self.mapless.lock().clear();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Refuses what has waited in copies as long as anybody waits for an answer.
    fn give_up_waiting(&self, places: &[(Incarnation, PartitionId)]) {
        let Some(began) = Instant::now().checked_sub(DEADLINE) else { return };
        for (keyspace, partition) in places {
            if let Some(copy) = self.copies.find(*keyspace, *partition) {
                copy.give_up(began, self.clock.told());
            }
        }
    }

    fn tend(self: &Arc<Self>) {
        if let Some(began) = Instant::now().checked_sub(DEADLINE) {
            self.give_up_homeless(began);
        }
        self.mapless.lock().retain(|(id, _)| self.request(*id).is_some());
        if self.clock.wants_raising() {
            let clock = Arc::clone(&self.clock);
            // Where it fails, whoever stamps next finds out.
            self.blocking.spawn_blocking(move || clock.raise(clock.now_ms()));
        }
    }

    /// Reads one key at a level.
    pub(crate) fn read(self: &Arc<Self>, about: &About, key: Bytes, done: Done<ReadOutcome>) {
        let done = self.counted(about.level, done);
        let route = self.routes.find(about.keyspace, about.slot).filter(|_| !self.is_closed());
        let Some((_, owners)) = route else {
            return done(ReadOutcome::NoQuorum(nobody()));
        };
        let mut out = Vec::new();
        // The own copy costs no message.
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

    /// A newer map is in force: requests that waited for one go on. The routes and the copies
    /// have it already.
    pub(crate) fn adopted(self: &Arc<Self>) {
        let mapless = std::mem::take(&mut *self.mapless.lock());
        for (id, at_least) in mapless {
            let Some(request) = self.request(id) else { continue };
            match self.routes.find(request.keyspace, request.slot) {
                Some((_, owners)) if owners.epoch >= at_least => {
                    self.tell(id, Event::Remapped(owners));
                }
                // A change of something else.
                Some(_) => self.mapless.lock().push((id, at_least)),
                // That life of the keyspace is over.
                None => self.tell(id, Event::Deadline),
            }
        }
        self.house();
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

    /// Says that a map of at least this version is needed.
    pub(crate) fn need_map(&self, at_least: Epoch) {
        self.around.need_map(at_least);
    }

    fn up(&self) -> impl Fn(NodeId) -> bool {
        |node| node == self.me || self.around.is_up(node)
    }
}

/// The answer of owners where there are none: the keyspace is not known here.
const fn nobody() -> NoQuorum {
    NoQuorum { have: 0, need: 1, unreachable: Vec::new() }
}

#[cfg(test)]
mod tests;
