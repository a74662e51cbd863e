//! What one key may be read to hold, by what was written into it and seen in it before.
//!
//! Every value is written once, so a read names the write that it saw. A write is over once it was
//! acknowledged; one whose outcome was never told is never over: it may be seen, overwritten and
//! seen again for ever.
//!
//! Holds: once a write is over, and then another operation begins and ends that wrote or saw
//! something else, the first is never seen again. This one rule forbids to lose an acknowledged
//! write, to turn round two writes that do not overlap, to read what is stale, and to bring back
//! what was deleted. Besides, nothing is seen that was not written, or was refused.
//!
//! Does not know: clients, nodes, or which write of two that overlap should win.

use std::collections::BTreeMap;

/// What a key may hold: a numbered value, or nothing.
pub(super) type State = Option<u64>;

/// A moment, on one clock for everybody.
pub(super) type Moment = u64;

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It wrote, and was acknowledged.
    Wrote,
    /// It may have written.
    Open,
    /// It saw.
    Saw,
}

/// An operation on a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) what: What,
    pub(super) state: State,
    pub(super) begun: Moment,
    pub(super) ended: Moment,
}

/// Everything that was done with one key, in no order.
#[derive(Clone, Debug, Default)]
pub(super) struct Register {
    operations: Vec<Operation>,
}

/// Operations that are over, by what they have shown: of each of the two states that were shown
/// by whoever began last, when that was.
#[derive(Default)]
struct Shown {
    latest: Option<Operation>,
    other: Option<Operation>,
}

impl Shown {
    fn take(&mut self, operation: Operation) {
        let later = |held: Option<Operation>| held.is_none_or(|held| held.begun < operation.begun);
        if self.latest.is_some_and(|latest| latest.state == operation.state) {
            if later(self.latest) {
                self.latest = Some(operation);
            }
        } else if later(self.latest) {
            self.other = self.latest.replace(operation);
        } else if later(self.other) {
            self.other = Some(operation);
        }
    }

    /// Whoever began last and showed something other than `state`.
    fn other_than(&self, state: State) -> Option<Operation> {
        [self.latest, self.other].into_iter().flatten().find(|shown| shown.state != state)
    }
}

impl Register {
    /// Notes what was done.
    pub(super) fn note(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Judges every read.
    ///
    /// # Errors
    /// The first that saw what it must not, and why.
    pub(super) fn judge(&self) -> Result<(), String> {
        let written = self.written();
        let mut over: Vec<_> =
            self.operations.iter().filter(|done| done.what != What::Open).copied().collect();
        over.sort_unstable_by_key(|done| done.ended);
        let mut reads: Vec<_> =
            self.operations.iter().filter(|done| done.what == What::Saw).copied().collect();
        reads.sort_unstable_by_key(|read| read.begun);
        let mut over = over.into_iter().peekable();
        let mut shown = Shown::default();
        for read in reads {
            while let Some(before) = over.next_if(|before| before.ended < read.begun) {
                shown.take(before);
            }
            let Some(closed) = closed(&written, &read) else {
                return Err(format!("{read:?} was never written, or was refused"));
            };
            if let Some(since) = shown.other_than(read.state).filter(|since| since.begun > closed) {
                return Err(format!("{read:?} was over at {closed}, and since then {since:?}"));
            }
        }
        Ok(())
    }

    /// When the writes of each state began and were over.
    fn written(&self) -> BTreeMap<State, Vec<(Moment, Moment)>> {
        // Every key begins with nothing.
        let mut written = BTreeMap::from([(None, vec![(0, 0)])]);
        for done in &self.operations {
            let over = match done.what {
                What::Wrote => done.ended,
                What::Open => Moment::MAX,
                What::Saw => continue,
            };
            written.entry(done.state).or_default().push((done.begun, over));
        }
        written
    }
}

/// When the last write was over that `read` may have seen; nothing if there is none.
fn closed(written: &BTreeMap<State, Vec<(Moment, Moment)>>, read: &Operation) -> Option<Moment> {
    let writes = written.get(&read.state)?.iter();
    writes.filter(|(begun, _)| *begun < read.ended).map(|(_, over)| *over).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use What::{Open, Saw, Wrote};

    /// The judgement of `(what, state, begun, ended)`.
    fn judged(operations: &[(What, State, Moment, Moment)]) -> bool {
        let mut register = Register::default();
        for &(what, state, begun, ended) in operations {
            register.note(Operation { what, state, begun, ended });
        }
        register.judge().is_ok()
    }

    #[test]
    fn what_was_acknowledged_is_seen() {
        assert!(judged(&[(Saw, None, 1, 2)]));
        assert!(judged(&[(Wrote, Some(1), 1, 2), (Saw, Some(1), 3, 4)]));
        assert!(!judged(&[(Wrote, Some(1), 1, 2), (Saw, None, 3, 4)]), "lost");
        assert!(judged(&[(Wrote, Some(1), 1, 3), (Saw, None, 2, 4)]), "at the same time");
        let two = [(Wrote, Some(1), 1, 2), (Wrote, Some(2), 3, 4)];
        assert!(judged(&[&two[..], &[(Saw, Some(2), 5, 6)]].concat()));
        assert!(!judged(&[&two[..], &[(Saw, Some(1), 5, 6)]].concat()), "turned round, or stale");
    }

    #[test]
    fn of_writes_that_overlap_either_may_win_but_then_it_has_won() {
        let both = [(Wrote, Some(1), 1, 4), (Wrote, Some(2), 2, 3)];
        for winner in [Some(1), Some(2)] {
            assert!(judged(&[&both[..], &[(Saw, winner, 5, 6), (Saw, winner, 7, 8)]].concat()));
        }
        assert!(!judged(&[&both[..], &[(Saw, Some(1), 5, 6), (Saw, Some(2), 7, 8)]].concat()));
        // While the first is under way it may rise above the second once more.
        let seen_again = [(Saw, Some(1), 2, 3), (Saw, Some(2), 6, 7), (Saw, Some(1), 10, 11)];
        let long = [(Wrote, Some(1), 1, 9), (Wrote, Some(2), 4, 5)];
        assert!(judged(&[&long[..], &seen_again[..]].concat()));
        let short = [(Wrote, Some(1), 1, 3), (Wrote, Some(2), 4, 5)];
        assert!(!judged(&[&short[..], &seen_again[..]].concat()));
    }

    #[test]
    fn what_was_never_told_may_be_seen_for_ever() {
        let open = [(Open, Some(1), 1, 2), (Wrote, Some(2), 3, 4)];
        assert!(judged(&[&open[..], &[(Saw, Some(2), 5, 6), (Saw, Some(1), 7, 8)]].concat()));
        assert!(!judged(&[&open[..], &[(Saw, None, 5, 6)]].concat()));
        let seen = [(Wrote, Some(1), 1, 2), (Open, Some(2), 3, 4), (Saw, Some(2), 5, 6)];
        assert!(!judged(&[&seen[..], &[(Saw, Some(1), 7, 8)]].concat()), "it was seen already");
    }

    #[test]
    fn what_was_deleted_stays_so() {
        let deleted = [(Wrote, Some(1), 1, 2), (Wrote, None, 3, 4)];
        assert!(judged(&[&deleted[..], &[(Saw, None, 5, 6)]].concat()));
        assert!(!judged(&[&deleted[..], &[(Saw, Some(1), 5, 6)]].concat()), "brought back");
        let again = [(Wrote, Some(2), 5, 6), (Saw, None, 7, 8)];
        assert!(!judged(&[&deleted[..], &again[..]].concat()), "that delete was before");
        let late = [(Wrote, Some(2), 5, 6), (Wrote, None, 5, 7), (Saw, None, 8, 9)];
        assert!(judged(&[&deleted[..], &late[..]].concat()));
    }

    #[test]
    fn what_nobody_wrote_and_what_is_to_come_is_not_seen() {
        assert!(!judged(&[(Saw, Some(1), 1, 2)]));
        assert!(!judged(&[(Saw, Some(1), 1, 2), (Wrote, Some(1), 3, 4)]));
    }

    #[test]
    fn of_many_states_the_two_latest_tell() {
        let mut shown = Shown::default();
        for (state, begun) in [(1, 5), (2, 3), (3, 4), (1, 9), (3, 6)] {
            let done = Operation { what: Saw, state: Some(state), begun, ended: 10 };
            shown.take(done);
        }
        assert_eq!(shown.other_than(Some(1)).map(|done| done.begun), Some(6));
        assert_eq!(shown.other_than(Some(2)).map(|done| done.begun), Some(9));
        assert_eq!(shown.other_than(None).map(|done| done.begun), Some(9));
    }
}
