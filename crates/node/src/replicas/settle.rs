//! Waiting until what answers speak of is durable.
//!
//! Holds: what has to wait comes out in the order in which it came, each once, as soon as its commit is settled.
//! Commits of one engine settle in order, so only the first in the queue is asked about, and one
//! wake serves all that one sync has settled.

use parking_lot::Mutex;
use shoal_storage::{Commit, Engine, EngineError};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What is done once a commit is settled, or is known never to be.
type Then = Box<dyn FnOnce(Result<(), EngineError>) + Send>;

/// What waits for one engine.
pub(crate) struct SettleQueue {
    engine: Arc<dyn Engine>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<(Commit, Then)>,
    /// Who runs the queue, while it has nothing to wait for.
    idle: Option<Waker>,
}

impl SettleQueue {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, waiting: Mutex::default() }
    }

    /// Calls `then` once `commit` is settled: at once, where it is.
    pub(crate) fn wait(
        &self,
        commit: Commit,
        then: impl FnOnce(Result<(), EngineError>) + Send + 'static,
    ) {
        if let Poll::Ready(settled) = self.engine.settle(commit, Waker::noop()) {
            return then(settled);
        }
        let mut waiting = self.waiting.lock();
        waiting.queue.push_back((commit, Box::new(then)));
        let idle = waiting.idle.take();
        drop(waiting);
        if let Some(waker) = idle {
            waker.wake();
        }
    }

    /// Serves the queue, for ever.
    pub(crate) async fn run(&self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<std::convert::Infallible> {
        loop {
            let mut waiting = self.waiting.lock();
            let Some((commit, _)) = waiting.queue.front() else {
                waiting.idle = Some(context.waker().clone());
                return Poll::Pending;
            };
            let Poll::Ready(settled) = self.engine.settle(*commit, context.waker()) else {
                return Poll::Pending;
            };
            let first = waiting.queue.pop_front();
            drop(waiting);
            if let Some((_, then)) = first {
                then(settled);
            }
        }
    }
}
