//! What the memory engine promises beyond the contract: exact accounts, bounds, eviction, the
//! sweep's rounds, and that memory comes back.

mod eviction;

use super::*;
use crate::conformance::{self, Subject, SuitePolicy};
use crate::engine::{Durability, Parts};

use std::collections::BTreeSet;

const OPTIONS: SpaceOptions =
    SpaceOptions { partitions: 16, durability: Durability::Always, max_memory: None, evict: false };

struct InMemory(Arc<MemoryEngine>);

impl Subject for InMemory {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.0) as Arc<dyn Engine>
    }
}

#[test]
fn keeps_every_promise() {
    conformance::check(|policy| {
        InMemory(Arc::new(MemoryEngine::new(policy, MemoryOptions::default())))
    });
}

fn engine(limit_bytes: Option<u64>, options: SpaceOptions) -> MemoryEngine {
    let policy = Arc::new(SuitePolicy::default());
    let engine = MemoryEngine::new(policy, MemoryOptions { limit_bytes, seed: None });
    engine.open_space(1, options).unwrap();
    engine
}

fn key(number: u32) -> ([u8; 16], u16) {
    let mut key = [b'k'; 16];
    key[12..].copy_from_slice(&number.to_be_bytes());
    (key, (number.wrapping_mul(0x9E37_79B9) >> 18) as u16)
}

fn put(engine: &MemoryEngine, space: u32, number: u32, len: usize) -> Result<Commit, EngineError> {
    put_value(engine, space, number, &vec![b'v'; len])
}

fn put_value(
    engine: &MemoryEngine,
    space: u32,
    number: u32,
    value: &[u8],
) -> Result<Commit, EngineError> {
    let (key, slot) = key(number);
    let at = Address { space, slot, key: &key };
    let put = Some(Parts { head: &[], body: value });
    let keys = i64::from(get(engine, space, number).is_none());
    engine.submit(&[Op { at, put, tally: Tally { keys, expiring: 0 } }])
}

fn remove(engine: &MemoryEngine, space: u32, number: u32) {
    let (key, slot) = key(number);
    let at = Address { space, slot, key: &key };
    let keys = -i64::from(get(engine, space, number).is_some());
    engine.submit(&[Op { at, put: None, tally: Tally { keys, expiring: 0 } }]).unwrap();
}

fn get(engine: &MemoryEngine, space: u32, number: u32) -> Option<usize> {
    let (key, slot) = key(number);
    let mut len = None;
    let at = Address { space, slot, key: &key };
    engine.read(at, Patience::Inline, &mut |value| len = value.map(<[u8]>::len)).unwrap();
    len
}

impl MemoryEngine {
    /// Derives all accounts anew.
    fn check(&self) {
        let mut all = 0;
        for space in self.spaces.load().values() {
            let mut sum = 0;
            for partition in 0..space.partitions() {
                let partition = space.lock(partition);
                partition.check(self.seed).unwrap();
                sum += partition.bytes();
            }
            assert_eq!(space.used(), sum, "what the space is charged with");
            all += sum;
        }
        assert_eq!(
            self.totals.used.load(Ordering::Relaxed),
            all,
            "what the engine is charged with"
        );
    }
}

#[test]
fn accounts_are_exact_whatever_happens() {
    for evict in [false, true] {
        let engine = engine(None, SpaceOptions { evict, ..OPTIONS });
        engine.open_space(2, OPTIONS).unwrap();
        let mut random = fastrand::Rng::with_seed(11);
        for round in 0..20 {
            for _ in 0..2_000 {
                let (space, number) = (random.u32(1..3), random.u32(..4_000));
                if random.u8(..10) < 3 + round / 3 {
                    remove(&engine, space, number);
                } else {
                    put(&engine, space, number, random.usize(..300)).unwrap();
                }
            }
            engine.check();
        }
        for number in 0..4_000 {
            remove(&engine, 1, number);
            remove(&engine, 2, number);
        }
        engine.check();
        engine.compact().unwrap();
        engine.check();
        assert_eq!(engine.status().memory_bytes, 0, "memory leaves with the keys");
    }
}

#[test]
fn a_key_toggled_leaves_no_trace_in_the_accounts() {
    let engine = engine(None, OPTIONS);
    put(&engine, 1, 0, 10).unwrap();
    let before = engine.space_bytes(1);
    for _ in 0..10 {
        put(&engine, 1, 1, 100).unwrap();
        assert!(engine.space_bytes(1) > before);
        remove(&engine, 1, 1);
    }
    let (_, slot) = key(0);
    assert!(engine.space_bytes(1) <= before + 8_192, "no more than the list of a partition");
    assert_eq!(engine.tally(1, slot..slot + 1).keys, 1);
}

#[test]
fn a_full_space_refuses_what_grows_it_and_nothing_else() {
    let engine = engine(None, SpaceOptions { max_memory: Some(300_000), ..OPTIONS });
    let full = (0..).find(|&number| put(&engine, 1, number, 1_000).is_err()).unwrap();
    assert!((100..300).contains(&full), "{full} keys of 1,000 bytes in 300,000");
    assert_eq!(put(&engine, 1, full, 1_000), Err(EngineError::MemoryFull));
    assert_eq!(get(&engine, 1, full), None);
    assert_eq!(engine.tally(1, 0..16_384).keys, i64::from(full));
    engine.check();
    // The same size and smaller ones pass, larger ones do not.
    put(&engine, 1, 0, 1_000).unwrap();
    assert_eq!(put(&engine, 1, 0, 3_000), Err(EngineError::MemoryFull));
    assert_eq!(get(&engine, 1, 0), Some(1_000));
    put(&engine, 1, 0, 100).unwrap();
    remove(&engine, 1, 1);
    put(&engine, 1, full, 1_000).unwrap();
    // Another space has its own bound.
    engine.open_space(2, OPTIONS).unwrap();
    put(&engine, 2, 0, 100_000).unwrap();
    // And a bound can be raised.
    assert_eq!(put(&engine, 1, 0, 3_000), Err(EngineError::MemoryFull));
    engine.open_space(1, OPTIONS).unwrap();
    put(&engine, 1, 0, 3_000).unwrap();
    engine.check();
}

#[test]
fn a_batch_without_room_is_refused_as_a_whole() {
    // The third leaves room for the ops on the one space, but not for those on the other.
    let bounds = [(None, Some(100_000)), (Some(100_000), None), (Some(160_000), None)];
    for (limit, max_memory) in bounds {
        let engine = engine(limit, SpaceOptions { max_memory, ..OPTIONS });
        engine.open_space(2, OPTIONS).unwrap();
        (0..10).for_each(|number| assert_eq!(put(&engine, 1, number, 100), Ok(Commit::DONE)));
        let before = engine.status();
        let value = vec![b'x'; 1_000];
        let keys: Vec<_> = (5..150).map(key).collect();
        let ops: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(number, (key, slot))| Op {
                at: Address { space: 1 + (number % 3 == 0) as u32, slot: *slot, key },
                put: (number > 3).then_some(Parts { head: &value, body: b"" }),
                tally: Tally { keys: 1, expiring: 0 },
            })
            .collect();
        assert_eq!(engine.submit(&ops), Err(EngineError::MemoryFull));
        assert_eq!(engine.status(), before);
        assert!((0..10).all(|number| get(&engine, 1, number) == Some(100)));
        assert_eq!(engine.tally(1, 0..16_384).keys, 10);
        engine.check();
        engine.submit(&ops[..20]).unwrap();
        engine.check();
    }
}

#[test]
fn the_bound_of_the_process_holds_over_all_spaces() {
    let engine = engine(Some(400_000), OPTIONS);
    engine.open_space(2, OPTIONS).unwrap();
    let full = (0..).find(|&number| put(&engine, 1 + number % 2, number, 1_000).is_err());
    assert!((100..400).contains(&full.unwrap()));
    assert!(engine.status().memory_bytes <= 400_000 + 1_024);
    // A space that evicts gives up its own entries for its own, not others'.
    engine.open_space(3, SpaceOptions { evict: true, ..OPTIONS }).unwrap();
    assert_eq!(put(&engine, 3, 0, 5_000), Err(EngineError::MemoryFull));
    assert_eq!(engine.status().evicted, 0);
    // What is retired leaves room, though it is freed in the background.
    engine.retire(1);
    for number in 0..full.unwrap() / 3 {
        put(&engine, 2, 10_000 + number, 1_000).unwrap();
    }
    engine.close().unwrap();
    engine.check();
}

#[test]
fn partitions_are_a_power_of_two_and_stay_as_they_are() {
    let engine = engine(None, OPTIONS);
    for partitions in [0, 3, 100, 16_385, u16::MAX] {
        let options = SpaceOptions { partitions, ..OPTIONS };
        assert!(matches!(engine.open_space(9, options), Err(EngineError::Io(_))));
    }
    let other = SpaceOptions { partitions: 32, ..OPTIONS };
    assert!(matches!(engine.open_space(1, other), Err(EngineError::Io(_))));
    assert_eq!(put(&engine, 9, 0, 1), Err(EngineError::NoSpace(9)));
}

#[test]
fn a_retired_space_gives_its_memory_back() {
    let engine = engine(None, OPTIONS);
    engine.open_space(2, OPTIONS).unwrap();
    (0..5_000).for_each(|number| assert_eq!(put(&engine, 1, number, 200), Ok(Commit::DONE)));
    put(&engine, 2, 0, 200).unwrap();
    let left = engine.space_bytes(2);
    engine.retire(1);
    assert_eq!((engine.space_bytes(1), get(&engine, 1, 5)), (0, None));
    engine.retire(1);
    engine.close().unwrap();
    assert_eq!(engine.status().memory_bytes, left, "closing waits for what is being freed");
    engine.close().unwrap();
    // Neither is the end: the engine has no files to have closed.
    engine.retire(2);
    engine.close().unwrap();
    assert_eq!(engine.status().memory_bytes, 0);
}

/// A value due at `time_ms`.
fn timed(time_ms: u64) -> Vec<u8> {
    [&b"@"[..], &time_ms.to_be_bytes()].concat()
}

#[test]
fn the_sweep_looks_only_where_something_may_be_due() {
    let engine = engine(None, OPTIONS);
    engine.open_space(2, OPTIONS).unwrap();
    (0..10_000).for_each(|number| assert_eq!(put(&engine, 1, number, 10), Ok(Commit::DONE)));
    let due = |now, limit| {
        let mut found = BTreeSet::new();
        let looked = engine.due(now, limit, &mut |at, _| {
            found.insert(at.key.to_vec());
        });
        (looked.unwrap(), found.len())
    };
    assert_eq!(due(1 << 60, 100), (0, 0), "without expiries there is nothing to look at");
    put_value(&engine, 2, 7, &timed(5_000)).unwrap();
    assert_eq!(due(4_999, 100), (0, 0), "nothing is looked at before its time");
    assert_eq!(due(5_000, 100), (1, 1));
    assert_eq!(due(5_999, 100), (0, 0), "the caller has a second to remove it");
    assert_eq!(due(6_000, 100), (1, 1), "then it is offered again");
    remove(&engine, 2, 7);
    assert_eq!(due(60_000, 100), (0, 0), "an empty slot has nothing to be looked at");
    assert_eq!(due(60_000, 100), (0, 0));
}

#[test]
fn the_sweep_goes_on_where_it_was_and_sees_what_comes_meanwhile() {
    let engine = engine(None, SpaceOptions { partitions: 4, ..OPTIONS });
    engine.open_space(2, OPTIONS).unwrap();
    let slot = |number: u32| (key(number).0, 77u16);
    let put_here = |number: u32, time_ms: u64| {
        let (key, slot) = slot(number);
        let value = timed(time_ms);
        let at = Address { space: 1, slot, key: &key };
        let put = Some(Parts { head: &value, body: &[] });
        engine.submit(&[Op { at, put, tally: Tally { keys: 1, expiring: 1 } }]).unwrap();
    };
    (0..1_000).for_each(|number| put_here(number, 100));
    (0..50).for_each(|number| {
        assert_eq!(put_value(&engine, 2, number, &timed(100)), Ok(Commit::DONE));
    });
    let mut seen = BTreeSet::new();
    let mut calls = 0;
    loop {
        let mut shown = 0;
        let looked = engine.due(100, 30, &mut |at, _| {
            assert!(seen.insert((at.space, at.key.to_vec())), "once in a round");
            shown += 1;
        });
        let looked = looked.unwrap();
        assert!(shown <= looked && looked <= 31, "{shown} of {looked} in a call for 30");
        if looked == 0 {
            break;
        }
        if (30..33).contains(&calls) {
            // Comes while the round is inside the slot, and mostly behind it.
            put_here(5_000 + calls, 200);
        }
        calls += 1;
    }
    assert!(seen.len() >= 1_050);
    assert!(calls >= 33, "{calls} calls");
    let mut later = BTreeSet::new();
    let mut note = |at: Address<'_>, _: &[u8]| {
        later.insert(at.key.to_vec());
    };
    while engine.due(1_000, 1_000, &mut note).unwrap() > 0 {}
    let (first, last) = (slot(5_030).0.to_vec(), slot(5_032).0.to_vec());
    assert_eq!(later.range(first..=last).count(), 3, "what came meanwhile is not forgotten");
}

#[test]
fn the_sweep_forgets_nothing_where_a_call_ends_with_a_partition() {
    // From a partition for every slot, where each call ends with one, to a single one.
    for partitions in [16_384, 8_192, 1_024, 1] {
        for limit in [0, 1, 2, 3] {
            let engine = engine(None, SpaceOptions { partitions, ..OPTIONS });
            engine.open_space(2, SpaceOptions { partitions, ..OPTIONS }).unwrap();
            let value = timed(100);
            let mut keys = BTreeSet::new();
            for (space, slot) in [(1, 14), (1, 15), (1, 16), (1, 17), (1, 16_383), (2, 0)] {
                let at = Address { space, slot, key: b"key" };
                let put = Some(Parts { head: &value, body: &[] });
                engine.submit(&[Op { at, put, tally: Tally { keys: 1, expiring: 1 } }]).unwrap();
                keys.insert((space, slot));
            }
            for now_ms in [100, 60_000] {
                let mut seen = BTreeSet::new();
                let mut note = |at: Address<'_>, _: &[u8]| {
                    seen.insert((at.space, at.slot));
                };
                while engine.due(now_ms, limit, &mut note).unwrap() > 0 {}
                assert_eq!(seen, keys, "{partitions} partitions, {limit} at a time, at {now_ms}");
            }
        }
    }
}

#[test]
fn a_position_of_one_engine_is_good_for_another_of_the_same_seed() {
    const KEYS: u32 = 3_000;
    let opened = |seed, numbers: &mut dyn Iterator<Item = u32>| {
        let policy = Arc::new(SuitePolicy::default());
        let engine = MemoryEngine::new(policy, MemoryOptions { limit_bytes: None, seed });
        engine.open_space(1, OPTIONS).unwrap();
        for number in numbers {
            let key = number.to_be_bytes();
            let put = Some(Parts { head: b"value", body: &[] });
            let at = Address { space: 1, slot: 9, key: &key };
            engine.submit(&[Op { at, put, tally: Tally::default() }]).unwrap();
        }
        engine
    };
    let missed = |engines: [MemoryEngine; 2]| {
        let mut seen = BTreeSet::new();
        let mut position = Some(0);
        for engine in engines.iter().cycle() {
            let Some(from) = position else { break };
            let mut show = |key: &[u8], _: &[u8]| {
                seen.insert(key.to_vec());
                true
            };
            position = engine.page(1, 9, from, 10, &mut show).unwrap().0;
        }
        KEYS as usize - seen.len()
    };
    // They came in another order, so the tables were cut at other times.
    let there = || opened(Some(7), &mut (0..KEYS));
    let elsewhere = |seed| opened(seed, &mut (0..KEYS).rev());
    assert_eq!(missed([there(), elsewhere(Some(7))]), 0);
    assert!(missed([there(), elsewhere(None)]) > 0, "two orders have nothing in common");
}
