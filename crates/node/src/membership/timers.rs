//! What falls due when, and how late it was.
//!
//! A node that was itself held up, stopped or starved, must not conclude that the others were
//! silent: their answers lie unread in its socket. So a decision against a member that falls due
//! late is put off once by its full time, and after being late all such times are made longer.
//!
//! Holds: what falls due at the same moment comes out in the order in which it went in.
//!
//! Does not know: what the entries mean.

use std::collections::BTreeMap;
use std::time::Duration;

/// Lateness is remembered this long.
const MEMORY: Duration = Duration::from_secs(10);
/// No time is made longer by more than this.
const MAX_WIDENING: Duration = Duration::from_secs(5);
/// Less lateness than this is the ordinary grain of timers.
const GRAIN: Duration = Duration::from_millis(50);

/// One entry that has fallen due.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    pub(super) what: T,
    /// Whether it was already put off.
    pub(super) postponed: bool,
}

/// Entries in the order in which they fall due.
#[derive(Clone, Debug)]
pub(super) struct Timers<T> {
    queue: BTreeMap<(Duration, u64), Entry<T>>,
    next: u64,
    lag: Duration,
    lag_at: Duration,
}

impl<T> Timers<T> {
    pub(super) const fn new() -> Self {
        Self { queue: BTreeMap::new(), next: 0, lag: Duration::ZERO, lag_at: Duration::ZERO }
    }

    pub(super) fn put(&mut self, due: Duration, what: T, postponed: bool) {
        self.queue.insert((due, self.next), Entry { what, postponed });
        self.next += 1;
    }

    pub(super) fn first_due(&self) -> Option<Duration> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    /// The next entry that has fallen due by `now`, and how late that is.
    pub(super) fn take(&mut self, now: Duration) -> Option<(Entry<T>, Duration)> {
        let first = self.queue.first_entry()?;
        let late = now.checked_sub(first.key().0)?;
        let entry = first.remove();
        if late >= GRAIN {
            self.note_lag(late, now);
        }
        Some((entry, late))
    }

    /// This node was late by `lag`.
    pub(super) fn note_lag(&mut self, lag: Duration, now: Duration) {
        if lag >= self.lag(now) {
            self.lag = lag;
            self.lag_at = now;
        }
    }

    /// By how much this node has lately been late.
    pub(super) fn lag(&self, now: Duration) -> Duration {
        let fresh = now.saturating_sub(self.lag_at) < MEMORY;
        if fresh { self.lag } else { Duration::ZERO }
    }

    /// `after`, made longer by as much as this node has lately been late.
    pub(super) fn widened(&self, after: Duration, now: Duration) -> Duration {
        after + self.lag(now).min(MAX_WIDENING)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn entries_come_out_in_order_and_say_how_late_they_are() {
        let mut timers = Timers::new();
        timers.put(ms(20), 'c', false);
        timers.put(ms(10), 'a', true);
        timers.put(ms(10), 'b', false);
        assert_eq!(timers.first_due(), Some(ms(10)));
        assert!(timers.take(ms(9)).is_none());
        let mut out = Vec::new();
        while let Some((entry, late)) = timers.take(ms(25)) {
            out.push((entry.what, entry.postponed, late));
        }
        assert_eq!(out, [('a', true, ms(15)), ('b', false, ms(15)), ('c', false, ms(5))]);
    }

    #[test]
    fn lateness_widens_for_a_while_and_within_bounds() {
        let mut timers = Timers::new();
        assert_eq!(timers.widened(ms(100), ms(0)), ms(100));
        timers.put(ms(0), (), false);
        timers.take(ms(700));
        assert_eq!(timers.widened(ms(100), ms(700)), ms(800));
        timers.note_lag(ms(300), ms(800));
        assert_eq!(timers.widened(ms(100), ms(10_699)), ms(800), "the greater one counts");
        assert_eq!(timers.widened(ms(100), ms(10_700)), ms(100));
        timers.note_lag(ms(60_000), ms(20_000));
        assert_eq!(timers.widened(ms(100), ms(20_000)), ms(5_100));
    }
}
