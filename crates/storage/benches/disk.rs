//! How fast the disk engine is from one thread, without waiting for commits: what a batch costs
//! on its way into log and buffer, and what a read costs from buffer and sorted store.
//!
//! `cargo bench -p shoal-storage --bench disk`. Throughput with waiting is a matter of the log;
//! behaviour in bounded memory is shown by the example `disk_load`.

use shoal_storage::disk::{DiskEngine, DiskOptions};
use shoal_storage::engine::{Engine, Upkeep};
use shoal_storage::files::RealFiles;
use shoal_storage::{Address, Durability, Op, Parts, Patience, Policy, SpaceOptions, Tally};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use tempfile::TempDir;

const KEYS: u64 = 200_000;

/// No value ever falls due.
struct Plain;

impl Policy for Plain {
    fn is_dead(&self, _space: u32) -> bool {
        false
    }

    fn due(&self, _space: u32, _value: &[u8]) -> Option<u64> {
        None
    }
}

fn engine() -> (DiskEngine, TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let options = DiskOptions::default();
    let engine = DiskEngine::open(Arc::new(RealFiles), dir.path(), &options, Arc::new(Plain))
        .expect("an empty folder");
    let space = SpaceOptions {
        partitions: 256,
        durability: Durability::Os,
        max_memory: None,
        evict: false,
    };
    engine.open_space(1, space).expect("a new space");
    for number in 0..KEYS {
        put(&engine, number, 1);
    }
    (engine, dir)
}

fn key(number: u64) -> ([u8; 16], u16) {
    let mut key = *b"key:000000000000";
    key[8..].copy_from_slice(&number.to_be_bytes());
    let slot = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 50;
    (key, u16::try_from(slot).unwrap_or(0))
}

fn put(engine: &DiskEngine, number: u64, keys: i64) {
    let (key, slot) = key(number);
    let at = Address { space: 1, slot, key: &key };
    let put = Some(Parts { head: &[7; 10], body: &[8; 100] });
    engine.submit(&[Op { at, put, tally: Tally { keys, expiring: 0 } }]).expect("there is room");
}

fn get(engine: &DiskEngine, number: u64) -> usize {
    let (key, slot) = key(number);
    let mut len = 0;
    engine
        .read(Address { space: 1, slot, key: &key }, Patience::Block, &mut |value| {
            len = value.map_or(0, <[u8]>::len);
        })
        .expect("the disk is sound");
    len
}

fn disk(criterion: &mut Criterion) {
    let (engine, _dir) = engine();
    let mut random = fastrand::Rng::with_seed(1);
    let mut group = criterion.benchmark_group("disk");
    group.throughput(Throughput::Elements(1));
    group.bench_function("get from the buffer, 200 k keys", |bench| {
        bench.iter(|| black_box(get(&engine, random.u64(..KEYS))));
    });
    engine.compact().expect("there is room");
    group.bench_function("get from the sorted store, 200 k keys", |bench| {
        bench.iter(|| black_box(get(&engine, random.u64(..KEYS))));
    });
    group.bench_function("get of an absent key", |bench| {
        bench.iter(|| black_box(get(&engine, KEYS + random.u64(..KEYS))));
    });
    group.bench_function("overwrite, not waiting, 200 k keys", |bench| {
        bench.iter(|| put(&engine, random.u64(..KEYS), 0));
    });
    group.finish();
}

criterion_group!(benches, disk);
criterion_main!(benches);
