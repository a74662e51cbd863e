//! Commands at random, over few names and numbers so that they meet; half of them sound.

use super::*;
use crate::ids::{Epoch, PartitionId};
use crate::placement::Strategy as Placing;
use crate::quorum::Level;
use std::num::NonZeroU64;

/// A strategy for commands of every kind, whatever map they may meet.
pub(crate) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![2 => keyspace_command(), 1 => node_command(), 1 => move_command()]
}

/// Commands about keyspaces.
pub(super) fn keyspace_command() -> impl Strategy<Value = Command> {
    let name = || {
        prop::sample::select(vec![
            "default", "db1", "db3", "db16", "cache", "a-b_c", "7", "-x", "Big", "", "db",
        ])
        .prop_map(str::to_owned)
    };
    let number = || prop::sample::select(vec![0, 1, 3, 15, 16, 17, 1_023, 1_024]);
    prop_oneof![
        4 => (name(), spec(), prop::option::of(number())).prop_map(|(name, spec, database)| {
            Command::CreateKeyspace { name, spec, database }
        }),
        2 => number().prop_map(|number| Command::CreateDatabase { number }),
        4 => (name(), changes())
            .prop_map(|(name, changes)| Command::AlterKeyspace { name, changes }),
        2 => name().prop_map(|name| Command::DropKeyspace { name }),
        3 => prop::collection::btree_set(name(), 0..3)
            .prop_map(|names| Command::FlushKeyspaces { names }),
        3 => (number(), number()).prop_map(|(a, b)| Command::SwapDatabases { a, b }),
        3 => name().prop_map(|name| Command::AcceptEventTime { name }),
    ]
}

fn node_command() -> impl Strategy<Value = Command> {
    let token = || 0..4_u64;
    prop_oneof![
        (0..3_u128, spec(), profile()).prop_map(|(cluster, default, profile)| Command::Found {
            cluster: ClusterId(cluster),
            node_name: "one".into(),
            token: 1,
            hash_seed: 9,
            default,
            profile,
        }),
        (node_name(), token(), profile(), prop::option::of(node())).prop_map(
            |(name, token, profile, replaces)| Command::Join { name, token, profile, replaces }
        ),
        (node(), token(), token(), prop::option::of(profile())).prop_map(
            |(node, presented, next, profile)| Command::StartNode {
                node,
                presented,
                next,
                profile
            }
        ),
        node().prop_map(|node| Command::Forget { node }),
        node().prop_map(|node| Command::RemoveNode { node }),
    ]
}

fn move_command() -> impl Strategy<Value = Command> {
    let nodes = || prop::collection::vec(node(), 0..4);
    let places = || prop::collection::vec(place(), 0..3);
    let intent = (place(), nodes(), nodes()).prop_map(|(place, next, renewed)| {
        let Place { keyspace, partition, epoch } = place;
        Intent { keyspace, partition, epoch, next, renewed }
    });
    prop_oneof![
        prop::collection::vec(intent, 0..3).prop_map(|intents| Command::Intend { intents }),
        places().prop_map(|partitions| Command::CutOver { partitions }),
        (node(), places()).prop_map(|(node, partitions)| Command::Forgotten { node, partitions }),
        (place(), nodes()).prop_map(|(place, members)| Command::Reseat { place, members }),
    ]
}

pub(super) fn node_name() -> impl Strategy<Value = String> {
    let names = vec!["one", "two", "three", "four", "five", "six", "seven", "", "a b"];
    prop::sample::select(names).prop_map(str::to_owned)
}

fn node() -> impl Strategy<Value = NodeId> {
    (0..5_u32).prop_map(NodeId)
}

fn place() -> impl Strategy<Value = Place> {
    (0..4_u32, 0..4_u16, 0..2_u32, 0..9_u64).prop_map(|(life, partition, generation, index)| {
        Place {
            keyspace: Incarnation(life),
            partition: PartitionId(partition),
            epoch: Epoch { generation, index },
        }
    })
}

pub(super) fn profile() -> impl Strategy<Value = Profile> {
    let text = |texts: &[&'static str]| {
        prop::option::of(prop::sample::select(texts.to_vec()).prop_map(str::to_owned))
    };
    let address = || text(&["10.0.0.1:7401", "[::1]:1", "n1.example:65535", "n1", "n 1:2", ":7"]);
    let usual = (
        prop::sample::select(vec![0, 50, 100, MAX_WEIGHT]),
        text(&["a", "b", "c.1"]),
        prop::collection::btree_map("[a-c]", "[a-z]{0,2}", 0..3),
    );
    let any = (any::<u16>(), text(&["", "ä"]), prop::collection::btree_map(".", ".", 0..2));
    let described = prop_oneof![3 => usual.boxed(), 1 => any.boxed()];
    let addresses = (address(), address(), address())
        .prop_map(|(peer, client, cluster_client)| Addresses { peer, client, cluster_client });
    let addresses = prop_oneof![2 => Just(Addresses::default()), 1 => addresses];
    (described, addresses).prop_map(|((weight, zone, tags), addresses)| Profile {
        zone,
        weight,
        tags,
        addresses,
    })
}

fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![
        3 => Just(Durability::Always),
        1 => (0..3_u32).prop_map(Durability::Interval),
        1 => Just(Durability::Os),
    ]
}

fn max_memory() -> impl Strategy<Value = Option<u64>> {
    prop::option::weighted(0.3, 0..3_u64)
}

fn eviction() -> impl Strategy<Value = Eviction> {
    prop::sample::select(vec![Eviction::None, Eviction::None, Eviction::Lru])
}

fn replication() -> impl Strategy<Value = Replication> {
    prop_oneof![
        7 => (1..6_u8).prop_map(Replication::Count),
        2 => Just(Replication::All),
        1 => any::<u8>().prop_map(Replication::Count),
    ]
}

fn level() -> impl Strategy<Value = Level> {
    prop::sample::select(vec![Level::One, Level::Quorum, Level::All])
}

fn spec() -> impl Strategy<Value = KeyspaceSpec> {
    let engine = prop::sample::select(vec![EngineKind::Memory, EngineKind::Disk]);
    let strategy = prop::sample::select(vec![Placing::Rendezvous, Placing::Jump, Placing::Ring]);
    let horizon = prop_oneof![9 => 1..9_u64, 1 => any::<u64>()];
    (engine, 0..5_u32, strategy, horizon, changes()).prop_map(
        |(engine, power, strategy, horizon, changes)| {
            let usual = KeyspaceOptions {
                strategy,
                event_horizon_ms: horizon,
                ..KeyspaceOptions::default()
            };
            // An event horizon of 0, as changes may have it, would make most of them unsound.
            let changes = Changes { event_horizon_ms: None, ..changes };
            KeyspaceSpec {
                engine,
                partitioning: Partitioning::new(1 << power).expect("a power of two"),
                options: changes.applied_to(&usual),
            }
        },
    )
}

fn changes() -> impl Strategy<Value = Changes> {
    let ttl = (1..9_u64).prop_map(|ttl| NonZeroU64::new(ttl).expect("above 0"));
    let kept = (
        prop::option::of(prop::option::of(ttl)),
        prop::option::weighted(0.3, durability()),
        prop::option::weighted(0.3, max_memory()),
        prop::option::weighted(0.3, eviction()),
        prop::option::weighted(0.3, 0..9_u64),
        prop::option::weighted(0.3, prop::option::of(0..20_u16)),
    );
    let spread = (
        prop::option::of(replication()),
        prop::option::of(level()),
        prop::option::of(level()),
        prop::option::of(any::<bool>()),
    );
    (kept, spread).prop_map(|(kept, spread)| {
        let (default_ttl_ms, durability, max_memory, eviction, event_horizon_ms, database) = kept;
        let (replication, read_level, write_level, spread_zones) = spread;
        Changes {
            default_ttl_ms,
            durability,
            max_memory,
            eviction,
            replication,
            read_level,
            write_level,
            spread_zones,
            event_horizon_ms,
            database,
        }
    })
}
