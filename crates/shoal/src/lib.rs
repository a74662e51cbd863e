//! Shoal embedded: a full node, with its listeners, inside a Rust program.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = shoal::Config::at("./shoal-data".as_ref(), &["127.0.0.1:7400"])
//!     .map_err(|problems| problems.into_iter().map(|p| p.to_string()).collect::<String>())?;
//! let shoal = shoal::Shoal::start(config).await?;
//! // … Redis clients and HTTP reach it at shoal.addresses() …
//! shoal.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Several make a cluster, in one program or in many: the second one is told where the first one
//! meets others.
//!
//! ```no_run
//! # async fn example(mut config: shoal::Config, first: &shoal::Shoal)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! if let Some(address) = first.peers() {
//!     config.peers.join = vec![address.to_string()];
//! }
//! let second = shoal::Shoal::start(config).await?;
//! # second.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Holds: nothing here needs a particular async runtime; the server brings its own threads.
//!
//! Does not know: the command line.

pub use shoal_server::config::{PeerSettings, Problem, Resolved as Config};
pub use shoal_server::listener::ListenAddress;
pub use shoal_server::{BootError, Running};

use shoal_server::Server;
use std::net::SocketAddr;
use tokio::sync::oneshot;

/// A node that runs inside this program. Dropping it stops it, blocking until that is done.
#[derive(Debug)]
pub struct Shoal {
    running: Running,
}

impl Shoal {
    /// Starts a node; it is ready when this returns. One that is to join a cluster is in it then,
    /// and one that was in a cluster of several waits for a majority of those who decide its map.
    ///
    /// # Errors
    /// [`BootError`], a sentence that says what to do; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, BootError> {
        let running = elsewhere(move || Server::start(config)).await?;
        Ok(Self { running })
    }

    /// Where it listens, with real port numbers.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAddress] {
        self.running.addresses()
    }

    /// Where other nodes reach it, if they may.
    #[must_use]
    pub fn peers(&self) -> Option<SocketAddr> {
        self.running.peers()
    }

    /// Stops the node: running requests finish, everything is synced and closed.
    ///
    /// # Errors
    /// [`BootError::Stop`], if it could not be closed cleanly; what was acknowledged is kept.
    pub async fn stop(self) -> Result<(), BootError> {
        elsewhere(move || self.running.shutdown()).await
    }
}

/// Runs what blocks on a thread of its own, so that no executor's thread is held up.
async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BootError> + Send + 'static,
) -> Result<T, BootError> {
    let (sender, outcome) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("shoal-start-stop".to_owned())
        // Whoever asked may have gone meanwhile; then the outcome is dropped, which stops it.
        .spawn(move || drop(sender.send(work())))
        .map_err(BootError::Thread)?;
    match outcome.await {
        Ok(outcome) => outcome,
        // The sender goes without a word only if the work panicked.
        Err(_) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => Err(BootError::Interrupted),
        },
    }
}
