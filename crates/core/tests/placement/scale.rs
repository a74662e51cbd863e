//! What placement costs and gives from 3 to 1,000 nodes: the rows of `bench/SCALE.md`.
//!
//! Everything but the time is the same on every machine, so the committed page is compared with
//! what the code does now.

use crate::cluster::{Cluster, STRATEGIES, held, moves, usual};
use shoal_core::codec;
use shoal_core::map::{Command, EngineKind, KeyspaceSpec, NodeInfo, Profile};
use shoal_core::placement::Strategy;
use shoal_core::quorum::Member;
use shoal_core::slot::Partitioning;
use shoal_core::{ClusterId, ClusterMap, NodeId};
use std::path::PathBuf;
use std::time::Instant;

const SIZES: [u32; 7] = [3, 5, 10, 30, 100, 300, 1_000];
/// The sizes that are computed again by every run of the tests.
const CHECKED: u32 = 30;
const PARTITIONS: u16 = 4_096;
const REPLICAS: u8 = 3;
/// How many nodes leave, each from the full cluster, for the mean of what that moves.
const LEAVERS: u32 = 5;

/// What does not depend on the machine, as it stands on the page.
fn facts(strategy: Strategy, name: &str, nodes: u32) -> String {
    let cluster = Cluster::new(strategy, nodes, PARTITIONS, REPLICAS);
    let plan = cluster.plan(&[]);

    let bigger = cluster.joined(usual(nodes + 1, 0));
    let joined = bigger.plan(&plan);
    let at_least = held(&joined, NodeId(nodes + 1));
    let join = moves(&plan, &joined) as f64 / at_least as f64;

    let leave = if nodes > u32::from(REPLICAS) {
        let mut sums = (0, 0);
        for at in 0..LEAVERS {
            let leaver = NodeId(1 + at * (nodes - 1) / (LEAVERS - 1));
            sums.0 += moves(&plan, &cluster.left(leaver).plan(&plan));
            sums.1 += held(&plan, leaver);
        }
        format!("{:.3}", sums.0 as f64 / sums.1 as f64)
    } else {
        // Everybody holds everything: nothing has anywhere to go.
        "–".to_owned()
    };
    format!(
        "| {nodes} | {name} | {:.3} | {:.3} | {join:.3} | {leave} | {} |",
        cluster.max_over_mean(&plan),
        bigger.max_over_mean(&joined),
        map_bytes(nodes, plan)
    )
}

/// The size of the stored map of a cluster with one keyspace placed like this.
fn map_bytes(nodes: u32, plan: Vec<Vec<NodeId>>) -> usize {
    let mut spec = KeyspaceSpec::new(EngineKind::Disk);
    spec.partitioning = Partitioning::new(PARTITIONS).expect("a power of two");
    let found = Command::Found {
        cluster: ClusterId(1),
        node_name: "node-0001".into(),
        token: 1,
        hash_seed: 1,
        default: spec,
        profile: Profile::default(),
    };
    let mut map = ClusterMap::default().apply(&found).expect("it is sound");
    for number in 2..=nodes {
        let name = format!("node-{number:04}");
        let zone = Some(format!("zone-{}", number % 3));
        let node = NodeInfo { name, zone, ..map.nodes[&NodeId(1)].clone() };
        map.nodes.insert(NodeId(number), node);
        map.seats.push(NodeId(number));
    }
    map.next_node = NodeId(nodes + 1);
    let keyspace = map.keyspaces.get_mut("default").expect("it was founded");
    for (partition, replicas) in keyspace.partitions.iter_mut().zip(plan) {
        let incarnation = partition.replicas[0].incarnation;
        let member = |node| Member { node, incarnation };
        partition.replicas = replicas.into_iter().map(member).collect();
    }
    assert_eq!(map.check(), Ok(()));
    codec::map::encode(&map).len()
}

/// The median time in milliseconds that a plan takes, with nobody present and after a join.
fn times(strategy: Strategy, nodes: u32) -> [f64; 2] {
    let cluster = Cluster::new(strategy, nodes, PARTITIONS, REPLICAS);
    let plan = cluster.plan(&[]);
    let bigger = cluster.joined(usual(nodes + 1, 0));
    let median = |run: &dyn Fn()| {
        let mut times = [0.0; 5];
        for time in &mut times {
            let begun = Instant::now();
            run();
            *time = begun.elapsed().as_secs_f64() * 1e3;
        }
        times.sort_by(f64::total_cmp);
        times[2]
    };
    [median(&|| drop(cluster.plan(&[]))), median(&|| drop(bigger.plan(&plan)))]
}

/// `cargo xtask bench scale` runs this and keeps the lines that begin with a bar.
#[test]
#[ignore = "measures; cargo xtask bench scale runs it"]
fn rows() {
    println!();
    for nodes in SIZES {
        for (strategy, name) in STRATEGIES {
            let [anew, join] = times(strategy, nodes);
            println!("{} {anew:.1} | {join:.1} |", facts(strategy, name, nodes));
        }
    }
}

#[test]
fn the_page_says_what_the_code_does() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../bench/SCALE.md");
    let page = std::fs::read_to_string(path).expect("cargo xtask bench scale writes it");
    for nodes in SIZES.into_iter().filter(|nodes| *nodes <= CHECKED) {
        for (strategy, name) in STRATEGIES {
            let facts = facts(strategy, name, nodes);
            let is_there = page.lines().any(|line| line.starts_with(&facts));
            assert!(is_there, "run cargo xtask bench scale; bench/SCALE.md has no\n{facts}");
        }
    }
}
