//! When a request is slow, and when its time is over.
//!
//! Holds: the first in a line is the first to go off. Nearly everything waits equally long and joins
//! at the end, so a line is all it takes. What goes off in one moment comes out at once.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Requests in the order in which something goes off for them.
pub(super) struct Line<T> {
    after: Duration,
    waiting: Mutex<VecDeque<(Instant, T)>>,
    first: Notify,
}

impl<T: Copy> Line<T> {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, waiting: Mutex::default(), first: Notify::new() }
    }

    /// Something goes off for `item`, this line's time after `now`.
    pub(super) fn join(&self, now: Instant, item: T) {
        self.join_until(now + self.after, item);
    }

    /// Something goes off for `item` at that time.
    pub(super) fn join_until(&self, at: Instant, item: T) {
        let mut waiting = self.waiting.lock();
        let place = match waiting.back() {
            Some((last, _)) if *last > at => waiting.partition_point(|(other, _)| *other <= at),
            _ => waiting.len(),
        };
        waiting.insert(place, (at, item));
        if place == 0 {
            self.first.notify_one();
        }
    }

    /// Waits for the next that goes off; all for which something goes off then. Where this is
    /// given up, nobody is lost.
    pub(super) async fn due(&self) -> Vec<T> {
        loop {
            let first = self.waiting.lock().front().map(|(at, _)| *at);
            let Some(at) = first else {
                self.first.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(at) => {}
                // Another is the first now.
                () = self.first.notified() => continue,
            }
            let now = Instant::now();
            let mut waiting = self.waiting.lock();
            let over = waiting.iter().position(|(at, _)| *at > now).unwrap_or(waiting.len());
            return waiting.drain(..over).map(|(_, item)| item).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_goes_off_together_comes_out_together_and_in_order() {
        let line = Line::new(Duration::from_millis(50));
        let begun = Instant::now();
        for item in [1, 2, 3] {
            line.join(begun, item);
        }
        line.join(begun + Duration::from_millis(10), 4);
        assert_eq!(line.due().await, [1, 2, 3]);
        assert_eq!(begun.elapsed(), Duration::from_millis(50));
        assert_eq!(line.due().await, [4]);
        assert_eq!(begun.elapsed(), Duration::from_millis(60));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_less_time_goes_off_before_those_that_came_earlier() {
        let line = Line::new(Duration::from_millis(50));
        let begun = Instant::now();
        line.join(begun, 1);
        line.join(begun, 2);
        let join = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            line.join_until(begun + Duration::from_millis(30), 3);
            line.join_until(begun + Duration::from_millis(40), 4);
            line.join_until(begun + Duration::from_millis(50), 5);
        };
        assert_eq!(tokio::join!(line.due(), join).0, [3]);
        assert_eq!(begun.elapsed(), Duration::from_millis(30));
        assert_eq!(line.due().await, [4]);
        assert_eq!(line.due().await, [1, 2, 5]);
        assert_eq!(begun.elapsed(), Duration::from_millis(50));
    }
}
