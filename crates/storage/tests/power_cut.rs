//! The commit log loses power, meets errors and is damaged, and keeps its promises.

#![expect(clippy::panic, reason = "this is how a test fails")]

mod log_harness;

use log_harness::{DIR, IMAGES, Oracle, Step, empty, exhaust, open, options, revive, wander};
use shoal_storage::Durability::{Always, Interval, Os};
use shoal_storage::disk::log::{Log, LogError, LogOptions};
use shoal_storage::fault::{Call, Dirty, Fate, FaultDisk, Image};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many images are judged at least, by [`no_cut_of_power_breaks_a_promise`] alone.
const LEAST_IMAGES: u64 = 20_000;

fn short_scripts() -> Vec<(&'static str, Vec<Step>)> {
    use Step::{Append, Close, Commit, Cut, Keep, Sync};
    vec![
        ("one entry", vec![Append(10, Always), Commit]),
        (
            "two groups",
            vec![Append(10, Always), Commit, Append(100, Always), Append(3, Os), Commit],
        ),
        (
            "unsynced groups behind each other",
            vec![Append(30, Os), Commit, Append(30, Os), Commit, Append(30, Os), Commit],
        ),
        (
            "a sync covers what was written before",
            vec![
                Append(30, Os),
                Commit,
                Append(200, Interval(9)),
                Commit,
                Append(5, Always),
                Commit,
            ],
        ),
        (
            "a change of segments",
            vec![Append(200, Always), Commit, Append(150, Os), Commit, Append(200, Always), Commit],
        ),
        (
            "an old segment is used again",
            vec![
                Append(200, Always),
                Commit,
                Append(200, Always),
                Commit,
                Keep,
                Append(200, Always),
                Commit,
                Cut,
                Keep,
                Keep,
                Append(200, Always),
                Commit,
                Append(200, Os),
                Commit,
            ],
        ),
        (
            "an oversize entry",
            vec![
                Append(9, Always),
                Commit,
                Append(1000, Always),
                Commit,
                Append(9, Always),
                Commit,
            ],
        ),
        ("a clean close", vec![Append(9, Always), Append(9, Os), Commit, Sync, Close]),
    ]
}

#[test]
fn no_cut_of_power_breaks_a_promise() {
    for (name, script) in short_scripts() {
        let before = IMAGES.get();
        exhaust(&script, &options(400, 7), 512, 512);
        exhaust(&script, &options(400, 8), 64, 16);
        let images = IMAGES.get() - before;
        println!("{name}: {images} images");
    }
    for seed in 0..400 {
        wander(seed, 6);
    }
    let images = IMAGES.get();
    println!("{images} images in all");
    assert!(images >= LEAST_IMAGES, "only {images} images were judged");
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    revive();
}

/// A script with everything in it, short enough to be repeated for each of its calls.
fn mixed_script() -> Vec<Step> {
    use Step::{Append, Commit, Cut, Keep, Sync};
    vec![
        Append(40, Always),
        Commit,
        Append(100, Os),
        Commit,
        Append(60, Always),
        Append(10, Os),
        Commit,
        Append(200, Always),
        Commit,
        Keep,
        Append(90, Always),
        Commit,
        Cut,
        Keep,
        Append(250, Os),
        Commit,
        Keep,
        Sync,
        Append(600, Always),
        Commit,
        Keep,
        Append(30, Always),
        Commit,
    ]
}

/// After an error: the process starts again on what it sees; then the power goes, and what the
/// second process was handed must still be there.
fn restart_after_error(disk: &FaultDisk, options: &LogOptions, oracle: &Oracle, promised: u64) {
    disk.set_capacity(u64::MAX);
    let mut second = oracle.clone();
    let log = second.judge(disk, options, promised);
    second.run(&log, &[Step::Append(30, Always), Step::Commit]).expect("the disk is fine again");
    let found = second.synced;
    let cut = disk.image().crash(&mut |_| Fate::Lost);
    second.judge(&FaultDisk::new(cut), options, found);
}

#[test]
fn an_error_at_any_call_stops_the_log_and_loses_nothing() {
    let options = options(400, 3);
    for error in [ErrorKind::Other, ErrorKind::StorageFull] {
        for dirty in [Dirty::SeenOn, Dirty::Gone] {
            for nth in 0.. {
                let disk = FaultDisk::new(empty(512));
                disk.fail(Call::Any, nth, error);
                disk.set_dirty(dirty);
                let mut oracle = Oracle::default();
                let opened = open(&disk, &options, &oracle, 0);
                let mut refused = opened.is_err();
                if let Ok((log, _)) = opened {
                    let result = oracle.run(&log, &mixed_script());
                    refused = result.is_err();
                    if matches!(result, Err(LogError::Poisoned(_))) {
                        check_poisoned(&log, &oracle);
                    }
                    if disk.calls(Call::Any) <= nth {
                        assert_eq!(result, Ok(()), "without an error all goes well");
                        break;
                    }
                }
                // What was only written may be gone with the pages that a failed sync gave up.
                let promised = if refused { oracle.synced } else { oracle.written };
                restart_after_error(&disk, &options, &oracle, promised);
            }
        }
    }
}

fn check_poisoned(log: &Log, oracle: &Oracle) {
    let waker = std::task::Waker::noop();
    let poisoned = |result: Result<_, LogError>| matches!(result, Err(LogError::Poisoned(_)));
    assert!(poisoned(log.append(&[b"x"], Always).map(drop)));
    assert!(poisoned(log.cut(1)));
    let end = log.end();
    let commit = |position| shoal_storage::Commit { written: position, synced: position };
    if oracle.synced.max(1) < end {
        let settled = log.settle(commit(end), waker);
        assert!(matches!(settled, std::task::Poll::Ready(Err(LogError::Poisoned(_)))));
        assert!(poisoned(log.sync()));
    }
    let settled = log.settle(commit(oracle.synced), waker);
    assert_eq!(settled, std::task::Poll::Ready(Ok(())), "what was settled stays so");
    assert!(!log.step(std::time::Duration::ZERO) && !log.keep_house(), "nothing is tried again");
}

#[test]
fn a_full_disk_refuses_and_then_goes_on_by_itself() {
    let options = options(400, 5);
    for capacity in (900..2600).step_by(50) {
        let disk = FaultDisk::new(empty(512));
        let mut oracle = Oracle::default();
        let (log, _) = open(&disk, &options, &oracle, 0).expect("there is room for a start");
        disk.set_capacity(capacity);
        let full = loop {
            match oracle.run(&log, &[Step::Append(90, Always), Step::Commit, Step::Keep]) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(full, LogError::DiskFull { .. }), "{full}");
        assert!(log.status().disk_full && log.status().poisoned.is_none());
        let end = log.end();
        assert_eq!(oracle.synced, end, "what was taken is safe");
        disk.set_capacity(u64::MAX);
        while log.keep_house() {}
        oracle.run(&log, &[Step::Append(90, Always), Step::Commit]).expect("there is room");
        let crashed = disk.image().crash(&mut |_| Fate::Lost);
        let promised = oracle.synced;
        oracle.judge(&FaultDisk::new(crashed), &options, promised);
    }
}

/// A log of several segments, and what is in it.
fn sample(close: bool) -> (Image, Oracle, LogOptions) {
    use Step::{Append, Close, Commit, Keep};
    let options = options(300, 11);
    let disk = FaultDisk::new(empty(512));
    let mut oracle = Oracle::default();
    let (log, _) = open(&disk, &options, &oracle, 0).expect("made");
    let mut script = vec![Append(10, Always)];
    for len in [20, 30, 60, 80, 5, 7] {
        script.extend([Append(len, Always), Commit, Keep]);
    }
    if close {
        script.push(Close);
    }
    oracle.run(&log, &script).expect("the disk is fine");
    (disk.image(), oracle, options)
}

/// Opens a damaged image: an error, or exactly what was promised but for the `open_end` last
/// entries, which nothing later vouches for. Returns whether it was an error.
fn detected(image: Image, oracle: &Oracle, options: &LogOptions, open_end: u64) -> bool {
    IMAGES.set(IMAGES.get() + 1);
    match open(&FaultDisk::new(image), options, oracle, oracle.synced - open_end) {
        Ok(_) => false,
        Err(LogError::Damaged { .. } | LogError::UnknownVersion { .. }) => true,
        Err(other) => panic!("damage has a name of its own: {other}"),
    }
}

fn name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

#[test]
fn every_flipped_bit_is_detected_or_harmless() {
    for close in [true, false] {
        let (image, oracle, options) = sample(close);
        let open_end = u64::from(!close);
        let (mut found, mut all) = (0, 0);
        for path in image.paths() {
            let len = image.bytes(&path).expect("a file").len();
            for bit in 0..len * 8 {
                let mut damaged = image.clone();
                damaged.damage(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
                let was = detected(damaged, &oracle, &options, open_end);
                found += u64::from(was);
                all += 1;
            }
        }
        println!("closed: {close}; of {all} flips {found} were detected, the others were harmless");
        assert!(found * 3 > all, "most bytes matter");
    }
}

#[test]
fn every_truncation_and_every_missing_file_is_detected_or_harmless() {
    for close in [true, false] {
        let (image, oracle, options) = sample(close);
        let open_end = u64::from(!close);
        let (mut found, mut all) = (0, 0);
        let paths = image.paths();
        let segments: Vec<PathBuf> =
            paths.iter().filter(|path| name(path).ends_with(".log")).cloned().collect();
        for path in &paths {
            for len in 0..image.bytes(path).expect("a file").len() {
                let mut damaged = image.clone();
                damaged.damage(path, |bytes| bytes.truncate(len));
                found += u64::from(detected(damaged, &oracle, &options, open_end));
                all += 1;
            }
            let mut damaged = image.clone();
            damaged.lose(path);
            let was = detected(damaged, &oracle, &options, open_end);
            // The last segment is one made ahead; the mark of a clean close is not needed.
            let spare = segments.last() == Some(path);
            assert_eq!(was, !spare && name(path) != "clean", "{} is missing", path.display());
        }
        // All of the log's end at once.
        for keep in 0..segments.len() - 1 {
            let mut damaged = image.clone();
            segments[keep..].iter().for_each(|path| damaged.lose(path));
            assert!(detected(damaged, &oracle, &options, open_end), "{keep} segments are left");
        }
        println!("closed: {close}; of {all} truncations {found} were detected");
        assert_eq!(found, all, "no file is ever shorter than it says");
    }
}

#[test]
fn files_of_another_log_or_another_place_are_refused() {
    let (image, oracle, options) = sample(false);
    let other = LogOptions { salt_seed: Some(99), ..options.clone() };
    let disk = FaultDisk::new(empty(512));
    let mut stranger = Oracle::default();
    let (log, _) = open(&disk, &other, &stranger, 0).expect("made");
    stranger.run(&log, &[Step::Append(10, Always), Step::Commit]).expect("the disk is fine");
    let theirs = disk.image();
    let path = |number: u64| Path::new(DIR).join(format!("{number:016x}.log"));
    for (to, bytes) in [
        (path(1), theirs.bytes(&path(1)).expect("a segment").to_vec()),
        (path(2), image.bytes(&path(1)).expect("a segment").to_vec()),
    ] {
        let mut damaged = image.clone();
        damaged.damage(&to, |old| *old = bytes);
        assert!(detected(damaged, &oracle, &options, 0));
    }
}

#[test]
fn a_copy_of_the_log_inside_an_entry_is_not_taken_for_the_log() {
    let options = options(2000, 4);
    let disk = FaultDisk::new(empty(512));
    let mut oracle = Oracle::default();
    let (log, _) = open(&disk, &options, &oracle, 0).expect("made");
    let path = Path::new(DIR).join(format!("{:016x}.log", 1));
    for round in 0..3 {
        oracle.run(&log, &[Step::Append(20, Always), Step::Commit]).expect("fine");
        let copy = disk.image().bytes(&path).expect("a segment")[..300 + round * 40].to_vec();
        log.append(&[&copy], Always).expect("taken");
        oracle.entries.push(copy);
        while log.step(std::time::Duration::ZERO) {}
    }
    let kept = disk.image();
    // Also where the entry that holds the copy is torn.
    for cut in 0..400 {
        let mut torn = kept.clone();
        let len = torn.bytes(&path).expect("a segment").len();
        let end = (0..len).rev().find(|at| torn.bytes(&path).expect("it")[*at] != 0).expect("data");
        torn.damage(&path, |bytes| bytes[end - cut..].fill(0));
        let mut oracle = oracle.clone();
        oracle.judge(&FaultDisk::new(torn), &options, 0);
    }
}

#[test]
fn the_same_script_leaves_the_same_bytes() {
    let (first, ..) = sample(true);
    let (second, ..) = sample(true);
    assert_eq!(first.paths(), second.paths());
    for path in first.paths() {
        assert_eq!(first.bytes(&path), second.bytes(&path), "{}", path.display());
    }
}

#[test]
fn a_checkpoint_beyond_the_end_goes_on_from_there() {
    let options = options(400, 2);
    let disk = FaultDisk::new(empty(512));
    let mut oracle = Oracle::default();
    let (log, _) = open(&disk, &options, &oracle, 0).expect("made");
    oracle.run(&log, &[Step::Append(9, Always), Step::Commit, Step::Append(9, Os)]).expect("fine");
    drop(log);
    for round in 0..3 {
        let (log, recovery) =
            Log::open(Arc::new(disk.clone()), Path::new(DIR), options.clone(), 10, &mut |_, _| {
                Ok(())
            })
            .expect("opens");
        assert_eq!(recovery.next, 10 + round, "the log goes on where the caller does");
        assert_eq!(log.append(&[b"new"], Always).expect("taken").synced, 11 + round);
        log.sync().expect("synced");
        if round == 1 {
            log.close().expect("closed");
        }
    }
}
