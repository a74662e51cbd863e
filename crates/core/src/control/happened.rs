//! What a plan consists of: commands, and what there is to tell once they are applied.

use crate::ids::{NodeId, PartitionId};
use crate::map::Command;

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Commands in the order in which they are to be proposed. None needs another one to be applied
    /// first; one that is refused comes too late and is planned anew.
    pub steps: Vec<Step>,
    /// What to tell at once.
    pub notices: Vec<Happened>,
}

/// A command, and what to tell once it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The command.
    pub command: Command,
    /// What its being applied means.
    pub happened: Vec<Happened>,
}

/// Something people may want to know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A node that was gone has left the map.
    NodeRemoved {
        /// The node.
        node: NodeId,
    },
    /// A partition begins to change its owners.
    Moving {
        /// The keyspace.
        keyspace: String,
        /// The partition.
        partition: PartitionId,
        /// Who holds it.
        from: Vec<NodeId>,
        /// Who is to hold it.
        to: Vec<NodeId>,
        /// Which of them begin anew, because they lost what they held.
        renewed: Vec<NodeId>,
    },
    /// A change of owners is taken back: who was to take the partition over is down.
    TakenBack {
        /// The keyspace.
        keyspace: String,
        /// The partition.
        partition: PartitionId,
    },
    /// A partition has the owners it was to have.
    Moved {
        /// The keyspace.
        keyspace: String,
        /// The partition.
        partition: PartitionId,
        /// They.
        to: Vec<NodeId>,
    },
    /// A partition goes on with what is left. Acknowledged records may be lost.
    DataLost {
        /// The keyspace.
        keyspace: String,
        /// The partition.
        partition: PartitionId,
        /// Who held it.
        from: Vec<NodeId>,
        /// Who goes on.
        left: Vec<NodeId>,
    },
    /// So many partitions of a keyspace on disk have lost too many copies to go on unless somebody
    /// accepts the loss, or brings nodes back that are down.
    AwaitingAcceptance {
        /// The keyspace.
        keyspace: String,
        /// How many partitions; 0 when there are none any more.
        partitions: usize,
    },
}
