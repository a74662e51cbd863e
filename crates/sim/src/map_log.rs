//! The cluster map as the simulator keeps it: one list of owner sets, agreed on by fiat.
//!
//! Holds: epochs form one chain (the list). A node sees a prefix of it.

use shoal_core::quorum::{Member, Owners};
use shoal_core::{MapVersion, NodeId, ReplicaIncarnation};
use std::sync::Arc;

/// Every owner set that the partition ever had.
#[derive(Debug)]
pub(crate) struct MapLog {
    log: Vec<Arc<Owners>>,
}

impl MapLog {
    /// The first owners: the first `replicas` nodes.
    pub(crate) fn new(replicas: usize) -> Self {
        let members = (1..)
            .take(replicas)
            .map(|node| Member { node: NodeId(node), incarnation: ReplicaIncarnation(1) });
        let first = Owners { epoch: epoch(1), replicas: members.collect(), next: Vec::new() };
        Self { log: vec![Arc::new(first)] }
    }

    pub(crate) fn newest(&self) -> &Arc<Owners> {
        self.log.last().expect("there is a first one")
    }

    /// The number that the next change gives to what it names anew.
    pub(crate) fn next_index(&self) -> u64 {
        self.newest().epoch.index + 1
    }

    /// Appends a change, if `expected` is still the newest epoch.
    pub(crate) fn propose(
        &mut self,
        expected: MapVersion,
        replicas: Vec<Member>,
        next: Vec<Member>,
    ) -> bool {
        if self.newest().epoch != expected {
            return false;
        }
        let owners = Owners { epoch: epoch(self.next_index()), replicas, next };
        self.log.push(Arc::new(owners));
        true
    }
}

const fn epoch(index: u64) -> MapVersion {
    MapVersion { generation: 1, index }
}
