//! Clocks that differ, jump, or are lied to.

use super::stage::{KEPT, PUT, Stage};
use crate::client::{Kind, Told};
use shoal_core::clock::{CLUSTER_CEILING_STEP_MS, MAX_SKEW_MS, Stamp};
use shoal_core::quorum::{Origin, Refusal, Reply};
use shoal_core::record::{OwnedBody, PLAIN};
use shoal_core::version::MAX_WALL_MS;
use shoal_core::{NodeId, OwnedRecord, Version};

#[test]
fn of_two_writes_one_after_the_other_the_later_wins_whatever_clocks_say() {
    let mut stage = Stage::new(3, 3);
    stage.world.node(NodeId(1)).offset_ms = 240;
    stage.world.node(NodeId(2)).offset_ms = -240;
    for _ in 0..2_000 {
        let first = stage.write(1, PUT);
        let second = stage.write(2, PUT);
        assert!(second > first);
        let value = stage.newest_value();
        assert_eq!(stage.read(3), Some(value));
    }
    stage.judge();
}

fn record(version: Version, value: &'static [u8]) -> OwnedRecord {
    let body = OwnedBody::Live { kind: PLAIN, bytes: value.into() };
    OwnedRecord { version, written: version, expires_at: None, body }
}

#[test]
fn a_time_far_ahead_is_refused_and_moves_no_clock() {
    let mut stage = Stage::new(3, 3);
    let day_ms = 24 * 3_600_000;
    for at_ms in [501, day_ms, i64::MAX] {
        assert_eq!(stage.ask(1, Kind::Event { at_ms, deletes: false }), Told::Refused);
    }
    let now_ms = stage.world.true_ms();
    for wall_ms in [now_ms + 501, now_ms + 86_400_000, 4_294_967_296_000, MAX_WALL_MS] {
        let far = record(Version { wall_ms, counter: 0, node: NodeId(2) }, b"far");
        let fresh = Origin::Fresh { base: None, last: false };
        assert_eq!(stage.offer(1, &far, fresh), Reply::Refused(Refusal::Skewed));
    }
    // Another's clock is believed only as far as clocks may differ.
    let true_ms = stage.world.true_ms();
    let node = stage.world.node(NodeId(1));
    let mut clock = node.clock;
    clock.observe(Stamp::start_of(MAX_WALL_MS), node.physical_ms(true_ms));
    assert!(clock.last().wall_ms() <= true_ms + MAX_SKEW_MS);
    assert_eq!([1, 2, 3].map(|at| stage.held(at)), [None, None, None]);
    stage.run(1_000);
    let version = stage.write(1, PUT);
    assert!(version.wall_ms <= stage.world.true_ms() + MAX_SKEW_MS);
}

#[test]
fn a_clock_set_back_over_a_restart_stamps_above_all_before_and_soon() {
    let mut stage = Stage::new(3, 3);
    let before = stage.write(1, PUT);
    stage.world.crash_losing_all(NodeId(1));
    stage.world.node(NodeId(1)).offset_ms = -400;
    stage.world.start(NodeId(1));
    let began_ms = stage.world.elapsed_ms;
    let after = loop {
        match stage.ask(1, PUT) {
            Told::Written { version: Some(version) } => break version,
            told => assert_eq!(told, Told::Refused),
        }
        stage.run(100);
    };
    assert!(after > before);
    assert!(stage.world.elapsed_ms - began_ms <= CLUSTER_CEILING_STEP_MS + MAX_SKEW_MS);
    // One that is an hour behind stamps nothing; the others serve.
    stage.world.crash_losing_all(NodeId(1));
    stage.world.node(NodeId(1)).offset_ms = -3_600_000;
    stage.world.start(NodeId(1));
    assert_eq!(stage.ask(1, PUT), Told::Refused);
    assert!(stage.write(2, PUT) > after);
}

/// Whether all owners end with the greater of two records of one version, whichever came first.
fn a_tie_is_decided_alike(turn: u32) -> bool {
    let mut stage = Stage::new(3, 3);
    let wall_ms = stage.world.true_ms();
    let version = Version { wall_ms, counter: 0, node: NodeId(2) };
    let (one, other) = (record(version, b"one"), record(version, b"other"));
    let order = if turn.is_multiple_of(2) { [&one, &other] } else { [&other, &one] };
    stage.offer(1, order[0], KEPT);
    stage.offer(2, order[1], KEPT);
    stage.compare(1, 2);
    stage.compare(2, 3);
    let held = [1, 2, 3].map(|at| stage.held(at));
    let winner = if one.borrow().rank() > other.borrow().rank() { one } else { other };
    held.iter().all(|held| held.as_ref() == Some(&winner))
}

#[test]
fn of_two_records_of_one_version_one_wins_everywhere() {
    for turn in 0..50 {
        assert!(a_tie_is_decided_alike(turn));
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_tie_that_is_not_decided_is_found() {
    use shoal_core::planted::{Bug, plant};
    plant(Some(Bug::TiesNotDecided));
    assert!((0..2).any(|turn| !a_tie_is_decided_alike(turn)));
    plant(None);
}

#[test]
fn batches_of_one_moment_are_never_mixed() {
    let mut stage = Stage::new(3, 3);
    let keys = vec![stage.key(0), stage.key(1)];
    for _ in 0..200 {
        let batch = Kind::Batch { deletes: vec![false, false] };
        let lines = [1, 2].map(|at| stage.begin(at, keys.clone(), batch.clone()));
        let told = lines.map(|line| stage.told(line));
        assert!(told.iter().any(|told| matches!(told, Told::Written { .. })));
        stage.run(20);
        for at in [1, 2, 3] {
            let value = |number| stage.held_under(at, number).map(|held| held.body);
            assert!(value(0).is_some() && value(0) == value(1));
        }
    }
    stage.judge();
}
