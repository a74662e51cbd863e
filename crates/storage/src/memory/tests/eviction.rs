//! A cache makes room by giving up what was not used for longest, and only what it may.

use super::*;
use crate::engine::Policy;

/// Values say by their first byte what they leave as a mark; with 0 they stay, and count for
/// nothing.
struct Marking;

impl Policy for Marking {
    fn is_dead(&self, _: u32) -> bool {
        false
    }

    fn due(&self, _: u32, _: &[u8]) -> Option<u64> {
        None
    }

    fn mark(&self, _: u32, value: &[u8]) -> Option<u128> {
        Some(u128::from(value[0])).filter(|mark| *mark > 0)
    }

    fn counts(&self, _: u32, value: &[u8]) -> Tally {
        Tally { keys: i64::from(value[0] > 0), expiring: 0 }
    }
}

#[test]
fn a_cache_with_room_evicts_nothing() {
    let engine = engine(None, SpaceOptions { evict: true, ..OPTIONS });
    for number in 0..1_000 {
        put(&engine, 1, number, 50).unwrap();
    }
    engine.check();
    assert_eq!(engine.tally(1, 0..16_384), Tally { keys: 1_000, expiring: 0 });
    assert!((0..1_000).all(|number| get(&engine, 1, number) == Some(50)));
    assert_eq!(engine.status().evicted, 0);
}

#[test]
fn a_cache_keeps_what_is_used() {
    let options = SpaceOptions { max_memory: Some(2_000_000), evict: true, ..OPTIONS };
    let engine = engine(None, options);
    let used: Vec<u32> = (0..200).collect();
    for number in 0..20_000 {
        put(&engine, 1, number, 500).unwrap();
        get(&engine, 1, used[number as usize % used.len()]);
    }
    engine.check();
    assert!(engine.space_bytes(1) <= 2_000_000 + 2_048, "{} bytes", engine.space_bytes(1));
    let evicted = engine.status().evicted;
    assert!(evicted > 10_000, "{evicted} evicted");
    let kept = used.iter().filter(|&&number| get(&engine, 1, number).is_some()).count();
    assert!(kept >= 190, "{kept} of 200 keys in use are left");
    let recent = (19_000..20_000).filter(|&number| get(&engine, 1, number).is_some()).count();
    assert!(recent >= 700, "{recent} of the last 1,000 are left");
    let left = (0..20_000).filter(|&number| get(&engine, 1, number).is_some()).count() as u64;
    assert_eq!(left + evicted, 20_000);
    assert_eq!(engine.tally(1, 0..16_384).keys, left as i64);
    // What can never fit evicts nothing.
    assert_eq!(put(&engine, 1, 0, 3_000_000), Err(EngineError::MemoryFull));
    assert_eq!(engine.status().evicted, evicted);
    // What is as large as many makes room for itself.
    put(&engine, 1, 99_999, 1_000_000).unwrap();
    assert!(engine.status().evicted > evicted + 500);
    engine.check();
}

#[test]
fn what_was_used_after_the_clock_was_read_is_not_the_idlest() {
    let engine = engine(None, SpaceOptions { evict: true, ..OPTIONS });
    let spaces = engine.spaces.load();
    let keys: Vec<[u8; 1]> = (0..3).map(|number| [number]).collect();
    for key in &keys {
        // As many as one look at a slot shows, so that all of them are candidates.
        let at = Address { space: 1, slot: 9, key };
        let put = Some(Parts { head: &[], body: b"value" });
        engine.submit(&[Op { at, put, tally: Tally { keys: 1, expiring: 0 } }]).unwrap();
    }
    // By now the clock stands at 3; whoever is to make room read it after the first write.
    let stale = engine.context(&spaces[&1], 1);
    for expected in [&[1, 2][..], &[2]] {
        assert!(evict_one(&spaces[&1], &mut fastrand::Rng::with_seed(7), stale));
        let mut left = Vec::new();
        let mut note = |key: &[u8], _: &[u8]| {
            left.push(key[0]);
            true
        };
        engine.scan(1, 9, None, 10, &mut note).unwrap();
        assert_eq!(left, expected, "the oldest goes first");
    }
    engine.check();
}

#[test]
fn what_goes_leaves_its_mark_and_what_may_not_go_stays() {
    let engine = MemoryEngine::new(Arc::new(Marking), MemoryOptions::default());
    let options = SpaceOptions { max_memory: Some(1_000_000), evict: true, ..OPTIONS };
    engine.open_space(1, options).unwrap();
    for number in 0..10_000_u32 {
        let mut value = vec![u8::try_from(number % 200).unwrap(); 200];
        value[0] = if number < 500 { 0 } else { value[0] };
        put_value(&engine, 1, number, &value).unwrap();
    }
    engine.check();
    assert!(engine.space_bytes(1) <= 1_002_048, "{} bytes", engine.space_bytes(1));
    // The greatest that went, slot by slot.
    let mut marks = vec![0; 16_384];
    let mut left = 0;
    for number in 0..10_000 {
        let value = get(&engine, 1, number);
        let stays = number < 500 || number % 200 == 0;
        assert!(value.is_some() || !stays, "{number} may not go");
        if value.is_some() {
            left += i64::from(!stays);
        } else {
            let mark = &mut marks[usize::from(key(number).1)];
            *mark = u128::from(number % 200).max(*mark);
        }
    }
    assert!(left > 100 && engine.status().evicted > 5_000, "{:?}, {left}", engine.status());
    assert_eq!(engine.tally(1, 0..16_384).keys, left);
    for (slot, mark) in (0..).zip(&marks) {
        assert_eq!(engine.mark(1, slot), *mark, "{slot}");
    }
    let half = 8_192;
    engine.forget_marks(1, 0..half);
    let expected = |slot: u16| if slot < half { 0 } else { marks[usize::from(slot)] };
    assert!((0..16_384).all(|slot| engine.mark(1, slot) == expected(slot)));
    engine.check();
}

#[test]
fn evicting_keeps_count_of_what_expires() {
    let options = SpaceOptions { max_memory: Some(200_000), evict: true, ..OPTIONS };
    let engine = engine(None, options);
    for number in 0..5_000 {
        let mut value = vec![0; 100];
        if number % 2 == 0 {
            value[0] = b'@';
        }
        put_value(&engine, 1, number, &value).unwrap();
    }
    let left = |even: bool| {
        let numbers = (0..5_000).filter(|number| (number % 2 == 0) == even);
        numbers.filter(|&number| get(&engine, 1, number).is_some()).count() as i64
    };
    let (expiring, others) = (left(true), left(false));
    assert!(expiring > 0 && others > 0 && engine.status().evicted > 0);
    let tally = engine.tally(1, 0..16_384);
    assert_eq!(tally, Tally { keys: expiring + others, expiring });
}

#[test]
fn eviction_in_a_space_of_one_partition_and_from_several_threads() {
    let options =
        SpaceOptions { partitions: 1, max_memory: Some(3_000_000), evict: true, ..OPTIONS };
    let engine = engine(None, options);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let engine = &engine;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(u64::from(thread));
                for _ in 0..5_000 {
                    let number = thread * 100_000 + random.u32(..4_000);
                    put(engine, 1, number, 300 + random.usize(..300)).unwrap();
                }
            });
        }
    });
    assert!(engine.status().evicted > 0);
    engine.check();
}

#[test]
fn turning_eviction_on_stamps_what_is_there() {
    let engine = engine(None, OPTIONS);
    (0..2_000).for_each(|number| assert_eq!(put(&engine, 1, number, 100), Ok(Commit::DONE)));
    let options = SpaceOptions { max_memory: Some(400_000), evict: true, ..OPTIONS };
    engine.open_space(1, options).unwrap();
    engine.check();
    assert!((0..2_000).all(|number| get(&engine, 1, number) == Some(100)));
    assert!(engine.space_bytes(1) > 400_000);
    put(&engine, 1, 5_000, 100).unwrap();
    assert!(engine.space_bytes(1) <= 400_000 + 1_024, "the next write makes room for itself");
    assert!(engine.status().evicted > 100);
    engine.check();
    engine.open_space(1, OPTIONS).unwrap();
    let evicted = engine.status().evicted;
    (0..2_000).for_each(|number| assert_eq!(put(&engine, 1, number, 80), Ok(Commit::DONE)));
    assert_eq!(engine.status().evicted, evicted, "and off again");
    assert!((0..2_000).all(|number| get(&engine, 1, number) == Some(80)));
    engine.check();
}
