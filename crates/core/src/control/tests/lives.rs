//! Whole lives of toy clusters: they grow, lose, forget and replace, and come to rest.

use super::world::{CALM, Dice, Weather, World, limits, places};
use crate::control::Health;
use crate::ids::{ClusterId, NodeId};
use crate::map::{
    Changes, ClusterMap, Command, DEFAULT_KEYSPACE, EngineKind, KeyspaceSpec, NodeState, Profile,
};
use crate::placement::{Replication, Strategy};
use crate::slot::Partitioning;
use std::collections::{BTreeMap, BTreeSet};

const STORMY_TURNS: u64 = 300;
const CALM_TURNS: u64 = 1_000;

fn spec(engine: EngineKind, partitions: u16, replication: Replication) -> KeyspaceSpec {
    let partitioning = Partitioning::new(partitions).expect("a power of two");
    let mut spec = KeyspaceSpec { partitioning, ..KeyspaceSpec::new(engine) };
    spec.options.replication = replication;
    spec
}

fn founded(dice: &mut Dice) -> ClusterMap {
    let replications = [1, 2, 3, 3, 3, 5].map(Replication::Count);
    let strategies = [Strategy::Rendezvous, Strategy::Jump, Strategy::Ring];
    let found = Command::Found {
        cluster: ClusterId(1),
        node_name: "m1".into(),
        token: 1,
        hash_seed: dice.below(1 << 40),
        default: spec(EngineKind::Disk, 4, Replication::Count(3)),
        profile: Profile::default(),
    };
    let mut map = ClusterMap::default().apply(&found).expect("it is the first");
    for (name, engine) in [("some", EngineKind::Memory), ("more", EngineKind::Disk)] {
        let all = dice.permille(150).then_some(Replication::All);
        let replication = all.or(dice.one_of(&replications)).expect("there are some");
        let mut spec = spec(engine, 4, replication);
        spec.options.strategy = dice.one_of(&strategies).expect("there are some");
        let create = Command::CreateKeyspace { name: name.into(), spec, database: None };
        map = map.apply(&create).expect("there is none yet");
    }
    map
}

fn weather(dice: &mut Dice) -> Weather {
    Weather {
        crash: dice.below(30),
        restart: 10 + dice.below(200),
        lossy_disks: dice.permille(300),
        drop_report: dice.below(950),
        delay_turns: 1 + dice.below(15),
        leader_change: dice.below(60),
        stale_view: dice.below(900),
        slow_node: dice.below(900),
    }
}

/// What people and machines do in a turn of a storm.
fn storm(world: &mut World, weather: Weather, most: usize, doomed: &mut BTreeSet<NodeId>) {
    let zone = |dice: &mut Dice| dice.one_of(&[None, Some("a"), Some("b"), Some("c")]);
    if world.map().nodes.len() < most && world.dice.permille(60) {
        let zone = zone(&mut world.dice).flatten().map(str::to_owned);
        let name = format!("m{}", world.map().next_node.0);
        world.join(name, zone, None);
    }
    let ids: Vec<NodeId> = world.nodes.keys().copied().collect();
    for id in ids {
        let state = world.map().nodes.get(&id).map(|info| info.state);
        if world.nodes[&id].up {
            if world.dice.permille(weather.crash) {
                let loses_disk = weather.lossy_disks && world.dice.permille(200);
                world.crash(id, loses_disk);
                if world.dice.permille(100) {
                    doomed.insert(id);
                }
            }
        } else if doomed.contains(&id) {
            bury(world, id);
        } else if state == Some(NodeState::Member) && world.dice.permille(weather.restart) {
            world.start(id);
        }
    }
    if world.dice.permille(5) {
        let replication = world.dice.one_of(&[4, 5, 6, 7]).map(Replication::Count);
        let changes = Changes { replication, ..Changes::default() };
        world.ask(&Command::AlterKeyspace { name: "more".into(), changes });
    }
}

/// Forgets a node that will not come back, or puts another in its place.
fn bury(world: &mut World, id: NodeId) {
    let Some(info) = world.map().nodes.get(&id).filter(|info| !info.is_gone()).cloned() else {
        return;
    };
    if world.dice.permille(20) {
        world.ask(&Command::Forget { node: id });
    } else if world.dice.permille(20) {
        world.join(info.name, info.zone, Some(id));
    }
}

/// Lets everybody come back who may, and the operator do what is left to do.
fn calm_down(world: &mut World, seed: u64) {
    for turn in 0..CALM_TURNS {
        for id in world.in_state(NodeState::Member) {
            if !world.nodes[&id].up {
                world.start(id);
            }
        }
        world.turn(CALM);
        let status = world.control.status(world.map(), &world.view);
        if turn > 50 && status.total.awaiting_acceptance > 0 {
            world.accept_loss();
        }
        if status.health == Health::Whole && status.total.leaving == 0 {
            return;
        }
    }
    let status = world.control.status(world.map(), &world.view);
    let stuck: Vec<_> = places(world.map())
        .filter(|(_, held)| held.is_moving() || held.replicas.len() < 3)
        .collect();
    panic!("seed {seed} does not come to rest: {status:?} {stuck:?}");
}

/// Lives one life; says what the map was like in the end, and which commands were applied.
fn live(seed: u64) -> (ClusterMap, BTreeMap<&'static str, u32>) {
    let mut dice = Dice(seed);
    let map = founded(&mut dice);
    let weather = weather(&mut dice);
    let most = dice.one_of(&[3, 4, 5, 6, 7]).expect("there are some");
    let mut world = World::new(dice.below(u64::MAX), map);
    let mut doomed = BTreeSet::new();
    for _ in 0..STORMY_TURNS {
        storm(&mut world, weather, most, &mut doomed);
        world.turn(weather);
    }
    calm_down(&mut world, seed);
    check_rest(&world);
    (world.map().clone(), world.applied)
}

/// A cluster at rest is what it is to be.
fn check_rest(world: &World) {
    let map = world.map();
    assert!(map.nodes.values().all(|info| info.state == NodeState::Member), "{:?}", map.nodes);
    let status = world.control.status(map, &world.view);
    assert!(status.is_fully_replicated());
    assert_eq!(status.total.partitions, places(map).count());
    for keyspace in map.keyspaces.values() {
        let target = match keyspace.options.replication {
            Replication::Count(count) => usize::from(count),
            Replication::All => usize::MAX,
        };
        for partition in &keyspace.partitions {
            assert!(partition.replicas.len() >= target.min(map.nodes.len()), "{keyspace:?}");
            assert!(partition.next.is_empty() && partition.outgoing.is_empty());
        }
    }
    assert!(map.keyspace(DEFAULT_KEYSPACE).is_some());
}

#[test]
fn every_life_keeps_the_rules_and_comes_to_rest() {
    let mut applied = BTreeMap::new();
    for seed in 0..400 {
        for (name, times) in live(seed).1 {
            *applied.entry(name).or_insert(0) += times;
        }
    }
    // The lives were eventful.
    for name in ["cut over", "reseat", "forgotten", "remove", "renew", "intend"] {
        let times = applied.get(name).copied().unwrap_or(0);
        assert!(times >= 200, "{name}: {times}");
    }
    assert!(limits().moves < limits().partitions_per_command, "the bounds bind");
}

#[test]
fn a_life_is_the_same_when_lived_again() {
    assert_eq!(live(7), live(7));
}
