//! The hints that this node keeps, by partition.
//!
//! Holds: a bounded number for each partition. They are in memory: what a restart loses,
//! comparison evens out.

use super::{Coordinator, Request};
use parking_lot::Mutex;
use shoal_core::ids::Incarnation;
use shoal_core::quorum::{Answer, Item};
use shoal_core::repair::{Delivery, Hints};
use shoal_core::{NodeId, PartitionId};
use std::collections::BTreeMap;

/// The most hints kept for one partition.
const MOST: usize = 10_000;

/// Hints of every partition in every life of its keyspace.
#[derive(Default)]
pub(super) struct Hinted(Mutex<BTreeMap<(Incarnation, PartitionId), Hints>>);

impl Coordinator {
    /// How many hints are kept.
    pub(crate) fn hints(&self) -> usize {
        self.hints.0.lock().values().map(Hints::len).sum()
    }

    /// The partitions that hints are kept for.
    pub(crate) fn hinted(&self) -> Vec<(Incarnation, PartitionId)> {
        self.hints.0.lock().keys().copied().collect()
    }

    /// What is to be delivered of a partition's hints now, at most `limit` messages.
    pub(crate) fn deliveries(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
        limit: usize,
    ) -> Vec<Delivery> {
        let mut hinted = self.hints.0.lock();
        let place = (keyspace, partition);
        let Some(hints) = hinted.get(&place) else { return Vec::new() };
        let Some(owners) = self.routes.owners(keyspace, partition) else {
            // That life of the keyspace is over.
            hinted.remove(&place);
            return Vec::new();
        };
        hints.deliveries(&owners, self.up(), limit)
    }

    /// Takes in what was said of a delivery.
    pub(crate) fn hint_answered(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
        delivery: &Delivery,
        answer: &Answer,
    ) {
        let Some(owners) = self.routes.owners(keyspace, partition) else { return };
        let mut hinted = self.hints.0.lock();
        let place = (keyspace, partition);
        let Some(hints) = hinted.get_mut(&place) else { return };
        hints.answered(delivery, answer.from, &answer.reply, &owners);
        if hints.is_empty() {
            hinted.remove(&place);
        }
    }

    pub(super) fn keep_hints(&self, request: &Request, to: NodeId, items: &[Item]) {
        let Some((partition, _)) = self.routes.find(request.keyspace, request.slot) else { return };
        let mut hinted = self.hints.0.lock();
        let place = (request.keyspace, partition);
        let hints = hinted.entry(place).or_insert_with(|| Hints::bounded(MOST));
        for item in items {
            hints.keep(to, item);
        }
    }
}
