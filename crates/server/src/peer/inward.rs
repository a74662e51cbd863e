//! The answering side of one link: questions that are being served, and their answers.
//!
//! Holds: no more is served at once of one kind than its share; what is beyond is answered
//! "busy" without being looked at. Answers that would take more than the share are replaced by
//! "failed". So a peer that asks and does not read costs a bounded amount of memory until it is
//! found to be stalled. A member that was let in for control only is judged again when it asks
//! for more, so that it need not come back once its start is on record.
//!
//! Does not know: sockets, what questions mean.

use super::ending::Ending;
use super::frame::{Frame, Outcome, What};
use super::limits::Limits;
use super::link::{Side, write_here};
use super::outbox::{Letter, Outbox};
use super::pen::Pen;
use super::standing::Standing;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use shoal_node::transport::{Answerer, Denied, Kind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What is being served of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Served {
    questions: usize,
    bytes: usize,
}

#[derive(Default)]
struct State {
    outbox: Outbox,
    served: [Served; Kind::ALL.len()],
    /// When the next sign of life is sent.
    due: Option<Instant>,
    /// Whether questions come in at this moment, one after the other.
    reads: bool,
    ended: Option<Ending>,
}

impl State {
    /// Whether nobody else will have an answer soon.
    fn is_quiet(&self) -> bool {
        self.outbox.is_empty() && self.served.iter().all(|served| served.questions == 0)
    }
}

/// The answering side of one link.
pub(super) struct Inward {
    standing: Standing,
    limits: Arc<Limits>,
    count: AtomicU64,
    state: Mutex<State>,
    pen: OnceLock<Arc<Pen>>,
    stop: Notify,
}

impl Inward {
    pub(super) fn new(standing: Standing, limits: Arc<Limits>) -> Self {
        let (state, pen, stop) = (Mutex::default(), OnceLock::new(), Notify::new());
        Self { standing, limits, count: AtomicU64::new(0), state, pen, stop }
    }

    /// How many questions were served.
    pub(super) fn served(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn question(self: &Arc<Self>, kind: Kind, id: u64, body: Bytes) -> Result<(), Ending> {
        let len = body.len();
        if !self.may_ask(kind, len)? {
            self.busy(self.state.lock(), kind, id);
            return Ok(());
        }
        if !self.take_in(kind, id, len)? {
            return Ok(());
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let link = Arc::clone(self);
        let answerer = Answerer::new(move |given| link.answer(kind, id, len, given));
        // While the transport closes nobody serves: the answerer says so.
        if let Some(serve) = self.standing.serve() {
            serve.serve(self.standing.node(), kind, body, answerer);
        }
        Ok(())
    }

    /// Judges the other side anew.
    pub(super) fn review(&self) -> Result<(), Denied> {
        self.standing.review().map(drop)
    }

    /// Tells the other side the next token of this node.
    pub(super) fn renew(&self, token: u64) {
        self.express(What::Token, token);
    }

    fn may_ask(&self, kind: Kind, len: usize) -> Result<bool, Ending> {
        let small = kind == Kind::Control && len <= self.limits.longest_introduction;
        if small {
            return Ok(true);
        }
        if self.standing.node().0 == 0 {
            return Err(Ending::NotAllowed);
        }
        self.standing.is_whole().map_err(Ending::refusing)
    }

    fn busy(&self, mut state: MutexGuard<'_, State>, kind: Kind, id: u64) {
        let what = What::Answer(Outcome::Busy);
        let waker = state.outbox.push(kind, Letter { what, id, body: Bytes::new() });
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Counts a question in; answers "busy" and says no if there is no room.
    fn take_in(&self, kind: Kind, id: u64, len: usize) -> Result<bool, Ending> {
        let share = self.limits.shares[kind.index()];
        let mut state = self.state.lock();
        if let Some(why) = state.ended {
            return Err(why);
        }
        let (answers, answer_bytes) = state.outbox.waiting(kind);
        let served = &mut state.served[kind.index()];
        // Two shares of answers wait only where the peer asks and asks and takes none.
        if answers > 2 * share.messages {
            return Err(Ending::Flooded);
        }
        let bytes = served.bytes + answer_bytes;
        if served.questions < share.messages.max(1) && (bytes == 0 || bytes + len <= share.bytes) {
            served.questions += 1;
            served.bytes += len;
            return Ok(true);
        }
        self.busy(state, kind, id);
        Ok(false)
    }

    fn answer(&self, kind: Kind, id: u64, question: usize, given: Option<Bytes>) {
        let share = self.limits.shares[kind.index()];
        let mut state = self.state.lock();
        let served = &mut state.served[kind.index()];
        served.questions -= 1;
        served.bytes -= question;
        if state.ended.is_some() {
            return;
        }
        let (_, waiting) = state.outbox.waiting(kind);
        let fits = |body: &Bytes| {
            body.len() <= self.limits.longest
                && (waiting == 0 || body.is_empty() || waiting + body.len() <= share.bytes)
        };
        let letter = match given.filter(fits) {
            Some(body) => Letter { what: What::Answer(Outcome::Answered), id, body },
            None => Letter { what: What::Answer(Outcome::Failed), id, body: Bytes::new() },
        };
        if state.reads {
            // It goes with the others, once all that came is looked at.
            return state.outbox.push_quietly(kind, letter);
        }
        if let Some(pen) = self.pen.get().filter(|_| state.is_quiet()) {
            state.outbox.push_quietly(kind, letter);
            drop(state);
            return write_here(pen, self);
        }
        let waker = state.outbox.push(kind, letter);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Sends one of the link's own messages.
    fn express(&self, what: What, id: u64) {
        let letter = Letter { what, id, body: Bytes::new() };
        let waker = self.state.lock().outbox.push_express(letter);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Side for Inward {
    fn equip(&self, pen: &Arc<Pen>) {
        // It is given one once.
        let _ = self.pen.set(Arc::clone(pen));
    }

    fn poll_waits(&self, context: &Context<'_>) -> Poll<()> {
        self.state.lock().outbox.poll_waits(context)
    }

    fn take(&self, batch: &mut Vec<Frame>) -> bool {
        self.state.lock().outbox.take(batch, |_, _| true)
    }

    fn writer(&self) -> Option<Waker> {
        self.state.lock().outbox.writer()
    }

    fn reads(&self, now: bool) {
        let mut state = self.state.lock();
        state.reads = now;
        let waits = !now && !state.outbox.is_empty();
        drop(state);
        if let Some(pen) = self.pen.get().filter(|_| waits) {
            write_here(pen, self);
        }
    }

    fn receive(self: &Arc<Self>, frame: Frame) -> Result<(), Ending> {
        match frame.what {
            What::Question(kind) => self.question(kind, frame.id, frame.body),
            What::Ping => {
                self.express(What::Pong, frame.id);
                Ok(())
            }
            What::Token if self.standing.node().0 != 0 => {
                self.standing.renew(frame.id).map(drop).map_err(Ending::refusing)
            }
            What::Token | What::Goodbye | What::Alive | What::Pong | What::Answer(_) => {
                Err(Ending::NotAllowed)
            }
        }
    }

    fn tick(&self, now: Instant) {
        let mut state = self.state.lock();
        if state.due.is_some_and(|due| due > now) {
            return;
        }
        state.due = Some(now + self.limits.ping_every);
        drop(state);
        self.express(What::Alive, 0);
    }

    fn end(&self, why: Ending) {
        let mut state = self.state.lock();
        state.ended.get_or_insert(why);
        state.outbox.clear();
        drop(state);
        self.stop.notify_one();
    }

    fn say_goodbye(&self, why: Ending) {
        self.express(What::Goodbye, why.number());
    }

    async fn stopped(&self) -> Ending {
        loop {
            let ended = self.state.lock().ended;
            if let Some(why) = ended {
                return why;
            }
            self.stop.notified().await;
        }
    }
}

#[cfg(test)]
mod tests;
