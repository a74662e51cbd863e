//! Bytes of format version 1, kept for ever: what was once written must stay readable.
//!
//! The files under `fixtures/v1` are written by `write_the_fixtures_of_version_1`, and only when
//! asked for: `SHOAL_WRITE_FIXTURES=1 cargo test -p shoal-core --test fixtures -- --ignored`.
//! They change only together with the format's version; then version 1's files stay.

use shoal_core::codec::record::{Form, decode, head};
use shoal_core::codec::{self, CodecError};
use shoal_core::map::{Changes, Command, Durability, EngineKind, Eviction, KeyspaceSpec};
use shoal_core::slot::Partitioning;
use shoal_core::{Body, ClusterId, ClusterMap, NodeId, Record, Version};
use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::PathBuf;

const KEY: &[u8] = b"user:{42}:name";

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1").join(name)
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
        ("record-plain.bin", Form::Plain, plain),
        ("record-sealed.bin", Form::Sealed, plain),
        ("record-expiring.bin", Form::Sealed, expiring),
        ("record-event.bin", Form::Sealed, event),
        ("record-tombstone.bin", Form::Sealed, Record::tombstone(stamp)),
    ]
}

fn stored(form: Form, record: &Record<'_>) -> Vec<u8> {
    let value = if let Body::Live { bytes, .. } = record.body { bytes } else { &[] };
    [head(form, KEY, record).as_bytes(), value].concat()
}

/// One command of each kind, in an order in which all are taken.
fn commands() -> Vec<Command> {
    let disk = KeyspaceSpec::new(EngineKind::Disk);
    let mut cache = KeyspaceSpec {
        partitioning: Partitioning::new(8).expect("a power of two"),
        ..KeyspaceSpec::new(EngineKind::Memory)
    };
    cache.options.default_ttl_ms = NonZeroU64::new(60_000);
    cache.options.max_memory = Some(1 << 30);
    cache.options.eviction = Eviction::Lru;
    let changes = Changes {
        default_ttl_ms: Some(None),
        durability: Some(Durability::Interval(100)),
        max_memory: Some(None),
        eviction: Some(Eviction::None),
        replication_target: Some(2),
        event_horizon_ms: Some(86_400_000),
        database: None,
    };
    let name = |name: &str| name.to_owned();
    vec![
        Command::Found {
            cluster: ClusterId(0x0123_4567_89AB_CDEF_0123_4567_89AB_CDEF),
            node_name: name("Node-1.example"),
            token: 0x1122_3344_5566_7788,
            hash_seed: 0x99AA_BBCC_DDEE_FF00,
            default: disk,
        },
        Command::StartNode { node: NodeId(1), presented: 0x1122_3344_5566_7788, next: 2 },
        Command::CreateKeyspace { name: name("cache"), spec: cache, database: Some(16) },
        Command::CreateKeyspace { name: name("scratch"), spec: disk, database: None },
        Command::CreateDatabase { number: 3 },
        Command::AlterKeyspace { name: name("default"), changes },
        Command::DropKeyspace { name: name("scratch") },
        Command::FlushKeyspaces { names: BTreeSet::from([name("cache"), name("db3")]) },
        Command::SwapDatabases { a: 3, b: 16 },
        Command::AcceptEventTime { name: name("default") },
    ]
}

fn map() -> ClusterMap {
    commands().iter().fold(ClusterMap::default(), |map, command| {
        map.apply(command).expect("each of these is taken")
    })
}

/// A frame as a well-meaning but wrong writer would seal it.
fn sealed(magic: [u8; 4], format: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = [&magic[..], &[format], &length, payload].concat();
    bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

/// Files that must be refused, each with the reason.
fn corrupt() -> Vec<(&'static str, Vec<u8>, CodecError)> {
    let good = codec::map::encode(&map());
    let payload = &good[9..good.len() - 4];
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let mut counts = payload[..44].to_vec();
    counts.extend([0xFF; 4]);
    let mut contradiction = map();
    contradiction.next_node = NodeId(1);
    vec![
        ("corrupt-map-cut.bin", good[..good.len() - 5].to_vec(), CodecError::Truncated),
        ("corrupt-map-flipped.bin", flipped(100), CodecError::Checksum),
        (
            "corrupt-map-longer.bin",
            [&good[..], b"\0"].concat(),
            CodecError::Invalid("bytes follow the end"),
        ),
        ("corrupt-map-newer.bin", sealed(*b"SHMP", 9, payload), CodecError::UnknownVersion(9)),
        (
            "corrupt-map-command.bin",
            codec::command::encode(&commands()[4]),
            CodecError::Invalid("these bytes are something else"),
        ),
        ("corrupt-map-count.bin", sealed(*b"SHMP", 1, &counts), CodecError::Truncated),
        (
            "corrupt-map-contradiction.bin",
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
        ("corrupt-record-cut.bin", good[..8].to_vec(), CodecError::Checksum),
        ("corrupt-record-flipped.bin", flipped, CodecError::Checksum),
        ("corrupt-record-newer.bin", newer, CodecError::UnknownVersion(9)),
        ("corrupt-record-other-key.bin", other, CodecError::Checksum),
    ]
}

fn command_file(index: usize) -> String {
    format!("command-{:02}.bin", index + 1)
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
fn commands_of_version_1_are_read_and_still_written_the_same() {
    for (index, command) in commands().into_iter().enumerate() {
        let bytes = read(&command_file(index));
        assert_eq!(codec::command::encode(&command), bytes, "{command:?}");
        assert_eq!(codec::command::decode(&bytes), Ok(command));
    }
}

#[test]
fn a_map_of_version_1_is_read_and_still_written_the_same() {
    let bytes = read("map.bin");
    assert_eq!(codec::map::decode(&bytes), Ok(map()));
    assert_eq!(codec::map::encode(&map()), bytes);
}

#[test]
fn the_commands_of_version_1_still_lead_to_the_map_of_version_1() {
    let mut map = ClusterMap::default();
    for index in 0..commands().len() {
        let command = codec::command::decode(&read(&command_file(index))).expect("it is sound");
        map = map.apply(&command).expect("it was taken once");
    }
    assert_eq!(Ok(map), codec::map::decode(&read("map.bin")));
}

#[test]
fn corrupt_files_are_refused_by_name() {
    for (name, _, error) in corrupt() {
        assert_eq!(codec::map::decode(&read(name)), Err(error), "{name}");
    }
    for (name, _, error) in corrupt_records() {
        assert_eq!(decode(KEY, &read(name)), Err(error), "{name}");
    }
}

#[test]
#[ignore = "writes into the tree"]
fn write_the_fixtures_of_version_1() {
    if std::env::var_os("SHOAL_WRITE_FIXTURES").is_none() {
        return;
    }
    std::fs::create_dir_all(path("")).expect("the tree is writable");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(path(name), bytes).expect(name);
    };
    for (name, form, record) in records() {
        write(name, &stored(form, &record));
    }
    for (index, command) in commands().iter().enumerate() {
        write(&command_file(index), &codec::command::encode(command));
    }
    write("map.bin", &codec::map::encode(&map()));
    for (name, bytes, _) in corrupt().into_iter().chain(corrupt_records()) {
        write(name, &bytes);
    }
}
