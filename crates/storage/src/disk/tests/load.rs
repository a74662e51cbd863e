//! Many keys, slices of a large slot, and positions that outlive the process.

use super::rig::{Rig, small};
use crate::disk::DiskOptions;
use crate::engine::{Address, Answer, Engine, EngineError, Op, Parts, Patience, Tally, Upkeep};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn load(rig: &Rig, keys: u32, slot: impl Fn(u32) -> u16) {
    let names: Vec<[u8; 4]> = (0..keys).map(u32::to_be_bytes).collect();
    for chunk in names.chunks(100) {
        let ops: Vec<Op<'_>> = chunk
            .iter()
            .map(|key| Op {
                at: Address { space: 1, slot: slot(u32::from_be_bytes(*key)), key },
                put: Some(Parts { head: key, body: &[b'v'; 40] }),
                tally: Tally { keys: 1, expiring: 0 },
            })
            .collect();
        rig.engine().submit(&ops).unwrap();
    }
}

#[test]
fn a_hundred_thousand_keys_are_loaded_and_found_again() {
    let mut rig = Rig::new(DiskOptions { buffer_bytes: Some(2 << 20), ..small() });
    rig.open_space(1);
    load(&rig, 100_000, |n| (n % 16_384) as u16);
    assert!(rig.engine().status().checkpoints > 2);
    assert!(rig.engine().status().buffered_bytes < 4 << 20, "the buffer is bounded");
    rig.engine().sync().unwrap();
    rig.restart();
    assert_eq!(rig.engine().tally(1, 0..16_384).keys, 100_000);
    for n in (0..100_000_u32).step_by(997) {
        let value = rig.read(1, (n % 16_384) as u16, &n.to_be_bytes()).expect("it was loaded");
        assert_eq!(&value[..4], n.to_be_bytes());
        assert_eq!(rig.read(1, (n % 16_384) as u16, &(n + 200_000).to_be_bytes()), None);
    }
    assert_eq!(rig.scan(1, 77).len(), 7);
}

#[test]
fn the_buffer_is_bounded_even_where_nobody_seals_it() {
    let mut rig = Rig::new(small());
    rig.open_space(1);
    let engine = rig.engine();
    let core = engine.core();
    engine.abandon();
    core.work.lock().stopping = false;
    let bound = core.options.generation_bytes;
    let mut n = 0_u32;
    while core.wait_for_room(|| true, Duration::ZERO).is_ok() {
        rig.put(1, 2, &n.to_be_bytes(), &[7; 500], 1);
        n += 1;
        assert!(core.generations.load().active.bytes() < 2 * bound + 1_024);
    }
    assert!(core.generations.load().active.bytes() >= 2 * bound, "there was room for two");
    assert!(core.generations.load().sealed.is_none());
}

/// Pages through slot 9 from `position` on and notes the keys; returns where it came to.
fn page(rig: &Rig, position: u64, count: usize, seen: &mut BTreeSet<Vec<u8>>) -> Option<u64> {
    let mut shown = 0;
    let (next, _) = rig
        .engine()
        .page(1, 9, position, count, &mut |key, _| {
            seen.insert(key.to_vec());
            shown += 1;
            true
        })
        .unwrap();
    assert!(shown <= count);
    assert!(shown == count || next.is_none(), "a page before the last is full");
    next
}

#[test]
fn a_large_slot_is_walked_in_slices_across_restarts_and_removals() {
    const KEYS: u32 = 20_000;
    let mut rig = Rig::new(DiskOptions { buffer_bytes: Some(1 << 20), ..small() });
    rig.open_space(1);
    load(&rig, KEYS, |_| 9);
    let mut seen = BTreeSet::new();
    let mut position = page(&rig, 0, 500, &mut seen).expect("there is more");
    assert!((1..1 << 48).contains(&position));
    rig.engine().sync().unwrap();
    // The memo is lost with the process; the position still is good.
    rig.restart();
    position = page(&rig, position, 500, &mut seen).expect("there is more");
    assert_eq!(seen.len(), 1_000, "the second page goes on where the first ended");
    // The last key shown goes, and the memo with it: the walk may begin again, but ends.
    let last = seen.last().expect("keys were seen").clone();
    rig.settle(rig.remove(1, 9, &last));
    rig.restart();
    let mut pages = 0;
    let mut next = Some(position);
    while let Some(at) = next {
        // Meanwhile others come.
        rig.put(1, 9, format!("other {pages}").as_bytes(), b"x", 1);
        next = page(&rig, at, 500, &mut seen);
        pages += 1;
    }
    assert!(pages < 100);
    for n in 0..KEYS {
        assert!(seen.contains(n.to_be_bytes().as_slice()), "key {n} was not shown");
    }
}

#[test]
fn a_store_too_large_for_the_page_cache_is_not_read_inline() {
    let mut rig = Rig::new(DiskOptions { inline_below_bytes: Some(1_000), ..small() });
    rig.open_space(1);
    let ask = |rig: &Rig, key: &[u8], patience| {
        let mut found = None;
        let at = Address { space: 1, slot: 2, key };
        let read = rig.engine().read(at, patience, &mut |value| found = Some(value.is_some()));
        (read.unwrap(), found)
    };
    rig.settle(rig.put(1, 2, b"warm", b"v", 1));
    assert!(matches!(ask(&rig, b"warm", Patience::Inline), (Answer::Given(_), Some(true))));
    for n in 0..100_u8 {
        rig.put(1, 2, &[n], &[n; 500], 1);
    }
    rig.engine().core().checkpoint().unwrap();
    assert!(!rig.engine().core().inline.load(Ordering::Relaxed));
    // What the last checkpoint wrote is kept; what the one before it wrote is not.
    assert!(matches!(ask(&rig, b"warm", Patience::Inline), (Answer::Given(_), Some(true))));
    rig.put(1, 2, b"other", b"v", 1);
    rig.engine().core().checkpoint().unwrap();
    assert!(matches!(ask(&rig, b"warm", Patience::Inline), (Answer::Cold, None)));
    assert!(matches!(ask(&rig, b"warm", Patience::Block), (Answer::Given(_), Some(true))));
    rig.put(1, 2, b"hot", b"v", 1);
    assert!(matches!(ask(&rig, b"hot", Patience::Inline), (Answer::Given(_), Some(true))));
}

#[test]
fn while_there_is_no_room_for_writes_nothing_is_answered_inline() {
    let mut rig = Rig::new(small());
    rig.open_space(1);
    let engine = rig.engine();
    let core = engine.core();
    // Checkpoints are made by hand from here on.
    engine.abandon();
    core.work.lock().stopping = false;
    core.store.interrupt(false);
    rig.put(1, 2, b"first", b"v", 1);
    let sealed = core.seal().expect("there is something to write");
    let ask = |key: &[u8], patience| {
        let at = Address { space: 1, slot: 2, key };
        engine.read(at, patience, &mut |_| {}).unwrap()
    };
    let bound = core.options.generation_bytes;
    let mut n = 0_u32;
    while core.generations.load().active.bytes() < bound {
        let nearly = core.generations.load().active.bytes() >= bound - bound / 8;
        let is_cold = ask(b"first", Patience::Inline) == Answer::Cold;
        assert_eq!(is_cold, nearly, "cold a little before a write has to wait");
        assert_eq!(core.wait_for_room(|| true, Duration::ZERO), Ok(()));
        rig.put(1, 2, &n.to_be_bytes(), &[7; 500], 1);
        n += 1;
    }
    assert_eq!(ask(b"none", Patience::Inline), Answer::Cold);
    assert!(matches!(ask(b"first", Patience::Block), Answer::Given(_)));
    let refused = core.wait_for_room(|| true, Duration::ZERO);
    assert!(
        matches!(&refused, Err(EngineError::Io(why)) if why.contains("write buffer is full")),
        "{refused:?}"
    );
    assert_eq!(core.wait_for_room(|| false, Duration::ZERO), Ok(()), "removals may go beyond");
    // On a full disk a write is refused and waits for nothing.
    rig.volume.free.store(1_000, Ordering::Relaxed);
    core.free_space.look();
    assert!(matches!(ask(b"first", Patience::Inline), Answer::Given(_)));
    rig.volume.free.store(u64::MAX / 4, Ordering::Relaxed);
    core.free_space.look();
    core.write_sealed(&sealed).unwrap();
    core.settle_sealed(&sealed).unwrap();
    assert!(matches!(ask(b"first", Patience::Inline), Answer::Given(_)));
    assert_eq!(core.wait_for_room(|| true, Duration::ZERO), Ok(()));
}
