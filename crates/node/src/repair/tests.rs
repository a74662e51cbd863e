//! Copies become alike again, in virtual time.

use super::hints::deliver_hints;
use super::intake::{TakenIn, take_in};
use crate::coordinator::rig::{Cluster, Peer};
use crate::replicas::rig::{KEYSPACE, member, owners};
use crate::transport::memory::Weather;
use shoal_core::quorum::{Level, Owners, WriteOutcome};
use shoal_core::slot::Slot;
use shoal_core::{NodeId, PartitionId};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

fn adopt(peer: &Peer, owners: &Arc<Owners>) {
    if let Some(copy) = peer.coordinator.copies().find(KEYSPACE, PartitionId(0)) {
        peer.coordinator.ask_again(copy.adopt(owners).expect("it adopts"));
    }
    peer.coordinator.routes().set(KEYSPACE, owners);
    peer.coordinator.adopted();
}

/// The one slot that the keys are in.
fn slots() -> Range<u16> {
    let slot = Slot::of(b"{t}").number();
    slot..slot + 1
}

/// Until nothing is hinted any more at `peer`.
async fn delivered(peer: &Peer) {
    for _ in 0..100 {
        if peer.coordinator.hints() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{} hints are left", peer.coordinator.hints());
}

#[tokio::test(start_paused = true)]
async fn who_missed_a_write_gets_it_by_a_hint_and_no_older_one() {
    let cluster = Cluster::new(3, 3, false).await;
    for peer in &cluster.peers {
        tokio::spawn(deliver_hints(Arc::clone(&peer.coordinator)));
    }
    cluster.cut_off(3);
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
        let outcome = cluster.at(1).set(Level::Quorum, key, value).await;
        assert!(matches!(outcome, WriteOutcome::Done { .. }), "{outcome:?}");
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(cluster.at(1).coordinator.hints(), 2);
    cluster.mend().await;
    delivered(cluster.at(1)).await;
    cluster.cut_off(1);
    cluster.cut_off(2);
    for (key, value) in [("a", "3"), ("b", "2")] {
        assert_eq!(cluster.at(3).value_at(Level::One, key).await, Some(value.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn one_owner_becomes_three_under_load_and_may_then_be_lost() {
    let cluster = Cluster::new(3, 1, false).await;
    const KEYS: [&str; 6] = ["{t}a", "{t}b", "{t}c", "{t}d", "{t}e", "{t}f"];
    for key in KEYS {
        let outcome = cluster.at(2).set(Level::Quorum, key, "old").await;
        assert!(matches!(outcome, WriteOutcome::Done { .. }), "{outcome:?}");
    }
    let next = [member(1, 1), member(2, 2), member(3, 2)];
    for node in [2, 3] {
        cluster.host(node, &owners(1, &[member(1, 1)], &[])).await;
    }
    let intent = owners(2, &[member(1, 1)], &next);
    for peer in &cluster.peers {
        adopt(peer, &intent);
    }
    // While it is copied, a write goes to both sets.
    let weather =
        Weather { delay: Duration::from_millis(1)..=Duration::from_millis(30), ..Weather::FAIR };
    cluster.network.set(NodeId(2), NodeId(1), weather);
    let proofs = cluster.peers.iter().map(|peer| {
        let coordinator = Arc::clone(&peer.coordinator);
        let copy = coordinator.copies().find(KEYSPACE, PartitionId(0)).expect("it has one");
        tokio::spawn(async move { take_in(&coordinator, &copy, KEYSPACE, slots()).await })
    });
    let proofs: Vec<_> = proofs.collect();
    let outcome = cluster.at(3).set(Level::Quorum, KEYS[2], "new").await;
    assert!(matches!(outcome, WriteOutcome::Done { .. }), "{outcome:?}");
    for proof in proofs {
        assert_eq!(proof.await.expect("no proof panics"), TakenIn::Proven);
    }
    for peer in &cluster.peers {
        adopt(peer, &owners(3, &next, &[]));
    }
    cluster.cut_off(1);
    for node in [2, 3] {
        for key in KEYS {
            let expected = if key == KEYS[2] { "new" } else { "old" };
            assert_eq!(cluster.at(node).value(key).await, Some(expected.into()), "{key}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_proof_is_void_once_the_owners_change() {
    let cluster = Cluster::new(2, 1, false).await;
    cluster.host(2, &owners(1, &[member(1, 1)], &[])).await;
    let intent = owners(2, &[member(1, 1)], &[member(1, 1), member(2, 2)]);
    for peer in &cluster.peers {
        adopt(peer, &intent);
    }
    // Its source does not answer.
    cluster.cut_off(1);
    let coordinator = Arc::clone(&cluster.at(2).coordinator);
    let copy = coordinator.copies().find(KEYSPACE, PartitionId(0)).expect("it has one");
    let proof = tokio::spawn(async move { take_in(&coordinator, &copy, KEYSPACE, slots()).await });
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!proof.is_finished(), "nothing can be proven without a source");
    adopt(cluster.at(2), &owners(3, &[member(1, 1)], &[]));
    assert_eq!(proof.await.expect("no proof panics"), TakenIn::Void);
}
