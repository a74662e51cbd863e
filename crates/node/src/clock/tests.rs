//! Stamps over restarts, alone and among others.

use super::*;
use shoal_core::clock::CEILING_STEP_MS;
use shoal_storage::directory::DataDirectory;
use std::path::Path;

const START_MS: Millis = 1_700_000_000_000;

/// A clock of the directory, and the hand that sets its time.
fn clock(at: &Path, now_ms: &Arc<AtomicU64>) -> (NodeClock, DataDirectory) {
    let mut directory = DataDirectory::open(at, || (1, 1)).expect("it opens");
    let kept = directory.ceiling("clock").expect("it opens");
    let hand = Arc::clone(now_ms);
    let time = TimeSource::new(move || hand.load(Ordering::Relaxed));
    let clock = NodeClock::new(NodeId(1), kept, time);
    directory.complete().expect("it is whole");
    (clock, directory)
}

#[test]
fn among_others_a_clock_that_restarts_again_and_again_stamps_within_a_second() {
    let at = tempfile::tempdir().expect("a temporary directory");
    let at = at.path().join("data");
    let now_ms = Arc::new(AtomicU64::new(START_MS));
    let mut last = Stamp::ZERO;
    for _ in 0..20 {
        let (clock, directory) = clock(&at, &now_ms);
        clock.among_others();
        clock.raise(clock.now_ms()).expect("the ceiling rises");
        let waits_ms = clock.stamps_in_ms();
        assert!(waits_ms <= CLUSTER_CEILING_STEP_MS, "{waits_ms} ms");
        if waits_ms > 0 {
            now_ms.fetch_add(waits_ms - 1, Ordering::Relaxed);
            assert!(matches!(clock.next(), Err(ClockError::Ahead { .. })), "a moment too early");
            now_ms.fetch_add(1, Ordering::Relaxed);
        }
        // Its first stamp is the first after the ceiling, which another millisecond may take in.
        now_ms.fetch_add(1, Ordering::Relaxed);
        let stamp = clock.next().expect("it stamps");
        assert!(stamp > last);
        last = stamp;
        drop((clock, directory));
    }
}

#[test]
fn a_node_that_was_alone_a_moment_ago_stamps_soon_after_a_restart_among_others() {
    let at = tempfile::tempdir().expect("a temporary directory");
    let at = at.path().join("data");
    let now_ms = Arc::new(AtomicU64::new(START_MS));
    let last = {
        let (clock, _directory) = clock(&at, &now_ms);
        clock.stamp(clock.now_ms()).expect("it stamps");
        clock.lower().expect("the ceiling is laid down");
        // It goes on as before, and may come as far as it likes.
        now_ms.fetch_add(2 * CLUSTER_CEILING_STEP_MS, Ordering::Relaxed);
        clock.next().expect("it stamps")
    };
    let (clock, _directory) = clock(&at, &now_ms);
    clock.among_others();
    clock.raise(clock.now_ms()).expect("the ceiling rises");
    assert!(clock.stamps_in_ms() <= CLUSTER_CEILING_STEP_MS, "{} ms", clock.stamps_in_ms());
    now_ms.fetch_add(clock.stamps_in_ms() + 1, Ordering::Relaxed);
    assert!(clock.next().expect("it stamps") > last);
}

#[test]
fn a_clock_that_stands_at_its_ceiling_does_not_lay_it_down() {
    let at = tempfile::tempdir().expect("a temporary directory");
    let at = at.path().join("data");
    let now_ms = Arc::new(AtomicU64::new(START_MS));
    let first = {
        let (clock, _directory) = clock(&at, &now_ms);
        clock.stamp(clock.now_ms()).expect("it stamps");
        clock.lower().expect("the ceiling is laid down");
        clock.next().expect("it stamps")
    };
    for _ in 0..3 {
        let (clock, _directory) = clock(&at, &now_ms);
        clock.lower().expect("it is low enough");
        assert!(clock.stamp(clock.now_ms()).expect("it stamps") > first.version(NodeId(1)));
    }
}

#[test]
fn alone_a_clock_stamps_at_once_and_far_ahead() {
    let at = tempfile::tempdir().expect("a temporary directory");
    let at = at.path().join("data");
    let now_ms = Arc::new(AtomicU64::new(START_MS));
    let first = {
        let (clock, _directory) = clock(&at, &now_ms);
        clock.stamp(clock.now_ms()).expect("it stamps")
    };
    let (clock, _directory) = clock(&at, &now_ms);
    let second = clock.stamp(clock.now_ms()).expect("it stamps");
    assert!(second > first && second.wall_ms >= START_MS + CEILING_STEP_MS);
}

#[test]
fn the_ceiling_is_raised_ahead_only_where_stamps_are_given() {
    let at = tempfile::tempdir().expect("a temporary directory");
    let now_ms = Arc::new(AtomicU64::new(START_MS));
    let (clock, _directory) = clock(&at.path().join("data"), &now_ms);
    clock.among_others();
    clock.raise(START_MS).expect("the ceiling rises");
    now_ms.fetch_add(CLUSTER_CEILING_STEP_MS, Ordering::Relaxed);
    assert!(!clock.wants_raising(), "nobody stamps");
    clock.next().expect("it raises the ceiling itself");
    assert!(!clock.wants_raising(), "it is high enough");
    now_ms.fetch_add(CLUSTER_CEILING_STEP_MS * 3 / 4, Ordering::Relaxed);
    clock.next().expect("it stamps");
    assert!(clock.wants_raising());
    assert!(!clock.wants_raising(), "once for what was stamped");
}
