//! Updates, which look and change in one step, and what is foreseen.

use super::{Bench, Case, halves};
use crate::engine::{Address, Commit, Decide, EngineError, Op, Parts, Patience, Tally, Turn};

use std::collections::BTreeMap;

/// Every case of this file.
pub(super) const CASES: &[Case] = &[
    ("an update sees what is there and changes it", an_update_sees_and_changes),
    ("an update that decides against it changes nothing", an_update_may_change_nothing),
    ("an update without a space is refused", an_update_without_a_space_is_refused),
    ("updates and batches add up", updates_and_batches_add_up),
    ("what is foreseen stays as it is", what_is_foreseen_stays_as_it_is),
];

/// Decides as it was told beforehand, and keeps what it saw.
struct Told<'a> {
    /// The change; `None` for none.
    change: Option<(Option<&'a [u8]>, i64)>,
    seen: Vec<Option<Vec<u8>>>,
}

impl<'a> Told<'a> {
    fn to_put(value: &'a [u8], keys: i64) -> Self {
        Self { change: Some((Some(value), keys)), seen: Vec::new() }
    }

    fn to_remove() -> Self {
        Self { change: Some((None, -1)), seen: Vec::new() }
    }

    fn to_keep() -> Self {
        Self { change: None, seen: Vec::new() }
    }
}

impl Decide for Told<'_> {
    fn decide(&mut self, stored: Option<&[u8]>) -> bool {
        self.seen.push(stored.map(<[u8]>::to_vec));
        self.change.is_some()
    }

    fn change(&self) -> (Option<Parts<'_>>, Tally) {
        let (value, keys) = self.change.expect("it is asked for a change that it wants");
        (value.map(halves), Tally { keys, expiring: 0 })
    }
}

impl Bench<'_> {
    /// Updates, waits, and returns what was seen.
    fn update(&self, at: Address<'_>, mut told: Told<'_>) -> Option<Vec<u8>> {
        let mut commit = Commit::DONE;
        let turn = self.engine().update(at, Patience::Block, &mut commit, &mut told);
        assert_eq!(turn, Ok(Turn::Taken), "an update that may block is taken");
        self.settle(commit);
        assert_eq!(told.seen.len(), 1, "an update is decided once");
        told.seen.remove(0)
    }
}

fn at(slot: u16, key: &[u8]) -> Address<'_> {
    Address { space: 1, slot, key }
}

fn an_update_sees_and_changes(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    let place = at(9, b"key");
    assert_eq!(bench.update(place, Told::to_put(b"first", 1)), None);
    assert_eq!(bench.update(place, Told::to_put(b"FIRST", 0)).as_deref(), Some(&b"first"[..]));
    assert_eq!(
        bench.update(place, Told::to_put(b"longer still", 0)).as_deref(),
        Some(&b"FIRST"[..])
    );
    assert_eq!(bench.read(place).as_deref(), Some(&b"longer still"[..]));
    assert_eq!(bench.engine().tally(1, 9..10).keys, 1);
    if bench.reopen() {
        assert_eq!(bench.read(place).as_deref(), Some(&b"longer still"[..]));
    }
    assert_eq!(bench.update(place, Told::to_remove()).as_deref(), Some(&b"longer still"[..]));
    assert_eq!(bench.read(place), None);
    assert_eq!(bench.update(place, Told::to_put(b"", 1)), None);
    assert_eq!(bench.read(place).as_deref(), Some(&b""[..]));
    assert_eq!(bench.engine().tally(1, 9..10).keys, 1);
}

fn an_update_may_change_nothing(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    let place = at(16_383, b"key");
    assert_eq!(bench.update(place, Told::to_keep()), None);
    assert_eq!(bench.read(place), None);
    assert_eq!(bench.update(place, Told::to_put(b"value", 1)), None);
    assert_eq!(bench.update(place, Told::to_keep()).as_deref(), Some(&b"value"[..]));
    assert_eq!(bench.read(place).as_deref(), Some(&b"value"[..]));
    assert_eq!(bench.engine().tally(1, 0..16_384).keys, 1);
}

fn an_update_without_a_space_is_refused(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    let place = Address { space: 99, ..at(0, b"key") };
    let mut commit = Commit::DONE;
    let mut told = Told::to_put(b"value", 1);
    let refused = bench.engine().update(place, Patience::Block, &mut commit, &mut told);
    assert_eq!(refused, Err(EngineError::NoSpace(99)));
    assert_eq!(bench.read(place), None);
    // Where nothing is to be changed there is nothing to refuse.
    assert_eq!(bench.update(place, Told::to_keep()), None);
}

fn updates_and_batches_add_up(bench: &mut Bench<'_>) {
    bench.open(1, 16);
    let mut model: BTreeMap<(u16, u8), Vec<u8>> = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(11);
    for step in 0..600 {
        let (slot, name) = ([0, 1, 1_024, 16_383][random.usize(..4)], random.u8(..30));
        let key = [b'k', name];
        let place = at(slot, &key);
        let value = vec![b'v'; random.usize(..40)];
        let known = model.get(&(slot, name)).cloned();
        let (put, keys) = match random.u8(..4) {
            0 => (None, -i64::from(known.is_some())),
            _ => (Some(&value[..]), i64::from(known.is_none())),
        };
        let way = random.u8(..3);
        match way {
            0 => assert_eq!(bench.update(place, Told::to_keep()), known, "step {step}"),
            1 => {
                let told = Told { change: Some((put, keys)), seen: Vec::new() };
                assert_eq!(bench.update(place, told), known, "step {step}");
            }
            _ => bench.change(place, put, keys),
        }
        let expected = if way == 0 { known } else { put.map(<[u8]>::to_vec) };
        assert_eq!(bench.read(place), expected, "step {step}");
        model.remove(&(slot, name));
        model.extend(expected.map(|value| ((slot, name), value)));
    }
    assert_eq!(bench.engine().tally(1, 0..16_384).keys, model.len() as i64);
}

fn what_is_foreseen_stays_as_it_is(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    let engine = bench.engine();
    let keys: Vec<[u8; 2]> = (0..100u16).map(u16::to_be_bytes).collect();
    for (number, key) in (0..).zip(&keys) {
        let op =
            Op { at: at(number * 7, key), put: Some(halves(b"value")), tally: Tally::default() };
        bench.settle(engine.submit(&[op]).unwrap());
    }
    // Keys that are there and keys that are not, one of them twice, and a space that is not.
    let mut foreseen: Vec<_> = (0..).zip(&keys).map(|(number, key)| at(number * 7, key)).collect();
    foreseen.extend([at(3, b"none"), foreseen[0], Address { space: 9, ..foreseen[1] }]);
    engine.foresee(&[]);
    engine.foresee(&foreseen);
    for place in &foreseen[..100] {
        assert_eq!(bench.read(*place).as_deref(), Some(&b"value"[..]));
    }
    assert_eq!(bench.read(at(3, b"none")), None);
}
