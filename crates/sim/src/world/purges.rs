//! Rounds of purge, begun now and then by an owner that sees all others.

use super::World;
use shoal_core::NodeId;
use shoal_core::clock::Stamp;
use shoal_core::quorum::Event;
use shoal_core::repair::{Purge, PurgeEffect};
use shoal_core::replica::Floor;
use std::sync::Arc;

/// How long a round may take before another one is begun, in milliseconds.
const ROUND_LASTS_MS: u64 = 3_000;

impl World {
    /// Begins a round, if nothing speaks against it that the node knows.
    pub(super) fn tend_purge(&mut self, at: NodeId) {
        let (now, true_ms) = (self.elapsed_ms, self.true_ms());
        let delay_ms = self.options.purge_delay_ms;
        let node = self.node(at);
        let in_time = |began: &u64| *began + ROUND_LASTS_MS > now;
        if node.purge.as_ref().is_some_and(|(_, purge, began)| !purge.is_over() && in_time(began)) {
            return;
        }
        let owners = Arc::clone(node.replica.owners());
        let sees = |peer: NodeId| !node.suspects.contains(&peer);
        let fit = node.replica.is_present()
            && owners.next.is_empty()
            && owners.replicas.iter().all(|member| sees(member.node));
        let upto_ms = node.told_clock(true_ms).wall_ms().saturating_sub(delay_ms);
        let floor = Floor(Stamp::start_of(upto_ms));
        if !fit || floor <= node.replica.floor() || self.rng.u32(0..3) != 0 {
            return;
        }
        let mut out = Vec::new();
        let purge = Purge::start(at, owners.replicas.clone(), floor, &mut out);
        let id = self.new_op();
        self.node(at).purge = Some((id, purge, now));
        self.carry_out_purge(at, out);
    }

    pub(super) fn purge_event(&mut self, at: NodeId, event: &Event) {
        let Event::Answered(answer) = event else { return };
        let mut out = Vec::new();
        if let Some((_, purge, _)) = &mut self.node(at).purge {
            purge.answered(answer, &mut out);
        }
        self.carry_out_purge(at, out);
    }

    fn carry_out_purge(&mut self, at: NodeId, effects: Vec<PurgeEffect>) {
        for effect in effects {
            let node = self.node(at);
            let Some((id, _, _)) = &node.purge else { return };
            let (id, epoch) = (*id, node.replica.owners().epoch);
            match effect {
                PurgeEffect::Send { to, round, ask } => {
                    self.ask_replica(at, to, id, round, ask, epoch);
                }
                PurgeEffect::Over { purged } => self.purged += purged,
            }
        }
    }
}
