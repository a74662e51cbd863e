//! Documents about a made-up cluster of three nodes.

use super::*;
use shoal_core::control::{Control, View};
use shoal_core::map::{Command, KeyspaceSpec, Profile};
use shoal_core::slot::Partitioning;
use shoal_core::{ClusterId, ids::ReplicaIncarnation};
use shoal_node::cluster::{Condition, Standing};
use shoal_node::{Presence, Queues, VerdictShown};
use std::collections::BTreeSet;

fn map() -> ClusterMap {
    let spec = KeyspaceSpec {
        partitioning: Partitioning::new(4).expect("a power of two"),
        ..KeyspaceSpec::new(EngineKind::Disk)
    };
    let found = Command::Found {
        cluster: ClusterId(7),
        node_name: "a".to_owned(),
        token: 1,
        hash_seed: 7,
        default: spec,
        profile: Profile::default(),
    };
    let mut map = ClusterMap::default().apply(&found).expect("it is founded");
    for (node, name) in [(2, "b"), (3, "c")] {
        let (name, token, profile) = (name.to_owned(), u64::from(node), Profile::default());
        let join = Command::Join { name, token, profile, replaces: None };
        map = map.apply(&join).expect("it is let in");
        let node = NodeId(node);
        let start = Command::StartNode { node, presented: token, next: 9, profile: None };
        map = map.apply(&start).expect("it starts");
    }
    let create = Command::CreateKeyspace { name: "ks".to_owned(), spec, database: None };
    map.apply(&create).expect("it is made")
}

fn shown(map: &ClusterMap, up: &[u32]) -> ClusterShown {
    let up: BTreeSet<NodeId> = up.iter().map(|node| NodeId(*node)).collect();
    let view = View { up: up.clone(), ..View::default() };
    let full = Condition { refusing: Some("disk_full".to_owned()), lost_copies: 0 };
    ClusterShown {
        voters_change: false,
        cluster: map.cluster,
        node: NodeId(1),
        leader: Some(NodeId(2)),
        term: 3,
        voters: up,
        starting: None,
        status: Control::default().status(map, &view),
        hints: 5,
        under_way: 0,
        repair: [0; REPAIR_FIGURES.len()],
        taking_in: 0,
        queues: Queues::default(),
        requests: Vec::new(),
        conditions: [(NodeId(1), full), (NodeId(2), Condition::default())].into(),
        links: vec![LinkStatus { node: NodeId(2), up: true, ..LinkStatus::default() }],
    }
}

#[test]
fn the_status_names_nodes_and_what_is_missing() {
    let map = map();
    let document = status_of(&shown(&map, &[1, 2]), &map);
    assert_eq!(document["members"], json!(["a", "b", "c"]));
    assert_eq!(document["down"], json!(["c"]));
    assert_eq!((&document["leader"], &document["health"]), (&json!("b"), &json!("degraded")));
    assert_eq!(document["told_by_leader"], false);
    assert_eq!(document["keyspaces"]["default"]["below_target"], 4, "it was made for one node");
    assert_eq!(document["keyspaces"]["ks"]["fully_replicated"], true);
    assert_eq!(document["keyspaces"]["ks"]["replication"], 3);
    assert_eq!(document["fully_replicated"], false);
    assert_eq!(document["links"][0]["name"], "b");
    assert_eq!(document["refusing_writes"], json!({ "a": "disk_full" }));
    assert_eq!(document["not_heard_of"], json!([]));
}

#[test]
fn a_cluster_is_not_whole_before_everybody_has_said_so() {
    let map = map();
    let whole = |conditions: &[(u32, u32)]| {
        let mut shown = shown(&map, &[1, 2, 3]);
        (shown.status.health, shown.status.total) = (Health::Whole, Figures::default());
        let condition = |lost_copies| Condition { refusing: None, lost_copies };
        let conditions = conditions.iter().map(|(node, lost)| (NodeId(*node), condition(*lost)));
        shown.conditions = conditions.collect();
        let document = status_of(&shown, &map);
        (document["health"].clone(), document["fully_replicated"].clone())
    };
    assert_eq!(whole(&[(1, 0), (2, 0), (3, 0)]), (json!("whole"), json!(true)));
    assert_eq!(whole(&[(1, 0), (3, 0)]), (json!("growing"), json!(false)), "b was started again");
    assert_eq!(whole(&[(1, 0), (2, 4), (3, 0)]), (json!("degraded"), json!(false)));
}

#[test]
fn the_map_lists_every_partition_of_what_was_asked_for() {
    let map = map();
    let document = map_of(&map, Some("ks"));
    let keyspaces = document["keyspaces"].as_array().expect("a list");
    assert_eq!(keyspaces.len(), 1);
    let partitions = keyspaces[0]["partitions"].as_array().expect("a list");
    assert_eq!(partitions.len(), 4);
    assert_eq!(partitions[1]["slots"], json!([4_096, 8_191]));
    assert_eq!(partitions[1]["replicas"].as_array().map(Vec::len), Some(3));
    assert_eq!(map_of(&map, None)["keyspaces"].as_array().map(Vec::len), Some(2));
    assert_eq!(document["version"], "0.6");
}

fn shown_member(node: u32, standing: Standing, client: Option<&str>) -> MemberShown {
    MemberShown {
        node: NodeId(node),
        name: format!("n{node}"),
        presence: Presence::Here(standing),
        for_ms: None,
        zone: None,
        weight: 100,
        tags: [].into(),
        addresses: Addresses { client: client.map(str::to_owned), ..Addresses::default() },
        votes: true,
        leads: false,
        is_this: false,
        partitions: 0,
        refusing: None,
    }
}

#[test]
fn plain_discovery_lists_those_who_may_be_asked() {
    let members = [
        shown_member(1, Standing::Up, Some("10.0.0.1:7400")),
        shown_member(2, Standing::Down, Some("10.0.0.2:7400")),
        shown_member(3, Standing::Suspect, Some("[::1]:7400")),
        shown_member(4, Standing::Up, None),
    ];
    assert_eq!(addresses_of(&members), "10.0.0.1:7400\n[::1]:7400\n");
    assert_eq!(member(&members[1])["state"], "down");
}

#[test]
fn an_explanation_says_who_holds_what_and_why() {
    let held = |node: u32, answer| HeldBy {
        node: NodeId(node),
        name: format!("n{node}"),
        incarnation: ReplicaIncarnation(1),
        present: true,
        next: false,
        up: true,
        answer,
    };
    let verdict = |node: u32| VerdictShown {
        node: NodeId(node),
        holds: node < 3,
        why: format!("because of {node}"),
    };
    let explained = Explained {
        keyspace: "ks".to_owned(),
        slot: 5,
        partition: shoal_core::PartitionId(0),
        epoch: shoal_core::Epoch::default(),
        leader: Some(NodeId(2)),
        held_by: vec![held(1, HeldAnswer::Nothing), held(2, HeldAnswer::Unknown("it is down"))],
        leaving: Vec::new(),
        rule: "some rule".to_owned(),
        candidates: vec![verdict(1), verdict(2), verdict(3)],
    };
    let document = explanation(&explained, b"\xff".to_vec());
    assert_eq!(document["key_b64"], "/w==");
    assert_eq!(document["leader"], "n2");
    assert_eq!(document["replicas"][0]["holds"], "nothing");
    assert_eq!(document["replicas"][0]["why"], "because of 1");
    assert_eq!(document["replicas"][1]["reason"], "it is down");
    assert_eq!(document["others"], json!([{ "node": 3, "why": "because of 3" }]));
}
