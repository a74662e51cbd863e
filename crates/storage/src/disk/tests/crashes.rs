//! After a crash at any point everything settled is there, whole batches only, and the tallies
//! are exact.

use super::rig::{Rig, small};
use crate::disk::DiskOptions;
use crate::disk::sorted::SortedError;
use crate::engine::{Address, Commit, Engine, Op, Parts, Tally};
use std::collections::BTreeMap;

type Model = BTreeMap<(u16, Vec<u8>), Vec<u8>>;

const SPACE: u32 = 5;

/// Submits a random batch and applies it to the model.
fn batch(rig: &Rig, model: &mut Model, random: &mut fastrand::Rng, serial: u64) -> Commit {
    let mut changes = Vec::new();
    for _ in 0..random.usize(1..6) {
        let slot = [0, 1, 255, 256, 9_000, 16_383][random.usize(..6)];
        let key = format!("key {}", random.u32(..400)).into_bytes();
        let value = (random.u8(..4) > 0).then(|| {
            let mut value = serial.to_be_bytes().to_vec();
            value.resize(8 + random.usize(..200), 7);
            value
        });
        let place = (slot, key);
        let had = model.contains_key(&place);
        match &value {
            Some(value) => drop(model.insert(place.clone(), value.clone())),
            None => drop(model.remove(&place)),
        }
        let keys = i64::from(value.is_some()) - i64::from(had);
        changes.push((place, value, keys));
    }
    let ops: Vec<Op<'_>> = changes
        .iter()
        .map(|((slot, key), value, keys)| Op {
            at: Address { space: SPACE, slot: *slot, key },
            put: value.as_ref().map(|value| Parts { head: &value[..3], body: &value[3..] }),
            tally: Tally { keys: *keys, expiring: 0 },
        })
        .collect();
    rig.engine().submit(&ops).unwrap()
}

fn contents(rig: &Rig) -> Model {
    let mut found = Model::new();
    for slot in [0, 1, 255, 256, 9_000, 16_383] {
        for (key, value) in rig.scan(SPACE, slot) {
            found.insert((slot, key), value);
        }
    }
    found
}

/// The tallies say what is there.
fn check_tallies(rig: &Rig, found: &Model) {
    let total = rig.engine().tally(SPACE, 0..16_384);
    assert_eq!(total.keys, i64::try_from(found.len()).unwrap());
    for slot in [0, 1, 255, 256, 9_000, 16_383] {
        let here = found.keys().filter(|(of, _)| *of == slot).count();
        let tally = rig.engine().tally(SPACE, slot..slot + 1);
        assert_eq!(tally.keys, i64::try_from(here).unwrap(), "slot {slot}");
    }
}

#[test]
fn settled_batches_and_exact_tallies_survive_random_crashes() {
    let mut random = fastrand::Rng::with_seed(7);
    let options = DiskOptions { buffer_bytes: Some(32 << 10), ..small() };
    let mut rig = Rig::new(options);
    rig.open_space(SPACE);
    let mut model = Model::new();
    let mut serial = 0;
    for _ in 0..40 {
        for _ in 0..random.usize(1..250) {
            serial += 1;
            batch(&rig, &mut model, &mut random, serial);
        }
        serial += 1;
        let commit = batch(&rig, &mut model, &mut random, serial);
        rig.settle(commit);
        let settled = model.clone();
        // Some more that nobody waits for: they are there up to one of them, or none is.
        let mut states = vec![settled];
        for _ in 0..random.usize(..4) {
            serial += 1;
            batch(&rig, &mut model, &mut random, serial);
            states.push(model.clone());
        }
        rig.restart();
        let found = contents(&rig);
        assert!(states.contains(&found), "what is there is not the state after any batch");
        check_tallies(&rig, &found);
        model = found;
    }
    assert!(rig.engine().core().store.figures().items > 0, "there were checkpoints");
}

#[test]
fn a_checkpoint_that_fails_anywhere_loses_nothing() {
    // How many calls a checkpoint of this makes.
    let fill = |rig: &mut Rig| {
        rig.open_space(SPACE);
        let mut random = fastrand::Rng::with_seed(3);
        let mut model = Model::new();
        for serial in 0..12 {
            let commit = batch(rig, &mut model, &mut random, serial);
            rig.settle(commit);
        }
        model
    };
    let mut rig = Rig::new(small());
    fill(&mut rig);
    rig.engine().core().checkpoint().unwrap();
    let calls = rig.faults.calls.load(std::sync::atomic::Ordering::SeqCst);
    assert!(calls > 10);
    drop(rig);
    for full in [true, false] {
        for n in 0..calls {
            let mut rig = Rig::new(small());
            let model = fill(&mut rig);
            let core_error = |rig: &Rig| rig.engine().core().checkpoint();
            if full {
                rig.faults.fail_at(n, SortedError::Full("planted".into()));
                // The request may be told so, or be served once the disk was looked at again.
                let _ = core_error(&rig);
                rig.until("the checkpoint is made in the end", |engine| {
                    engine.core().generations.load().sealed.is_none()
                        && engine.core().free_space.refusal().is_none()
                });
            } else {
                rig.faults.fail_at(n, SortedError::Io("planted".into()));
                assert!(core_error(&rig).is_err(), "call {n}");
                assert!(rig.submit(SPACE, 0, b"k", Some(b"v"), 1).is_err(), "it stopped");
            }
            assert_eq!(contents(&rig), model, "reads go on, call {n}");
            rig.restart();
            let found = contents(&rig);
            assert_eq!(found, model, "call {n}");
            check_tallies(&rig, &found);
            rig.engine().core().checkpoint().unwrap();
            assert_eq!(contents(&rig), model, "call {n}");
        }
    }
}

#[test]
fn a_log_longer_than_the_buffer_is_replayed_through_the_store() {
    let mut rig = Rig::new(DiskOptions { buffer_bytes: Some(8 << 20), ..small() });
    rig.open_space(SPACE);
    let mut random = fastrand::Rng::with_seed(11);
    let mut model = Model::new();
    for serial in 0..2_000 {
        batch(&rig, &mut model, &mut random, serial);
    }
    let commit = batch(&rig, &mut model, &mut random, 9_999);
    rig.settle(commit);
    assert_eq!(rig.engine().core().store.figures().items, 0, "all of it is in the log");
    rig.options.buffer_bytes = Some(32 << 10);
    for _ in 0..2 {
        rig.restart();
        assert!(rig.engine().core().store.figures().items > 0, "much of it was moved");
        let found = contents(&rig);
        assert_eq!(found, model);
        check_tallies(&rig, &found);
    }
}
