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
mod members;
mod moves;
mod name;
mod node;

pub use command::{Changes, Command, Intent, Place};
pub use error::MapError;
pub use keyspace::{
    Durability, EngineKind, Eviction, Keyspace, KeyspaceOptions, KeyspaceSpec, Partition,
};
pub use name::{DEFAULT_KEYSPACE, MAX_NAME, database_name, number_of};
pub use node::{
    Addresses, MAX_ADDRESS, MAX_NODES, MAX_TAG_VALUE, MAX_TAGS, MAX_WEIGHT, NodeInfo, NodeState,
    Profile,
};

use crate::ids::{ClusterId, Incarnation, MapVersion, NodeId};
use crate::placement::{self, Terms};
use std::collections::BTreeMap;

/// The most keyspaces that a cluster may have.
pub const MAX_KEYSPACES: usize = 1_024;
/// The most partitions that all keyspaces together may have: it bounds the map's size.
pub const MAX_PARTITIONS: usize = 1 << 18;
/// The most places that all partitions together may have: one for every node that a partition
/// names, as an owner, an owner to be or one that still forgets. It bounds the map's size where
/// keyspaces want a replica on every node.
pub const MAX_PLACES: usize = 1 << 22;
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
    /// Its nodes: members, those on the way to become one, and those that are gone but not yet
    /// replaced everywhere.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// The members in the order of their seats, which *jump* placement goes by: a new one takes
    /// a seat at the end, that of one that is gone is taken by the last.
    pub seats: Vec<NodeId>,
    /// The keyspaces by name.
    pub keyspaces: BTreeMap<String, Keyspace>,
    /// The id that the next node gets.
    pub next_node: NodeId,
    /// The number that the next life of a keyspace gets.
    pub next_incarnation: Incarnation,
    /// Drawn at founding; placement hashes with it.
    pub hash_seed: u64,
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

    /// The node called `name` that is not gone.
    #[must_use]
    pub fn node_called(&self, name: &str) -> Option<(NodeId, &NodeInfo)> {
        let called = self.nodes.iter().find(|(_, info)| !info.is_gone() && info.name == name);
        called.map(|(id, info)| (*id, info))
    }

    /// Whether `node` may own partitions.
    #[must_use]
    pub fn is_member(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(NodeInfo::is_member)
    }

    /// The members as placement sees them, in the order of their seats.
    #[must_use]
    pub fn members(&self) -> Vec<placement::Member<'_>> {
        let seated = self.seats.iter().filter_map(|id| self.nodes.get_key_value(id));
        seated
            .map(|(id, info)| placement::Member {
                id: *id,
                weight: info.weight,
                zone: info.zone.as_deref(),
            })
            .collect()
    }

    /// What the placement of `keyspace` depends on: the terms by which it was made, and by which
    /// changes of it are planned. `members` as [`ClusterMap::members`] has them, `present` empty
    /// or the nodes that hold each partition.
    #[must_use]
    pub fn terms<'a>(
        &self,
        keyspace: &Keyspace,
        members: &'a [placement::Member<'a>],
        present: &'a [Vec<NodeId>],
    ) -> Terms<'a> {
        Terms {
            strategy: keyspace.options.strategy,
            seed: self.hash_seed,
            salt: keyspace.salt,
            partitioning: keyspace.partitioning,
            members,
            present,
            replication: keyspace.options.replication,
            spread_zones: keyspace.options.spread_zones,
        }
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
