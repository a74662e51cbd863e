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

/// The voters run on a runtime of their own, with one thread; whoever may block proposes.
#[test]
fn the_blocking_door_works_from_threads_of_other_runtimes() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let voters = std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let cluster = Cluster::of_one(Options::default()).await;
            sender.send(Arc::clone(cluster.store(1))).expect("somebody waits");
            stopped.await.expect("it is told");
            cluster.store(1).close().await;
        });
    });
    let store = receiver.recv().expect("it is opened");
    let propose = |name: &'static str| {
        let store = Arc::clone(&store);
        move || store.propose(&create(name)).map(|map| map.keyspace(name).is_some())
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let other = builder.worker_threads(1).enable_all().build().expect("a runtime");
    let (one, more) = other.block_on(async {
        let one = tokio::task::spawn_blocking(propose("from-a-blocking-thread"));
        let more = tokio::task::spawn_blocking(propose("from-another"));
        (one.await.expect("no panic"), more.await.expect("no panic"))
    });
    assert!(one.expect("a good command") && more.expect("a good command"));
    let plain = std::thread::spawn(propose("from-a-plain-thread")).join().expect("no panic");
    assert!(plain.expect("a good command"));
    // And in a task, where the runtime is another one.
    let map = other.block_on(async { store.propose_async(&create("from-a-task")).await });
    let map = map.expect("a good command");
    assert_eq!(map.keyspaces.keys().filter(|name| name.starts_with("from-")).count(), 4);
    stop.send(()).expect("it waits");
    voters.join().expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_proposal_whose_answer_is_a_failure_is_unknown_and_never_not_done() {
    let mut cluster = Cluster::of(3).await;
    let follower = cluster.join().await;
    *cluster.net.fails.lock() = true;
    let outcome = cluster.store(follower).propose_async(&create("books")).await;
    assert!(matches!(outcome, Err(MetaError::Unknown { .. })), "{outcome:?}");
    *cluster.net.fails.lock() = false;
    let map = cluster.agree().await;
    assert!(map.keyspace("books").is_some(), "it happened");
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_was_refused_stays_refused_at_the_next_leader() {
    use crate::raft::propose::Attempt;
    use crate::raft::types::{Outcome, Proposal};
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let map = cluster.propose(leader, &create("books")).await;
    let proposal = Proposal {
        id: Proposal::name(NodeId(9), 7, 1),
        base: map.version.index,
        command: shoal_core::codec::command::encode(&create("books")),
    };
    let retry = async |cluster: &Cluster, leader| {
        let deadline = tokio::time::Instant::now() + LONG;
        cluster.store(leader).put_in_order(&proposal, deadline).await
    };
    let refused = Attempt::Done(Outcome::Refused(map.version.into()));
    assert_eq!(retry(&cluster, leader).await, refused);
    // By now the map would take it; but its proposer may have been told, and have gone on.
    cluster.propose(leader, &Command::DropKeyspace { name: "books".to_owned() }).await;
    cluster.kill(leader).await;
    let next = cluster.leader().await;
    assert_eq!(retry(&cluster, next).await, refused);
    // Nor is it forgotten by a snapshot or a restart.
    cluster.start(leader).await;
    for node in 1..=3 {
        cluster.kill(node).await;
        cluster.start(node).await;
    }
    let next = cluster.leader().await;
    assert_eq!(retry(&cluster, next).await, refused);
    assert!(cluster.agree().await.keyspace("books").is_none());
}
