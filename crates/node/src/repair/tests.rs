//! Copies become alike again, in virtual time.

mod going;
mod steady;

use super::intake::{TakenIn, take_in};
use super::{Maps, Options, hints};
use crate::coordinator::Question;
use crate::coordinator::rig::{Cluster, Peer};
use crate::replicas::rig::{KEYSPACE, member, owners};
use crate::transport::memory::Weather;
use shoal_core::map::{
    ClusterMap, EngineKind, Keyspace, KeyspaceSpec, NodeInfo, NodeState, Partition, Profile,
};
use shoal_core::quorum::{Ask, Level, Owners, Reply, WriteOutcome};
use shoal_core::slot::{Partitioning, Slot};
use shoal_core::{NodeId, OwnedRecord, PartitionId};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The slots of the one partition.
const ALL: Range<u16> = 0..64;

/// Different keys in these slots.
fn keys(slots: Range<u16>, count: usize) -> Vec<&'static str> {
    let keys = (0_u32..).map(|number| format!("key {number}"));
    let keys = keys.filter(|key| slots.contains(&Slot::of(key.as_bytes()).number()));
    keys.take(count).map(|key| &*key.leak()).collect()
}

/// A map of the nodes of `cluster`, and of one partition with these owners.
fn map(cluster: &Cluster, owners: &Owners) -> ClusterMap {
    let spec = KeyspaceSpec::new(EngineKind::Memory);
    let partition = Partition {
        epoch: owners.epoch,
        replicas: owners.replicas.clone(),
        next: owners.next.clone(),
        outgoing: Vec::new(),
    };
    let keyspace = Keyspace {
        name: "k".to_owned(),
        incarnation: KEYSPACE,
        engine: spec.engine,
        partitioning: Partitioning::new(256).expect("a power of two"),
        options: spec.options,
        accepts_event_time: false,
        database: None,
        salt: 0,
        epoch: owners.epoch,
        partitions: vec![partition],
    };
    let node = |peer: &Peer| {
        let id = peer.coordinator.own_id();
        let info = NodeInfo::new(id.to_string(), 1, Profile::default(), NodeState::Member);
        (id, info)
    };
    ClusterMap {
        version: owners.epoch,
        nodes: cluster.peers.iter().map(node).collect(),
        keyspaces: [("k".to_owned(), keyspace)].into(),
        ..ClusterMap::default()
    }
}

/// The same for drivers.
fn maps(cluster: &Cluster, owners: &Owners) -> Maps {
    let map = Arc::new(map(cluster, owners));
    Arc::new(move || Arc::clone(&map))
}

/// Delivers hints at every node, until what is handed back is dropped.
fn deliver(cluster: &Cluster, options: Options) -> watch::Sender<bool> {
    let (stop, stopped) = watch::channel(false);
    for peer in &cluster.peers {
        tokio::spawn(hints::run(Arc::clone(&peer.coordinator), stopped.clone(), options));
    }
    stop
}

/// What a copy has stored under a key, dead or alive.
async fn held(peer: &Peer, key: &str) -> Option<OwnedRecord> {
    let (to, slot) = (peer.coordinator.own_id(), Slot::of(key.as_bytes()));
    let (_, owners) = peer.coordinator.routes().find(KEYSPACE, slot).expect("it is known");
    let ask = Ask::Page { after: None, limit: 1_000 };
    let question = Question { to, keyspace: KEYSPACE, slot, epoch: owners.epoch, round: 0, ask };
    match peer.coordinator.answer(question).await.expect("it answers").reply {
        Reply::Page { items, .. } => {
            items.iter().find(|item| item.key == key).map(|item| item.record.clone())
        }
        other => panic!("no page: {other:?}"),
    }
}

async fn set(cluster: &Cluster, at: u32, level: Level, key: &'static str, value: &'static str) {
    let outcome = cluster.at(at).set(level, key, value).await;
    assert!(matches!(outcome, WriteOutcome::Done { .. }), "{outcome:?}");
}

/// Waits until something holds, for a while.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..2_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it never came to that");
}

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
    until(async || peer.coordinator.hints() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn who_missed_a_write_gets_it_by_a_hint_and_no_older_one() {
    let cluster = Cluster::new(3, 3, false).await;
    let _stop = deliver(&cluster, Options::default());
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
        tokio::spawn(async move { take_in(&coordinator, &copy, KEYSPACE, slots(), ()).await })
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
    let proof =
        tokio::spawn(async move { take_in(&coordinator, &copy, KEYSPACE, slots(), ()).await });
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!proof.is_finished(), "nothing can be proven without a source");
    adopt(cluster.at(2), &owners(3, &[member(1, 1)], &[]));
    assert_eq!(proof.await.expect("no proof panics"), TakenIn::Void);
}
