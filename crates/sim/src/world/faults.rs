//! What goes wrong in the world.

use super::{Happening, World};
use shoal_core::NodeId;
use shoal_core::clock::{Clock, MAX_SKEW_MS};
use std::sync::Arc;

/// How long a fault lasts, at most, in milliseconds.
const LASTS_MS: u64 = 6_000;

impl World {
    pub(super) fn plan_fault(&mut self) {
        let every_ms = self.options.fault_every_ms;
        if every_ms > 0 && !self.is_calm {
            let delay_ms = self.rng.u64(0..=2 * every_ms);
            self.after(delay_ms, Happening::Fault);
        }
    }

    pub(super) fn fault(&mut self) {
        if self.is_calm {
            return;
        }
        let node = NodeId(self.rng.u32(1..=self.options.nodes));
        let faults = self.options.faults;
        match self.rng.u32(0..10) {
            0..=2 if faults.full => self.fill(node),
            0..=1 if faults.crashes => self.crash(node),
            2 if faults.crashes && !self.options.memory => self.power_cut(),
            3..=4 if faults.cuts => self.cut(node),
            5 if faults.clock_steps => self.step_clock(node),
            6..=7 if faults.fences => self.fence(),
            8..=9 if faults.moves => self.move_somewhere(),
            _ => {}
        }
        self.plan_fault();
    }

    pub(crate) fn crash(&mut self, id: NodeId) {
        let kept = self.rng.usize(0..=self.nodes[id.0 as usize - 1].shelf.pending());
        self.crash_keeping(id, kept);
    }

    /// A node crashes and keeps nothing that was not durable.
    pub(crate) fn crash_losing_all(&mut self, id: NodeId) {
        self.crash_keeping(id, 0);
    }

    fn crash_keeping(&mut self, id: NodeId, kept: usize) {
        let memory = self.options.memory;
        if !self.node(id).up || (memory && !self.may_lose(id)) {
            return;
        }
        self.node(id).crash(kept, memory);
        self.note_all_gone(id);
        let down_ms = self.rng.u64(10..=LASTS_MS);
        self.after(down_ms, Happening::Start { node: id });
        self.rumour(id, true);
    }

    /// Every node loses its power at once.
    fn power_cut(&mut self) {
        for id in 1..=self.options.nodes {
            self.crash(NodeId(id));
        }
    }

    /// A node that is down starts.
    pub(crate) fn start(&mut self, id: NodeId) {
        let now = self.true_ms();
        let steps_back =
            !self.is_calm && self.options.faults.clock_steps && self.rng.u32(0..4) == 0;
        let node = self.node(id);
        if node.up {
            return;
        }
        if steps_back {
            node.offset_ms -= 3_600_000;
        }
        node.up = true;
        node.life += 1;
        self.watch.restarted = true;
        self.watch.far_behind |= steps_back;
        let node = self.node(id);
        let life = node.life;
        node.clock = Clock::restart(node.durable_ceiling, MAX_SKEW_MS);
        node.tend_clock(now);
        self.after(1, Happening::Tend { node: id, life });
        self.rumour(id, false);
    }

    /// The others hear, each in its time, that a node is down or up.
    fn rumour(&mut self, about: NodeId, down: bool) {
        for id in 1..=self.options.nodes {
            let node = NodeId(id);
            let life = self.node(node).life;
            let delay_ms = self.rng.u64(0..2_000);
            if node != about {
                self.after(delay_ms, Happening::Suspicion { node, life, about, down });
            }
        }
    }

    fn cut(&mut self, id: NodeId) {
        let both = self.rng.bool();
        for other in (1..=self.options.nodes).map(NodeId).filter(|other| *other != id) {
            if self.rng.u32(0..4) == 0 {
                continue;
            }
            self.network.cut(id, other);
            if both {
                self.network.cut(other, id);
            }
        }
        let lasts_ms = self.rng.u64(10..=LASTS_MS);
        self.after(lasts_ms, Happening::Heal);
    }

    /// A store is full for a while; of four times once everybody's.
    fn fill(&mut self, id: NodeId) {
        let everybody = self.rng.u32(0..4) == 0;
        for node in (1..=self.options.nodes).map(NodeId) {
            if everybody || node == id {
                self.node(node).shelf.full = true;
                let lasts_ms = self.rng.u64(10..=LASTS_MS);
                self.after(lasts_ms, Happening::HasRoom { node });
            }
        }
    }

    fn step_clock(&mut self, id: NodeId) {
        let most = i64::try_from(self.options.skew_ms).unwrap_or(0);
        let offset_ms = self.rng.i64(-most..=most);
        self.note_time();
        self.node(id).offset_ms = offset_ms;
    }

    /// A partition gets a new epoch and keeps its owners.
    fn fence(&mut self) {
        let partition = self.rng.usize(0..self.layout.partitions());
        let owners = Arc::clone(self.map.newest(partition));
        let (replicas, next) = (owners.replicas.clone(), owners.next.clone());
        self.map.propose(partition, owners.epoch, replicas, next);
    }
}
