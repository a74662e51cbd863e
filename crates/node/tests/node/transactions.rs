//! Several keys as one: isolation, all or nothing, WATCH.

use crate::support::{Bench, delete, get, refusal, set};
use shoal_core::update::{SetExpiry, Update, When};
use shoal_node::{Code, Footprint, Halt, Refusal, Target, Watched};
use std::thread;

const DB: Target = Target::DEFAULT;

fn put(value: &[u8]) -> Update<'_> {
    Update::Set { value, expiry: SetExpiry::Never, when: When::Always }
}

#[test]
fn readers_and_writers_see_all_of_a_transaction_or_none() {
    for in_memory in [true, false] {
        let bench = Bench::new(in_memory);
        let keys = [(&DB, &b"left"[..]), (&DB, &b"right"[..])];
        let footprint = Footprint { keys: &keys, writes: true, ..Footprint::default() };
        thread::scope(|scope| {
            for writer in 0..2u8 {
                let (bench, footprint) = (&bench, &footprint);
                scope.spawn(move || {
                    for round in 0..200u8 {
                        let value = [writer, round];
                        let mut access = bench.access();
                        access
                            .transaction(footprint, |access| {
                                access.update(&DB, b"left", &put(&value), |_| ())?;
                                access.update(&DB, b"right", &put(&value), |_| ())
                            })
                            .expect("it commits");
                    }
                });
            }
            for _ in 0..400 {
                let pair = bench.access().transaction(&footprint, |access| {
                    let left = access.read(&DB, b"left", crate::support::value)?;
                    Ok((left, access.read(&DB, b"right", crate::support::value)?))
                });
                let (left, right) = pair.expect("it reads");
                assert_eq!(left, right);
            }
        });
    }
}

#[test]
fn a_failed_transaction_leaves_nothing() {
    for in_memory in [true, false] {
        let bench = Bench::new(in_memory);
        let mut access = bench.access();
        set(&mut access, &DB, b"a", b"1");
        let keys = [(&DB, &b"a"[..]), (&DB, &b"b"[..])];
        let footprint = Footprint { keys: &keys, writes: true, ..Footprint::default() };
        let result: Result<(), Halt> = access.transaction(&footprint, |access| {
            access.update(&DB, b"a", &put(b"2"), |_| ())?;
            access.update(&DB, b"b", &put(b"2"), |_| ())?;
            assert_eq!(access.count(&DB).keys, 2, "it counts its own writes");
            Err(Refusal::new(Code::BadRequest, "changed its mind").into())
        });
        assert_eq!(refusal(result).code, Code::BadRequest);
        assert_eq!(get(&mut access, &DB, b"a"), Some(b"1".to_vec()));
        assert_eq!(get(&mut access, &DB, b"b"), None);
        assert_eq!(access.count(&DB).keys, 1);
    }
}

#[test]
fn touching_an_unannounced_key_is_refused() {
    let bench = Bench::new(true);
    let mut access = bench.access();
    let keys = [(&DB, &b"a"[..])];
    let footprint = Footprint { keys: &keys, writes: true, ..Footprint::default() };
    let result = access.transaction(&footprint, |access| {
        access.update(&DB, b"some other key", &put(b"2"), |_| ())
    });
    assert_eq!(refusal(result).code, Code::BadRequest);
}

#[test]
fn watch_notices_every_change() {
    for in_memory in [true, false] {
        let bench = Bench::new(in_memory);
        type Change = fn(&Bench);
        let changes: [(&str, Change); 5] = [
            ("a write", |b| set(&mut b.access(), &DB, b"k", b"new")),
            ("the same value again", |b| set(&mut b.access(), &DB, b"k", b"1")),
            ("a delete", |b| assert!(delete(&mut b.access(), &DB, b"k"))),
            ("a flush", |b| b.node.flush_databases().expect("it flushes")),
            ("there and back", |b| {
                assert!(delete(&mut b.access(), &DB, b"k"));
                set(&mut b.access(), &DB, b"k", b"1");
            }),
        ];
        for (what, change) in changes {
            set(&mut bench.access(), &DB, b"k", b"1");
            let watched = bench.access().watch(&DB, b"k").expect("it watches");
            assert!(bench.access().unchanged(&watched).expect("it looks"), "{what}");
            change(&bench);
            assert!(!bench.access().unchanged(&watched).expect("it looks"), "{what}");
        }
        let absent = || bench.access().watch(&DB, b"{t}absent").expect("it watches");
        let unchanged = |w: &Watched| bench.access().unchanged(w).expect("it looks");
        let watched = absent();
        set(&mut bench.access(), &DB, b"{t}neighbour", b"x");
        delete(&mut bench.access(), &DB, b"{t}neighbour");
        assert!(unchanged(&watched), "a neighbour is nobody's business");
        let watched = absent();
        set(&mut bench.access(), &DB, b"{t}absent", b"x");
        delete(&mut bench.access(), &DB, b"{t}absent");
        assert!(!unchanged(&watched), "it came and went");
        let watched = absent();
        let update =
            Update::Set { value: b"x", expiry: SetExpiry::At(bench.now() + 1), when: When::Always };
        bench.access().update(&DB, b"{t}absent", &update, |_| ()).expect("it writes");
        bench.advance(2);
        assert!(!unchanged(&watched), "it came and expired");
        let watched = absent();
        let update =
            Update::Set { value: b"x", expiry: SetExpiry::At(bench.now()), when: When::Always };
        bench.access().update(&DB, b"{t}absent", &update, |_| ()).expect("it writes");
        assert!(!unchanged(&watched), "it came and was past at once");
        let watched = absent();
        bench.node.flush_databases().expect("it flushes");
        assert!(unchanged(&watched), "a flush does not touch what is not there");
        set(&mut bench.access(), &DB, b"{t}absent", b"x");
        bench.node.flush_databases().expect("it flushes");
        assert!(!unchanged(&watched), "it came, after one flush, and went with another");
    }
}

#[test]
fn half_a_command_never_stands_in_a_transaction() {
    let bench = Bench::new(true);
    let mut access = bench.access();
    let long = vec![b'x'; 20_000];
    let outer = [(&DB, &b"a"[..])];
    let outer = Footprint { keys: &outer, writes: true, ..Footprint::default() };
    access
        .transaction(&outer, |access| {
            let inner = [(&DB, &b"a"[..]), (&DB, &long[..])];
            let inner = Footprint { keys: &inner, writes: true, ..Footprint::default() };
            let nested = access.transaction(&inner, |access| {
                access.update(&DB, b"a", &put(b"1"), |_| ())?;
                access.update(&DB, &long, &put(b"2"), |_| ())
            });
            assert_eq!(refusal(nested).code, Code::BadKey);
            Ok(())
        })
        .expect("the outer one commits");
    assert_eq!(get(&mut access, &DB, b"a"), None);
}

#[test]
fn a_flush_inside_a_transaction_goes_between_its_writes() {
    for in_memory in [true, false] {
        let bench = Bench::new(in_memory);
        let mut access = bench.access();
        set(&mut access, &DB, b"old", b"1");
        let keys = [(&DB, &b"a"[..]), (&DB, &b"b"[..])];
        let whole = [&DB];
        let footprint = Footprint {
            keys: &keys,
            whole: &whole,
            writes: true,
            catalogue: true,
            ..Footprint::default()
        };
        access
            .transaction(&footprint, |access| {
                access.update(&DB, b"a", &put(b"1"), |_| ())?;
                access.flush(&[DB])?;
                assert_eq!(access.count(&DB).keys, 0);
                access.update(&DB, b"b", &put(b"2"), |_| ())
            })
            .expect("it commits");
        assert_eq!(get(&mut access, &DB, b"old"), None);
        assert_eq!(get(&mut access, &DB, b"a"), None);
        assert_eq!(get(&mut access, &DB, b"b"), Some(b"2".to_vec()));
        set(&mut bench.access(), &DB, b"after", b"3");
        assert_eq!(bench.access().count(&DB).keys, 2);
    }
}
