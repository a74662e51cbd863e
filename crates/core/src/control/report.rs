//! What nodes report of their copies, and what of it still says something.
//!
//! Holds: a report says something about the epoch it was made under and no other, and does nothing
//! to those of other epochs: one that names an epoch that never was makes no true one unheard. Of
//! each partition a few epochs are kept, until the map tells which of them is the present one. Of
//! one member "lost" overrides "proven", in whatever order they come.

use crate::ids::{Epoch, Incarnation, NodeId, PartitionId};
use crate::map::{ClusterMap, MAX_NODES, MAX_PARTITIONS, Place};
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

/// Of how many epochs reports of one partition are kept between two looks at the map: the present
/// one, and some of those who are behind or ahead of it.
const EPOCHS: usize = 4;

/// Everything heard that may still say something.
#[derive(Clone, Debug, Default)]
pub(super) struct Reports {
    /// Each partition's, of a few epochs, the lowest first.
    heard: BTreeMap<(Incarnation, PartitionId), Vec<Heard>>,
}

impl Reports {
    pub(super) fn note(&mut self, report: Report) {
        let place = report.place();
        let key = (place.keyspace, place.partition);
        if self.heard.len() >= MAX_PARTITIONS && !self.heard.contains_key(&key) {
            return;
        }
        let epochs = self.heard.entry(key).or_default();
        let at = epochs.partition_point(|heard| heard.epoch < place.epoch);
        if epochs.get(at).is_none_or(|heard| heard.epoch != place.epoch) {
            epochs.insert(at, Heard::under(place.epoch));
            // The highest goes: what is below the map is dropped at the next look at it, so it
            // cannot take the room for long.
            epochs.truncate(EPOCHS);
        }
        let Some(heard) = epochs.get_mut(at) else { return };
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
        let epochs = self.heard.get(&(place.keyspace, place.partition))?;
        epochs.iter().find(|heard| heard.epoch == place.epoch)
    }

    /// Drops what says nothing any more, and what is ahead of the map: where that was true it is
    /// said again, and where not it would stay for ever.
    pub(super) fn prune(&mut self, map: &ClusterMap) {
        let lives: BTreeMap<_, _> = map
            .keyspaces
            .values()
            .map(|keyspace| (keyspace.incarnation, &keyspace.partitions))
            .collect();
        self.heard.retain(|(keyspace, partition), epochs| {
            let partitions = lives.get(keyspace);
            let present = partitions.and_then(|all| all.get(usize::from(partition.0)));
            epochs.retain(|heard| present.is_some_and(|present| present.epoch == heard.epoch));
            !epochs.is_empty()
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
    fn each_epoch_says_something_of_itself() {
        let mut reports = Reports::default();
        reports.note(Report::Proven { node: NODE, place: place(5) });
        reports.note(Report::Proven { node: NodeId(4), place: place(4) });
        let heard = reports.at(place(5)).expect("it was told");
        assert!(heard.is_proven(NODE) && !heard.is_proven(NodeId(4)));
        reports.note(Report::Forgotten { node: NODE, place: place(6) });
        let heard = reports.at(place(6)).expect("it was told");
        assert!(heard.is_forgotten(NODE) && !heard.is_proven(NODE));
        assert!(reports.at(place(5)).expect("it was told").is_proven(NODE));
    }

    #[test]
    fn epochs_that_never_were_take_little_room_and_none_from_the_true_one() {
        let mut reports = Reports::default();
        for index in (100..200).chain((6..99).rev()) {
            reports.note(Report::Lost { node: NODE, place: place(index) });
        }
        reports.note(Report::Proven { node: NODE, place: place(5) });
        assert!(reports.at(place(5)).expect("it was told").is_proven(NODE));
        assert_eq!(reports.heard.values().map(Vec::len).sum::<usize>(), EPOCHS);
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
