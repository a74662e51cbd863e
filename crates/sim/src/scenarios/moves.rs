//! Owners that come in while others, or they themselves, fail.

use super::stage::{PUT, Stage};
use shoal_core::NodeId;

/// A fourth owner comes in; `phase` milliseconds after the map says so, `victim` loses its power.
fn add_while_one_dies(victim: u32, phase: u64) {
    let mut stage = Stage::with(5, 3, |options| options.sync_ms = 2);
    for number in 0..80 {
        stage.write_to(5, number, PUT);
    }
    stage.world.move_to(0, &[1, 2, 3, 4]);
    for node in 1..=5 {
        stage.world.pull_map(NodeId(node));
    }
    let mut lines = Vec::new();
    for turn in 0..40 {
        if u64::from(turn) == phase {
            stage.world.crash_losing_all(NodeId(victim));
        }
        let at = if victim == 5 { 2 } else { 5 };
        lines.push(stage.begin(at, vec![stage.key(100 + turn)], PUT));
        stage.run(1);
    }
    stage.world.start(NodeId(victim));
    stage.run(30_000);
    assert_eq!(stage.world.cut_overs, 1, "n{victim} died in phase {phase}");
    assert_eq!(stage.world.map.newest(0).replicas.len(), 4);
    for (at, peer) in [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)] {
        stage.compare(at, peer);
    }
    for line in lines {
        let _ = stage.told(line);
    }
    stage.judge();
}

#[test]
fn adding_an_owner_loses_nothing_whoever_dies_in_whatever_phase() {
    for victim in [1, 4, 5] {
        for phase in 0..40 {
            add_while_one_dies(victim, phase);
        }
    }
}

#[test]
fn a_floor_that_only_some_owners_have_does_not_hold_a_newcomer_up() {
    let mut stage = Stage::new(4, 3);
    stage.write(1, PUT);
    stage.run(10);
    let value = stage.newest_value();
    let (place, now_ms) = (stage.place(), stage.world.true_ms());
    // A round of purge was broken off when it had raised the floor at one owner.
    let floor = shoal_core::replica::Floor(shoal_core::clock::Stamp::start_of(now_ms));
    stage.world.node(NodeId(1)).copies[place.partition].replica.raise_floor(floor);
    stage.world.move_to(0, &[1, 2, 4]);
    for node in 1..=4 {
        stage.world.pull_map(NodeId(node));
    }
    stage.run(10_000);
    assert_eq!(stage.world.cut_overs, 1);
    assert_eq!(stage.read(4), Some(value));
    stage.judge();
}
