//! What nodes report of their copies, and what of it still says something.
//!
//! Holds: a report says something about the epoch it was made under and no other. Of each partition
//! only the reports of the highest epoch heard of are kept; of one member "lost" overrides "proven",
//! in whatever order they come.

use crate::ids::{Epoch, Incarnation, NodeId, PartitionId};
use crate::map::{ClusterMap, MAX_NODES, MAX_PARTITIONS, Place};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// What a node says about its copy of a partition, under an epoch that it has adopted. It says so
/// again and again until the map shows that it was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Report {
    /// The map names the node, and its copy is in no life that the map names there: what it once
    /// acknowledged may be lost.
    Lost {
        /// Whose copy.
        node: NodeId,
        /// Of what, and under which epoch.
        place: Place,
    },
    /// The node is a member of `next` and has proven that it holds at least what the present owners
    /// held.
    Proven {
        /// The member.
        node: NodeId,
        /// Of what, and under which epoch.
        place: Place,
    },
    /// The node has left the partition, and nothing of it is left there.
    Forgotten {
        /// The leaver.
        node: NodeId,
        /// Of what, and under which epoch.
        place: Place,
    },
}

impl Report {
    /// The partition and epoch it is about.
    #[must_use]
    pub const fn place(&self) -> Place {
        match self {
            Self::Lost { place, .. }
            | Self::Proven { place, .. }
            | Self::Forgotten { place, .. } => *place,
        }
    }
}

/// What was heard of a partition under one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    epoch: Epoch,
    lost: BTreeSet<NodeId>,
    proven: BTreeSet<NodeId>,
    forgotten: BTreeSet<NodeId>,
}

impl Heard {
    const fn under(epoch: Epoch) -> Self {
        Self { epoch, lost: BTreeSet::new(), proven: BTreeSet::new(), forgotten: BTreeSet::new() }
    }

    pub(super) fn is_lost(&self, node: NodeId) -> bool {
        self.lost.contains(&node)
    }

    /// A copy that was lost since has proven nothing.
    pub(super) fn is_proven(&self, node: NodeId) -> bool {
        self.proven.contains(&node) && !self.is_lost(node)
    }

    pub(super) fn is_forgotten(&self, node: NodeId) -> bool {
        self.forgotten.contains(&node)
    }
}

/// Everything heard that may still say something.
#[derive(Clone, Debug, Default)]
pub(super) struct Reports {
    heard: BTreeMap<(Incarnation, PartitionId), Heard>,
}

impl Reports {
    pub(super) fn note(&mut self, report: Report) {
        let place = report.place();
        let key = (place.keyspace, place.partition);
        if self.heard.len() >= MAX_PARTITIONS && !self.heard.contains_key(&key) {
            return;
        }
        let heard = self.heard.entry(key).or_insert(Heard::under(place.epoch));
        match place.epoch.cmp(&heard.epoch) {
            Ordering::Less => return,
            Ordering::Equal => {}
            Ordering::Greater => *heard = Heard::under(place.epoch),
        }
        let (node, nodes) = match report {
            Report::Lost { node, .. } => (node, &mut heard.lost),
            Report::Proven { node, .. } => (node, &mut heard.proven),
            Report::Forgotten { node, .. } => (node, &mut heard.forgotten),
        };
        if nodes.len() < MAX_NODES {
            nodes.insert(node);
        }
    }

    /// What was heard of the partition at `place`, under that epoch.
    pub(super) fn at(&self, place: Place) -> Option<&Heard> {
        let heard = self.heard.get(&(place.keyspace, place.partition));
        heard.filter(|heard| heard.epoch == place.epoch)
    }

    /// Drops what says nothing any more. What is ahead of the map stays: the map will follow.
    pub(super) fn prune(&mut self, map: &ClusterMap) {
        let lives: BTreeMap<_, _> = map
            .keyspaces
            .values()
            .map(|keyspace| (keyspace.incarnation, &keyspace.partitions))
            .collect();
        self.heard.retain(|(keyspace, partition), heard| match lives.get(keyspace) {
            Some(partitions) => partitions
                .get(usize::from(partition.0))
                .is_some_and(|present| present.epoch <= heard.epoch),
            None => *keyspace >= map.next_incarnation,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MapVersion;

    const NODE: NodeId = NodeId(3);

    fn place(index: u64) -> Place {
        let epoch = MapVersion { generation: 0, index };
        Place { keyspace: Incarnation(1), partition: PartitionId(2), epoch }
    }

    #[test]
    fn only_the_highest_epoch_says_something() {
        let mut reports = Reports::default();
        reports.note(Report::Proven { node: NODE, place: place(5) });
        reports.note(Report::Proven { node: NodeId(4), place: place(4) });
        let heard = reports.at(place(5)).expect("it was told");
        assert!(heard.is_proven(NODE) && !heard.is_proven(NodeId(4)));
        reports.note(Report::Forgotten { node: NODE, place: place(6) });
        assert_eq!(reports.at(place(5)), None);
        let heard = reports.at(place(6)).expect("it was told");
        assert!(heard.is_forgotten(NODE) && !heard.is_proven(NODE));
    }

    #[test]
    fn who_lost_its_copy_has_proven_nothing() {
        let lost = Report::Lost { node: NODE, place: place(5) };
        let proven = Report::Proven { node: NODE, place: place(5) };
        for order in [[lost, proven], [proven, lost]] {
            let mut reports = Reports::default();
            order.into_iter().for_each(|report| reports.note(report));
            let heard = reports.at(place(5)).expect("it was told");
            assert!(heard.is_lost(NODE) && !heard.is_proven(NODE));
        }
    }
}
