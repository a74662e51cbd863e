//! How fast a started request grows: the guard against clients that hold a connection open by
//! sending a byte now and then.
//!
//! Holds: a request that grows by at least [`LEAST_BYTES_PER_SECOND`] over every window is never
//! cut, however long it is; one that does not is cut after one window.

use std::time::Duration;
use tokio::time::Instant;

/// A started request must grow at least this fast.
pub(crate) const LEAST_BYTES_PER_SECOND: u64 = 1 << 10;

/// Watches one request at a time grow.
#[derive(Debug)]
pub(crate) struct Pace {
    window: Duration,
    started: Option<Instant>,
    bytes: u64,
}

impl Pace {
    /// A watch that looks at windows of this length.
    pub(crate) const fn new(window: Duration) -> Self {
        Self { window, started: None, bytes: 0 }
    }

    /// Bytes came.
    pub(crate) const fn grew(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The request is complete; the next one has not begun.
    pub(crate) const fn reset(&mut self) {
        self.started = None;
        self.bytes = 0;
    }

    /// When to look again. The first call after a reset begins the window: time counts only
    /// while the peer is waited for.
    pub(crate) fn deadline(&mut self, now: Instant) -> Instant {
        *self.started.get_or_insert(now) + self.window
    }

    /// Whether the window is over and the request did not grow enough; else begins the next
    /// window if this one is over.
    pub(crate) fn is_too_slow(&mut self, now: Instant) -> bool {
        if now < self.deadline(now) {
            return false;
        }
        let least = LEAST_BYTES_PER_SECOND.saturating_mul(self.window.as_secs().max(1));
        let slow = self.bytes < least;
        self.started = Some(now);
        self.bytes = 0;
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    #[test]
    fn a_trickle_is_too_slow_after_one_window() {
        let mut pace = Pace::new(WINDOW);
        let start = Instant::now();
        assert_eq!(pace.deadline(start), start + WINDOW);
        pace.grew(10);
        assert!(!pace.is_too_slow(start + WINDOW / 2));
        assert!(pace.is_too_slow(start + WINDOW));
    }

    #[test]
    fn a_steady_stream_is_never_too_slow() {
        let mut pace = Pace::new(WINDOW);
        let mut now = Instant::now();
        pace.deadline(now);
        for _ in 0..100 {
            pace.grew(10 << 10);
            now += WINDOW;
            assert!(!pace.is_too_slow(now));
        }
        now += WINDOW;
        assert!(pace.is_too_slow(now), "it stopped");
    }

    #[test]
    fn a_complete_request_begins_anew() {
        let mut pace = Pace::new(WINDOW);
        let start = Instant::now();
        pace.deadline(start);
        pace.reset();
        assert!(!pace.is_too_slow(start + WINDOW * 5));
    }
}
