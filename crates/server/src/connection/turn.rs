//! Whose turn it is to make a long reply: on each thread they are made one after the other.
//!
//! A thread takes whatever is ready in the order in which it became so. If a crowd asked for long
//! replies at once, all of them would be made before any connection that was closed to make room
//! comes to give back its memory, and before the thread looks at its sockets again. So after a
//! long reply the others of the thread wait in a line until whatever was ready has run and the
//! sockets were looked at. What a request asks for is not known before; so from then on the oldest
//! and the newest of the line go by turns: a short request that came into a crowd need not wait for
//! all of it, and nobody waits for ever.
//!
//! Holds: while anybody is in the line somebody in it is called, or a long reply is being followed
//! up. A thread that makes no long reply pays one look at a line of its own per run.
//!
//! Does not know: what a command will answer. That a reply is long is seen once it is made.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A reply of so many bytes is long: what one run of a pipeline of short ones makes, and more than
/// most sockets take at once.
const LONG_REPLY: usize = 1 << 20;

thread_local! {
    static LINE: RefCell<Line> = const { RefCell::new(Line::new()) };
}

/// Those of a thread who wait.
struct Line {
    /// A long reply was made, and not everybody who was ready has run since.
    taken: bool,
    /// The number that was given out last.
    last: u64,
    /// Whoever waits, the oldest first.
    waiting: VecDeque<(u64, Waker)>,
    /// Whose turn it is.
    called: Option<u64>,
    /// Whether the newest is called next, rather than the oldest.
    newest: bool,
}

impl Line {
    const fn new() -> Self {
        Self { taken: false, last: 0, waiting: VecDeque::new(), called: None, newest: false }
    }

    /// Joins the end, unless nobody has to wait.
    fn join(&mut self, waker: &Waker) -> Option<u64> {
        if !self.taken && self.waiting.is_empty() {
            return None;
        }
        self.last += 1;
        self.waiting.push_back((self.last, waker.clone()));
        Some(self.last)
    }

    /// Whether it is the turn of `number`, which leaves the line then; else `waker` is kept.
    fn is_turn_of(&mut self, number: u64, waker: &Waker) -> bool {
        if !self.taken && self.called == Some(number) {
            self.leave(number);
            return true;
        }
        if let Some((_, kept)) = self.waiting.iter_mut().find(|(other, _)| *other == number) {
            kept.clone_from(waker);
        }
        false
    }

    fn leave(&mut self, number: u64) {
        self.waiting.retain(|(other, _)| *other != number);
        if self.called == Some(number) {
            self.called = None;
        }
    }

    /// Calls somebody, if anybody waits and may go; who is called is to be woken.
    fn call(&mut self) -> Option<Waker> {
        if self.taken {
            return None;
        }
        if self.called.is_none() {
            let next = if self.newest { self.waiting.back() } else { self.waiting.front() };
            self.called = next.map(|(number, _)| *number);
            self.newest = !self.newest;
        }
        let called = self.called?;
        self.waiting.iter().find(|(number, _)| *number == called).map(|(_, waker)| waker.clone())
    }
}

/// Changes the line, and wakes who is called then.
fn change<R>(change: impl FnOnce(&mut Line) -> R) -> Option<R> {
    // A thread that ends has none any more.
    let (changed, called) = LINE
        .try_with(|line| {
            let mut line = line.borrow_mut();
            let changed = change(&mut line);
            (changed, line.call())
        })
        .ok()?;
    // What it does is its own; the line is not held.
    if let Some(waker) = called {
        waker.wake();
    }
    Some(changed)
}

/// Waits until it may make a reply, however long.
pub(crate) const fn turn() -> Turn {
    Turn { number: None }
}

/// What [`turn`] gives.
pub(crate) struct Turn {
    /// Its number in the line.
    number: Option<u64>,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker();
        let Some(number) = self.number else {
            self.number = LINE.with_borrow_mut(|line| line.join(waker));
            return if self.number.is_none() { Poll::Ready(()) } else { Poll::Pending };
        };
        let is_its = LINE.with_borrow_mut(|line| line.is_turn_of(number, waker));
        if !is_its {
            return Poll::Pending;
        }
        self.number = None;
        // If what comes of it is long, whoever is called next finds that out.
        change(|_| ());
        Poll::Ready(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            change(|line| line.leave(number));
        }
    }
}

/// Notes that replies of so many bytes were made for one connection of this thread. Only for tasks
/// that stay on their thread.
pub(crate) fn made(bytes: usize) {
    if bytes < LONG_REPLY || LINE.with_borrow_mut(|line| std::mem::replace(&mut line.taken, true)) {
        return;
    }
    let over = Over;
    tokio::task::spawn_local(async move {
        // Tokio wakes it once nobody else is ready, and after it saw to its sockets.
        tokio::task::yield_now().await;
        drop(over);
    });
}

/// Ends the turn when it is dropped: also where its task never runs, as its thread ends.
struct Over;

impl Drop for Over {
    fn drop(&mut self) {
        change(|line| line.taken = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use tokio::task::{JoinSet, LocalSet};

    /// Runs a crowd whose members each make a reply of `bytes`; in which order they did, and how
    /// many had by each time that everybody had a look.
    async fn made_by_round(crowd: usize, bytes: usize) -> (Vec<usize>, Vec<usize>) {
        let done = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for member in 0..crowd {
            let done = Rc::clone(&done);
            tasks.spawn_local(async move {
                turn().await;
                done.borrow_mut().push(member);
                made(bytes);
            });
        }
        let mut rounds = Vec::new();
        while done.borrow().len() < crowd {
            tokio::task::yield_now().await;
            rounds.push(done.borrow().len());
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no panic");
        }
        let order = done.borrow().clone();
        (order, rounds)
    }

    async fn local<F: Future>(test: F) -> F::Output {
        LocalSet::new().run_until(test).await
    }

    #[tokio::test]
    async fn long_replies_are_made_one_by_one_and_short_ones_at_once() {
        local(async {
            let (order, rounds) = made_by_round(7, LONG_REPLY).await;
            assert_eq!(order, [0, 1, 6, 2, 5, 3, 4], "the oldest and the newest by turns");
            let mut before = 0;
            for now in rounds {
                assert!(now - before <= 1, "{before}, then {now}");
                before = now;
            }
            turn().await;
            let (_, rounds) = made_by_round(20, LONG_REPLY - 1).await;
            assert!(rounds.len() <= 2, "{rounds:?}");
        })
        .await;
    }

    #[tokio::test]
    async fn who_waits_is_reached_whoever_else_comes_or_goes() {
        local(async {
            made(LONG_REPLY);
            let reached = Rc::new(Cell::new(false));
            let seen = Rc::clone(&reached);
            let mut others = JoinSet::new();
            let gives_up = others.spawn_local(async { turn().await });
            others.spawn_local(async move {
                turn().await;
                seen.set(true);
            });
            tokio::task::yield_now().await;
            gives_up.abort();
            // Somebody comes in each round and asks for as much.
            let mut rounds = 0;
            while !reached.get() {
                others.spawn_local(async {
                    turn().await;
                    made(LONG_REPLY);
                });
                tokio::task::yield_now().await;
                rounds += 1;
                assert!(rounds < 50, "it is never reached");
            }
        })
        .await;
    }

    #[test]
    fn a_thread_that_ends_in_between_leaves_nothing_behind() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it starts");
        let local = LocalSet::new();
        local.block_on(&runtime, async { made(LONG_REPLY) });
        drop(local);
        assert!(LINE.with_borrow(|line| !line.taken));
    }
}
