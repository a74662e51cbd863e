//! Questions of this node's copies for which a disk has to be waited for.
//!
//! Holds: so many are asked at a time, however many come, and what waits for its turn is bounded
//! too; more are refused.

use super::Coordinator;
use crate::replicas::{Tell, Waiting};
use parking_lot::Mutex;
use shoal_core::quorum::{Envelope, Refusal};
use shoal_storage::Patience;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many questions wait for disks at a time: enough to keep one busy, and far fewer than there
/// may be threads that block.
const AT_ONCE: usize = 64;
/// The most questions that wait for their turn.
const MOST_QUEUED: usize = 4_096;
/// The most bytes of them.
const MOST_QUEUED_BYTES: usize = 64 << 20;

/// Questions that wait for their turn to wait for a disk.
#[derive(Default)]
pub(super) struct Cold(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    running: usize,
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Queue {
    /// Whether there is room for a question of so many bytes. One always has some.
    fn has_room(&self, bytes: usize) -> bool {
        self.waiting.is_empty()
            || (self.waiting.len() < MOST_QUEUED && self.bytes + bytes <= MOST_QUEUED_BYTES)
    }
}

impl Cold {
    /// How many questions wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }
}

impl Coordinator {
    /// Asks this node's copy where disks may be waited for.
    pub(super) fn ask_cold(self: &Arc<Self>, envelope: Envelope, tell: Tell) {
        let bytes = envelope.ask.bytes();
        let mut queue = self.cold.0.lock();
        if queue.running < AT_ONCE {
            queue.running += 1;
            drop(queue);
            let this = Arc::clone(self);
            self.blocking.spawn_blocking(move || this.serve_cold((envelope, tell)));
        } else if queue.has_room(bytes) {
            queue.bytes += bytes;
            queue.waiting.push_back((envelope, tell));
        } else {
            drop(queue);
            tell(Some(self.refused(&envelope, Refusal::Unable)));
        }
    }

    fn serve_cold(self: &Arc<Self>, first: Waiting) {
        let mut next = Some(first);
        while let Some((envelope, tell)) = next {
            self.ask_own(envelope, Patience::Block, tell);
            let mut queue = self.cold.0.lock();
            next = queue.waiting.pop_front();
            match &next {
                Some((envelope, _)) => queue.bytes -= envelope.ask.bytes(),
                None => queue.running -= 1,
            }
        }
    }

    /// Takes out what waits for its turn.
    pub(super) fn empty_cold(&self) -> VecDeque<Waiting> {
        let mut queue = self.cold.0.lock();
        queue.bytes = 0;
        std::mem::take(&mut queue.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Cluster, about, question};
    use super::*;
    use shoal_core::quorum::{Ask, Level, Reply};
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn many_pages_at_once_are_all_answered_in_turn() {
        let cluster = Cluster::new(1, 1, true).await;
        let coordinator = &cluster.at(1).coordinator;
        let about = about(Level::Quorum, "k");
        let told: Vec<_> = (0..3 * AT_ONCE)
            .map(|_| {
                let (tell, told) = oneshot::channel();
                let ask = Ask::Page { after: None, limit: 8 };
                coordinator.ask(question(1, &about, ask), |answer| drop(tell.send(answer)));
                told
            })
            .collect();
        assert!(coordinator.cold.0.lock().running <= AT_ONCE);
        for told in told {
            let answer = told.await.expect("it is told").expect("it is answered");
            assert!(matches!(answer.reply, Reply::Page { .. }), "{answer:?}");
        }
    }

    #[test]
    fn room_is_bounded_and_one_question_always_has_some() {
        let mut queue = Queue::default();
        assert!(queue.has_room(2 * MOST_QUEUED_BYTES));
        let envelope = super::super::rig::envelope(Ask::Clock);
        queue.waiting.push_back((envelope, Box::new(drop)));
        queue.bytes = MOST_QUEUED_BYTES;
        assert!(!queue.has_room(1));
        queue.bytes = 0;
        assert!(queue.has_room(1));
    }
}
