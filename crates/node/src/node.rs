//! The node: opens its data directory, serves, and closes it again.
//!
//! Where to look: `open` starts it, `keyspaces` is what its catalogue can be asked, `config` and
//! `error` are what it is started with and why it does not start; here is what it is made of.
//!
//! Holds: the order of start is lock, identity, map, engines, sweep; of stop the reverse. A node
//! that stopped cleanly has every file synced and marked so.

mod config;
mod entry;
mod error;
mod keyspaces;
mod open;

pub use config::NodeConfig;
pub use entry::Entry;
pub use error::StartError;
pub use keyspaces::KeyspaceInfo;
pub(crate) use open::FIRST_NODE;

use crate::access::Access;
use crate::catalogue::Catalogue;
use crate::clock::NodeClock;
use crate::cluster::{Cluster, Ground};
use crate::coordinator::Coordinator;
use crate::errand::Budget;
use crate::refusal::Refusal;
use crate::rules::Rules;
use crate::stats::Stats;
use crate::sweep::Sweep;
use shoal_core::ids::ClusterId;
use shoal_core::map::ClusterMap;
use shoal_core::{MapVersion, NodeId};
use shoal_storage::directory::DataDirectory;
use shoal_storage::{Commit, Patience, Status};
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

/// A running node.
pub struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) catalogue: Catalogue,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) stats: Stats,
    /// What bounds the answers of other nodes that commands hold.
    pub(crate) answers: Arc<Budget>,
    directory: DataDirectory,
    started: Instant,
    sweep: OnceLock<Sweep>,
    pub(crate) cluster: OnceLock<Arc<Cluster>>,
    ground: Option<Ground>,
    disk_is_whole: bool,
}

/// How a node is.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The map's version.
    pub map: MapVersion,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// The engine in memory.
    pub memory: Status,
    /// The engine on disk.
    pub disk: Status,
}

impl Node {
    /// Stops the background work, syncs and closes the engines. Blocks.
    ///
    /// # Errors
    /// The refusal of an engine that could not be closed cleanly.
    pub fn stop(&self) -> Result<(), Refusal> {
        if let Some(sweep) = self.sweep.get() {
            sweep.stop();
        }
        if let Some(cluster) = self.cluster() {
            cluster.close();
        }
        if let Some(ground) = &self.ground {
            ground.close();
        }
        let disk = self.catalogue.engines.disk.close();
        let memory = self.catalogue.engines.memory.close();
        disk?;
        memory?;
        Ok(())
    }

    /// What the node stands on, where others can reach it.
    pub(crate) const fn ground(&self) -> Option<&Ground> {
        self.ground.as_ref()
    }

    /// Whether the disk had everything that was answered, whatever durability was asked for, when
    /// it was opened.
    pub(crate) const fn disk_is_whole(&self) -> bool {
        self.disk_is_whole
    }

    /// How often the node was started on its directory.
    pub(crate) fn start_count(&self) -> u64 {
        self.directory.identity().incarnation
    }

    /// How the node was asked to run.
    #[must_use]
    pub const fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// What the node did since it started.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.clock.node()
    }

    /// Where its data lives.
    #[must_use]
    pub fn data(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// How the node is.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        NodeStatus {
            cluster: ClusterId(self.directory.identity().cluster_id),
            node: self.id(),
            map: self.catalogue.routing().map.version,
            uptime_seconds: self.started.elapsed().as_secs(),
            memory: self.catalogue.engines.memory.status(),
            disk: self.catalogue.engines.disk.status(),
        }
    }

    /// The cluster map.
    #[must_use]
    pub fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.catalogue.routing().map)
    }

    /// The node's part in its cluster, once it is one of several.
    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.get()
    }

    /// What answers requests once the node is one of several.
    pub(crate) fn coordinator(&self) -> Option<&Arc<Coordinator>> {
        self.cluster().map(|cluster| &cluster.coordinator)
    }

    /// A run of requests.
    #[must_use]
    pub fn access(&self, patience: Patience) -> Access<'_> {
        Access::new(self, patience)
    }

    /// Ready once `commit` is settled; `waker` is woken until then.
    ///
    /// # Errors
    /// [`Code::StorageStopped`](crate::Code::StorageStopped): whether the writes survive a restart is not known.
    pub fn settle(&self, commit: Commit, waker: &Waker) -> Poll<Result<(), Refusal>> {
        if commit == Commit::DONE {
            return Poll::Ready(Ok(()));
        }
        self.catalogue.engines.disk.settle(commit, waker).map_err(Refusal::from)
    }

    /// Waits until `commit` is settled.
    ///
    /// # Errors
    /// As [`Node::settle`].
    pub async fn settled(&self, commit: Commit) -> Result<(), Refusal> {
        poll_fn(|context| self.settle(commit, context.waker())).await
    }

    /// As [`Node::settled`], blocking the thread.
    ///
    /// # Errors
    /// As [`Node::settle`].
    pub fn wait(&self, commit: Commit) -> Result<(), Refusal> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            match self.settle(commit, &waker) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// Rewrites the files without what is not needed any more. Blocks, for long.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn compact(&self) -> Result<(), Refusal> {
        self.catalogue.engines.disk.compact()?;
        Ok(self.catalogue.engines.memory.compact()?)
    }

    /// Waits until everything written so far is synced. Blocks.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn sync(&self) -> Result<(), Refusal> {
        Ok(self.catalogue.engines.disk.sync()?)
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
