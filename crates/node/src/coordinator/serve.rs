//! What other nodes ask of this one: of its copies, and to carry out changes.

use super::{About, Coordinator};
use crate::transport::Answerer;
use bytes::Bytes;
use shoal_core::codec::forward::{read_forward, write_forwarded};
use shoal_core::codec::message::{read_envelope, write_answer};
use shoal_core::ids::{MapVersion, ReplicaIncarnation};
use shoal_core::quorum::{Answer, Envelope, Forwarded, Member, Refusal, Reply};
use shoal_storage::Patience;
use std::sync::Arc;

impl Coordinator {
    /// Answers a question about records.
    pub(crate) fn serve_data(self: &Arc<Self>, body: &Bytes, answerer: Answerer) {
        // Whoever sends what cannot be read is told that there is no answer.
        let Ok(envelope) = read_envelope(body) else { return };
        self.clock.hear(envelope.header.clock);
        let tell = move |answer: Option<Answer>| {
            // Without one the asker hears that there is none.
            let Some(answer) = answer else { return };
            let mut body = Vec::new();
            write_answer(&answer, &mut body);
            answerer.send(body.into());
        };
        self.ask_own(envelope, Patience::Inline, Box::new(tell));
    }

    /// Carries out a change of a key that this node is the first owner of.
    pub(crate) fn serve_forward(self: &Arc<Self>, body: &Bytes, answerer: Answerer) {
        let Ok(forward) = read_forward(body) else { return };
        self.clock.hear(forward.header.clock);
        let tell = move |forwarded: Forwarded| {
            let mut body = Vec::new();
            write_forwarded(&forwarded, &mut body);
            answerer.send(body.into());
        };
        let (keyspace, slot) = (forward.header.keyspace, forward.header.slot);
        let Some((_, owners)) = self.routes.find(keyspace, slot) else {
            self.around.need_map(MapVersion::default());
            return tell(Forwarded::Elsewhere);
        };
        if owners.epoch < forward.header.epoch {
            self.around.need_map(owners.epoch);
            return tell(Forwarded::Elsewhere);
        }
        if !owners.has_node(self.me) {
            return tell(Forwarded::Elsewhere);
        }
        let about = About { keyspace, slot, level: forward.level };
        self.execute(&about, forward.key, forward.update, Box::new(tell));
    }

    /// What is said of a partition that this node has no copy of: an owner that the map does not
    /// know, or does not know yet.
    pub(super) fn nothing_held(&self, envelope: &Envelope) -> Answer {
        let header = envelope.header;
        let epoch = self.routes.find(header.keyspace, header.slot).map(|(_, owners)| owners.epoch);
        if epoch.is_none_or(|epoch| epoch < header.epoch) {
            self.around.need_map(epoch.unwrap_or_default());
        }
        Answer {
            from: Member { node: self.me, incarnation: ReplicaIncarnation::default() },
            epoch: epoch.unwrap_or_default(),
            round: envelope.round,
            clock: self.clock.told(),
            reply: Reply::Refused(Refusal::NotCounting),
        }
    }
}
