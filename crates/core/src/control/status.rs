//! How far the cluster is from what it is to be, in figures.
//!
//! Holds: a node that is down keeps its copies: they are not missing, but the cluster is not at its
//! best. What `Control` has not been told it cannot count, so the one to ask is the leader.

use super::standing::{Left, Standing};
use super::survey::{takers, wanted};
use super::{Control, Limits, View};
use crate::ids::{MapVersion, NodeId};
use crate::map::{ClusterMap, NodeState};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

/// How the cluster is, in a word. The greater, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Every partition has all its replicas, and every node is up.
    Whole,
    /// Nothing is wrong, but partitions are still on the way to the number of replicas they are to
    /// have.
    Growing,
    /// Somebody is down or gone, or a copy is lost; every partition has a quorum.
    Degraded,
    /// There are partitions without a quorum.
    Broken,
}

/// Figures of one keyspace, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many partitions there are.
    pub partitions: usize,
    /// Partitions with fewer copies that count than they are to have, as far as there are members
    /// for them.
    pub below_target: usize,
    /// Copies of present owners that do not count: lost and not yet replaced, or of a node that is
    /// gone.
    pub lost_copies: usize,
    /// Partitions that change owners.
    pub moving: usize,
    /// Those of them that wait for a node that is down.
    pub stalled: usize,
    /// Copies that the changes under way are still to make: members to be that hold nothing yet, or
    /// begin anew, and have not proven themselves.
    pub copies_to_make: usize,
    /// Former owners that have not yet forgotten what they held.
    pub leaving: usize,
    /// Partitions that answer nothing at quorum.
    pub without_quorum: usize,
    /// Partitions on disk that have lost too many copies, and wait for nodes to come back or for
    /// somebody to accept the loss.
    pub awaiting_acceptance: usize,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.partitions += other.partitions;
        self.below_target += other.below_target;
        self.lost_copies += other.lost_copies;
        self.moving += other.moving;
        self.stalled += other.stalled;
        self.copies_to_make += other.copies_to_make;
        self.leaving += other.leaving;
        self.without_quorum += other.without_quorum;
        self.awaiting_acceptance += other.awaiting_acceptance;
    }
}

impl Figures {
    /// Whether every partition has all the replicas it is to have, and none changes.
    #[must_use]
    pub const fn is_fully_replicated(&self) -> bool {
        self.below_target == 0
            && self.lost_copies == 0
            && self.moving == 0
            && self.awaiting_acceptance == 0
    }

    fn of(standing: &Standing<'_>, takers: &BTreeSet<NodeId>, limits: &Limits) -> Self {
        let partition = standing.partition;
        let (copies, is_moving) = (standing.copies(), partition.is_moving());
        let comes = |node: &NodeId| !standing.has_proven(*node);
        Self {
            partitions: 1,
            below_target: (copies < wanted(standing, takers)).into(),
            lost_copies: partition.replicas.len() - copies,
            moving: is_moving.into(),
            stalled: (is_moving && standing.is_stalled()).into(),
            copies_to_make: standing.receivers().filter(comes).count(),
            leaving: partition.outgoing.len(),
            without_quorum: (!standing.has_quorum()).into(),
            awaiting_acceptance: (standing.left(limits) == Left::AwaitsAcceptance).into(),
        }
    }
}

/// How the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The map that was looked at.
    pub version: MapVersion,
    /// In a word.
    pub health: Health,
    /// Who is a member.
    pub members: BTreeSet<NodeId>,
    /// Which members are not up.
    pub down: BTreeSet<NodeId>,
    /// Who has an id and has not started yet.
    pub joining: BTreeSet<NodeId>,
    /// Who is gone, while partitions still name it.
    pub gone: BTreeSet<NodeId>,
    /// All keyspaces together.
    pub total: Figures,
    /// Each keyspace.
    pub keyspaces: BTreeMap<String, Figures>,
    /// How many copies each node still has to make.
    pub receiving: BTreeMap<NodeId, usize>,
}

impl ClusterStatus {
    /// Whether every partition has all the replicas it is to have, and none changes. Members may
    /// be down nevertheless: see [`ClusterStatus::health`].
    #[must_use]
    pub const fn is_fully_replicated(&self) -> bool {
        self.total.is_fully_replicated()
    }
}

impl Control {
    /// How the cluster is, by the map, the view and what was reported.
    #[must_use]
    pub fn status(&self, map: &ClusterMap, view: &View) -> ClusterStatus {
        let (takers, limits) = (takers(map), self.limits());
        let (mut total, mut keyspaces) = (Figures::default(), BTreeMap::new());
        let mut receiving = BTreeMap::new();
        for (name, keyspace) in &map.keyspaces {
            let mut figures = Figures::default();
            for standing in Standing::all(map, view, &self.reports, keyspace) {
                figures += Figures::of(&standing, &takers, limits);
                for node in standing.receivers().filter(|node| !standing.has_proven(*node)) {
                    *receiving.entry(node).or_default() += 1;
                }
            }
            total += figures;
            keyspaces.insert(name.clone(), figures);
        }
        let in_state = |state| {
            let found = map.nodes.iter().filter(move |(_, info)| info.state == state);
            found.map(|(node, _)| *node).collect::<BTreeSet<_>>()
        };
        let (members, gone) = (in_state(NodeState::Member), in_state(NodeState::Gone));
        let down: BTreeSet<_> = members.iter().copied().filter(|node| !view.is_up(*node)).collect();
        let health = if total.without_quorum > 0 {
            Health::Broken
        } else if !down.is_empty() || !gone.is_empty() || total.lost_copies > 0 {
            Health::Degraded
        } else if total.is_fully_replicated() {
            Health::Whole
        } else {
            Health::Growing
        };
        let (version, joining) = (map.version, in_state(NodeState::Joining));
        ClusterStatus { version, health, members, down, joining, gone, total, keyspaces, receiving }
    }
}
