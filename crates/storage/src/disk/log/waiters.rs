//! Who waits for a commit to be settled.
//!
//! Holds: one place per waker, so that a task which asks again and again takes no more room than
//! one that asks once. A waker that waits for several commits is woken at the first of them and
//! asks again.

use crate::engine::Commit;
use std::collections::HashMap;
use std::task::Waker;

/// The waiting wakers.
#[derive(Default)]
pub(super) struct Waiters {
    /// By the address of the waker's data, which is the same for all clones of one.
    places: HashMap<usize, (Commit, Waker)>,
}

impl Waiters {
    /// Keeps `waker` until `commit` is settled.
    pub(super) fn add(&mut self, commit: Commit, waker: &Waker) {
        let place =
            self.places.entry(waker.data().addr()).or_insert_with(|| (commit, waker.clone()));
        place.0.written = place.0.written.min(commit.written);
        place.0.synced = place.0.synced.min(commit.synced);
        if !place.1.will_wake(waker) {
            // Two kinds of waker may share an address; the one that has to go asks again.
            std::mem::replace(&mut place.1, waker.clone()).wake();
        }
    }

    /// Moves out those whose commit is settled at these marks.
    pub(super) fn settled(&mut self, written: u64, synced: u64, into: &mut Vec<Waker>) {
        if self.places.is_empty() {
            return;
        }
        let settled = |commit: &Commit| commit.written <= written && commit.synced <= synced;
        into.extend(
            self.places.extract_if(|_, (commit, _)| settled(commit)).map(|(_, (_, waker))| waker),
        );
    }

    /// Moves out all of them.
    pub(super) fn all(&mut self, into: &mut Vec<Waker>) {
        into.extend(self.places.drain().map(|(_, (_, waker))| waker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Bell(AtomicU32);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn at(written: u64, synced: u64) -> Commit {
        Commit { written, synced }
    }

    #[test]
    fn only_the_settled_are_moved_out() {
        let bells: Vec<Arc<Bell>> = (0..3).map(|_| Arc::default()).collect();
        let mut waiters = Waiters::default();
        for (bell, commit) in bells.iter().zip([at(5, 0), at(5, 5), at(6, 0)]) {
            waiters.add(commit, &Waker::from(Arc::clone(bell)));
        }
        let mut out = Vec::new();
        waiters.settled(5, 4, &mut out);
        assert_eq!(out.len(), 1);
        out.drain(..).for_each(Waker::wake);
        assert_eq!(bells[0].0.load(Ordering::SeqCst), 1);
        waiters.all(&mut out);
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn one_waker_has_one_place_and_wakes_for_its_first_commit() {
        let waker = Waker::from(Arc::new(Bell::default()));
        let mut waiters = Waiters::default();
        waiters.add(at(9, 9), &waker);
        waiters.add(at(5, 5), &waker.clone());
        waiters.add(at(7, 7), &waker);
        let mut out = Vec::new();
        waiters.settled(5, 5, &mut out);
        assert_eq!(out.len(), 1);
        waiters.all(&mut out);
        assert_eq!(out.len(), 1);
    }
}
