//! How Shoal keeps its cluster map.
//!
//! The map itself, its commands and what they do are in `shoal_core::map`; here is where the
//! newest one is found after a restart. [`LocalStore`] keeps it in a file, for a cluster of one;
//! [`raft::RaftStore`] keeps it at several nodes that agree on it, and goes on from that file.
//!
//! Holds: a command that was answered with a map is durable. Two maps never share a version.

mod local;
pub mod raft;
#[cfg(test)]
mod rig;

pub use local::LocalStore;

use shoal_core::ids::NodeId;
use shoal_core::map::{ClusterMap, Command, MapError};
use std::sync::Arc;

/// Keeps the cluster map and decides the order of its changes.
pub trait MapStore: Send + Sync + 'static {
    /// The newest map known here.
    fn current(&self) -> Arc<ClusterMap>;

    /// Why no change is taken until a restart: [`MetaError::InDoubt`] after one that failed
    /// half-way. Never waits, not even for a change that is being made.
    fn in_doubt(&self) -> Option<MetaError>;

    /// Applies `command` and makes the outcome durable. Blocks.
    ///
    /// # Errors
    /// [`MetaError::Refused`] where the map does not allow it: nothing changed.
    /// [`MetaError::File`] or [`MetaError::Full`] where it could not be written: nothing changed.
    /// [`MetaError::InDoubt`] where it may be there after a restart.
    /// Where several nodes decide, also [`MetaError::NoMajority`]: nothing changed, and
    /// [`MetaError::Unknown`]: it may have.
    fn propose(&self, command: &Command) -> Result<Arc<ClusterMap>, MetaError>;
}

/// Why a map could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The map does not allow the command. Nothing changed; a retry does not help.
    #[error(transparent)]
    Refused(#[from] MapError),
    /// The map's file could not be read or written. Nothing changed; a retry may help.
    #[error("the map in {file}: {what}")]
    File {
        /// The file.
        file: String,
        /// What went wrong.
        what: String,
    },
    /// There is no room on the disk for the next map. Nothing changed; a retry helps once there is.
    #[error("the map in {file}: {what}; there is no room for a changed one")]
    Full {
        /// The file.
        file: String,
        /// What went wrong.
        what: String,
    },
    /// The map's file was half replaced: the change may be there after a restart, and until then
    /// no other is taken.
    #[error("the map in {file} is in doubt: {what}; restart the node to read it again")]
    InDoubt {
        /// The file.
        file: String,
        /// What went wrong.
        what: String,
    },
    /// No majority of the voters could be found in time to put the change in order. Nothing was
    /// sent and nothing changed; a retry helps once they are reachable.
    #[error(
        "the map cannot be changed now: no majority of the voters {} is reachable",
        names(voters)
    )]
    NoMajority {
        /// The voters, as far as they are known.
        voters: Vec<NodeId>,
    },
    /// The change was sent to the voters and not confirmed in time: it may have been made, or
    /// may still be. The newest map tells.
    #[error(
        "the change of the map was sent to the voters {} and not confirmed in time: it may \
             have been made",
        names(voters)
    )]
    Unknown {
        /// The voters, as far as they are known.
        voters: Vec<NodeId>,
    },
    /// Only the leader can do this, and this node does not lead. Nothing changed; the leader
    /// can be asked.
    #[error("only the voters' leader can do this: {}", leader_name(*leader))]
    NotLeader {
        /// The leader, as far as it is known.
        leader: Option<NodeId>,
    },
    /// The voters cannot be changed so, or not now.
    #[error("the voters cannot be changed: {why}")]
    Voters {
        /// Why not.
        why: String,
    },
    /// The map is not to be had, or not to be changed, there: a peer could not tell it, the leader
    /// runs a version of Shoal that does not know the change, or the store was retired. Nothing
    /// changed; another one may help.
    #[error("the map of {node}: {what}")]
    Peer {
        /// The node.
        node: NodeId,
        /// What went wrong.
        what: String,
    },
}

fn names(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",")
}

fn leader_name(leader: Option<NodeId>) -> String {
    leader.map_or_else(|| "none is known".to_owned(), |leader| format!("it is {leader}"))
}
