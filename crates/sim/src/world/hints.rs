//! Hints: what is kept for owners that did not take it in time, and brought to them later.

use super::{DEADLINE_MS, Happening, World};
use crate::layout::Place;
use crate::node::{Op, Running};
use shoal_core::NodeId;
use shoal_core::quorum::{Event, Item, Refusal, Reply};
use shoal_core::repair::Delivery;
use std::sync::Arc;

/// How many hints of a partition a node brings at a time.
const AT_A_TIME: usize = 8;

impl World {
    pub(super) fn keep_hints(&mut self, at: NodeId, place: Place, target: NodeId, op: &Op) {
        for item in items_of(op) {
            self.node(at).copies[place.partition].hints.keep(target, &item);
        }
    }

    pub(super) fn deliver_hints(&mut self, at: NodeId, partition: usize) {
        let (began_ms, node) = (self.elapsed_ms, self.node(at));
        let life = node.life;
        let copy = &node.copies[partition];
        let owners = Arc::clone(copy.replica.owners());
        let reachable = |peer: NodeId| !node.suspects.contains(&peer);
        for delivery in copy.hints.deliveries(&owners, reachable, AT_A_TIME) {
            let id = self.new_op();
            let (to, ask) = (delivery.to, delivery.ask.clone());
            let place = self.layout.place(&delivery.key);
            let running = Running { op: Op::Hint(delivery), place, began_ms };
            self.node(at).ops.insert(id, running);
            self.after(DEADLINE_MS, Happening::Deadline { node: at, life, op: id });
            self.ask_replica((at, to), place.slot, id, 0, ask, owners.epoch);
        }
    }

    pub(super) fn hint_event(
        &mut self,
        at: NodeId,
        place: Place,
        delivery: &Delivery,
        event: &Event,
    ) {
        let Event::Answered(answer) = event else { return };
        let copy = &mut self.node(at).copies[place.partition];
        let owners = Arc::clone(copy.replica.owners());
        copy.hints.answered(delivery, answer.from, &answer.reply, &owners);
        if answer.reply == Reply::Refused(Refusal::Stale) {
            self.pull_map(at);
        }
    }
}

fn items_of(op: &Op) -> Vec<Item> {
    match op {
        Op::Write(write) => write.items().to_vec(),
        Op::Execute(execute) => execute.kept().cloned().into_iter().collect(),
        Op::Batch(batch) => batch.kept().to_vec(),
        Op::Read(_) | Op::Hint(_) => Vec::new(),
    }
}
