//! The threads that serve connections: one event loop each, nothing shared between them.
//!
//! Holds: a connection lives on one thread from its acceptance to its end, so its state needs no
//! lock. A panic ends the connection it happened in and is logged; the thread goes on.

use super::Accepted;
use crate::connection::registry::Entry;
use crate::connection::{self, Shared};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

/// How many accepted connections may wait for one thread.
const WAITING: usize = 256;

/// Threads per event loop on which commands may wait for a disk. A connection uses one only
/// while it reads what no buffer holds.
const BLOCKING_THREADS: usize = 8;

/// How long the threads for blocking commands may take to end once the connections are gone.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

/// An accepted connection on its way to its thread.
struct Incoming {
    stream: Accepted,
    entry: Entry,
    loopback_tcp: bool,
    load: Load,
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
        for index in 0..cores {
            let (sender, receiver) = mpsc::channel(WAITING);
            let shared = Arc::clone(shared);
            let mut runtime = Builder::new_current_thread();
            runtime
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS)
                .thread_name(format!("shoal-cold-{index}"));
            let thread = std::thread::Builder::new()
                .name(format!("shoal-net-{index}"))
                .spawn(move || work(runtime, receiver, shared))?;
            workers.push(Worker { sender, load: Arc::default() });
            threads.push(thread);
        }
        Ok((Arc::new(Self { workers }), threads))
    }

    /// Hands a connection to the thread that has the fewest.
    pub(crate) async fn hand_over(&self, stream: Accepted, entry: Entry, loopback_tcp: bool) {
        let by_load = |worker: &&Worker| worker.load.load(Ordering::Relaxed);
        let Some(worker) = self.workers.iter().min_by_key(by_load) else { return };
        worker.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(Arc::clone(&worker.load));
        // A thread that has ended is on its way out with the whole server.
        let _ = worker.sender.send(Incoming { stream, entry, loopback_tcp, load }).await;
    }
}

fn work(mut builder: Builder, incoming: mpsc::Receiver<Incoming>, shared: Arc<Shared>) {
    let runtime = match builder.build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a thread for connections cannot start");
            return;
        }
    };
    runtime.block_on(serve_all(incoming, shared));
    runtime.shutdown_timeout(BLOCKING_GRACE);
}

/// Serves what comes in until the sender is gone, then waits for what is left, bounded.
async fn serve_all(mut incoming: mpsc::Receiver<Incoming>, shared: Arc<Shared>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            next = incoming.recv() => {
                let Some(next) = next else { break };
                tasks.spawn_local(serve_one(next, Arc::clone(&shared)));
            }
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => note(&ended),
        }
    }
    let rest = async {
        while let Some(ended) = tasks.join_next().await {
            note(&ended);
        }
    };
    if tokio::time::timeout(shared.config.stop_grace, rest).await.is_err() {
        tracing::warn!(
            connections = tasks.len(),
            "connections were still busy when the time to stop was over; they were cut"
        );
    }
}

async fn serve_one(incoming: Incoming, shared: Arc<Shared>) {
    let Incoming { stream, entry, loopback_tcp, load } = incoming;
    let _given_back_at_the_end = load;
    match stream.settle_here() {
        Ok(stream) => connection::serve(shared, stream, entry, loopback_tcp).await,
        Err(error) => tracing::warn!(%error, "a connection could not be taken over"),
    }
}

fn note(ended: &Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked; the connection was closed");
    }
}
