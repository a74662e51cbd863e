//! Replicas comparing what they hold, now and then.

use super::{DEADLINE_MS, World};
use shoal_core::NodeId;
use shoal_core::quorum::Event;
use shoal_core::repair::{Sync, SyncEffect};
use std::sync::Arc;

/// How long a comparison may take before another one is begun, in milliseconds.
const SYNC_LASTS_MS: u64 = 3_000;

impl World {
    /// Begins a comparison with another owner, one at a time.
    pub(super) fn tend_sync(&mut self, at: NodeId) {
        let now = self.elapsed_ms;
        let node = self.node(at);
        let in_time = |began: &u64| *began + SYNC_LASTS_MS > now;
        if node.sync.as_ref().is_some_and(|(_, sync, began)| !sync.is_over() && in_time(began)) {
            return;
        }
        let owners = Arc::clone(node.replica.owners());
        let others: Vec<NodeId> = owners.nodes().filter(|peer| *peer != at).collect();
        let often = if self.is_calm { 1 } else { 8 };
        if !self.options.syncs || !self.node(at).replica.takes() || self.rng.u32(0..often) != 0 {
            return;
        }
        let Some(peer) = self.rng.choice(others) else { return };
        let grace_ms = if self.is_calm { 0 } else { 2 * DEADLINE_MS };
        let true_ms = self.true_ms();
        let settled_ms = self.node(at).physical_ms(true_ms).saturating_sub(grace_ms);
        // In the calm nothing is on its way any more, whatever its clock said.
        let settled_ms = if self.is_calm { u64::MAX } else { settled_ms };
        let mut out = Vec::new();
        let sync = Sync::start(at, peer, settled_ms, &mut out);
        let id = self.new_op();
        self.node(at).sync = Some((id, sync, now));
        self.carry_out_sync(at, out);
    }

    pub(super) fn sync_event(&mut self, at: NodeId, event: &Event) {
        let Event::Answered(answer) = event else { return };
        let mut out = Vec::new();
        if let Some((_, sync, _)) = &mut self.node(at).sync {
            sync.answered(answer, &mut out);
        }
        self.carry_out_sync(at, out);
    }

    fn carry_out_sync(&mut self, at: NodeId, effects: Vec<SyncEffect>) {
        for effect in effects {
            let node = self.node(at);
            let Some((id, _, _)) = &node.sync else { return };
            let (id, epoch) = (*id, node.replica.owners().epoch);
            if let SyncEffect::Send { to, round, ask } = effect {
                self.ask_replica(at, to, id, round, ask, epoch);
            }
        }
    }
}
