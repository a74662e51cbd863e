//! Crashes, restarts and pauses: how soon they are seen, and that nothing else is.

use super::*;
use std::time::Duration;

fn is_down(event: &Event) -> bool {
    matches!(event, Event::Down { .. })
}

/// How long it takes until all others see `node` down after a crash.
fn detection(nodes: u32, loss: u32, seed: u64) -> Duration {
    let mut network = Network::converged(nodes, seed);
    network.loss = loss;
    network.crash(2);
    let others: Vec<u32> = network.machines.keys().copied().collect();
    let took = network.until(secs(20), |network| {
        others.iter().all(|at| network.state(*at, 2) == Some(MemberState::Down))
    });
    network.run(secs(10));
    let others_down =
        |_, event: &Event| is_down(event) && *event != Event::Down { node: NodeId(2) };
    assert_eq!(network.count(others_down), 0, "{nodes} nodes, loss {loss}, seed {seed}");
    took
}

fn spread(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() - 1])
}

#[test]
fn a_crash_of_one_of_three_is_seen_within_five_seconds() {
    let (median, longest) = spread((0..100).map(|seed| detection(3, 0, seed)).collect());
    println!("three nodes: median {median:?}, longest {longest:?}");
    assert!(median <= secs(4), "{median:?}");
    assert!(longest <= secs(5), "{longest:?}");
    let (median, longest) = spread((0..100).map(|seed| detection(3, 100, seed)).collect());
    println!("three nodes, 10 % lost: median {median:?}, longest {longest:?}");
    assert!(longest <= secs(6), "{longest:?}");
}

#[test]
fn a_crash_of_one_of_many_is_seen_within_ten_seconds() {
    let (median, longest) = spread((0..20).map(|seed| detection(7, 0, seed)).collect());
    println!("seven nodes: median {median:?}, longest {longest:?}");
    assert!(longest <= secs(6), "{longest:?}");
    for loss in [0, 100] {
        let (median, longest) = spread((0..5).map(|seed| detection(50, loss, seed)).collect());
        println!("fifty nodes, {loss} ‰ lost: median {median:?}, longest {longest:?}");
        assert!(longest <= secs(10), "{longest:?}");
    }
}

#[test]
fn loss_alone_brings_nobody_down() {
    for (nodes, seeds, time) in [(3, 20, secs(300)), (7, 5, secs(300)), (50, 2, secs(60))] {
        for seed in 0..seeds {
            let mut network = Network::converged(nodes, seed);
            (network.loss, network.duplicates, network.delay_ms) = (100, 50, 50);
            network.run(time);
            let suspected = network.count(|_, event| matches!(event, Event::Suspect { .. }));
            println!("{nodes} nodes, seed {seed}: suspected {suspected} times in {time:?}");
            assert_eq!(network.count(|_, event| is_down(event)), 0, "{nodes} nodes, seed {seed}");
        }
    }
}

#[test]
fn a_restarted_node_is_up_again() {
    // Before anybody noticed, while it is suspected, and long after.
    for (seed, away) in [0, 50, 1_500, 3_000, 4_000, 6_000, 20_000].into_iter().enumerate() {
        let mut network = Network::converged(3, seed as u64);
        network.crash(2);
        network.run(ms(away));
        network.start(2, 2);
        network.announce(2, 1);
        network.run(secs(1));
        network.assert_all_up();
        let up = Event::Up { node: NodeId(2), start: 2, address: address(2) };
        assert_eq!(network.count(|_, event| *event == up), 2, "away for {away} ms");
        network.events.clear();
        network.run(secs(30));
        network.assert_all_up();
        assert_eq!(network.count(|_, _| true), 0, "away for {away} ms: {:?}", network.events);
    }
}

#[test]
fn a_node_that_forgot_its_start_number_goes_on_above_it() {
    let mut network = Network::converged(3, 1);
    network.crash(2);
    network.run(secs(8));
    network.start(2, 1);
    network.announce(2, 1);
    network.run(secs(5));
    network.assert_all_up();
}

#[test]
fn of_two_processes_of_one_node_the_later_one_stays() {
    let mut network = Network::converged(3, 2);
    // A copy of its directory, started elsewhere.
    let elsewhere = "10.9.9.9:7001".parse().unwrap();
    let later = super::super::Identity::new(NodeId(2), 2, elsewhere).unwrap();
    network.start_as(99, later, &secret(), shoal_core::ClusterId(1));
    network.announce(99, 1);
    network.run(secs(5));
    let superseded = network.count(|at, event| at == 2 && *event == Event::Superseded { start: 2 });
    assert_eq!(superseded, 1);
    assert_eq!(network.machines[&2].membership.due(), None);
    network.run(secs(10));
    for node in [1, 3] {
        let seen = network.machines[&node].membership.seen(NodeId(2)).unwrap();
        assert_eq!((seen.state, seen.start), (MemberState::Up, 2));
        assert_eq!(seen.address, elsewhere);
    }
}

#[test]
fn a_double_is_noticed_with_nobody_else_there() {
    let mut network = Network::new(1);
    network.start(2, 1);
    let elsewhere = "10.9.9.9:7001".parse().unwrap();
    let later = super::super::Identity::new(NodeId(2), 2, elsewhere).unwrap();
    network.start_as(99, later, &secret(), shoal_core::ClusterId(1));
    network.announce(99, 2);
    network.run(secs(1));
    assert_eq!(network.count(|at, event| (at, *event) == (2, Event::Superseded { start: 2 })), 1);
    assert_eq!(network.events.len(), 1);
    // Silent for good: not even a newcomer is answered.
    let sent = network.machines[&2].membership.stats().sent;
    network.start(3, 1);
    network.announce(3, 2);
    network.run(secs(5));
    assert_eq!(network.machines[&2].membership.stats().sent, sent);
}

#[test]
fn a_paused_node_blames_nobody() {
    for nodes in [3, 7] {
        for seed in 0..20 {
            let mut network = Network::converged(nodes, seed);
            network.pause(2);
            network.run(secs(10));
            assert_eq!(network.state(1, 2), Some(MemberState::Down));
            network.resume(2);
            network.run(secs(3));
            network.assert_all_up();
            network.run(secs(30));
            network.assert_all_up();
            let blamed =
                |_, event: &Event| is_down(event) && *event != Event::Down { node: NodeId(2) };
            assert_eq!(network.count(blamed), 0, "{nodes} nodes, seed {seed}");
            assert!(network.machines[&2].membership.stats().postponed > 0);
        }
    }
}

#[test]
fn a_slow_node_blames_nobody() {
    for seed in 0..10 {
        let mut network = Network::converged(3, seed);
        // It runs for 100 ms out of every 900.
        for _ in 0..100 {
            network.pause(2);
            network.run(ms(800));
            network.resume(2);
            network.run(ms(100));
        }
        let blamed = network.count(|at, event| at == 2 && is_down(event));
        assert_eq!(blamed, 0, "seed {seed}");
        // It still finds out who is gone, though later.
        network.crash(1);
        network.crash(3);
        for _ in 0..25 {
            network.pause(2);
            network.run(ms(800));
            network.resume(2);
            network.run(ms(100));
        }
        for gone in [1, 3] {
            assert_eq!(network.state(2, gone), Some(MemberState::Down), "seed {seed}");
        }
    }
}

#[test]
fn a_cluster_that_was_stopped_as_a_whole_finds_itself_again() {
    let mut network = Network::converged(5, 3);
    for node in 1..=5 {
        network.crash(node);
    }
    network.run(secs(60));
    network.loss = 100;
    for node in 1..=5 {
        network.start(node, 2);
        for to in 1..=5 {
            network.announce(node, to);
        }
        network.run(ms(300));
    }
    network.run(secs(2));
    network.assert_all_up();
}
