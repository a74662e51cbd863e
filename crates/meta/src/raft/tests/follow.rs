//! Nodes without a voice, and nodes that get one or lose it.

use super::*;
use crate::MetaError;

#[tokio::test(start_paused = true)]
async fn a_follower_a_little_behind_takes_commands_and_one_far_behind_the_map() {
    let mut cluster = Cluster::of(3).await;
    let node = cluster.join().await;
    let leader = cluster.leader().await;
    for turn in 0..20 {
        cluster.propose(leader, &create(&format!("books-{turn}"))).await;
    }
    let store = Arc::clone(cluster.store(node));
    let news = cluster.store(leader).known.news(store.current().version, false);
    assert!(
        matches!(news.told, crate::raft::wire::Told::Commands { commands, .. } if commands.len() == 20)
    );
    store.pull(NodeId(leader)).await.expect("the leader answers");
    assert_eq!(store.current(), cluster.store(leader).current());

    // Another follower tells it just as well.
    let other = cluster.join().await;
    cluster.propose(leader, &create("newest")).await;
    cluster.store(other).pull(NodeId(leader)).await.expect("the leader answers");
    store.pull(NodeId(other)).await.expect("a follower answers");
    assert_eq!(store.current(), cluster.store(leader).current());

    // Who was started since does not know old commands.
    drop(store);
    cluster.kill(node).await;
    for turn in 20..30 {
        cluster.propose(leader, &create(&format!("books-{turn}"))).await;
    }
    cluster.kill(other).await;
    cluster.start(other).await;
    cluster.store(other).pull(NodeId(leader)).await.expect("the leader answers");
    cluster.start(node).await;
    cluster.kill(leader).await;
    cluster.start(leader).await;
    cluster.leader().await;
    cluster.store(node).pull(NodeId(leader)).await.expect("it answers");
    assert!(cluster.store(node).current().keyspace("books-29").is_some());
    cluster.agree().await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_from_nobody_and_from_another_cluster_changes_nothing() {
    let mut cluster = Cluster::of(1).await;
    let node = cluster.join().await;
    let store = Arc::clone(cluster.store(node));
    let before = store.current();
    let error = store.pull(NodeId(9)).await.expect_err("nobody is there");
    assert!(matches!(error, MetaError::Peer { node: NodeId(9), .. }), "{error}");

    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut other = founding().expect("a founding");
    if let Command::Found { cluster, .. } = &mut other {
        *cluster = ClusterId(8);
    }
    let foreign = LocalStore::open(directory.path(), || Some(other)).expect("a new store");
    for number in 1..8 {
        foreign.propose(&Command::CreateDatabase { number }).expect("a good command");
    }
    let wire = Arc::new(Port { net: Arc::clone(&cluster.net), from: NodeId(9) });
    drop(foreign);
    let foreign = RaftStore::open(directory.path(), cluster.options, wire).await;
    let foreign = foreign.expect("it is whole");
    cluster.net.nodes.lock().insert(NodeId(9), Arc::downgrade(&foreign));
    let error = store.pull(NodeId(9)).await.expect_err("it is another's").to_string();
    assert!(error.contains("another cluster"), "{error}");
    assert_eq!(store.current(), before);
}

#[tokio::test(start_paused = true)]
async fn a_dead_voter_is_replaced_and_follows_when_it_comes_back() {
    let mut cluster = Cluster::of(3).await;
    let fourth = cluster.join().await;
    let leader = cluster.leader().await;
    let dead = leader % 3 + 1;
    let alive = 6 - leader - dead;
    cluster.kill(dead).await;
    cluster.set_voters([leader, alive, fourth]).await;
    cluster.takes_up(fourth, Role::Voter).await;
    // With the new one a majority, without the old one.
    cluster.kill(alive).await;
    cluster.propose(fourth, &create("books")).await;
    cluster.start(alive).await;

    cluster.start(dead).await;
    let store = Arc::clone(cluster.store(dead));
    assert_ne!(store.status().role, Role::Follower, "it does not know yet");
    store.pull(NodeId(fourth)).await.expect("it answers");
    assert!(store.current().keyspace("books").is_some());
    cluster.takes_up(dead, Role::Follower).await;
    cluster.propose(dead, &create("from-the-dead")).await;
    cluster.agree().await;

    // It kept its log, so it may have a voice again.
    drop(store);
    cluster.kill(dead).await;
    cluster.start(dead).await;
    assert_eq!(cluster.store(dead).status().role, Role::Follower);
    let voters = [leader, alive, dead];
    cluster.set_voters(voters).await;
    cluster.takes_up(dead, Role::Voter).await;
    let map = cluster.agree().await;
    assert!(map.keyspace("from-the-dead").is_some());
}

#[tokio::test(start_paused = true)]
async fn the_leader_may_be_replaced_too() {
    let mut cluster = Cluster::of(3).await;
    let fourth = cluster.join().await;
    let leader = cluster.leader().await;
    let others: Vec<u32> = (1..=3).filter(|node| *node != leader).collect();
    cluster.set_voters([others[0], others[1], fourth]).await;
    cluster.takes_up(leader, Role::Follower).await;
    assert_ne!(cluster.leader().await, leader);
    cluster.propose(leader, &create("books")).await;
    cluster.agree().await;
}

#[tokio::test(start_paused = true)]
async fn voters_that_cannot_be_are_refused_and_nothing_is_left_behind() {
    let mut cluster = Cluster::of(3).await;
    let fourth = cluster.join().await;
    let leader = cluster.leader().await;
    let store = Arc::clone(cluster.store(leader));
    let set = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
    for (wanted, why) in [
        (set(&[]), "1 to 5"),
        (set(&[1, 2, 3, 4, 5, 6]), "1 to 5"),
        (set(&[1, 2, 9]), "n9 is no member"),
    ] {
        let error = store.set_voters(wanted).await.expect_err("it cannot be").to_string();
        assert!(error.contains(why), "{error}");
    }
    let follower = leader % 3 + 1;
    let error = cluster.store(follower).set_voters(set(&[1, 2, 4])).await.expect_err("no leader");
    let expected = Some(NodeId(leader));
    assert!(matches!(error, MetaError::NotLeader { leader } if leader == expected), "{error}");

    // It answers the invitation and is cut off afterwards: it does not catch up.
    cluster.net.cut(leader, fourth);
    let error = store.set_voters(set(&[1, 2, 3, fourth])).await.expect_err("it does not answer");
    assert!(matches!(error, MetaError::Voters { .. }), "{error}");
    cluster.net.heal();
    assert_eq!(store.status().voters, set(&[1, 2, 3]));
    cluster.set_voters([1, 2, 3, fourth, 3]).await;
    assert_eq!(store.status().voters, set(&[1, 2, 3, fourth]));
    // The same again is no change, fewer is one.
    cluster.set_voters([1, 2, 3, fourth]).await;
    cluster.set_voters([leader]).await;
    assert_eq!(store.status().voters, set(&[leader]));
    let map = cluster.propose(leader, &create("alone")).await;
    assert_eq!(store.current(), map);
}

#[tokio::test(start_paused = true)]
async fn a_pull_tells_of_new_voters_where_the_map_is_the_same() {
    let set = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
    let mut cluster = Cluster::of_one(Options::default()).await;
    for _ in 0..3 {
        cluster.join().await;
    }
    let follower = cluster.store(4);
    let mut voters = follower.voters();
    assert_eq!(*voters.borrow_and_update(), set(&[]), "it was told the map alone");
    follower.pull(NodeId(1)).await.expect("it answers");
    assert!(voters.has_changed().expect("it is open"));
    assert_eq!(*voters.borrow_and_update(), set(&[1]));
    let before = follower.status();
    let mut of_the_leader = cluster.store(1).voters();

    cluster.set_voters([1, 2, 3]).await;
    assert_eq!(*of_the_leader.borrow_and_update(), set(&[1, 2, 3]));
    assert!(!voters.has_changed().expect("it is open"), "nobody told it");
    let follower = cluster.store(4);
    // Not only the leader tells.
    let told = async {
        while !voters.has_changed().expect("it is open") {
            follower.pull(NodeId(2)).await.expect("it answers");
            tokio::time::sleep(cluster.options.heartbeat).await;
        }
    };
    tokio::time::timeout(LONG, told).await.expect("it hears of it in time");
    assert_eq!(*voters.borrow_and_update(), set(&[1, 2, 3]));
    follower.pull(NodeId(1)).await.expect("it answers");
    let after = follower.status();
    assert_eq!(after.map, before.map, "the map is the same");
    assert!(after.voters_since > before.voters_since);
    assert!(!voters.has_changed().expect("it is open"), "the same again is no news");
    drop(voters);
    cluster.kill(4).await;
    cluster.start(4).await;
    assert_eq!(*cluster.store(4).voters().borrow(), set(&[1, 2, 3]));
    assert_eq!(cluster.store(4).status().voters_since, after.voters_since);
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_tells_is_believed_only_as_far_as_it_fits() {
    use super::super::wire::{News, Told};
    use shoal_core::ids::MapVersion;
    let mut cluster = Cluster::of(1).await;
    let node = cluster.join().await;
    for name in ["books", "films"] {
        cluster.propose(1, &create(name)).await;
    }
    let (leader, store) = (cluster.store(1), cluster.store(node));
    let (before, newest) = (store.current(), leader.current());
    let say = |version: MapVersion, told: Told| {
        let news = leader.known.news(before.version, false);
        store.adopt(NodeId(1), News { version: version.into(), told, ..news })
    };
    let commands = || leader.known.news(before.version, false).told;
    let whole = || Told::Map(shoal_core::codec::map::encode(&newest));
    let at = |index| MapVersion { index, ..before.version };
    for (version, told, why) in [
        (at(u64::MAX), Told::Nothing, "no cluster has ever had"),
        (MapVersion { generation: u32::MAX, index: 1 }, Told::Nothing, "no cluster has ever had"),
        (at(newest.version.index - 1), commands(), "beyond"),
        (at(newest.version.index + 7), whole(), "another map than it says"),
    ] {
        let error = say(version, told).expect_err("it cannot be").to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(store.current(), before);
    }
    say(newest.version, commands()).expect("it fits");
    assert_eq!(store.current(), newest);
}
