//! How one partition stands: whose copies count, who is up, who has proven what.
//!
//! Holds: a copy of a present owner counts unless its node is gone, has reported it lost at the
//! present epoch, or begins another life in `next`.

use super::report::{Heard, Reports};
use super::{Limits, View};
use crate::ids::{NodeId, PartitionId};
use crate::map::{ClusterMap, EngineKind, Keyspace, Partition, Place};
use crate::quorum::{Member, quorum};

/// One partition, with all that is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    pub(super) keyspace: &'a Keyspace,
    pub(super) partition: &'a Partition,
    pub(super) place: Place,
    map: &'a ClusterMap,
    view: &'a View,
    heard: Option<&'a Heard>,
}

/// Whether enough is left of what a partition once acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Enough copies count, or may still: any change can be proven.
    Enough,
    /// Too few; somebody who is down may still have something.
    Undecided,
    /// Too few, and data on disk is not given up without a person's word.
    AwaitsAcceptance,
    /// Too few: it goes on with these.
    GoesOnWith(Vec<NodeId>),
}

impl<'a> Standing<'a> {
    /// The partitions of a keyspace, in their order.
    pub(super) fn all(
        map: &'a ClusterMap,
        view: &'a View,
        reports: &'a Reports,
        keyspace: &'a Keyspace,
    ) -> impl Iterator<Item = Self> {
        (0..).map(PartitionId).zip(&keyspace.partitions).map(move |(id, partition)| {
            let place =
                Place { keyspace: keyspace.incarnation, partition: id, epoch: partition.epoch };
            Self { keyspace, partition, place, map, view, heard: reports.at(place) }
        })
    }

    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.view.is_up(node)
    }

    fn is_lost(&self, node: NodeId) -> bool {
        self.heard.is_some_and(|heard| heard.is_lost(node))
    }

    /// Whether `node` never comes back.
    pub(super) fn is_gone(&self, node: NodeId) -> bool {
        !self.map.is_member(node)
    }

    pub(super) fn has_proven(&self, node: NodeId) -> bool {
        self.heard.is_some_and(|heard| heard.is_proven(node))
    }

    /// The leavers that have reported that nothing is left.
    pub(super) fn forgotten(&self) -> impl Iterator<Item = NodeId> {
        let told = |node: &NodeId| self.heard.is_some_and(|heard| heard.is_forgotten(*node));
        self.partition.outgoing.iter().copied().filter(told)
    }

    /// Whether the copy of `member`, of either set, has kept what it acknowledged.
    pub(super) fn counts(&self, member: Member) -> bool {
        let is_present = self.partition.replicas.contains(&member);
        let begins_anew = |next: &Member| next.node == member.node && *next != member;
        let is_over = is_present && self.partition.next.iter().any(begins_anew);
        !self.is_gone(member.node) && !self.is_lost(member.node) && !is_over
    }

    /// The present owners whose copies count, whether they are up or not.
    fn counting(&self) -> impl Iterator<Item = Member> {
        self.partition.replicas.iter().copied().filter(|member| self.counts(*member))
    }

    /// How many present owners count.
    pub(super) fn copies(&self) -> usize {
        self.counting().count()
    }

    /// How many present owners count and are up.
    pub(super) fn live_copies(&self) -> usize {
        self.counting().filter(|member| self.is_up(member.node)).count()
    }

    /// Whether reads and writes at quorum are answered: in both sets where there are two.
    pub(super) fn has_quorum(&self) -> bool {
        let reaches = |set: &[Member]| {
            let live = set.iter().filter(|member| self.counts(**member) && self.is_up(member.node));
            set.is_empty() || live.count() >= quorum(set.len())
        };
        reaches(&self.partition.replicas) && reaches(&self.partition.next)
    }

    /// Whether every member of `next` has proven itself.
    pub(super) fn is_proven(&self) -> bool {
        let next = &self.partition.next;
        !next.is_empty() && next.iter().all(|member| self.has_proven(member.node))
    }

    /// Whether a change is under way in which somebody has to take part who is down.
    pub(super) fn is_stalled(&self) -> bool {
        self.partition.next.iter().any(|member| !self.is_up(member.node))
    }

    /// Who has to copy the partition for the change that is under way.
    pub(super) fn receivers(&self) -> impl Iterator<Item = NodeId> {
        let comes = |member: &&Member| !self.partition.replicas.contains(member);
        self.partition.next.iter().filter(comes).map(|member| member.node)
    }

    /// The members of `next` that hold nothing yet, in any life, by the map.
    fn newcomers(&self) -> impl Iterator<Item = NodeId> {
        let is_new = |member: &&Member| {
            !self.partition.replicas.iter().any(|present| present.node == member.node)
        };
        self.partition.next.iter().filter(is_new).map(|member| member.node)
    }

    /// Whether `node` was waited for long enough.
    fn is_given_up(&self, node: NodeId, limits: &Limits) -> bool {
        self.view.is_down_for(node, limits.patience_ms)
    }

    /// The members of `next` that hold nothing yet and are still to be counted on.
    pub(super) fn good_newcomers(&self, limits: &Limits) -> impl Iterator<Item = NodeId> {
        self.newcomers().filter(|node| !self.is_gone(*node) && !self.is_given_up(*node, limits))
    }

    /// Whether the change that is under way cannot end well as it is: a copy was lost on the way, or
    /// somebody who was to take the partition over is down for long.
    pub(super) fn is_spoiled(&self, limits: &Limits) -> bool {
        let was_lost = |member: &Member| self.is_lost(member.node) || self.is_gone(member.node);
        self.partition.next.iter().any(was_lost) || self.has_given_up(limits)
    }

    /// Whether somebody who was to take the partition over is down for long and has not proven it.
    pub(super) fn has_given_up(&self, limits: &Limits) -> bool {
        self.newcomers().any(|node| self.is_given_up(node, limits) && !self.has_proven(node))
    }

    /// The present owners that are to stay.
    pub(super) fn staying(&self) -> impl Iterator<Item = NodeId> {
        let nodes = self.partition.replicas.iter().map(|member| member.node);
        nodes.filter(|node| !self.is_gone(*node))
    }

    /// Of all who might stay, those that have to begin anew.
    pub(super) fn is_to_begin_anew(&self, node: NodeId) -> bool {
        let mut present = self.partition.replicas.iter().filter(|member| member.node == node);
        self.is_lost(node) || present.any(|member| !self.counts(*member))
    }

    /// Whether enough is left. As many copies as every write quorum meets are enough: among them
    /// is everything that was acknowledged, and a proof asks no more.
    pub(super) fn left(&self, limits: &Limits) -> Left {
        let owners = self.partition.replicas.len();
        let enough = owners - quorum(owners) + 1;
        let copies = self.copies();
        let in_memory = self.keyspace.engine == EngineKind::Memory;
        let given_up = |member: &Member| self.is_given_up(member.node, limits);
        // What was in the memory of a node that stays down is lost. That is only presumed where
        // another copy is known to be lost and the partition could not go on otherwise.
        let is_bereft = copies < owners && in_memory;
        let hoped = copies - self.counting().filter(|member| is_bereft && given_up(member)).count();
        if hoped >= enough {
            return Left::Enough;
        }
        if !in_memory {
            return Left::AwaitsAcceptance;
        }
        if self.counting().any(|member| !self.is_up(member.node) && !given_up(&member)) {
            return Left::Undecided;
        }
        self.what_is_left().map_or(Left::Undecided, Left::GoesOnWith)
    }

    /// With whom the partition goes on where too little is left: the copies that count and are up,
    /// or else whoever is up, with nothing.
    pub(super) fn what_is_left(&self) -> Option<Vec<NodeId>> {
        let up = |node: &NodeId| self.is_up(*node);
        let live: Vec<NodeId> = self.counting().map(|member| member.node).filter(up).collect();
        let left = if live.is_empty() { self.staying().filter(up).collect() } else { live };
        (!left.is_empty()).then_some(left)
    }
}
