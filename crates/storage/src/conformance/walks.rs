//! Scans and pages: what is listed, in which order, and what a walk may not miss.

use super::{Bench, Case, halves};
use crate::engine::{Address, Op, Tally};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

/// Every case of this file.
pub(super) const CASES: &[Case] = &[
    ("a scan is in order and resumes", a_scan_is_in_order_and_resumes),
    ("pages show everything", pages_show_everything),
    ("a page can be cut short", a_page_can_be_cut_short),
    ("pages miss nothing that stays", pages_miss_nothing_that_stays),
];

const SLOT: u16 = 4_321;

/// Fills a slot and its neighbours; returns what the slot has.
fn fill(bench: &Bench<'_>, count: u32) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut model = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(u64::from(count));
    for number in 0..count {
        // Keys of which some begin with others.
        let mut key = random.u32(..count).to_string().into_bytes();
        key.resize(key.len() + random.usize(..3), 0);
        let value = format!("value {number}").into_bytes();
        let new = model.insert(key.clone(), value.clone()).is_none();
        let tally = Tally { keys: i64::from(new), expiring: 0 };
        let op = |slot| Op {
            at: Address { space: 1, slot, key: &key },
            put: Some(halves(&value)),
            tally,
        };
        bench.engine().submit(&[op(SLOT - 1), op(SLOT), op(SLOT + 1)]).unwrap();
    }
    model
}

fn a_scan_is_in_order_and_resumes(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    assert!(bench.scan(1, SLOT, 5).is_empty());
    let model = fill(bench, 500);
    let all: Vec<_> = model.clone().into_iter().collect();
    for limit in [1, 7, 100, 10_000] {
        assert_eq!(bench.scan(1, SLOT, limit), all);
    }
    if bench.reopen() {
        assert_eq!(bench.scan(1, SLOT, 33), all);
    }
    // From a key that is not there, and no further than the visitor wants.
    let mut found = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        found.push(key.to_vec());
        found.len() < 3
    };
    bench.engine().scan(1, SLOT, Some(b"3\xFF"), 100, &mut visit).unwrap();
    let after: Vec<_> =
        model.keys().filter(|key| key[..] > b"3\xFF"[..]).take(3).cloned().collect();
    assert_eq!(found, after);
    let mut none = |_: &[u8], _: &[u8]| panic!("nothing was asked for");
    bench.engine().scan(1, SLOT, None, 0, &mut none).unwrap();
}

fn pages_show_everything(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    assert!(bench.pages(1, SLOT, 10).is_empty());
    let model = fill(bench, 700);
    for count in [1, 10, 64, 5_000] {
        let pages = bench.pages(1, SLOT, count);
        assert!(pages.len() < model.len() * 2, "few are shown twice when nothing moves");
        assert_eq!(pages.into_iter().collect::<BTreeMap<_, _>>(), model);
    }
}

fn a_page_can_be_cut_short(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    let model = fill(bench, 200);
    let mut seen = BTreeSet::new();
    let mut position = Some(0);
    for _ in 0..model.len() * 10 {
        let Some(at) = position else { break };
        let page = bench.engine().page(1, SLOT, at, 50, &mut |key, _| {
            seen.insert(key.to_vec());
            false
        });
        position = page.unwrap().0;
    }
    assert_eq!(position, None, "every page gets further");
    assert_eq!(seen.len(), model.len());
}

fn pages_miss_nothing_that_stays(bench: &mut Bench<'_>) {
    bench.open(1, 256);
    let model = fill(bench, 1_500);
    let engine = bench.engine();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Others come in numbers and go again, so that tables grow, split and shrink.
        let (other, done) = (&*engine, &done);
        let churn = scope.spawn(move || {
            let mut number = 0u32;
            while !done.load(Ordering::Acquire) || number == 0 {
                for put in [Some(halves(b"passing through")), None] {
                    for more in number..number + 2_000 {
                        let key = [&b"x"[..], &more.to_be_bytes()].concat();
                        let at = Address { space: 1, slot: SLOT, key: &key };
                        let tally = Tally { keys: put.map_or(-1, |_| 1), expiring: 0 };
                        other.submit(&[Op { at, put, tally }]).unwrap();
                    }
                }
                number += 500;
            }
        });
        for count in [1, 10, 100, 1_000] {
            let shown: BTreeSet<_> = bench.pages(1, SLOT, count).into_iter().collect();
            for entry in &model {
                assert!(shown.contains(&(entry.0.clone(), entry.1.clone())), "{entry:?}");
            }
        }
        done.store(true, Ordering::Release);
        churn.join().unwrap();
    });
    drop(engine);
    // A walk goes on where it was after a restart, if what is walked is still there.
    let mut position = Some(0);
    let mut seen = BTreeSet::new();
    while let Some(at) = position {
        let page = bench.engine().page(1, SLOT, at, 300, &mut |key, _| {
            seen.insert(key.to_vec());
            true
        });
        position = page.unwrap().0;
        if !bench.reopen() {
            return;
        }
    }
    assert!(model.keys().all(|key| seen.contains(key)));
}
