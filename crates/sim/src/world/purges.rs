//! Rounds of purge, begun now and then by an owner that sees all others, slot by slot.

use super::World;
use crate::copy::Errand;
use shoal_core::NodeId;
use shoal_core::clock::Stamp;
use shoal_core::planted::{Bug, planted};
use shoal_core::quorum::Answer;
use shoal_core::repair::{Purge, PurgeEffect};
use shoal_core::replica::Floor;
use std::sync::Arc;

/// How long a round may take before another one is begun, in milliseconds.
const ROUND_LASTS_MS: u64 = 3_000;

impl World {
    /// Begins a round, if nothing speaks against it that the node knows.
    pub(super) fn tend_purge(&mut self, at: NodeId, partition: usize) {
        let (now, true_ms) = (self.elapsed_ms, self.true_ms());
        let delay_ms = self.options.purge_delay_ms;
        let node = self.node(at);
        let copy = &node.copies[partition];
        let goes_on = copy
            .purge
            .as_ref()
            .is_some_and(|purge| !purge.machine.is_over() && purge.began_ms + ROUND_LASTS_MS > now);
        if goes_on {
            return;
        }
        let owners = Arc::clone(copy.replica.owners());
        let sees = |peer: NodeId| !node.suspects.contains(&peer);
        let fit = copy.replica.is_present()
            && (owners.next.is_empty() || planted(Bug::PurgeDuringMove))
            && owners.replicas.iter().all(|member| sees(member.node));
        let upto_ms = node.told_clock(true_ms).wall_ms().saturating_sub(delay_ms);
        let floor = Floor(Stamp::start_of(upto_ms));
        if !fit || floor <= copy.replica.floor() || self.rng.u32(0..3) != 0 {
            return;
        }
        self.begin_purge(at, partition, floor);
    }

    /// Begins a round of a partition, for what is dead and was written by `floor`.
    pub(crate) fn begin_purge(&mut self, at: NodeId, partition: usize, floor: Floor) {
        let slots = self.layout.slots(partition);
        let Some(slot) = slots.first().copied() else { return };
        let owners = Arc::clone(self.node(at).owners(partition));
        let horizon_ms = (self.options.events > 0.0).then_some(self.options.event_horizon_ms);
        let mut out = Vec::new();
        let mut machine =
            Purge::start(at, owners.replicas.clone(), slots, floor, horizon_ms, &mut out);
        if self.options.evicts() {
            machine = machine.among_evicting();
        }
        let (id, began_ms) = (self.new_op(), self.elapsed_ms);
        self.node(at).copies[partition].purge = Some(Errand { id, slot, began_ms, machine });
        self.carry_out_purge(at, partition, out);
    }

    pub(super) fn purge_event(&mut self, at: NodeId, partition: usize, answer: &Answer) {
        let mut out = Vec::new();
        if let Some(purge) = &mut self.node(at).copies[partition].purge {
            purge.machine.answered(answer, &mut out);
        }
        self.carry_out_purge(at, partition, out);
    }

    fn carry_out_purge(&mut self, at: NodeId, partition: usize, effects: Vec<PurgeEffect>) {
        for effect in effects {
            let copy = &self.node(at).copies[partition];
            let Some(Errand { id, .. }) = copy.purge else { return };
            let epoch = copy.replica.owners().epoch;
            match effect {
                PurgeEffect::Send { to, slot, round, ask } => {
                    self.ask_replica((at, to), slot, id, round, ask, epoch);
                }
                PurgeEffect::Over { purged, .. } => self.purged += purged,
            }
        }
    }
}
