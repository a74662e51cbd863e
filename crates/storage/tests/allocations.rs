//! What the memory engine asks of the allocator, byte by byte, as the allocator tells it.
#![allow(clippy::unwrap_used, reason = "to fail is how a test answers")]

use shoal_storage::engine::{Engine, Upkeep};
use shoal_storage::memory::{MemoryEngine, MemoryOptions};
use shoal_storage::{Address, Durability, Op, Parts, Patience, Policy, SpaceOptions, Tally};

use std::sync::Arc;

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

fn engine(evict: bool) -> MemoryEngine {
    let engine = MemoryEngine::new(Arc::new(Plain), MemoryOptions::default());
    let durability = Durability::Os;
    let options = SpaceOptions { partitions: 256, durability, max_memory: None, evict };
    engine.open_space(1, options).unwrap();
    engine
}

fn put(engine: &MemoryEngine, key: &[u8], body: &[u8]) {
    put_in(engine, 500, key, body);
}

fn put_in(engine: &MemoryEngine, slot: u16, key: &[u8], body: &[u8]) {
    let at = Address { space: 1, slot, key };
    let put = Some(Parts { head: &[1; 10], body });
    engine.submit(&[Op { at, put, tally: Tally::default() }]).unwrap();
}

/// The bytes this thread allocated while `work` ran.
fn allocated(work: impl FnOnce()) -> u64 {
    let counter = tikv_jemalloc_ctl::thread::allocatedp::read().unwrap();
    let before = counter.get();
    work();
    counter.get() - before
}

#[test]
fn reads_and_overwrites_allocate_nothing_and_other_lengths_once() {
    for evict in [false, true] {
        let engine = engine(evict);
        for number in 0..1_000u32 {
            put(&engine, &number.to_be_bytes(), &[2; 100]);
        }
        let key = 7u32.to_be_bytes();
        // The first read of a thread sets up what the snapshot of spaces needs.
        let at = Address { space: 1, slot: 500, key: &key };
        let read = || {
            let mut seen = 0;
            let mut visit = |value: Option<&[u8]>| seen = value.map_or(0, <[u8]>::len);
            engine.read(at, Patience::Inline, &mut visit).unwrap();
            assert!(seen >= 110);
        };
        read();
        assert_eq!(allocated(read), 0);
        assert_eq!(allocated(|| put(&engine, &key, &[3; 100])), 0);
        // 1 + 4 + 210 bytes, and perhaps a stamp: one allocation of the class of 224.
        assert_eq!(allocated(|| put(&engine, &key, &[3; 200])), 224);
        assert_eq!(allocated(read), 0);
    }
}

#[test]
fn the_first_key_of_a_slot_allocates_its_entry() {
    let engine = engine(false);
    // Slots of one partition: its list of slots grows now and then, by half of what it holds.
    put_in(&engine, 640, b"key", &[2; 100]);
    let others: Vec<u64> =
        (641..704).map(|slot| allocated(|| put_in(&engine, slot, b"key", &[2; 100]))).collect();
    // 1 + 3 + 110 bytes, one allocation of the class of 128.
    let entry = 128;
    let only = others.iter().filter(|&&bytes| bytes == entry).count();
    assert!(only >= others.len() - 8, "{only} of {} allocated {entry} bytes", others.len());
}

#[test]
fn looking_ahead_allocates_nothing() {
    let engine = engine(false);
    let keys: Vec<[u8; 4]> = (0..100u32).map(u32::to_be_bytes).collect();
    keys.iter().for_each(|key| put(&engine, key, &[2; 100]));
    let at: Vec<_> = keys.iter().map(|key| Address { space: 1, slot: 500, key }).collect();
    // The first look of a thread sets up what the snapshot of spaces needs.
    engine.foresee(&at);
    assert_eq!(allocated(|| engine.foresee(&at)), 0);
}

#[test]
fn what_is_counted_is_what_was_allocated() {
    let engine = engine(false);
    let body = vec![5; 70_000];
    let counter = tikv_jemalloc_ctl::thread::allocatedp::read().unwrap();
    let freed = tikv_jemalloc_ctl::thread::deallocatedp::read().unwrap();
    let before = counter.get() - freed.get();
    for number in 0..20_000u32 {
        let len = if number % 100 == 0 { number as usize * 3 } else { number as usize % 500 };
        put(&engine, &number.to_be_bytes(), &body[..len]);
        if number % 3 == 0 {
            put(&engine, &number.to_be_bytes(), &body[..len / 2]);
        }
        let held = counter.get() - freed.get() - before;
        assert_eq!(engine.status().memory_bytes, held, "after key {number}");
    }
}
