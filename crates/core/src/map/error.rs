//! Why a command is refused. The map stays as it was, always.

use crate::ids::{Epoch, Incarnation, NodeId, PartitionId};

/// Why a command is refused. Nothing changed; the same command will be refused again until
/// another one has changed the map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// There is no cluster yet: `Found` comes first.
    #[error("there is no cluster yet")]
    NotFounded,
    /// There is a cluster already, and only one can be founded.
    #[error("the cluster is founded already")]
    AlreadyFounded,
    /// The command's ids or tokens are zero, which stands for none.
    #[error("a cluster id and a node token must not be zero")]
    ZeroId,
    /// The name of a keyspace or node has a form that is not allowed.
    #[error("the name '{name}' is not allowed: {why}")]
    InvalidName {
        /// The name, cut to the length of a good one.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A keyspace of this name exists.
    #[error("keyspace '{name}' exists already")]
    KeyspaceExists {
        /// Its name.
        name: String,
    },
    /// No keyspace of this name exists.
    #[error("there is no keyspace '{name}'")]
    UnknownKeyspace {
        /// The name.
        name: String,
    },
    /// The keyspace `default` cannot be dropped, only flushed.
    #[error("keyspace 'default' cannot be dropped; flush it instead")]
    DefaultStays,
    /// The database number is bound to another keyspace.
    #[error("database {number} is keyspace '{holder}' already")]
    DatabaseTaken {
        /// The number.
        number: u16,
        /// The keyspace that has it.
        holder: String,
    },
    /// The database number cannot be bound to this keyspace.
    #[error("database {number} cannot be bound: {why}")]
    InvalidDatabase {
        /// The number.
        number: u16,
        /// Why not.
        why: &'static str,
    },
    /// No keyspace is bound to the database number.
    #[error("there is no database {number}")]
    UnknownDatabase {
        /// The number.
        number: u16,
    },
    /// An option's value is out of range, or contradicts the engine or another option.
    #[error("{option}: {why}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A keyspace cannot both evict and take event times: an evicted key could come back older.
    #[error("keyspace '{name}' cannot both evict and take event times")]
    EventTimeAndEviction {
        /// Its name.
        name: String,
    },
    /// The node is no member.
    #[error("node {node} is no member of this cluster")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// The node presents a token that is not the one on record: its data directory is an old or
    /// second copy, and must join as a new node.
    #[error("the data directory of node {node} is stale: another copy of it was started since")]
    StaleDirectory {
        /// The node.
        node: NodeId,
    },
    /// A node of this name is there and not gone.
    #[error("the name '{name}' belongs to node {node}: take another, or replace {node} by it")]
    NameInUse {
        /// The name.
        name: String,
        /// The node that has it.
        node: NodeId,
    },
    /// The node that is to be replaced has another name than the one that replaces it.
    #[error("node {node} is not called '{name}': only a node of the same name is replaced")]
    WrongReplacement {
        /// The node that was to be replaced.
        node: NodeId,
        /// The name of the one that joins.
        name: String,
    },
    /// What a node says about itself is out of bounds or has the wrong form.
    #[error("{field}: {why}")]
    InvalidProfile {
        /// What of it.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The node is gone already.
    #[error("node {node} is gone already")]
    NodeGone {
        /// The node.
        node: NodeId,
    },
    /// Only a node that is gone leaves the map.
    #[error("node {node} is not gone: forget it first")]
    NotGone {
        /// The node.
        node: NodeId,
    },
    /// A partition still names the node.
    #[error("partition {} of keyspace '{keyspace}' still names node {node}", partition.0)]
    StillNamed {
        /// The node.
        node: NodeId,
        /// The keyspace.
        keyspace: String,
        /// The first such partition.
        partition: PartitionId,
    },
    /// A partition would have no replica left that may come back.
    #[error("node {node} has the last replica of partition {} of keyspace '{keyspace}'", partition.0)]
    LastReplica {
        /// The node.
        node: NodeId,
        /// The keyspace.
        keyspace: String,
        /// The first such partition.
        partition: PartitionId,
    },
    /// The partition is not what the command takes it for: it has changed since, or its keyspace
    /// was flushed or dropped.
    #[error("partition {} of keyspace life {} is not at that epoch (any more)", partition.0, keyspace.0)]
    StaleEpoch {
        /// The life of the keyspace.
        keyspace: Incarnation,
        /// The partition.
        partition: PartitionId,
        /// Its epoch now; `None` where there is no such partition.
        present: Option<Epoch>,
    },
    /// The partition cannot be held like this.
    #[error("partition {} of keyspace life {} cannot be held by these: {why}", partition.0, keyspace.0)]
    InvalidOwners {
        /// The life of the keyspace.
        keyspace: Incarnation,
        /// The partition.
        partition: PartitionId,
        /// Why not.
        why: &'static str,
    },
    /// The intent is what is there already.
    #[error("partition {} of keyspace life {} is, or is to be, held like this already", partition.0, keyspace.0)]
    Pointless {
        /// The life of the keyspace.
        keyspace: Incarnation,
        /// The partition.
        partition: PartitionId,
    },
    /// There is no change under way that could be cut over.
    #[error("partition {} of keyspace life {} has no change under way", partition.0, keyspace.0)]
    NoIntent {
        /// The life of the keyspace.
        keyspace: Incarnation,
        /// The partition.
        partition: PartitionId,
    },
    /// The node has nothing to forget of the partition.
    #[error("node {node} has nothing to forget of partition {} of keyspace life {}", partition.0, keyspace.0)]
    NotOutgoing {
        /// The node.
        node: NodeId,
        /// The life of the keyspace.
        keyspace: Incarnation,
        /// The partition.
        partition: PartitionId,
    },
    /// No member takes anything new.
    #[error("no member takes anything new: add a node or give one a weight")]
    NobodyTakes,
    /// A bound on the map's size is met.
    #[error("a cluster has at most {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// All numbers of this kind were given out, and none is reused.
    #[error("there are no {what} left to give out")]
    Exhausted {
        /// The kind.
        what: &'static str,
    },
}

impl MapError {
    /// A short name that stays the same, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFounded => "not_founded",
            Self::AlreadyFounded => "already_founded",
            Self::ZeroId => "zero_id",
            Self::InvalidName { .. } => "invalid_name",
            Self::KeyspaceExists { .. } => "keyspace_exists",
            Self::UnknownKeyspace { .. } => "unknown_keyspace",
            Self::DefaultStays => "default_stays",
            Self::DatabaseTaken { .. } => "database_taken",
            Self::InvalidDatabase { .. } => "invalid_database",
            Self::UnknownDatabase { .. } => "unknown_database",
            Self::InvalidOption { .. } => "invalid_option",
            Self::EventTimeAndEviction { .. } => "event_time_and_eviction",
            Self::UnknownNode { .. } => "unknown_node",
            Self::StaleDirectory { .. } => "stale_directory",
            Self::NameInUse { .. } => "name_in_use",
            Self::WrongReplacement { .. } => "wrong_replacement",
            Self::InvalidProfile { .. } => "invalid_profile",
            Self::NodeGone { .. } => "node_gone",
            Self::NotGone { .. } => "not_gone",
            Self::StillNamed { .. } => "still_named",
            Self::LastReplica { .. } => "last_replica",
            Self::StaleEpoch { .. } => "stale_epoch",
            Self::InvalidOwners { .. } => "invalid_owners",
            Self::Pointless { .. } => "pointless",
            Self::NoIntent { .. } => "no_intent",
            Self::NotOutgoing { .. } => "not_outgoing",
            Self::NobodyTakes => "nobody_takes",
            Self::TooMany { .. } => "too_many",
            Self::Exhausted { .. } => "exhausted",
        }
    }
}
