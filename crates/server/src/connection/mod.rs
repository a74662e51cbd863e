//! A connection's life: from the first bytes, which decide its protocol, to its end.
//!
//! Holds: a connection's panic, slowness or greed ends that connection and disturbs no other.
//! Nothing is read while replies wait to be taken.
//!
//! Does not know: how connections come in (the listener's), or what requests mean.

mod budget;
mod counters;
mod output;
mod pace;
pub mod registry;
mod resp;
mod serve;
mod turn;
mod wire;

pub(crate) use budget::{Bounds, Budget, Charge, UNCHARGED_BYTES};
pub use counters::{Counters, Traffic};
pub(crate) use output::{Held, Output};
pub(crate) use pace::Pace;
pub use registry::{Client, Protocol, Registry, Shown};
pub(crate) use serve::{Served, resume, serve};
pub(crate) use turn::{made, turn};
pub(crate) use wire::{End, LINGER, LINGER_BYTES, LINGER_READ};

use crate::config::Resolved;
use crate::listener::ListenAddress;
use crate::resp::figures::Figures;
use shoal_node::Node;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What all connections of a server share. A session gets it at its creation.
pub struct Shared {
    /// The node that answers.
    pub node: Arc<Node>,
    /// The settings the server was started with.
    pub config: Arc<Resolved>,
    /// All connections.
    pub registry: Arc<Registry>,
    /// Where the server listens, with real port numbers.
    pub addresses: Vec<ListenAddress>,
    /// When the server started.
    pub started: Instant,
    /// What was executed, read and sent.
    pub counters: Counters,
    /// What INFO tells of the process.
    pub(crate) figures: Figures,
    /// What replies may wait in the whole server.
    pub(crate) output: Arc<Output>,
    /// What unfinished long requests, queued commands and watched keys may take in the whole
    /// server.
    pub(crate) input: Arc<Budget>,
    /// The longest reply to one command, in bytes.
    pub(crate) reply_limit: usize,
    pub(crate) stopping: AtomicBool,
}

impl Shared {
    /// What the connections of a server at `addresses` share.
    #[must_use]
    pub fn new(node: Arc<Node>, config: Arc<Resolved>, addresses: Vec<ListenAddress>) -> Self {
        let bounds = Bounds::of(&config);
        let registry: Arc<Registry> = Arc::default();
        Self {
            node,
            config,
            registry: Arc::clone(&registry),
            addresses,
            started: Instant::now(),
            counters: Counters::default(),
            figures: Figures::default(),
            output: Arc::new(Output::new(bounds.output, registry)),
            input: Arc::new(Budget::new(bounds.input)),
            reply_limit: bounds.reply,
            stopping: AtomicBool::new(false),
        }
    }

    /// Whether the server is stopping: connections finish what they are doing and end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// The first TCP port the server listens on, 0 if it listens on none.
    #[must_use]
    pub fn tcp_port(&self) -> u16 {
        let port = |address: &ListenAddress| match address {
            ListenAddress::Tcp(address) => Some(address.port()),
            ListenAddress::Unix(_) => None,
        };
        self.addresses.iter().find_map(port).unwrap_or(0)
    }

    /// The host part of the address under which clients reach the node: the first TCP listener's,
    /// loopback where that is a wildcard.
    #[must_use]
    pub fn tcp_host(&self) -> String {
        let host = self.addresses.iter().find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(address.ip()),
            ListenAddress::Unix(_) => None,
        });
        let reachable = host.filter(|ip| !ip.is_unspecified());
        reachable.map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string())
    }

    /// How many ordinary clients may be connected at a time. A tenth of all connections is kept
    /// for administration over HTTP.
    #[must_use]
    pub fn client_limit(&self) -> usize {
        let all = self.config.max_clients;
        all - all / 10
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
