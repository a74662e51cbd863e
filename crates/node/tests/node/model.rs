//! Random sequences of requests against a map that knows the time, on both engines.

use crate::support::{Bench, START_MS, get, value};
use proptest::prelude::*;
use shoal_core::update::{ExpireWhen, Outcome, SetExpiry, Update, UpdateError, When, apply};
use shoal_core::{Record, Version};
use shoal_node::{Access, Code, Halt, Listing, Target};
use std::collections::BTreeMap;

const KEYS: [&[u8]; 6] = [b"a", b"b", b"{t}1", b"{t}2", b"counter", b"\0\xFF\r\n"];

#[derive(Clone, Debug)]
enum Step {
    Set(usize, Vec<u8>, Option<u64>),
    SetKeep(usize, Vec<u8>),
    SetIfAbsent(usize, Vec<u8>),
    Delete(usize),
    Append(usize, Vec<u8>),
    Add(usize, i64),
    Expire(usize, u64),
    Persist(usize),
    Rename(usize, usize),
    Advance(u64),
    Flush,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..KEYS.len();
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        (-20i64..20).prop_map(|n| n.to_string().into_bytes()),
    ];
    let step = prop_oneof![
        4 => (key.clone(), bytes.clone(), proptest::option::of(0u64..2_000))
            .prop_map(|(k, v, t)| Step::Set(k, v, t)),
        1 => (key.clone(), bytes.clone()).prop_map(|(k, v)| Step::SetKeep(k, v)),
        1 => (key.clone(), bytes.clone()).prop_map(|(k, v)| Step::SetIfAbsent(k, v)),
        2 => key.clone().prop_map(Step::Delete),
        2 => (key.clone(), bytes).prop_map(|(k, v)| Step::Append(k, v)),
        3 => (key.clone(), -5i64..50).prop_map(|(k, n)| Step::Add(k, n)),
        2 => (key.clone(), 0u64..2_000).prop_map(|(k, t)| Step::Expire(k, t)),
        1 => key.clone().prop_map(Step::Persist),
        1 => (key.clone(), key).prop_map(|(a, b)| Step::Rename(a, b)),
        3 => (0u64..1_500).prop_map(Step::Advance),
        1 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What a reader should see: value and expiry by key.
#[derive(Debug, Default)]
struct Model {
    entries: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
}

impl Model {
    fn prune(&mut self, now: u64) {
        self.entries.retain(|_, (_, at)| at.is_none_or(|at| at > now));
    }

    /// Runs an update through the pure rules; the outcome, or the error that was expected.
    fn update(
        &mut self,
        key: &[u8],
        update: &Update<'_>,
        now: u64,
    ) -> Result<Outcome, UpdateError> {
        use shoal_core::update::Change;
        self.prune(now);
        let before = self.entries.get(key).cloned();
        let record = before.as_ref().map(|(v, at)| Record::live(Version::ZERO, *at, v));
        let (outcome, change) = apply(update, record.as_ref(), now, 8 << 20)?;
        match change {
            Change::Keep => {}
            Change::Delete => {
                self.entries.remove(key);
            }
            Change::Put { value, expires_at } => {
                self.entries.insert(key.to_vec(), (value.into_owned(), expires_at));
            }
        }
        Ok(outcome)
    }
}

fn check_update(
    access: &mut Access<'_>,
    model: &mut Model,
    key: &[u8],
    update: &Update<'_>,
    now: u64,
) {
    let expected = model.update(key, update, now);
    let seen = access.update(&Target::DEFAULT, key, update, |updated| updated.outcome);
    match (expected, seen) {
        (Ok(expected), Ok(seen)) => assert_eq!(seen, expected, "{update:?}"),
        (Err(error), Err(Halt::Refused(refusal))) => {
            assert_eq!(refusal.message, error.to_string());
            assert!(!refusal.code.row().may_have_happened);
        }
        (expected, seen) => panic!("{update:?}: expected {expected:?}, saw {seen:?}"),
    }
}

fn rename(access: &mut Access<'_>, model: &mut Model, from: &[u8], to: &[u8], now: u64) {
    model.prune(now);
    let target = Target::DEFAULT;
    let keys = [(&target, from), (&target, to)];
    let footprint = shoal_node::Footprint { keys: &keys, writes: true, ..Default::default() };
    access
        .transaction(&footprint, |access| {
            let source = access.read(&target, from, |r| {
                r.map(|r| (value(Some(r)).expect("live"), r.expires_at))
            })?;
            let Some((bytes, at)) = source else { return Ok(()) };
            let expiry = at.map_or(SetExpiry::Never, SetExpiry::At);
            let put = Update::Set { value: &bytes, expiry, when: When::Always };
            access.update(&target, to, &put, |_| ())?;
            assert_eq!(access.read(&target, to, value)?, Some(bytes), "it sees its own write");
            if from != to {
                access.update(&target, from, &Update::Delete { when: When::Always }, |_| ())?;
            }
            Ok(())
        })
        .expect("a healthy node renames");
    if let Some(entry) = model.entries.get(from).cloned() {
        model.entries.remove(from);
        model.entries.insert(to.to_vec(), entry);
    }
}

fn run(in_memory: bool, steps: &[Step]) {
    let mut bench = Bench::new(in_memory);
    let mut model = Model::default();
    let always = ExpireWhen::default();
    for step in steps {
        let now = bench.now();
        let mut access = bench.access();
        let mut update = |key: &usize, update: Update<'_>| {
            check_update(&mut access, &mut model, KEYS[*key], &update, now);
        };
        match step {
            Step::Set(key, value, ttl) => {
                let expiry = ttl.map_or(SetExpiry::Never, |ttl| SetExpiry::At(now + ttl));
                update(key, Update::Set { value, expiry, when: When::Always });
            }
            Step::SetKeep(key, value) => {
                update(key, Update::Set { value, expiry: SetExpiry::Keep, when: When::Always });
            }
            Step::SetIfAbsent(key, value) => {
                update(key, Update::Set { value, expiry: SetExpiry::Never, when: When::Absent });
            }
            Step::Delete(key) => update(key, Update::Delete { when: When::Always }),
            Step::Append(key, suffix) => update(key, Update::Append { suffix }),
            Step::Add(key, delta) => update(key, Update::Add { delta: *delta }),
            Step::Expire(key, ttl) => update(key, Update::Expire { at: now + ttl, when: always }),
            Step::Persist(key) => update(key, Update::Persist),
            Step::Rename(a, b) => rename(&mut access, &mut model, KEYS[*a], KEYS[*b], now),
            Step::Advance(ms) => bench.advance(*ms),
            Step::Flush => {
                bench.node.flush_databases().expect("a healthy node flushes");
                model.entries.clear();
            }
            Step::Restart => {
                drop(access);
                bench.restart();
                if in_memory {
                    model.entries.clear();
                }
            }
        }
        model.prune(bench.now());
        check_view(&bench, &model);
    }
}

/// Everything a reader can ask, against the model.
fn check_view(bench: &Bench, model: &Model) {
    let mut access = bench.access();
    let target = Target::DEFAULT;
    for key in KEYS {
        let expected = model.entries.get(key).map(|(value, _)| value.clone());
        assert_eq!(get(&mut access, &target, key), expected, "{key:?}");
        let expiry = access.read(&target, key, |record| record.map(|r| r.expires_at));
        let expected = model.entries.get(key).map(|(_, at)| *at);
        assert_eq!(expiry.expect("it reads"), expected);
    }
    let mut scanned = BTreeMap::new();
    let mut cursor = 0;
    loop {
        cursor = access
            .scan(&target, cursor, 2, &mut |key, record| {
                scanned.insert(key.to_vec(), value(Some(record)).expect("live"));
                true
            })
            .expect("a healthy node scans");
        if cursor == 0 {
            break;
        }
    }
    let expected: BTreeMap<_, _> =
        model.entries.iter().map(|(k, (v, _))| (k.clone(), v.clone())).collect();
    assert_eq!(scanned, expected, "SCAN");
    let mut listed = Vec::new();
    let listing = Listing { prefix: b"{t}", limit: 10, ..Listing::default() };
    access
        .list(&target, &listing, &mut |key, _| listed.push(key.to_vec()))
        .expect("a healthy node lists");
    let expected: Vec<_> = expected.into_keys().filter(|key| key.starts_with(b"{t}")).collect();
    assert_eq!(listed, expected, "a listed prefix");
    // Expired keys may still be counted, until the sweep has come by.
    assert!(access.count(&target).keys >= i64::try_from(scanned.len()).expect("few"));
    let drawn = access.random_key(&target).expect("a healthy node draws");
    assert_eq!(drawn.is_some(), !scanned.is_empty());
    assert!(drawn.is_none_or(|key| scanned.contains_key(&key)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn memory_answers_like_the_model(steps in steps()) {
        run(true, &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn disk_answers_like_the_model(steps in steps()) {
        run(false, &steps);
    }
}

#[test]
fn event_times_order_writes_and_remember_deletes() {
    for in_memory in [true, false] {
        let bench = Bench::new(in_memory);
        let mut access = bench.access();
        let target = Target::DEFAULT;
        let put = |access: &mut Access<'_>, value: &[u8], at: u64| {
            let update = Update::Set { value, expiry: SetExpiry::Never, when: When::Always };
            access.update_at(&target, b"k", &update, Some(at), |_| ())
        };
        put(&mut access, b"new", START_MS - 1_000).expect("the first event");
        let older = crate::support::refusal(put(&mut access, b"old", START_MS - 2_000));
        assert_eq!(older.code, Code::Superseded);
        let far = crate::support::refusal(put(&mut access, b"far", START_MS + 3_600_000));
        assert_eq!(far.code, Code::TooNew);
        let ancient = crate::support::refusal(put(&mut access, b"ancient", 5));
        assert_eq!(ancient.code, Code::TooOld);
        assert_eq!(get(&mut access, &target, b"k"), Some(b"new".to_vec()));
        assert!(crate::support::delete(&mut access, &target, b"k"));
        let late = crate::support::refusal(put(&mut access, b"late", START_MS - 500));
        assert_eq!(late.code, Code::Superseded, "the delete is remembered");
        assert_eq!(get(&mut access, &target, b"k"), None);
        assert_eq!(access.count(&target).keys, 0);
        // A delete may come before what it deletes.
        let update = Update::Delete { when: When::Always };
        access
            .update_at(&target, b"early", &update, Some(START_MS - 100), |_| ())
            .expect("an early delete");
        let put = Update::Set { value: b"v", expiry: SetExpiry::Never, when: When::Always };
        let late = access.update_at(&target, b"early", &put, Some(START_MS - 200), |_| ());
        assert_eq!(crate::support::refusal(late).code, Code::Superseded);
    }
}

#[test]
fn what_has_expired_is_removed_without_being_asked_for() {
    for in_memory in [true, false] {
        let bench = Bench::new(in_memory);
        let target = Target::DEFAULT;
        for n in 0..100u32 {
            let update = Update::Set {
                value: b"v",
                expiry: SetExpiry::At(bench.now() + 1_000),
                when: When::Always,
            };
            bench.access().update(&target, &n.to_be_bytes(), &update, |_| ()).expect("it writes");
        }
        assert_eq!(bench.access().count(&target).keys, 100);
        bench.advance(2_000);
        while bench.access().count(&target).keys > 0 {
            std::thread::yield_now();
        }
        assert_eq!(bench.access().count(&target).expiring, 0);
    }
}
