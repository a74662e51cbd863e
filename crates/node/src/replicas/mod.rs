//! The copies of partitions that this node holds: the machines of `shoal_core::replica` over the
//! node's engines.
//!
//! Holds: whoever asks a copy hears only what is durable here and said under the epoch that the
//! copy holds at that moment.
//!
//! Does not know: coordinators, clients, the network.

mod copy;
mod life;
#[cfg(test)]
pub(crate) mod rig;
mod settle;
mod shelf;

pub(crate) use copy::{Asked, PartitionCopy, Place, Tell, Waiting};
pub(crate) use life::{LIVES_SPACE, Lives};
pub(crate) use settle::SettleQueue;
pub(crate) use shelf::ShelfError;

use arc_swap::ArcSwap;
use shoal_core::PartitionId;
use shoal_core::ids::Incarnation;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The copies of this node by what they are copies of.
#[derive(Default)]
pub(crate) struct Copies {
    held: ArcSwap<BTreeMap<(Incarnation, PartitionId), Arc<PartitionCopy>>>,
}

impl Copies {
    /// The copy of a partition, if this node has one.
    pub(crate) fn find(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
    ) -> Option<Arc<PartitionCopy>> {
        self.held.load().get(&(keyspace, partition)).map(Arc::clone)
    }

    /// Takes every copy out of which `keep` is not true: that life of its keyspace is over. Hands
    /// back the questions that waited there.
    pub(crate) fn retain(
        &self,
        keep: impl Fn((Incarnation, PartitionId), &Arc<PartitionCopy>) -> bool,
    ) -> Vec<Waiting> {
        if self.held.load().iter().all(|(place, copy)| keep(*place, copy)) {
            return Vec::new();
        }
        let before = self.held.rcu(|held| {
            let kept = held.iter().filter(|(place, copy)| keep(**place, copy));
            kept.map(|(place, copy)| (*place, Arc::clone(copy))).collect::<BTreeMap<_, _>>()
        });
        let over = before.iter().filter(|(place, copy)| !keep(**place, copy));
        over.flat_map(|(_, copy)| copy.end()).collect()
    }

    /// Every copy, with what it is a copy of.
    pub(crate) fn all(&self) -> Vec<((Incarnation, PartitionId), Arc<PartitionCopy>)> {
        let held = self.held.load();
        held.iter().map(|(place, copy)| (*place, Arc::clone(copy))).collect()
    }

    /// Adds copies, in place of those that may be there.
    pub(crate) fn add_all(&self, copies: &[((Incarnation, PartitionId), Arc<PartitionCopy>)]) {
        self.held.rcu(|held| {
            let mut held = BTreeMap::clone(held);
            held.extend(copies.iter().cloned());
            held
        });
    }
}
