//! A cluster to place a keyspace on, and what one sees of a plan.

use shoal_core::placement::{Member, Replication, Strategy, Terms, vacate};
use shoal_core::slot::Partitioning;
use shoal_core::{NodeId, PartitionId};
use std::collections::BTreeMap;

/// Every strategy with its name.
pub(crate) const STRATEGIES: [(Strategy, &str); 3] =
    [(Strategy::Rendezvous, "rendezvous"), (Strategy::Jump, "jump"), (Strategy::Ring, "ring")];

const ZONES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Who holds each partition.
pub(crate) type Plan = Vec<Vec<NodeId>>;

/// Members and a keyspace.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) strategy: Strategy,
    pub(crate) seed: u64,
    pub(crate) partitions: u16,
    pub(crate) replication: Replication,
    pub(crate) members: Vec<Member<'static>>,
}

impl Cluster {
    /// Equal nodes, numbered from 1, dealt out to so many zones; none of them has one if 0.
    pub(crate) fn new(strategy: Strategy, nodes: u32, partitions: u16, replicas: u8) -> Self {
        let replication = Replication::Count(replicas);
        let members = (1..=nodes).map(|number| usual(number, 0)).collect();
        Self { strategy, seed: 1, partitions, replication, members }
    }

    pub(crate) fn with_zones(mut self, zones: u32) -> Self {
        for member in &mut self.members {
            member.zone = usual(member.id.0, zones).zone;
        }
        self
    }

    pub(crate) fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(crate) fn terms<'a>(&'a self, present: &'a [Vec<NodeId>]) -> Terms<'a> {
        Terms {
            strategy: self.strategy,
            seed: self.seed,
            salt: 42,
            partitioning: Partitioning::new(self.partitions).expect("a power of two"),
            members: &self.members,
            present,
            replication: self.replication,
            spread_zones: true,
        }
    }

    pub(crate) fn plan(&self, present: &[Vec<NodeId>]) -> Plan {
        self.terms(present).plan().expect("the terms are sound")
    }

    /// The cluster with one more node on the last seat.
    pub(crate) fn joined(&self, newcomer: Member<'static>) -> Self {
        let mut after = self.clone();
        after.members.push(newcomer);
        after
    }

    /// The cluster without a node.
    pub(crate) fn left(&self, leaver: NodeId) -> Self {
        let mut after = self.clone();
        vacate(&mut after.members, leaver);
        after
    }

    /// How many places each member has, in the order of the members.
    pub(crate) fn loads(&self, plan: &Plan) -> Vec<u64> {
        let mut loads: BTreeMap<NodeId, u64> =
            self.members.iter().map(|member| (member.id, 0)).collect();
        for owner in plan.iter().flatten() {
            *loads.get_mut(owner).expect("an owner is a member") += 1;
        }
        self.members.iter().map(|member| loads[&member.id]).collect()
    }
}

/// A node of the usual weight, dealt out to one of so many zones.
pub(crate) fn usual(number: u32, zones: u32) -> Member<'static> {
    let zone = (zones > 0).then(|| ZONES[(number % zones.max(1)) as usize]);
    Member { id: NodeId(number), weight: 100, zone }
}

/// How many places are held after that were not before.
pub(crate) fn moves(before: &Plan, after: &Plan) -> u64 {
    let pairs = before.iter().zip(after);
    pairs.map(|(old, new)| new.iter().filter(|owner| !old.contains(owner)).count() as u64).sum()
}

/// How many places a node holds.
pub(crate) fn held(plan: &Plan, node: NodeId) -> u64 {
    plan.iter().filter(|owners| owners.contains(&node)).count() as u64
}

/// The partition of this number.
pub(crate) fn partition(number: usize) -> PartitionId {
    PartitionId(u16::try_from(number).expect("there are at most 2^14"))
}
