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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

/// What is done once a commit is settled, or is known never to be.
type Then = Box<dyn FnOnce(Result<(), EngineError>) + Send>;

/// The most bytes of questions that wait in the copies of one engine; more are refused.
const MOST_HELD_BYTES: usize = 64 << 20;

/// What waits for one engine.
pub(crate) struct SettleQueue {
    engine: Arc<dyn Engine>,
    waiting: Mutex<Waiting>,
    /// The bytes of questions that wait in the engine's copies for something else than the engine.
    held_bytes: AtomicUsize,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<(Commit, Then)>,
    /// Who runs the queue.
    runner: Option<Waker>,
    /// Whether whoever runs it has nothing to wait for.
    idle: bool,
    closed: bool,
}

impl SettleQueue {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, waiting: Mutex::default(), held_bytes: AtomicUsize::new(0) }
    }

    /// Whether there is room for a question of so many bytes, which is taken then.
    pub(super) fn hold(&self, bytes: usize) -> bool {
        let held = self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        let room = held == 0 || held + bytes <= MOST_HELD_BYTES;
        if !room {
            self.let_go(bytes);
        }
        room
    }

    /// Gives room back.
    pub(super) fn let_go(&self, bytes: usize) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
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
        if waiting.closed {
            drop(waiting);
            return then(Err(closed()));
        }
        waiting.queue.push_back((commit, Box::new(then)));
        let idle = std::mem::take(&mut waiting.idle).then(|| waiting.runner.take()).flatten();
        drop(waiting);
        if let Some(waker) = idle {
            waker.wake();
        }
    }

    /// How many answers wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().queue.len()
    }

    /// Serves the queue, until it is closed.
    pub(crate) async fn run(&self) {
        poll_fn(|context| self.poll(context)).await;
    }

    /// Ends what waits as if its commit had failed, for what becomes of it is not known here any
    /// more, and all that comes after it; and [`Self::run`].
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        let (queue, runner) = (std::mem::take(&mut waiting.queue), waiting.runner.take());
        drop(waiting);
        for (_, then) in queue {
            then(Err(closed()));
        }
        if let Some(waker) = runner {
            waker.wake();
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut waiting = self.waiting.lock();
            if waiting.closed {
                return Poll::Ready(());
            }
            waiting.runner = Some(context.waker().clone());
            let Some((commit, _)) = waiting.queue.front() else {
                waiting.idle = true;
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

fn closed() -> EngineError {
    EngineError::Poisoned("the node is stopping".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::rig::disk;
    use super::*;
    use std::sync::mpsc::channel;

    /// A commit that the engine never settles by itself.
    fn far() -> Commit {
        let later = shoal_storage::Commit { written: u64::MAX, synced: u64::MAX };
        Commit::DONE.join(later)
    }

    #[test]
    fn closing_ends_what_waits_what_comes_and_whoever_runs_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let queue = SettleQueue::new(disk(directory.path()));
        let (tell, told) = channel();
        let first = tell.clone();
        queue.wait(far(), move |settled| first.send(settled.is_err()).expect("it listens"));
        assert!(told.try_recv().is_err(), "it waits");
        let mut run = Box::pin(queue.run());
        let mut context = Context::from_waker(Waker::noop());
        assert!(std::future::Future::poll(run.as_mut(), &mut context).is_pending());
        queue.close();
        assert!(std::future::Future::poll(run.as_mut(), &mut context).is_ready());
        queue.wait(far(), move |settled| tell.send(settled.is_err()).expect("it listens"));
        assert_eq!(told.iter().collect::<Vec<_>>(), [true, true]);
    }

    #[test]
    fn room_is_bounded_and_one_question_always_has_some() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let queue = SettleQueue::new(disk(directory.path()));
        assert!(queue.hold(2 * MOST_HELD_BYTES), "alone");
        assert!(!queue.hold(1));
        queue.let_go(2 * MOST_HELD_BYTES);
        assert!(queue.hold(1) && queue.hold(MOST_HELD_BYTES - 1) && !queue.hold(1));
    }
}
