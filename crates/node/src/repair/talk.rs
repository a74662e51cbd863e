//! Questions about one partition that are under way together, and their answers as they come.
//!
//! Holds: every question is answered once, or counts as failed once; whoever listens waits for a
//! bounded time.

use crate::coordinator::{Coordinator, DEADLINE, Question};
use shoal_core::NodeId;
use shoal_core::ids::{Epoch, Incarnation};
use shoal_core::quorum::{Answer, Ask, Refusal, Reply};
use shoal_core::slot::Slot;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// After how long without a word nothing is expected any more.
pub(super) const SILENCE: Duration = DEADLINE.saturating_mul(2);

/// What came next.
#[expect(clippy::large_enum_variant, reason = "it is looked at once, where it comes")]
pub(super) enum Said {
    /// An answer.
    Answer(Answer),
    /// The word that one will not come.
    Failed,
    /// Nothing yet.
    Nothing,
}

/// Questions under one epoch.
pub(super) struct Talk {
    coordinator: Arc<Coordinator>,
    keyspace: Incarnation,
    epoch: Epoch,
    // No bound is needed: there are never more answers than questions, which are bounded.
    said: UnboundedSender<Option<Answer>>,
    heard: UnboundedReceiver<Option<Answer>>,
    under_way: usize,
}

impl Talk {
    pub(super) fn new(coordinator: &Arc<Coordinator>, keyspace: Incarnation, epoch: Epoch) -> Self {
        let (said, heard) = unbounded_channel();
        let coordinator = Arc::clone(coordinator);
        Self { coordinator, keyspace, epoch, said, heard, under_way: 0 }
    }

    /// How many questions are under way.
    pub(super) const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Nothing that was asked is expected to be answered any more.
    pub(super) const fn give_up(&mut self) {
        self.under_way = 0;
    }

    pub(super) fn ask(&mut self, to: NodeId, slot: Slot, round: u32, ask: Ask) {
        self.under_way += 1;
        let said = self.said.clone();
        let (keyspace, epoch) = (self.keyspace, self.epoch);
        let question = Question { to, keyspace, slot, epoch, round, ask };
        self.coordinator.ask(question, move |answer| {
            // Nobody listens where the work was broken off.
            let _ = said.send(answer);
        });
    }

    /// Waits for the next word.
    pub(super) async fn hear(&mut self, patience: Duration) -> Said {
        match timeout(patience, self.heard.recv()).await {
            Ok(Some(Some(answer))) => {
                self.under_way = self.under_way.saturating_sub(1);
                if answer.reply == Reply::Refused(Refusal::Stale) && answer.epoch > self.epoch {
                    self.coordinator.need_map(answer.epoch);
                }
                Said::Answer(answer)
            }
            Ok(Some(None)) => {
                self.under_way = self.under_way.saturating_sub(1);
                Said::Failed
            }
            Ok(None) | Err(_) => Said::Nothing,
        }
    }
}
