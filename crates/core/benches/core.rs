//! What the pure core costs per key: slots, records, merges; and the map per change.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shoal_core::codec::record::{Form, decode, head};
use shoal_core::map::{Command, EngineKind, KeyspaceSpec, Profile};
use shoal_core::update::{Update, apply};
use shoal_core::{ClusterId, ClusterMap, NodeId, Record, Slot, Version, codec, float, glob, merge};
use std::hint::black_box;

const KEY: &[u8] = b"key:000000012345";
const NOW_MS: u64 = 1_767_225_600_000;

fn version(counter: u16) -> Version {
    Version { wall_ms: NOW_MS, counter, node: NodeId(1) }
}

fn slots(c: &mut Criterion) {
    c.bench_function("slot/of_16_bytes", |b| b.iter(|| Slot::of(black_box(KEY))));
}

fn records(c: &mut Criterion) {
    let value = vec![b'x'; 100];
    let record = Record::live(version(0), None, &value);
    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Elements(1));
    for (name, form) in [("plain", Form::Plain), ("sealed", Form::Sealed)] {
        group.bench_function(format!("encode_100_bytes_{name}"), |b| {
            b.iter(|| head(form, black_box(KEY), black_box(&record)));
        });
        let stored = [head(form, KEY, &record).as_bytes(), &value].concat();
        group.bench_function(format!("decode_100_bytes_{name}"), |b| {
            b.iter(|| decode(black_box(KEY), black_box(&stored)));
        });
    }
    let newer = Record::live(version(2), None, &value);
    group.bench_function("merge", |b| b.iter(|| merge(black_box(record), black_box(newer))));
    group.finish();
}

fn updates(c: &mut Criterion) {
    let number = Record::live(version(0), None, b"123456");
    let add = Update::Add { delta: 1 };
    c.bench_function("update/add", |b| {
        b.iter(|| apply(black_box(&add), Some(&number), NOW_MS, 1 << 23));
    });
    c.bench_function("update/add_float", |b| {
        b.iter(|| float::add(black_box(b"10.5"), black_box(b"0.1")));
    });
    c.bench_function("glob/prefix", |b| {
        b.iter(|| glob::matches(black_box(b"key:*45"), black_box(KEY)));
    });
}

fn maps(c: &mut Criterion) {
    let found = Command::Found {
        cluster: ClusterId(1),
        node_name: "one".into(),
        token: 1,
        hash_seed: 1,
        default: KeyspaceSpec::new(EngineKind::Disk),
        profile: Profile::default(),
    };
    let mut map = ClusterMap::default().apply(&found).expect("the first command");
    for number in 1..16 {
        map = map.apply(&Command::CreateDatabase { number }).expect("not there yet");
    }
    let bytes = codec::map::encode(&map);
    c.bench_function("map/encode_16_keyspaces", |b| {
        b.iter(|| codec::map::encode(black_box(&map)));
    });
    c.bench_function("map/decode_16_keyspaces", |b| {
        b.iter(|| codec::map::decode(black_box(&bytes)));
    });
    let accept = Command::AcceptEventTime { name: "default".into() };
    c.bench_function("map/apply_16_keyspaces", |b| b.iter(|| map.apply(black_box(&accept))));
}

criterion_group!(benches, slots, records, updates, maps);
criterion_main!(benches);
