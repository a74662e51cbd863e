//! The cluster map: which nodes and keyspaces there are, and who holds what.
//!
//! A node alone is a cluster of one: its catalogue of keyspaces is this map. It changes only by
//! [`ClusterMap::apply`], a pure function from map and [`Command`] to the next map, so that
//! everyone who applies the same commands has the same map.
//!
//! Holds: what [`ClusterMap::check`] re-derives. Ids and incarnations are never reused; a
//! refused command changes nothing; every applied one raises the version's index by one.
//!
//! Does not know: how maps are kept or agreed on, who is reachable, what a keyspace holds.

mod apply;
mod check;
mod command;
mod error;
mod keyspace;
mod name;

pub use command::{Changes, Command};
pub use error::MapError;
pub use keyspace::{
    Durability, EngineKind, Eviction, Keyspace, KeyspaceOptions, KeyspaceSpec, Partition,
};
pub use name::{DEFAULT_KEYSPACE, MAX_NAME, database_name, number_of};

use crate::ids::{ClusterId, Incarnation, MapVersion, NodeId};
use std::collections::BTreeMap;

/// The most keyspaces that a cluster may have.
pub const MAX_KEYSPACES: usize = 1_024;
/// The most partitions that all keyspaces together may have: it bounds the map's size.
pub const MAX_PARTITIONS: usize = 1 << 18;
/// The highest database number.
pub const MAX_DATABASE: u16 = 1_023;
/// Incarnations stay below this; storage keeps the numbers above for itself.
pub const MAX_INCARNATION: u32 = 0xFFFF_FF00;

/// The versioned description of a cluster. The default one stands for "not founded yet" and
/// takes no command but [`Command::Found`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterMap {
    /// Rises with every command.
    pub version: MapVersion,
    /// Which cluster this is.
    pub cluster: ClusterId,
    /// The members.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// The keyspaces by name.
    pub keyspaces: BTreeMap<String, Keyspace>,
    /// The id that the next node gets.
    pub next_node: NodeId,
    /// The number that the next life of a keyspace gets.
    pub next_incarnation: Incarnation,
    /// Drawn at founding; placement hashes with it.
    pub hash_seed: u64,
}

/// One member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// What people call it; unique in the cluster.
    pub name: String,
    /// Names the node's present start. Swapped for a new one at every start, so that of two
    /// copies of a data directory only one is ever let in.
    pub token: u64,
    /// Where it stands: replicas are spread over zones.
    pub zone: Option<String>,
    /// How much it takes on, compared with the others; 100 is the usual.
    pub weight: u16,
}

impl ClusterMap {
    /// Whether there is a cluster at all.
    #[must_use]
    pub fn is_founded(&self) -> bool {
        *self != Self::default()
    }

    /// The keyspace of this name.
    #[must_use]
    pub fn keyspace(&self, name: &str) -> Option<&Keyspace> {
        self.keyspaces.get(name)
    }

    /// The keyspace that `SELECT number` chooses, if it exists yet.
    #[must_use]
    pub fn database(&self, number: u16) -> Option<&Keyspace> {
        self.keyspaces.values().find(|keyspace| keyspace.database == Some(number))
    }

    /// The keyspace whose present life is `incarnation`.
    #[must_use]
    pub fn keyspace_of(&self, incarnation: Incarnation) -> Option<&Keyspace> {
        self.keyspaces.values().find(|keyspace| keyspace.incarnation == incarnation)
    }

    /// Whether `incarnation` is over: its keyspace was flushed or dropped, and what is stored
    /// under it may go. A number not given out yet is not over.
    #[must_use]
    pub fn is_dead(&self, incarnation: Incarnation) -> bool {
        incarnation < self.next_incarnation && self.keyspace_of(incarnation).is_none()
    }
}

#[cfg(test)]
pub(crate) mod tests;
