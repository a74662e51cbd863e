//! Questions that other nodes answer: those of the command under way, in their order.
//!
//! A command that needs an answer from elsewhere begins its question and leaves, by
//! [`Halt::Away`](crate::Halt::Away); once everything it began is answered it is run again, from
//! its beginning, asks the same questions and finds the answers here. So no thread waits.
//!
//! Holds: a question is begun once, however often its command runs. A command that asks
//! otherwise than it did before is refused and what it began is forgotten. What the answers hold
//! is bounded.
//!
//! Does not know: what commands are, how questions travel.

use crate::cluster::Walked;
use crate::refusal::{Code, Halt, Refusal};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use shoal_core::quorum::{Forwarded, ReadOutcome, WriteOutcome};
use shoal_core::record::OwnedBody;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// How many questions are begun at a time.
pub const AT_ONCE: usize = 1_024;
/// The most bytes of values that the answers to one command hold, beyond its first.
const MOST_HELD: usize = 64 << 20;
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
    Walk,
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Read(ReadOutcome),
    Write(WriteOutcome),
    Update(Forwarded),
    /// Nothing where the node did not answer.
    Walked(Option<Walked>),
    /// It could not even be asked, or its answer is more than can be held.
    Refused(Refusal),
    /// There will be none.
    Lost,
}

impl Reply {
    fn bytes(&self) -> usize {
        let record = match self {
            Self::Read(ReadOutcome::Found(found)) => found.record.as_ref(),
            Self::Update(Forwarded::Done { before, .. }) => before.as_ref(),
            _ => None,
        };
        match record.map(|record| &record.body) {
            Some(OwnedBody::Live { bytes, .. }) => bytes.len(),
            Some(OwnedBody::Tombstone) | None => 0,
        }
    }
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
    /// Where the answers come in; none before the first question.
    board: Option<Arc<Board>>,
}

/// One question.
struct Slot {
    what: What,
    key: Bytes,
    number: u64,
    /// Whether it was begun for a command to come.
    later: bool,
}

/// Where answers come in, from other threads.
#[derive(Default)]
struct Board {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of the next question; none is given out twice.
    next: u64,
    /// Of each question that is kept, once it is there.
    answers: HashMap<u64, Option<Reply>>,
    /// How many of them are not there yet.
    open: usize,
    /// Bytes of values that are held.
    held: usize,
    waker: Option<Waker>,
}

/// The right to answer one question. Whoever drops it answers that there will be no answer.
pub(crate) struct Ticket {
    board: Arc<Board>,
    number: u64,
    told: bool,
}

impl Errands {
    /// Whether nothing was asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The command runs again, from its beginning.
    pub fn again(&mut self) {
        self.asked = 0;
    }

    /// The command is done: what it asked is forgotten. What was asked for the next ones is kept.
    pub fn over(&mut self) {
        if self.slots.is_empty() {
            (self.asked, self.known, self.retries) = (0, 0, 0);
            return;
        }
        let asked = self.asked.min(self.slots.len());
        let own = self.slots.iter().skip(asked).take_while(|slot| !slot.later).count();
        self.forget(asked + own);
        (self.asked, self.known, self.retries) = (0, 0, 0);
    }

    /// Ready once every question is answered; `waker` is woken then.
    pub fn poll_answered(&self, waker: &Waker) -> Poll<()> {
        let Some(board) = &self.board else { return Poll::Ready(()) };
        let mut state = board.state.lock();
        if state.open == 0 {
            return Poll::Ready(());
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        Poll::Pending
    }

    /// Waits until every question is answered; those that never are count as lost after a while.
    pub async fn answered(&self) {
        let all = poll_fn(|context| self.poll_answered(context.waker()));
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            self.give_up();
        }
    }

    /// As [`Errands::answered`], blocking the thread.
    pub fn wait(&self) {
        let Some(board) = &self.board else { return };
        let mut state = board.state.lock();
        while state.open > 0 {
            if board.came.wait_for(&mut state, PATIENCE).timed_out() {
                state.give_up();
            }
        }
    }

    fn give_up(&self) {
        if let Some(board) = &self.board {
            board.state.lock().give_up();
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
        let state = self.board.as_ref()?.state.lock();
        state.answers.get(&slot.number)?.clone()
    }

    /// Sees to it that the question `ahead` places after the next is begun. With `later` it is for
    /// a command to come.
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
    /// it read.
    pub(crate) fn retry(&mut self) -> bool {
        if self.retries >= MOST_RETRIES {
            return false;
        }
        self.clear();
        self.retries += 1;
        true
    }

    fn begin(
        &mut self,
        at: usize,
        what: What,
        key: &[u8],
        later: bool,
        begin: impl FnOnce(Bytes, Ticket) -> Result<(), Refusal>,
    ) -> Result<(), Halt> {
        match self.slots.get(at) {
            Some(slot) if slot.what == what && *slot.key == *key => return Ok(()),
            Some(_) if at < self.known => {
                self.clear();
                let message = "what the command works on has changed meanwhile; send it again";
                return Err(Refusal::new(Code::TryAgain, message).into());
            }
            // It was begun for another command than the one that came.
            Some(_) => self.cut(at),
            None => {}
        }
        let key = Bytes::copy_from_slice(key);
        let board = Arc::clone(self.board.get_or_insert_default());
        let number = board.state.lock().expect_answer();
        self.slots.push_back(Slot { what, key: key.clone(), number, later });
        let ticket = Ticket { board: Arc::clone(&board), number, told: false };
        // No lock is held: the answer may come within the call.
        if let Err(refusal) = begin(key, ticket) {
            board.state.lock().put(number, Reply::Refused(refusal));
        }
        Ok(())
    }

    fn clear(&mut self) {
        // Answers that are still to come find nobody.
        let retries = self.retries;
        *self = Self { retries, ..Self::default() };
    }

    /// Forgets the first `count` questions.
    fn forget(&mut self, count: usize) {
        let Some(board) = &self.board else { return };
        let mut state = board.state.lock();
        for slot in self.slots.drain(..count) {
            state.forget(slot.number);
        }
    }

    /// Forgets the questions from `at` on.
    fn cut(&mut self, at: usize) {
        let Some(board) = &self.board else { return };
        let mut state = board.state.lock();
        for slot in self.slots.drain(at..) {
            state.forget(slot.number);
        }
    }
}

impl State {
    fn expect_answer(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.answers.insert(number, None);
        self.open += 1;
        number
    }

    /// Takes an answer in, over one that was put for the want of it.
    fn put(&mut self, number: u64, reply: Reply) {
        let Some(place) = self.answers.get_mut(&number) else { return };
        let bytes = reply.bytes();
        let reply = if self.held > 0 && self.held + bytes > MOST_HELD {
            let message = format!("the values that are asked for hold more than {MOST_HELD} bytes");
            Reply::Refused(Refusal::new(Code::TooLarge, message))
        } else {
            reply
        };
        self.held += reply.bytes();
        match place.replace(reply) {
            Some(before) => self.held -= before.bytes(),
            None => self.open -= 1,
        }
    }

    fn forget(&mut self, number: u64) {
        match self.answers.remove(&number) {
            Some(Some(reply)) => self.held -= reply.bytes(),
            Some(None) => self.open -= 1,
            None => {}
        }
    }

    fn give_up(&mut self) {
        for answer in self.answers.values_mut().filter(|answer| answer.is_none()) {
            *answer = Some(Reply::Lost);
        }
        self.open = 0;
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

impl Board {
    fn put(&self, number: u64, reply: Reply) {
        let mut state = self.state.lock();
        if state.answers.get(&number).is_none_or(Option::is_some) {
            // Nobody wants it any more, or a refusal stands in its place.
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

impl fmt::Debug for Errands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Errands");
        shown.field("asked", &self.asked).field("of", &self.slots.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_core::quorum::NoQuorum;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// An answer that can be told from others.
    fn reply(have: usize) -> Reply {
        Reply::Read(ReadOutcome::NoQuorum(NoQuorum { have, need: 9, unreachable: Vec::new() }))
    }

    fn have(reply: Option<Reply>) -> Option<usize> {
        match reply? {
            Reply::Read(ReadOutcome::NoQuorum(lack)) => Some(lack.have),
            other => panic!("{other:?}"),
        }
    }

    /// Asks, and hands out the right to answer where the question is a new one.
    fn ask(errands: &mut Errands, key: &str) -> (Result<Option<usize>, Halt>, Option<Ticket>) {
        let mut begun = None;
        let answer = errands.ask(What::Read, key.as_bytes(), |_, ticket| {
            begun = Some(ticket);
            Ok(())
        });
        (answer.map(have), begun)
    }

    fn foresee(errands: &mut Errands, ahead: usize, key: &str) -> Option<Ticket> {
        let mut begun = None;
        let foreseen = errands.foresee(ahead, What::Read, key.as_bytes(), true, |_, ticket| {
            begun = Some(ticket);
            Ok(())
        });
        foreseen.expect("it is no part of the command");
        begun
    }

    #[test]
    fn the_same_questions_find_the_same_answers_and_are_begun_once() {
        let mut errands = Errands::default();
        assert!(errands.is_empty());
        let (answer, ticket) = ask(&mut errands, "a");
        assert_eq!(answer, Ok(None));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(errands.poll_answered(&waker).is_pending());
        let ticket = ticket.expect("it is begun");
        std::thread::spawn(move || ticket.tell(reply(1))).join().expect("it is told");
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(errands.poll_answered(&waker).is_ready());
        errands.again();
        let (answer, again) = ask(&mut errands, "a");
        assert_eq!((answer, again.is_none()), (Ok(Some(1)), true));
        let (answer, second) = ask(&mut errands, "b");
        assert_eq!(answer, Ok(None));
        second.expect("it is begun").tell(reply(2));
        errands.again();
        assert_eq!(ask(&mut errands, "a").0, Ok(Some(1)));
        assert_eq!(ask(&mut errands, "b").0, Ok(Some(2)));
        errands.over();
        assert!(errands.is_empty());
    }

    #[test]
    fn a_command_that_asks_otherwise_is_refused_and_forgotten() {
        let mut errands = Errands::default();
        let (_, ticket) = ask(&mut errands, "a");
        errands.again();
        let (answer, begun) = ask(&mut errands, "b");
        assert!(begun.is_none());
        match answer {
            Err(Halt::Refused(refusal)) => assert_eq!(refusal.code, Code::TryAgain),
            other => panic!("{other:?}"),
        }
        assert!(errands.is_empty());
        // An answer that comes late finds nobody, whatever was asked since.
        let (_, other) = ask(&mut errands, "b");
        ticket.expect("it is begun").tell(reply(1));
        errands.again();
        assert_eq!(ask(&mut errands, "b").0, Ok(None));
        drop(other);
    }

    #[test]
    fn what_was_begun_for_later_commands_is_theirs_or_nobodys() {
        let mut errands = Errands::default();
        let tickets = [foresee(&mut errands, 0, "a"), foresee(&mut errands, 1, "b")];
        assert!(foresee(&mut errands, 1, "b").is_none(), "it is begun");
        for ticket in tickets.into_iter().flatten() {
            ticket.tell(reply(3));
        }
        assert_eq!(ask(&mut errands, "a").0, Ok(Some(3)));
        errands.over();
        assert_eq!(ask(&mut errands, "b").0, Ok(Some(3)));
        errands.over();
        assert!(errands.is_empty());
        let _tickets = [foresee(&mut errands, 0, "a"), foresee(&mut errands, 1, "b")];
        let (answer, begun) = ask(&mut errands, "b");
        assert_eq!((answer, begun.is_some()), (Ok(None), true), "asked anew, in its own turn");
        assert_eq!(errands.slots.len(), 1);
    }

    #[test]
    fn what_a_command_began_and_did_not_ask_goes_with_it() {
        let mut errands = Errands::default();
        for ahead in 0..3 {
            let begun = errands.foresee(ahead, What::Update, &[0], false, |_, _| Ok(()));
            begun.expect("it is the command's first run");
        }
        assert!(matches!(errands.ask(What::Update, &[0], |_, _| Ok(())), Ok(Some(Reply::Lost))));
        errands.over();
        assert!(errands.is_empty());
    }

    #[test]
    fn who_will_not_answer_is_not_waited_for() {
        let mut errands = Errands::default();
        let (_, ticket) = ask(&mut errands, "a");
        drop(ticket);
        errands.wait();
        assert!(matches!(errands.last(), Some(Reply::Lost)));
        let refusal = Refusal::new(Code::ClockSkewed, "no stamp");
        let refused = errands.ask(What::Write, b"b", |_, _| Err(refusal.clone()));
        assert!(matches!(refused, Ok(Some(Reply::Refused(why))) if why == refusal));
    }

    #[test]
    fn a_command_begins_anew_a_few_times_at_most() {
        let mut errands = Errands::default();
        let begun = (0..10).filter(|_| errands.retry()).count();
        assert_eq!(begun, usize::from(MOST_RETRIES));
        errands.over();
        assert!(errands.retry(), "another command");
    }
}
