//! Changes are put in one order, once each, whoever proposes them.

use super::*;
use crate::MetaError;
use shoal_core::map::MapError;

#[tokio::test(start_paused = true)]
async fn a_single_node_goes_on_counting_where_it_was() {
    let cluster = Cluster::of_one(Options::default()).await;
    let store = cluster.store(1);
    let before = store.current();
    assert_eq!(before.version.index, 1);
    let map = cluster.propose(1, &create("books")).await;
    assert_eq!(map.version.index, 2);
    assert!(map.keyspace("books").is_some());
    cluster.store(1).propose_async(&create("books")).await.expect_err("it is there");
    let status = store.status();
    assert_eq!((status.role, status.node, status.map), (Role::Leader, NodeId(1), map.version));
    assert_eq!(status.voters, BTreeSet::from([NodeId(1)]));
    assert_eq!(status.leadership.leader, Some(NodeId(1)));
    assert!(status.last_log > Some(map.version.index), "the log counts more than the map");
}

#[tokio::test(start_paused = true)]
async fn a_single_node_takes_changes_at_once() {
    let mut cluster = Cluster::of_one(Options::default()).await;
    cluster.kill(1).await;
    let began = tokio::time::Instant::now();
    cluster.start(1).await;
    cluster.propose(1, &create("books")).await;
    assert!(began.elapsed() < cluster.options.heartbeat * 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn three_nodes_come_together_within_a_second() {
    let began = tokio::time::Instant::now();
    let cluster = Cluster::of(3).await;
    cluster.agree().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_why_wherever_it_was_asked_and_moves_nothing() {
    let mut cluster = Cluster::of(3).await;
    let follower = cluster.join().await;
    let before = cluster.agree().await;
    for node in 1..=follower {
        let refused = cluster.store(node).propose_async(&create("default")).await;
        let name = "default".to_owned();
        let Err(MetaError::Refused(error)) = refused else { panic!("n{node}: {refused:?}") };
        assert_eq!(error, MapError::KeyspaceExists { name });
    }
    assert_eq!(*cluster.agree().await, *before);
}

#[tokio::test(start_paused = true)]
async fn every_node_proposes_at_once_and_each_change_is_made_once() {
    let mut cluster = Cluster::of(3).await;
    cluster.join().await;
    cluster.join().await;
    let before = cluster.agree().await.version.index;
    // Answers are lost, so that proposals are sent again.
    *cluster.net.lossy.lock() = 20;
    let mut proposals = Vec::new();
    for node in 1..=5 {
        for turn in 0..8 {
            let store = Arc::clone(cluster.store(node));
            proposals.push(tokio::spawn(async move {
                // Refused for ever once it is made: a second time would be told.
                store.propose_async(&create(&format!("from-{node}-{turn}"))).await
            }));
        }
    }
    let mut made = 0;
    for proposal in proposals {
        match proposal.await.expect("no panic") {
            Ok(_) => made += 1,
            Err(MetaError::Unknown { .. } | MetaError::NoMajority { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(made > 20, "only {made} of 40 were made");
    cluster.net.heal();
    let map = cluster.agree().await;
    let present = map.keyspaces.keys().filter(|name| name.starts_with("from-")).count();
    assert!(present >= made);
    assert_eq!(map.version.index - before, present as u64, "each counts once");
}

#[tokio::test(start_paused = true)]
async fn the_leader_hands_on_when_it_is_closed() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let mut leadership = cluster.store(leader % 3 + 1).leadership();
    let term = leadership.borrow_and_update().term;
    let store = cluster.stores.remove(&leader).expect("it runs");
    store.close().await;
    leadership.changed().await.expect("it is open");
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    assert!(leadership.borrow().term > term);
    assert_eq!(leadership.borrow().leader, Some(NodeId(next)));
}

#[tokio::test]
async fn bytes_that_are_no_request_are_answered_and_change_nothing() {
    let cluster = Cluster::of_one(Options::default()).await;
    let store = cluster.store(1);
    let before = store.current();
    for length in 0..400 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(length).collect();
        assert!(!store.serve(NodeId(2), &bytes).await.is_empty());
        // With a version that is known, more of it is read.
        let known = [&[1], bytes.as_slice()].concat();
        assert!(!store.serve(NodeId(2), &known).await.is_empty());
    }
    assert!(store.in_doubt().is_none());
    assert_eq!(store.current(), before);
}

#[test]
fn the_blocking_door_works_from_any_other_thread() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
    let cluster = runtime.block_on(Cluster::of_one(Options::default()));
    let store: &dyn MapStore = cluster.store(1).as_ref();
    let map = store.propose(&create("books")).expect("a good command");
    assert_eq!(store.current(), map);
    assert!(matches!(store.propose(&create("books")), Err(MetaError::Refused(_))));
    runtime.block_on(cluster.store(1).close());
}
