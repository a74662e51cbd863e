//! What waits to be sent on one link: a lane for each kind, and one ahead of them for the link's
//! own pings.
//!
//! Holds: whoever writes takes a little of each lane in turn, the most urgent first, so a lane
//! waits for a bounded part of the others, however much is in them: long messages are cut into
//! pieces, and a turn of a lane is never more than one. A message of a lane is begun only when
//! the one before it is done, and one that was begun is sent to its end. The writer is woken once when
//! something comes into an empty outbox.
//!
//! Does not know: bounds (its owner's), sockets.

use super::frame::{Frame, PIECE, What};
use bytes::Bytes;
use shoal_node::transport::Kind;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// How much of one lane is taken at once. At least one piece always is.
const TURN_BYTES: usize = PIECE;

/// What a message costs beside its body, so that empty ones count too.
const MESSAGE_COST: usize = 64;

/// A message to be framed and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) what: What,
    pub(super) id: u64,
    pub(super) body: Bytes,
}

impl From<Letter> for Frame {
    fn from(Letter { what, id, body }: Letter) -> Self {
        Self { what, id, more: false, body }
    }
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Letter>,
    bytes: usize,
    /// Whether a part of the first message was taken already.
    begun: bool,
}

impl Lane {
    /// The next piece, unless it is longer than `room`. A message is begun only if `keep` holds.
    fn take(&mut self, room: usize, mut keep: impl FnMut(&Letter) -> bool) -> Option<Frame> {
        loop {
            let first = self.waiting.front_mut()?;
            let length = first.body.len().min(PIECE);
            if length + MESSAGE_COST > room {
                return None;
            }
            if !self.begun && !keep(first) {
                self.bytes -= first.body.len();
                self.waiting.pop_front();
                continue;
            }
            let more = length < first.body.len();
            let (what, id, body) = (first.what, first.id, first.body.split_to(length));
            if !more {
                self.waiting.pop_front();
            }
            self.begun = more;
            self.bytes -= length;
            return Some(Frame { what, id, more, body });
        }
    }
}

/// What waits to be sent on one link.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    express: VecDeque<Letter>,
    lanes: [Lane; Kind::ALL.len()],
    writer: Option<Waker>,
}

impl Outbox {
    /// The messages of one kind that wait, and the bytes of their bodies.
    pub(super) fn waiting(&self, kind: Kind) -> (usize, usize) {
        let lane = &self.lanes[kind.index()];
        (lane.waiting.len(), lane.bytes)
    }

    /// All that waits: messages and the bytes of their bodies.
    pub(super) fn total(&self) -> (usize, usize) {
        let sum =
            |sum: (usize, usize), lane: &Lane| (sum.0 + lane.waiting.len(), sum.1 + lane.bytes);
        self.lanes.iter().fold((self.express.len(), 0), sum)
    }

    /// Puts a message into its lane. Whoever gets a waker wakes it, after letting go of locks.
    #[must_use]
    pub(super) fn push(&mut self, kind: Kind, letter: Letter) -> Option<Waker> {
        self.push_quietly(kind, letter);
        self.writer()
    }

    /// Puts one of the link's own messages ahead of all lanes. Of each sort only the last counts,
    /// so it replaces one that still waits.
    #[must_use]
    pub(super) fn push_express(&mut self, letter: Letter) -> Option<Waker> {
        self.express.retain(|one| one.what != letter.what);
        self.express.push_back(letter);
        self.writer()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.express.is_empty() && self.lanes.iter().all(|lane| lane.waiting.is_empty())
    }

    /// Puts a message into its lane without waking anybody: whoever does it sees to it that the
    /// message is sent.
    pub(super) fn push_quietly(&mut self, kind: Kind, letter: Letter) {
        let lane = &mut self.lanes[kind.index()];
        lane.bytes += letter.body.len();
        lane.waiting.push_back(letter);
    }

    /// The writer, if it waits. Whoever gets it wakes it, after letting go of locks.
    pub(super) const fn writer(&mut self) -> Option<Waker> {
        self.writer.take()
    }

    /// Waits until there is a message.
    pub(super) fn poll_waits(&mut self, context: &Context<'_>) -> Poll<()> {
        let same = self.writer.as_ref().is_some_and(|one| one.will_wake(context.waker()));
        if !same {
            self.writer = Some(context.waker().clone());
        }
        if self.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Takes the next messages, those for which `keep` holds; whether more wait.
    pub(super) fn take(
        &mut self,
        batch: &mut Vec<Frame>,
        mut keep: impl FnMut(Kind, &Letter) -> bool,
    ) -> bool {
        batch.extend(self.express.drain(..).map(Frame::from));
        for kind in Kind::ALL {
            let lane = &mut self.lanes[kind.index()];
            // A piece of full length always has room at the beginning of a turn.
            let mut room = TURN_BYTES + MESSAGE_COST;
            while let Some(frame) = lane.take(room, |letter| keep(kind, letter)) {
                room -= frame.body.len() + MESSAGE_COST;
                batch.push(frame);
            }
        }
        !self.is_empty()
    }

    /// Drops all that waits.
    pub(super) fn clear(&mut self) {
        *self = Self { writer: self.writer.take(), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_node::transport::MAX_BODY;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    fn letter(kind: Kind, id: u64, len: usize) -> Letter {
        Letter { what: What::Question(kind), id, body: Bytes::from(vec![0; len]) }
    }

    fn frames(outbox: &mut Outbox) -> Vec<Frame> {
        let mut batch = Vec::new();
        let _ = outbox.take(&mut batch, |_, _| true);
        batch
    }

    fn take(outbox: &mut Outbox) -> Vec<u64> {
        frames(outbox).iter().map(|frame| frame.id).collect()
    }

    #[test]
    fn urgent_kinds_wait_for_one_turn_of_the_others_at_most() {
        let mut outbox = Outbox::default();
        for id in 0..100 {
            let _ = outbox.push(Kind::Data, letter(Kind::Data, id, TURN_BYTES));
        }
        assert_eq!(take(&mut outbox), [0]);
        let _ = outbox.push(Kind::Forward, letter(Kind::Forward, 200, 10));
        let _ = outbox.push(Kind::Control, letter(Kind::Control, 300, 10));
        let _ = outbox.push_express(Letter { what: What::Ping, id: 400, body: Bytes::new() });
        assert_eq!(take(&mut outbox), [400, 300, 1, 200]);
        assert_eq!(take(&mut outbox), [2]);
        assert_eq!(outbox.waiting(Kind::Data), (97, 97 * TURN_BYTES));
        assert_eq!(outbox.total(), (97, 97 * TURN_BYTES));
        outbox.clear();
        assert_eq!((take(&mut outbox), outbox.total()), (vec![], (0, 0)));
    }

    #[test]
    fn messages_without_bytes_do_not_fill_a_turn_without_end() {
        let mut outbox = Outbox::default();
        for id in 0..10_000 {
            let _ = outbox.push(Kind::Data, letter(Kind::Data, id, 0));
        }
        assert_eq!(take(&mut outbox).len(), TURN_BYTES / MESSAGE_COST + 1);
    }

    #[test]
    fn the_longest_message_holds_others_up_by_one_frame() {
        let mut outbox = Outbox::default();
        let _ = outbox.push(Kind::Data, letter(Kind::Data, 0, MAX_BODY));
        let _ = outbox.push(Kind::Data, letter(Kind::Data, 1, 10));
        let mut taken = 0;
        for meta in 100.. {
            let _ = outbox.push(Kind::Meta, letter(Kind::Meta, meta, 10));
            // Whatever was taken before, the small one goes before the next piece.
            let turn = frames(&mut outbox);
            assert_eq!((turn[0].id, turn[0].more), (meta, false));
            let [_, piece, ..] = turn.as_slice() else { panic!("a piece comes with it") };
            assert_eq!((piece.id, piece.what), (0, What::Question(Kind::Data)));
            taken += piece.body.len();
            assert_eq!(outbox.waiting(Kind::Data).1, MAX_BODY - taken + 10);
            assert_eq!(piece.more, taken < MAX_BODY);
            if !piece.more {
                assert_eq!(turn.len(), 2, "the next message waits for its turn");
                break;
            }
        }
        assert_eq!(take(&mut outbox), [1]);
        assert_eq!(outbox.total(), (0, 0));
    }

    #[test]
    fn what_was_begun_is_not_dropped_and_is_asked_about_once() {
        let mut outbox = Outbox::default();
        let _ = outbox.push(Kind::Data, letter(Kind::Data, 0, 3 * PIECE));
        let (mut batch, mut asked) = (Vec::new(), 0);
        for more in [true, true, false] {
            let left = outbox.take(&mut batch, |_, _| {
                asked += 1;
                asked == 1
            });
            assert_eq!(left, more);
        }
        assert_eq!((batch.len(), asked), (3, 1));
        // A cleared outbox begins anew.
        let _ = outbox.push(Kind::Data, letter(Kind::Data, 1, 2 * PIECE));
        assert_eq!(take(&mut outbox), [1]);
        outbox.clear();
        let _ = outbox.push(Kind::Data, letter(Kind::Data, 2, 1));
        assert_eq!(take(&mut outbox), [2]);
    }

    #[test]
    fn what_is_not_kept_costs_nothing() {
        let mut outbox = Outbox::default();
        for id in 0..10 {
            let _ = outbox.push(Kind::Data, letter(Kind::Data, id, TURN_BYTES));
        }
        let mut batch = Vec::new();
        assert!(outbox.take(&mut batch, |_, letter| letter.id == 7));
        assert!(!outbox.take(&mut batch, |_, letter| letter.id == 7));
        assert_eq!((batch.len(), batch[0].id), (1, 7));
    }

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_writer_is_woken_once_per_wait() {
        let mut outbox = Outbox::default();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        let mut batch = Vec::new();
        assert!(outbox.poll_waits(&context).is_pending());
        for id in 0..3 {
            if let Some(waker) = outbox.push(Kind::Data, letter(Kind::Data, id, 1)) {
                waker.wake();
            }
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(outbox.poll_waits(&context).is_ready());
        assert!(!outbox.take(&mut batch, |_, _| true));
        assert_eq!(batch.len(), 3);
    }
}
