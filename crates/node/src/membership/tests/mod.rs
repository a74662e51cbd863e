//! Membership in virtual time: whole clusters of machines on a network that misbehaves.

mod detection;
mod network;
mod partitions;
mod strangers;

use super::{Event, Identity, MemberState};
use network::{Network, address, identity, ms, secret, secs};
use shoal_core::{MapVersion, NodeId};

#[test]
fn clusters_of_any_size_find_each_other() {
    for nodes in [2, 3, 7, 50] {
        let mut network = Network::new(u64::from(nodes));
        for node in 1..=nodes {
            network.start(node, 1);
        }
        for node in 2..=nodes {
            network.announce(node, 1);
        }
        let took = network.until(secs(5), Network::all_see_all_up);
        assert!(took < secs(3), "{nodes} nodes took {took:?}");
        network.run(secs(30));
        network.assert_all_up();
        assert_eq!(network.count(|_, event| matches!(event, Event::Suspect { .. })), 0);
    }
}

#[test]
fn a_newcomer_is_sent_the_whole_list() {
    let mut network = Network::converged(200, 3);
    network.start(201, 1);
    network.announce(201, 7);
    // Two ways of a datagram and nothing more.
    network.run(ms(15));
    let known = network.machines[&201].membership.view().count();
    assert_eq!(known, 200);
}

#[test]
fn everybody_hears_of_a_newer_map() {
    for seed in 0..10 {
        let mut network = Network::converged(50, seed);
        network.loss = 100;
        network.pulls = true;
        network.set_map(17, 4);
        let version = MapVersion { generation: 0, index: 4 };
        let all_have = |network: &Network| {
            let have = |node: u32| {
                network
                    .events
                    .iter()
                    .any(|(_, at, event)| matches!(event, Event::Heard { map_version, .. } if *at == node && *map_version == version))
            };
            (1..=50).filter(|node| *node != 17).all(have)
        };
        let took = network.until(secs(5), all_have);
        assert!(took < secs(3), "{took:?}");
    }
}

#[test]
fn who_leaves_has_left_and_is_not_down() {
    let mut network = Network::converged(7, 5);
    network.loss = 100;
    network.on(3, |membership, now| membership.leave(now));
    network.run(secs(2));
    assert_eq!(network.machines[&3].membership.due(), None);
    network.crash(3);
    network.run(secs(10));
    for node in [1, 2, 4, 5, 6, 7] {
        assert_eq!(network.state(node, 3), Some(MemberState::Left));
        assert!(!network.machines[&node].membership.is_reachable(NodeId(3)));
    }
    assert_eq!(network.count(|_, event| matches!(event, Event::Left { .. })), 6);
    assert_eq!(network.count(|_, event| matches!(event, Event::Down { .. })), 0);

    // And may come back.
    network.start(3, 2);
    network.announce(3, 1);
    network.run(secs(2));
    network.assert_all_up();
}

#[test]
fn what_the_map_does_not_have_is_forgotten() {
    let mut network = Network::converged(5, 6);
    for node in 1..=4 {
        network.on(node, |membership, now| membership.retain(|node| node != NodeId(5), now));
        assert_eq!(network.state(node, 5), None);
    }
    network.run(secs(20));
    for node in 1..=4 {
        assert_eq!(network.state(node, 5), None);
    }
    let down = |_, event: &Event| matches!(event, Event::Down { node: NodeId(1..=4) });
    assert_eq!(network.count(|node, event| node != 5 && down(node, event)), 0);

    // The map has it after all.
    for node in 1..=4 {
        network.on(node, |membership, now| membership.retain(|_| true, now));
    }
    network.announce(5, 2);
    network.run(secs(5));
    network.assert_all_up();
}

#[test]
fn another_node_at_the_address_of_one_that_is_gone_takes_nothing_over() {
    // The map changes before the new node is heard of, at about the same time, and after.
    for (seed, heard_first) in [(1, 0), (2, 20), (3, 4_000), (4, 30_000)] {
        let mut network = Network::converged(4, seed);
        network.crash(3);
        if heard_first == 0 {
            network.retain_all(|node| node != NodeId(3));
        }
        let later = Identity::new(NodeId(5), 1, address(3)).unwrap();
        network.start_as(5, later, &secret(), shoal_core::ClusterId(1));
        network.announce(5, 1);
        network.run(ms(heard_first));
        network.retain_all(|node| node != NodeId(3));
        network.run(secs(5));
        for node in [1, 2, 4] {
            assert_eq!(network.state(node, 3), None);
            let seen = network.machines[&node].membership.seen(NodeId(5)).unwrap();
            assert_eq!((seen.state, seen.address, seen.start), (MemberState::Up, address(3), 1));
        }
        assert!(network.sees_all_up(5));
        // And it stays so: what the one before is said to be says nothing of this one.
        network.events.clear();
        network.run(secs(30));
        assert_eq!(network.count(|_, _| true), 0, "{heard_first}: {:?}", network.events);
        // The one before comes back elsewhere, and nobody listens.
        let elsewhere = "10.9.9.9:7001".parse().unwrap();
        let former = Identity::new(NodeId(3), 9, elsewhere).unwrap();
        network.start_as(3, former, &secret(), shoal_core::ClusterId(1));
        network.announce(3, 1);
        network.run(secs(5));
        for node in [1, 2, 4, 5] {
            assert_eq!(network.state(node, 3), None);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut network = Network::new(seed);
        (network.loss, network.duplicates, network.delay_ms) = (100, 100, 200);
        for node in 1..=7 {
            network.start(node, 1);
            network.announce(node, 1);
        }
        network.run(secs(10));
        network.crash(2);
        network.pause(5);
        network.run(secs(10));
        network.resume(5);
        network.run(secs(10));
        (network.digest.finalize(), network.events)
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1).0, trace(2).0);
}
