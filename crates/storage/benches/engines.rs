//! How fast the engines are, from one thread, without what lies around them.
//!
//! `cargo bench -p shoal-storage --bench engines`. A slot has no key or one among a thousand keys,
//! and about sixty among a million, where the cost is that of the caches missed on the way.
//! Resident bytes per key are measured by the example `memory_footprint`.

use shoal_storage::engine::{Engine, Upkeep};
use shoal_storage::memory::{MemoryEngine, MemoryOptions};
use shoal_storage::{Address, Durability, Op, Parts, Patience, Policy, SpaceOptions, Tally};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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

fn engine(keys: u64, evict: bool) -> MemoryEngine {
    let engine = MemoryEngine::new(Arc::new(Plain), MemoryOptions::default());
    let durability = Durability::Os;
    let options = SpaceOptions { partitions: 256, durability, max_memory: None, evict };
    engine.open_space(1, options).expect("256 partitions are allowed");
    for number in 0..keys {
        put(&engine, number, 1);
    }
    engine
}

fn key(number: u64) -> ([u8; 16], u16) {
    let mut key = *b"key:000000000000";
    key[8..].copy_from_slice(&number.to_be_bytes());
    (key, (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 50) as u16)
}

fn put(engine: &MemoryEngine, number: u64, keys: i64) {
    let (key, slot) = key(number);
    let at = Address { space: 1, slot, key: &key };
    let put = Some(Parts { head: &[7; 10], body: &[8; 100] });
    let done = engine.submit(&[Op { at, put, tally: Tally { keys, expiring: 0 } }]);
    done.expect("there is no bound");
}

fn get(engine: &MemoryEngine, number: u64) -> usize {
    let (key, slot) = key(number);
    let at = Address { space: 1, slot, key: &key };
    let mut copy = [0; 128];
    let mut len = 0;
    let done = engine.read(at, Patience::Inline, &mut |value| {
        if let Some(value) = value {
            len = value.len();
            copy[..len].copy_from_slice(value);
        }
    });
    done.expect("memory has no errors");
    black_box(copy);
    len
}

/// Keys of one pipeline.
const PIPELINE: usize = 16;

/// Reads as many keys as a pipeline asks for, after telling the engine which if `foreseen`.
fn get_pipeline(engine: &MemoryEngine, random: &mut fastrand::Rng, keys: u64, foreseen: bool) {
    let numbers: [u64; PIPELINE] = std::array::from_fn(|_| random.u64(..keys));
    if foreseen {
        let places = numbers.map(key);
        let at = places.each_ref().map(|(key, slot)| Address { space: 1, slot: *slot, key });
        engine.foresee(&at);
    }
    for number in numbers {
        assert_eq!(get(engine, number), 110);
    }
}

fn memory(criterion: &mut Criterion) {
    for (size, keys) in [("1k", 1_000), ("1M", 1_000_000)] {
        let mut group = criterion.benchmark_group(format!("memory/{size}"));
        group.throughput(Throughput::Elements(1));
        let table = engine(keys, false);
        let mut random = fastrand::Rng::with_seed(1);
        group.bench_function("get", |b| {
            b.iter(|| assert_eq!(get(&table, random.u64(..keys)), 110));
        });
        group.bench_function("get_missing", |b| {
            b.iter(|| assert_eq!(get(&table, keys + random.u64(..keys)), 0));
        });
        group.bench_function("set_overwrite", |b| b.iter(|| put(&table, random.u64(..keys), 0)));
        group.bench_function("page_10", |b| {
            b.iter(|| {
                let slot = random.u16(..16_384);
                let mut seen = 0;
                let mut visit = |key: &[u8], _: &[u8]| {
                    seen += key.len();
                    true
                };
                black_box(table.page(1, slot, 0, 10, &mut visit)).map(|_| seen)
            });
        });
        group.throughput(Throughput::Elements(PIPELINE as u64));
        group.bench_function("get_16", |b| {
            b.iter(|| get_pipeline(&table, &mut random, keys, false));
        });
        group.bench_function("get_16_foreseen", |b| {
            b.iter(|| get_pipeline(&table, &mut random, keys, true));
        });
        group.throughput(Throughput::Elements(1));
        let cache = engine(keys, true);
        group.bench_function("get_stamped", |b| {
            b.iter(|| assert_eq!(get(&cache, random.u64(..keys)), 110));
        });
        group.finish();
    }
    let mut group = criterion.benchmark_group("memory/grow");
    group.throughput(Throughput::Elements(100_000)).sample_size(10);
    group.bench_function("set_new_100k", |b| b.iter_with_large_drop(|| engine(100_000, false)));
    group.finish();
}

criterion_group!(benches, memory);
criterion_main!(benches);
