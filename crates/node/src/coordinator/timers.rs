//! When a request is slow, and when its time is over.
//!
//! Holds: every request waits equally long, so the first in line is the first to go off, and a
//! line is all it takes.

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

    /// Something goes off for `item`, after this line's time.
    pub(super) fn join(&self, item: T) {
        let mut waiting = self.waiting.lock();
        waiting.push_back((Instant::now() + self.after, item));
        if waiting.len() == 1 {
            self.first.notify_one();
        }
    }

    /// Waits for the next that goes off.
    pub(super) async fn next(&self) -> T {
        loop {
            let first = self.waiting.lock().front().copied();
            let Some((at, item)) = first else {
                self.first.notified().await;
                continue;
            };
            sleep_until(at).await;
            self.waiting.lock().pop_front();
            return item;
        }
    }
}
