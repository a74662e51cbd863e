//! Random sequences of everything, against maps of the standard library.

use super::{Bench, Subject, SuitePolicy, halves, timed};
use crate::engine::{Address, Op, Policy, Tally};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sequences tried.
const CASES: u32 = 48;

/// Slots used: neighbours in one partition, and one far away.
const SLOTS: [u16; 3] = [100, 101, 16_383];

#[derive(Clone, Debug)]
struct Change {
    space: usize,
    slot: usize,
    key: u8,
    put: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Step {
    Submit(Vec<Change>),
    Fill { space: usize, slot: usize, keys: std::ops::Range<u8> },
    Empty { space: usize, slot: usize },
    Check { limit: usize },
    Reopen,
    Replace { space: usize },
    Compact,
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![4 => 0usize..40, 2 => Just(20), 1 => 100usize..3_000];
    (bytes, any::<u8>(), proptest::option::of(0u64..1_000)).prop_map(|(len, byte, due)| {
        let rest = vec![byte; len];
        due.map_or(rest.clone(), |due| timed(due, &rest))
    })
}

fn change() -> impl Strategy<Value = Change> {
    (0usize..2, 0..SLOTS.len(), 0u8..60, proptest::option::weighted(0.7, value()))
        .prop_map(|(space, slot, key, put)| Change { space, slot, key, put })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => vec(change(), 1..3).prop_map(Step::Submit),
        6 => vec(change(), 2..40).prop_map(Step::Submit),
        2 => (0usize..2, 0..SLOTS.len(), 0u8..100, 1u8..150).prop_map(|(space, slot, first, more)| {
            Step::Fill { space, slot, keys: first..first + more }
        }),
        1 => (0usize..2, 0..SLOTS.len()).prop_map(|(space, slot)| Step::Empty { space, slot }),
        4 => (1usize..80).prop_map(|limit| Step::Check { limit }),
        1 => Just(Step::Reopen),
        1 => (0usize..2).prop_map(|space| Step::Replace { space }),
        1 => Just(Step::Compact),
    ]
}

/// A key by its number; of all lengths, some the beginning of others.
fn key(number: u8) -> Vec<u8> {
    let mut key = vec![number % 16; 1 + usize::from(number % 5) * 40];
    key.push(number);
    key
}

/// What should be there: by space, slot and key.
type Model = BTreeMap<(u32, u16), BTreeMap<Vec<u8>, Vec<u8>>>;

struct Run<'a> {
    bench: Bench<'a>,
    spaces: [u32; 2],
    model: Model,
}

/// Tries random sequences until one fails, and then the shortest that does.
pub(super) fn check<S: Subject>(make: &impl Fn(&Arc<SuitePolicy>) -> S) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let tried = TestRunner::new(config).run(&vec(step(), 1..80), |steps| {
        let policy = Arc::new(SuitePolicy::default());
        let bench = Bench { subject: Box::new(make(&policy)), policy, spaces: Vec::new() };
        let mut run = Run { bench, spaces: [1, 2], model: Model::new() };
        run.bench.open(1, 256);
        run.bench.open(2, 1);
        for step in &steps {
            run.step(step)?;
        }
        run.compare(7)
    });
    if let Err(failure) = tried {
        panic!("{failure}");
    }
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Submit(changes) => self.submit(changes),
            Step::Fill { space, slot, keys } => {
                let put = Some(b"one of many".to_vec());
                let change = |key| Change { space: *space, slot: *slot, key, put: put.clone() };
                self.submit(&keys.clone().map(change).collect::<Vec<_>>());
            }
            Step::Empty { space, slot } => {
                let change = |key| Change { space: *space, slot: *slot, key, put: None };
                (0..=255).for_each(|key| self.submit(&[change(key)]));
            }
            Step::Check { limit } => self.compare(*limit)?,
            Step::Reopen => drop(self.bench.reopen()),
            Step::Replace { space } => {
                let old = self.spaces[*space];
                self.bench.retire(old);
                self.model.retain(|&(space, _), _| space != old);
                self.spaces[*space] = old + 2;
                self.bench.open(old + 2, 64);
            }
            Step::Compact => {
                self.bench.engine().compact().map_err(|e| TestCaseError::fail(e.to_string()))?;
            }
        }
        Ok(())
    }

    fn submit(&mut self, changes: &[Change]) {
        let keys: Vec<_> = changes.iter().map(|change| key(change.key)).collect();
        let mut ops = Vec::new();
        for (change, key) in changes.iter().zip(&keys) {
            let (space, slot) = (self.spaces[change.space], SLOTS[change.slot]);
            let known = self.model.entry((space, slot)).or_default();
            let old = match &change.put {
                Some(value) => known.insert(key.clone(), value.clone()),
                None => known.remove(key),
            };
            let (new, old) = (weigh(&self.bench, &change.put), weigh(&self.bench, &old));
            ops.push(Op {
                at: Address { space, slot, key },
                put: change.put.as_deref().map(halves),
                tally: Tally { keys: new.keys - old.keys, expiring: new.expiring - old.expiring },
            });
        }
        let commit = self.bench.engine().submit(&ops).unwrap();
        if commit.synced.is_multiple_of(3) {
            self.bench.settle(commit);
        }
    }

    fn compare(&self, limit: usize) -> Result<(), TestCaseError> {
        for space in self.spaces {
            let mut sum = Tally::default();
            for slot in SLOTS {
                let model = self.model.get(&(space, slot)).cloned().unwrap_or_default();
                let scanned = self.bench.scan(space, slot, limit);
                prop_assert_eq!(&scanned, &model.clone().into_iter().collect::<Vec<_>>());
                let paged = self.bench.pages(space, slot, limit);
                prop_assert_eq!(&paged.into_iter().collect::<BTreeMap<_, _>>(), &model);
                let tally = model.values().fold(Tally::default(), |sum, value| {
                    sum.plus(weigh(&self.bench, &Some(value.clone())))
                });
                prop_assert_eq!(self.bench.engine().tally(space, slot..slot + 1), tally);
                sum = sum.plus(tally);
                for number in (0..60).step_by(1 + limit % 7) {
                    let key = key(number);
                    let found = self.bench.read(Address { space, slot, key: &key });
                    prop_assert_eq!(found.as_ref(), model.get(&key));
                }
            }
            prop_assert_eq!(self.bench.engine().tally(space, 0..16_384), sum);
        }
        Ok(())
    }
}

/// What a value counts as here: a key, and an expiring one if it falls due.
fn weigh(bench: &Bench<'_>, value: &Option<Vec<u8>>) -> Tally {
    value.as_ref().map_or(Tally::default(), |value| {
        let expiring = bench.policy.due(0, value).is_some();
        Tally { keys: 1, expiring: i64::from(expiring) }
    })
}
