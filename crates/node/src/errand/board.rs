//! Where answers come in, from other threads, and how much of them is held.
//!
//! Holds: what the answers to one command hold is bounded, and what those of all commands hold. An
//! answer that does not fit is refused; of a question that was begun for a command to come it is
//! dropped, so that the command asks anew. A change whose answer does not fit has happened all the
//! same, and says so.
//!
//! Does not know: the order of questions.

use super::{Budget, Reply};
use crate::refusal::{Code, Refusal};
use parking_lot::{Condvar, Mutex};
use shoal_core::quorum::{Forwarded, ReadOutcome};
use shoal_core::record::OwnedBody;
use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The most bytes of values that the answers to one command hold, beyond its first.
pub(super) const MOST_HELD: usize = 64 << 20;
/// The most bytes of values that the answers to commands to come hold.
pub(super) const MOST_AHEAD: usize = 16 << 20;
/// So little is held without being counted among what all commands hold.
const UNCHARGED: usize = 64 << 10;

/// The answers to the questions of one client.
#[derive(Default)]
pub(super) struct Board {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of the next question; none is given out twice.
    next: u64,
    /// Of each question that is kept.
    places: HashMap<u64, Place>,
    /// How many of them are not answered yet.
    open: usize,
    /// Bytes of values that the answers to the command under way hold.
    own: usize,
    /// The same of commands to come.
    ahead: usize,
    /// What bounds all of them, and what was taken of it.
    budget: Option<Arc<Budget>>,
    charged: u64,
    waker: Option<Waker>,
}

/// A question's place.
struct Place {
    /// Whether it was begun for a command to come.
    later: bool,
    answer: Option<Reply>,
}

/// The right to answer one question. Whoever drops it answers that there will be no answer.
pub(crate) struct Ticket {
    board: Arc<Board>,
    number: u64,
    told: bool,
}

impl Board {
    /// Takes the place of a question, and gives its number.
    pub(super) fn expect(self: &Arc<Self>, later: bool) -> (u64, Ticket) {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.places.insert(number, Place { later, answer: None });
        state.open += 1;
        (number, Ticket { board: Arc::clone(self), number, told: false })
    }

    /// From now on what is held here counts among what is bounded by `budget`.
    pub(super) fn bound_by(&self, budget: &Arc<Budget>) {
        self.state.lock().budget.get_or_insert_with(|| Arc::clone(budget));
    }

    /// The answer to a question, if it is there.
    pub(super) fn answer(&self, number: u64) -> Option<Reply> {
        self.state.lock().places.get(&number)?.answer.clone()
    }

    /// The command that a question was begun for has come; whether it has to ask anew.
    pub(super) fn claim(&self, number: u64) -> bool {
        let mut state = self.state.lock();
        match state.places.get_mut(&number) {
            Some(Place { later, answer: None }) => {
                *later = false;
                false
            }
            Some(Place { answer: Some(answer), .. }) => matches!(answer, Reply::Dropped),
            None => false,
        }
    }

    /// Whether a change may have happened that was begun under this number.
    pub(super) fn may_have_happened(&self, number: u64) -> bool {
        let state = self.state.lock();
        let answer = state.places.get(&number).and_then(|place| place.answer.as_ref());
        answer.is_none_or(Reply::may_have_happened)
    }

    /// Forgets questions; answers that are still to come find nobody.
    pub(super) fn forget(&self, numbers: impl Iterator<Item = u64>) {
        let mut state = self.state.lock();
        for number in numbers {
            state.forget(number);
        }
        state.charge(0);
    }

    /// Forgets all of them.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.places.clear();
        (state.open, state.own, state.ahead) = (0, 0, 0);
        state.charge(0);
    }

    /// Ready once every question is answered; `waker` is woken then.
    pub(super) fn poll_answered(&self, waker: &Waker) -> Poll<()> {
        let mut state = self.state.lock();
        if state.open == 0 {
            return Poll::Ready(());
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        Poll::Pending
    }

    /// Waits until every question is answered, though no longer than `patience`.
    pub(super) fn wait(&self, patience: Duration) {
        let mut state = self.state.lock();
        while state.open > 0 {
            if self.came.wait_for(&mut state, patience).timed_out() {
                state.give_up();
            }
        }
    }

    /// What is not answered by now will not be.
    pub(super) fn give_up(&self) {
        self.state.lock().give_up();
    }

    /// Takes in what stands in the place of an answer, also where it was said that there will be
    /// none.
    pub(super) fn put_instead(&self, number: u64, reply: Reply) {
        debug_assert_eq!(reply.bytes(), 0, "it holds no value");
        let mut state = self.state.lock();
        if let Some(place) = state.places.get_mut(&number)
            && place.answer.replace(reply).is_none()
        {
            state.open -= 1;
        }
    }

    /// Takes an answer in, unless there is one or nobody wants it any more.
    fn put(&self, number: u64, reply: Reply) {
        let mut state = self.state.lock();
        if state.places.get(&number).is_none_or(|place| place.answer.is_some()) {
            return;
        }
        state.put(number, reply);
        if state.open > 0 {
            return;
        }
        let waker = state.waker.take();
        drop(state);
        self.came.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    fn put(&mut self, number: u64, reply: Reply) {
        let Some(later) = self.places.get(&number).map(|place| place.later) else { return };
        let bytes = reply.bytes();
        let reply = match self.admit(later, bytes) {
            Ok(()) => {
                *self.held(later) += bytes;
                reply
            }
            Err(_) if later => Reply::Dropped,
            Err(refusal) => Reply::Refused(reply.refused_as(refusal)),
        };
        if let Some(place) = self.places.get_mut(&number) {
            place.answer = Some(reply);
            self.open -= 1;
        }
    }

    /// Whether an answer of so many bytes fits.
    fn admit(&mut self, later: bool, bytes: usize) -> Result<(), Refusal> {
        let most = if later { MOST_AHEAD } else { MOST_HELD };
        let is_first = !later && self.own == 0;
        if bytes > 0 && !is_first && *self.held(later) + bytes > most {
            let message = format!("the values that are asked for hold more than {most} bytes");
            return Err(Refusal::new(Code::TooLarge, message));
        }
        if !self.charge(bytes) {
            let message = "too many values are held for commands of all clients; ask again";
            return Err(Refusal::new(Code::MemoryFull, message));
        }
        Ok(())
    }

    const fn held(&mut self, later: bool) -> &mut usize {
        if later { &mut self.ahead } else { &mut self.own }
    }

    /// Counts what is held and so many bytes more among what all commands hold; whether they fit.
    fn charge(&mut self, more: usize) -> bool {
        let Some(budget) = &self.budget else { return true };
        let bytes = self.own + self.ahead + more;
        let wanted = if bytes > UNCHARGED { bytes as u64 } else { 0 };
        let fits = budget.recharge(self.charged, wanted);
        if fits {
            self.charged = wanted;
        }
        fits
    }

    fn forget(&mut self, number: u64) {
        match self.places.remove(&number) {
            Some(Place { later, answer: Some(reply) }) => *self.held(later) -= reply.bytes(),
            Some(_) => self.open -= 1,
            None => {}
        }
    }

    fn give_up(&mut self) {
        for place in self.places.values_mut() {
            place.answer.get_or_insert(Reply::Lost);
        }
        self.open = 0;
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.recharge(self.charged, 0);
        }
    }
}

impl Ticket {
    /// Gives the answer.
    pub(crate) fn tell(mut self, reply: Reply) {
        self.told = true;
        self.board.put(self.number, reply);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.told {
            self.board.put(self.number, Reply::Lost);
        }
    }
}

impl Reply {
    /// The bytes of values that it holds.
    fn bytes(&self) -> usize {
        let record = match self {
            Self::Read(ReadOutcome::Found(found)) => found.record.as_ref(),
            Self::Update(Forwarded::Done { before, .. }) => before.as_ref(),
            Self::Walked(Some(walked)) => return walked.bytes(),
            _ => None,
        };
        match record.map(|record| &record.body) {
            Some(OwnedBody::Live { bytes, .. }) => bytes.len(),
            Some(OwnedBody::Tombstone) | None => 0,
        }
    }

    /// What stands in its place where it does not fit.
    fn refused_as(&self, refusal: Refusal) -> Refusal {
        if matches!(self, Self::Update(_)) && self.may_have_happened() {
            let message = "it may have happened, but what was there before cannot be held";
            return Refusal::new(Code::Unknown, message);
        }
        refusal
    }
}
