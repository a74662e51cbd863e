//! Which owner of a key leads: it executes read-modify-writes, and cluster-aware clients are told
//! to ask it.
//!
//! Holds: whoever has the same map and the same view names the same leader. Each slot has exactly
//! one.
//!
//! Does not know: whether the leader is really up.

use crate::ids::NodeId;
use crate::map::{Keyspace, Partition};
use crate::quorum::Member;
use std::ops::RangeInclusive;

/// The first present owner that is up; `None` where none is.
#[must_use]
pub fn leader(partition: &Partition, up: impl Fn(NodeId) -> bool) -> Option<NodeId> {
    let up = |member: &&Member| up(member.node);
    // One that begins anew knows the newest record only from others.
    let begins_anew = |member: &Member| {
        partition.next.iter().any(|next| next.node == member.node && next != member)
    };
    let mut live = partition.replicas.iter().filter(up);
    let whole = live.clone().find(|member| !begins_anew(member));
    whole.or_else(|| live.next()).map(|member| member.node)
}

/// Who leads which slots: ascending runs that cover all slots, each as long as it can be. Where no
/// owner is up the first one is named all the same, so that every slot has somebody.
#[must_use]
pub fn leaders(
    keyspace: &Keyspace,
    up: impl Fn(NodeId) -> bool,
) -> Vec<(RangeInclusive<u16>, NodeId)> {
    let mut runs: Vec<(RangeInclusive<u16>, NodeId)> = Vec::new();
    for (id, partition) in (0..).map(crate::PartitionId).zip(&keyspace.partitions) {
        let first = || partition.replicas.first().map_or(NodeId(0), |member| member.node);
        let node = leader(partition, &up).unwrap_or_else(first);
        let slots = keyspace.partitioning.slots_of(id);
        let end = slots.end - 1;
        match runs.last_mut() {
            Some((run, holder)) if *holder == node => *run = *run.start()..=end,
            _ => runs.push((slots.start..=end, node)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MapVersion, ReplicaIncarnation};
    use crate::map::{ClusterMap, Command, EngineKind, KeyspaceSpec, Profile};
    use crate::slot::{Partitioning, SLOT_COUNT};

    fn members(nodes: &[u32], life: u64) -> Vec<Member> {
        let incarnation = ReplicaIncarnation(life);
        nodes.iter().map(|node| Member { node: NodeId(*node), incarnation }).collect()
    }

    fn partition(replicas: &[u32]) -> Partition {
        let epoch = MapVersion::default();
        let replicas = members(replicas, 1);
        Partition { epoch, replicas, next: Vec::new(), outgoing: Vec::new() }
    }

    fn keyspace(owners: &[&[u32]]) -> Keyspace {
        let count = u16::try_from(owners.len()).expect("a few");
        let partitioning = Partitioning::new(count).expect("a power of two");
        let default = KeyspaceSpec { partitioning, ..KeyspaceSpec::new(EngineKind::Disk) };
        let found = Command::Found {
            cluster: crate::ClusterId(1),
            node_name: "n1".into(),
            token: 1,
            hash_seed: 1,
            default,
            profile: Profile::default(),
        };
        let map = ClusterMap::default().apply(&found).expect("it is the first");
        let mut keyspace = map.keyspace("default").expect("it was founded with it").clone();
        keyspace.partitions = owners.iter().map(|owners| partition(owners)).collect();
        keyspace
    }

    #[test]
    fn the_first_that_is_up_leads() {
        let held = partition(&[2, 1, 3]);
        assert_eq!(leader(&held, |_| true), Some(NodeId(2)));
        assert_eq!(leader(&held, |node| node != NodeId(2)), Some(NodeId(1)));
        assert_eq!(leader(&held, |_| false), None);
    }

    #[test]
    fn who_begins_anew_leads_only_where_nobody_else_can() {
        let mut held = partition(&[2, 1]);
        held.next = members(&[2], 9);
        held.next.extend(members(&[1], 1));
        assert_eq!(leader(&held, |_| true), Some(NodeId(1)));
        assert_eq!(leader(&held, |node| node == NodeId(2)), Some(NodeId(2)));
        held.next = members(&[3, 2, 1], 1);
        assert_eq!(leader(&held, |_| true), Some(NodeId(2)), "who is to come does not lead yet");
    }

    #[test]
    fn ranges_are_merged_and_cover_every_slot() {
        let held = keyspace(&[&[1, 2], &[1, 3], &[2, 1], &[3, 1]]);
        let quarter = SLOT_COUNT / 4;
        let all_up = leaders(&held, |_| true);
        assert_eq!(
            all_up,
            [
                (0..=2 * quarter - 1, NodeId(1)),
                (2 * quarter..=3 * quarter - 1, NodeId(2)),
                (3 * quarter..=SLOT_COUNT - 1, NodeId(3)),
            ]
        );
        let without_two = leaders(&held, |node| node != NodeId(2));
        assert_eq!(
            without_two,
            [(0..=3 * quarter - 1, NodeId(1)), (3 * quarter..=SLOT_COUNT - 1, NodeId(3))]
        );
        assert_eq!(leaders(&held, |_| false), all_up, "nobody is up, and every slot is named");
        assert_eq!(leaders(&keyspace(&[&[7]]), |_| true), [(0..=16_383, NodeId(7))]);
    }
}
