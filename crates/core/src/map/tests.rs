//! Keyspaces in sequences of commands: every map checks, and what is refused changes nothing.

mod commands;
mod laws;
mod moves;
mod nodes;

pub(crate) use commands::command;
pub(crate) use laws::{lived, steps};

use super::*;
use crate::ids::ReplicaIncarnation;
use crate::placement::Replication;
use crate::quorum::Member;
use crate::slot::{Partitioning, Slot};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn found(engine: EngineKind) -> Command {
    Command::Found {
        cluster: ClusterId(0xC0FFEE),
        node_name: "one".into(),
        token: 11,
        hash_seed: 5,
        default: KeyspaceSpec::new(engine),
        profile: Profile::default(),
    }
}

/// A founded map, on disk.
pub(crate) fn founded() -> ClusterMap {
    ClusterMap::default().apply(&found(EngineKind::Disk)).expect("a first command")
}

fn create(name: &str, database: Option<u16>) -> Command {
    let spec = KeyspaceSpec::new(EngineKind::Memory);
    Command::CreateKeyspace { name: name.into(), spec, database }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn start_node(node: NodeId, presented: u64, next: u64) -> Command {
    Command::StartNode { node, presented, next, profile: None }
}

/// Applies commands that must all be taken.
fn run(map: &ClusterMap, commands: &[Command]) -> ClusterMap {
    commands.iter().fold(map.clone(), |map, command| match map.apply(command) {
        Ok(next) => next,
        Err(error) => panic!("{command:?}: {error}"),
    })
}

fn code(map: &ClusterMap, command: &Command) -> &'static str {
    map.apply(command).expect_err("it is to be refused").code()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_sequence_of_commands_keeps_the_invariants(
        commands in prop::collection::vec(command(), 1..40),
        start in any::<bool>(),
    ) {
        let mut map = if start { founded() } else { ClusterMap::default() };
        let mut lives: BTreeSet<Incarnation> = incarnations(&map);
        for command in commands {
            let before = map.clone();
            let Ok(next) = map.apply(&command) else {
                prop_assert_eq!(&map, &before);
                continue;
            };
            prop_assert_eq!(next.check(), Ok(()));
            prop_assert_eq!(next.version.index, before.version.index + 1);
            prop_assert_eq!(next.version.generation, before.version.generation);
            // A life that is new was never there before, whatever has ended since.
            let fresh: BTreeSet<_> = incarnations(&next).difference(&incarnations(&before)).copied().collect();
            prop_assert!(fresh.is_disjoint(&lives), "{command:?} reused one of {fresh:?}");
            prop_assert!(fresh.iter().all(|new| *new >= before.next_incarnation));
            lives.extend(fresh);
            for life in &lives {
                prop_assert_eq!(next.is_dead(*life), next.keyspace_of(*life).is_none());
            }
            prop_assert!(!next.is_dead(next.next_incarnation));
            check_epochs(&before, &next)?;
            map = next;
        }
    }

    #[test]
    fn any_damage_to_a_map_that_matters_is_noticed_by_check(which in 0..27_usize) {
        let map = run(&founded(), &[create("cache", Some(20)), create("db3", None)]);
        let n1 = map.keyspaces["cache"].partitions[7].replicas[0];
        let later = Member { incarnation: ReplicaIncarnation(1), ..n1 };
        let info = map.nodes[&NodeId(1)].clone();
        let mut broken = map.clone();
        let cache = broken.keyspaces.get_mut("cache").expect("it was made");
        match which {
            0 => cache.name = "cash".into(),
            1 => cache.incarnation = Incarnation(1),
            2 => cache.incarnation = map.next_incarnation,
            3 => cache.database = Some(3),
            4 => cache.epoch.index += 100,
            5 => drop(cache.partitions.pop()),
            6 => cache.partitions[7].replicas.clear(),
            7 => cache.partitions[7].replicas.push(n1),
            8 => cache.partitions[7].replicas = vec![Member { node: NodeId(2), ..n1 }],
            9 => cache.options.replication = Replication::Count(0),
            10 => drop(broken.keyspaces.remove(DEFAULT_KEYSPACE)),
            11 => cache.salt = 0,
            12 => cache.salt = u64::from(cache.incarnation.0) + 1,
            13 => cache.partitions[7].replicas[0].incarnation.0 = 0,
            14 => cache.partitions[7].replicas[0].incarnation.0 = map.version.index + 1,
            15 => cache.partitions[7].next = vec![n1],
            16 => cache.partitions[7].next = vec![Member { node: NodeId(2), ..n1 }],
            17 => cache.partitions[7].next = vec![later, later],
            18 => cache.partitions[7].outgoing = vec![NodeId(1)],
            19 => cache.partitions[7].outgoing = vec![NodeId(2)],
            20 => broken.seats.clear(),
            21 => broken.seats.push(NodeId(1)),
            22 => broken.nodes.get_mut(&NodeId(1)).expect("it is there").state = NodeState::Gone,
            23 => broken.nodes.get_mut(&NodeId(1)).expect("it is there").weight = MAX_WEIGHT + 1,
            24 => drop(broken.nodes.insert(NodeId(1), NodeInfo { name: "".into(), ..info })),
            25 => {
                broken.nodes.insert(NodeId(2), info);
                broken.next_node = NodeId(3);
                broken.seats.push(NodeId(2));
            }
            _ => broken.next_node = NodeId(1),
        }
        prop_assert!(broken.check().is_err(), "damage {which}");
    }
}

fn incarnations(map: &ClusterMap) -> BTreeSet<Incarnation> {
    map.keyspaces.values().map(|keyspace| keyspace.incarnation).collect()
}

/// Epochs never go back, and one that stands still means that owners and life do too.
fn check_epochs(before: &ClusterMap, after: &ClusterMap) -> Result<(), TestCaseError> {
    for (name, new) in &after.keyspaces {
        let Some(old) = before.keyspaces.get(name) else { continue };
        prop_assert!(new.epoch >= old.epoch);
        prop_assert!(new.epoch > old.epoch || new == old);
        for (new_part, old_part) in new.partitions.iter().zip(&old.partitions) {
            prop_assert!(new_part.epoch >= old_part.epoch);
            let same_life = new.incarnation == old.incarnation;
            let same_owners = new_part.owners() == old_part.owners();
            prop_assert!(new_part.epoch > old_part.epoch || (same_life && same_owners));
        }
    }
    Ok(())
}

#[test]
fn a_cluster_begins_with_one_node_that_holds_all_of_default() {
    let map = founded();
    assert_eq!(map.version, MapVersion { generation: 0, index: 1 });
    assert_eq!(map.nodes.keys().copied().collect::<Vec<_>>(), [NodeId(1)]);
    let default = map.database(0).expect("it is there");
    assert_eq!((default.name.as_str(), default.engine), ("default", EngineKind::Disk));
    assert_eq!(default.partitions.len(), 256);
    let first = Member { node: NodeId(1), incarnation: ReplicaIncarnation(1) };
    assert!(default.partitions.iter().all(|part| part.replicas == [first]));
    let (id, _) = default.partition_of(Slot::of(b"foo"));
    assert_eq!(id.0, 12_182 / 64);
    assert_eq!(code(&map, &found(EngineKind::Disk)), "already_founded");
    let unfounded = ClusterMap::default();
    assert_eq!(unfounded.check(), Ok(()));
    assert_eq!(code(&unfounded, &Command::CreateDatabase { number: 1 }), "not_founded");
}

#[test]
fn names_are_refused_for_what_they_could_be_mistaken_for() {
    let map = founded();
    let long = "x".repeat(MAX_NAME + 1);
    for name in
        ["", "-a", "_a", "A", "ä", "a b", "a.b", "7", "0123", "db0", "db16", "db01", "db99", &long]
    {
        assert_eq!(code(&map, &create(name, None)), "invalid_name", "{name}");
    }
    for name in ["a", "a-", "7a", "db", "dbx", "db-1", &long[1..]] {
        assert!(map.apply(&create(name, None)).is_ok(), "{name}");
    }
    assert_eq!(code(&map, &create("default", None)), "keyspace_exists");
}

#[test]
fn numbers_belong_to_one_keyspace_each() {
    let map =
        run(&founded(), &[create("cache", Some(16)), create("db3", None), create("db4", Some(4))]);
    let names: Vec<_> = [0, 3, 4, 16].map(|n| map.database(n).map(|ks| ks.name.as_str())).into();
    assert_eq!(names, [Some("default"), Some("db3"), Some("db4"), Some("cache")]);
    assert_eq!(map.database(5), None);
    assert_eq!(code(&map, &create("other", Some(16))), "database_taken");
    for (name, number) in [("other", 3), ("other", 15), ("other", 1_024), ("db5", 6), ("db6", 20)] {
        assert_eq!(code(&map, &create(name, Some(number))), "invalid_database", "{name} {number}");
    }
    let bind = |name: &str, number| Command::AlterKeyspace {
        name: name.into(),
        changes: Changes { database: Some(number), ..Changes::default() },
    };
    let moved = run(&map, &[bind("cache", Some(1_023)), create("other", Some(16))]);
    assert_eq!(moved.database(1_023).map(|ks| ks.name.as_str()), Some("cache"));
    assert_eq!(run(&map, &[bind("cache", None)]).database(16), None);
    assert_eq!(run(&map, &[bind("db3", None)]).database(3).map(|ks| ks.name.as_str()), Some("db3"));
    assert_eq!(code(&map, &bind("default", Some(16))), "invalid_database");
}

#[test]
fn databases_are_made_after_the_model_of_default() {
    let alter = Command::AlterKeyspace {
        name: "default".into(),
        changes: Changes { durability: Some(Durability::Interval(5)), ..Changes::default() },
    };
    let map = run(&founded(), &[alter, Command::CreateDatabase { number: 15 }]);
    let made = map.keyspace("db15").expect("it was made");
    assert_eq!(made.spec(), map.keyspaces["default"].spec());
    assert_eq!(made.database, Some(15));
    assert_eq!(code(&map, &Command::CreateDatabase { number: 15 }), "keyspace_exists");
    assert_eq!(code(&map, &Command::CreateDatabase { number: 16 }), "unknown_database");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let with = |engine, changes: Changes| {
        let usual = KeyspaceSpec::new(engine);
        let spec = KeyspaceSpec { options: changes.applied_to(&usual.options), ..usual };
        founded().apply(&Command::CreateKeyspace { name: "k".into(), spec, database: None })
    };
    let none = Changes::default();
    let refused = |engine, changes| match with(engine, changes) {
        Err(MapError::InvalidOption { option, .. }) => option,
        other => panic!("{changes:?}: {other:?}"),
    };
    let (memory, disk) = (EngineKind::Memory, EngineKind::Disk);
    let lru = Changes { eviction: Some(Eviction::Lru), ..none };
    let bounded = Changes { max_memory: Some(Some(1)), ..none };
    let os = Changes { durability: Some(Durability::Os), ..none };
    assert_eq!(refused(memory, os), "sync");
    assert_eq!(
        refused(disk, Changes { durability: Some(Durability::Interval(0)), ..none }),
        "sync"
    );
    assert_eq!(refused(disk, bounded), "max_memory");
    assert_eq!(refused(memory, Changes { max_memory: Some(Some(0)), ..none }), "max_memory");
    assert_eq!(refused(memory, lru), "eviction");
    assert_eq!(
        refused(disk, Changes { replication: Some(Replication::Count(8)), ..none }),
        "replication"
    );
    assert_eq!(refused(disk, Changes { event_horizon_ms: Some(0), ..none }), "event_horizon_ms");
    assert!(with(disk, os).is_ok());
    assert!(with(memory, Changes { max_memory: Some(Some(1)), ..lru }).is_ok());
}

#[test]
fn event_times_and_eviction_exclude_each_other() {
    let map = run(&founded(), &[create("cache", None)]);
    let accept = Command::AcceptEventTime { name: "cache".into() };
    let evict = Command::AlterKeyspace {
        name: "cache".into(),
        changes: Changes {
            max_memory: Some(Some(1 << 20)),
            eviction: Some(Eviction::Lru),
            ..Changes::default()
        },
    };
    let accepting = run(&map, &[accept.clone(), accept.clone()]);
    assert!(accepting.keyspaces["cache"].accepts_event_time);
    assert_eq!(code(&accepting, &evict), "event_time_and_eviction");
    let evicting = run(&map, std::slice::from_ref(&evict));
    assert_eq!(code(&evicting, &accept), "event_time_and_eviction");
    // A flush begins a new life, in which no event was taken yet.
    let flushed = run(&accepting, &[Command::FlushKeyspaces { names: names(&["cache"]) }, evict]);
    assert!(!flushed.keyspaces["cache"].accepts_event_time);
}

#[test]
fn flushing_gives_new_lives_to_all_named_or_to_none() {
    let map = run(&founded(), &[create("cache", None), create("other", None)]);
    let flush = |list: &[&str]| Command::FlushKeyspaces { names: names(list) };
    assert_eq!(code(&map, &flush(&["cache", "nowhere"])), "unknown_keyspace");
    let next = run(&map, &[flush(&["cache", "default"])]);
    for name in ["cache", "default"] {
        let (old, new) = (&map.keyspaces[name], &next.keyspaces[name]);
        assert!(new.incarnation >= map.next_incarnation);
        assert!(map.keyspace_of(old.incarnation).is_some() && next.is_dead(old.incarnation));
        assert!(new.partitions.iter().all(|part| part.epoch == next.version));
        assert_eq!(new.options, old.options);
    }
    assert_eq!(next.keyspaces["other"], map.keyspaces["other"]);
}

#[test]
fn dropped_keyspaces_are_gone_and_default_stays() {
    let map = run(&founded(), &[create("cache", Some(20))]);
    let life = map.keyspaces["cache"].incarnation;
    let dropped = run(&map, &[Command::DropKeyspace { name: "cache".into() }]);
    assert!(dropped.is_dead(life) && dropped.database(20).is_none());
    let again = run(&dropped, &[create("cache", Some(20))]);
    assert!(again.keyspaces["cache"].incarnation > life && again.is_dead(life));
    assert_eq!(code(&map, &Command::DropKeyspace { name: "default".into() }), "default_stays");
    assert_eq!(code(&map, &Command::DropKeyspace { name: "x".into() }), "unknown_keyspace");
}

#[test]
fn swapped_databases_trade_contents_and_keep_names_and_numbers() {
    let map = run(&founded(), &[create("cache", Some(20))]);
    let next = run(&map, &[Command::SwapDatabases { a: 0, b: 20 }]);
    for (name, from, number) in [("default", "cache", 0), ("cache", "default", 20)] {
        let (new, old) = (&next.keyspaces[name], &map.keyspaces[from]);
        assert_eq!((new.name.as_str(), new.database), (name, Some(number)));
        assert_eq!((new.incarnation, new.spec()), (old.incarnation, old.spec()));
        assert!(new.partitions.iter().all(|part| part.epoch == next.version));
    }
    let made = run(&map, &[Command::SwapDatabases { a: 7, b: 0 }]);
    assert_eq!(made.keyspaces["db7"].incarnation, map.keyspaces["default"].incarnation);
    assert_eq!(made.keyspaces["default"].incarnation, map.next_incarnation);
    let same = run(&map, &[Command::SwapDatabases { a: 0, b: 0 }]);
    assert_eq!(same.keyspaces, map.keyspaces);
    assert_eq!(code(&map, &Command::SwapDatabases { a: 0, b: 21 }), "unknown_database");
}

#[test]
fn only_the_copy_of_a_directory_that_started_last_may_start() {
    let start = |presented, next| start_node(NodeId(1), presented, next);
    let map = run(&founded(), &[start(11, 12)]);
    assert_eq!(map.nodes[&NodeId(1)].token, 12);
    // Cut short between the map and the directory: the same start once more.
    assert_eq!(run(&map, &[start(11, 12)]).nodes[&NodeId(1)].token, 12);
    // A second copy of the directory, from before.
    assert_eq!(code(&map, &start(11, 13)), "stale_directory");
    assert_eq!(code(&map, &start(12, 0)), "zero_id");
    assert_eq!(code(&map, &start_node(NodeId(2), 12, 13)), "unknown_node");
}

#[test]
fn the_size_of_a_map_is_bounded() {
    let spec = |count| KeyspaceSpec {
        partitioning: Partitioning::new(count).expect("a power of two"),
        ..KeyspaceSpec::new(EngineKind::Memory)
    };
    let create =
        |name: String, count| Command::CreateKeyspace { name, spec: spec(count), database: None };
    let mut map = founded();
    for number in 1..16 {
        map = run(&map, &[create(format!("big{number}"), 16_384)]);
    }
    assert_eq!(code(&map, &create("last".into(), 16_384)), "too_many");
    let mut map = founded();
    // Built by hand: a thousand commands, each on a copy, would only be slow.
    let model = run(&map, &[create("k0".into(), 1)]).keyspaces["k0"].clone();
    for number in 1..MAX_KEYSPACES {
        let (name, incarnation) = (format!("k{number}"), map.next_incarnation);
        map.next_incarnation.0 += 1;
        map.version.index += 1;
        map.keyspaces.insert(name.clone(), Keyspace { name, incarnation, ..model.clone() });
    }
    assert_eq!(map.check(), Ok(()));
    assert_eq!(code(&map, &create("last".into(), 1)), "too_many");
    map.next_incarnation = Incarnation(MAX_INCARNATION);
    let flush = Command::FlushKeyspaces { names: names(&["default"]) };
    assert_eq!(code(&map, &flush), "exhausted");
}
