//! Who holds a partition at one epoch, and when enough of them have answered.
//!
//! Holds: while a change of owners is under way (`next` is not empty) a level is reached only if
//! it is reached in both sets. A replica whose incarnation is not the one listed counts in
//! neither: it may have lost what it once acknowledged.

use super::Level;
use crate::ids::{Epoch, NodeId, ReplicaIncarnation};
use crate::planted::{Bug, planted};

/// A replica as the map names it: a node, and the life of its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// The life of its copy. A copy that may have lost something is another replica.
    pub incarnation: ReplicaIncarnation,
}

/// The owners of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owners {
    /// The map version that said so.
    pub epoch: Epoch,
    /// The present owners, in order of preference.
    pub replicas: Vec<Member>,
    /// The owners to be; empty while no change is under way.
    pub next: Vec<Member>,
}

/// Why a request came to nothing: too few owners answered, or could be reached to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoQuorum {
    /// How many counted, in the set where most were missing.
    pub have: usize,
    /// How many the level asks for there.
    pub need: usize,
    /// Who could not be reached or did not answer.
    pub unreachable: Vec<NodeId>,
}

impl Owners {
    /// Every node that holds the partition or is to hold it, once each: members of both sets
    /// first, since their answers count twice, then present ones, then those to be.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let in_next = |node| self.next.iter().any(|member| member.node == node);
        let in_present = |node| self.replicas.iter().any(|member| member.node == node);
        let both = self.replicas.iter().filter(move |member| in_next(member.node));
        let present = self.replicas.iter().filter(move |member| !in_next(member.node));
        let coming = self.next.iter().filter(move |member| !in_present(member.node));
        both.chain(present).chain(coming).map(|member| member.node)
    }

    /// Whether `node` is an owner in either set, whatever its copy's life.
    #[must_use]
    pub fn has_node(&self, node: NodeId) -> bool {
        self.replicas.iter().chain(&self.next).any(|member| member.node == node)
    }

    /// Whether `member` counts in either set.
    #[must_use]
    pub fn counts(&self, member: Member) -> bool {
        self.replicas.contains(&member) || self.next.contains(&member)
    }

    /// Whether an answer given under `epoch` counts.
    #[must_use]
    pub fn is_epoch(&self, epoch: Epoch) -> bool {
        epoch == self.epoch || planted(Bug::EpochNotCompared)
    }

    /// Whether the members for which `has` says yes reach `level` in every set.
    pub fn reach(&self, level: Level, has: impl Fn(Member) -> bool) -> bool {
        self.sets().all(|set| count(set, &has) >= level.of(set.len()))
    }

    /// What is missing to `level`, with the members that `has` says yes to and the nodes that are
    /// `silent`.
    pub fn no_quorum(
        &self,
        level: Level,
        has: impl Fn(Member) -> bool,
        silent: impl Fn(NodeId) -> bool,
    ) -> NoQuorum {
        let figures = self.sets().map(|set| (count(set, &has), level.of(set.len())));
        let (have, need) = figures
            .max_by_key(|(have, need)| need.saturating_sub(*have))
            .expect("the present owners are a set");
        NoQuorum { have, need, unreachable: self.nodes().filter(|node| silent(*node)).collect() }
    }

    fn sets(&self) -> impl Iterator<Item = &[Member]> {
        let both = !self.next.is_empty() && !planted(Bug::OneSetIsEnough);
        let next = both.then_some(&self.next[..]);
        std::iter::once(&self.replicas[..]).chain(next)
    }
}

fn count(set: &[Member], has: impl Fn(Member) -> bool) -> usize {
    set.iter().filter(|member| has(**member)).count()
}
