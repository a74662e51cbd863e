//! Nodes answering what they are asked, once what they speak of is durable; and taking up maps.

use super::{Happening, Packet, World};
use crate::node::{OpId, Waiting};
use crate::shelf::NoRoom;
use shoal_core::NodeId;
use shoal_core::clock::{Clock, Stamp};
use shoal_core::planted::{Bug, planted};
use shoal_core::quorum::{Answer, Ask, Envelope, Event, Full, Owners, Refusal, Reply};
use shoal_core::replica::Served;
use std::sync::Arc;

impl World {
    pub(super) fn serve(&mut self, at: NodeId, from: NodeId, op: OpId, envelope: Envelope) {
        let now = self.true_ms();
        let place = self.layout.place_of(envelope.header.slot);
        let batch = self.batch_held(at, &envelope);
        let absent = self.before_filling(at, from, op, &envelope);
        let node = self.node(at);
        if planted(Bug::EventTimeInClock) {
            follow_events(&mut node.clock, &envelope);
        }
        let time = node.now(now);
        let round = envelope.round;
        let replica = &mut node.copies[place.partition].replica;
        let served = replica.serve(&envelope, time, &mut node.shelf);
        if let Some(before) = batch {
            self.judge_batch(at, &envelope, before);
        }
        self.judge_filling(at, place.slot, &absent);
        let node = self.node(at);
        match served.unwrap_or_else(|NoRoom| Served::Refused(Refusal::Full(Full::Disk))) {
            Served::Held(held) => {
                let partition = place.partition;
                node.waiting.push(Waiting { held, partition, to: from, op, round });
                let (position, life) = (node.shelf.position(), node.life);
                let delay_ms = self.rng.u64(0..=self.options.sync_ms);
                self.after(delay_ms, Happening::Synced { node: at, life, position });
                self.release(at);
            }
            Served::Refused(refusal) => {
                self.reply(at, from, place.partition, op, round, Reply::Refused(refusal));
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
        for Waiting { held, partition, to, op, round } in ready {
            let reply = self.node(at).copies[partition].replica.release(held);
            self.reply(at, to, partition, op, round, reply);
        }
    }

    fn reply(
        &mut self,
        at: NodeId,
        to: NodeId,
        partition: usize,
        op: OpId,
        round: u32,
        reply: Reply,
    ) {
        let now = self.true_ms();
        let node = self.node(at);
        let replica = &node.copies[partition].replica;
        let answer = Answer {
            from: replica.member(),
            epoch: replica.owners().epoch,
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

    /// Takes up the newer ones of these owners, one set for each partition.
    pub(super) fn adopt(&mut self, at: NodeId, owners: &[Arc<Owners>]) {
        for (partition, owners) in owners.iter().enumerate() {
            self.adopt_one(at, partition, owners);
        }
        for (from, op, envelope) in std::mem::take(&mut self.node(at).behind) {
            self.serve(at, from, op, envelope);
        }
        // A request that began before may still wait for what the node knew already.
        let ops: Vec<(OpId, usize)> =
            self.node(at).ops.iter().map(|(id, running)| (*id, running.place.partition)).collect();
        for (op, partition) in ops {
            let known = Arc::clone(self.node(at).owners(partition));
            self.op_event(at, op, Event::Remapped(known));
        }
    }

    fn adopt_one(&mut self, at: NodeId, partition: usize, owners: &Arc<Owners>) {
        let replica = &self.node(at).copies[partition].replica;
        if owners.epoch <= replica.owners().epoch {
            return;
        }
        if let Some(life) = replica.asked_to_begin(owners) {
            self.empty(at, partition);
            self.node(at).copies[partition].replica.begin(life);
        }
        self.node(at).copies[partition].replica.adopt(Arc::clone(owners));
        self.forget_if_gone(at, partition);
        self.begin_intakes(at, partition);
    }

    /// Drops all that a node holds of a partition.
    pub(super) fn empty(&mut self, at: NodeId, partition: usize) {
        self.note_all_gone(at);
        let Self { layout, nodes, .. } = self;
        let node = &mut nodes[at.0 as usize - 1];
        node.shelf.wipe(|slot| layout.place_of(slot).partition == partition);
    }

    /// Fetches the newest map, which takes a while.
    pub(crate) fn pull_map(&mut self, at: NodeId) {
        let life = self.node(at).life;
        let owners = self.map.all();
        let delay_ms = self.rng.u64(0..=2 * self.options.delay_ms);
        self.after(delay_ms, Happening::Map { node: at, life, owners });
    }
}

/// What no node does: it takes an event's time for someone's clock.
fn follow_events(clock: &mut Clock, envelope: &Envelope) {
    let Ask::Take { items, .. } = &envelope.ask else { return };
    for item in items.iter().filter(|item| item.record.version != item.record.written) {
        let time_ms = item.record.version.wall_ms;
        clock.observe(Stamp::start_of(time_ms), time_ms);
    }
}
