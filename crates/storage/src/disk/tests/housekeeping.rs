//! What happens without being asked for: expiry, sweeping, tidying up.

use super::rig::{Rig, TestPolicy, due_at, small};
use crate::disk::DiskOptions;
use crate::disk::keys;
use crate::engine::{Address, Engine, EngineError, Upkeep};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// All of the due index in the store.
fn index(rig: &Rig) -> usize {
    let (from, to) = keys::due_all();
    rig.stored(&from, &to)
}

/// However often a key is given another time, one entry is left, whether what it had is found
/// among the kept or in the store, and also after a restart.
#[test]
fn the_due_index_has_one_entry_for_each_value_that_is_due() {
    let mut rig = Rig::new(small());
    rig.open_space(1);
    rig.open_space(2);
    let mut random = fastrand::Rng::with_seed(23);
    let mut times = BTreeMap::new();
    for round in 0..120 {
        for _ in 0..random.usize(1..6) {
            let (space, slot, key) = (random.u32(1..3), random.u16(0..3), random.u8(..12));
            let had = times.remove(&(space, slot, key)).is_some();
            if random.u8(..4) == 0 {
                rig.submit(space, slot, &[key], None, -i64::from(had)).unwrap();
                continue;
            }
            let due = random.bool().then(|| 10_000 + random.u64(..4));
            let value = due.map_or_else(|| b"for ever".to_vec(), due_at);
            rig.put(space, slot, &[key], &value, i64::from(!had));
            times.insert((space, slot, key), due);
        }
        if random.u8(..5) == 0 {
            rig.engine().sync().unwrap();
            rig.restart();
        }
        rig.engine().core().checkpoint().unwrap();
        assert_eq!(index(&rig), times.values().flatten().count(), "round {round}");
    }
    assert_eq!(rig.due(20_000).len(), times.values().flatten().count());
}

#[test]
fn what_is_due_is_offered_from_buffer_and_store_and_its_entries_go() {
    let mut rig = Rig::new(small());
    rig.open_space(1);
    for n in 0..100_u16 {
        rig.put(1, n % 5, &n.to_be_bytes(), &due_at(1_000 + u64::from(n)), 1);
    }
    assert_eq!(rig.due(999), []);
    assert_eq!(rig.due(1_049).len(), 50, "from the buffer");
    rig.engine().core().checkpoint().unwrap();
    assert_eq!(index(&rig), 100);
    let found = rig.due(1_049);
    assert_eq!(found.len(), 50, "from the store");
    assert_eq!(rig.due(1_049), found, "what was not removed is offered by the next pass");
    for (space, slot, key) in &found {
        rig.settle(rig.remove(*space, *slot, key));
    }
    assert_eq!(rig.due(1_049), []);
    rig.engine().core().checkpoint().unwrap();
    assert_eq!(index(&rig), 50);
    // Overwritten with another time, with none, and with the same again.
    rig.put(1, 0, &50_u16.to_be_bytes(), &due_at(5_000), 0);
    rig.put(1, 1, &51_u16.to_be_bytes(), b"for ever", 0);
    rig.put(1, 2, &52_u16.to_be_bytes(), b"for ever", 0);
    rig.settle(rig.put(1, 2, &52_u16.to_be_bytes(), &due_at(1_052), 0));
    assert_eq!(rig.due(1_052), [(1, 2, 52_u16.to_be_bytes().to_vec())]);
    rig.restart();
    assert_eq!(rig.due(1_052), [(1, 2, 52_u16.to_be_bytes().to_vec())]);
    rig.engine().core().checkpoint().unwrap();
    assert_eq!(rig.due(1_052), [(1, 2, 52_u16.to_be_bytes().to_vec())]);
    assert_eq!(rig.due(u64::MAX - 1).len(), 49);
    rig.engine().core().checkpoint().unwrap();
    assert_eq!(index(&rig), 49);
}

/// The first event time of a keyspace makes what expires stay longer, also what is stored already.
#[test]
fn what_the_policy_makes_due_later_is_offered_later() {
    let policy = Arc::new(TestPolicy::default());
    let mut rig = Rig::with_policy(small(), Arc::clone(&policy) as _);
    rig.open_space(1);
    rig.put(1, 0, b"stored", &due_at(1_000), 1);
    rig.engine().core().checkpoint().unwrap();
    rig.put(1, 0, b"buffered", &due_at(1_000), 1);
    policy.later_ms.store(500, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(rig.due(1_499), []);
        rig.engine().core().checkpoint().unwrap();
    }
    assert_eq!(index(&rig), 2);
    rig.restart();
    assert_eq!(rig.due(1_499), []);
    assert_eq!(rig.due(1_500).len(), 2);
}

#[test]
fn a_damaged_value_holds_up_none_that_is_due_behind_it() {
    let mut rig = Rig::new(small());
    rig.open_space(1);
    for n in 0..20_u8 {
        rig.put(1, 4, &[n], &due_at(1_000 + u64::from(n)), 1);
    }
    rig.engine().core().checkpoint().unwrap();
    // A second one, as what the last checkpoint wrote is found without the store.
    rig.put(1, 5, b"other", b"value", 1);
    rig.engine().core().checkpoint().unwrap();
    let damaged = keys::encode(Address { space: 1, slot: 4, key: &[3] });
    *rig.faults.damaged.lock() = Some(damaged);
    for _ in 0..2 {
        let found: Vec<u8> = rig.due(2_000).into_iter().map(|(_, _, key)| key[0]).collect();
        let sound: Vec<u8> = (0..20).filter(|n| *n != 3).collect();
        assert_eq!(found, sound);
    }
    assert!(matches!(rig.try_read(1, 4, &[3]), Err(EngineError::Corrupt { .. })));
    *rig.faults.damaged.lock() = None;
    assert_eq!(rig.due(2_000).len(), 20, "the entry was kept");
}

#[test]
fn a_quiet_engine_writes_out_and_forgets_what_was_removed() {
    let mut rig = Rig::new(DiskOptions { quiet_after_ms: 1, ..small() });
    rig.open_space(1);
    for n in 0..2_000_u16 {
        rig.put(1, n % 50, &n.to_be_bytes(), &[9; 300], 1);
    }
    rig.until("all is in the store", |engine| {
        engine.core().generations.load().active.is_empty()
            && engine.core().generations.load().sealed.is_none()
    });
    for n in 0..2_000_u16 {
        rig.remove(1, n % 50, &n.to_be_bytes());
    }
    rig.until("the store has no value and no mark of a removed one left", |engine| {
        let figures = engine.core().store.figures();
        figures.removed == 0 && figures.items <= 1
    });
    assert_eq!(rig.engine().tally(1, 0..16_384).keys, 0);
    rig.restart();
    assert_eq!(rig.engine().tally(1, 0..16_384).keys, 0);
    assert_eq!(rig.scan(1, 3), []);
}

#[test]
fn a_retired_space_is_gone_at_once_and_its_bytes_follow() {
    let policy = Arc::new(TestPolicy::default());
    let mut rig =
        Rig::with_policy(DiskOptions { quiet_after_ms: 1, ..small() }, Arc::clone(&policy) as _);
    for space in [1, 2, 3] {
        rig.open_space(space);
        for n in 0..1_000_u16 {
            rig.put(space, n % 50, &n.to_be_bytes(), &due_at(u64::from(n)), 1);
        }
        rig.engine().core().checkpoint().unwrap();
    }
    // Some more that is in the buffer only.
    for n in 1_000..1_100_u16 {
        rig.put(2, n % 50, &n.to_be_bytes(), &due_at(u64::from(n)), 1);
    }
    policy.dead.lock().insert(2);
    rig.engine().retire(2);
    assert_eq!(rig.engine().tally(2, 0..16_384).keys, 0);
    assert_eq!(rig.read(2, 0, &0_u16.to_be_bytes()), None);
    assert_eq!(rig.scan(2, 0), []);
    assert_eq!(
        rig.engine().page(2, 0, 0, 10, &mut |_, _| panic!("nothing is there")).unwrap().0,
        None
    );
    assert_eq!(rig.submit(2, 0, b"k", Some(b"v"), 1), Err(EngineError::NoSpace(2)));
    assert!(rig.due(100_000).iter().all(|(space, _, _)| *space != 2));
    rig.until("the bytes are gone", |engine| {
        let core = engine.core();
        let mut left = 0;
        core.store
            .range(&[0], &[0xFF; 30], &mut |key, _| {
                left += usize::from(keys::space_of(key) == Some(2));
                true
            })
            .unwrap();
        left == 0 && core.store.figures().removed == 0
    });
    for space in [1, 3] {
        assert_eq!(rig.engine().tally(space, 0..16_384).keys, 1_000);
        assert_eq!(rig.scan(space, 0).len(), 20);
    }
    rig.restart_without(2);
    assert_eq!(rig.scan(3, 0).len(), 20);
    assert_eq!(rig.engine().tally(2, 0..16_384).keys, 0);
}

#[test]
fn a_dead_space_is_not_brought_back_by_the_log() {
    let policy = Arc::new(TestPolicy::default());
    let mut rig = Rig::with_policy(small(), Arc::clone(&policy) as _);
    for space in [1, 2] {
        rig.open_space(space);
        rig.settle(rig.put(space, 0, b"k", b"v", 1));
    }
    policy.dead.lock().insert(2);
    rig.restart_without(2);
    assert_eq!(rig.read(2, 0, b"k"), None);
    assert_eq!(rig.engine().tally(2, 0..16_384).keys, 0);
    assert_eq!(rig.read(1, 0, b"k").as_deref(), Some(&b"v"[..]));
}

#[test]
fn compaction_on_demand_leaves_one_entry_per_key() {
    let mut rig = Rig::new(small());
    rig.open_space(1);
    for round in 0..6_u8 {
        for n in 0..500_u16 {
            rig.put(1, n % 50, &n.to_be_bytes(), &[round; 100], i64::from(round == 0));
        }
        rig.engine().core().checkpoint().unwrap();
    }
    for n in 0..250_u16 {
        rig.remove(1, n % 50, &n.to_be_bytes());
    }
    rig.engine().compact().unwrap();
    let figures = rig.engine().core().store.figures();
    // The values, the mark, and a tally per slot.
    assert_eq!((figures.items, figures.removed), (250 + 1 + 50, 0));
    assert!(rig.engine().status().disk_bytes > 0);
    assert!(rig.engine().space_bytes(1) > 0);
    assert_eq!(rig.read(1, 49, &499_u16.to_be_bytes()), Some(vec![5; 100]));
    assert_eq!(rig.read(1, 49, &249_u16.to_be_bytes()), None);
}
