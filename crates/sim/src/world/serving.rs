//! Nodes answering what they are asked, once what they speak of is durable; and taking up maps.

use super::{Happening, Packet, World};
use crate::node::{OpId, Waiting};
use shoal_core::NodeId;
use shoal_core::quorum::{Answer, Envelope, Event, Owners, Reply};
use shoal_core::replica::Served;
use std::sync::Arc;

impl World {
    pub(super) fn serve(&mut self, at: NodeId, from: NodeId, op: OpId, envelope: Envelope) {
        let now = self.true_ms();
        let node = self.node(at);
        let time = node.now(now);
        let round = envelope.round;
        let served = node.replica.serve(&envelope, time, &mut node.shelf);
        match served.expect("this shelf cannot fail") {
            Served::Held(held) => {
                node.waiting.push(Waiting { held, to: from, op, round });
                let (position, life) = (node.shelf.position(), node.life);
                let delay_ms = self.rng.u64(0..=self.options.sync_ms);
                self.after(delay_ms, Happening::Synced { node: at, life, position });
                self.release(at);
            }
            Served::Refused(refusal) => {
                self.reply(at, from, op, round, Reply::Refused(refusal));
            }
            Served::Behind => {
                node.behind.push((from, op, envelope));
                self.pull_map(at);
            }
        }
    }

    /// Sends the answers whose records are durable.
    pub(super) fn release(&mut self, at: NodeId) {
        let node = self.node(at);
        let synced = node.shelf.synced();
        let (ready, waiting) =
            node.waiting.drain(..).partition(|waiting: &Waiting| waiting.held.ticket <= synced);
        node.waiting = waiting;
        let ready: Vec<Waiting> = ready;
        for Waiting { held, to, op, round } in ready {
            let reply = self.node(at).replica.release(held);
            self.reply(at, to, op, round, reply);
        }
    }

    fn reply(&mut self, at: NodeId, to: NodeId, op: OpId, round: u32, reply: Reply) {
        let now = self.true_ms();
        let node = self.node(at);
        let answer = Answer {
            from: node.replica.member(),
            epoch: node.replica.owners().epoch,
            clock: node.told_clock(now),
            round,
            reply,
        };
        let is_newer = matches!(answer.reply, Reply::Newer(_));
        self.send(at, to, &Packet::Answer { op, answer });
        // The worst moment to lose power is just after saying something.
        if !self.is_calm && self.options.faults.spite && !self.options.memory {
            let odds = if is_newer { 5 } else { 400 };
            if self.rng.u32(0..odds) == 0 {
                self.crash_losing_all(at);
            }
        }
    }

    pub(super) fn adopt(&mut self, at: NodeId, owners: &Arc<Owners>) {
        let node = self.node(at);
        if owners.epoch <= node.replica.owners().epoch {
            // A request that began before may still wait for what the node knows by now.
            let known = Arc::clone(node.replica.owners());
            return self.tell_owners(at, &known);
        }
        if let Some(life) = node.replica.asked_to_begin(owners) {
            node.shelf.wipe();
            node.replica.begin(life);
        }
        node.replica.adopt(Arc::clone(owners));
        self.forget_if_gone(at);
        self.begin_intake(at);
        for (from, op, envelope) in std::mem::take(&mut self.node(at).behind) {
            self.serve(at, from, op, envelope);
        }
        self.tell_owners(at, owners);
    }

    fn tell_owners(&mut self, at: NodeId, owners: &Arc<Owners>) {
        let ops: Vec<OpId> = self.node(at).ops.keys().copied().collect();
        for op in ops {
            self.op_event(at, op, Event::Remapped(Arc::clone(owners)));
        }
    }

    /// Fetches the newest map, which takes a while.
    pub(crate) fn pull_map(&mut self, at: NodeId) {
        let life = self.node(at).life;
        let owners = Arc::clone(self.map.newest());
        let delay_ms = self.rng.u64(0..=2 * self.options.delay_ms);
        self.after(delay_ms, Happening::Map { node: at, life, owners });
    }
}
