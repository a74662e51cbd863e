//! Everything that can change a map, as a closed set of values.
//!
//! Holds: whatever is random (ids, tokens, seeds) is drawn by the one who makes the command, so
//! that applying it gives the same map everywhere.

use super::{Durability, Eviction, KeyspaceOptions, KeyspaceSpec, Profile};
use crate::ids::{ClusterId, Epoch, Incarnation, NodeId, PartitionId};
use crate::placement::Replication;
use crate::quorum::Level;
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
        /// What the first node says about itself.
        profile: Profile,
    },
    /// Gives a node the next id; it becomes a member when it starts. Applying it twice is the
    /// same as once, until the node has started.
    Join {
        /// The node's name.
        name: String,
        /// The token that its first start will present, random, not zero.
        token: u64,
        /// What it says about itself.
        profile: Profile,
        /// The node of the same name that it takes the place of, which never comes back then.
        replaces: Option<NodeId>,
    },
    /// Notes that a node starts; one that joined is a member from now on. Applying it twice is
    /// the same as once, so that a start that was cut short can be repeated.
    StartNode {
        /// Which node.
        node: NodeId,
        /// The token of its last start, as its data directory has it.
        presented: u64,
        /// The token of this start, random, not zero; durable in the data directory beforehand.
        next: u64,
        /// What the node says about itself now; `None` leaves what it said before.
        profile: Option<Profile>,
    },
    /// Notes that a node never comes back, and frees its name. It stays where partitions name it
    /// as a replica, and counts as one that does not answer, until others have taken its places.
    Forget {
        /// Which node.
        node: NodeId,
    },
    /// Takes a node that is gone, and that no partition names any more, out of the map.
    RemoveNode {
        /// Which node.
        node: NodeId,
    },
    /// Says who is to hold partitions, or takes that back: all of it or nothing.
    Intend {
        /// For each partition.
        intents: Vec<Intent>,
    },
    /// Makes those who are to hold partitions those who do, once they have proven that they hold
    /// all there is: all of it or nothing.
    CutOver {
        /// The partitions, each at the epoch whose intent was proven.
        partitions: Vec<Place>,
    },
    /// Notes that a node has forgotten what it held of partitions it does not own: all of it or
    /// nothing. It changes no epoch: who forgets is no owner, so nobody has to be fenced.
    Forgotten {
        /// Which node.
        node: NodeId,
        /// The partitions, each at its present epoch. A node that has forgotten under an older one
        /// says so again under every epoch it adopts, as long as it is still outgoing there.
        partitions: Vec<Place>,
    },
    /// Lets a partition go on with what some of its replicas still have, each in a new life,
    /// though nobody can prove that this is all there was.
    Reseat {
        /// The partition.
        place: Place,
        /// The replicas to go on with, in order of preference.
        members: Vec<NodeId>,
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
    ///
    /// Each begins a new life under a new number; the owners of its partitions, and the lives of
    /// their copies, stay. A node that adopts this begins an empty copy under the new number, in
    /// the life that the map names for it, and forgets what was stored under the old one: it has
    /// acknowledged nothing under the new number yet, so an empty copy lacks nothing that it ever
    /// vouched for, and is not lost. It does so once, when the new number is new to it: a copy that
    /// is gone after that is lost as any other. Changes of owners go on, to be proven anew.
    FlushKeyspaces {
        /// Their names.
        names: BTreeSet<String>,
    },
    /// Makes two databases trade what they hold: lives, engines, options and partitions change
    /// places, names and numbers stay. One of 1 to 15 that does not exist is created first.
    ///
    /// What is stored goes by the number of the life, which goes with it: a node that adopts this
    /// moves and renews nothing, and answers under the new epochs, which fence those who still take
    /// the one name for the other. Changes of owners go on, to be proven anew.
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

/// A partition of one life of a keyspace, as it stood at an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The life of the keyspace.
    pub keyspace: Incarnation,
    /// The partition.
    pub partition: PartitionId,
    /// Its epoch. A command that names another one comes too late and is refused.
    pub epoch: Epoch,
}

/// Who is to hold a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The life of the keyspace.
    pub keyspace: Incarnation,
    /// The partition.
    pub partition: PartitionId,
    /// Its epoch. An intent that names another one comes too late and is refused.
    pub epoch: Epoch,
    /// Who is to hold it, in order of preference. The present replicas themselves, in whatever
    /// order, end a change that is under way.
    pub next: Vec<NodeId>,
    /// Which of them begin a new life of their copy, because they may have lost something.
    pub renewed: Vec<NodeId>,
}

impl Intent {
    /// The partition that is meant.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { keyspace: self.keyspace, partition: self.partition, epoch: self.epoch }
    }
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
    pub replication: Option<Replication>,
    /// How many replicas a read asks.
    pub read_level: Option<Level>,
    /// How many replicas a write waits for.
    pub write_level: Option<Level>,
    /// Whether replicas are spread over the zones.
    pub spread_zones: Option<bool>,
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
            replication: self.replication.unwrap_or(options.replication),
            strategy: options.strategy,
            read_level: self.read_level.unwrap_or(options.read_level),
            write_level: self.write_level.unwrap_or(options.write_level),
            spread_zones: self.spread_zones.unwrap_or(options.spread_zones),
            event_horizon_ms: self.event_horizon_ms.unwrap_or(options.event_horizon_ms),
        }
    }
}
