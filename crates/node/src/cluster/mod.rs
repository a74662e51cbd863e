//! What makes a node one of several: who the others are and which of them are up, the map that all
//! agree on, and what follows from it for the copies that this node holds.
//!
//! Where a new map goes: the voters put a command in order ([`shoal_meta::raft`]); `follow` fetches
//! it where this node has no voice; `adopt` gives it to the routing, to the copies and to the
//! coordinator; `tend` then does for each copy what the map asks of it, and `report` tells the
//! leader of the map; `lead`, where this node leads, answers with the next command.
//!
//! Holds: a map is durable here before anything acts under it. Who is up is a hint and changes
//! nothing by itself.
//!
//! Does not know: sockets, clients, protocols.

mod adopt;
mod condition;
mod config;
mod events;
mod expect;
mod fence;
mod follow;
mod gossip;
mod identity;
mod join;
pub(crate) mod lead;
mod liveness;
mod majority;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod message;
mod network;
mod news;
mod report;
#[cfg(test)]
pub(crate) mod rig;
mod serve;
mod start;
mod tend;
mod walk;

pub use condition::Condition;
pub use config::{First, Peers};
pub use events::{Event, Events, what};
pub use join::JoinError;
pub use liveness::{Sight, Standing};
pub use network::{Came, Datagrams, Network, Resolved};

pub(crate) use adopt::Custody;
pub(crate) use follow::Follow;
pub(crate) use identity::{Tokens, token_after};
pub(crate) use lead::Lead;
pub(crate) use liveness::Liveness;
pub(crate) use news::News;
pub(crate) use start::{Ground, MAX_VALUE_AMONG};
pub(crate) use tend::Tending;
pub(crate) use walk::{Entry as WalkEntry, Footing, Walk, Walked, What as WalkWhat, walk_over};

use crate::coordinator::Coordinator;
use crate::transport::Transport;
use parking_lot::Mutex;
use shoal_core::NodeId;
use shoal_core::control::Report;
use shoal_meta::raft::RaftStore;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// A node's part in its cluster.
pub(crate) struct Cluster {
    pub(crate) me: NodeId,
    /// The map.
    pub(crate) store: Arc<RaftStore>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) coordinator: Arc<Coordinator>,
    /// What the copies of this node are opened with, and the map that they act under.
    pub(crate) custody: Arc<Custody>,
    /// What the map asks of them.
    pub(crate) tending: Tending,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) events: Events,
    /// What the copies of this node have to tell whoever leads the map.
    pub(crate) reports: Mutex<Vec<Report>>,
    /// Wakes `report` where [`Cluster::reports`] have changed.
    pub(crate) told: Notify,
    /// What other nodes have told this one, for the time that it leads.
    pub(crate) heard: Mutex<Vec<Report>>,
    /// How nodes are, beyond whether they answer.
    pub(crate) conditions: condition::Conditions,
    /// What this node plans with while it leads.
    pub(crate) lead: Lead,
    /// What is known to be missing of the map.
    pub(crate) follow: Arc<Follow>,
    /// Commands that wait for a newer map.
    pub(crate) news: News,
    /// The conversation with the others, which ends with a goodbye.
    pub(crate) talk: Mutex<Option<JoinHandle<()>>>,
    /// Where everything but Raft runs.
    pub(crate) runtime: Handle,
    /// Set once, when the node stops.
    pub(crate) stop: watch::Sender<bool>,
}

/// Ready once `stop` is set, or whoever could set it is gone.
pub(crate) async fn over(stop: &mut watch::Receiver<bool>) {
    // An error says that nobody is left to set it.
    let _either_way = stop.wait_for(|stopped| *stopped).await;
}

#[cfg(test)]
pub(crate) mod tests;
