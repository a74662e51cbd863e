//! Asking one replica: the own copy at once, another node's by the transport.

use super::{Coordinator, DEADLINE};
use crate::replicas::{Asked, Tell, Waiting};
use crate::transport::Kind;
use bytes::Bytes;
use shoal_core::NodeId;
use shoal_core::codec::message::{read_answer, write_envelope};
use shoal_core::ids::{Epoch, Incarnation};
use shoal_core::quorum::{Answer, Ask, Envelope, Header, Refusal};
use shoal_core::slot::Slot;
use shoal_storage::Patience;
use std::sync::Arc;
use tokio::time::Instant;

/// What is asked, of whom, under which epoch.
pub(crate) struct Question {
    pub(crate) to: NodeId,
    pub(crate) keyspace: Incarnation,
    pub(crate) slot: Slot,
    pub(crate) epoch: Epoch,
    /// The answer repeats it.
    pub(crate) round: u32,
    pub(crate) ask: Ask,
}

impl Coordinator {
    /// Asks; `tell` hears the answer, or `None` where there will be none. The clocks of both
    /// sides hear of each other.
    pub(crate) fn ask(
        self: &Arc<Self>,
        question: Question,
        tell: impl FnOnce(Option<Answer>) + Send + 'static,
    ) {
        let Question { to, keyspace, slot, epoch, round, ask } = question;
        let header = Header { keyspace, slot, epoch, clock: self.clock.told() };
        let envelope = Envelope { header, round, ask };
        if to == self.me {
            return self.ask_own(envelope, Patience::Inline, Box::new(tell));
        }
        self.ask_other(to, encoded(&envelope), tell);
    }

    /// Asks another node what these bytes say.
    pub(super) fn ask_other(
        self: &Arc<Self>,
        to: NodeId,
        body: Bytes,
        tell: impl FnOnce(Option<Answer>) + Send + 'static,
    ) {
        let clock = Arc::clone(&self.clock);
        let reply = move |answered: Result<Bytes, _>| {
            let answer = answered.ok().and_then(|bytes| read_answer(&bytes).ok());
            // What a node says counts as its own word and nobody else's.
            let answer = answer.filter(|answer| answer.node() == to);
            if let Some(answer) = &answer {
                clock.hear(answer.clock);
            }
            tell(answer);
        };
        self.transport.ask(to, Kind::Data, body, DEADLINE, Box::new(reply));
    }

    /// The same, for a test that can await the answer.
    #[cfg(test)]
    pub(crate) async fn answer(self: &Arc<Self>, question: Question) -> Option<Answer> {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.ask(question, |answer| drop(tell.send(answer)));
        told.await.ok().flatten()
    }

    /// Asks this node's copy again what had to wait.
    pub(crate) fn ask_again(self: &Arc<Self>, waiting: Vec<Waiting>) {
        for (envelope, tell) in waiting {
            self.ask_own(envelope, Patience::Inline, tell);
        }
    }

    /// Asks this node's copy.
    pub(super) fn ask_own(self: &Arc<Self>, envelope: Envelope, patience: Patience, tell: Tell) {
        let header = envelope.header;
        if self.is_closed() {
            return tell(Some(self.refused(&envelope, Refusal::Unable)));
        }
        let route = self.routes.find(header.keyspace, header.slot);
        let copy =
            route.as_ref().and_then(|(partition, _)| self.copies.find(header.keyspace, *partition));
        let (Some(copy), Some((partition, _))) = (copy, route) else {
            return self.without_copy(envelope, tell);
        };
        let clock = Arc::clone(&self.clock);
        match copy.ask(envelope, self.clock.now(), patience, move || clock.told(), tell) {
            Asked::Taken => {}
            Asked::Waits => self.waits.join(Instant::now(), (header.keyspace, partition)),
            Asked::Behind => {
                self.waits.join(Instant::now(), (header.keyspace, partition));
                self.around.need_map(header.epoch);
            }
            Asked::Cold(envelope, tell) => self.ask_cold(envelope, tell),
        }
    }
}

/// A question as it is sent.
pub(super) fn encoded(envelope: &Envelope) -> Bytes {
    let mut body = Vec::with_capacity(128 + envelope.ask.bytes());
    write_envelope(envelope, &mut body);
    body.into()
}
