//! The asking side of one link: questions on their way, and the answers to them.
//!
//! A link belongs to the node that dialled it. It asks and pings; the other side answers. Two
//! nodes that ask each other have two connections, so neither has to decide whose is kept, and a
//! flood of questions one way does not delay the other way's.
//!
//! Holds: a question leaves the table when it is answered, when its patience is over, or with the
//! link, and its reply is called then, outside the lock. One that was sent and given up keeps its
//! place until the late answer comes: so an answer to a question that was never asked, or was
//! answered already, is told from a late one, and a peer that never answers fills its table
//! rather than the memory.
//!
//! Does not know: sockets, reconnecting.

use super::ending::Ending;
use super::frame::{Frame, Outcome, What};
use super::limits::Limits;
use super::link::{Side, write_here};
use super::outbox::{Letter, Outbox};
use super::pen::Pen;
use super::standing::Standing;
use bytes::Bytes;
use parking_lot::Mutex;
use shoal_node::transport::{Denied, Kind, Reply, Unreachable};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How many pings are remembered until their pongs come.
const OPEN_PINGS: usize = 16;

/// What came of the questions to one node, over all its links.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) asked: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) served: AtomicU64,
    pub(super) connects: AtomicU64,
    /// Smoothed, in nanoseconds; zero before the first.
    round_trip_ns: AtomicU64,
}

impl Figures {
    pub(super) fn round_trip(&self) -> Option<Duration> {
        let nanos = self.round_trip_ns.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// One new time counts an eighth.
    fn note_round_trip(&self, time: Duration) {
        let new = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
        let old = self.round_trip_ns.load(Ordering::Relaxed);
        let smoothed = if old == 0 { new } else { old - old / 8 + new / 8 };
        self.round_trip_ns.store(smoothed, Ordering::Relaxed);
    }
}

struct Waiting {
    kind: Kind,
    until: Instant,
    sent: bool,
    /// Gone once the asker was told that it waited too long.
    reply: Option<Reply>,
}

/// Pings whose pongs are still to come.
#[derive(Default)]
struct Pings {
    open: VecDeque<(u64, Instant)>,
    next: u64,
    /// Pongs below this number have come.
    answered: u64,
    due: Option<Instant>,
}

#[derive(Default)]
struct State {
    outbox: Outbox,
    waiting: HashMap<u64, Waiting>,
    counts: [usize; Kind::ALL.len()],
    next: u64,
    pings: Pings,
    /// Why it ended; nothing is taken any more.
    ended: Option<Ending>,
}

/// The asking side of one link.
pub(super) struct Outward {
    limits: Arc<Limits>,
    /// Nothing where this node only introduces itself.
    standing: Option<Standing>,
    figures: Arc<Figures>,
    state: Mutex<State>,
    pen: OnceLock<Arc<Pen>>,
    stop: Notify,
}

type Told = Vec<(Reply, Unreachable)>;

fn tell(told: Told) {
    for (reply, why) in told {
        reply(Err(why));
    }
}

impl Outward {
    pub(super) fn new(
        limits: Arc<Limits>,
        standing: Option<Standing>,
        figures: Arc<Figures>,
    ) -> Self {
        let (state, pen, stop) = (Mutex::default(), OnceLock::new(), Notify::new());
        Self { limits, standing, figures, state, pen, stop }
    }

    /// Takes a question, or says at once why not.
    pub(super) fn ask(&self, kind: Kind, body: Bytes, patience: Duration, reply: Reply) {
        let until = Instant::now() + patience;
        let allowed = self.is_for(kind, body.len());
        let mut state = self.state.lock();
        if let Err(why) = allowed.and_then(|()| self.has_room(&state, kind, body.len())) {
            drop(state);
            self.figures.refused.fetch_add(1, Ordering::Relaxed);
            return reply(Err(why));
        }
        let id = state.next;
        state.next += 1;
        state.counts[kind.index()] += 1;
        // Behind others it goes with them; alone it is not worth waking the writer for.
        let is_alone = state.waiting.is_empty();
        state.waiting.insert(id, Waiting { kind, until, sent: false, reply: Some(reply) });
        let letter = Letter { what: What::Question(kind), id, body };
        self.figures.asked.fetch_add(1, Ordering::Relaxed);
        if let Some(pen) = self.pen.get().filter(|_| is_alone) {
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

    /// Whether a question of this kind is what the link is for.
    fn is_for(&self, kind: Kind, len: usize) -> Result<(), Unreachable> {
        match &self.standing {
            Some(_) if kind == Kind::Control => Ok(()),
            Some(standing) => match standing.is_whole() {
                Ok(true) => Ok(()),
                Ok(false) => Err(Unreachable::Busy),
                Err(why) => {
                    self.end(Ending::refusing(why));
                    Err(Unreachable::Down)
                }
            },
            None if kind != Kind::Control => Err(Unreachable::Down),
            None if len > self.limits.longest_introduction => Err(Unreachable::TooLong),
            None => Ok(()),
        }
    }

    fn has_room(&self, state: &State, kind: Kind, len: usize) -> Result<(), Unreachable> {
        if state.ended.is_some() {
            return Err(Unreachable::Down);
        }
        let share = self.limits.shares[kind.index()];
        let (_, bytes) = state.outbox.waiting(kind);
        let count = state.counts[kind.index()];
        if count >= share.messages.max(1) || (bytes > 0 && bytes + len > share.bytes) {
            return Err(Unreachable::Busy);
        }
        Ok(())
    }

    /// Judges the other side anew.
    pub(super) fn review(&self) -> Result<(), Denied> {
        self.standing.as_ref().map_or(Ok(()), |standing| standing.review().map(drop))
    }

    /// Tells the other side the next token of this node.
    pub(super) fn renew(&self, token: u64) {
        self.express(What::Token, token);
    }

    /// Sends one of the link's own messages.
    fn express(&self, what: What, id: u64) {
        let letter = Letter { what, id, body: Bytes::new() };
        let waker = self.state.lock().outbox.push_express(letter);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn renewed(&self, token: u64) -> Result<(), Ending> {
        let standing = self.standing.as_ref().ok_or(Ending::NotAllowed)?;
        standing.renew(token).map(drop).map_err(Ending::refusing)
    }

    /// Whether it takes questions.
    pub(super) fn is_up(&self) -> bool {
        self.state.lock().ended.is_none()
    }

    /// Messages and bytes that wait to be sent, and questions that wait for an answer.
    pub(super) fn backlog(&self) -> (usize, usize, usize) {
        let state = self.state.lock();
        let (messages, bytes) = state.outbox.total();
        let sent = state.waiting.values().filter(|one| one.sent).count();
        (messages, bytes, sent)
    }

    fn count_failed(&self, count: usize) {
        self.figures.failed.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn answered(&self, id: u64, outcome: Outcome, body: Bytes) -> Result<(), Ending> {
        let reply = {
            let mut state = self.state.lock();
            if state.ended.is_some() {
                return Ok(());
            }
            if !state.waiting.get(&id).is_some_and(|one| one.sent) {
                return Err(Ending::Unasked);
            }
            let one = state.waiting.remove(&id);
            one.and_then(|one| {
                state.counts[one.kind.index()] -= 1;
                one.reply
            })
        };
        // Late: the asker was told already.
        let Some(reply) = reply else { return Ok(()) };
        let (figure, result) = match outcome {
            Outcome::Answered => (&self.figures.answered, Ok(body)),
            Outcome::Failed => (&self.figures.failed, Err(Unreachable::Failed)),
            Outcome::Busy => (&self.figures.refused, Err(Unreachable::Busy)),
        };
        figure.fetch_add(1, Ordering::Relaxed);
        reply(result);
        Ok(())
    }

    fn pong(&self, id: u64) -> Result<(), Ending> {
        let sent = {
            let mut state = self.state.lock();
            let pings = &mut state.pings;
            if !(pings.answered..pings.next).contains(&id) {
                return Err(Ending::Unasked);
            }
            pings.answered = id + 1;
            pings.open.retain(|(one, _)| *one >= id);
            pings.open.pop_front_if(|(one, _)| *one == id)
        };
        if let Some((_, sent)) = sent {
            self.figures.note_round_trip(sent.elapsed());
        }
        Ok(())
    }

    /// Tells those whose patience is over.
    fn expire(&self, now: Instant) {
        let told = {
            let mut state = self.state.lock();
            let State { waiting, counts, .. } = &mut *state;
            let mut told = Told::new();
            waiting.retain(|_, one| {
                if one.until > now {
                    return true;
                }
                let why = if one.sent { Unreachable::Late } else { Unreachable::Unsent };
                told.extend(one.reply.take().map(|reply| (reply, why)));
                if !one.sent {
                    counts[one.kind.index()] -= 1;
                }
                one.sent
            });
            told
        };
        self.count_failed(told.len());
        tell(told);
    }

    /// Sends a ping when it is time, whether the last one was answered or not: a long message
    /// may hold up either way, and the other side listens for a sign of life too.
    fn ping(&self, now: Instant) {
        let mut state = self.state.lock();
        let pings = &mut state.pings;
        if pings.due.is_some_and(|due| due > now) {
            return;
        }
        pings.due = Some(now + self.limits.ping_every);
        let id = pings.next;
        pings.next += 1;
        if pings.open.len() == OPEN_PINGS {
            pings.open.pop_front();
        }
        pings.open.push_back((id, now));
        let letter = Letter { what: What::Ping, id, body: Bytes::new() };
        let waker = state.outbox.push_express(letter);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Side for Outward {
    fn equip(&self, pen: &Arc<Pen>) {
        // It is given one once.
        let _ = self.pen.set(Arc::clone(pen));
    }

    fn poll_waits(&self, context: &Context<'_>) -> Poll<()> {
        self.state.lock().outbox.poll_waits(context)
    }

    fn take(&self, batch: &mut Vec<Frame>) -> bool {
        let mut state = self.state.lock();
        let State { outbox, waiting, .. } = &mut *state;
        outbox.take(batch, |_, letter| {
            let one = waiting.get_mut(&letter.id);
            one.is_some_and(|one| {
                one.sent = true;
                true
            })
        })
    }

    fn writer(&self) -> Option<Waker> {
        self.state.lock().outbox.writer()
    }

    fn reads(&self, _: bool) {}

    fn receive(self: &Arc<Self>, frame: Frame) -> Result<(), Ending> {
        match frame.what {
            What::Answer(outcome) => self.answered(frame.id, outcome, frame.body),
            What::Pong => self.pong(frame.id),
            What::Alive => Ok(()),
            What::Token => self.renewed(frame.id),
            What::Goodbye | What::Ping | What::Question(_) => Err(Ending::NotAllowed),
        }
    }

    fn tick(&self, now: Instant) {
        self.expire(now);
        self.ping(now);
    }

    fn end(&self, why: Ending) {
        let told = {
            let mut state = self.state.lock();
            state.ended.get_or_insert(why);
            state.outbox.clear();
            state.counts = Default::default();
            let waiting = std::mem::take(&mut state.waiting);
            let tell = |one: Waiting| {
                let why = if one.sent { Unreachable::Lost } else { Unreachable::Down };
                one.reply.map(|reply| (reply, why))
            };
            waiting.into_values().filter_map(tell).collect::<Told>()
        };
        self.count_failed(told.len());
        tell(told);
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

impl Drop for Outward {
    fn drop(&mut self) {
        self.end(Ending::Stopped);
    }
}

#[cfg(test)]
mod tests;
