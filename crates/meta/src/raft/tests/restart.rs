//! Nodes that are started again from their directories.

use super::*;

#[tokio::test(start_paused = true)]
async fn all_end_and_all_start_and_nothing_is_lost() {
    let mut cluster = Cluster::of(3).await;
    let follower = cluster.join().await;
    let mut maps = BTreeMap::new();
    for turn in 0..5 {
        cluster.propose(turn % 3 + 1, &create(&format!("books-{turn}"))).await;
    }
    let newest = cluster.agree().await;
    for node in 1..=follower {
        maps.insert(node, cluster.store(node).current());
        cluster.kill(node).await;
    }
    for node in 1..=follower {
        cluster.start(node).await;
        let shown = cluster.store(node).current();
        assert_eq!(shown, maps[&node], "n{node} shows at once what it showed before");
    }
    assert_eq!(cluster.agree().await, newest);
    // The follower still knows whom to ask.
    let voters: BTreeSet<NodeId> = (1..=3).map(NodeId).collect();
    assert_eq!(cluster.store(follower).status().voters, voters);
    let map = cluster.propose(follower, &create("after")).await;
    assert_eq!(map.version.index, newest.version.index + 1);
}

#[tokio::test(start_paused = true)]
async fn snapshots_take_the_logs_place_and_a_new_voter_begins_with_one() {
    let options = Options { snapshot_every: 5, ..Options::default() };
    let mut cluster = Cluster::of_one(options).await;
    for turn in 0..40 {
        cluster.propose(1, &create(&format!("books-{turn}"))).await;
    }
    cluster.kill(1).await;
    cluster.start(1).await;
    cluster.leader().await;
    let second = cluster.join().await;
    let third = cluster.join().await;
    cluster.set_voters([1, second, third]).await;
    let map = cluster.agree().await;
    assert!(map.keyspace("books-39").is_some());
    for node in [second, third] {
        cluster.takes_up(node, Role::Voter).await;
    }
    cluster.kill(1).await;
    let map = cluster.propose(second, &create("after")).await;
    assert!(map.keyspace("books-0").is_some());
    cluster.start(1).await;
    cluster.agree().await;
}

#[tokio::test(start_paused = true)]
async fn a_voter_with_an_older_copy_of_its_directory_is_brought_what_it_lacks() {
    let mut cluster = Cluster::of(3).await;
    cluster.propose(1, &create("before")).await;
    cluster.agree().await;
    let leader = cluster.leader().await;
    let behind = (1..=3).find(|node| *node != leader).expect("there are others");
    cluster.kill(behind).await;
    let older = tempfile::tempdir().expect("a temporary directory");
    for file in std::fs::read_dir(cluster.path(behind)).expect("it is there") {
        let file = file.expect("it is listed");
        std::fs::copy(file.path(), older.path().join(file.file_name())).expect("a copy");
    }
    cluster.start(behind).await;
    for turn in 0..5 {
        cluster.propose(leader, &create(&format!("books-{turn}"))).await;
    }
    cluster.agree().await;
    cluster.kill(behind).await;
    cluster.directories.insert(behind, older);
    cluster.start(behind).await;
    let map = cluster.propose(leader, &create("after")).await;
    assert_eq!(cluster.agree().await, map);
    assert_eq!(cluster.leader().await, leader, "it did not fail");
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_opened_once_and_refused_when_damaged() {
    let mut cluster = Cluster::of_one(Options::default()).await;
    let wire = || Arc::new(Port { net: Arc::new(Net::default()), from: NodeId(1) });
    let again = RaftStore::open(cluster.path(1), cluster.options, wire()).await;
    let error = again.expect_err("it is open").to_string();
    assert!(error.contains("map.raft"), "{error}");
    cluster.kill(1).await;
    let path = cluster.path(1).join("map.raft");
    std::fs::write(&path, b"no database").expect("a file can be written");
    let damaged = RaftStore::open(cluster.path(1), cluster.options, wire()).await;
    let error = damaged.expect_err("it is damaged").to_string();
    assert!(error.contains("map.raft"), "{error}");
}

/// A single node becomes one of several while it runs: its store is still there, and read.
#[tokio::test(start_paused = true)]
async fn a_single_nodes_directory_is_taken_over_while_its_store_is_open() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let local = LocalStore::open(path, founding).expect("a new store");
    let before = local.propose(&create("books")).expect("a good command");
    local.retire().expect("nothing is in doubt");
    assert!(!RaftStore::is_in(path).expect("it can be looked at"));
    let wire = || Arc::new(Port { net: Arc::new(Net::default()), from: NodeId(1) });
    let store = RaftStore::open(path, Options::default(), wire()).await.expect("it is free");
    assert!(RaftStore::is_in(path).expect("it can be looked at"));
    assert_eq!(store.current(), before);
    let map = store.propose_async(&create("more")).await.expect("a good command");
    assert_eq!(map.version.index, before.version.index + 1);

    local.propose(&create("lost")).expect_err("it is retired");
    local.resume().expect_err("it was taken over");
    assert_eq!(local.current(), before, "it is still read");
    assert!(!path.join("map").exists(), "nobody goes on from the single node's file");
    drop(local);
    store.close().await;
    drop(store);
    let store = RaftStore::open(path, Options::default(), wire()).await.expect("it is free");
    assert_eq!(store.current(), map);
    let map = store.propose_async(&create("again")).await.expect("a good command");
    assert!(map.keyspace("more").is_some() && map.keyspace("lost").is_none());
}
