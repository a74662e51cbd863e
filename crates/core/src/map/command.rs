//! Everything that can change a map, as a closed set of values.
//!
//! Holds: whatever is random (ids, tokens, seeds) is drawn by the one who makes the command, so
//! that applying it gives the same map everywhere.

use super::{Durability, Eviction, KeyspaceOptions, KeyspaceSpec};
use crate::ids::{ClusterId, NodeId};
use std::collections::BTreeSet;
use std::num::NonZeroU64;

/// A change of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Makes a cluster of one node, `n1`, with the keyspace `default` as database 0. The first
    /// command of every map.
    Found {
        /// The new cluster's id, random, not zero.
        cluster: ClusterId,
        /// The first node's name.
        node_name: String,
        /// The token of the node's present start, random, not zero.
        token: u64,
        /// What placement hashes with, random.
        hash_seed: u64,
        /// What `default` is made from.
        default: KeyspaceSpec,
    },
    /// Notes that a member starts. Applying it twice is the same as once, so that a start that
    /// was cut short can be repeated.
    StartNode {
        /// Which member.
        node: NodeId,
        /// The token of its last start, as its data directory has it.
        presented: u64,
        /// The token of this start, random, not zero; durable in the data directory beforehand.
        next: u64,
    },
    /// Makes a keyspace.
    CreateKeyspace {
        /// Its name.
        name: String,
        /// What it is made from.
        spec: KeyspaceSpec,
        /// The number to bind it to, 16 to 1,023; `db1` to `db15` have theirs by name.
        database: Option<u16>,
    },
    /// Makes the keyspace of database 1 to 15, after the model of `default`.
    CreateDatabase {
        /// The database.
        number: u16,
    },
    /// Changes options of a keyspace.
    AlterKeyspace {
        /// Its name.
        name: String,
        /// What changes.
        changes: Changes,
    },
    /// Removes a keyspace and all that it holds. `default` cannot be removed.
    DropKeyspace {
        /// Its name.
        name: String,
    },
    /// Empties keyspaces, all of them or, if one does not exist, none.
    FlushKeyspaces {
        /// Their names.
        names: BTreeSet<String>,
    },
    /// Makes two databases trade what they hold: lives, engines, options and partitions change
    /// places, names and numbers stay. One of 1 to 15 that does not exist is created first.
    SwapDatabases {
        /// The one.
        a: u16,
        /// The other; the same as `a` changes nothing.
        b: u16,
    },
    /// Lets a keyspace take event times from now on, until it is next flushed.
    AcceptEventTime {
        /// Its name.
        name: String,
    },
}

/// What of a keyspace is to change; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The default expiry, or none any more.
    pub default_ttl_ms: Option<Option<NonZeroU64>>,
    /// What acknowledgements wait for.
    pub durability: Option<Durability>,
    /// The bound on memory, or none any more.
    pub max_memory: Option<Option<u64>>,
    /// What happens at that bound.
    pub eviction: Option<Eviction>,
    /// The number of replicas to have.
    pub replication_target: Option<u8>,
    /// How far back event times may lie.
    pub event_horizon_ms: Option<u64>,
    /// The database number, or none any more. `default` and `db1` to `db15` keep theirs.
    pub database: Option<Option<u16>>,
}

impl Changes {
    /// The options that come of changing `options`.
    #[must_use]
    pub fn applied_to(&self, options: &KeyspaceOptions) -> KeyspaceOptions {
        KeyspaceOptions {
            default_ttl_ms: self.default_ttl_ms.unwrap_or(options.default_ttl_ms),
            durability: self.durability.unwrap_or(options.durability),
            max_memory: self.max_memory.unwrap_or(options.max_memory),
            eviction: self.eviction.unwrap_or(options.eviction),
            replication_target: self.replication_target.unwrap_or(options.replication_target),
            event_horizon_ms: self.event_horizon_ms.unwrap_or(options.event_horizon_ms),
        }
    }
}
