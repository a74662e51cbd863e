//! Replicas comparing what they hold, now and then, slot by slot.

use super::{DEADLINE_MS, World};
use crate::copy::Errand;
use crate::layout::Place;
use shoal_core::NodeId;
use shoal_core::quorum::Answer;
use shoal_core::repair::{Sync, SyncEffect};
use std::sync::Arc;

/// How long a comparison may take before another one is begun, in milliseconds.
const SYNC_LASTS_MS: u64 = 3_000;

impl World {
    /// Begins to compare a slot with another owner, one at a time.
    pub(super) fn tend_sync(&mut self, at: NodeId, partition: usize) {
        let now = self.elapsed_ms;
        let copy = &self.node(at).copies[partition];
        let goes_on = copy
            .sync
            .as_ref()
            .is_some_and(|sync| !sync.machine.is_over() && sync.began_ms + SYNC_LASTS_MS > now);
        if goes_on {
            return;
        }
        let takes = copy.replica.takes();
        let owners = Arc::clone(copy.replica.owners());
        let others: Vec<NodeId> = owners.nodes().filter(|peer| *peer != at).collect();
        let often = if self.is_calm { 1 } else { 8 };
        if !self.options.syncs || !takes || self.rng.u32(0..often) != 0 {
            return;
        }
        let slot = self.rng.choice(self.layout.slots(partition));
        let (Some(peer), Some(slot)) = (self.rng.choice(others), slot) else { return };
        let true_ms = self.true_ms();
        let settled_ms = self.node(at).physical_ms(true_ms).saturating_sub(2 * DEADLINE_MS);
        // In the calm nothing is on its way any more, whatever its clock said.
        let settled_ms = if self.is_calm { u64::MAX } else { settled_ms };
        self.begin_sync(at, Place { partition, slot }, peer, settled_ms);
    }

    /// Begins to compare a slot with this owner, as far as it was written by `settled_ms`.
    pub(crate) fn begin_sync(&mut self, at: NodeId, place: Place, peer: NodeId, settled_ms: u64) {
        let Place { partition, slot } = place;
        let mut out = Vec::new();
        let mut machine = Sync::start(at, peer, settled_ms, &mut out);
        if self.options.evicts() {
            machine = machine.among_evicting();
        }
        let (id, began_ms) = (self.new_op(), self.elapsed_ms);
        self.node(at).copies[partition].sync = Some(Errand { id, slot, began_ms, machine });
        self.carry_out_sync(at, partition, out);
    }

    pub(super) fn sync_event(&mut self, at: NodeId, partition: usize, answer: &Answer) {
        let mut out = Vec::new();
        if let Some(sync) = &mut self.node(at).copies[partition].sync {
            sync.machine.answered(answer, &mut out);
        }
        self.carry_out_sync(at, partition, out);
    }

    fn carry_out_sync(&mut self, at: NodeId, partition: usize, effects: Vec<SyncEffect>) {
        for effect in effects {
            let copy = &self.node(at).copies[partition];
            let Some(Errand { id, slot, .. }) = copy.sync else { return };
            let epoch = copy.replica.owners().epoch;
            match effect {
                SyncEffect::Send { to, round, ask } => {
                    self.ask_replica((at, to), slot, id, round, ask, epoch);
                }
                SyncEffect::Over { moved } => self.moved += moved,
            }
        }
    }
}
