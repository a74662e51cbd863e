//! Batches, tallies, commits, spaces and what is due.

use super::{Bench, Case, halves, read, settle, timed};
use crate::engine::{Address, Commit, EngineError, Op, Tally};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

/// Every case of this file.
pub(super) const CASES: &[Case] = &[
    ("reads see what was submitted", reads_see_what_was_submitted),
    ("addresses are apart", addresses_are_apart),
    ("a batch applies in order", a_batch_applies_in_order),
    ("a batch is seen as a whole", a_batch_is_seen_as_a_whole),
    ("a refused batch changes nothing", a_refused_batch_changes_nothing),
    ("commits settle in order", commits_settle_in_order),
    ("tallies add up", tallies_add_up),
    ("a retired space is gone at once", a_retired_space_is_gone_at_once),
    ("what is due is offered", what_is_due_is_offered),
    ("what was settled outlives the engine", what_was_settled_outlives_the_engine),
];

fn at(space: u32, slot: u16, key: &[u8]) -> Address<'_> {
    Address { space, slot, key }
}

fn reads_see_what_was_submitted(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    let large = vec![0xA5; 1 << 20];
    let values: [&[u8]; 6] = [b"", b"v", b"other", b"OTHER", &[0; 127], &large];
    for length in [1, 2, 126, 127, 128, 129, 300, 16_384, 65_500] {
        let key = vec![b'k'; length];
        let place = at(1, 16_383, &key);
        assert_eq!(bench.read(place), None);
        for (round, value) in values.into_iter().enumerate() {
            bench.change(place, Some(value), i64::from(round == 0));
            assert_eq!(bench.read(place).as_deref(), Some(value), "key of {length} bytes");
        }
        bench.change(place, None, -1);
        assert_eq!(bench.read(place), None);
        // Removing what is not there is no error.
        bench.change(place, None, 0);
        bench.change(place, Some(b"again"), 1);
        assert_eq!(bench.read(place).as_deref(), Some(&b"again"[..]));
    }
}

fn addresses_are_apart(bench: &mut Bench<'_>) {
    bench.open(1, 1);
    bench.open(2, 16_384);
    let keys: [&[u8]; 5] = [b"\0", b"\0\0", b"a", b"a\0", b"\xFF\xFF"];
    let mut all = Vec::new();
    for space in [1, 2] {
        for slot in [0, 1, 255, 256, 16_383] {
            for key in keys {
                all.push(at(space, slot, key));
            }
        }
    }
    for place in &all {
        bench.change(*place, Some(format!("{place:?}").as_bytes()), 1);
    }
    for place in &all {
        assert_eq!(bench.read(*place), Some(format!("{place:?}").into_bytes()));
    }
    assert_eq!(bench.read(at(1, 2, b"a")), None);
    assert_eq!(bench.read(at(3, 0, b"a")), None, "there is nothing in a space never opened");
}

fn a_batch_applies_in_order(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    let put = |value: Option<&'static [u8]>, keys| Op {
        at: at(1, 5, b"key"),
        put: value.map(halves),
        tally: Tally { keys, expiring: 0 },
    };
    let cases: [(&[Op<'_>], _); 4] = [
        (&[put(Some(b"first"), 1), put(Some(b"second"), 0)], Some(&b"second"[..])),
        (&[put(Some(b"third"), 0), put(None, -1)], None),
        (&[put(Some(b"x"), 1), put(None, -1), put(Some(b"longer"), 1)], Some(b"longer")),
        (&[], Some(b"longer")),
    ];
    for (ops, left) in cases {
        bench.settle(bench.engine().submit(ops).unwrap());
        assert_eq!(bench.read(at(1, 5, b"key")).as_deref(), left);
        let keys = i64::from(left.is_some());
        assert_eq!(bench.engine().tally(1, 5..6), Tally { keys, expiring: 0 });
    }
}

fn a_batch_is_seen_as_a_whole(bench: &mut Bench<'_>) {
    const BATCHES: u64 = 1_500;
    bench.open(1, 256);
    bench.open(2, 1);
    let engine = bench.engine();
    // Two spaces, slots in one partition and in several, two keys in one slot.
    let places = [(2, 7), (1, 16_000), (1, 0), (1, 1), (2, 9_000), (1, 0)];
    let keys: Vec<String> = (0..places.len()).map(|number| format!("key {number}")).collect();
    let place = |number: usize| {
        let (space, slot) = places[number];
        at(space, slot, keys[number].as_bytes())
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..2u64 {
            let (engine, done, place) = (&*engine, &done, &place);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(reader);
                let mut newest = 0;
                let mut last = false;
                while !last {
                    last = done.load(Ordering::Acquire);
                    let place = place(random.usize(..places.len()));
                    let seen = read(engine, place)
                        .map_or(0, |value| u64::from_be_bytes(value[..8].try_into().unwrap()));
                    assert!(seen >= newest, "{seen} at {place:?}, after {newest} was seen");
                    newest = seen;
                }
            });
        }
        for batch in 1..=BATCHES {
            // Values grow and shrink, so that some are written in place and some are not.
            let mut value = batch.to_be_bytes().to_vec();
            value.resize(8 + usize::from(batch.to_le_bytes()[0] % 40), b'.');
            let ops: Vec<_> = (0..places.len())
                .map(|number| Op {
                    at: place(number),
                    put: Some(halves(&value)),
                    tally: Tally { keys: i64::from(batch == 1), expiring: 0 },
                })
                .collect();
            let commit = engine.submit(&ops).unwrap();
            if batch % 100 == 0 {
                settle(&*engine, commit);
            }
        }
        done.store(true, Ordering::Release);
    });
}

fn a_refused_batch_changes_nothing(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    bench.change(at(1, 3, b"kept"), Some(b"old"), 1);
    let tally = Tally { keys: 1, expiring: 1 };
    let put = |place, value: &'static [u8]| Op { at: place, put: Some(halves(value)), tally };
    let ops = [
        put(at(1, 3, b"kept"), b"new"),
        put(at(1, 4, b"more"), b"new"),
        put(at(99, 0, b"elsewhere"), b"new"),
        Op { at: at(1, 3, b"kept"), put: None, tally },
    ];
    assert_eq!(bench.engine().submit(&ops), Err(EngineError::NoSpace(99)));
    assert_eq!(bench.engine().submit(&ops[2..3]), Err(EngineError::NoSpace(99)));
    assert_eq!(bench.read(at(1, 3, b"kept")).as_deref(), Some(&b"old"[..]));
    assert_eq!(bench.read(at(1, 4, b"more")), None);
    assert_eq!(bench.engine().tally(1, 0..16_384), Tally { keys: 1, expiring: 0 });
    if bench.reopen() {
        assert_eq!(bench.scan(1, 3, 10), [(b"kept".to_vec(), b"old".to_vec())]);
        assert_eq!(bench.engine().tally(1, 0..16_384), Tally { keys: 1, expiring: 0 });
    }
}

fn commits_settle_in_order(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    let engine = bench.engine();
    settle(&*engine, Commit::DONE);
    let mut before = Vec::new();
    for number in 0..50u16 {
        let key = number.to_be_bytes();
        let put = Some(halves(b"value"));
        let tally = Tally { keys: 1, expiring: 0 };
        before.push(engine.submit(&[Op { at: at(1, number, &key), put, tally }]).unwrap());
    }
    settle(&*engine, *before.last().unwrap());
    for commit in before {
        assert!(
            engine.settle(commit, Waker::noop()).is_ready(),
            "what came before is settled with what came after"
        );
    }
    engine.sync().unwrap();
}

fn tallies_add_up(bench: &mut Bench<'_>) {
    bench.open(1, 64);
    bench.open(2, 64);
    let mut model: BTreeMap<u16, Tally> = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(3);
    for number in 0..400u32 {
        let slot = [0, 1, 254, 255, 256, 257, 9_999, 16_383][random.usize(..8)];
        let tally = Tally { keys: random.i64(-3..9), expiring: random.i64(-2..5) };
        let key = number.to_be_bytes();
        let put = random.bool().then(|| halves(b"counted"));
        bench.engine().submit(&[Op { at: at(1, slot, &key), put, tally }]).unwrap();
        let known = model.entry(slot).or_default();
        *known = known.plus(tally);
    }
    bench.engine().sync().unwrap();
    for _ in 0..2 {
        for slots in [0..16_384, 0..1, 0..256, 1..256, 200..300, 255..257, 256..16_384, 5..5] {
            let sum = model.range(slots.clone()).fold(Tally::default(), |sum, (_, t)| sum.plus(*t));
            assert_eq!(bench.engine().tally(1, slots.clone()), sum, "slots {slots:?}");
        }
        assert_eq!(bench.engine().tally(2, 0..16_384), Tally::default());
        assert_eq!(bench.engine().tally(3, 0..16_384), Tally::default());
        if !bench.reopen() {
            break;
        }
    }
}

fn a_retired_space_is_gone_at_once(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    bench.open(2, 256);
    for number in 0..200u16 {
        let key = number.to_be_bytes();
        for space in [1, 2] {
            bench.change(at(space, number % 50, &key), Some(&timed(1, b"value")), 1);
        }
    }
    bench.subject.ripen();
    bench.retire(1);
    for round in 0..2 {
        let engine = bench.engine();
        for number in 0..200u16 {
            let key = number.to_be_bytes();
            assert_eq!(bench.read(at(1, number % 50, &key)), None);
            assert!(bench.read(at(2, number % 50, &key)).is_some());
        }
        assert!(bench.scan(1, 0, 10).is_empty() && bench.pages(1, 0, 10).is_empty());
        assert_eq!(bench.scan(2, 0, 10).len(), 4);
        assert_eq!(engine.tally(1, 0..16_384), Tally::default());
        assert_eq!(engine.tally(2, 0..16_384).keys, 200);
        let op = Op { at: at(1, 0, b"late"), put: Some(halves(b"x")), tally: Tally::default() };
        assert_eq!(engine.submit(&[op]), Err(EngineError::NoSpace(1)));
        let offered = offered(bench, 10, |place| assert_eq!(place.space, 2));
        assert_eq!(offered.len(), 200, "round {round}");
        if !bench.reopen() {
            break;
        }
    }
    // Its successor starts empty.
    bench.open(3, 256);
    assert!(bench.scan(3, 0, 10).is_empty());
    bench.engine().compact().unwrap();
    assert_eq!(bench.scan(2, 0, 10).len(), 4);
}

/// Everything offered at `now_ms`, removed once it was. Each may be offered again only after.
fn offered(
    bench: &mut Bench<'_>,
    now_ms: u64,
    also: impl Fn(Address<'_>),
) -> BTreeMap<Vec<u8>, Vec<u8>> {
    bench.subject.ripen();
    let mut all = BTreeMap::new();
    for _ in 0..100_000 {
        let mut found = Vec::new();
        let looked = bench.engine().due(now_ms, 16, &mut |place, value| {
            also(place);
            found.push((place.space, place.slot, place.key.to_vec(), value.to_vec()));
        });
        let looked = looked.unwrap();
        assert!(looked >= found.len(), "what is shown was looked at");
        for (space, slot, key, value) in found {
            assert_eq!(bench.read(at(space, slot, &key)).as_ref(), Some(&value), "it is current");
            all.insert(key, value);
        }
        if looked == 0 {
            return all;
        }
    }
    panic!("there is always something more to look at");
}

fn what_is_due_is_offered(bench: &mut Bench<'_>) {
    const NOW_MS: u64 = 1_700_000_000_000;
    bench.open(1, 256);
    bench.open(2, 2);
    let mut due = BTreeMap::new();
    for number in 0..600u64 {
        let key = format!("key {number}").into_bytes();
        let space = 1 + (number % 2) as u32;
        let slot = ((number / 7) * 577 % 16_384) as u16;
        let value = match number % 4 {
            0 => b"for ever".to_vec(),
            1 => timed(NOW_MS + 1 + number * 1_000, b"later"),
            _ => timed(NOW_MS - number, b"now"),
        };
        bench.change(at(space, slot, &key), Some(&value), 1);
        match number % 10 {
            // Given another time, or none, or removed.
            7 => bench.change(at(space, slot, &key), Some(&timed(NOW_MS - 5, b"soon")), 0),
            8 => bench.change(at(space, slot, &key), Some(b"kept"), 0),
            9 => bench.change(at(space, slot, &key), None, -1),
            _ if number % 4 >= 2 => drop(due.insert(key, (space, slot, value))),
            _ => {}
        }
        if number % 10 == 7 {
            let key = format!("key {number}").into_bytes();
            due.insert(key, (space, slot, timed(NOW_MS - 5, b"soon")));
        }
    }
    assert_eq!(offered(bench, NOW_MS - 1_000, |_| {}), BTreeMap::new(), "nothing is due early");
    let expected: BTreeMap<_, _> =
        due.iter().map(|(key, (_, _, value))| (key.clone(), value.clone())).collect();
    assert_eq!(offered(bench, NOW_MS, |_| {}), expected);
    for (key, (space, slot, _)) in &due {
        bench.change(at(*space, *slot, key), None, -1);
    }
    assert_eq!(offered(bench, NOW_MS, |_| {}), BTreeMap::new(), "what was removed is not offered");
    assert_eq!(
        offered(bench, NOW_MS + 1_000_000, |_| {}).len(),
        (0..600).filter(|number| number % 4 == 1 && !matches!(number % 10, 7..=9)).count(),
        "what falls due later is offered later"
    );
}

fn what_was_settled_outlives_the_engine(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    for round in 0..3u8 {
        for number in 0..300u16 {
            let key = number.to_be_bytes();
            let value = vec![round; usize::from(number)];
            bench.change(at(1, number % 3, &key), Some(&value), i64::from(round == 0));
        }
        if !bench.reopen() {
            return;
        }
        for number in 0..300u16 {
            let key = number.to_be_bytes();
            let value = vec![round; usize::from(number)];
            assert_eq!(bench.read(at(1, number % 3, &key)), Some(value));
        }
        assert_eq!(bench.engine().tally(1, 0..3).keys, 300);
    }
}
