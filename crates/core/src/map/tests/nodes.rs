//! Nodes: who may join under which name, who may start, who may be forgotten.

use super::laws::small;
use super::*;

fn joining(name: &str, token: u64, replaces: Option<u32>) -> Command {
    let replaces = replaces.map(NodeId);
    Command::Join { name: name.into(), token, profile: Profile::default(), replaces }
}

fn forget(node: u32) -> Command {
    Command::Forget { node: NodeId(node) }
}

fn remove(node: u32) -> Command {
    Command::RemoveNode { node: NodeId(node) }
}

/// A cluster of `one`, `two` and `three`, all members.
pub(super) fn three() -> ClusterMap {
    let join = [joining("two", 2, None), joining("three", 3, None)];
    let start = [start_node(NodeId(2), 2, 20), start_node(NodeId(3), 3, 30)];
    run(&small(), &[join, start].concat())
}

fn states(map: &ClusterMap) -> Vec<NodeState> {
    map.nodes.values().map(|info| info.state).collect()
}

#[test]
fn a_node_joins_with_an_id_of_its_own_and_is_a_member_once_it_starts() {
    let joined = run(&small(), &[joining("two", 2, None)]);
    assert_eq!(states(&joined), [NodeState::Member, NodeState::Joining]);
    assert_eq!(joined.node_called("two").map(|(id, _)| id), Some(NodeId(2)));
    assert_eq!(joined.keyspaces, small().keyspaces);
    assert!(!joined.is_member(NodeId(2)));
    // Once more with the same token: it did not hear the answer.
    let again = run(&joined, &[joining("two", 2, None)]);
    assert_eq!((&again.nodes, again.next_node), (&joined.nodes, joined.next_node));
    assert_eq!(again.version.index, joined.version.index + 1);
    assert_eq!(code(&joined, &joining("two", 3, None)), "name_in_use");

    let started = run(&joined, &[start_node(NodeId(2), 2, 20)]);
    assert_eq!(started.seats, [NodeId(1), NodeId(2)]);
    assert_eq!(started.members().len(), 2);
    assert_eq!(run(&started, &[start_node(NodeId(2), 2, 20)]).nodes, started.nodes);
    assert_eq!(code(&started, &start_node(NodeId(2), 2, 21)), "stale_directory");
    // The token of the joining has had its day.
    assert_eq!(code(&started, &joining("two", 2, None)), "name_in_use");
}

#[test]
fn names_and_tokens_are_refused_for_nonsense() {
    assert_eq!(code(&small(), &joining("two", 0, None)), "zero_id");
    assert_eq!(code(&small(), &joining("", 2, None)), "invalid_name");
    assert_eq!(code(&small(), &joining("one", 2, None)), "name_in_use");
}

#[test]
fn what_a_node_says_about_itself_is_kept_and_bounded() {
    let with = |profile| Command::Join { name: "two".into(), token: 2, profile, replaces: None };
    let addresses = Addresses {
        peer: Some("n2.example:7401".into()),
        client: Some("[2001:db8::2]:7400".into()),
        cluster_client: Some("10.0.0.2:7402".into()),
    };
    let tags = BTreeMap::from([("disk".to_owned(), "fast, behind a cache".to_owned())]);
    let good = Profile { zone: Some("rack-1".into()), weight: 0, tags, addresses };
    let map = run(&small(), &[with(good.clone())]);
    assert_eq!(map.nodes[&NodeId(2)].profile(), good);
    // A start without one keeps it, a start with one puts it in its place.
    let map = run(&map, &[start_node(NodeId(2), 2, 20)]);
    assert_eq!(map.nodes[&NodeId(2)].profile(), good);
    let usual = Some(Profile::default());
    let restart = Command::StartNode { node: NodeId(2), presented: 20, next: 21, profile: usual };
    assert_eq!(run(&map, &[restart]).nodes[&NodeId(2)].profile(), Profile::default());

    let many = (0..=MAX_TAGS).map(|at| (format!("t{at}"), String::new())).collect();
    let tag = |name: &str, value: String| BTreeMap::from([(name.to_owned(), value)]);
    let peer = |address: String| Profile {
        addresses: Addresses { peer: Some(address), ..Addresses::default() },
        ..Profile::default()
    };
    let long = "x".repeat(MAX_TAG_VALUE + 1);
    let mut bad = vec![
        Profile { zone: Some(String::new()), ..good.clone() },
        Profile { weight: MAX_WEIGHT + 1, ..good.clone() },
        Profile { tags: many, ..good.clone() },
        Profile { tags: tag("", String::new()), ..good.clone() },
        Profile { tags: tag("a", long), ..good.clone() },
        Profile { tags: tag("a", "\n".into()), ..good },
        peer(format!("{}:1", "x".repeat(MAX_ADDRESS - 1))),
    ];
    for address in ["", "n1", ":7400", "n1:", "n1:0", "n1:+7", "n1:65536", "n 1:7400", "ä:1"] {
        bad.push(peer(address.into()));
    }
    for profile in bad {
        assert_eq!(code(&small(), &with(profile.clone())), "invalid_profile", "{profile:?}");
        let start =
            Command::StartNode { node: NodeId(1), presented: 11, next: 12, profile: Some(profile) };
        assert_eq!(code(&small(), &start), "invalid_profile");
    }
    assert!(small().apply(&with(peer(format!("{}:1", "x".repeat(MAX_ADDRESS - 2))))).is_ok());
}

#[test]
fn a_dead_node_is_replaced_under_its_own_name_only() {
    let map = three();
    assert_eq!(code(&map, &joining("three", 4, Some(2))), "wrong_replacement");
    assert_eq!(code(&map, &joining("four", 4, Some(3))), "wrong_replacement");
    assert_eq!(code(&map, &joining("four", 4, Some(4))), "unknown_node");
    let replaced = run(&map, &[joining("three", 4, Some(3))]);
    assert!(replaced.nodes[&NodeId(3)].is_gone());
    assert_eq!(replaced.node_called("three").map(|(id, _)| id), Some(NodeId(4)));
    // Again, as the answer was lost; and by somebody else, who comes too late.
    assert_eq!(run(&replaced, &[joining("three", 4, Some(3))]).nodes, replaced.nodes);
    assert_eq!(code(&replaced, &joining("three", 5, Some(3))), "name_in_use");
    assert_eq!(code(&replaced, &start_node(NodeId(3), 30, 31)), "stale_directory");
    // Forgotten beforehand, its name is free, and to say that it is replaced does no harm.
    let forgotten = run(&map, &[forget(3)]);
    for replaces in [None, Some(3)] {
        let joined = run(&forgotten, &[joining("three", 4, replaces)]);
        assert_eq!(joined.node_called("three").map(|(id, _)| id), Some(NodeId(4)));
    }
}

#[test]
fn a_node_with_the_last_replica_of_anything_stays() {
    // What there was before two and three joined is still on one alone.
    assert_eq!(code(&three(), &forget(1)), "last_replica");
    assert_eq!(code(&three(), &joining("one", 4, Some(1))), "last_replica");
    let map = run(&three(), &[forget(3)]);
    assert_eq!(states(&map), [NodeState::Member, NodeState::Member, NodeState::Gone]);
    assert_eq!(code(&map, &forget(3)), "node_gone");
    assert_eq!(code(&map, &forget(4)), "unknown_node");
    let again = joining("three", 4, None);
    assert_eq!(run(&map, &[again]).node_called("three").map(|(id, _)| id), Some(NodeId(4)));
}

#[test]
fn the_last_seat_moves_to_where_one_is_free() {
    let four = run(&three(), &[joining("four", 4, None), start_node(NodeId(4), 4, 40)]);
    assert_eq!(run(&four, &[forget(2)]).seats, [1, 4, 3].map(NodeId));
    assert_eq!(run(&four, &[forget(4)]).seats, [1, 2, 3].map(NodeId));
}

#[test]
fn a_node_leaves_the_map_when_nothing_names_it_any_more() {
    assert_eq!(code(&three(), &remove(3)), "not_gone");
    let gone = run(&three(), &[create("cache", None), forget(3)]);
    assert_eq!(code(&gone, &remove(3)), "still_named");
    let rest = run(&gone, &[Command::DropKeyspace { name: "cache".into() }, remove(3)]);
    assert_eq!(rest.nodes.len(), 2);
    assert_eq!(code(&rest, &remove(3)), "unknown_node");
    assert_eq!(code(&rest, &start_node(NodeId(3), 30, 31)), "unknown_node");
    // One that never started can be given up too; its id is not given out again.
    let given_up = run(&rest, &[joining("four", 4, None), forget(4), remove(4)]);
    assert_eq!((given_up.nodes.len(), given_up.next_node), (2, NodeId(5)));
}

#[test]
fn new_keyspaces_are_placed_over_the_members() {
    let map = run(&three(), &[joining("four", 4, None), create("cache", None)]);
    let cache = &map.keyspaces["cache"];
    assert_eq!(cache.salt, u64::from(cache.incarnation.0));
    let placed = map.terms(cache, &map.members(), &[]).plan().expect("there are members");
    for (partition, nodes) in cache.partitions.iter().zip(placed) {
        let incarnation = ReplicaIncarnation(map.version.index);
        let member = |node| Member { node, incarnation };
        assert_eq!(partition.replicas, nodes.into_iter().map(member).collect::<Vec<_>>());
        assert_eq!(partition.replicas.len(), 3);
        assert!(!partition.has_node(NodeId(4)), "it did not start yet");
    }
    // A flush is a new life in the same places, and by the same plan.
    let flushed = run(&map, &[Command::FlushKeyspaces { names: names(&["cache"]) }]);
    let after = &flushed.keyspaces["cache"];
    assert_eq!(after.salt, cache.salt);
    let owners = |keyspace: &Keyspace| {
        keyspace.partitions.iter().map(|held| held.replicas.clone()).collect::<Vec<_>>()
    };
    assert_eq!(owners(after), owners(cache));
}

#[test]
fn where_nobody_takes_anything_no_keyspace_is_made() {
    let idle = Profile { weight: 0, ..Profile::default() };
    let start =
        Command::StartNode { node: NodeId(1), presented: 11, next: 12, profile: Some(idle) };
    let map = run(&small(), &[start]);
    assert_eq!(code(&map, &create("cache", None)), "nobody_takes");
}

#[test]
fn a_cluster_has_only_so_many_nodes() {
    let mut map = small();
    let model = map.nodes[&NodeId(1)].clone();
    for number in 2..=u32::try_from(MAX_NODES).expect("it is small") {
        map.nodes.insert(NodeId(number), NodeInfo { name: format!("n{number}"), ..model.clone() });
        map.seats.push(NodeId(number));
        map.next_node = NodeId(number + 1);
    }
    assert_eq!(map.check(), Ok(()));
    assert_eq!(code(&map, &joining("last", 4, None)), "too_many");
    // On every one of them, 256 partitions are fine, 16,384 are more than a map should hold.
    let on_all = |name: &str, count| {
        let mut spec = KeyspaceSpec::new(EngineKind::Memory);
        spec.options.replication = Replication::All;
        spec.partitioning = Partitioning::new(count).expect("a power of two");
        Command::CreateKeyspace { name: name.into(), spec, database: None }
    };
    assert_eq!(run(&map, &[on_all("some", 2)]).keyspaces["some"].partitions[0].places(), 1_000);
    assert_eq!(code(&map, &on_all("more", 16_384)), "too_many");
}

#[test]
fn what_has_several_replicas_does_not_begin_to_evict() {
    let make = Command::CreateKeyspace {
        name: "kept".to_owned(),
        spec: KeyspaceSpec::new(EngineKind::Memory),
        database: None,
    };
    let map = three().apply(&make).expect("it is made");
    let changes = Changes {
        max_memory: Some(Some(1 << 20)),
        eviction: Some(Eviction::Lru),
        ..Changes::default()
    };
    let alter = Command::AlterKeyspace { name: "kept".to_owned(), changes };
    let refused = map.apply(&alter).expect_err("others hold it too");
    assert!(matches!(refused, MapError::InvalidOption { option: "eviction", .. }), "{refused}");
}
