//! How large things may be, and maps that are larger than a message.

use super::*;
use crate::MetaError;
use crate::raft::parts::{MAX_WHOLE, Part};
use crate::raft::types::{SnapshotMeta, Vote};
use crate::raft::wire::{Answer, Request, Told, decode, encode};
use crate::raft::{MAX_COMMAND, MAX_MESSAGE};
use shoal_core::codec;
use shoal_core::ids::{Epoch, Incarnation, PartitionId};
use shoal_core::map::{Intent, MAX_KEYSPACES, MAX_NAME, MAX_NODES, Place};

/// What a message has besides a part of a map.
const FRAME: usize = 1 << 10;

fn flush(names: usize) -> Command {
    let name = |number| format!("{number:0width$}", width = MAX_NAME);
    Command::FlushKeyspaces { names: (0..names).map(name).collect() }
}

#[test]
fn the_longest_commands_are_within_the_bound() {
    let (keyspace, epoch) = (Incarnation(1), Epoch::default());
    let intend = |partitions: u16, nodes: usize| {
        let next: Vec<NodeId> = (1..).map(NodeId).take(nodes).collect();
        let intent = |partition| {
            let partition = PartitionId(partition);
            Intent { keyspace, partition, epoch, next: next.clone(), renewed: next.clone() }
        };
        Command::Intend { intents: (0..partitions).map(intent).collect() }
    };
    let place = |partition| Place { keyspace, partition: PartitionId(partition), epoch };
    let partitions = (0..256).map(place).collect();
    for command in [
        flush(MAX_KEYSPACES),
        intend(256, 7),
        // As many nodes as the planner names in one command, and one intent more.
        intend(34, MAX_NODES),
        Command::Forgotten { node: NodeId(1), partitions },
    ] {
        let length = codec::command::encode(&command).len();
        assert!(length <= MAX_COMMAND / 2, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_too_large_is_refused_by_name_before_it_is_sent() {
    let mut cluster = Cluster::of(3).await;
    let follower = cluster.join().await;
    let before = cluster.agree().await;
    let sent = |cluster: &Cluster| -> usize {
        let carried = cluster.net.carried.lock();
        carried.iter().filter(|((from, _), _)| from.0 == follower).map(|(_, count)| count).sum()
    };
    let carried = sent(&cluster);
    let large = flush(20_000);
    for node in 1..=follower {
        let error = cluster.store(node).propose_async(&large).await.expect_err("it is too large");
        assert!(matches!(error, MetaError::File { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("is too large, it may have 1048576"), "{text}");
    }
    assert_eq!(sent(&cluster), carried);
    assert_eq!(*cluster.agree().await, *before);
}

/// A cluster of one with many keyspaces, whose map is many parts long.
async fn with_a_large_map() -> Cluster {
    let options = Options { part_bytes: 128, snapshot_every: 4, ..Options::default() };
    let cluster = Cluster::of_one(options).await;
    for turn in 0..40 {
        cluster.propose(1, &create(&format!("books-{turn}"))).await;
    }
    let length = codec::map::encode(&cluster.store(1).current()).len();
    assert!(length > 20 * options.part_bytes, "{length} bytes are few parts");
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_large_map_comes_in_parts_by_pulls_and_as_a_snapshot() {
    let mut cluster = with_a_large_map().await;
    let second = cluster.join().await;
    let third = cluster.join().await;
    for turn in 0..40 {
        cluster.propose(1, &create(&format!("more-{turn}"))).await;
    }
    // Who was started since does not know old commands.
    cluster.kill(1).await;
    cluster.start(1).await;
    cluster.leader().await;
    let store = Arc::clone(cluster.store(second));
    let newest = cluster.store(1).current();
    let news = cluster.store(1).known.news(store.current().version, false);
    assert!(matches!(news.told, Told::Parts), "{:?}", news.told);
    let way = (NodeId(second), NodeId(1));
    let before = cluster.net.carried.lock().get(&way).copied().unwrap_or(0);
    let pulled = store.pull(NodeId(1)).await.expect("it answers");
    assert_eq!(pulled, newest);
    let questions = cluster.net.carried.lock()[&way] - before;
    let length = codec::map::encode(&newest).len();
    assert!(questions > length / 128, "{questions} questions for {length} bytes");

    let before = cluster.net.carried.lock().get(&(NodeId(1), NodeId(third))).copied();
    cluster.set_voters([1, second, third]).await;
    for node in [second, third] {
        cluster.takes_up(node, Role::Voter).await;
    }
    let parts = cluster.net.carried.lock()[&(NodeId(1), NodeId(third))] - before.unwrap_or(0);
    // The snapshot may be a few changes older.
    assert!(parts > length / 256, "{parts} messages for {length} bytes");
    cluster.agree().await;
    let largest = *cluster.net.largest.lock();
    assert!(largest < length / 2, "{largest} bytes of {length}");
    // It is whole: the others go on without the one that sent it.
    cluster.kill(1).await;
    let map = cluster.propose(second, &create("after")).await;
    assert!(map.keyspace("books-0").is_some() && map.keyspace("more-39").is_some());
}

#[tokio::test(start_paused = true)]
async fn parts_get_through_where_answers_are_lost() {
    let mut cluster = with_a_large_map().await;
    let second = cluster.join().await;
    let third = cluster.join().await;
    *cluster.net.lossy.lock() = 1;
    let wanted: BTreeSet<NodeId> = [1, second, third].map(NodeId).into();
    let made = async {
        while cluster.store(1).set_voters(wanted.clone()).await.is_err() {
            tokio::time::sleep(cluster.options.heartbeat).await;
        }
    };
    tokio::time::timeout(LONG, made).await.expect("it gets through in time");
    cluster.net.heal();
    cluster.agree().await;
}

#[tokio::test(start_paused = true)]
async fn who_fetches_a_map_part_by_part_is_not_disturbed_by_changes_and_others() {
    let cluster = with_a_large_map().await;
    let store = cluster.store(1);
    let known = &store.known;
    let old = shoal_core::ids::MapVersion::default();
    let begun = store.current().version;
    let (version, first) = known.map_part(old, None, 0).expect("there is a map");
    assert_eq!(version, begun);
    cluster.propose(1, &create("meanwhile")).await;
    // Somebody else begins: the one that is fetched already will do, as commands lead on from it.
    assert_eq!(known.map_part(old, None, 0), Some((version, first.clone())));
    let mut bytes = first.bytes;
    while bytes.len() as u64 != first.total {
        let part = known.map_part(old, Some(version), bytes.len() as u64);
        bytes.extend(part.expect("it is kept").1.bytes);
    }
    assert_eq!(codec::map::decode(&bytes).expect("it is whole").version, begun);
    assert_eq!(known.map_part(old, Some(version), first.total), None, "nothing begins there");
    // Who has that one is told a newer one, which takes its place.
    let (newer, _) = known.map_part(begun, None, 0).expect("there is a map");
    assert_eq!(newer, store.current().version);
    assert_eq!(known.map_part(old, Some(version), 0), None);
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_snapshot_that_do_not_fit_are_left_out() {
    let cluster = Cluster::of_one(Options::default()).await;
    let store = cluster.store(1);
    let ask = async |term, part| {
        let vote = Vote::new_committed(term, 2);
        let request = Request::Snapshot { vote, meta: SnapshotMeta::default(), part };
        let request = encode(&request).unwrap_or_else(|error| panic!("{error}"));
        let answer = store.serve(NodeId(2), &request).await;
        match decode(&answer).expect("it can be read") {
            Answer::SnapshotPart { have } => Some(have),
            Answer::Failed(_) => None,
            _ => panic!("neither a part nor a failure"),
        }
    };
    let part = |offset, total, length| Part { offset, total, bytes: vec![7; length] };
    assert_eq!(ask(9, part(5, 20, 5)).await, Some(0), "nothing was begun");
    assert_eq!(ask(9, part(0, 20, 5)).await, Some(5));
    assert_eq!(ask(9, part(10, 20, 5)).await, Some(5), "a gap");
    assert_eq!(ask(9, part(5, 20, 16)).await, Some(5), "more than there is");
    assert_eq!(ask(9, part(5, 20, 5)).await, Some(10));
    assert_eq!(ask(9, part(5, 20, 5)).await, Some(10), "twice");
    assert_eq!(ask(8, part(10, 20, 5)).await, Some(0), "another leader's");
    assert_eq!(ask(9, part(10, 20, 5)).await, Some(15));
    assert_eq!(ask(9, part(0, MAX_WHOLE as u64 + 1, 5)).await, None);
    assert_eq!(ask(9, part(15, 20, 5)).await, Some(0), "it was given up for that");
    assert!(store.in_doubt().is_none());
}

#[test]
fn a_part_has_room_in_a_message_and_a_message_in_what_carries_it() {
    let carried = 16 << 20;
    assert!(MAX_MESSAGE + FRAME < carried);
    let of = |part_bytes| Options { part_bytes, ..Options::default() }.config();
    assert!(of(0).is_err() && of(9 << 20).is_err());
    assert!(of(1).is_ok() && of(8 << 20).is_ok());
}
