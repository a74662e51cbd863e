//! Who is to hold a partition that wants other owners.
//!
//! Holds: present owners that are not gone stay; others are only added, those that placement wants
//! first. So a cluster grows into the placement that is planned for it, and nothing healthy moves.

use super::standing::Standing;
use super::survey::wanted;
use super::{Limits, View};
use crate::ids::{Incarnation, NodeId};
use crate::map::ClusterMap;
use std::collections::{BTreeMap, BTreeSet};

/// Who is to hold a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// They, in order of preference.
    pub(super) next: Vec<NodeId>,
    /// Those of them that begin anew.
    pub(super) renewed: Vec<NodeId>,
    /// Those of them that have to copy what the others hold.
    pub(super) receivers: Vec<NodeId>,
}

impl Wish {
    fn of(standing: &Standing<'_>, next: Vec<NodeId>) -> Self {
        let renewed: Vec<NodeId> =
            next.iter().copied().filter(|node| standing.is_to_begin_anew(*node)).collect();
        let holds = |node| standing.partition.replicas.iter().any(|member| member.node == node);
        let copies = |node: &NodeId| renewed.contains(node) || !holds(*node);
        let receivers = next.iter().copied().filter(copies).collect();
        Self { next, renewed, receivers }
    }

    /// What is left of the present owners, and nobody else.
    pub(super) fn of_present(standing: &Standing<'_>) -> Self {
        Self::of(standing, standing.staying().collect())
    }

    /// Whether it is what is there already.
    pub(super) fn is_present(&self, standing: &Standing<'_>) -> bool {
        // Who stays is part of every wish.
        self.receivers.is_empty() && self.next.len() == standing.partition.replicas.len()
    }

    pub(super) fn is_up(&self, view: &View) -> bool {
        self.next.iter().all(|node| view.is_up(*node))
    }
}

/// Makes wishes; placement is planned once for each keyspace that needs it.
pub(super) struct Wishes<'a> {
    map: &'a ClusterMap,
    limits: Limits,
    takers: &'a BTreeSet<NodeId>,
    plans: BTreeMap<Incarnation, Vec<Vec<NodeId>>>,
}

impl<'a> Wishes<'a> {
    pub(super) const fn new(
        map: &'a ClusterMap,
        limits: Limits,
        takers: &'a BTreeSet<NodeId>,
    ) -> Self {
        Self { map, limits, takers, plans: BTreeMap::new() }
    }

    /// Who is to hold the partition; `all` are the partitions of its keyspace.
    pub(super) fn of(
        &mut self,
        standing: &Standing<'a>,
        all: impl FnOnce() -> Vec<Standing<'a>>,
    ) -> Wish {
        let (map, limits, takers) = (self.map, self.limits, self.takers);
        let mut next = settled(standing, &limits);
        let wanted = wanted(standing, takers);
        if next.len() >= wanted {
            return Wish::of(standing, next);
        }
        let plan = self.plans.entry(standing.place.keyspace).or_insert_with(|| {
            let present: Vec<_> = all().iter().map(|one| settled(one, &limits)).collect();
            plan(map, standing, &present, takers)
        });
        let planned = plan.get(usize::from(standing.place.partition.0));
        let planned = planned.map_or(&[][..], Vec::as_slice);
        while next.len() < wanted {
            let Some(added) = best(map, standing, takers, planned, &next) else { break };
            next.push(added);
        }
        // Whoever placement does not want stays behind those whom it does.
        let rank = |node: &NodeId| planned.iter().position(|one| one == node);
        next.sort_by_key(|node| rank(node).unwrap_or(planned.len()));
        Wish::of(standing, next)
    }
}

/// Who of those that are planned comes next: the first, or, where zones matter, the first of those
/// whose zone has the fewest.
fn best(
    map: &ClusterMap,
    standing: &Standing<'_>,
    takers: &BTreeSet<NodeId>,
    planned: &[NodeId],
    next: &[NodeId],
) -> Option<NodeId> {
    let zone = |node: &NodeId| map.nodes.get(node).and_then(|info| info.zone.as_ref());
    let crowd = |node: &NodeId| {
        let in_zone = next.iter().filter(|other| zone(other) == zone(node)).count();
        if standing.keyspace.options.spread_zones { in_zone } else { 0 }
    };
    let may = |node: &NodeId| {
        !next.contains(node) && takers.contains(node) && !standing.partition.outgoing.contains(node)
    };
    planned.iter().copied().filter(may).min_by_key(crowd)
}

/// The present owners that stay, and those on the way in that are still to be counted on.
fn settled(standing: &Standing<'_>, limits: &Limits) -> Vec<NodeId> {
    standing.staying().chain(standing.good_newcomers(limits)).collect()
}

/// What placement wants of a keyspace, given who holds its partitions. Only takers are given
/// anything; the other members keep what they have.
fn plan(
    map: &ClusterMap,
    standing: &Standing<'_>,
    present: &[Vec<NodeId>],
    takers: &BTreeSet<NodeId>,
) -> Vec<Vec<NodeId>> {
    let mut members = map.members();
    for member in &mut members {
        if !takers.contains(&member.id) {
            member.weight = 0;
        }
    }
    // Nobody may take anything: nothing is added, and the next plan sees another map or view.
    map.terms(standing.keyspace, &members, present).plan().unwrap_or_default()
}
