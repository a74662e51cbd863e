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

pub(crate) use copy::{Asked, PartitionCopy, Tell, Waiting};
pub(crate) use life::LIVES_SPACE;

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

    /// Adds a copy, in place of the one that may be there.
    pub(crate) fn add(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
        copy: &Arc<PartitionCopy>,
    ) {
        self.held.rcu(|held| {
            let mut held = BTreeMap::clone(held);
            held.insert((keyspace, partition), Arc::clone(copy));
            held
        });
    }
}
