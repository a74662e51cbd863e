//! The members of a cluster, as people are shown them.

use crate::cluster::{Condition, Standing};
use shoal_core::NodeId;
use shoal_core::control::View;
use shoal_core::map::{Addresses, ClusterMap, NodeState};
use std::collections::{BTreeMap, BTreeSet};

/// How a node stands in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// It may come back, and stands so.
    Here(Standing),
    /// It never comes back; others take its places.
    Gone,
}

impl Presence {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Here(Standing::Joining),
        Self::Here(Standing::Up),
        Self::Here(Standing::Suspect),
        Self::Here(Standing::Down),
        Self::Here(Standing::Left),
        Self::Gone,
    ];

    /// Its name, which never changes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Here(standing) => standing.name(),
            Self::Gone => "gone",
        }
    }

    /// Whether the node is taken as one that answers.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Here(Standing::Up | Standing::Suspect))
    }
}

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberShown {
    /// Its id.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// How it stands.
    pub presence: Presence,
    /// For how many milliseconds it has stood so, as far as this node has watched.
    pub for_ms: Option<u64>,
    /// Where it stands.
    pub zone: Option<String>,
    /// How much it takes on; 100 is the usual.
    pub weight: u16,
    /// What else people note about it.
    pub tags: BTreeMap<String, String>,
    /// Where it is to be reached.
    pub addresses: Addresses,
    /// Whether it has a voice in deciding the map.
    pub votes: bool,
    /// Whether it leads those who decide the map.
    pub leads: bool,
    /// Whether it is the node that says all this.
    pub is_this: bool,
    /// How many partitions of all keyspaces it holds.
    pub partitions: usize,
    /// The code of the refusal that it answers writes with, while it is known to do so.
    pub refusing: Option<String>,
}

/// What one node sees of the others at a moment.
pub(super) struct Seen {
    pub(super) me: NodeId,
    pub(super) view: View,
    /// What is known beyond up and down, and for how many milliseconds.
    pub(super) standings: BTreeMap<NodeId, (Standing, Option<u64>)>,
    pub(super) leader: Option<NodeId>,
    pub(super) term: u64,
    pub(super) voters: BTreeSet<NodeId>,
    /// How nodes are, as far as they have said so.
    pub(super) conditions: BTreeMap<NodeId, Condition>,
}

/// Whether the one who led last leads still, as far as is known: one that is down, or that no
/// majority can follow, leads nobody.
pub(super) fn leads(
    leader: NodeId,
    voters: &BTreeSet<NodeId>,
    is_up: impl Fn(NodeId) -> bool,
) -> bool {
    let up = voters.iter().filter(|voter| is_up(**voter)).count();
    is_up(leader) && (up > voters.len() / 2 || voters.is_empty())
}

pub(super) fn members(map: &ClusterMap, seen: &Seen) -> Vec<MemberShown> {
    let mut partitions: BTreeMap<NodeId, usize> = BTreeMap::new();
    for partition in map.keyspaces.values().flat_map(|keyspace| &keyspace.partitions) {
        for member in &partition.replicas {
            *partitions.entry(member.node).or_default() += 1;
        }
    }
    let shown = map.nodes.iter().map(|(node, info)| {
        let known = seen.standings.get(node).copied();
        let (presence, for_ms) = match info.state {
            NodeState::Gone => (Presence::Gone, None),
            NodeState::Joining => (Presence::Here(Standing::Joining), None),
            NodeState::Member if *node == seen.me => (Presence::Here(Standing::Up), None),
            NodeState::Member => {
                let (standing, for_ms) = known.unwrap_or((Standing::Down, None));
                (Presence::Here(standing), for_ms)
            }
        };
        MemberShown {
            node: *node,
            name: info.name.clone(),
            presence,
            for_ms,
            zone: info.zone.clone(),
            weight: info.weight,
            tags: info.tags.clone(),
            addresses: info.addresses.clone(),
            votes: seen.voters.contains(node),
            leads: seen.leader == Some(*node),
            is_this: *node == seen.me,
            partitions: partitions.get(node).copied().unwrap_or(0),
            refusing: seen.conditions.get(node).and_then(|condition| condition.refusing.clone()),
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::super::rig::three;
    use super::*;
    use shoal_core::map::{Command, Profile};

    #[test]
    fn who_is_down_or_alone_leads_nobody() {
        let voters = BTreeSet::from([1, 2, 3].map(NodeId));
        let leads = |leader, up: &[u32]| {
            leads(NodeId(leader), &voters, |node: NodeId| up.contains(&node.0))
        };
        assert!(leads(3, &[1, 2, 3]) && leads(3, &[1, 3]));
        assert!(!leads(3, &[1, 2]), "it is down");
        assert!(!leads(1, &[1]), "nobody follows it");
        assert!(super::leads(NodeId(1), &BTreeSet::new(), |_| true), "who votes is not known yet");
    }

    fn full() -> Condition {
        Condition { refusing: Some("disk_full".to_owned()), lost_copies: 0 }
    }

    fn seen() -> Seen {
        Seen {
            me: NodeId(1),
            view: View {
                now_ms: 5_000,
                up: [NodeId(1), NodeId(2)].into(),
                down_since_ms: [(NodeId(3), 2_000)].into(),
                ..View::default()
            },
            standings: [
                (NodeId(2), (Standing::Suspect, Some(10))),
                (NodeId(3), (Standing::Down, Some(3_000))),
            ]
            .into(),
            leader: Some(NodeId(2)),
            term: 4,
            voters: [NodeId(1), NodeId(2), NodeId(3)].into(),
            conditions: [(NodeId(2), full())].into(),
        }
    }

    #[test]
    fn members_are_shown_as_this_node_sees_them() {
        let mut map = three();
        let join = Command::Join {
            name: "d".to_owned(),
            token: 4,
            profile: Profile::default(),
            replaces: None,
        };
        map = map.apply(&join).expect("it is let in");
        let shown = members(&map, &seen());
        let stand: Vec<_> = shown.iter().map(|m| (m.presence.name(), m.for_ms)).collect();
        assert_eq!(
            stand,
            [("up", None), ("suspect", Some(10)), ("down", Some(3_000)), ("joining", None)]
        );
        let words: Vec<_> = shown.iter().map(|m| (m.is_this, m.votes, m.leads)).collect();
        assert_eq!(words[..2], [(true, true, false), (false, true, true)]);
        assert_eq!(words[3], (false, false, false));
        let refusing: Vec<_> = shown.iter().map(|m| m.refusing.as_deref()).collect();
        assert_eq!(refusing, [None, Some("disk_full"), None, None]);
        assert_eq!(shown[0].partitions, 512, "all of `default`, and its part of `ks`");
        assert_eq!((shown[1].partitions, shown[3].partitions), (256, 0));
    }
}
