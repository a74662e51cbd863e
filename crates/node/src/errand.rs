//! Questions that other nodes answer: those of the command under way, in their order.
//!
//! A command that needs an answer from elsewhere begins its question and leaves, by
//! [`Halt::Away`](crate::Halt::Away); once everything it began is answered it is run again, from
//! its beginning, asks the same questions and finds the answers here. So no thread waits.
//!
//! Holds: a question is begun once, however often its command runs, and all runs of a command go by
//! the clock and the catalogue of its first. A command that asks otherwise than it did before is
//! refused and what it began is forgotten; where it may have changed something it is told so, and
//! begins nothing more. What the answers hold is bounded.
//!
//! Does not know: what commands are, how questions travel.

mod board;
mod budget;
mod view;

pub(crate) use board::Ticket;
pub(crate) use budget::Budget;
pub(crate) use view::View;

use crate::cluster::Walked;
use crate::refusal::{Code, Halt, Refusal, unknown};
use board::Board;
use bytes::Bytes;
use shoal_core::quorum::{BatchOutcome, Forwarded, ReadOutcome, WriteOutcome};
use shoal_core::update::Outcome;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;
use view::News;

/// How many questions are begun at a time.
pub const AT_ONCE: usize = 1_024;
/// How long an answer is waited for. Every question has a deadline of its own, well before this:
/// only those whose node is being stopped reach it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a command may begin anew since others changed what it read.
const MOST_RETRIES: u8 = 3;

/// What kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Read,
    Write,
    Update,
    Batch,
    Walk,
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Read(ReadOutcome),
    Write(WriteOutcome),
    Update(Forwarded),
    Batch(BatchOutcome),
    /// Nothing where the node did not answer.
    Walked(Option<Walked>),
    /// As new a map as could be had is in force here.
    News,
    /// It could not even be asked, or its answer is more than can be held.
    Refused(Refusal),
    /// There was one, for a command to come, and it was more than can be held.
    Dropped,
    /// There will be none.
    Lost,
}

/// The questions that a run of commands has asked other nodes, and their answers.
#[derive(Default)]
pub struct Errands {
    slots: VecDeque<Slot>,
    /// How many of them the command has asked since it began to run.
    asked: usize,
    /// How many of them it has asked in any of its runs.
    known: usize,
    /// How often it has begun anew.
    retries: u8,
    /// It may have changed something, and asked otherwise after that.
    is_in_doubt: bool,
    /// What it goes by.
    view: Option<View>,
    /// Whether others were asked for a newer map.
    news: News,
    /// Where the answers come in; none before the first question.
    board: Option<Arc<Board>>,
    /// What bounds the answers to all commands.
    budget: Option<Arc<Budget>>,
}

/// One question.
struct Slot {
    what: What,
    key: Bytes,
    number: u64,
    /// Whether it was begun for a command to come.
    later: bool,
}

/// What there is of a question.
enum Begun {
    Already,
    /// Its answer was dropped before its turn came.
    InVain,
    NotYet,
}

impl Errands {
    /// Whether nothing was asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The answers count among what is bounded by `budget`.
    pub(crate) fn bound_by(&mut self, budget: &Arc<Budget>) {
        if self.budget.is_none() {
            self.budget = Some(Arc::clone(budget));
            if let Some(board) = &self.board {
                board.bound_by(budget);
            }
        }
    }

    /// The command is done: what it asked is forgotten. What was asked for the next ones is kept,
    /// unless this one was to ask the first of it and did not: then they are not what they seemed.
    pub fn over(&mut self) {
        if !self.slots.is_empty() {
            let asked = self.asked.min(self.slots.len());
            let own = self.slots.iter().skip(asked).take_while(|slot| !slot.later).count();
            let end = if asked + own == 0 { self.slots.len() } else { asked + own };
            self.forget(0, end);
        }
        (self.asked, self.known, self.retries, self.is_in_doubt) = (0, 0, 0, false);
        self.view = None;
    }

    /// Ready once every question is answered; `waker` is woken then.
    pub fn poll_answered(&self, waker: &Waker) -> Poll<()> {
        self.board.as_ref().map_or(Poll::Ready(()), |board| board.poll_answered(waker))
    }

    /// Waits until every question is answered; those that never are count as lost after a while.
    pub async fn answered(&self) {
        let all = poll_fn(|context| self.poll_answered(context.waker()));
        if tokio::time::timeout(PATIENCE, all).await.is_err()
            && let Some(board) = &self.board
        {
            board.give_up();
        }
    }

    /// As [`Errands::answered`], blocking the thread.
    pub fn wait(&self) {
        if let Some(board) = &self.board {
            board.wait(PATIENCE);
        }
    }

    /// The answer to the command's next question, which `begin` asks if it was not asked before;
    /// nothing while it is awaited.
    pub(crate) fn ask(
        &mut self,
        what: What,
        key: &[u8],
        begin: impl FnOnce(Bytes, Ticket) -> Result<(), Refusal>,
    ) -> Result<Option<Reply>, Halt> {
        self.begin(self.asked, what, key, false, begin)?;
        self.asked += 1;
        self.known = self.known.max(self.asked);
        Ok(self.last())
    }

    /// The answer to the question that was asked last, if it is there.
    pub(crate) fn last(&self) -> Option<Reply> {
        let slot = self.slots.get(self.asked.checked_sub(1)?)?;
        self.board.as_ref()?.answer(slot.number)
    }

    /// Whether the question `ahead` places after the next was begun.
    pub(crate) fn is_begun(&self, ahead: usize, what: What, key: &[u8]) -> bool {
        let slot = self.slots.get(self.asked + ahead);
        slot.is_some_and(|slot| slot.what == what && *slot.key == *key)
    }

    /// Lets go of the answer to the question that was asked last. For those who wait in place: they
    /// do not ask it again.
    pub(crate) fn let_go(&mut self) {
        let asked = self.asked.checked_sub(1).and_then(|last| self.slots.get(last));
        if let (Some(slot), Some(board)) = (asked, &self.board) {
            board.forget([slot.number].into_iter());
        }
    }

    /// Sees to it that the question `ahead` places after the next is begun. With `later` it is for
    /// a command to come, which asks anew in its turn where nothing came of it.
    pub(crate) fn foresee(
        &mut self,
        ahead: usize,
        what: What,
        key: &[u8],
        later: bool,
        begin: impl FnOnce(Bytes, Ticket) -> Result<(), Refusal>,
    ) -> Result<(), Halt> {
        self.begin(self.asked + ahead, what, key, later, begin)
    }

    /// Whether the command may begin anew, with nothing asked yet, since others have changed what
    /// it read; never where it may have changed something itself.
    pub(crate) fn retry(&mut self) -> bool {
        if self.retries >= MOST_RETRIES || self.may_have_changed() {
            return false;
        }
        self.clear();
        self.retries += 1;
        true
    }

    /// Whether the command may have changed something.
    pub(crate) fn may_have_changed(&self) -> bool {
        let changes = |slot: &&Slot| matches!(slot.what, What::Write | What::Update | What::Batch);
        let happened = |slot: &Slot| {
            self.board.as_ref().is_some_and(|board| board.may_have_happened(slot.number))
        };
        self.is_in_doubt || self.slots.iter().filter(changes).any(happened)
    }

    fn begin(
        &mut self,
        at: usize,
        what: What,
        key: &[u8],
        later: bool,
        begin: impl FnOnce(Bytes, Ticket) -> Result<(), Refusal>,
    ) -> Result<(), Halt> {
        let begun = self.find(at, what, key, later)?;
        if matches!(begun, Begun::Already) {
            return Ok(());
        }
        let key = Bytes::copy_from_slice(key);
        let board = Arc::clone(self.board());
        let (number, ticket) = board.expect(later);
        let slot = Slot { what, key: key.clone(), number, later };
        match self.slots.get_mut(at).filter(|_| matches!(begun, Begun::InVain)) {
            Some(in_vain) => {
                board.forget([in_vain.number].into_iter());
                *in_vain = slot;
            }
            None => self.slots.push_back(slot),
        }
        // No lock is held: the answer may come within the call.
        if let Err(refusal) = begin(key, ticket) {
            let instead = if later { Reply::Dropped } else { Reply::Refused(refusal) };
            board.put_instead(number, instead);
        }
        Ok(())
    }

    /// What there is of the question at this place.
    fn find(&mut self, at: usize, what: What, key: &[u8], later: bool) -> Result<Begun, Halt> {
        if self.is_in_doubt {
            return Err(unknown().into());
        }
        match self.slots.get(at) {
            Some(slot) if slot.what == what && *slot.key == *key => {
                let claimed = !later && slot.later;
                let board = self.board.as_ref().filter(|_| claimed);
                let in_vain = board.is_some_and(|board| board.claim(slot.number));
                Ok(if in_vain { Begun::InVain } else { Begun::Already })
            }
            Some(_) if at < self.known && later => Ok(Begun::Already),
            Some(_) if at < self.known => Err(self.asks_otherwise().into()),
            // It was begun for another command than the one that came.
            Some(_) => {
                self.forget(at, self.slots.len());
                Ok(Begun::NotYet)
            }
            None => Ok(Begun::NotYet),
        }
    }

    fn asks_otherwise(&mut self) -> Refusal {
        self.is_in_doubt = self.may_have_changed();
        self.clear();
        if self.is_in_doubt {
            return unknown();
        }
        let message = "what the command works on has changed meanwhile; send it again";
        Refusal::new(Code::TryAgain, message)
    }

    /// Forgets everything that was asked.
    fn clear(&mut self) {
        self.forget(0, self.slots.len());
        (self.asked, self.known, self.view) = (0, 0, None);
    }

    /// Forgets the questions from one place up to another.
    fn forget(&mut self, from: usize, to: usize) {
        let numbers = self.slots.drain(from..to).map(|slot| slot.number);
        if let Some(board) = &self.board {
            board.forget(numbers);
        }
    }

    fn board(&mut self) -> &Arc<Board> {
        self.board.get_or_insert_with(|| {
            let board = Arc::<Board>::default();
            if let Some(budget) = &self.budget {
                board.bound_by(budget);
            }
            board
        })
    }
}

impl Drop for Errands {
    fn drop(&mut self) {
        // Answers that are still to come find nobody.
        if let Some(board) = &self.board {
            board.close();
        }
    }
}

impl Reply {
    /// Whether what was asked for may have changed something.
    fn may_have_happened(&self) -> bool {
        match self {
            Self::Read(_) | Self::Walked(_) | Self::News | Self::Dropped => false,
            Self::Write(outcome) => {
                matches!(outcome, WriteOutcome::Done { .. } | WriteOutcome::Unknown { .. })
            }
            Self::Update(Forwarded::Done { outcome, .. }) => *outcome != Outcome::Unmet,
            Self::Batch(outcome) => {
                matches!(outcome, BatchOutcome::Done { .. } | BatchOutcome::Unknown)
            }
            Self::Update(Forwarded::Unknown { .. }) | Self::Lost => true,
            Self::Update(_) => false,
            Self::Refused(refusal) => refusal.code.row().may_have_happened,
        }
    }
}

impl fmt::Debug for Errands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Errands");
        shown.field("asked", &self.asked).field("of", &self.slots.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
