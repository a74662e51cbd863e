//! What other nodes ask of this one: of its copies, and to carry out changes.
//!
//! Holds: a question about a partition that this node has no copy of, and of which a map to come may
//! say more, waits for that map, with an end to its waiting. The others are answered so that whoever
//! asks knows what to do next.

use super::{About, Coordinator, DEADLINE};
use crate::replicas::{Tell, Waiting};
use crate::transport::Answerer;
use bytes::Bytes;
use parking_lot::Mutex;
use shoal_core::codec::batch;
use shoal_core::codec::forward::{read_forward, write_forwarded};
use shoal_core::codec::message::{read_envelope, write_answer};
use shoal_core::ids::ReplicaIncarnation;
use shoal_core::quorum::{
    Answer, Ask, BatchOutcome, Envelope, Forward, Forwarded, Header, Level, Member, Refusal, Reply,
};
use shoal_core::slot::Slot;
use shoal_storage::Patience;
use std::sync::Arc;
use tokio::time::Instant;

/// The most questions that wait for a map without a copy; more are refused.
const MOST_WAITING: usize = 1_024;
/// The most bytes of them.
const MOST_WAITING_BYTES: usize = 32 << 20;

/// Questions that wait for a map, about partitions that this node has no copy of.
#[derive(Default)]
pub(super) struct Homeless(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Vec<(Instant, Waiting)>,
    bytes: usize,
}

impl Homeless {
    /// How many questions wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }
}

/// What a question about a partition without a copy comes to.
enum Standing {
    /// A map to come says more.
    Waits,
    /// Whoever asks should look for a newer map, or should not have asked.
    Refused(Refusal),
}

impl Coordinator {
    /// Answers a question about records.
    pub(crate) fn serve_data(self: &Arc<Self>, body: &Bytes, answerer: Answerer) {
        // Whoever sends what cannot be read is told that there is no answer.
        let Ok(envelope) = read_envelope(body) else { return };
        if matches!(envelope.ask, Ask::Copy(_)) {
            // Only a copy asks that, of itself.
            return;
        }
        self.clock.hear(envelope.header.clock);
        let tell = move |answer: Option<Answer>| {
            // Without one the asker hears that there is none.
            let Some(answer) = answer else { return };
            let mut body = Vec::with_capacity(128);
            write_answer(&answer, &mut body);
            answerer.send(body.into());
        };
        self.ask_own(envelope, Patience::Inline, Box::new(tell));
    }

    /// Carries out a change of a key, or of several, that this node is the first owner of.
    pub(crate) fn serve_forward(self: &Arc<Self>, body: &Bytes, answerer: Answerer) {
        if body.first() == Some(&batch::FORMAT) {
            return self.serve_batch(body, answerer);
        }
        let Ok(forward) = read_forward(body) else { return };
        self.clock.hear(forward.header.clock);
        let tell = move |forwarded: Forwarded| {
            let mut body = Vec::with_capacity(128);
            write_forwarded(&forwarded, &mut body);
            answerer.send(body.into());
        };
        match self.may_carry_out(&forward.header, forward.level) {
            Some(about) => {
                let Forward { key, update, look, .. } = forward;
                let until = Instant::now() + DEADLINE;
                self.execute(until, &about, key, update, look, Box::new(tell));
            }
            None => tell(Forwarded::Elsewhere),
        }
    }

    fn serve_batch(self: &Arc<Self>, body: &Bytes, answerer: Answerer) {
        let Ok(forward) = batch::read_batch(body) else { return };
        if forward.parts.iter().any(|part| Slot::of(&part.key) != forward.header.slot) {
            return;
        }
        self.clock.hear(forward.header.clock);
        let tell = move |outcome: BatchOutcome| {
            let mut body = Vec::with_capacity(128);
            batch::write_outcome(&outcome, &mut body);
            answerer.send(body.into());
        };
        match self.may_carry_out(&forward.header, forward.level) {
            Some(about) => {
                let until = Instant::now() + DEADLINE;
                self.execute_batch(until, &about, forward.parts, Box::new(tell));
            }
            None => tell(BatchOutcome::Elsewhere),
        }
    }

    /// What a change is about, if it is carried out here by the map that is known here.
    fn may_carry_out(&self, header: &Header, level: Level) -> Option<About> {
        let Header { keyspace, slot, epoch, .. } = *header;
        let about = About { keyspace, slot, level };
        let route = self.routes.find(keyspace, slot);
        if route.as_ref().map_or(self.routes.version(), |(_, owners)| owners.epoch) < epoch {
            self.around.need_map(epoch);
            return None;
        }
        let (partition, owners) = route?;
        (owners.has_node(self.me) && self.carries_out(&about, partition)).then_some(about)
    }

    /// What becomes of a question about a partition that this node has no copy of.
    pub(super) fn without_copy(self: &Arc<Self>, envelope: Envelope, tell: Tell) {
        let known = self.routes.version();
        let refusal = match self.standing(&envelope.header) {
            Standing::Refused(refusal) => refusal,
            Standing::Waits => {
                let epoch = envelope.header.epoch;
                let bytes = envelope.ask.bytes();
                let mut queue = self.homeless.0.lock();
                let room = queue.waiting.is_empty()
                    || (queue.waiting.len() < MOST_WAITING
                        && queue.bytes + bytes <= MOST_WAITING_BYTES);
                if room {
                    queue.bytes += bytes;
                    queue.waiting.push((Instant::now(), (envelope, tell)));
                    drop(queue);
                    self.around.need_map(epoch);
                    if self.routes.version() > known {
                        // It came just now.
                        self.house();
                    }
                    return;
                }
                drop(queue);
                Refusal::Unable
            }
        };
        let mut answer = self.refused(&envelope, refusal);
        if refusal == Refusal::Stale {
            answer.epoch = self.epoch_of(&envelope.header);
        }
        tell(Some(answer));
    }

    fn standing(&self, header: &Header) -> Standing {
        let Some((_, owners)) = self.routes.find(header.keyspace, header.slot) else {
            // A map as new as the question would know it, if it were not over.
            let over = self.routes.version() >= header.epoch;
            return if over { Standing::Refused(Refusal::Void) } else { Standing::Waits };
        };
        if owners.epoch > header.epoch {
            return Standing::Refused(Refusal::Stale);
        }
        // Of an owner the copy is on its way.
        if owners.epoch < header.epoch || owners.has_node(self.me) {
            return Standing::Waits;
        }
        Standing::Refused(Refusal::NotCounting)
    }

    fn epoch_of(&self, header: &Header) -> shoal_core::Epoch {
        let route = self.routes.find(header.keyspace, header.slot);
        route.map_or_else(|| self.routes.version(), |(_, owners)| owners.epoch)
    }

    /// A refusal by this node where no copy can give it, under the epoch of the question.
    pub(super) fn refused(&self, envelope: &Envelope, refusal: Refusal) -> Answer {
        Answer {
            from: Member { node: self.me, incarnation: ReplicaIncarnation::default() },
            epoch: envelope.header.epoch,
            round: envelope.round,
            clock: self.clock.told(),
            reply: Reply::Refused(refusal),
        }
    }

    /// Asks again what waited for a map without a copy.
    pub(super) fn house(self: &Arc<Self>) {
        let waiting = {
            let mut queue = self.homeless.0.lock();
            queue.bytes = 0;
            std::mem::take(&mut queue.waiting)
        };
        for (since, (envelope, tell)) in waiting {
            let route = self.routes.find(envelope.header.keyspace, envelope.header.slot);
            let copy = route
                .and_then(|(partition, _)| self.copies.find(envelope.header.keyspace, partition));
            if copy.is_none() && matches!(self.standing(&envelope.header), Standing::Waits) {
                // Still; its waiting goes on.
                let mut queue = self.homeless.0.lock();
                queue.bytes += envelope.ask.bytes();
                queue.waiting.push((since, (envelope, tell)));
                continue;
            }
            self.ask_own(envelope, Patience::Inline, tell);
        }
    }

    /// Refuses what has waited without a copy since before `began`.
    pub(super) fn give_up_homeless(&self, began: Instant) {
        let mut queue = self.homeless.0.lock();
        if queue.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut queue.waiting);
        let (old, rest) = waiting.into_iter().partition(|(since, _)| *since <= began);
        queue.waiting = rest;
        let old: Vec<(Instant, Waiting)> = old;
        queue.bytes -= old.iter().map(|(_, (envelope, _))| envelope.ask.bytes()).sum::<usize>();
        drop(queue);
        for (_, (envelope, tell)) in old {
            tell(Some(self.refused(&envelope, Refusal::Unable)));
        }
    }
}

#[cfg(test)]
mod tests;
