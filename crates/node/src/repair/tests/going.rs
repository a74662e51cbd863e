//! Copies come in and go: fast where there is little, to the end, and without losing anything.

use super::*;
use crate::repair::leave;
use crate::replicas::PartitionCopy;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

fn copy(peer: &Peer) -> Arc<PartitionCopy> {
    peer.coordinator.copies().find(KEYSPACE, PartitionId(0)).expect("it has one")
}

#[tokio::test(start_paused = true)]
async fn many_slots_with_few_keys_take_few_round_trips() {
    let cluster = Cluster::new(2, 1, false).await;
    let keys = keys(ALL, 20);
    for key in &keys {
        set(&cluster, 1, Level::Quorum, key, "v").await;
    }
    cluster.host(2, &owners(1, &[member(1, 1)], &[])).await;
    let intent = owners(2, &[member(1, 1)], &[member(1, 1), member(2, 2)]);
    for peer in &cluster.peers {
        adopt(peer, &intent);
    }
    let delay = Duration::from_millis(10);
    for (from, to) in [(1, 2), (2, 1)] {
        let weather = Weather { delay: delay..=delay, ..Weather::FAIR };
        cluster.network.set(NodeId(from), NodeId(to), weather);
    }
    let (coordinator, began) = (&cluster.at(2).coordinator, Instant::now());
    let came = tokio::spawn({
        let (coordinator, copy) = (Arc::clone(coordinator), copy(cluster.at(2)));
        async move { take_in(&coordinator, &copy, KEYSPACE, ALL, ()).await }
    });
    until(async || !coordinator.repairs().taking_in().is_empty() || came.is_finished()).await;
    assert_eq!(came.await.expect("it does not panic"), TakenIn::Proven);
    let round_trips = began.elapsed().as_micros() / (2 * delay.as_micros());
    assert!(round_trips <= 16, "{round_trips} for 64 slots");
    let counts = coordinator.repairs();
    assert_eq!(counts.intake_slots.load(Ordering::Relaxed), 64);
    assert_eq!(counts.intake_records.load(Ordering::Relaxed), 20);
    assert!(counts.taking_in().is_empty());
    adopt(cluster.at(2), &owners(3, &[member(2, 2)], &[]));
    for key in keys {
        assert_eq!(cluster.at(2).value_at(Level::One, key).await, Some("v".into()), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_in_another_life_than_is_named_is_lost_and_says_so() {
    let cluster = Cluster::new(2, 1, false).await;
    let intent = owners(5, &[member(1, 1)], &[member(1, 1), member(2, 5)]);
    adopt(cluster.at(1), &intent);
    cluster.at(2).coordinator.routes().set(KEYSPACE, &intent);
    // It finds that map when it starts: it was in that life and has lost it.
    cluster.host(2, &intent).await;
    let came = take_in(&cluster.at(2).coordinator, &copy(cluster.at(2)), KEYSPACE, ALL, ()).await;
    assert_eq!(came, TakenIn::Lost);
    // Who is not named at all proves nothing either, and is not lost.
    adopt(cluster.at(2), &owners(6, &[member(1, 1)], &[]));
    let came = take_in(&cluster.at(2).coordinator, &copy(cluster.at(2)), KEYSPACE, ALL, ()).await;
    assert_eq!(came, TakenIn::Void);
}

#[tokio::test(start_paused = true)]
async fn who_goes_hands_over_what_it_alone_has_and_keeps_it_until_then() {
    let cluster = Cluster::new(3, 3, false).await;
    let keys = keys(ALL, 3);
    set(&cluster, 1, Level::Quorum, keys[0], "all").await;
    cluster.cut_off(3);
    set(&cluster, 3, Level::One, keys[1], "alone").await;
    set(&cluster, 3, Level::One, keys[2], "older").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    set(&cluster, 1, Level::Quorum, keys[2], "newer").await;
    let two = owners(2, &[member(1, 1), member(2, 1)], &[]);
    for peer in &cluster.peers {
        adopt(peer, &two);
    }
    let leaver = cluster.at(3);
    let goes = async || leave(&leaver.coordinator, &copy(leaver), KEYSPACE, ALL).await;
    assert!(!goes().await, "nobody can be asked");
    cluster.mend().await;
    assert!(goes().await);
    for node in [1, 2] {
        let peer = cluster.at(node);
        for (key, value) in keys.iter().zip(["all", "alone", "newer"]) {
            assert_eq!(peer.value_at(Level::One, key).await, Some(value.into()), "{key}");
        }
    }
    let pushed = leaver.coordinator.repairs().leaving_pushed.load(Ordering::Relaxed);
    assert_eq!(pushed, 2, "one record, to both");
    let nothing = copy(leaver).legacy(Slot::of(keys[0].as_bytes()), None, 9).expect("it looks");
    assert!(nothing.is_some_and(|legacy| legacy.items.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn who_hears_nothing_lets_others_come_in_and_goes_on_once_it_does() {
    let cluster = Cluster::new(2, 1, false).await;
    for key in keys(ALL, 20) {
        set(&cluster, 1, Level::Quorum, key, "v").await;
    }
    cluster.host(2, &owners(1, &[member(1, 1)], &[])).await;
    let intent = owners(2, &[member(1, 1)], &[member(1, 1), member(2, 2)]);
    for peer in &cluster.peers {
        adopt(peer, &intent);
    }
    let coordinator = &cluster.at(2).coordinator;
    let all = coordinator.intakes().available_permits();
    let places = Arc::new(Semaphore::new(1));
    let place = async || Arc::clone(&places).acquire_owned().await.expect("nobody closes it");
    let begin = |permit: OwnedSemaphorePermit| {
        let (coordinator, copy) = (Arc::clone(coordinator), copy(cluster.at(2)));
        tokio::spawn(async move { take_in(&coordinator, &copy, KEYSPACE, ALL, permit).await })
    };
    // Whatever it has begun, and whether it hears that nobody answers or nothing at all.
    let silent = Weather { loss_per_mille: 1_000, ..Weather::FAIR };
    cluster.network.set(NodeId(1), NodeId(2), silent);
    let first = begin(place().await);
    assert_eq!(places.available_permits(), 0);
    until(async || places.available_permits() == 1).await;
    let second = begin(place().await);
    until(async || coordinator.intakes().available_permits() == all).await;
    assert!(!first.is_finished() && !second.is_finished());
    cluster.mend().await;
    for came in [first, second] {
        assert_eq!(came.await.expect("it does not panic"), TakenIn::Proven);
    }
    assert_eq!(coordinator.intakes().available_permits(), all);
}
