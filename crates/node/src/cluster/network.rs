//! The seam between a node and what carries its messages and datagrams.

use crate::transport::{Identity, Serve, Transport};
use core::net::SocketAddr;
use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Opens what a node reaches others through. Called once per node.
pub trait Network: Send + Sync + 'static {
    /// Listens for messages, on `runtime`. `serve` should be held no longer than the transport.
    ///
    /// # Errors
    /// What the system says of the address.
    fn open(
        &self,
        runtime: &Handle,
        identity: Identity,
        serve: Arc<dyn Serve>,
    ) -> io::Result<Arc<dyn Transport>>;

    /// Listens for datagrams, on `runtime`.
    ///
    /// # Errors
    /// What the system says of the address.
    fn datagrams(&self, runtime: &Handle) -> io::Result<Arc<dyn Datagrams>>;

    /// Where others reach this node, for messages and for datagrams: with a real port, and no
    /// wildcard.
    fn address(&self) -> SocketAddr;
}

/// A datagram that came, and where from.
pub type Came<'a> = Pin<Box<dyn Future<Output = io::Result<(SocketAddr, Vec<u8>)>> + Send + 'a>>;

/// Where a name leads; nowhere, as long as nobody knows.
pub type Resolved = Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send>>;

/// Carries datagrams: each may be lost, doubled, or overtake another.
pub trait Datagrams: Send + Sync + 'static {
    /// Sends one, now or never.
    fn send(&self, to: SocketAddr, bytes: &[u8]);

    /// Waits for the next one. Dropping the future loses none.
    fn receive(&self) -> Came<'_>;

    /// Finds out where `address`, of the form `host:port`, leads. What is not overridden knows no
    /// names of hosts.
    fn resolve(&self, address: &str) -> Resolved {
        Box::pin(ready(address.parse().into_iter().collect()))
    }
}
