//! What is watched while a run goes on: clocks, acknowledgements, batches, and that nothing grows
//! without bound.
//!
//! Holds: it looks from outside, at messages and stores, and knows no rule but those it checks.

use super::{DEADLINE_MS, World};
use crate::node::{Done, Op, OpId};
use crate::oracle::digests;
use shoal_core::clock::Stamp;
use shoal_core::quorum::WriteOutcome;
use shoal_core::quorum::{Answer, Ask, Envelope, Guarded, Item, Level, Member, Origin, Reply};
use shoal_core::version::{Millis, Version};
use shoal_core::{Epoch, NodeId, Slot};
use std::collections::BTreeMap;

/// An owner that says that it has what a write wants it to have: under which epoch, in which round.
type Taken = (Member, Epoch, u32);

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The last stamp of each node's clock, kept outside of the nodes.
    last_stamps: BTreeMap<NodeId, Version>,
    /// By request: the round that was last sent, and who has taken it.
    rounds: BTreeMap<OpId, (u32, Vec<Taken>)>,
    /// The most advanced physical time of any node so far.
    most_ms: Millis,
    /// Whether any node was started again: its clock begins at its ceiling, ahead of all others.
    pub(super) restarted: bool,
    /// Whether any node's clock was ever further behind than clocks may differ.
    pub(crate) far_behind: bool,
}

impl Watch {
    pub(super) fn sent(&mut self, op: OpId, round: u32) {
        self.rounds.entry(op).or_default().0 = round;
    }

    /// An owner says that it has what a write wants it to have.
    pub(super) fn heard(&mut self, op: OpId, answer: &Answer) {
        if matches!(answer.reply, Reply::Accepted | Reply::Newer(_)) {
            let taken = (answer.from, answer.epoch, answer.round);
            self.rounds.entry(op).or_default().1.push(taken);
        }
    }

    pub(super) fn forget(&mut self, op: OpId) {
        self.rounds.remove(&op);
    }
}

impl World {
    /// Notes that a promise was broken, if it is the first.
    pub(super) fn break_off(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// Every stamp of a node's clock is above every earlier one, across restarts.
    pub(super) fn note_stamp(&mut self, at: NodeId, version: Version) {
        let last = self.watch.last_stamps.insert(at, version).unwrap_or(Version::ZERO);
        if version <= last {
            self.break_off(format!("clock sanity: {at} stamped {version} after {last}"));
        }
    }

    /// No acknowledgement counts a replica that acted under another epoch than the write's.
    pub(super) fn judge_acknowledgement(&mut self, id: OpId, op: &Op, done: &Done) {
        let (Op::Write(write), Done::Write(WriteOutcome::Done { .. })) = (op, done) else { return };
        let owners = write.owners();
        let serial = self.serial_of[&id];
        let level = self.history[super::requests::index(serial)].request.level;
        let Some((round, taken)) = self.watch.rounds.get(&id) else { return };
        let has = |member: &&Member| taken.contains(&(**member, owners.epoch, *round));
        let reached = |set: &[Member]| {
            let need = match level {
                Level::One => 1,
                Level::Quorum => set.len() / 2 + 1,
                Level::All => set.len(),
            };
            set.is_empty() || set.iter().filter(has).count() >= need
        };
        if !reached(&owners.replicas) || !reached(&owners.next) {
            let what = format!(
                "ownership: request {serial} was acknowledged by {taken:?} under {owners:?}"
            );
            self.break_off(what);
        }
    }

    /// Notes the most advanced physical time, as it is before clocks are set.
    pub(crate) fn note_time(&mut self) {
        let true_ms = self.true_ms();
        let physical = self.nodes.iter().map(|node| node.physical_ms(true_ms)).max().unwrap_or(0);
        self.watch.most_ms = self.watch.most_ms.max(physical);
    }

    /// What a node keeps is bounded and true, its clock is nobody's future, and its owners are in the map.
    pub(super) fn watch_node(&mut self, at: NodeId) {
        self.note_time();
        let (now_ms, most_ms, most_hints) =
            (self.elapsed_ms, self.watch.most_ms, self.options.hints);
        let slots = digests::slots(self);
        let node = self.node(at);
        if let Err(what) = digests::judge_node(node, &slots) {
            return self.break_off(what);
        }
        let late = node.ops.values().find(|running| running.began_ms + DEADLINE_MS < now_ms);
        let hints = node.copies.iter().map(|copy| copy.hints.len()).max().unwrap_or(0);
        let clock: Stamp = node.clock.last();
        if let Some(late) = late {
            let what = format!("resources: at {at} this goes on beyond its deadline: {late:?}");
            return self.break_off(what);
        }
        if hints > most_hints {
            return self.break_off(format!("resources: {at} keeps {hints} hints"));
        }
        if !self.watch.restarted && clock.wall_ms() > most_ms + 1 {
            let ahead_ms = clock.wall_ms() - most_ms;
            return self.break_off(format!(
                "clock sanity: the clock of {at} is {ahead_ms} ms ahead of everyone's time"
            ));
        }
        for partition in 0..self.layout.partitions() {
            let owners = self.nodes[at.0 as usize - 1].owners(partition);
            if !self.map.had(partition, owners) {
                let what = format!("map chain: {at} knows owners that never were: {owners:?}");
                return self.break_off(what);
            }
        }
    }

    /// How many of a batch's records `at` has, if the question is one.
    pub(super) fn batch_held(&self, at: NodeId, envelope: &Envelope) -> Option<(usize, bool)> {
        let (items, last) = match &envelope.ask {
            Ask::Take { items, origin: Origin::Fresh { last, .. } } => (items.to_vec(), *last),
            Ask::Batch { parts } => (items_of(parts), false),
            _ => return None,
        };
        let is_batch = items.len() > 1;
        is_batch.then(|| (self.held_of(at, envelope.header.slot, &items), last))
    }

    /// A batch was offered to `at`, which held `before` of it and says `reply`: while it may come
    /// again it is taken whole or not at all.
    pub(super) fn judge_batch(
        &mut self,
        at: NodeId,
        envelope: &Envelope,
        (before, last): (usize, bool),
    ) {
        let items = match &envelope.ask {
            Ask::Take { items, .. } => items.to_vec(),
            Ask::Batch { parts } => items_of(parts),
            _ => return,
        };
        let after = self.held_of(at, envelope.header.slot, &items);
        let torn = !last && after != before && after != items.len();
        if torn {
            let what = format!("batch: {at} took {after} of {} records: {items:?}", items.len());
            self.break_off(what);
        }
    }

    fn held_of(&self, at: NodeId, slot: Slot, items: &[Item]) -> usize {
        let shelf = &self.nodes[at.0 as usize - 1].shelf;
        let is_held = |item: &&Item| shelf.get(slot, &item.key) == Some(&item.record);
        items.iter().filter(is_held).count()
    }
}

/// What a conditional batch writes.
fn items_of(parts: &[Guarded]) -> Vec<Item> {
    let item = |part: &Guarded| Some(Item { key: part.key.clone(), record: part.next.clone()? });
    parts.iter().filter_map(item).collect()
}
