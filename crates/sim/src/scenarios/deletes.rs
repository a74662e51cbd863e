//! Deletes and expiries that might come back.

use super::stage::{KEPT, PUT, Stage};
use crate::client::{Kind, Told};
use bytes::Bytes;
use shoal_core::clock::Stamp;
use shoal_core::quorum::{Ask, Item, Origin, Reply};
use shoal_core::replica::Floor;
use shoal_core::{NodeId, OwnedRecord, Version};
use std::sync::Arc;

#[test]
fn a_delete_is_purged_only_after_the_owner_that_missed_it_has_it() {
    let mut stage = Stage::new(3, 3);
    stage.write(1, PUT);
    stage.run(10);
    stage.isolate(3);
    stage.write(1, Kind::Delete);
    stage.run(3_600_000);
    stage.purge(1);
    // The round came to nothing.
    let is_dead =
        |stage: &Stage, at| stage.held(at).is_some_and(|held| held.borrow().is_tombstone());
    assert!(is_dead(&stage, 1) && is_dead(&stage, 2));
    assert!(stage.held(3).is_some() && !is_dead(&stage, 3));
    stage.heal();
    stage.compare(1, 3);
    stage.run(5_000);
    stage.purge(1);
    assert_eq!([1, 2, 3].map(|at| stage.held(at)), [None, None, None]);
    assert_eq!(stage.world.purged, 1);
    assert_eq!(stage.read(3), None);
    stage.judge();
}

#[test]
fn a_hint_of_a_purged_delete_does_not_beat_a_newer_write_of_the_slowest_clock() {
    let mut stage = Stage::new(5, 3);
    stage.world.node(NodeId(5)).offset_ms = -400;
    stage.write(1, PUT);
    stage.cut(4, 3);
    stage.write(4, Kind::Delete);
    stage.run(6_000);
    stage.compare(1, 3);
    stage.purge(1);
    assert_eq!([1, 2, 3].map(|at| stage.held(at)), [None, None, None]);
    let hints = |stage: &Stage| stage.world.nodes[3].copies[0].hints.len();
    assert_eq!(hints(&stage), 1, "the delete is kept for the owner that was cut off");
    let version = stage.write(5, PUT);
    let value = stage.newest_value();
    let floor = stage.world.nodes[0].copies[0].replica.floor();
    assert!(version > floor.last_version());
    stage.heal();
    stage.run(5_000);
    assert_eq!(hints(&stage), 0);
    for at in [1, 2, 3, 5] {
        assert_eq!(stage.read(at), Some(value.clone()));
    }
    stage.judge();
}

/// How many owners still have the tombstone after a round of purge while one more comes in.
fn left_by_a_purge_during_a_move() -> usize {
    let mut stage = Stage::new(4, 3);
    stage.write(1, PUT);
    stage.write(1, Kind::Delete);
    stage.run(10);
    stage.isolate(4);
    stage.world.move_to(0, &[1, 2, 4]);
    for node in [1, 2, 3] {
        stage.world.pull_map(NodeId(node));
    }
    stage.run(100);
    stage.purge(1);
    let left = [1, 2, 3].into_iter().filter(|at| stage.held(*at).is_some()).count();
    stage.heal();
    stage.world.pull_map(NodeId(4));
    stage.run(5_000);
    assert_eq!(stage.world.cut_overs, 1);
    stage.purge(1);
    assert_eq!([1, 2, 4].map(|at| stage.held(at)), [None, None, None]);
    assert_eq!(stage.read(4), None);
    left
}

#[test]
fn nothing_is_purged_while_owners_change() {
    assert_eq!(left_by_a_purge_during_a_move(), 3);
}

/// What a read finds after two rounds of purge for one floor, between which a live record was
/// read that comes back to an owner later. The delete was on one owner only in the first round.
fn found_after_two_rounds_of_one_floor() -> Option<Bytes> {
    let mut stage = Stage::with(3, 3, |options| options.hints = 0);
    stage.isolate(2);
    stage.write(3, PUT);
    stage.run(6_000);
    stage.isolate(1);
    assert_eq!(stage.ask(1, Kind::Delete), Told::Unknown);
    stage.run(6_000);
    stage.heal();
    let floor = Floor(Stamp::start_of(stage.world.true_ms() - 1));
    stage.purge_to(1, floor);
    let read = stage.serve(3, Ask::Read { key: stage.key(0), whole: true });
    let Reply::Found { record: Some(old), floor: carried, .. } = read else {
        unreachable!("it was written there, and not deleted")
    };
    stage.compare(1, 3);
    stage.compare(1, 2);
    stage.purge_to(1, floor);
    assert_eq!([1, 2, 3].map(|at| stage.held(at)), [None, None, None]);
    stage.offer(2, &old, Origin::Kept { floor: carried });
    stage.compare(2, 1);
    stage.read(1)
}

#[test]
fn what_was_read_before_the_proof_does_not_come_back_after_it() {
    assert_eq!(found_after_two_rounds_of_one_floor(), None);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn bugs_that_random_runs_rarely_reach_are_found() {
    use shoal_core::planted::{Bug, plant};
    plant(Some(Bug::PurgeDuringMove));
    assert_eq!(left_by_a_purge_during_a_move(), 0);
    plant(Some(Bug::FloorBeforeProof));
    assert!(found_after_two_rounds_of_one_floor().is_some());
    plant(Some(Bug::ExpiryByOwnClock));
    assert!(matches!(found_by_the_clock_ahead_and_then_without_it(), [None, Some(_)]));
    plant(Some(Bug::FloorHidesNewer));
    assert!(matches!(said_of_a_batch_below_a_floor_and_a_newer().0, Reply::BelowFloor(_)));
    plant(None);
}

#[test]
fn a_late_repair_below_the_floor_is_refused() {
    let mut stage = Stage::new(3, 3);
    stage.write(1, PUT);
    stage.run(10);
    let old = stage.held(3).expect("it was written there");
    stage.write(1, Kind::Delete);
    stage.run(10);
    stage.purge(1);
    for at in [1, 2, 3] {
        assert!(matches!(stage.offer(at, &old, KEPT), Reply::BelowFloor(_)));
        assert_eq!(stage.held(at), None);
    }
    assert_eq!(stage.read(2), None);
}

#[test]
fn what_expired_once_stays_expired_whatever_clocks_say() {
    for seed in 0..10 {
        let mut stage = Stage::with(3, 3, |options| {
            options.seed = seed;
            options.keys = 1;
        });
        for (at, offset_ms) in [(1, 240), (2, -240), (3, 0)] {
            stage.world.node(NodeId(at)).offset_ms = offset_ms;
        }
        stage.write(2, Kind::Put { ttl_ms: Some(700) });
        let mut lines = Vec::new();
        for turn in 0..1_000 {
            lines.push(stage.begin(turn % 3 + 1, vec![stage.key(0)], Kind::Read));
            stage.run(1);
        }
        let found: Vec<bool> = lines
            .into_iter()
            .map(|line| matches!(stage.told(line), Told::Found { value: Some(_), .. }))
            .collect();
        assert!(found[0] && !found[999]);
        stage.judge();
    }
}

/// Two nodes that own nothing ask one after the other. What the first finds has expired by the
/// clock of the one owner that is ahead; the second asks the two others.
fn found_by_the_clock_ahead_and_then_without_it() -> [Option<Bytes>; 2] {
    let mut stage = Stage::new(5, 3);
    for (at, offset_ms) in [(1, 240), (2, -240), (3, -240), (4, 0), (5, -240)] {
        stage.world.node(NodeId(at)).offset_ms = offset_ms;
    }
    stage.write(5, Kind::Put { ttl_ms: Some(1_000) });
    stage.run(10);
    let expiry_ms = stage.held(1).and_then(|held| held.expires_at).expect("it was given one");
    let wait_ms = expiry_ms - 220 - stage.world.true_ms();
    stage.run(wait_ms);
    let first = stage.read(4);
    stage.world.node(NodeId(5)).suspects.insert(NodeId(1));
    [first, stage.read(5)]
}

#[test]
fn what_expired_by_one_clock_does_not_live_again_by_others() {
    assert_eq!(found_by_the_clock_ahead_and_then_without_it(), [None, None]);
}

/// What an owner says to a batch of which one key lies below its floor and the other has
/// something newer than that.
fn said_of_a_batch_below_a_floor_and_a_newer() -> (Reply, Version) {
    let mut stage = Stage::new(3, 3);
    let early = stage.write(1, PUT);
    // Without anything dead no floor is raised.
    stage.write_to(1, 2, Kind::Delete);
    stage.run(10);
    stage.purge(1);
    assert_eq!(stage.held_under(2, 2), None, "it was purged");
    let newer = stage.write_to(1, 1, PUT);
    let old = stage.held(1).expect("it was written there");
    let record = OwnedRecord { version: early, written: early, ..old };
    let items = [2, 1].map(|number| Item { key: stage.key(number), record: record.clone() });
    let origin = Origin::Fresh { base: None, last: false };
    (stage.serve(2, Ask::Take { items: Arc::from(items), origin }), newer)
}

/// Whoever stamps again must stamp above both.
#[test]
fn of_a_batch_below_a_floor_what_is_newer_is_told() {
    let (said, newer) = said_of_a_batch_below_a_floor_and_a_newer();
    assert_eq!(said, Reply::Newer(newer));
}

#[test]
fn a_longer_life_given_at_the_moment_of_expiry_wins() {
    for early_ms in 0..4 {
        let mut stage = Stage::new(3, 3);
        stage.write(1, Kind::Put { ttl_ms: Some(100) });
        let expiry_ms = stage.held(1).and_then(|held| held.expires_at).expect("it was given one");
        let wait_ms = expiry_ms - stage.world.true_ms();
        stage.run(wait_ms - early_ms);
        stage.write(2, Kind::Put { ttl_ms: Some(10_000) });
        let value = stage.newest_value();
        stage.run(1_000);
        assert_eq!([1, 2, 3].map(|at| stage.read(at)), [1, 2, 3].map(|_| Some(value.clone())));
    }
}
