//! Placement: which nodes hold which partition.
//!
//! [`Terms::plan`] is a pure function from what the cluster map says (members with weight and
//! zone, who holds what now) to an ordered list of distinct nodes per partition. Whoever has the
//! same map plans the same. [`Terms::explain`] says of one partition why it came out so.
//!
//! There are three [`Strategy`]s:
//!
//! - *rendezvous*, the default: every partition has an order of preference among the nodes, by
//!   weighted highest random weight. Present owners stay, and loads are even to one place, so a
//!   change moves what it must and nothing else.
//! - *jump*: jump consistent hash over the list of seats. It looks at no present owner; movement
//!   is minimal at the list's end only, so a leaving node's seat goes to the last: see [`vacate`].
//! - *ring*: a ring of hashes on which each node has points in proportion to its weight. It looks
//!   at no present owner either.
//!
//! Holds: the owners of a partition are distinct, and as many as asked for where there are members
//! enough; no zone has more of them than it must; a member of weight 0 keeps what it holds and
//! takes nothing new (to be emptied, a node is left out of the members); the order of the members
//! matters to *jump* alone. Integers only, and no order of a hash table: every machine gets the
//! same answer.
//!
//! Does not know: who is alive, how much data a partition has, how owners are changed.

mod board;
mod explain;
mod field;
mod hash;
mod jump;
mod log2;
mod relief;
mod rendezvous;
mod ring;
mod share;

pub use explain::{Candidate, Explanation, Verdict};

use crate::ids::{NodeId, PartitionId};
use crate::slot::Partitioning;
use board::Board;
use field::Field;

/// The most replicas that may be asked for by number.
pub const MAX_REPLICAS: u8 = 7;

/// How nodes are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// Weighted rendezvous hashing with exact bounds that keeps present owners.
    #[default]
    Rendezvous,
    /// Jump consistent hash over the seats.
    Jump,
    /// A consistent-hash ring with virtual nodes.
    Ring,
}

/// How many nodes are to hold a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// So many, 1 to [`MAX_REPLICAS`], or all members while there are fewer.
    Count(u8),
    /// Every member.
    All,
}

/// One member of the cluster, as placement sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Who it is.
    pub id: NodeId,
    /// How much it takes on compared with the others; 100 is the usual, 0 takes nothing new.
    pub weight: u16,
    /// Where it stands. Members without a zone stand together in one of their own.
    pub zone: Option<&'a str>,
}

/// Everything that a placement depends on.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// How nodes are chosen.
    pub strategy: Strategy,
    /// The cluster's own seed, from its map.
    pub seed: u64,
    /// The keyspace's own salt, so that keyspaces do not all burden the same nodes.
    pub salt: u64,
    /// How the keyspace is divided.
    pub partitioning: Partitioning,
    /// Who may hold something, in the order of their seats.
    pub members: &'a [Member<'a>],
    /// Who holds each partition now; empty when nobody holds anything yet. Nodes that are no
    /// members any more are passed over.
    pub present: &'a [Vec<NodeId>],
    /// How many replicas are wanted.
    pub replication: Replication,
    /// Whether the replicas of a partition are spread over the zones.
    pub spread_zones: bool,
}

/// Why there is no placement. The same terms will be refused again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// The number of replicas is out of range.
    #[error("{replicas} replicas are asked for; 1 to {MAX_REPLICAS} are possible")]
    Replicas {
        /// What was asked for.
        replicas: u8,
    },
    /// A node is named twice among the members.
    #[error("{node} is a member twice")]
    MemberTwice {
        /// The node.
        node: NodeId,
    },
    /// There is a list of present owners, but not of every partition.
    #[error("there are {partitions} partitions, and present owners of {listed}")]
    Present {
        /// How many partitions there are.
        partitions: u16,
        /// Of how many the owners are listed.
        listed: usize,
    },
    /// A partition has no owner among the members, and no member takes anything new.
    #[error("nobody may take partition {}: add a node or give one a weight", partition.0)]
    NobodyTakes {
        /// The first such partition.
        partition: PartitionId,
    },
    /// There is no partition of this number.
    #[error("there is no partition {}", partition.0)]
    UnknownPartition {
        /// The number.
        partition: PartitionId,
    },
}

impl PlacementError {
    /// The error's name, which never changes.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Replicas { .. } => "invalid_replicas",
            Self::MemberTwice { .. } => "member_twice",
            Self::Present { .. } => "invalid_present_owners",
            Self::NobodyTakes { .. } => "nobody_takes",
            Self::UnknownPartition { .. } => "unknown_partition",
        }
    }
}

impl Terms<'_> {
    /// The owners of every partition, most preferred first.
    ///
    /// # Errors
    /// [`PlacementError`] where the terms contradict themselves or nobody may take a partition.
    pub fn plan(&self) -> Result<Vec<Vec<NodeId>>, PlacementError> {
        let field = Field::of(self)?;
        let board = fill(&field);
        let ids = |owners: &[usize]| owners.iter().map(|member| field.ids[*member]).collect();
        Ok((0..field.partitions()).map(|partition| ids(board.owners(partition))).collect())
    }

    /// Why `partition` has the owners that [`Terms::plan`] gives it.
    ///
    /// # Errors
    /// [`PlacementError`] as for the plan, and where there is no such partition.
    pub fn explain(&self, partition: PartitionId) -> Result<Explanation, PlacementError> {
        if partition.0 >= self.partitioning.count() {
            return Err(PlacementError::UnknownPartition { partition });
        }
        let field = Field::of(self)?;
        Ok(explain::explain(&fill(&field), partition))
    }
}

fn fill<'a>(field: &'a Field<'a>) -> Board<'a> {
    let board = match field.strategy {
        Strategy::Rendezvous => rendezvous::fill(field),
        Strategy::Jump => jump::fill(field),
        Strategy::Ring => ring::fill(field),
    };
    debug_assert_eq!(board.check(), Ok(()));
    board
}

/// Takes a leaving node off the list of seats. The last seat's node moves into its place, as *jump*
/// wants it: only what these two held moves then, and not everything behind the gap.
pub fn vacate(seats: &mut Vec<Member<'_>>, leaving: NodeId) {
    if let Some(seat) = seats.iter().position(|member| member.id == leaving) {
        seats.swap_remove(seat);
    }
}

#[cfg(test)]
mod tests;
