//! Nodes of two versions of Shoal in one cluster: the newer one knows changes that the older one
//! cannot read.

use super::*;
use crate::MetaError;
use shoal_core::codec::{self, CodecError};

fn newer(bytes: &[u8]) -> Result<Command, CodecError> {
    codec::command::decode(bytes)
}

/// Does not know what is called new.
fn older(bytes: &[u8]) -> Result<Command, CodecError> {
    match codec::command::decode(bytes)? {
        Command::CreateKeyspace { name, .. } if name.starts_with("new") => {
            Err(CodecError::Invalid("an unknown command"))
        }
        command => Ok(command),
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_leader_refuses_by_name_what_it_cannot_read_and_nothing_happens() {
    let mut cluster = Cluster::of(3).await;
    let follower = cluster.join().await;
    for node in 1..=3 {
        cluster.kill(node).await;
        cluster.start_as(node, older).await;
    }
    let before = cluster.agree().await;
    let began = tokio::time::Instant::now();
    let refused = cluster.store(follower).propose_async(&create("new-books")).await;
    let error = refused.expect_err("the leader cannot read it");
    assert!(matches!(error, MetaError::Peer { .. }), "{error}");
    assert!(
        error.to_string().contains("this version of Shoal does not know the change"),
        "{error}"
    );
    assert!(began.elapsed() < cluster.options.proposal_deadline, "it is not tried again");
    assert_eq!(cluster.agree().await, before);
    let map = cluster.propose(follower, &create("books")).await;
    assert_eq!(map.version.index, before.version.index + 1);
}

#[tokio::test(start_paused = true)]
async fn an_older_voter_stops_by_name_keeps_its_map_and_goes_on_after_an_upgrade() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let old = leader % 3 + 1;
    cluster.kill(old).await;
    cluster.start_as(old, older).await;
    cluster.propose(leader, &create("books")).await;
    let before = cluster.agree().await;
    cluster.propose(leader, &create("new-books")).await;
    cluster.takes_up(old, Role::Stopped).await;
    let stopped = |store: &RaftStore| {
        let doubt = store.in_doubt().expect("it says why").to_string();
        assert!(doubt.contains("a newer version of Shoal put a change into the log"), "{doubt}");
        assert!(doubt.contains("an unknown command"), "{doubt}");
        assert_eq!(store.current(), before, "it keeps what it has");
        assert_eq!(store.status().role, Role::Stopped);
    };
    stopped(cluster.store(old));
    let refused = cluster.store(old).propose_async(&create("by-the-old")).await;
    assert!(matches!(refused, Err(MetaError::InDoubt { .. })), "{refused:?}");
    // It does not hold the others up, and a restart of the same version changes nothing.
    cluster.propose(leader, &create("more")).await;
    cluster.kill(old).await;
    cluster.start_as(old, older).await;
    stopped(cluster.store(old));
    // What it cannot follow it may still take whole.
    cluster.store(old).pull(NodeId(leader)).await.expect("it answers");
    assert!(cluster.store(old).current().keyspace("new-books").is_some());

    cluster.kill(old).await;
    cluster.start_as(old, newer).await;
    cluster.takes_up(old, Role::Voter).await;
    let map = cluster.agree().await;
    assert!(map.keyspace("new-books").is_some() && map.keyspace("more").is_some());
    // It counts again.
    cluster.kill(6 - leader - old).await;
    cluster.propose(old, &create("together")).await;
}
