//! Many seeds, and that a seed is all there is to a run.

#![expect(clippy::panic, reason = "this is how a test fails")]

use shoal_sim::{Options, Report, run};
use std::collections::BTreeMap;

/// Rare branches that a long run must reach, each at least once.
const RARE: [&str; 23] = [
    "execute: an own attempt was written anew",
    "execute: begun again at a newer epoch",
    "execute: gave up after its retries",
    "execute: tried again",
    "hint: dropped below a floor",
    "hint: followed its partition to new owners",
    "intake: a floor rose under a page",
    "purge: a round was broken off",
    "purge: dropped everywhere",
    "read: a floor rose under a repair",
    "read: begun again at a newer epoch",
    "read: clocks raised past an expiry",
    "read: fetched the newest record from the one that told its rank",
    "read: hedged",
    "read: repaired before it was answered",
    "read: the holder of the newest record failed",
    "replica: a kept record lay below the floor",
    "replica: fenced between storing and durable",
    "sync: a range was divided",
    "sync: a record was moved",
    "sync: broken off",
    "write: sent again at a newer epoch",
    "write: stamped again",
];

/// Seeds that once broke a promise, or the simulator: they run first, ever after.
const ONCE_FAILED: [u64; 6] = [160, 533, 653, 1_416, 1_680, 2_386];

fn is_full() -> bool {
    std::env::var_os("SHOAL_FULL").is_some()
}

fn must_hold(options: Options) -> Report {
    let seed = options.seed;
    run(options).unwrap_or_else(|failure| {
        panic!(
            "seed {seed}: {}\n  replay: cargo run --profile checked -p shoal-sim -- --replay {seed}",
            failure.what
        )
    })
}

/// Runs `seeds` on two threads; what they reached, and how much was asked and answered.
fn run_all(seeds: std::ops::Range<u64>) -> (BTreeMap<&'static str, u64>, u64, u64, u64) {
    let (mut probes, mut requests, mut answered, mut cut_overs) = (BTreeMap::new(), 0, 0, 0);
    let halves = std::thread::scope(|scope| {
        let half = |odd| {
            let seeds = seeds.clone().filter(move |seed| seed % 2 == odd);
            scope.spawn(move || {
                seeds
                    .map(|seed| match seed % 10 {
                        7 => Options::hinting(seed, 1_000),
                        8 => Options::mortal(seed, 1_000),
                        9 => Options::spiteful(seed, 1_000),
                        _ => Options::from_seed(seed, 1_000),
                    })
                    .map(must_hold)
                    .collect::<Vec<_>>()
            })
        };
        let halves = [half(0), half(1)];
        halves.map(|half| half.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    for report in halves.into_iter().flatten() {
        requests += report.requests;
        answered += report.answered;
        cut_overs += report.cut_overs;
        for (name, times) in report.probes {
            *probes.entry(name).or_insert(0) += times;
        }
    }
    (probes, requests, answered, cut_overs)
}

#[test]
fn seeds_that_once_failed_hold() {
    for seed in ONCE_FAILED {
        must_hold(Options::from_seed(seed, 1_000));
    }
}

#[test]
fn many_seeds_hold_and_reach_every_rare_branch() {
    let seeds = if is_full() { 2_000 } else { 60 };
    let (probes, requests, answered, cut_overs) = run_all(1_000..1_000 + seeds);
    println!("{seeds} seeds, {requests} requests, {answered} answered, {cut_overs} cut-overs");
    assert!(answered * 2 > requests, "{answered} of {requests} answered: that proves little");
    if is_full() {
        let missed: Vec<_> = RARE.iter().filter(|name| !probes.contains_key(*name)).collect();
        assert!(missed.is_empty(), "no seed reached {missed:?}");
        assert!(cut_overs > seeds, "{cut_overs} changes of owners are too few");
    }
}

#[test]
fn a_seed_run_twice_is_the_same_run() {
    let seeds = if is_full() { 40 } else { 5 };
    for seed in 1..=seeds {
        let (one, two) = (
            must_hold(Options::from_seed(seed, 1_000)),
            must_hold(Options::from_seed(seed, 1_000)),
        );
        assert_eq!(one.trace, two.trace, "seed {seed}");
    }
}
