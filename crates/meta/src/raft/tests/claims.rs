//! Messages in another's name.

use super::*;
use crate::raft::parts::Part;
use crate::raft::types::{Proposal, SnapshotMeta, Types, Vote};
use crate::raft::wire::{Answer, Request, decode, encode};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};

/// One of every kind that says whose it is: n2's.
fn of_n2(command: &Command) -> Vec<Request> {
    let vote = Vote::new(1, 2);
    let leads = Vote::new_committed(1, 2);
    let entries = AppendEntriesRequest::<Types> {
        vote: leads,
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    let part = Part { offset: 0, total: 9, bytes: vec![1] };
    let proposal = Proposal {
        id: Proposal::name(NodeId(2), 7, 1),
        base: 1,
        command: shoal_core::codec::command::encode(command),
    };
    vec![
        // First, since n1 leads no more once n2 says that it does.
        Request::Propose { proposal, since: shoal_core::ids::MapVersion::default().into() },
        Request::Append(entries),
        Request::Vote(VoteRequest::new(vote, None)),
        Request::PreVote(VoteRequest::new(vote, None)),
        Request::Snapshot { vote: leads, meta: SnapshotMeta::default(), part },
        Request::Transfer(TransferLeaderRequest::new(leads, 1, None)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_message_in_anothers_name_is_dropped_and_counted() {
    let cluster = Cluster::of_one(Options::default()).await;
    let store = cluster.store(1);
    let before = store.current();
    let (mut dropped, term) = (0, store.status().leadership.term);
    for request in of_n2(&create("books")) {
        let request = encode(&request).unwrap_or_else(|error| panic!("{error}"));
        let answer = store.serve(NodeId(3), &request).await;
        let answer = decode::<Answer>(&answer).expect("it can be read");
        assert!(matches!(answer, Answer::Failed(why) if why.contains("not the sender's own")));
        dropped += 1;
        assert_eq!(store.status().disowned, dropped);
    }
    assert_eq!((store.current(), store.status().leadership.term), (before, term));
    for request in of_n2(&create("books")) {
        let request = encode(&request).unwrap_or_else(|error| panic!("{error}"));
        assert!(!store.serve(NodeId(2), &request).await.is_empty());
    }
    assert_eq!(store.status().disowned, dropped, "in its own name");
    assert!(store.current().keyspace("books").is_some(), "what it proposed was taken");
}

/// Whatever the nodes say to each other they say in their own name, also while voters change.
#[tokio::test(start_paused = true)]
async fn nothing_that_is_true_is_dropped() {
    let mut cluster = Cluster::of(3).await;
    let fourth = cluster.join().await;
    let leader = cluster.leader().await;
    cluster.set_voters([leader % 3 + 1, (leader + 1) % 3 + 1, fourth]).await;
    cluster.takes_up(leader, Role::Follower).await;
    cluster.propose(leader, &create("books")).await;
    let next = cluster.leader().await;
    cluster.kill(next).await;
    cluster.leader().await;
    cluster.start(next).await;
    cluster.agree().await;
    for store in cluster.stores.values() {
        assert_eq!(store.status().disowned, 0, "{:?}", store.status());
    }
}
