//! What holds of every plan, whatever the weights, zones and present owners are.

use crate::cluster::{Cluster, STRATEGIES, partition, usual};
use proptest::prelude::*;
use shoal_core::NodeId;
use shoal_core::placement::{Member, Replication, Strategy as Placing, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// The least number of owners in the fullest zone, found by trying.
fn least_in_one_zone(cluster: &Cluster, owners: usize) -> usize {
    let mut sizes: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for member in cluster.members.iter().filter(|member| member.weight > 0) {
        *sizes.entry(member.zone).or_default() += 1;
    }
    // Deal the owners out one by one, always to the emptiest zone that has a member left.
    let mut dealt: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for _ in 0..owners {
        let open = sizes.iter().filter(|(zone, size)| dealt.get(*zone).unwrap_or(&0) < size);
        let emptiest = open.min_by_key(|(zone, _)| dealt.get(*zone).copied().unwrap_or(0));
        *dealt.entry(*emptiest.expect("there are members enough").0).or_default() += 1;
    }
    dealt.into_values().max().unwrap_or(0)
}

/// Checks one plan and gives it.
fn check(cluster: &Cluster, present: &[Vec<NodeId>]) -> Vec<Vec<NodeId>> {
    let plan = cluster.plan(present);
    assert_eq!(plan, cluster.plan(present), "it is the same every time");
    let members: BTreeMap<NodeId, Member<'_>> =
        cluster.members.iter().map(|member| (member.id, *member)).collect();
    let rests = |node: &NodeId| members.get(node).is_some_and(|member| member.weight == 0);
    let active = members.values().filter(|member| member.weight > 0).count();
    let asked = match cluster.replication {
        Replication::All => usize::MAX,
        Replication::Count(replicas) => usize::from(replicas),
    };
    assert_eq!(plan.len(), usize::from(cluster.partitions));
    for (number, owners) in plan.iter().enumerate() {
        let nobody = Vec::new();
        let present: BTreeSet<_> = present.get(number).unwrap_or(&nobody).iter().collect();
        let resting = present.iter().filter(|node| rests(node)).count();
        let distinct: BTreeSet<_> = owners.iter().collect();
        assert_eq!(distinct.len(), owners.len(), "owners are distinct");
        assert_eq!(owners.len(), asked.min(active + resting), "there are as many as can be");
        for owner in owners {
            assert!(members.contains_key(owner), "{owner} is no member");
            assert!(!rests(owner) || present.contains(owner), "{owner} rests");
        }
        if resting == 0 {
            let zones = owners.iter().map(|owner| members[owner].zone);
            let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
            zones.for_each(|zone| *counts.entry(zone).or_default() += 1);
            let fullest = counts.into_values().max().unwrap_or(0);
            let least = least_in_one_zone(cluster, owners.len());
            assert_eq!(fullest, least, "zones of {owners:?} in {cluster:?}");
        }
    }
    plan
}

#[test]
fn all_small_clusters_keep_the_laws() {
    for (strategy, _) in STRATEGIES {
        for nodes in 1..=8 {
            for replicas in 1..=7 {
                for zones in 0..=4 {
                    for seed in 0..3 {
                        let cluster = Cluster::new(strategy, nodes, 16, replicas);
                        let cluster = cluster.with_zones(zones).with_seed(seed);
                        let plan = check(&cluster, &[]);
                        if strategy == Placing::Rendezvous && zones == 0 {
                            let loads = cluster.loads(&plan);
                            let (least, most) = (loads.iter().min(), loads.iter().max());
                            let apart = most.zip(least).map(|(most, least)| most - least);
                            assert!(apart <= Some(1), "{loads:?}");
                        }
                        check(&cluster.joined(usual(nodes + 1, zones)), &plan);
                        if nodes > 1 {
                            check(&cluster.left(NodeId(1)), &plan);
                        }
                    }
                }
            }
        }
    }
}

prop_compose! {
    /// A cluster with somebody in it who takes places, and owners who may be members or not.
    fn situation()(
        strategy in prop::sample::select(STRATEGIES.map(|(strategy, _)| strategy).to_vec()),
        seed in any::<u64>(),
        replication in prop_oneof![(1..=7_u8).prop_map(Replication::Count), Just(Replication::All)],
        kinds in prop::collection::vec((0..4_u16, 0..4_u32), 0..14),
        present in prop::collection::vec(prop::collection::vec(1..18_u32, 0..6), 32),
        has_present in any::<bool>(),
    ) -> (Cluster, Vec<Vec<NodeId>>) {
        let kinds = kinds.into_iter().chain([(2, 0)]);
        let members = (1..).zip(kinds).map(|(number, (weight, zone))| Member {
            weight: [0, 50, 100, 300][usize::from(weight)],
            ..usual(zone, if zone == 3 { 0 } else { 3 })
        }.numbered(number)).collect();
        let cluster = Cluster { strategy, seed, partitions: 32, replication, members };
        let owners = |owners: Vec<u32>| owners.into_iter().map(NodeId).collect();
        let present: Vec<Vec<NodeId>> = present.into_iter().map(owners).collect();
        (cluster, if has_present { present } else { Vec::new() })
    }
}

/// Gives a member its number.
trait Numbered {
    fn numbered(self, number: u32) -> Self;
}

impl Numbered for Member<'static> {
    fn numbered(self, number: u32) -> Self {
        Self { id: NodeId(number), ..self }
    }
}

proptest! {
    // What is found once becomes a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_keeps_the_laws((cluster, present) in situation()) {
        check(&cluster, &present);
    }

    #[test]
    fn orders_that_should_not_matter_do_not((cluster, present) in situation()) {
        let plan = cluster.plan(&present);
        let reversed: Vec<Vec<NodeId>> =
            present.iter().map(|owners| owners.iter().rev().copied().collect()).collect();
        prop_assert_eq!(&cluster.plan(&reversed), &plan);
        if cluster.strategy != Placing::Jump {
            let mut turned = cluster.clone();
            turned.members.reverse();
            prop_assert_eq!(turned.plan(&present), plan);
        }
    }

    #[test]
    fn rendezvous_leaves_its_own_plan_alone((mut cluster, present) in situation()) {
        cluster.strategy = Placing::Rendezvous;
        let plan = cluster.plan(&present);
        prop_assert_eq!(cluster.plan(&plan), plan);
    }

    #[test]
    fn explanations_name_the_owners((cluster, present) in situation(), number in 0..32_usize) {
        let plan = cluster.plan(&present);
        let said = cluster.terms(&present).explain(partition(number)).expect("it is there");
        let owners = said.candidates.iter().filter(|candidate| candidate.verdict.is_owner());
        let owners: BTreeSet<_> = owners.map(|candidate| candidate.node).collect();
        prop_assert_eq!(owners, plan[number].iter().copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(said.candidates.len(), cluster.members.len());
        for candidate in &said.candidates {
            let kept = candidate.verdict == Verdict::Kept;
            let was = present.get(number).is_some_and(|owners| owners.contains(&candidate.node));
            prop_assert!(!kept || was);
        }
    }
}
