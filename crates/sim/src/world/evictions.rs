//! Values going by themselves, at any owner and any moment; and that comparison does not bring them
//! back.

use super::World;
use crate::node::OpId;
use crate::world::Happening;
use bytes::Bytes;
use shoal_core::quorum::{Ask, Envelope, Item};
use shoal_core::{NodeId, Slot};

impl World {
    pub(super) fn plan_eviction(&mut self) {
        let every_ms = self.options.evict_every_ms;
        if every_ms > 0 && !self.is_calm {
            let delay_ms = self.rng.u64(0..=2 * every_ms);
            self.after(delay_ms, Happening::Evict);
        }
    }

    /// A node evicts a value, or several nodes that of one key.
    pub(super) fn evict(&mut self) {
        if self.is_calm {
            return;
        }
        self.plan_eviction();
        let everywhere = self.rng.u32(0..4) == 0;
        let first = self.rng.u32(1..=self.options.nodes);
        let values: Vec<(Slot, Bytes)> = self.node(NodeId(first)).shelf.values().cloned().collect();
        let Some((slot, key)) = self.rng.choice(values) else { return };
        for node in (1..=self.options.nodes).map(NodeId) {
            if node.0 == first || (everywhere && self.rng.bool()) {
                self.evict_at(node, slot, &key);
            }
        }
    }

    /// A node evicts the value under a key, if it holds one.
    pub(crate) fn evict_at(&mut self, at: NodeId, slot: Slot, key: &Bytes) {
        if self.node(at).shelf.evict(slot, key) {
            self.note_gone(at, key);
        }
    }

    /// Notes that everything may have gone.
    pub(super) fn note_all_gone(&mut self, at: NodeId) {
        self.note_gone(at, &Bytes::new());
    }

    fn note_gone(&mut self, at: NodeId, key: &Bytes) {
        self.gone_ms.insert((at, key.clone()), self.elapsed_ms);
    }

    /// The keys under which `at` holds nothing, of those under which a comparison of `from` wants
    /// values put; what a purge or a copy is about to remove is noted.
    pub(super) fn before_filling(
        &mut self,
        at: NodeId,
        from: NodeId,
        op: OpId,
        envelope: &Envelope,
    ) -> Vec<Bytes> {
        if !self.options.evicts() {
            return Vec::new();
        }
        let slot = envelope.header.slot;
        let partition = self.layout.place_of(slot).partition;
        match &envelope.ask {
            Ask::Purge { proven, .. } => {
                proven.iter().for_each(|(key, _)| self.note_gone(at, key));
            }
            Ask::Copy(_) => self.note_all_gone(at),
            Ask::Take { items, .. } => {
                let sync = &self.node(from).copies[partition].sync;
                let Some(began_ms) = sync.as_ref().filter(|sync| sync.id == op) else {
                    return Vec::new();
                };
                let began_ms = began_ms.began_ms;
                let shelf = &self.nodes[at.0 as usize - 1].shelf;
                let is_filled = |item: &&Item| {
                    let gone = [item.key.clone(), Bytes::new()].into_iter().any(|key| {
                        self.gone_ms.get(&(at, key)).is_some_and(|at_ms| *at_ms >= began_ms)
                    });
                    let absent = shelf.get(slot, &item.key).is_none();
                    !item.record.borrow().is_tombstone() && absent && !gone
                };
                return items.iter().filter(is_filled).map(|item| item.key.clone()).collect();
            }
            _ => {}
        }
        Vec::new()
    }

    /// Where keys are evicted, comparison puts no value where there is nothing.
    pub(super) fn judge_filling(&mut self, at: NodeId, slot: Slot, absent: &[Bytes]) {
        let shelf = &self.nodes[at.0 as usize - 1].shelf;
        let filled = absent.iter().find(|key| shelf.get(slot, key).is_some()).cloned();
        if let Some(key) = filled {
            self.break_off(format!("eviction: a comparison put {key:?} where {at} had nothing"));
        }
    }
}
