//! A conversation without a socket: for tests, benchmarks and whoever carries the bytes himself.
//!
//! Holds: it is listed among the connections as long as it lives, like any other.
//!
//! Does not know: the bounds on slow clients and on output, which belong to the socket.

use super::session::{Run, Session};
use crate::connection::Shared;
use crate::connection::registry::{Entry, Protocol};
use shoal_node::Refusal;
use shoal_storage::{Commit, Patience};
use std::sync::Arc;

/// One end of a conversation in the Redis protocol; the other is a node of this process.
#[derive(Debug)]
pub struct Local {
    session: Session,
    shared: Arc<Shared>,
    entry: Entry,
}

impl Local {
    /// A conversation with the node of `shared`.
    #[must_use]
    pub fn new(shared: &Arc<Shared>) -> Self {
        let here = || "local:0".to_owned();
        let entry = shared.registry.enter(here(), here(), false);
        entry.client.update(|shown| shown.protocol = Protocol::Resp);
        let session = Session::new(Arc::clone(shared), Arc::clone(&entry.client));
        Self { session, shared: Arc::clone(shared), entry }
    }

    /// CLIENT ID.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.entry.client.id
    }

    /// Takes bytes that the client sent.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.session.input.extend_from_slice(bytes);
    }

    /// Executes what was fed, as far as `patience` allows.
    pub fn run(&mut self, patience: Patience) -> Run {
        self.session.run(&self.shared.node, patience)
    }

    /// Waits for what other nodes were asked: see [`Run::Away`].
    pub fn wait(&self) {
        self.session.errands().wait();
    }

    /// What must be settled before the output is shown to the client.
    #[must_use]
    pub const fn commit(&self) -> Commit {
        self.session.commit()
    }

    /// Replies that were not taken yet.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.session.output
    }

    /// Tells that the output was taken, its commit being settled.
    pub fn sent(&mut self) {
        self.session.sent();
    }

    /// Tells that the commit failed to settle: replies that depended on it become errors.
    pub fn fail(&mut self, refusal: &Refusal) {
        self.session.fail_unsettled(refusal);
    }

    /// Feeds `bytes`, executes them to the end, waits where that is needed, and adds the replies
    /// to `replies`. What comes of the last run is [`Run::Idle`] or [`Run::Close`].
    pub fn talk(&mut self, bytes: &[u8], replies: &mut Vec<u8>) -> Run {
        self.feed(bytes);
        let mut patience = Patience::Inline;
        loop {
            let run = self.run(patience);
            if run == Run::Away {
                self.wait();
            }
            patience = if run == Run::Cold { Patience::Block } else { Patience::Inline };
            if let Err(refusal) = self.shared.node.wait(self.commit()) {
                self.fail(&refusal);
            }
            replies.extend_from_slice(self.output());
            self.sent();
            if matches!(run, Run::Idle | Run::Close) {
                return run;
            }
        }
    }

    /// As [`Local::talk`], with the replies as the answer.
    pub fn ask(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut replies = Vec::new();
        self.talk(bytes, &mut replies);
        replies
    }
}
