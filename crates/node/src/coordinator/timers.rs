//! When a request is slow, and when its time is over.
//!
//! Holds: everything in a line waits equally long, so the first in it is the first to go off, and
//! a line is all it takes. What goes off in one moment comes out at once.

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
        let mut waiting = self.waiting.lock();
        waiting.push_back((now + self.after, item));
        if waiting.len() == 1 {
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
            sleep_until(at).await;
            let now = Instant::now();
            let mut waiting = self.waiting.lock();
            // Threads may have joined a moment out of order, which costs that moment.
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
}
