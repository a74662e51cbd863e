//! Plans that must not change unnoticed: whoever upgrades would move data.
//!
//! `placement.golden` is written anew by
//! `UPDATE_GOLDEN=1 cargo test -p shoal-core --test placement golden`.

use crate::cluster::{Cluster, Plan, STRATEGIES, usual};
use shoal_core::NodeId;
use shoal_core::placement::Replication;
use std::fmt::Write as _;
use std::path::PathBuf;
use xxhash_rust::xxh3::xxh3_64;

/// Partitions whose owners are spelt out.
const SHOWN: usize = 6;

/// The clusters of the fixture, each with a name.
fn clusters() -> Vec<(String, Cluster)> {
    let mut clusters = Vec::new();
    for (strategy, name) in STRATEGIES {
        for (nodes, partitions, replicas, zones) in [
            (1, 16, 3, 0),
            (3, 256, 3, 0),
            (5, 256, 3, 0),
            (6, 256, 3, 3),
            (10, 1_024, 2, 4),
            (30, 4_096, 3, 0),
            (100, 4_096, 3, 5),
        ] {
            let cluster = Cluster::new(strategy, nodes, partitions, replicas).with_zones(zones);
            let title = format!("{name} {nodes} nodes {partitions}x{replicas} {zones} zones");
            clusters.push((title, cluster));
        }
        let mut weighted = Cluster::new(strategy, 8, 256, 3);
        for (member, weight) in weighted.members.iter_mut().zip([100, 50, 200, 100, 0, 1, 300, 75])
        {
            member.weight = weight;
        }
        clusters.push((format!("{name} 8 nodes of different weight 256x3"), weighted.clone()));
        weighted.replication = Replication::All;
        clusters.push((format!("{name} 8 nodes of different weight 256xall"), weighted));
    }
    clusters
}

fn lines(title: &str, plan: &Plan) -> String {
    let bytes: Vec<u8> = plan
        .iter()
        .flat_map(|owners| owners.iter().chain(&[NodeId(0)]))
        .flat_map(|owner| owner.0.to_le_bytes())
        .collect();
    let mut text = format!("{title}: {:016x}\n", xxh3_64(&bytes));
    for owners in &plan[..SHOWN] {
        let owners: Vec<String> = owners.iter().map(|owner| owner.0.to_string()).collect();
        let _infallible = writeln!(text, "  {}", owners.join(" "));
    }
    text
}

#[test]
fn placement_is_what_it_was() {
    let mut text = String::new();
    for (title, cluster) in clusters() {
        let plan = cluster.plan(&[]);
        text += &lines(&title, &plan);
        // A change on top of it, in which present owners count.
        let last = cluster.members.iter().map(|member| member.id.0).max();
        let newcomer = usual(last.unwrap_or(0) + 1, 0);
        text += &lines(&format!("{title}, joined"), &cluster.joined(newcomer).plan(&plan));
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/placement.golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).expect("the folder may be written");
    }
    let golden = std::fs::read_to_string(&path).expect("UPDATE_GOLDEN=1 writes it");
    for (now, then) in text.lines().zip(golden.lines()) {
        assert_eq!(now, then, "placement has changed");
    }
    assert_eq!(text.len(), golden.len());
}
