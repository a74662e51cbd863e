//! Levels in one set and in two.

use super::*;
use proptest::prelude::*;

fn reach(owners: &Owners, level: Level, yes: &[Member]) -> bool {
    owners.reach(level, |member| yes.contains(&member))
}

#[test]
fn a_level_is_counted_in_each_set() {
    let still = owners(1, &[1, 2, 3], &[]);
    let moving = owners(1, &[1, 2, 3], &[3, 4, 5]);
    let cases: [(&Owners, &[u32], Option<Level>); 9] = [
        (&still, &[], None),
        (&still, &[2], Some(Level::One)),
        (&still, &[2, 3], Some(Level::Quorum)),
        (&still, &[1, 2, 3], Some(Level::All)),
        (&moving, &[1, 2], None),
        (&moving, &[3], Some(Level::One)),
        (&moving, &[1, 2, 3], Some(Level::One)),
        (&moving, &[1, 3, 4], Some(Level::Quorum)),
        (&moving, &[1, 2, 3, 4, 5], Some(Level::All)),
    ];
    for (owners, yes, greatest) in cases {
        let yes: Vec<Member> = yes.iter().map(|id| member(*id)).collect();
        for level in [Level::One, Level::Quorum, Level::All] {
            let expected = greatest.is_some_and(|greatest| level <= greatest);
            assert_eq!(reach(owners, level, &yes), expected, "{owners:?} {yes:?} {level:?}");
        }
    }
}

#[test]
fn a_copy_in_another_life_counts_in_neither_set() {
    let mut set = (*owners(1, &[1, 2, 3], &[])).clone();
    set.next = vec![member(1), member(2), copy(3, 7)];
    assert!(set.counts(member(3)) && set.counts(copy(3, 7)) && !set.counts(copy(3, 5)));
    assert!(!reach(&set, Level::Quorum, &[member(1), copy(2, 5), copy(3, 5)]));
    // Each of the two lives counts in its own set only.
    assert!(!reach(&set, Level::Quorum, &[member(1), copy(3, 7)]));
    assert!(reach(&set, Level::Quorum, &[member(1), member(3), copy(3, 7)]));
}

#[test]
fn members_of_both_sets_are_asked_first() {
    let listed = |next: &[u32]| owners(1, &[1, 2, 3], next).nodes().map(|n| n.0).collect();
    let cases: [(&[u32], Vec<u32>); 3] =
        [(&[], vec![1, 2, 3]), (&[3, 4], vec![3, 1, 2, 4]), (&[4, 5], vec![1, 2, 3, 4, 5])];
    for (next, expected) in cases {
        let nodes: Vec<u32> = listed(next);
        assert_eq!(nodes, expected);
    }
}

#[test]
fn the_shortfall_is_told_of_the_set_where_most_are_missing() {
    let moving = owners(1, &[1, 2, 3], &[3, 4, 5]);
    let lack = moving.no_quorum(Level::Quorum, |m| m.node.0 < 3, |node| node.0 >= 3);
    let unreachable = vec![NodeId(3), NodeId(4), NodeId(5)];
    assert_eq!(lack, NoQuorum { have: 0, need: 2, unreachable });
    let lack = moving.no_quorum(Level::All, |m| m.node.0 > 2, |node| node.0 == 1);
    assert_eq!(lack, NoQuorum { have: 1, need: 3, unreachable: vec![NodeId(1)] });
}

proptest! {
    /// Two quorums of one owner set always share a member, whatever else is under way.
    #[test]
    fn quorums_meet(size in 1_u32..6, coming in 0_u32..6, a in any::<u16>(), b in any::<u16>()) {
        let present: Vec<u32> = (1..=size).collect();
        let next: Vec<u32> = (3..3 + coming).collect();
        let set = owners(1, &present, &next);
        let chosen = |bits: u16| move |member: Member| bits >> member.node.0 & 1 == 1;
        if set.reach(Level::Quorum, chosen(a)) && set.reach(Level::Quorum, chosen(b)) {
            for members in [&set.replicas, &set.next] {
                let shared = members.iter().any(|member| chosen(a & b)(*member));
                prop_assert!(shared || members.is_empty());
            }
        }
    }

    #[test]
    fn every_node_is_listed_once(present in 1_u32..6, first in 1_u32..8, coming in 0_u32..6) {
        let present: Vec<u32> = (1..=present).collect();
        let next: Vec<u32> = (first..first + coming).collect();
        let set = owners(1, &present, &next);
        let mut nodes: Vec<NodeId> = set.nodes().collect();
        let listed = nodes.len();
        nodes.sort_unstable();
        nodes.dedup();
        prop_assert_eq!(nodes.len(), listed);
        prop_assert!((1..16).all(|id| set.has_node(node(id)) == nodes.contains(&node(id))));
    }
}
