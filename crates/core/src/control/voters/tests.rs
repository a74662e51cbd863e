//! Who votes: sizes, deaths, zones, and random lives.

use super::*;
use crate::ids::ClusterId;
use crate::map::{Command, EngineKind, KeyspaceSpec, NodeInfo, NodeState, Profile};
use proptest::prelude::*;

fn found() -> ClusterMap {
    let found = Command::Found {
        cluster: ClusterId(1),
        node_name: "m1".into(),
        token: 1,
        hash_seed: 1,
        default: KeyspaceSpec::new(EngineKind::Disk),
        profile: Profile::default(),
    };
    ClusterMap::default().apply(&found).expect("it is the first")
}

/// Nodes 1, 2, … in these zones, all of them members and up.
fn cluster(zones: &[Option<&str>]) -> (ClusterMap, View) {
    let mut map = found();
    let mut view = View { now_ms: 1_000_000, ..View::default() };
    for (number, zone) in (1..).zip(zones) {
        let profile = Profile { zone: zone.map(str::to_owned), ..Profile::default() };
        let info = NodeInfo::new(format!("m{number}"), 1, profile, NodeState::Member);
        map.nodes.insert(NodeId(number), info);
        view.up.insert(NodeId(number));
    }
    (map, view)
}

fn set(numbers: &[u32]) -> BTreeSet<NodeId> {
    numbers.iter().copied().map(NodeId).collect()
}

fn falls(view: &mut View, number: u32, for_ms: u64) {
    view.up.remove(&NodeId(number));
    view.down_since_ms.insert(NodeId(number), view.now_ms - for_ms);
}

fn forget(map: &mut ClusterMap, number: u32) {
    if let Some(info) = map.nodes.get_mut(&NodeId(number)) {
        info.state = NodeState::Gone;
    }
}

/// Carries out changes until there are none; fails if that takes long.
fn settle(map: &ClusterMap, view: &View, mut voters: BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    for _ in 0..20 {
        let Some(change) = choose(map, view, &voters) else { return voters };
        voters = change.applied_to(&voters);
    }
    panic!("no end: {voters:?}");
}

#[test]
fn there_are_one_three_or_five() {
    let sizes = [1, 1, 3, 3, 5, 5, 5, 5];
    for (members, size) in (1..).zip(sizes) {
        let (map, view) = cluster(&vec![None; members]);
        assert_eq!(wanted(members), size);
        assert_eq!(settle(&map, &view, set(&[1])).len(), size);
    }
}

#[test]
fn the_number_grows_by_two_at_once_or_not_at_all() {
    let (map, mut view) = cluster(&[None; 3]);
    let change = choose(&map, &view, &set(&[1])).expect("three are better");
    assert_eq!((change.add, change.remove), (set(&[2, 3]), set(&[])));
    falls(&mut view, 3, 0);
    assert_eq!(choose(&map, &view, &set(&[1])), None, "two stand no loss at all");
}

fn apply(map: &mut ClusterMap, command: &Command) {
    *map = map.apply(command).expect("it is in order");
}

fn joins(map: &mut ClusterMap, view: &mut View) -> NodeId {
    let node = map.next_node;
    let (name, profile) = (format!("m{}", node.0), Profile::default());
    apply(map, &Command::Join { name, token: 1, profile, replaces: None });
    view.up.insert(node);
    node
}

fn starts(map: &mut ClusterMap, node: NodeId) {
    apply(map, &Command::StartNode { node, presented: 1, next: 1, profile: None });
}

/// n1 founds, n2 and n3 join: nobody votes who has not started, and two more begin at once.
#[test]
fn when_the_third_has_started_one_voter_becomes_three_in_one_change() {
    let (mut map, mut view) = (found(), View { now_ms: 1_000_000, ..View::default() });
    let alone = set(&[1]);
    view.up.insert(NodeId(1));
    assert_eq!(choose(&map, &view, &alone), None);
    let second = joins(&mut map, &mut view);
    let third = joins(&mut map, &mut view);
    assert_eq!(choose(&map, &view, &alone), None, "neither is a member yet");
    starts(&mut map, second);
    assert_eq!(choose(&map, &view, &alone), None, "the third may still never come");
    starts(&mut map, third);
    let change = choose(&map, &view, &alone).expect("three are better");
    assert_eq!((&change.add, &change.remove), (&set(&[2, 3]), &set(&[])));
    assert_eq!(choose(&map, &view, &change.applied_to(&alone)), None);
}

#[test]
fn who_is_down_or_was_never_seen_gets_no_vote() {
    let (map, mut view) = cluster(&[None; 4]);
    for down_ms in [0, VOTER_PATIENCE_MS] {
        falls(&mut view, 2, down_ms);
        let change = choose(&map, &view, &set(&[1])).expect("three others are there");
        assert_eq!((change.add, change.remove), (set(&[3, 4]), set(&[])));
    }
    // Not heard of since the leader began.
    view.down_since_ms.clear();
    let change = choose(&map, &view, &set(&[1])).expect("three others are there");
    assert_eq!(change.add, set(&[3, 4]));
    falls(&mut view, 3, 0);
    assert_eq!(choose(&map, &view, &set(&[1])), None, "a voter that is down would be no help");
    falls(&mut view, 4, 0);
    assert_eq!(choose(&map, &view, &set(&[1, 2, 3])), None, "nor is there a majority here");
}

#[test]
fn a_dead_voter_is_replaced_by_one_that_is_up() {
    let (map, mut view) = cluster(&[None; 4]);
    let present = set(&[1, 2, 3]);
    assert_eq!(choose(&map, &view, &present), None);
    falls(&mut view, 2, VOTER_PATIENCE_MS - 1);
    assert_eq!(choose(&map, &view, &present), None, "it may be back soon");
    falls(&mut view, 2, VOTER_PATIENCE_MS);
    let change = choose(&map, &view, &present).expect("it is dead");
    assert_eq!((change.add, change.remove), (set(&[4]), set(&[2])));
    falls(&mut view, 4, 0);
    assert_eq!(choose(&map, &view, &present), None, "nobody else is up");
}

#[test]
fn who_is_gone_or_loses_its_directory_is_replaced_at_once() {
    let (mut map, mut view) = cluster(&[None; 5]);
    view.volatile = set(&[5]);
    assert_eq!(settle(&map, &view, set(&[1])).len(), 3, "four may vote");
    forget(&mut map, 2);
    let change = choose(&map, &view, &set(&[1, 2, 3])).expect("one is gone");
    assert_eq!((change.add, change.remove), (set(&[4]), set(&[2])));
}

#[test]
fn fewer_members_have_fewer_voters_and_the_dead_go_first() {
    let (mut map, mut view) = cluster(&[None; 5]);
    forget(&mut map, 2);
    falls(&mut view, 2, 0);
    let change = choose(&map, &view, &set(&[1, 2, 3, 4, 5])).expect("four members are left");
    assert_eq!((change.add, change.remove), (set(&[]), set(&[2, 5])));
    let (mut map, view) = cluster(&[None; 3]);
    forget(&mut map, 1);
    assert_eq!(settle(&map, &view, set(&[1, 2, 3])), set(&[2]));
}

#[test]
fn without_a_majority_nothing_changes() {
    let (map, mut view) = cluster(&[None; 6]);
    falls(&mut view, 1, VOTER_PATIENCE_MS);
    falls(&mut view, 2, VOTER_PATIENCE_MS);
    assert_eq!(choose(&map, &view, &set(&[1, 2, 3])), None);
    assert_eq!(choose(&map, &view, &set(&[])), None);
}

#[test]
fn voters_are_spread_over_the_zones() {
    let (a, b, c) = (Some("a"), Some("b"), Some("c"));
    let (map, view) = cluster(&[a, a, a, b]);
    assert_eq!(settle(&map, &view, set(&[1])), set(&[1, 2, 4]));
    let (map, view) = cluster(&[a, a, b, c]);
    let change = choose(&map, &view, &set(&[1, 2, 3])).expect("a third zone came");
    assert_eq!((change.add, change.remove), (set(&[4]), set(&[2])));
    let (map, mut view) = cluster(&[a, a, b, c]);
    falls(&mut view, 3, 0);
    assert_eq!(choose(&map, &view, &set(&[1, 2, 3])), None, "not while one is down");
}

proptest! {
    #[test]
    fn whatever_happens_a_majority_lives_and_changes_end(
        zones in prop::collection::vec(prop::option::of(0_u8..3), 1..9),
        falls_at in prop::collection::vec((0_u32..9, 0_u64..2, 0_u8..3), 0..12),
    ) {
        let names = ["a", "b", "c"];
        let zones: Vec<_> = zones.iter().map(|zone| zone.map(|zone| names[usize::from(zone)])).collect();
        let (mut map, mut view) = cluster(&zones);
        let mut voters = settle(&map, &view, set(&[1]));
        for (node, long, what) in falls_at {
            let number = node + 1;
            match what {
                0 => forget(&mut map, number),
                1 => falls(&mut view, number, long * VOTER_PATIENCE_MS),
                _ if map.nodes.contains_key(&NodeId(number)) => {
                    view.up.insert(NodeId(number));
                    view.down_since_ms.remove(&NodeId(number));
                }
                _ => {}
            }
            for _ in 0..20 {
                let Some(change) = choose(&map, &view, &voters) else { break };
                let after = change.applied_to(&voters);
                let live = |some: &BTreeSet<NodeId>| some.iter().filter(|one| view.is_up(**one)).count();
                prop_assert!(live(&voters) > voters.len() / 2);
                prop_assert!(live(&after) > after.len() / 2);
                prop_assert_eq!(after.len() % 2, 1);
                prop_assert!(after.symmetric_difference(&voters).count() <= 2);
                for added in &change.add {
                    prop_assert!(view.is_up(*added) && map.is_member(*added));
                }
                voters = after;
            }
            prop_assert_eq!(choose(&map, &view, &voters), None);
        }
    }
}
