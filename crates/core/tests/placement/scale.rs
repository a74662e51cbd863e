//! What placement costs and gives from 3 to 1,000 nodes: the rows of `bench/SCALE.md`.
//!
//! Everything but the time is the same on every machine, so the committed page is compared with
//! what the code does now.

use crate::cluster::{Cluster, Plan, STRATEGIES, held, moves, usual};
use shoal_core::codec;
use shoal_core::map::{Command, EngineKind, KeyspaceSpec, NodeInfo, Profile};
use shoal_core::placement::Strategy;
use shoal_core::quorum::Member;
use shoal_core::slot::Partitioning;
use shoal_core::{ClusterId, ClusterMap, NodeId};
use std::path::PathBuf;
use std::time::Instant;

const SIZES: [u32; 7] = [3, 5, 10, 30, 100, 300, 1_000];
/// Without zones, and with as many as there are replicas.
const ZONES: [u32; 2] = [0, 3];
/// The sizes that are computed again by every run of the tests.
const CHECKED: u32 = 30;
const PARTITIONS: u16 = 4_096;
const REPLICAS: u8 = 3;
/// How many nodes leave, each from the full cluster, for the mean of what that moves.
const LEAVERS: u32 = 5;

/// What does not depend on the machine, as it stands on the page.
fn facts(strategy: Strategy, name: &str, nodes: u32, zones: u32) -> String {
    let cluster = Cluster::new(strategy, nodes, PARTITIONS, REPLICAS).with_zones(zones);
    let plan = cluster.plan(&[]);

    let bigger = cluster.joined(usual(nodes + 1, zones));
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
        "| {nodes} | {zones} | {name} | {:.3} | {:.3} | {join:.3} | {leave} | {} |",
        max_over_mean(&cluster, &plan),
        max_over_mean(&bigger, &joined),
        map_bytes(nodes, plan)
    )
}

/// The greatest load over the mean one of the same zone: a zone holds one replica of everything,
/// however many nodes it has.
fn max_over_mean(cluster: &Cluster, plan: &Plan) -> f64 {
    let loads = cluster.loads(plan);
    let of_zone = |zone| {
        let loads = cluster.members.iter().zip(&loads).filter(|(member, _)| member.zone == zone);
        let loads: Vec<u64> = loads.map(|(_, load)| *load).collect();
        let (max, sum) = (loads.iter().max().copied().unwrap_or(0), loads.iter().sum::<u64>());
        max as f64 * loads.len() as f64 / sum as f64
    };
    cluster.members.iter().map(|member| of_zone(member.zone)).fold(0.0, f64::max)
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
fn times(strategy: Strategy, nodes: u32, zones: u32) -> [f64; 2] {
    let cluster = Cluster::new(strategy, nodes, PARTITIONS, REPLICAS).with_zones(zones);
    let plan = cluster.plan(&[]);
    let bigger = cluster.joined(usual(nodes + 1, zones));
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

/// Every row there is, and those of so many nodes at most.
fn shapes(most: u32) -> impl Iterator<Item = (u32, u32, (Strategy, &'static str))> {
    let nodes = SIZES.into_iter().filter(move |nodes| *nodes <= most);
    nodes.flat_map(|nodes| {
        ZONES.into_iter().flat_map(move |zones| {
            STRATEGIES.into_iter().map(move |strategy| (nodes, zones, strategy))
        })
    })
}

/// `cargo xtask bench scale` runs this and keeps the lines that begin with a bar.
#[test]
#[ignore = "measures; cargo xtask bench scale runs it"]
fn rows() {
    println!();
    for (nodes, zones, (strategy, name)) in shapes(u32::MAX) {
        let [anew, join] = times(strategy, nodes, zones);
        println!("{} {anew:.1} | {join:.1} |", facts(strategy, name, nodes, zones));
    }
}

fn page() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../bench/SCALE.md");
    std::fs::read_to_string(path).expect("cargo xtask bench scale writes it")
}

#[test]
fn the_page_says_what_the_code_does() {
    let page = page();
    for (nodes, zones, (strategy, name)) in shapes(CHECKED) {
        let facts = facts(strategy, name, nodes, zones);
        let is_there = page.lines().any(|line| line.starts_with(&facts));
        assert!(is_there, "run cargo xtask bench scale; bench/SCALE.md has no\n{facts}");
    }
}

/// What a line of the page says that is not promised.
fn broken(line: &str) -> Vec<String> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let number = |at: usize| cells[at].parse::<f64>().expect(line);
    let (nodes, zones, strategy) = (number(1), number(2), cells[3]);
    let places = f64::from(PARTITIONS) * f64::from(REPLICAS);
    // Where a node has few places one more or less is a large part of them.
    let even = |nodes: f64| if places / nodes >= 300.0 { 1.15 } else { f64::INFINITY };
    let leave = match strategy {
        "rendezvous" | "ring" => 1.1,
        "jump" if zones == 0.0 => 2.0,
        // The last seat brings its own zone along.
        "jump" => 2.5,
        // A strategy that is not known is promised nothing, and so out of bounds.
        _ => 0.0,
    };
    let mut bounds = vec![(4, even(nodes)), (5, even(nodes + 1.0)), (6, 1.1)];
    if cells[7] != "–" {
        bounds.push((7, leave));
    }
    // What is less than the least possible was counted wrongly.
    let is_out = |(at, most): &(usize, f64)| !(1.0..=*most).contains(&number(*at));
    bounds.retain(is_out);
    bounds
        .iter()
        .map(|(at, most)| format!("{} instead of at most {most}: {line}", cells[*at]))
        .collect()
}

#[test]
fn the_page_keeps_what_is_promised() {
    let page = page();
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| nodes");
    let lines: Vec<&str> = page.lines().filter(is_row).collect();
    let begin = |(nodes, zones, (_, name)): (u32, u32, (Strategy, &str))| {
        format!("| {nodes} | {zones} | {name} |")
    };
    let wanted: Vec<String> = shapes(u32::MAX).map(begin).collect();
    assert_eq!(lines.len(), wanted.len(), "every row once");
    for (line, begin) in lines.iter().zip(&wanted) {
        assert!(line.starts_with(begin), "{line}");
    }
    let broken: Vec<String> = lines.into_iter().flat_map(broken).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_row_beyond_what_is_promised_is_found() {
    let good = "| 30 | 0 | ring | 1.149 | 1.149 | 1.099 | 1.099 | 177749 | 1.0 | 1.0 |";
    assert_eq!(broken(good), Vec::<String>::new());
    for (from, to) in [
        ("ring | 1.149", "ring | 1.151"),
        ("1.149 | 1.099", "1.151 | 1.099"),
        ("1.149 | 1.099", "1.149 | 1.101"),
        ("1.099 | 1777", "1.101 | 1777"),
        ("1.149 | 1.099", "1.149 | 0.9"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_eq!(broken(&bad).len(), 1, "{bad}");
    }
    let jump = good.replace("ring", "jump").replace("1.099 | 1777", "2.0 | 1777");
    assert_eq!(broken(&jump), Vec::<String>::new());
    assert_eq!(broken(&jump.replace("| 2.0", "| 2.1")).len(), 1);
    let many = good.replace("| 30 |", "| 100 |").replace("1.149", "1.8");
    assert_eq!(broken(&many), Vec::<String>::new(), "it is only recorded");
}
