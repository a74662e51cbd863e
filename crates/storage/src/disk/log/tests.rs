//! The log with its threads, on real files and on a test disk.

use super::*;
use crate::fault::{Call, FaultDisk, Image};
use crate::files::RealFiles;
use std::collections::BTreeMap;
use std::io::ErrorKind;

const DIR: &str = "/data/log";

fn small() -> LogOptions {
    LogOptions { segment_bytes: 16 << 10, max_pending_bytes: 4 << 10, ..LogOptions::default() }
}

fn test_disk() -> FaultDisk {
    FaultDisk::new(Image::empty(Path::new("/data"), 512))
}

fn nothing(_: u64, _: &[u8]) -> Result<(), LogError> {
    Ok(())
}

fn open_test_disk(disk: &FaultDisk) -> Arc<Log> {
    let log = Log::open(Arc::new(disk.clone()), Path::new(DIR), small(), 1, &mut nothing);
    log.expect("the log opens").0
}

fn wait(log: &Log, commit: Commit) -> Result<(), LogError> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match log.settle(commit, &waker) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

/// Appends again until there is room: the log looks for it by itself.
fn append_once_there_is_room(log: &Log, entry: &[u8]) -> Commit {
    loop {
        match log.append(&[entry], Durability::Always) {
            Ok(commit) => return commit,
            Err(LogError::DiskFull { .. }) => thread::yield_now(),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn what_many_threads_append_is_found_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path().join("log");
    let files = Arc::new(RealFiles);
    let (log, recovery) =
        Log::open(files.clone(), &dir, small(), 1, &mut nothing).expect("it opens");
    assert!(recovery.created);
    let appended = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for worker in 0_u8..8 {
            let (log, appended) = (&log, &appended);
            scope.spawn(move || {
                for round in 0_u8..100 {
                    let entry = vec![worker; usize::from(round) * 7];
                    let durability = match round % 4 {
                        0 => Durability::Os,
                        1 => Durability::Interval(5),
                        _ => Durability::Always,
                    };
                    let (head, body) = entry.split_at(entry.len() / 2);
                    let commit = log.append(&[head, body], durability).expect("it is taken");
                    assert_eq!(commit.synced != 0, durability == Durability::Always);
                    wait(log, commit).expect("it settles");
                    appended.lock().insert(commit.written - 1, entry);
                }
            });
        }
    });
    assert_eq!(log.end(), 801);
    log.sync().expect("it syncs");
    let status = log.status();
    assert_eq!((status.written, status.synced, status.end), (801, 801, 801));
    assert!(status.segments > 5, "several segments were used");
    log.close().expect("it closes");
    log.close().expect("closing twice is fine");
    assert_eq!(log.append(&[b"x"], Durability::Os), Err(LogError::Closed));
    drop(log);

    let mut found = BTreeMap::new();
    let (log, recovery) = Log::open(files, &dir, small(), 1, &mut |position, entry| {
        found.insert(position, entry.to_vec());
        Ok(())
    })
    .expect("it opens");
    assert!(recovery.clean && !recovery.created);
    assert_eq!(recovery.entries, 800);
    assert_eq!(found, appended.into_inner());
    assert_eq!(log.append(&[b"x"], Durability::Always).expect("taken").synced, 802);
}

#[test]
fn old_segments_go_once_they_are_not_needed() {
    let disk = test_disk();
    let log = open_test_disk(&disk);
    for _ in 0..200 {
        let commit = log.append(&[&[1; 1000]], Durability::Always).expect("it is taken");
        wait(&log, commit).expect("it settles");
        log.cut(commit.written).expect("it cuts");
    }
    let status = log.status();
    assert!(status.needed_bytes <= 2 * small().segment_bytes, "{status:?}");
    log.close().expect("it closes");
    drop(log);
    let mut first = None;
    Log::open(Arc::new(disk), Path::new(DIR), small(), 195, &mut |position, _| {
        first.get_or_insert(position);
        Ok(())
    })
    .expect("it opens");
    assert_eq!(first, Some(195));
}

#[test]
fn entries_longer_than_a_segment_are_taken() {
    let disk = test_disk();
    let log = open_test_disk(&disk);
    let lengths = [10, 100_000, 20, 40_000, 70_000, 0];
    for len in lengths {
        let entry = vec![7; len];
        let commit = log.append(&[&entry], Durability::Always).expect("it is taken");
        wait(&log, commit).expect("it settles");
    }
    drop(log);
    let mut found = Vec::new();
    Log::open(Arc::new(disk), Path::new(DIR), small(), 1, &mut |_, entry| {
        found.push(entry.len());
        Ok(())
    })
    .expect("it opens");
    assert_eq!(found, lengths);
}

#[test]
fn a_full_disk_is_survived_unattended() {
    let disk = test_disk();
    let log = open_test_disk(&disk);
    disk.set_capacity(3 * small().segment_bytes);
    let full = loop {
        match log.append(&[&[1; 1000]], Durability::Always) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(full, LogError::DiskFull { .. }), "{full}");
    log.sync().expect("what was taken is synced");
    let end = log.end();
    disk.set_capacity(u64::MAX);
    let commit = append_once_there_is_room(&log, b"again");
    assert!(commit.written > end);
    wait(&log, commit).expect("it settles");
    assert_eq!(log.status().poisoned, None);
}

#[test]
fn an_oversize_entry_without_room_does_not_stop_the_others() {
    let disk = test_disk();
    let log = open_test_disk(&disk);
    log.append(&[b"x"], Durability::Always).expect("it is taken");
    log.sync().expect("it syncs");
    disk.set_capacity(3 * small().segment_bytes);
    let big = vec![1; 100_000];
    let refused = log.append(&[&big], Durability::Always).expect_err("there is no room for it");
    assert!(matches!(refused, LogError::DiskFull { needed } if needed > 100_000), "{refused}");
    append_once_there_is_room(&log, b"small");
    disk.set_capacity(u64::MAX);
    let commit = append_once_there_is_room(&log, &big);
    wait(&log, commit).expect("it settles");
}

#[test]
fn a_failed_sync_wakes_everybody_with_an_error() {
    let disk = test_disk();
    let log = open_test_disk(&disk);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut settled = 0;
                loop {
                    let commit = match log.append(&[b"entry"], Durability::Always) {
                        Ok(commit) => commit,
                        Err(error) => break assert!(matches!(error, LogError::Poisoned(_))),
                    };
                    match wait(&log, commit) {
                        Ok(()) => settled += 1,
                        Err(error) => break assert!(matches!(error, LogError::Poisoned(_))),
                    }
                    if settled == 5 {
                        disk.fail(Call::Sync, 0, ErrorKind::Other);
                    }
                }
            });
        }
    });
    assert!(matches!(log.status().poisoned, Some(LogError::Poisoned(_))));
    assert!(matches!(log.close(), Err(LogError::Poisoned(_))));
    let syncs = disk.calls(Call::Sync);
    drop(log);
    assert_eq!(disk.calls(Call::Sync), syncs, "no sync is tried after the one that failed");
}

#[test]
fn an_interval_is_synced_without_anyone_asking() {
    let disk = test_disk();
    let log = open_test_disk(&disk);
    let commit = log.append(&[b"x"], Durability::Interval(1)).expect("it is taken");
    assert_eq!(commit.synced, 0);
    wait(&log, Commit { written: 0, synced: commit.written }).expect("it is synced by itself");
}

#[test]
fn an_entry_beyond_all_bounds_is_refused() {
    let log = open_test_disk(&test_disk());
    // The same mebibyte many times over, so that it costs nothing.
    let part = vec![0; 1 << 20];
    let parts: Vec<&[u8]> = std::iter::repeat_n(&part[..], 1025).collect();
    let refused = log.append(&parts, Durability::Os);
    assert!(matches!(refused, Err(LogError::TooLarge { .. })));
    assert_eq!(log.end(), 1);
}
