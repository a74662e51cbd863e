//! Frees the memory of retired spaces, so that emptying a keyspace answers at once.
//!
//! Holds: a space is counted until its memory is free, partition by partition, so that the bound
//! on memory is one; a write that meets the bound meanwhile waits for the next partition rather
//! than being refused. The thread exists from the first retired space on.

use crate::memory::space::Space;

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Space>>,
    busy: bool,
    closing: bool,
    /// Partitions freed since the start.
    freed: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified of each freed partition and of everything there is to do.
    changed: Condvar,
}

/// The thread that frees, and what it is to free.
#[derive(Debug, Default)]
pub(super) struct Reaper {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reaper {
    /// Frees `space` in the background.
    pub(super) fn bury(&self, space: Arc<Space>) {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let named = std::thread::Builder::new().name("memory-reaper".into());
            *thread = named.spawn(move || shared.run()).ok();
        }
        let mut state = self.shared.state.lock();
        state.queue.push_back(space);
        state.closing = false;
        self.shared.changed.notify_all();
        drop(state);
        if thread.is_none() {
            // No thread to be had: late is better than never.
            self.shared.drain();
        }
    }

    /// Waits until something more is free; `false` if nothing is going to be.
    pub(super) fn wait(&self) -> bool {
        let mut state = self.shared.state.lock();
        let freed = state.freed;
        let mut waited = false;
        while state.freed == freed && (state.busy || !state.queue.is_empty()) {
            waited = true;
            self.shared.changed.wait(&mut state);
        }
        waited
    }

    /// Frees what is left and ends the thread.
    pub(super) fn close(&self) {
        let mut thread = self.thread.lock();
        self.shared.state.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that frees memory panicked");
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            self.drain();
            let mut state = self.state.lock();
            while state.queue.is_empty() {
                if state.closing {
                    return;
                }
                self.changed.wait(&mut state);
            }
        }
    }

    /// Frees everything that waits.
    fn drain(&self) {
        while let Some(space) = self.next() {
            for partition in 0..space.partitions() {
                space.close(partition);
                self.state.lock().freed += 1;
                self.changed.notify_all();
            }
            drop(space);
            self.state.lock().busy = false;
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Arc<Space>> {
        let mut state = self.state.lock();
        let space = state.queue.pop_front()?;
        state.busy = true;
        Some(space)
    }
}
