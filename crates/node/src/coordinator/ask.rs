//! Asking one replica: the own copy at once, another node's by the transport.

use super::{Coordinator, DEADLINE};
use crate::replicas::{Asked, Tell, Waiting};
use crate::transport::Kind;
use bytes::Bytes;
use shoal_core::NodeId;
use shoal_core::codec::message::{read_answer, write_envelope};
use shoal_core::ids::{Epoch, Incarnation};
use shoal_core::quorum::{Answer, Ask, Envelope, Header};
use shoal_core::slot::Slot;
use shoal_storage::Patience;
use std::sync::Arc;
use tokio::sync::oneshot;

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
        let mut body = Vec::new();
        write_envelope(&envelope, &mut body);
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
        self.transport.ask(to, Kind::Data, body.into(), DEADLINE, Box::new(reply));
    }

    /// The same, for whoever can await the answer.
    pub(crate) async fn answer(self: &Arc<Self>, question: Question) -> Option<Answer> {
        let (tell, told) = oneshot::channel();
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
        let route = self.routes.find(header.keyspace, header.slot);
        let copy = route.and_then(|(partition, _)| self.copies.find(header.keyspace, partition));
        let Some(copy) = copy else {
            return tell(Some(self.nothing_held(&envelope)));
        };
        let clock = Arc::clone(&self.clock);
        match copy.ask(envelope, self.clock.now(), patience, move || clock.told(), tell) {
            Asked::Taken => {}
            Asked::Behind => self.around.need_map(copy.owners().epoch),
            Asked::Cold(envelope, tell) => {
                let this = Arc::clone(self);
                self.blocking.spawn_blocking(move || {
                    this.ask_own(envelope, Patience::Block, tell);
                });
            }
        }
    }
}
