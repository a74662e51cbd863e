//! Bytes of earlier and present format versions, kept for ever: what was once written must stay
//! readable.
//!
//! The files under `fixtures/v2` are written by `write_the_fixtures_of_version_2`, and only when
//! asked for: `SHOAL_WRITE_FIXTURES=1 cargo test -p shoal-core --test fixtures -- --ignored`.
//! They change only together with the format's version; then version 2's files stay. Those under
//! `fixtures/v1` were written by releases in which a cluster had one node. Records have the format
//! of version 1 still.

use shoal_core::codec::record::{Form, decode, head};
use shoal_core::codec::{self, CodecError};
use shoal_core::map::{
    Addresses, Changes, Command, Durability, EngineKind, Eviction, Intent, KeyspaceSpec, Place,
    Profile,
};
use shoal_core::placement::{Replication, Strategy};
use shoal_core::quorum::Level;
use shoal_core::slot::Partitioning;
use shoal_core::{
    Body, ClusterId, ClusterMap, Incarnation, MapVersion, NodeId, PartitionId, Record,
    ReplicaIncarnation, Version,
};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::PathBuf;

const KEY: &[u8] = b"user:{42}:name";

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect(name)
}

fn version(wall_ms: u64, counter: u16, node: u32) -> Version {
    Version { wall_ms, counter, node: NodeId(node) }
}

/// One record per shape of the head.
fn records() -> Vec<(&'static str, Form, Record<'static>)> {
    let stamp = version(1_767_225_600_000, 4, 1);
    let plain = Record::live(stamp, None, b"Ada");
    let expiring = Record::live(version(1_767_225_600_001, 7, 300), Some(1_767_229_200_000), b"");
    let event = Record {
        version: version(1_700_000_000_000, 0, u32::MAX),
        written: stamp,
        expires_at: Some(1),
        body: Body::Live { kind: 3, bytes: b"\0\xFF" },
    };
    vec![
        ("v1/record-plain.bin", Form::Plain, plain),
        ("v1/record-sealed.bin", Form::Sealed, plain),
        ("v1/record-expiring.bin", Form::Sealed, expiring),
        ("v1/record-event.bin", Form::Sealed, event),
        ("v1/record-tombstone.bin", Form::Sealed, Record::tombstone(stamp)),
    ]
}

fn stored(form: Form, record: &Record<'_>) -> Vec<u8> {
    let value = if let Body::Live { bytes, .. } = record.body { bytes } else { &[] };
    [head(form, KEY, record).as_bytes(), value].concat()
}

fn named(name: &str) -> String {
    name.to_owned()
}

fn cache() -> KeyspaceSpec {
    let mut cache = KeyspaceSpec {
        partitioning: Partitioning::new(8).expect("a power of two"),
        ..KeyspaceSpec::new(EngineKind::Memory)
    };
    cache.options.default_ttl_ms = NonZeroU64::new(60_000);
    cache.options.max_memory = Some(1 << 30);
    cache.options.eviction = Eviction::Lru;
    cache
}

/// Those of version 1: of each kind that there was, in an order in which all are taken.
fn commands_1() -> Vec<Command> {
    let disk = KeyspaceSpec::new(EngineKind::Disk);
    let changes = Changes {
        default_ttl_ms: Some(None),
        durability: Some(Durability::Interval(100)),
        max_memory: Some(None),
        eviction: Some(Eviction::None),
        replication: Some(Replication::Count(2)),
        event_horizon_ms: Some(86_400_000),
        ..Changes::default()
    };
    let presented = 0x1122_3344_5566_7788;
    vec![
        Command::Found {
            cluster: ClusterId(0x0123_4567_89AB_CDEF_0123_4567_89AB_CDEF),
            node_name: named("Node-1.example"),
            token: presented,
            hash_seed: 0x99AA_BBCC_DDEE_FF00,
            default: disk,
            profile: Profile::default(),
        },
        Command::StartNode { node: NodeId(1), presented, next: 2, profile: None },
        Command::CreateKeyspace { name: named("cache"), spec: cache(), database: Some(16) },
        Command::CreateKeyspace { name: named("scratch"), spec: disk, database: None },
        Command::CreateDatabase { number: 3 },
        Command::AlterKeyspace { name: named("default"), changes },
        Command::DropKeyspace { name: named("scratch") },
        Command::FlushKeyspaces { names: BTreeSet::from([named("cache"), named("db3")]) },
        Command::SwapDatabases { a: 3, b: 16 },
        Command::AcceptEventTime { name: named("default") },
    ]
}

fn profile(number: u32) -> Profile {
    let address = |port| Some(format!("n{number}.example:{port}"));
    Profile {
        zone: Some(format!("zone-{number}")),
        weight: 200,
        tags: BTreeMap::from([(named("disk"), named("fast")), (named("os"), named(""))]),
        addresses: Addresses {
            peer: address(7_401),
            client: address(7_400),
            cluster_client: address(7_402),
        },
    }
}

/// A partition of the first keyspace.
fn place(partition: u16, index: u64) -> Place {
    let epoch = MapVersion { generation: 0, index };
    Place { keyspace: Incarnation(1), partition: PartitionId(partition), epoch }
}

fn intent(partition: u16, index: u64, next: &[u32], renewed: &[u32]) -> Intent {
    let Place { keyspace, partition, epoch } = place(partition, index);
    let ids = |numbers: &[u32]| numbers.iter().copied().map(NodeId).collect();
    Intent { keyspace, partition, epoch, next: ids(next), renewed: ids(renewed) }
}

/// Those of version 2: at least one of each kind, in an order in which all are taken.
fn commands_2() -> Vec<Command> {
    let mut disk = KeyspaceSpec::new(EngineKind::Disk);
    disk.partitioning = Partitioning::new(4).expect("a power of two");
    let mut cache = cache();
    cache.options.replication = Replication::All;
    cache.options.strategy = Strategy::Jump;
    cache.options.read_level = Level::One;
    cache.options.write_level = Level::All;
    cache.options.spread_zones = false;
    let mut ring = disk;
    ring.options.strategy = Strategy::Ring;
    let changes = Changes {
        default_ttl_ms: Some(None),
        durability: Some(Durability::Interval(100)),
        max_memory: Some(None),
        eviction: Some(Eviction::None),
        replication: Some(Replication::Count(2)),
        read_level: Some(Level::All),
        write_level: Some(Level::One),
        spread_zones: Some(false),
        event_horizon_ms: Some(86_400_000),
        database: None,
    };
    let join = |number: u32, name: &str, replaces: Option<u32>| Command::Join {
        name: named(name),
        token: number.into(),
        profile: profile(number),
        replaces: replaces.map(NodeId),
    };
    let start = |number: u32, profile| {
        let presented = number.into();
        Command::StartNode { node: NodeId(number), presented, next: presented + 10, profile }
    };
    vec![
        Command::Found {
            cluster: ClusterId(0x0123_4567_89AB_CDEF_0123_4567_89AB_CDEF),
            node_name: named("Node-1.example"),
            token: 1,
            hash_seed: 0x99AA_BBCC_DDEE_FF00,
            default: disk,
            profile: profile(1),
        },
        start(1, None),
        join(2, "two", None),
        start(2, Some(Profile { weight: 0, ..profile(2) })),
        join(3, "three", None),
        start(3, None),
        Command::Intend {
            intents: vec![intent(0, 1, &[1, 2, 3], &[]), intent(1, 1, &[2, 3], &[])],
        },
        Command::CutOver { partitions: vec![place(1, 7)] },
        Command::Forgotten { node: NodeId(1), partitions: vec![place(1, 8)] },
        Command::Intend { intents: vec![intent(1, 8, &[2, 3], &[3]), intent(2, 1, &[3, 1], &[])] },
        Command::CreateKeyspace { name: named("cache"), spec: cache, database: Some(16) },
        Command::CreateKeyspace { name: named("scratch"), spec: ring, database: None },
        Command::CreateDatabase { number: 3 },
        Command::AlterKeyspace { name: named("default"), changes },
        Command::DropKeyspace { name: named("scratch") },
        Command::FlushKeyspaces { names: BTreeSet::from([named("cache"), named("db3")]) },
        Command::SwapDatabases { a: 3, b: 16 },
        Command::AcceptEventTime { name: named("default") },
        join(4, "three", Some(3)),
        Command::Reseat { place: place(1, 19), members: vec![NodeId(2)] },
        join(5, "five", None),
        Command::Forget { node: NodeId(5) },
        Command::RemoveNode { node: NodeId(5) },
        start(4, None),
        Command::Intend { intents: vec![intent(0, 19, &[1, 4], &[]), intent(3, 1, &[1, 4], &[1])] },
        Command::Intend { intents: vec![intent(0, 25, &[4], &[])] },
    ]
}

fn led_to(commands: &[Command]) -> ClusterMap {
    commands.iter().fold(ClusterMap::default(), |map, command| {
        map.apply(command).expect("each of these is taken")
    })
}

/// The map of version 1 as it is read now. What it did not say is what it was or, where there was
/// no such thing, the usual: its one node is a member, a replica is as old as the last change of
/// its partition.
fn map_1() -> ClusterMap {
    let mut map = led_to(&commands_1());
    for keyspace in map.keyspaces.values_mut() {
        keyspace.salt = keyspace.incarnation.0.into();
        for partition in &mut keyspace.partitions {
            partition.replicas[0].incarnation = ReplicaIncarnation(partition.epoch.index);
        }
    }
    map
}

fn map_2() -> ClusterMap {
    led_to(&commands_2())
}

/// A frame as a well-meaning but wrong writer would seal it.
fn sealed(magic: [u8; 4], format: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = [&magic[..], &[format], &length, payload].concat();
    bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

/// Files that must be refused, each with the reason.
const CORRUPT_1: [(&str, CodecError); 7] = [
    ("v1/corrupt-map-cut.bin", CodecError::Truncated),
    ("v1/corrupt-map-flipped.bin", CodecError::Checksum),
    ("v1/corrupt-map-longer.bin", CodecError::Invalid("bytes follow the end")),
    ("v1/corrupt-map-newer.bin", CodecError::UnknownVersion(9)),
    ("v1/corrupt-map-command.bin", CodecError::Invalid("these bytes are something else")),
    ("v1/corrupt-map-count.bin", CodecError::Truncated),
    ("v1/corrupt-map-contradiction.bin", CodecError::Invalid("the map contradicts itself")),
];

/// Files that must be refused, each with the reason.
fn corrupt_2() -> Vec<(&'static str, Vec<u8>, CodecError)> {
    let good = codec::map::encode(&map_2());
    let payload = &good[9..good.len() - 4];
    let mut flipped = good.clone();
    flipped[300] ^= 0x10;
    let mut counts = payload[..44].to_vec();
    counts.extend([0xFF; 4]);
    let mut contradiction = map_2();
    contradiction.seats.reverse();
    contradiction.seats.pop();
    vec![
        ("v2/corrupt-map-cut.bin", good[..good.len() - 5].to_vec(), CodecError::Truncated),
        ("v2/corrupt-map-flipped.bin", flipped, CodecError::Checksum),
        ("v2/corrupt-map-count.bin", sealed(*b"SHMP", 2, &counts), CodecError::Truncated),
        ("v2/corrupt-map-older.bin", sealed(*b"SHMP", 1, payload), CodecError::Truncated),
        (
            "v2/corrupt-map-contradiction.bin",
            codec::map::encode(&contradiction),
            CodecError::Invalid("the map contradicts itself"),
        ),
    ]
}

/// Records that must be refused, each with the reason.
fn corrupt_records() -> Vec<(&'static str, Vec<u8>, CodecError)> {
    let good = stored(Form::Sealed, &records()[1].2);
    let mut flipped = good.clone();
    *flipped.last_mut().expect("it has a value") ^= 1;
    let mut newer = good.clone();
    newer[0] = 9;
    let other = head(Form::Sealed, b"another key", &records()[4].2).as_bytes().to_vec();
    vec![
        ("v1/corrupt-record-cut.bin", good[..8].to_vec(), CodecError::Checksum),
        ("v1/corrupt-record-flipped.bin", flipped, CodecError::Checksum),
        ("v1/corrupt-record-newer.bin", newer, CodecError::UnknownVersion(9)),
        ("v1/corrupt-record-other-key.bin", other, CodecError::Checksum),
    ]
}

fn command_file(version: u8, index: usize) -> String {
    format!("v{version}/command-{:02}.bin", index + 1)
}

#[test]
fn records_of_version_1_are_read_and_still_written_the_same() {
    for (name, form, record) in records() {
        let bytes = read(name);
        assert_eq!(decode(KEY, &bytes), Ok(record), "{name}");
        assert_eq!(stored(form, &record), bytes, "{name}");
    }
}

#[test]
fn commands_of_version_1_are_read() {
    for (index, command) in commands_1().into_iter().enumerate() {
        assert_eq!(codec::command::decode(&read(&command_file(1, index))), Ok(command));
    }
}

#[test]
fn a_map_of_version_1_is_read_as_that_of_a_cluster_of_one() {
    assert_eq!(codec::map::decode(&read("v1/map.bin")), Ok(map_1()));
}

#[test]
fn commands_of_version_2_are_read_and_still_written_the_same() {
    for (index, command) in commands_2().into_iter().enumerate() {
        let bytes = read(&command_file(2, index));
        assert_eq!(codec::command::encode(&command), bytes, "{command:?}");
        assert_eq!(codec::command::decode(&bytes), Ok(command));
    }
}

#[test]
fn a_map_of_version_2_is_read_and_still_written_the_same() {
    let bytes = read("v2/map.bin");
    assert_eq!(codec::map::decode(&bytes), Ok(map_2()));
    assert_eq!(codec::map::encode(&map_2()), bytes);
}

#[test]
fn the_commands_of_version_2_still_lead_to_the_map_of_version_2() {
    let mut map = ClusterMap::default();
    for index in 0..commands_2().len() {
        let command = codec::command::decode(&read(&command_file(2, index))).expect("it is sound");
        map = map.apply(&command).expect("it was taken once");
    }
    assert_eq!(Ok(map), codec::map::decode(&read("v2/map.bin")));
}

/// Else the files would say little.
#[test]
fn the_map_of_version_2_has_nodes_and_partitions_in_every_state() {
    let map = map_2();
    let states: BTreeSet<_> = map.nodes.values().map(|info| info.state).collect();
    assert_eq!(states.len(), 2, "members and gone ones; whoever joins has started");
    let partitions = &map.keyspaces["default"].partitions;
    assert!(partitions.iter().any(|held| held.is_moving() && !held.outgoing.is_empty()));
    assert!(partitions.iter().any(|held| !held.is_moving() && held.outgoing.is_empty()));
}

#[test]
fn corrupt_files_are_refused_by_name() {
    let maps_2 = corrupt_2();
    let maps_2 = maps_2.iter().map(|(name, _, error)| (*name, *error));
    for (name, error) in CORRUPT_1.into_iter().chain(maps_2) {
        assert_eq!(codec::map::decode(&read(name)), Err(error), "{name}");
    }
    for (name, _, error) in corrupt_records() {
        assert_eq!(decode(KEY, &read(name)), Err(error), "{name}");
    }
}

#[test]
#[ignore = "writes into the tree"]
fn write_the_fixtures_of_version_2() {
    if std::env::var_os("SHOAL_WRITE_FIXTURES").is_none() {
        return;
    }
    std::fs::create_dir_all(path("v2")).expect("the tree is writable");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(path(name), bytes).expect(name);
    };
    for (index, command) in commands_2().iter().enumerate() {
        write(&command_file(2, index), &codec::command::encode(command));
    }
    write("v2/map.bin", &codec::map::encode(&map_2()));
    for (name, bytes, _) in corrupt_2() {
        write(name, &bytes);
    }
}
