//! Comparison: what it must find, and what it must leave alone.

use super::stage::{PUT, Stage};
use fastrand::Rng;
use shoal_core::record::{OwnedBody, PLAIN};
use shoal_core::repair::{Leaf, TreeSecret};
use shoal_core::{NodeId, OwnedRecord, Version};

fn record(rng: &mut Rng) -> OwnedRecord {
    let version = Version { wall_ms: rng.u64(1..9), counter: 0, node: NodeId(rng.u32(1..4)) };
    let body = match rng.u32(0..4) {
        0 => OwnedBody::Tombstone,
        _ => OwnedBody::Live { kind: PLAIN, bytes: vec![rng.u8(0..4)].into() },
    };
    OwnedRecord { version, written: version, expires_at: None, body }
}

fn leaf(records: &[Option<OwnedRecord>]) -> Leaf {
    let mut leaf = Leaf::default();
    for (number, record) in records.iter().enumerate() {
        if let Some(record) = record {
            leaf.add(TreeSecret(9), format!("key-{number}").as_bytes(), &record.borrow().rank());
        }
    }
    leaf
}

/// One of the ways in which two replicas may differ and hash trees were once fooled.
fn diverge(records: &mut [Option<OwnedRecord>], rng: &mut Rng) {
    let (one, other) = (rng.usize(0..records.len()), rng.usize(0..records.len()));
    match rng.u32(0..5) {
        // The same version, another value.
        0 => {
            if let Some(OwnedRecord { body, .. }) = &mut records[one] {
                *body = OwnedBody::Live { kind: PLAIN, bytes: vec![rng.u8(4..)].into() };
            }
        }
        // Values that trade places.
        1 => records.swap(one, other),
        // The same twice, which cancels out under an exclusive or.
        2 => {
            let twin = record(rng);
            records[one] = Some(twin.clone());
            records[other] = Some(twin);
        }
        // Missing here, deleted there.
        3 => {
            let mut dead = record(rng);
            dead.body = OwnedBody::Tombstone;
            records[one] = if rng.bool() { None } else { Some(dead) };
        }
        _ => {
            if let Some(OwnedRecord { expires_at, .. }) = &mut records[one] {
                *expires_at = Some(rng.u64(..3));
            }
        }
    }
}

#[test]
fn ten_thousand_divergences_are_all_seen() {
    let mut rng = Rng::with_seed(18);
    let mut seen = 0;
    while seen < 10_000 {
        let mine: Vec<_> = (0..8).map(|_| rng.bool().then(|| record(&mut rng))).collect();
        let mut theirs = mine.clone();
        diverge(&mut theirs, &mut rng);
        assert_eq!(leaf(&mine) == leaf(&theirs), mine == theirs, "{mine:?} {theirs:?}");
        seen += u32::from(mine != theirs);
    }
}

#[test]
fn one_comparison_evens_out_all_that_differs() {
    let mut rng = Rng::with_seed(19);
    let mut stage = Stage::new(2, 2);
    for number in 0..300 {
        let shared = record(&mut rng);
        for at in [1, 2] {
            stage.plant(at, number, &shared);
        }
    }
    // What is lost with the power is lost to the digests too: they are made of what is stored.
    for number in 0..30 {
        let mut newer = record(&mut rng);
        newer.version.wall_ms += 100;
        stage.plant(1 + number % 2, 10 * number, &newer);
    }
    stage.restart(2);
    stage.run(10);
    stage.compare(1, 2);
    assert_eq!(stage.world.moved, 30);
    for number in 0..300 {
        assert_eq!(stage.held_under(1, number), stage.held_under(2, number));
    }
}

#[test]
fn comparison_under_load_moves_what_differs_and_nothing_else() {
    let mut rng = Rng::with_seed(20);
    let mut stage = Stage::new(3, 3);
    for number in 0..100 {
        stage.plant(1, 1_000 + number, &record(&mut rng));
    }
    stage.run(20_000);
    let settled_ms = stage.world.true_ms() - 10_000;
    for turn in 0..1_000_u32 {
        let at = turn % 3 + 1;
        stage.begin(at, vec![stage.key(turn % 50)], PUT);
        if turn % 20 == 0 {
            let place = stage.place();
            stage.world.begin_sync(NodeId(1), place, NodeId(2 + turn / 20 % 2), settled_ms);
        }
        stage.run(3);
    }
    stage.run(10_000);
    // A hundred records, each missing at two of three.
    assert!((200..=202).contains(&stage.world.moved), "{} were moved", stage.world.moved);
    stage.judge();
}
