//! Starting and stopping a server: node, listeners, threads, and back.
//!
//! Holds: the order of the start is descriptors, sockets, node, threads, and of a node among
//! several last that the others take note of it; whatever fails undoes what came before it. The stop is its reverse: no new connections, running requests finish
//! within their grace, connections end, the node syncs and closes. A server that stopped this
//! way has lost nothing and starts without replaying.

mod logs;
mod sockets;

use crate::config::Resolved;
use crate::connection::Shared;
use crate::listener::{BindError, Bound, ListenAddress, Workers, accept_all};
use crate::network::TcpNetwork;
use shoal_node::cluster::Network as _;
use shoal_node::{Entry, Node, NodeConfig, Refusal, StartError};
use sockets::Sockets;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// File descriptors beside those of connections: the store's files, the log, the sockets.
const OTHER_DESCRIPTORS: u64 = 1_024;

/// Why a server did not start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The node did not start.
    #[error(transparent)]
    Node(#[from] StartError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The address for other nodes cannot be listened on.
    #[error(
        "cannot listen for other nodes on {listen}, by TCP and UDP: {error}; choose another \
         address with --peer-listen"
    )]
    Peers {
        /// Where.
        listen: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// The data directory is new, other machines can reach the node, and nothing says whether it
    /// founds a cluster or joins one.
    #[error(
        "this node belongs to no cluster yet, and other machines can reach it at {listen}: found \
         a new cluster with --bootstrap, or join one with --join HOST:PORT, or found one together \
         with others with --expect N"
    )]
    Beginning {
        /// Where other nodes are listened for.
        listen: SocketAddr,
    },
    /// A thread or an event loop could not be started.
    #[error("a thread could not be started: {0}; raise the limit of processes")]
    Thread(#[source] io::Error),
    /// The signals that stop the server could not be listened for.
    #[error("signals cannot be listened for: {0}")]
    Signals(#[source] io::Error),
    /// Standard output could not be written.
    #[error("standard output cannot be written: {0}")]
    Output(#[source] io::Error),
    /// The node could not be closed cleanly. What was acknowledged is safe; the next start
    /// replays it.
    #[error("the node could not be closed cleanly: {0}; what was acknowledged is kept")]
    Stop(#[source] Refusal),
    /// A second signal came before the server had stopped.
    #[error("stopped at once by a second signal; what was acknowledged is kept")]
    Interrupted,
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts a server. Blocks while the node opens its data, and until it serves.
    ///
    /// # Errors
    /// [`BootError`], a sentence that says what to do; nothing is left running.
    pub fn start(config: Resolved) -> Result<Running, BootError> {
        let config = Arc::new(with_descriptors(config));
        if config.insecure_open {
            tracing::warn!(
                "insecure_open is set: everyone who reaches these addresses can read and change \
                 everything"
            );
        }
        // Sockets first: another server on the same port is found out before its data directory
        // is touched, and clients that come early wait in the queue of the socket.
        let sockets = Sockets::open(&config)?;
        let peers = sockets.peers(&config);
        let Sockets { bound, addresses, network, .. } = sockets;
        let (node, entry) = Node::open(NodeConfig { peers, ..node_config(&config) })?;
        let shared = Arc::new(Shared::new(Arc::clone(&node), config, addresses));
        let running = match Running::begin(Arc::clone(&shared), bound, network) {
            Ok(running) => running,
            Err(error) => {
                // The reason of the failed start is the one worth telling.
                let _ = node.stop();
                return Err(BootError::Thread(error));
            }
        };
        // Clients are answered while a majority is looked for: how the node is, and why it does not
        // serve yet.
        if let Some(Err(error)) = entry.map(Entry::enter) {
            let _ = running.shutdown();
            return Err(error.into());
        }
        Ok(running)
    }
}

/// A server that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    network: Option<Arc<TcpNetwork>>,
    stop: Option<oneshot::Sender<()>>,
    control: Option<JoinHandle<Result<(), Refusal>>>,
}

impl Running {
    fn begin(
        shared: Arc<Shared>,
        bound: Vec<Bound>,
        network: Option<Arc<TcpNetwork>>,
    ) -> io::Result<Self> {
        let (workers, threads) = Workers::start(&shared)?;
        let (stop, stopped) = oneshot::channel();
        let (began, begins) = std::sync::mpsc::channel();
        let there = Arc::clone(&shared);
        let control =
            std::thread::Builder::new().name("shoal-control".to_owned()).spawn(move || {
                // An event loop stays on the thread that made it.
                let runtime = local_runtime();
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        // Whoever waits for this stops the node and tells the reason.
                        let _ = began.send(Err(error));
                        return Ok(());
                    }
                };
                let _ = began.send(Ok(()));
                control(&runtime, &there, bound, workers, threads, stopped)
            })?;
        let ended = || Err(io::Error::other("the thread that accepts connections ended"));
        begins.recv().unwrap_or_else(|_| ended())?;
        Ok(Self { shared, network, stop: Some(stop), control: Some(control) })
    }

    /// Where the server listens, with real port numbers.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.shared.addresses
    }

    /// Where other nodes reach this one, if they do.
    #[must_use]
    pub fn peers(&self) -> Option<SocketAddr> {
        self.network.as_ref().map(|network| network.address())
    }

    /// What carries the messages of other nodes, if anything does.
    #[must_use]
    pub const fn network(&self) -> Option<&Arc<TcpNetwork>> {
        self.network.as_ref()
    }

    /// The node that answers.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.shared.node
    }

    /// What the server's connections share: settings, the list of clients, counters.
    #[must_use]
    pub const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Stops the server: no new connections, running requests finish within their grace, the
    /// node syncs and closes. Blocks until that is done.
    ///
    /// # Errors
    /// [`BootError::Stop`], if the node could not be closed cleanly.
    pub fn shutdown(mut self) -> Result<(), BootError> {
        self.finish().map_err(BootError::Stop)
    }

    fn finish(&mut self) -> Result<(), Refusal> {
        // The thread hears of it by the sender's end, too.
        drop(self.stop.take());
        match self.control.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.control.is_some()
            && let Err(error) = self.finish()
        {
            tracing::error!(%error, "the node could not be closed cleanly");
        }
    }
}

/// Accepts connections until told to stop, then stops everything in order.
fn control(
    runtime: &LocalRuntime,
    shared: &Arc<Shared>,
    bound: Vec<Bound>,
    workers: Arc<Workers>,
    threads: Vec<JoinHandle<()>>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), Refusal> {
    runtime.block_on(async {
        let mut listeners = JoinSet::new();
        for bound in bound {
            let (shared, workers) = (Arc::clone(shared), Arc::clone(&workers));
            listeners.spawn_local(accept_all(bound, shared, workers));
        }
        listeners.spawn_local(Arc::clone(&workers).balance());
        // Sent or dropped, either means stop.
        let _ = stopped.await;
        listeners.shutdown().await;
    });
    shared.stopping.store(true, Ordering::SeqCst);
    // The threads see that nothing more will come, and the connections that they are to end.
    drop(workers);
    shared.registry.wake_all();
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread that served connections panicked");
        }
    }
    shared.node.stop()
}

fn local_runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// Runs a server until SIGTERM or Ctrl-C, and stops it in order.
///
/// Prints the data directory and, once requests are welcome, a line `peers: ADDR` if other nodes
/// can reach it, and a line `ready: listening on ADDR` per address of clients; with `json` the same
/// as `{"data":PATH}`, `{"peers":ADDR}` and `{"ready":ADDR}`. A signal ends it also while it waits
/// to be let into a cluster.
///
/// # Errors
/// [`BootError`], a sentence that says what to do.
pub fn run(config: Resolved, json: bool) -> Result<(), BootError> {
    logs::start(&config);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(BootError::Thread)?;
    let mut signals = {
        let _context = runtime.enter();
        Signals::new().map_err(BootError::Signals)?
    };
    let data = std::path::absolute(&config.data).unwrap_or_else(|_| config.data.clone());
    say(&Event::Data(&data), json)?;
    let starting = async {
        let starting = tokio::task::spawn_blocking(|| Server::start(config));
        tokio::select! {
            outcome = starting => match outcome {
                Ok(outcome) => outcome.map(Some),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            // The process ends with the thread in it, as it might in a crash: nothing was served.
            signal = signals.next() => {
                tracing::info!(signal, "stopped before the start was over");
                Ok(None)
            }
        }
    };
    let running = match runtime.block_on(starting) {
        Ok(Some(running)) => running,
        outcome => {
            runtime.shutdown_background();
            logs::finish();
            return outcome.map(drop);
        }
    };
    if let Some(address) = running.peers() {
        say(&Event::Peers(address), json)?;
    }
    for address in running.addresses() {
        say(&Event::Ready(address), json)?;
    }
    let signal = runtime.block_on(signals.next());
    tracing::info!(signal, "stopping");
    let outcome = runtime.block_on(async {
        let stopping = tokio::task::spawn_blocking(|| running.shutdown());
        tokio::select! {
            outcome = stopping => match outcome {
                Ok(outcome) => outcome,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = signals.again() => Err(BootError::Interrupted),
        }
    });
    // After a second signal the stop goes on on its thread; nobody waits for it any more.
    runtime.shutdown_background();
    if outcome.is_ok() {
        tracing::info!("stopped");
    }
    logs::finish();
    outcome
}

/// Signals that come within this long of the first are the first: a terminal and a supervisor
/// may both send one.
const ONE_SIGNAL: Duration = Duration::from_secs(1);

/// The signals that stop a server.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// A signal that is not the first one come twice.
    async fn again(&mut self) {
        let first = Instant::now();
        loop {
            self.next().await;
            if first.elapsed() >= ONE_SIGNAL {
                return;
            }
        }
    }

    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// What whoever started the server is told.
enum Event<'a> {
    /// Where the data lives.
    Data(&'a Path),
    /// Other nodes reach it at this address.
    Peers(SocketAddr),
    /// Requests are welcome at this address.
    Ready(&'a ListenAddress),
}

impl Event<'_> {
    /// The event as one line, for a person or for a program.
    fn line(&self, json: bool) -> String {
        match self {
            Self::Data(path) if json => {
                serde_json::json!({ "data": path.to_string_lossy() }).to_string()
            }
            Self::Data(path) => format!("data: {}", path.display()),
            Self::Peers(address) if json => {
                serde_json::json!({ "peers": address.to_string() }).to_string()
            }
            Self::Peers(address) => format!("peers: {address}"),
            Self::Ready(address) if json => {
                serde_json::json!({ "ready": address.to_string() }).to_string()
            }
            Self::Ready(address) => format!("ready: listening on {address}"),
        }
    }
}

/// Tells whoever started the server, a person or a script.
fn say(event: &Event<'_>, json: bool) -> Result<(), BootError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", event.line(json)).and_then(|()| out.flush()).map_err(BootError::Output)
}

fn node_config(config: &Resolved) -> NodeConfig {
    NodeConfig {
        data: config.data.clone(),
        memory_limit: config.memory_limit,
        default_in_memory: config.memory,
        max_value_bytes: config.max_value,
        min_free: config.min_free,
        name: config.name.clone(),
        ..NodeConfig::default()
    }
}

/// Raises the limit of file descriptors to what the connections need, or, where the system does
/// not let us, lowers the connections to what there is.
fn with_descriptors(mut config: Resolved) -> Resolved {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = config.max_clients as u64 + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|current| *current < needed) else { return config };
    let wanted = limit.maximum.map_or(needed, |maximum| needed.min(maximum));
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    let have = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(_) => current,
    };
    if have < needed {
        let left = have.saturating_sub(OTHER_DESCRIPTORS).max(have / 2).max(1);
        let clients = usize::try_from(left).unwrap_or(usize::MAX).min(config.max_clients);
        tracing::warn!(
            descriptors = have,
            max_clients = clients,
            "the limit of open files is too low for max_clients; raise it with `ulimit -n`"
        );
        config.max_clients = clients;
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lines_for_people_or_documents_for_programs() {
        let data = Event::Data(Path::new("/a \"b\"\nc"));
        assert_eq!(Event::Data(Path::new("/data")).line(false), "data: /data");
        assert_eq!(data.line(true), r#"{"data":"/a \"b\"\nc"}"#);
        let address = ListenAddress::Tcp(([127, 0, 0, 1], 4711).into());
        let ready = Event::Ready(&address);
        assert_eq!(ready.line(false), "ready: listening on 127.0.0.1:4711");
        assert_eq!(ready.line(true), r#"{"ready":"127.0.0.1:4711"}"#);
        let peers = Event::Peers(([127, 0, 0, 1], 4712).into());
        assert_eq!(peers.line(false), "peers: 127.0.0.1:4712");
        assert_eq!(peers.line(true), r#"{"peers":"127.0.0.1:4712"}"#);
    }
}
