//! Nodes that end and networks that are cut.

use super::*;
use crate::MetaError;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn the_others_go_on_when_the_leader_is_killed_and_it_catches_up() {
    for count in [3, 5] {
        let mut cluster = Cluster::of(count).await;
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        let next = cluster.leader().await;
        for turn in 0..5 {
            cluster.propose(next, &create(&format!("without-{turn}"))).await;
        }
        cluster.start(leader).await;
        let map = cluster.agree().await;
        assert!(map.keyspace("without-4").is_some());
    }
}

/// Proposes at a node that has no majority: it says so, by name, within its deadline.
async fn is_refused(cluster: &Cluster, node: u32, name: &str) {
    let began = Instant::now();
    let refused = cluster.store(node).propose_async(&create(name)).await;
    let refused = refused.expect_err("there is no majority");
    assert!(began.elapsed() <= cluster.options.proposal_deadline + Duration::from_millis(1));
    assert!(matches!(refused, MetaError::NoMajority { .. }), "n{node}: {refused}");
    let text = refused.to_string();
    let voters: Vec<String> =
        cluster.store(node).status().voters.iter().map(NodeId::to_string).collect();
    let expected = format!("no majority of the voters {} is reachable", voters.join(","));
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_refuses_by_name_and_the_others_go_on() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let others: Vec<u32> = (1..=3).filter(|node| *node != leader).collect();
    cluster.net.split(&[leader], &others);
    is_refused(&cluster, leader, "lost").await;
    let map = cluster.propose(others[0], &create("kept")).await;
    is_refused(&cluster, leader, "lost").await;
    assert!(cluster.store(leader).current().version < map.version);
    cluster.net.heal();
    let map = cluster.agree().await;
    assert!(map.keyspace("kept").is_some() && map.keyspace("lost").is_none());
}

#[tokio::test(start_paused = true)]
async fn of_five_cut_in_two_only_the_three_go_on() {
    let mut cluster = Cluster::of(5).await;
    let follower = cluster.join().await;
    let leader = cluster.leader().await;
    let minority = [leader, leader % 5 + 1];
    let majority: Vec<u32> = (1..=5).filter(|node| !minority.contains(node)).collect();
    cluster.net.split(&minority, &majority);
    // The one without a voice is with the two.
    cluster.net.split(&[follower], &majority);
    for node in [minority[0], minority[1], follower] {
        is_refused(&cluster, node, "lost").await;
    }
    for (turn, node) in majority.iter().enumerate() {
        cluster.propose(*node, &create(&format!("kept-{turn}"))).await;
    }
    cluster.net.heal();
    let map = cluster.agree().await;
    assert!(map.keyspace("kept-2").is_some() && map.keyspace("lost").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_not_heard_and_one_that_hears_nothing_are_replaced() {
    for hears in [true, false] {
        let cluster = Cluster::of(3).await;
        let leader = cluster.leader().await;
        let others: Vec<u32> = (1..=3).filter(|node| *node != leader).collect();
        for other in &others {
            if hears {
                cluster.net.cut(leader, *other);
            } else {
                cluster.net.cut(*other, leader);
            }
        }
        let made = async {
            loop {
                if cluster.store(others[0]).propose_async(&create("kept")).await.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), made).await.expect("another leads in time");
        is_refused(&cluster, leader, "lost").await;
        cluster.net.heal();
        let map = cluster.agree().await;
        assert!(map.keyspace("lost").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_does_not_make_the_others_vote() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let away = leader % 3 + 1;
    let others: Vec<u32> = (1..=3).filter(|node| *node != away).collect();
    let term = cluster.store(leader).status().leadership.term;
    cluster.net.split(&[away], &others);
    tokio::time::sleep(LONG).await;
    cluster.net.heal();
    tokio::time::sleep(LONG).await;
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.store(leader).status().leadership.term, term);
    cluster.agree().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_and_not_confirmed_is_unknown() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let others: Vec<u32> = (1..=3).filter(|node| *node != leader).collect();
    let store = Arc::clone(cluster.store(leader));
    let proposal = super::super::types::Proposal {
        id: 1,
        base: store.current().version.index,
        command: shoal_core::codec::command::encode(&create("perhaps")),
    };
    cluster.net.split(&[leader], &others);
    // As if a majority had confirmed the leader a moment ago.
    let deadline = Instant::now() + cluster.options.proposal_deadline;
    let attempt = store.put_in_order(&proposal, deadline).await;
    assert_eq!(attempt, super::super::propose::Attempt::Open);
    cluster.net.heal();
    cluster.agree().await;
}
