//! Writes that reach some owners and not others.

use super::stage::{PUT, Stage};
use crate::client::{Kind, Told};
use shoal_core::NodeId;

#[test]
fn a_write_on_one_owner_is_unknown_and_once_seen_always_seen() {
    let mut stage = Stage::new(3, 3);
    let old = stage.write(1, PUT);
    stage.run(10);
    stage.isolate(1);
    let line = stage.begin(1, vec![stage.key(0)], PUT);
    let value = stage.newest_value();
    stage.run(5);
    stage.restart(1);
    assert_eq!(stage.told(line), Told::Unknown);
    assert!(stage.held(1).is_some_and(|held| held.version > old), "it was stored in one place");
    stage.heal();
    assert_eq!(stage.read(1), Some(value.clone()));
    for _ in 0..5 {
        for at in [2, 3, 1] {
            assert_eq!(stage.read(at), Some(value.clone()));
        }
    }
    stage.judge();
}

#[test]
fn a_batch_is_there_whole_or_not_at_all_wherever_its_coordinator_died() {
    for reached in 0..=3 {
        let mut stage = Stage::new(4, 3);
        for owner in reached + 1..=3 {
            stage.cut(4, owner);
        }
        let keys = (0..3).map(|number| stage.key(number)).collect();
        let line = stage.begin(4, keys, Kind::Batch { deletes: vec![false, true, false] });
        stage.run(1);
        stage.world.crash_losing_all(NodeId(4));
        stage.heal();
        let told = stage.told(line);
        assert!(reached >= 2 || told == Told::Unknown, "{told:?}");
        for (at, peer) in [(1, 2), (1, 3), (2, 3), (1, 2)] {
            stage.compare(at, peer);
        }
        for at in [1, 2, 3] {
            let there = [0, 1, 2].map(|number| stage.held_under(at, number).is_some());
            assert_eq!(there, [reached > 0; 3], "at n{at}, of {reached} reached");
        }
        stage.judge();
    }
}

#[test]
fn nobody_stands_in_for_an_owner() {
    let mut stage = Stage::new(5, 3);
    for owner in [2, 3] {
        stage.isolate(owner);
    }
    assert_eq!(stage.ask(1, PUT), Told::Unknown);
    assert_eq!([4, 5].map(|at| stage.held(at)), [None, None]);
    // Where it is known that they are down nothing is even sent.
    let before = stage.held(1);
    for owner in [2, 3] {
        stage.world.node(NodeId(1)).suspects.insert(NodeId(owner));
    }
    assert_eq!(stage.ask(1, PUT), Told::Refused);
    assert_eq!(stage.ask(1, Kind::Read), Told::Refused);
    assert_eq!(stage.held(1), before);
}

#[test]
fn what_was_acknowledged_is_read_though_one_owner_lost_its_power_and_another_is_cut_off() {
    let mut stage = Stage::with(3, 3, |options| options.sync_ms = 50);
    stage.isolate(3);
    stage.write(1, PUT);
    let value = stage.newest_value();
    stage.restart(2);
    stage.heal();
    stage.isolate(1);
    assert_eq!(stage.read(3), Some(value));
    stage.judge();
}

#[test]
fn a_copy_that_was_lost_answers_for_nothing_until_it_is_back() {
    let mut stage = Stage::with(3, 3, |options| options.memory = true);
    stage.isolate(3);
    stage.write(1, PUT);
    let value = stage.newest_value();
    stage.restart(2);
    stage.heal();
    stage.isolate(1);
    assert_eq!(stage.ask(3, Kind::Read), Told::Refused, "a miss would be wrong");
    stage.heal();
    stage.run(20_000);
    assert_eq!([1, 2, 3].map(|at| stage.read(at)), [1, 2, 3].map(|_| Some(value.clone())));
    stage.judge();
}

#[test]
fn writes_go_on_at_a_majority_whatever_way_links_are_cut() {
    // One node is not heard, hears nothing, or two do not see each other.
    let cuts: [(&[(u32, u32)], u32); 3] =
        [(&[(1, 2), (1, 3)], 2), (&[(2, 1), (3, 1)], 3), (&[(1, 2), (2, 1)], 3)];
    for (links, at) in cuts {
        let mut stage = Stage::new(3, 3);
        for (from, to) in links {
            stage.cut(*from, *to);
        }
        for _ in 0..20 {
            stage.write(at, PUT);
            let value = stage.newest_value();
            assert_eq!(stage.read(at), Some(value));
        }
        stage.heal();
        stage.run(10_000);
        let value = stage.read(at);
        assert_eq!([1, 2, 3].map(|at| stage.read(at)), [1, 2, 3].map(|_| value.clone()));
        stage.judge();
    }
    // Where no two hear each other both ways nothing is acknowledged, and nothing hangs.
    let mut stage = Stage::new(3, 3);
    for (from, to) in [(1, 2), (2, 3), (3, 1)] {
        stage.cut(from, to);
    }
    assert_eq!(stage.ask(1, PUT), Told::Unknown);
    assert_eq!(stage.ask(2, Kind::Read), Told::Refused);
}
