//! Whose turn it is to make a long reply: on each thread they are made one after the other.
//!
//! A thread takes whatever is ready in the order in which it became so. If a crowd asked for long
//! replies at once, all of them would be made before any connection that was closed to make room
//! comes to give back its memory, and before the thread looks at its sockets again. So after a
//! long reply the others of the thread step aside until whatever was ready has run and the sockets
//! were looked at; what became ready meanwhile goes before those who stepped aside.
//!
//! Holds: between two long replies of a thread everybody whom the first one closed is gone. Who
//! steps aside keeps its place among those who do, and the first of them goes next, so nobody
//! waits for ever. A thread that makes no long reply pays one look at a flag of its own per run.
//!
//! Does not know: what a command will answer. That a reply is long is seen once it is made.

use std::cell::Cell;

/// A reply of so many bytes is long: what one run of a pipeline of short ones makes, and more than
/// most sockets take at once.
const LONG_REPLY: usize = 1 << 20;

thread_local! {
    /// A long reply was made on this thread, and not everybody who was ready has run since.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// Waits until no long reply was made on this thread since its sockets were looked at.
pub(crate) async fn turn() {
    while TAKEN.get() {
        // Tokio wakes those who yield once nobody else is ready, and after it saw to its sockets.
        tokio::task::yield_now().await;
    }
}

/// Notes that replies of so many bytes were made for one connection of this thread. Only for tasks
/// that stay on their thread.
pub(crate) fn made(bytes: usize) {
    if bytes < LONG_REPLY || TAKEN.replace(true) {
        return;
    }
    let over = Over;
    // It runs once everybody has who is ready by now. Those who step aside are not.
    tokio::task::spawn_local(async move { drop(over) });
}

/// Ends the turn when it is dropped: also where its task never runs, as its thread ends.
struct Over;

impl Drop for Over {
    fn drop(&mut self) {
        TAKEN.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;
    use tokio::task::{JoinSet, LocalSet};

    /// Runs a crowd whose members each make a reply of `bytes`; how many were made by each time
    /// that everybody had a look.
    async fn made_by_round(crowd: usize, bytes: usize) -> Vec<usize> {
        let done = Rc::new(Cell::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..crowd {
            let done = Rc::clone(&done);
            tasks.spawn_local(async move {
                turn().await;
                done.set(done.get() + 1);
                made(bytes);
            });
        }
        let mut rounds = Vec::new();
        while done.get() < crowd {
            tokio::task::yield_now().await;
            rounds.push(done.get());
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no panic");
        }
        rounds
    }

    #[tokio::test]
    async fn long_replies_are_made_one_by_one_and_short_ones_at_once() {
        LocalSet::new()
            .run_until(async {
                let long = made_by_round(20, LONG_REPLY).await;
                let mut before = 0;
                for now in long {
                    assert!(now - before <= 1, "{before}, then {now}");
                    before = now;
                }
                turn().await;
                let short = made_by_round(20, LONG_REPLY - 1).await;
                assert!(short.len() <= 2, "{short:?}");
            })
            .await;
    }

    #[test]
    fn a_thread_that_ends_in_between_leaves_nothing_behind() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
        let local = LocalSet::new();
        local.block_on(&runtime, async { made(LONG_REPLY) });
        drop(local);
        assert!(!TAKEN.get());
    }
}
