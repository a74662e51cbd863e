//! Cut links, one way and both, and what comes after.

use super::*;

#[test]
fn one_way_cut_between_two_brings_nobody_down() {
    for seed in 0..10 {
        let mut network = Network::converged(3, seed);
        network.cut(1, 2);
        network.run(secs(60));
        assert_eq!(network.count(|_, event| matches!(event, Event::Down { .. })), 0, "seed {seed}");
        network.heal();
        network.run(secs(5));
        network.assert_all_up();
    }
}

#[test]
fn a_deaf_node_goes_down_alone() {
    for seed in 0..10 {
        let mut network = Network::converged(5, seed);
        // It is heard by all and hears nobody, so it takes everybody for down and says so.
        for node in [1, 3, 4, 5] {
            network.cut(node, 2);
        }
        network.run(secs(60));
        for at in [1, 3, 4, 5] {
            assert_eq!(network.state(at, 2), Some(MemberState::Down), "seed {seed}");
        }
        let others_down = |at, event: &Event| {
            at != 2 && matches!(event, Event::Down { node } if *node != NodeId(2))
        };
        assert_eq!(network.count(others_down), 0, "seed {seed}: {:?}", network.events);
        network.heal();
        network.run(secs(10));
        network.assert_all_up();
    }
}

#[test]
fn a_mute_node_goes_down_and_comes_back() {
    for seed in 0..10 {
        let mut network = Network::converged(5, seed);
        for node in [1, 3, 4, 5] {
            network.cut(2, node);
        }
        network.run(secs(30));
        assert_eq!(network.state(1, 2), Some(MemberState::Down), "seed {seed}");
        let others_down = |at, event: &Event| {
            at != 2 && matches!(event, Event::Down { node } if *node != NodeId(2))
        };
        assert_eq!(network.count(others_down), 0, "seed {seed}");
        network.heal();
        network.run(secs(10));
        network.assert_all_up();
    }
}

/// Splits a cluster for a minute, lets it heal, and says how many members were taken for down
/// by somebody on their own side.
fn split_and_heal(nodes: u32, sides: &[&[u32]], seed: u64) {
    let mut network = Network::converged(nodes, seed);
    for (at, left) in sides.iter().enumerate() {
        for right in &sides[at + 1..] {
            network.split(left, right);
        }
    }
    network.run(secs(60));
    let side = |node: u32| sides.iter().position(|side| side.contains(&node)).unwrap();
    for at in 1..=nodes {
        for of in (1..=nodes).filter(|of| *of != at) {
            let expected = if side(at) == side(of) { MemberState::Up } else { MemberState::Down };
            assert_eq!(network.state(at, of), Some(expected), "n{at} of n{of}, seed {seed}");
        }
    }
    network.heal();
    network.until(secs(15), Network::all_see_all_up);
    network.run(secs(30));
    network.assert_all_up();
    let own_side_down =
        |at: u32, event: &Event| matches!(event, Event::Down { node } if side(at) == side(node.0));
    let blamed = network.count(own_side_down);
    assert_eq!(blamed, 0, "seed {seed}: {:?}", network.events);
}

#[test]
fn partitions_heal_by_themselves() {
    for seed in 0..10 {
        split_and_heal(2, &[&[1], &[2]], seed);
        split_and_heal(3, &[&[1], &[2, 3]], seed);
        split_and_heal(5, &[&[1, 2], &[3, 4, 5]], seed);
        // Nobody has anybody left who could tell.
        split_and_heal(3, &[&[1], &[2], &[3]], seed);
    }
    let (left, right): (Vec<u32>, Vec<u32>) = ((1..=20).collect(), (21..=50).collect());
    split_and_heal(50, &[&left, &right], 1);
}
