//! The clock under every sequence of physical times: it rises, and never reaches its ceiling.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

const START_MS: Millis = 1_767_225_600_000;

fn open_clock(start_ms: Millis) -> Clock {
    let mut clock = Clock::restart(Ceiling(start_ms), NO_SKEW_BOUND);
    clock.raise_ceiling(Ceiling(MAX_WALL_MS));
    clock
}

#[test]
fn a_stamp_is_physical_time_while_that_moves() {
    let mut clock = open_clock(0);
    for at in [START_MS, START_MS + 1, START_MS + 500] {
        let stamp = clock.next(at).expect("below the ceiling");
        assert_eq!((stamp.wall_ms(), stamp.counter()), (at, 0));
    }
}

#[test]
fn counters_are_even_and_versions_order_like_stamps() {
    let mut clock = open_clock(0);
    let stamps: Vec<_> = (0..5).map(|_| clock.next(START_MS).expect("open")).collect();
    assert_eq!(stamps.iter().map(|s| s.counter()).collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
    let versions: Vec<_> = stamps.iter().map(|s| s.version(NodeId(7))).collect();
    assert!(versions.is_sorted_by(|a, b| a < b));
    // A successor fits between two stamps.
    let between = versions[1].successor(NodeId(u32::MAX));
    assert!(versions[1] < between && between < versions[2]);
}

#[test]
fn a_frozen_clock_gives_more_than_a_counters_worth_without_a_duplicate() {
    let mut clock = Clock::restart(Ceiling(0), MAX_SKEW_MS);
    clock.raise_ceiling(Ceiling(START_MS + CEILING_STEP_MS));
    let mut last = Stamp::ZERO;
    for _ in 0..1 << 17 {
        let stamp = clock.next(START_MS).expect("a few milliseconds ahead");
        assert!(stamp > last && stamp.counter().is_multiple_of(2));
        last = stamp;
    }
    assert_eq!(last.wall_ms() - START_MS, (1 << 17) / (1 << 15) - 1);
}

#[test]
fn a_clock_too_far_ahead_stops_until_time_has_caught_up() {
    let mut clock = open_clock(START_MS);
    clock.bounds.max_skew_ms = MAX_SKEW_MS;
    let before = clock.last();
    assert_eq!(
        clock.next(START_MS - MAX_SKEW_MS - 1),
        Err(ClockError::Ahead { ahead_ms: MAX_SKEW_MS + 1, max_skew_ms: MAX_SKEW_MS })
    );
    assert_eq!(clock.last(), before);
    assert!(clock.next(START_MS - MAX_SKEW_MS).expect("within the bound") > before);
}

#[test]
fn a_clock_set_back_by_an_hour_over_a_restart_goes_on_above_all_it_gave() {
    const HOUR_MS: Millis = 3_600_000;
    let mut clock = Clock::restart(Ceiling(0), NO_SKEW_BOUND);
    let mut durable = Ceiling(0);
    let mut last = Stamp::ZERO;
    for tick in 0..1_000 {
        let physical_ms = START_MS + tick * 100;
        if let Some(wanted) = clock.wanted_ceiling(physical_ms) {
            durable = wanted;
            clock.raise_ceiling(durable);
        }
        last = clock.next(physical_ms).expect("the ceiling is kept ahead");
    }
    let mut again = Clock::restart(durable, NO_SKEW_BOUND);
    let physical_ms = START_MS - HOUR_MS;
    assert!(matches!(again.next(physical_ms), Err(ClockError::Ceiling { .. })));
    let wanted = again.wanted_ceiling(physical_ms).expect("a new start wants a ceiling");
    again.raise_ceiling(wanted);
    assert!(again.next(physical_ms).expect("at once, without waiting for time") > last);
}

#[test]
fn a_ceiling_is_asked_for_again_only_when_half_of_it_is_used() {
    let ceiling = Ceiling(0).raise(Stamp::ZERO, START_MS, 10_000).expect("the first");
    assert_eq!(ceiling, Ceiling(START_MS + 10_000));
    let asked = |at| ceiling.raise(Stamp::ZERO, START_MS + at, 10_000);
    assert_eq!(asked(4_999), None);
    assert_eq!(asked(5_000), Some(Ceiling(START_MS + 15_000)));
    assert_eq!(asked(50_000), Some(Ceiling(START_MS + 60_000)));
}

#[test]
fn a_ceiling_is_lowered_to_a_step_above_every_stamp() {
    let high = Ceiling(START_MS + 10_000);
    assert_eq!(high.lower(Stamp::ZERO, START_MS, 1_000), Some(Ceiling(START_MS + 1_000)));
    let ahead = Stamp::start_of(START_MS + 5_000);
    assert_eq!(high.lower(ahead, START_MS, 1_000), Some(Ceiling(START_MS + 6_000)));
    assert_eq!(high.lower(high.restart(), START_MS, 1_000), None);
    assert_eq!(high.lower(Stamp::ZERO, START_MS + 9_000, 1_000), None);
}

#[test]
fn others_clocks_are_followed_up_to_the_skew_and_never_back() {
    let far = Stamp::start_of(START_MS + 10_000);
    let near = Stamp::start_of(START_MS + 100);
    let own = Stamp::start_of(START_MS);
    assert_eq!(Stamp::observe(own, near, START_MS, MAX_SKEW_MS), near);
    let bounded = Stamp::start_of(START_MS + MAX_SKEW_MS);
    assert_eq!(Stamp::observe(own, far, START_MS, MAX_SKEW_MS), bounded);
    assert_eq!(Stamp::observe(far, near, START_MS, MAX_SKEW_MS), far);
}

#[test]
fn threads_that_share_an_atomic_never_get_the_same_stamp() {
    let shared = AtomicU64::new(0);
    let bounds = Bounds { ceiling: Ceiling(MAX_WALL_MS), max_skew_ms: NO_SKEW_BOUND };
    let take = |count: usize| -> Vec<Stamp> {
        let once = || loop {
            let prev = shared.load(Ordering::Acquire);
            let next = bounds.next(Stamp(prev), START_MS).expect("bounds are wide");
            let swap = shared.compare_exchange(prev, next.0, Ordering::AcqRel, Ordering::Acquire);
            if swap.is_ok() {
                return next;
            }
        };
        (0..count).map(|_| once()).collect()
    };
    let all: Vec<Vec<Stamp>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| take(20_000))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(all.iter().all(|stamps| stamps.is_sorted_by(|a, b| a < b)));
    assert_eq!(all.iter().flatten().collect::<BTreeSet<_>>().len(), 80_000);
}

#[test]
fn the_end_of_time_is_refused_rather_than_passed() {
    let mut clock = open_clock(0);
    clock.last = Stamp::start_of(MAX_WALL_MS);
    assert!(matches!(clock.next(START_MS), Err(ClockError::Ceiling { .. })));
    assert!(matches!(clock.next(u64::MAX), Err(ClockError::Ceiling { .. })));
    assert_eq!(Stamp::next(Stamp(u64::MAX), u64::MAX).wall_ms(), MAX_WALL_MS);
}

/// What can happen to a clock.
#[derive(Clone, Copy, Debug)]
enum Event {
    Stamp { physical_ms: Millis },
    Hear { physical_ms: Millis, remote: u64 },
    Upkeep { physical_ms: Millis },
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let near = || START_MS - 3_600_000..START_MS + 3_600_000;
    let physical = || prop_oneof![4 => near(), 1 => Just(START_MS), 1 => any::<u64>()];
    prop_oneof![
        6 => physical().prop_map(|physical_ms| Event::Stamp { physical_ms }),
        2 => (physical(), any::<u64>())
            .prop_map(|(physical_ms, remote)| Event::Hear { physical_ms, remote }),
        3 => physical().prop_map(|physical_ms| Event::Upkeep { physical_ms }),
        1 => Just(Event::Restart),
    ]
}

proptest! {
    #[test]
    fn stamps_rise_below_the_durable_ceiling_whatever_happens(
        events in prop::collection::vec(event(), 1..200),
        skew in prop_oneof![Just(MAX_SKEW_MS), Just(NO_SKEW_BOUND)],
    ) {
        let mut durable = Ceiling(0);
        let mut clock = Clock::restart(durable, skew);
        let mut last = None;
        for event in events {
            match event {
                Event::Stamp { physical_ms } => {
                    let before = clock.last();
                    match clock.next(physical_ms) {
                        Ok(stamp) => {
                            prop_assert!(Some(stamp) > last, "{last:?} then {stamp:?}");
                            prop_assert!(stamp.counter().is_multiple_of(2));
                            prop_assert!(stamp.wall_ms() < durable.0);
                            prop_assert!(stamp.wall_ms() <= physical_ms.saturating_add(skew));
                            last = Some(stamp);
                        }
                        Err(_) => prop_assert_eq!(clock.last(), before),
                    }
                }
                Event::Hear { physical_ms, remote } => {
                    let before = clock.last();
                    clock.observe(Stamp(remote), physical_ms);
                    prop_assert!(clock.last() >= before);
                }
                Event::Upkeep { physical_ms } => {
                    if let Some(wanted) = clock.wanted_ceiling(physical_ms) {
                        prop_assert!(wanted > durable);
                        durable = wanted;
                        clock.raise_ceiling(durable);
                    }
                }
                Event::Restart => clock = Clock::restart(durable, skew),
            }
        }
    }
}
