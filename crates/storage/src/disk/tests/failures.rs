//! Full disks and damaged files.

use super::rig::{Rig, small};
use crate::disk::DiskOptions;
use crate::disk::sorted::SortedError;
use crate::engine::{Engine, EngineError, Upkeep};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

const SPACE: u32 = 1;

#[test]
fn a_nearly_full_disk_refuses_puts_takes_removals_and_goes_on_by_itself() {
    let mut rig = Rig::new(small());
    rig.open_space(SPACE);
    for n in 0..10_u8 {
        rig.settle(rig.put(SPACE, 3, &[n], b"value", 1));
    }
    rig.volume.free.store(1000, Ordering::Relaxed);
    rig.until("the watch sees it", |engine| engine.status().refusing.is_some());
    let refused = rig.submit(SPACE, 3, b"new", Some(b"value"), 1).unwrap_err();
    let EngineError::DiskFull { free: 1000, reserve } = refused else { panic!("{refused}") };
    assert!((1 << 20..2 << 20).contains(&reserve), "with room for what was taken: {reserve}");
    assert_eq!(rig.read(SPACE, 3, b"new"), None, "nothing was changed");
    assert_eq!(rig.read(SPACE, 3, &[4]).as_deref(), Some(&b"value"[..]));
    rig.settle(rig.remove(SPACE, 3, &[4]));
    assert_eq!(rig.read(SPACE, 3, &[4]), None);
    assert_eq!(rig.engine().tally(SPACE, 3..4).keys, 9);
    // What stands for a removal is one.
    rig.settle(rig.put(SPACE, 3, &[5], b"gone", -1));
    assert_eq!(rig.engine().tally(SPACE, 3..4).keys, 8);
    rig.volume.free.store(u64::MAX / 4, Ordering::Relaxed);
    rig.until("there is room again", |engine| engine.status().refusing.is_none());
    rig.settle(rig.put(SPACE, 3, b"new", b"value", 1));
    rig.reopen();
    assert_eq!(rig.read(SPACE, 3, b"new").as_deref(), Some(&b"value"[..]));
    assert_eq!(rig.engine().tally(SPACE, 3..4).keys, 9);
}

/// An engine that has taken two megabytes of values and written none of them to the store.
fn buffered() -> Rig {
    let mut rig = Rig::new(DiskOptions { buffer_bytes: Some(8 << 20), ..small() });
    rig.open_space(SPACE);
    for n in 0..1_000_u16 {
        rig.put(SPACE, n % 7, &n.to_be_bytes(), &[7; 2_000], 1);
    }
    rig.engine().sync().unwrap();
    rig
}

/// The reserve is not for what was taken before: that needs room of its own to get to the store.
#[test]
fn puts_are_refused_while_what_was_taken_needs_the_room() {
    let rig = buffered();
    rig.volume.free.store(2 << 20, Ordering::Relaxed);
    rig.until("the watch sees it", |engine| engine.status().refusing.is_some());
    assert!(rig.submit(SPACE, 0, b"new", Some(b"value"), 1).is_err());
    rig.volume.free.store(5 << 20, Ordering::Relaxed);
    rig.until("there is room again", |engine| engine.status().refusing.is_none());
    rig.settle(rig.put(SPACE, 0, b"new", b"value", 1));
}

/// Removals heal a disk that has no room left for what was taken before them.
#[test]
fn removals_make_a_checkpoint_smaller_that_found_no_room() {
    let mut rig = buffered();
    // Room for a tenth of what waits.
    rig.volume.free.store((1 << 20) + 300_000, Ordering::Relaxed);
    rig.faults.fail_at(1, SortedError::Full("planted".into()));
    let refused = rig.engine().core().checkpoint().unwrap_err();
    assert!(matches!(refused, EngineError::DiskFull { .. }), "{refused}");
    for n in 0..950_u16 {
        rig.remove(SPACE, n % 7, &n.to_be_bytes());
    }
    let mut items = 0;
    rig.until("the checkpoint is made", |engine| {
        let made = engine.core().work.lock().checkpoints > 0;
        items = engine.core().store.figures().items;
        made
    });
    // Not all of them may have come before there was room for the rest.
    assert!((50..200).contains(&items), "of 1,000 values 50 were left: {items}");
    rig.engine().sync().unwrap();
    rig.volume.free.store(u64::MAX / 4, Ordering::Relaxed);
    for _ in 0..2 {
        for n in 0..1_000_u16 {
            let there = rig.read(SPACE, n % 7, &n.to_be_bytes());
            assert_eq!(there.is_some(), n >= 950, "key {n}");
        }
        assert_eq!(rig.engine().tally(SPACE, 0..16_384).keys, 50);
        rig.restart();
    }
}

#[test]
fn a_log_longer_than_the_buffer_is_replayed_on_a_full_disk_too() {
    let mut rig = Rig::new(DiskOptions { buffer_bytes: Some(8 << 20), ..small() });
    rig.open_space(SPACE);
    for n in 0..2_000_u16 {
        rig.put(SPACE, n % 7, &n.to_be_bytes(), &value(n), 1);
    }
    rig.engine().sync().unwrap();
    rig.options.buffer_bytes = Some(32 << 10);
    let there = |rig: &Rig| {
        for n in 0..2_000_u16 {
            assert_eq!(rig.read(SPACE, n % 7, &n.to_be_bytes()), Some(value(n)));
        }
        assert_eq!(rig.engine().tally(SPACE, 0..16_384).keys, 2_000);
    };
    for (again, gone_after) in [(true, 1), (true, 40), (false, 3)] {
        rig.crash();
        rig.faults.keep_failing.store(again, Ordering::Relaxed);
        rig.faults.fail_at(gone_after, SortedError::Full("planted".into()));
        rig.start().unwrap();
        there(&rig);
        if again {
            let refused = rig.submit(SPACE, 0, b"new", Some(b"value"), 1).unwrap_err();
            assert!(matches!(refused, EngineError::DiskFull { .. }), "{refused}");
        }
    }
    rig.until("puts are taken again", |engine| engine.status().refusing.is_none());
    rig.settle(rig.put(SPACE, 0, b"new", b"value", 0));
    rig.restart();
    there(&rig);
}

/// What a full disk kept from being written may be removed further on in the log; then no size
/// asks for the checkpoint that ends the refusals.
#[test]
fn a_full_disk_met_by_replay_is_forgiven_also_where_little_was_left_to_write() {
    for removed in [999_u16, 1_000] {
        let mut rig = Rig::new(DiskOptions { buffer_bytes: Some(8 << 20), ..small() });
        rig.open_space(SPACE);
        for n in 0..1_000_u16 {
            rig.put(SPACE, n % 7, &n.to_be_bytes(), &[7; 2_000], 1);
        }
        for n in 0..removed {
            rig.remove(SPACE, n % 7, &n.to_be_bytes());
        }
        rig.engine().sync().unwrap();
        rig.options.buffer_bytes = Some(1 << 20);
        rig.crash();
        rig.faults.fail_at(1, SortedError::Full("planted".into()));
        rig.faults.keep_failing.store(true, Ordering::Relaxed);
        rig.start().unwrap();
        assert!(rig.engine().status().refusing.is_some());
        rig.faults.fail_at(-1, SortedError::Full("planted".into()));
        rig.until("puts are taken again", |engine| engine.status().refusing.is_none());
        rig.settle(rig.put(SPACE, 0, b"new", b"value", 1));
        let left = i64::from(1_001 - removed);
        assert_eq!(rig.engine().tally(SPACE, 0..16_384).keys, left);
    }
}

#[test]
fn a_compaction_that_fails_stops_neither_writes_nor_the_next_one() {
    let mut rig = Rig::new(small());
    rig.open_space(SPACE);
    for error in [
        SortedError::Full("planted".into()),
        SortedError::Io("planted".into()),
        SortedError::Corrupt { file: "planted".into(), what: "planted".into() },
        SortedError::Interrupted,
    ] {
        rig.faults.compactions.lock().push(error.clone());
        rig.settle(rig.put(SPACE, 1, b"k", b"v", 0));
        let failed = rig.engine().compact().unwrap_err();
        assert_eq!(failed, EngineError::from(error));
        rig.settle(rig.put(SPACE, 1, b"k", b"w", 0));
        rig.engine().core().checkpoint().unwrap();
        rig.engine().compact().unwrap();
        assert_eq!(rig.engine().status().refusing, None);
        assert_eq!(rig.read(SPACE, 1, b"k").as_deref(), Some(&b"w"[..]));
    }
}

/// An engine whose values are all in the sorted store, in several tables.
fn stored() -> Rig {
    let mut rig = Rig::new(DiskOptions { cache_bytes: Some(0), ..small() });
    rig.open_space(SPACE);
    for round in 0..2_u16 {
        for n in 0..500_u16 {
            rig.put(SPACE, n % 7, &n.to_be_bytes(), &value(n + round), i64::from(round == 0));
        }
        rig.engine().core().checkpoint().unwrap();
    }
    rig.engine().close().unwrap();
    rig.crash();
    rig
}

fn value(n: u16) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(u64::from(n));
    (0..100).map(|_| random.u8(..)).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Opens and reads everything; says whether damage was reported.
fn is_damage_found(rig: &mut Rig) -> bool {
    match rig.start() {
        Err(EngineError::Corrupt { .. }) => return true,
        Err(other) => panic!("{other}"),
        Ok(()) => {}
    }
    let mut damaged = false;
    for n in 0..500_u16 {
        match rig.try_read(SPACE, n % 7, &n.to_be_bytes()) {
            Ok(found) => assert_eq!(found, Some(value(n + 1)), "a wrong value was handed out"),
            Err(EngineError::Corrupt { .. }) => damaged = true,
            Err(other) => panic!("{other}"),
        }
    }
    for slot in 0..7 {
        let mut seen = 0;
        let scanned = rig.engine().scan(SPACE, slot, None, usize::MAX, &mut |_, _| {
            seen += 1;
            true
        });
        match scanned {
            Ok(_) => assert_eq!(seen, rig.engine().tally(SPACE, slot..slot + 1).keys),
            Err(EngineError::Corrupt { .. }) => damaged = true,
            Err(other) => panic!("{other}"),
        }
    }
    rig.crash();
    damaged
}

#[test]
fn damage_in_the_sorted_store_is_reported_and_never_handed_out() {
    let rig = stored();
    let sorted = rig.dir.path().join("sorted");
    let copy = tempfile::tempdir().unwrap();
    let originals: Vec<(PathBuf, Vec<u8>)> = files(rig.dir.path())
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    drop(copy);
    let mut rig = rig;
    let mut random = fastrand::Rng::with_seed(1);
    for (path, bytes) in originals.iter().filter(|(path, _)| path.starts_with(&sorted)) {
        let is_table = path.starts_with(sorted.join("tables"));
        let tries = if is_table { 60 } else { 25 };
        for attempt in 0..tries {
            let mut bad = bytes.clone();
            if attempt % 5 == 4 {
                bad.truncate(random.usize(..bytes.len()));
            } else {
                bad[random.usize(..bytes.len())] ^= 1 << random.u8(..8);
            }
            fs::write(path, &bad).unwrap();
            let found = is_damage_found(&mut rig);
            let name = path.display();
            assert!(found || is_table, "damage to {name} went unseen");
            rig.crash();
            for (path, bytes) in &originals {
                fs::write(path, bytes).unwrap();
            }
        }
    }
    assert!(!is_damage_found(&mut rig), "the originals are sound");
}

#[test]
fn a_missing_file_of_the_store_is_named() {
    let mut rig = stored();
    let sorted = rig.dir.path().join("sorted");
    let all = files(&sorted);
    assert!(all.len() >= 3);
    for path in all {
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        match rig.start() {
            Err(EngineError::Corrupt { file, .. }) => assert!(file.contains("sorted store")),
            other => panic!("{} is missing: {other:?}", path.display()),
        }
        fs::write(&path, bytes).unwrap();
    }
    rig.start().unwrap();
}
