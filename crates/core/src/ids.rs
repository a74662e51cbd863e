//! Names for the things Shoal counts, one type each, so that they cannot be mixed up.
//!
//! Holds: every id is allocated by the cluster map and never reused.

use std::fmt;

/// One cluster, drawn at random when it is founded; `0` stands for "no cluster yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

/// One node of a cluster. Allocated by the map, never reused; `0` stands for "no node".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// One life of a keyspace, from its creation or last flush to its next flush or drop.
///
/// Every stored key is prefixed with it, so that emptying a keyspace is one change of number
/// after which nothing older can come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

/// One life of a replica: of a node's copy of a partition. A copy that may have lost what it
/// acknowledged begins another one before it counts again. Taken from the map's index at which
/// it was named, so never reused; `0` stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaIncarnation(pub u64);

/// The index of a partition inside its keyspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u16);

/// The version of the cluster map: `generation` rises when a cluster is recovered by force,
/// `index` with every command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapVersion {
    /// Rises when an operator recovers a cluster that lost its majority.
    pub generation: u32,
    /// Rises by one with every applied command.
    pub index: u64,
}

/// The map version at which a partition last changed its owners.
pub type Epoch = MapVersion;

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for MapVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.index)
    }
}
