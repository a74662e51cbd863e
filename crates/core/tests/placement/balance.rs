//! How even the loads are and how little moves, swept over sizes and seeds.
//!
//! Moves are places held after and not before. The least a join may move is what the newcomer
//! then holds, the least a leave may move is what the leaver held.

use crate::cluster::{Cluster, STRATEGIES, held, moves, usual};
use shoal_core::NodeId;
use shoal_core::placement::Strategy;

/// Nodes, partitions, replicas and zones.
const SHAPES: [(u32, u16, u8, u32); 18] = [
    (1, 256, 1, 0),
    (2, 256, 3, 0),
    (3, 256, 2, 0),
    (4, 256, 3, 0),
    (5, 1_024, 3, 0),
    (5, 4_096, 2, 5),
    (6, 1_024, 3, 3),
    (7, 1_024, 7, 0),
    (9, 1_024, 5, 3),
    (10, 4_096, 3, 0),
    (12, 4_096, 3, 4),
    (13, 4_096, 1, 0),
    (15, 4_096, 4, 3),
    (30, 4_096, 3, 0),
    (40, 4_096, 3, 0),
    (100, 4_096, 3, 0),
    (100, 16_384, 2, 0),
    (160, 16_384, 3, 5),
];
/// From this many places per node on the loads are held to what is promised.
const ENOUGH: f64 = 300.0;
const EVEN: f64 = 1.15;
const MINIMAL: f64 = 1.1;

/// Fair shares by floating point: the level of water is searched as placement does, and nothing
/// else is taken from there.
fn fair_shares(cluster: &Cluster, places: u64, zone_limit: usize) -> Vec<f64> {
    let partitions = f64::from(cluster.partitions);
    let zones: Vec<_> = cluster.members.iter().map(|member| member.zone).collect();
    let full = zone_limit as f64 * partitions;
    let within = |level: f64, zone: Option<&str>| {
        let members = cluster.members.iter().filter(|member| member.zone == zone);
        members.map(|member| (level * f64::from(member.weight)).min(partitions)).sum::<f64>()
    };
    let rise = |reaches: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, partitions);
        for _ in 0..100 {
            let middle = (low + high) / 2.0;
            if reaches(middle) { high = middle } else { low = middle }
        }
        high
    };
    let mut distinct = zones.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let level = rise(&|level| {
        let held = distinct.iter().map(|zone| within(level, *zone).min(full)).sum::<f64>();
        held >= places as f64
    });
    let share = |member: &shoal_core::placement::Member<'_>| {
        let level = level.min(rise(&|level| within(level, member.zone) >= full));
        (level * f64::from(member.weight)).min(partitions)
    };
    cluster.members.iter().map(share).collect()
}

/// The greatest load over its fair share, among members whose share is large enough to promise
/// something.
fn unevenness(cluster: &Cluster, plan: &[Vec<NodeId>]) -> f64 {
    let plan = plan.to_vec();
    let loads = cluster.loads(&plan);
    let zone_limit = cluster
        .terms(&[])
        .explain(crate::cluster::partition(0))
        .expect("it is there")
        .zone_limit
        .expect("zones are looked at");
    let shares = fair_shares(cluster, loads.iter().sum(), zone_limit);
    let uneven = loads.iter().zip(&shares).filter(|(_, share)| **share >= ENOUGH);
    uneven.map(|(load, share)| *load as f64 / share).fold(0.0, f64::max)
}

fn sweep(strategy: Strategy, name: &str) {
    for (nodes, partitions, replicas, zones) in SHAPES {
        let seeds = if nodes < 50 { 0..4 } else { 0..1 };
        // Moves and the least possible, of all leaves; the worst single one.
        let (mut moved, mut minimum, mut worst) = (0, 0, 0.0_f64);
        for seed in seeds {
            let shape = format!("{name}: {nodes} {partitions} {replicas} {zones} seed {seed}");
            let cluster = Cluster::new(strategy, nodes, partitions, replicas);
            let cluster = cluster.with_zones(zones).with_seed(seed);
            let plan = cluster.plan(&[]);
            assert!(unevenness(&cluster, &plan) <= EVEN, "{shape}");

            let bigger = cluster.joined(usual(nodes + 1, zones));
            let joined = bigger.plan(&plan);
            assert!(unevenness(&bigger, &joined) <= EVEN, "{shape}, joined");
            let at_least = held(&joined, NodeId(nodes + 1)) as f64;
            let join = moves(&plan, &joined) as f64 / at_least;
            assert!(join <= MINIMAL, "{shape}: a join moves {join} of the minimum");

            for step in 0..4.min(nodes.saturating_sub(1)) {
                let leaver = NodeId(1 + step * (nodes - 1) / 3);
                let smaller = cluster.left(leaver);
                let left = smaller.plan(&plan);
                assert!(unevenness(&smaller, &left) <= EVEN, "{shape}, without {leaver}");
                moved += moves(&plan, &left);
                minimum += held(&plan, leaver);
                worst = worst.max(moves(&plan, &left) as f64 / held(&plan, leaver) as f64);
            }
        }
        let leave = moved as f64 / f64::max(minimum as f64, 1.0);
        let shape = format!("{name}: {nodes} {partitions} {replicas} {zones}");
        let (most, single) = match strategy {
            Strategy::Rendezvous => (MINIMAL, MINIMAL),
            // One leave alone may find its zone at the bound.
            Strategy::Ring => (MINIMAL, 1.15),
            // The leaver's places and those of the last seat, which hashing makes uneven.
            Strategy::Jump if zones == 0 => (2.0, 2.0 * EVEN),
            // The last seat brings its own zone along.
            Strategy::Jump => (2.5, 3.0),
        };
        assert!(leave <= most, "{shape}: a leave moves {leave} of the minimum");
        assert!(worst <= single, "{shape}: one leave moves {worst} of the minimum");
    }
}

#[test]
fn rendezvous_is_even_and_moves_little() {
    sweep(Strategy::Rendezvous, "rendezvous");
}

#[test]
fn jump_is_even_and_moves_little_at_the_end_of_the_list() {
    sweep(Strategy::Jump, "jump");
}

#[test]
fn ring_is_even_and_moves_little() {
    sweep(Strategy::Ring, "ring");
}

#[test]
fn loads_follow_weights() {
    for (strategy, name) in STRATEGIES {
        for (replicas, zones) in [(1, 0), (3, 0), (3, 3), (2, 4)] {
            let mut cluster = Cluster::new(strategy, 12, 16_384, replicas).with_zones(zones);
            for (member, weight) in cluster.members.iter_mut().zip([100, 200, 50, 150].repeat(3)) {
                member.weight = weight;
            }
            let plan = cluster.plan(&[]);
            let shape = format!("{name}: {replicas} {zones}");
            let uneven = unevenness(&cluster, &plan);
            assert!(uneven <= EVEN, "{shape}: {uneven}");
            if zones == 0 {
                let sum: u64 = cluster.members.iter().map(|member| u64::from(member.weight)).sum();
                for (load, member) in cluster.loads(&plan).iter().zip(&cluster.members) {
                    let share = 16_384 * u64::from(replicas) * u64::from(member.weight) / sum;
                    let part = *load as f64 / share as f64;
                    assert!((0.8..=EVEN).contains(&part), "{shape}: {member:?} has {part}");
                }
            }
        }
    }
}

#[test]
fn a_heavier_node_takes_what_it_gains_and_nothing_else_moves() {
    for (strategy, name) in STRATEGIES {
        let mut cluster = Cluster::new(strategy, 10, 4_096, 3);
        cluster.members[4].weight = 50;
        let before = cluster.plan(&[]);
        cluster.members[4].weight = 100;
        let after = cluster.plan(&before);
        let gained = held(&after, NodeId(5)) - held(&before, NodeId(5));
        let moved = moves(&before, &after);
        assert!(moved as f64 <= MINIMAL * gained as f64, "{name}: {moved} for {gained}");
    }
}
