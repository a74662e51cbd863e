//! The threads that serve connections: one event loop each, nothing shared between them.
//!
//! Holds: a connection is on one thread at a time, so its state needs no lock; it changes threads
//! only between two requests, when [`super::balance`] advises it. A panic ends the connection it
//! happened in and is logged; the thread goes on.

use super::Accepted;
use super::balance::{self, Machine, Move, Share};
use crate::connection::registry::Entry;
use crate::connection::{self, Served, Shared};
use crate::resp::Session;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions, RuntimeMetrics};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

/// How many accepted connections may wait for one thread.
const WAITING: usize = 256;

/// Threads per event loop on which commands may wait for a disk. A connection uses one only
/// while it reads what no buffer holds.
const BLOCKING_THREADS: usize = 8;

/// How long the threads for blocking commands may take to end once the connections are gone.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

/// How often the threads' shares are looked at.
const BALANCE_EVERY: Duration = Duration::from_millis(100);

/// A connection on its way to its thread.
struct Incoming {
    stream: Accepted,
    entry: Entry,
    load: Load,
    whence: Whence,
}

/// Where a connection comes from.
enum Whence {
    /// It was just accepted.
    Outside { loopback_tcp: bool },
    /// Another thread served it so far.
    Thread(Box<Session>),
}

/// Asks some of a thread's connections to go to another.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    count: AtomicUsize,
    to: AtomicUsize,
}

impl Departures {
    /// The thread that the asking connection is to go to, if any is still to go.
    pub(crate) fn next(&self) -> Option<usize> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let fewer = |count: usize| count.checked_sub(1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).ok()?;
        Some(self.to.load(Ordering::Relaxed))
    }

    fn ask(&self, count: usize, to: usize) {
        self.to.store(to, Ordering::Relaxed);
        self.count.store(count, Ordering::Relaxed);
    }

    /// What was not followed so far no longer holds.
    fn withdraw(&self) {
        self.count.store(0, Ordering::Relaxed);
    }
}

/// Tells the threads what they are to do: what the last interval advises, and nothing else.
fn tell<'a>(threads: impl Iterator<Item = &'a Departures>, advice: Option<Move>) {
    for (index, departures) in threads.enumerate() {
        match advice {
            Some(step) if step.from == index => departures.ask(step.count, step.to),
            _ => departures.withdraw(),
        }
    }
}

/// One connection's share of a thread's load, given back when it ends.
struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Worker {
    sender: mpsc::Sender<Incoming>,
    load: Arc<AtomicUsize>,
    departures: Arc<Departures>,
    metrics: Arc<OnceLock<RuntimeMetrics>>,
    /// Its share of the last interval, in thousandths.
    busy: AtomicUsize,
}

impl Worker {
    fn share(&self) -> Share {
        let busy = u32::try_from(self.busy.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        Share { busy, connections: self.load.load(Ordering::Relaxed) }
    }

    /// For how long it was busy since it started.
    fn busy_for(&self) -> Duration {
        self.metrics.get().map_or(Duration::ZERO, |metrics| metrics.worker_total_busy_duration(0))
    }
}

/// What a thread knows of itself and the others.
#[derive(Clone)]
struct Place {
    shared: Arc<Shared>,
    departures: Arc<Departures>,
    metrics: Arc<OnceLock<RuntimeMetrics>>,
    workers: Arc<OnceLock<Weak<Workers>>>,
}

/// The threads that serve connections.
pub(crate) struct Workers {
    workers: Vec<Worker>,
}

impl Workers {
    /// Starts one thread per core. They end some time after the last reference to the first
    /// answer is gone: when their connections have, or `stop_grace` is over.
    pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<(Arc<Self>, Vec<JoinHandle<()>>)> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut workers = Vec::new();
        let mut threads = Vec::new();
        let all: Arc<OnceLock<Weak<Self>>> = Arc::default();
        for index in 0..cores {
            let (sender, receiver) = mpsc::channel(WAITING);
            let place = Place {
                shared: Arc::clone(shared),
                departures: Arc::default(),
                metrics: Arc::default(),
                workers: Arc::clone(&all),
            };
            let (departures, metrics) = (Arc::clone(&place.departures), Arc::clone(&place.metrics));
            let mut runtime = Builder::new_current_thread();
            runtime
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS)
                .thread_name(format!("shoal-cold-{index}"));
            let thread = std::thread::Builder::new()
                .name(format!("shoal-net-{index}"))
                .spawn(move || work(runtime, receiver, place))?;
            workers.push(Worker {
                sender,
                load: Arc::default(),
                departures,
                metrics,
                busy: AtomicUsize::new(0),
            });
            threads.push(thread);
        }
        let workers = Arc::new(Self { workers });
        all.get_or_init(|| Arc::downgrade(&workers));
        Ok((workers, threads))
    }

    /// Hands a new connection to the thread that is to serve it.
    pub(crate) async fn hand_over(&self, stream: Accepted, entry: Entry, loopback_tcp: bool) {
        let shares: Vec<Share> = self.workers.iter().map(Worker::share).collect();
        let to = balance::place(&shares);
        self.send(to, stream, entry, Whence::Outside { loopback_tcp }).await;
    }

    async fn send(&self, to: usize, stream: Accepted, entry: Entry, whence: Whence) {
        let Some(worker) = self.workers.get(to) else { return };
        worker.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(Arc::clone(&worker.load));
        // A thread that has ended is on its way out with the whole server.
        let _ = worker.sender.send(Incoming { stream, entry, load, whence }).await;
    }

    /// Keeps the threads' connections together or apart, for as long as it is polled.
    pub(crate) async fn balance(self: Arc<Self>) {
        if self.workers.len() < 2 {
            return;
        }
        let mut ticks = tokio::time::interval(BALANCE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before = (tokio::time::Instant::now(), Machine::look(), self.busy());
        loop {
            ticks.tick().await;
            let now = (tokio::time::Instant::now(), Machine::look(), self.busy());
            let interval = now.0.duration_since(before.0).as_micros().max(1);
            for (worker, (after, then)) in self.workers.iter().zip(now.2.iter().zip(&before.2)) {
                let busy = after.saturating_sub(*then).as_micros() * 1_000 / interval;
                worker.busy.store(usize::try_from(busy).unwrap_or(1_000), Ordering::Relaxed);
            }
            // Where the system does not tell, all cores but the busy threads' count as idle.
            let idle = match (now.1, before.1) {
                (Some(after), Some(then)) => after.idle_since(then, self.workers.len()),
                _ => 1_000,
            };
            let shares: Vec<Share> = self.workers.iter().map(Worker::share).collect();
            let advice = balance::advise(&shares, idle);
            if let Some(step) = advice {
                tracing::debug!(?step, ?shares, idle, "connections change threads");
            }
            tell(self.workers.iter().map(|worker| &*worker.departures), advice);
            before = now;
        }
    }

    fn busy(&self) -> Vec<Duration> {
        self.workers.iter().map(Worker::busy_for).collect()
    }
}

fn work(mut builder: Builder, incoming: mpsc::Receiver<Incoming>, place: Place) {
    let runtime = match builder.build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a thread for connections cannot start");
            return;
        }
    };
    place.metrics.get_or_init(|| runtime.handle().metrics());
    runtime.block_on(serve_all(incoming, place));
    runtime.shutdown_timeout(BLOCKING_GRACE);
}

/// Serves what comes in until the sender is gone, then waits for what is left, bounded.
async fn serve_all(mut incoming: mpsc::Receiver<Incoming>, place: Place) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            next = incoming.recv() => {
                let Some(next) = next else { break };
                tasks.spawn_local(serve_one(next, place.clone()));
            }
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => note(&ended),
        }
    }
    let rest = async {
        while let Some(ended) = tasks.join_next().await {
            note(&ended);
        }
    };
    if tokio::time::timeout(place.shared.config.stop_grace, rest).await.is_err() {
        tracing::warn!(
            connections = tasks.len(),
            "connections were still busy when the time to stop was over; they were cut"
        );
    }
}

async fn serve_one(incoming: Incoming, place: Place) {
    let Incoming { stream, entry, load, mut whence } = incoming;
    let _given_back_at_the_end = load;
    let mut stream = match stream.settle_here() {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "a connection could not be taken over"),
    };
    let mut entry = entry;
    loop {
        let shared = Arc::clone(&place.shared);
        let leave = Arc::clone(&place.departures);
        let served = match whence {
            Whence::Outside { loopback_tcp } => {
                connection::serve(shared, stream, entry, loopback_tcp, leave).await
            }
            Whence::Thread(session) => {
                connection::resume(shared, stream, entry, session, leave).await
            }
        };
        let Served::Leaves { stream: left, entry: its, session, to } = served else { return };
        // Without the others the server is stopping; the connection ends where it is.
        let Some(workers) = place.workers.get().and_then(Weak::upgrade) else {
            (stream, entry, whence) = (left, its, Whence::Thread(session));
            continue;
        };
        match Accepted::uproot(left) {
            Ok(stream) => workers.send(to, stream, its, Whence::Thread(session)).await,
            Err(error) => tracing::warn!(%error, "a connection could not change its thread"),
        }
        return;
    }
}

fn note(ended: &Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked; the connection was closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_holds_until_the_next_look() {
        let threads = [Departures::default(), Departures::default()];
        tell(threads.iter(), Some(Move { from: 0, to: 1, count: 2 }));
        assert_eq!([threads[0].next(), threads[1].next()], [Some(1), None]);
        tell(threads.iter(), None);
        assert_eq!(threads[0].next(), None, "it was withdrawn before it was followed");
        tell(threads.iter(), Some(Move { from: 1, to: 0, count: 1 }));
        assert_eq!([threads[1].next(), threads[1].next()], [Some(0), None]);
    }
}
