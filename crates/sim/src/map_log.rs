//! The cluster map as the simulator keeps it: one list of owner sets for each partition, agreed on
//! by fiat.
//!
//! Holds: every change has an index of its own, so no two owner sets share an epoch, and those of
//! a partition form one chain (its list). A node sees a prefix of it.

use crate::options::Options;
use shoal_core::quorum::{Member, Owners};
use shoal_core::{Epoch, MapVersion, NodeId, ReplicaIncarnation};
use std::sync::Arc;

/// Every owner set that each partition ever had.
#[derive(Debug)]
pub(crate) struct MapLog {
    logs: Vec<Vec<Arc<Owners>>>,
    index: u64,
}

impl MapLog {
    /// The first owners: as many nodes as there are replicas, beginning elsewhere for each
    /// partition.
    pub(crate) fn new(options: &Options) -> Self {
        let first = |partition: u16| {
            let nodes = (0..options.replicas).map(|place| {
                let place = u32::try_from(place).expect("there are few replicas");
                NodeId((place + 2 * u32::from(partition)) % options.nodes + 1)
            });
            let incarnation = ReplicaIncarnation(1);
            let replicas = nodes.map(|node| Member { node, incarnation }).collect();
            vec![Arc::new(Owners { epoch: epoch(1), replicas, next: Vec::new() })]
        };
        Self { logs: (0..options.partitions).map(first).collect(), index: 1 }
    }

    pub(crate) fn newest(&self, partition: usize) -> &Arc<Owners> {
        self.logs[partition].last().expect("there is a first one")
    }

    /// The newest owners of every partition.
    pub(crate) fn all(&self) -> Vec<Arc<Owners>> {
        (0..self.logs.len()).map(|partition| Arc::clone(self.newest(partition))).collect()
    }

    /// Whether these were the owners of the partition at their epoch.
    pub(crate) fn had(&self, partition: usize, owners: &Owners) -> bool {
        self.logs[partition].iter().any(|known| **known == *owners)
    }

    /// The number that the next change gives to what it names anew.
    pub(crate) const fn next_index(&self) -> u64 {
        self.index + 1
    }

    /// Appends a change, if `expected` is still the partition's newest epoch.
    pub(crate) fn propose(
        &mut self,
        partition: usize,
        expected: Epoch,
        replicas: Vec<Member>,
        next: Vec<Member>,
    ) -> bool {
        if self.newest(partition).epoch != expected {
            return false;
        }
        self.index += 1;
        let owners = Owners { epoch: epoch(self.index), replicas, next };
        self.logs[partition].push(Arc::new(owners));
        true
    }
}

const fn epoch(index: u64) -> MapVersion {
    MapVersion { generation: 1, index }
}
