//! Values that were evicted, or written over by what was, and might come back.

use super::stage::{KEPT, PUT, Stage};
use bytes::Bytes;
use shoal_core::NodeId;
use shoal_core::quorum::Reply;

/// Three owners in memory that may evict, and do when a test says so.
fn cache(seed: u64) -> Stage {
    Stage::with(3, 3, |options| {
        options.seed = seed;
        options.memory = true;
        options.hints = 0;
        options.evict_every_ms = 1_000_000_000;
    })
}

fn evict(stage: &mut Stage, at: u32) {
    let (slot, key) = (stage.place().slot, stage.key(0));
    stage.world.evict_at(NodeId(at), slot, &key);
}

#[test]
fn what_was_written_over_does_not_come_back_where_the_newer_one_was_evicted() {
    let mut stage = cache(7);
    stage.write(1, PUT);
    stage.run(10);
    let old = stage.held(3).expect("it was written there");
    stage.isolate(3);
    stage.write(1, PUT);
    stage.run(6_000);
    for at in [1, 2] {
        evict(&mut stage, at);
        assert!(matches!(stage.offer(at, &old, KEPT), Reply::BelowMark(_)));
        assert_eq!(stage.held(at), None);
    }
    stage.heal();
    assert_eq!(stage.held(3), Some(old));
    assert_eq!([1, 2, 3].map(|at| stage.read(at)), [None, None, None]);
    stage.write(3, PUT);
    let value = stage.newest_value();
    assert_eq!([1, 2, 3].map(|at| stage.read(at)), [1, 2, 3].map(|_| Some(value.clone())));
    stage.judge();
}

/// What two owners find after one of them lost all, and copied from one that holds an old value and
/// from one that has evicted the newer.
fn found_after_coming_back(seed: u64) -> Option<Bytes> {
    let mut stage = cache(seed);
    stage.write(1, PUT);
    stage.run(10);
    stage.isolate(3);
    stage.write(1, PUT);
    stage.run(6_000);
    evict(&mut stage, 1);
    stage.heal();
    stage.restart(2);
    stage.run(20_000);
    assert_eq!(stage.world.cut_overs, 1, "the second came back");
    // Of the two others it asks the one that came back.
    stage.world.node(NodeId(3)).suspects = [NodeId(1)].into();
    stage.read(3)
}

#[test]
fn who_comes_back_takes_over_what_was_evicted_too() {
    for seed in 0..20 {
        assert_eq!(found_after_coming_back(seed), None, "seed {seed}");
    }
}

#[test]
#[cfg(feature = "planted-bugs")]
fn a_copy_that_keeps_what_others_have_evicted_is_found() {
    use shoal_core::planted::{Bug, plant};
    for bug in [Bug::EvictedKept, Bug::MarkNotCopied] {
        plant(Some(bug));
        assert!((0..20).any(|seed| found_after_coming_back(seed).is_some()), "{bug:?}");
    }
    plant(None);
}
