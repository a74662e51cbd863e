//! Requests over three nodes, in virtual time.

use super::rig::{Cluster, about};
use super::write::MAX_BATCH_BYTES;
use super::*;
use crate::replicas::rig::{KEYSPACE, member, owners};
use crate::transport::memory::Weather;
use shoal_core::PartitionId;
use shoal_core::quorum::{Forwarded, WriteOutcome};
use shoal_core::record::{OwnedBody, PLAIN};
use shoal_core::update::{Outcome, OwnedUpdate, OwnedWhen, SetExpiry};
use tokio::sync::oneshot;
use tokio::time::Instant;

fn done(outcome: &Forwarded) -> &Outcome {
    match outcome {
        Forwarded::Done { outcome, .. } => outcome,
        other => panic!("not done: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_node_writes_every_node_reads_owner_or_not() {
    let cluster = Cluster::new(4, 3, false).await;
    assert!(matches!(cluster.at(4).set(Level::Quorum, "k", "v").await, WriteOutcome::Done { .. }));
    for node in 1..=4 {
        assert_eq!(cluster.at(node).value("k").await, Some("v".into()), "through n{node}");
    }
    assert_eq!(cluster.at(2).value("other").await, None);
}

#[tokio::test(start_paused = true)]
async fn losing_one_of_three_is_not_an_event_and_losing_two_is_said_by_name() {
    let cluster = Cluster::new(3, 3, false).await;
    cluster.cut_off(3);
    assert!(matches!(cluster.at(1).set(Level::Quorum, "k", "v").await, WriteOutcome::Done { .. }));
    assert_eq!(cluster.at(2).value("k").await, Some("v".into()));
    let lack = NoQuorum { have: 2, need: 3, unreachable: vec![NodeId(3)] };
    assert_eq!(cluster.at(1).set(Level::All, "k", "w").await, WriteOutcome::NoQuorum(lack.clone()));
    assert_eq!(cluster.at(2).get(Level::All, "k").await, ReadOutcome::NoQuorum(lack));
    cluster.cut_off(2);
    let lack = NoQuorum { have: 1, need: 2, unreachable: vec![NodeId(2), NodeId(3)] };
    let refused = cluster.at(1).set(Level::Quorum, "k", "w").await;
    assert_eq!(refused, WriteOutcome::NoQuorum(lack));
    assert_eq!(cluster.at(1).value_at(Level::One, "k").await, Some("v".into()));
}

#[tokio::test(start_paused = true)]
async fn nothing_outlasts_its_deadline_and_what_may_have_happened_is_unknown() {
    let cluster = Cluster::new(3, 3, false).await;
    for (from, to) in [(1, 2), (1, 3)] {
        // Nobody has noticed yet.
        let cut = Weather { cut: true, ..Weather::FAIR };
        cluster.network.set(NodeId(from), NodeId(to), cut);
    }
    let begun = Instant::now();
    let outcome = cluster.at(1).set(Level::Quorum, "k", "v").await;
    assert!(matches!(outcome, WriteOutcome::Unknown { .. }), "{outcome:?}");
    assert!(begun.elapsed() <= DEADLINE + Duration::from_millis(200));
    // Its records wait for those who did not answer.
    tokio::time::sleep(2 * DEADLINE).await;
    assert_eq!(cluster.at(1).coordinator.hints(), 2);
    assert_eq!(cluster.at(1).coordinator.under_way(), 0);
}

/// Three nodes of which only the first does not stand still, and nobody has noticed yet.
async fn two_of_three_silent() -> Cluster {
    let cluster = Cluster::new(3, 3, false).await;
    let hour = Duration::from_secs(3_600);
    for to in [2, 3] {
        let silent = Weather { delay: hour..=hour, ..Weather::FAIR };
        cluster.network.set(NodeId(1), NodeId(to), silent);
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn who_has_little_time_left_does_not_wait_for_those_who_have_more() {
    let cluster = two_of_three_silent().await;
    let coordinator = &cluster.at(1).coordinator;
    let begun = Instant::now();
    let change = |seconds: u64| {
        let (tell, told) = oneshot::channel();
        let until = begun + Duration::from_secs(seconds);
        let done = Box::new(move |outcome| drop(tell.send(outcome)));
        let about = about(Level::Quorum, "k");
        coordinator.execute(until, &about, "k".into(), OwnedUpdate::Add { delta: 1 }, true, done);
        told
    };
    let [first, second, third] = [change(4), change(2), change(3)];
    for (told, seconds) in [(second, 2), (third, 3), (first, 4)] {
        let outcome = told.await.expect("it is answered");
        assert!(!matches!(outcome, Forwarded::Done { .. }), "{outcome:?}");
        assert_eq!(begun.elapsed().as_secs(), seconds);
    }
    // Nobody stands in line any more, and what comes is carried out.
    cluster.mend().await;
    assert_eq!(coordinator.turns.waiting(), 0);
    let outcome = cluster.at(1).update("k", OwnedUpdate::Add { delta: 1 }).await;
    assert!(matches!(outcome, Forwarded::Done { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_waits_for_another_is_answered_in_its_own_time() {
    let cluster = two_of_three_silent().await;
    let change = async |after: u64| {
        tokio::time::sleep(Duration::from_millis(after)).await;
        let begun = Instant::now();
        let outcome = cluster.at(1).update("k", OwnedUpdate::Add { delta: 1 }).await;
        assert!(!matches!(outcome, Forwarded::Done { .. }), "{outcome:?}");
        assert!(begun.elapsed() <= DEADLINE + Duration::from_millis(200), "{:?}", begun.elapsed());
    };
    // Those after the first begin when its time is over, and have hardly any left.
    tokio::join!(change(0), change(100), change(200));
}

#[tokio::test(start_paused = true)]
async fn changes_of_one_key_from_everywhere_are_each_made_once() {
    let cluster = Cluster::new(4, 3, false).await;
    let mut waiting = Vec::new();
    for round in 0..25_u32 {
        for node in 1..=4 {
            let (tell, told) = oneshot::channel();
            let done = Box::new(move |outcome| drop(tell.send(outcome)));
            let update = OwnedUpdate::Add { delta: 1 };
            let coordinator = &cluster.at(node).coordinator;
            coordinator.update(
                &about(Level::Quorum, "counter"),
                "counter".into(),
                update,
                true,
                done,
            );
            waiting.push((round, told));
        }
    }
    let mut seen = Vec::new();
    for (_, told) in waiting {
        let outcome = told.await.expect("every request is answered");
        match done(&outcome) {
            Outcome::Integer(number) => seen.push(*number),
            other => panic!("{other:?}"),
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=100).collect::<Vec<i64>>());
    assert_eq!(cluster.at(4).value("counter").await, Some("100".into()));
}

#[tokio::test(start_paused = true)]
async fn a_condition_is_judged_once_for_the_whole_cluster() {
    let cluster = Cluster::new(3, 3, false).await;
    let claim = |value: &'static str| OwnedUpdate::Set {
        value: value.into(),
        expiry: SetExpiry::Never,
        when: OwnedWhen::Absent,
    };
    let first = cluster.at(1).update("k", claim("one")).await;
    let second = cluster.at(2).update("k", claim("two")).await;
    assert_eq!((done(&first), done(&second)), (&Outcome::Done, &Outcome::Unmet));
    assert_eq!(cluster.at(3).value("k").await, Some("one".into()));
    let gone = cluster.at(3).update("k", OwnedUpdate::Delete { when: OwnedWhen::Always }).await;
    assert!(matches!(gone, Forwarded::Done { outcome: Outcome::Done, version: None, .. }));
    assert_eq!(cluster.at(1).value("k").await, None);
    let number = cluster.at(1).update("k", claim("text")).await;
    assert_eq!(done(&number), &Outcome::Done);
    let impossible = cluster.at(2).update("k", OwnedUpdate::Add { delta: 1 }).await;
    assert!(matches!(impossible, Forwarded::Impossible(_)), "{impossible:?}");
}

#[tokio::test]
async fn the_same_on_disk_where_answers_wait_for_a_sync() {
    let cluster = Cluster::new(3, 3, true).await;
    for (node, key) in [(1, "a"), (2, "b"), (3, "c")] {
        let outcome = cluster.at(node).set(Level::All, key, "v").await;
        assert!(matches!(outcome, WriteOutcome::Done { .. }), "{outcome:?}");
    }
    for key in ["a", "b", "c"] {
        assert_eq!(cluster.at(1).value(key).await, Some("v".into()));
        let update = OwnedUpdate::Append { suffix: "w".into() };
        let outcome = cluster.at(2).update(key, update).await;
        assert_eq!(done(&outcome), &Outcome::Length(2));
        assert_eq!(cluster.at(3).value(key).await, Some("vw".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_under_an_old_map_goes_on_under_the_new_one() {
    let cluster = Cluster::new(3, 3, false).await;
    let members = [member(1, 1), member(2, 1), member(3, 1)];
    let newer = owners(2, &members, &[]);
    // Two of three have heard of it, and the one that is asked has not.
    for node in [2, 3] {
        let coordinator = &cluster.at(node).coordinator;
        coordinator.routes.set(KEYSPACE, &newer);
        let copy = coordinator.copies.find(KEYSPACE, PartitionId(0)).expect("it has one");
        assert!(copy.adopt(&newer).expect("it adopts").is_empty());
    }
    let first = cluster.at(1);
    let (outcome, ()) = tokio::join!(first.set(Level::Quorum, "k", "v"), async {
        while first.around.wanted.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // A change of something else comes first.
        first.coordinator.adopted();
        let copy = first.coordinator.copies.find(KEYSPACE, PartitionId(0)).expect("it has one");
        copy.adopt(&newer).expect("it adopts");
        first.coordinator.routes.set(KEYSPACE, &newer);
        first.coordinator.adopted();
    });
    assert!(matches!(outcome, WriteOutcome::Done { .. }), "{outcome:?}");
    assert_eq!(cluster.at(2).value("k").await, Some("v".into()));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_hangs_does_not_hold_up_the_changes_of_a_key() {
    let cluster = Cluster::new(3, 3, false).await;
    let cut = Weather { cut: true, ..Weather::FAIR };
    cluster.network.set(NodeId(1), NodeId(3), cut);
    let begun = Instant::now();
    for expected in 1..=3 {
        let outcome = cluster.at(1).update("counter", OwnedUpdate::Add { delta: 1 }).await;
        assert_eq!(done(&outcome), &Outcome::Integer(expected));
    }
    assert!(begun.elapsed() < DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_batch_deletes_too_and_of_a_key_that_comes_twice_takes_the_last() {
    let cluster = Cluster::new(3, 3, false).await;
    let live = |text: &'static str| OwnedBody::Live { kind: PLAIN, bytes: text.into() };
    cluster.at(1).set(Level::Quorum, "{b}1", "before").await;
    let records = vec![
        ("{b}1".into(), OwnedBody::Tombstone, None),
        ("{b}2".into(), live("first"), None),
        ("{b}3".into(), live("third"), None),
        ("{b}2".into(), live("last"), None),
        ("{b}3".into(), OwnedBody::Tombstone, None),
    ];
    let (tell, told) = oneshot::channel();
    let done = Box::new(move |outcome| drop(tell.send(outcome)));
    let coordinator = &cluster.at(2).coordinator;
    coordinator.write(&about(Level::All, "{b}1"), records, done).expect("the clock stamps");
    let outcome = told.await.expect("it is answered");
    assert!(matches!(outcome, WriteOutcome::Done { .. }), "{outcome:?}");
    assert_eq!(cluster.at(3).value("{b}1").await, None);
    assert_eq!(cluster.at(3).value("{b}2").await, Some("last".into()));
    assert_eq!(cluster.at(3).value("{b}3").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_no_message_is_sent_to_nobody() {
    let cluster = Cluster::new(3, 3, false).await;
    let bytes = Bytes::from(vec![b'x'; MAX_BATCH_BYTES]);
    let records = vec![("k".into(), OwnedBody::Live { kind: PLAIN, bytes }, None)];
    let (tell, told) = oneshot::channel();
    let done = Box::new(move |outcome| drop(tell.send(outcome)));
    let coordinator = &cluster.at(1).coordinator;
    coordinator.write(&about(Level::One, "k"), records, done).expect("nothing was stamped");
    assert_eq!(told.await.expect("it is answered"), WriteOutcome::NoQuorum(nobody()));
    assert_eq!(cluster.at(1).value("k").await, None);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_everything_under_way_and_lets_everything_go() {
    let cluster = Cluster::new(3, 3, false).await;
    let peer = cluster.at(1);
    let cut = Weather { cut: true, ..Weather::FAIR };
    for other in [2, 3] {
        cluster.network.set(NodeId(1), NodeId(other), cut.clone());
    }
    let begun = Instant::now();
    let (written, read, first, second, ()) = tokio::join!(
        peer.set(Level::Quorum, "k", "v"),
        peer.get(Level::Quorum, "k"),
        peer.update("n", OwnedUpdate::Add { delta: 1 }),
        peer.update("n", OwnedUpdate::Add { delta: 1 }),
        async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(peer.coordinator.under_way() > 0);
            peer.coordinator.close();
        }
    );
    assert!(begun.elapsed() < DEADLINE);
    assert!(matches!(written, WriteOutcome::Unknown { .. }), "{written:?}");
    assert!(matches!(read, ReadOutcome::NoQuorum(_)), "{read:?}");
    for update in [first, second] {
        assert!(matches!(update, Forwarded::NoQuorum(_)), "{update:?}");
    }
    assert_eq!(peer.coordinator.under_way(), 0);
    let refused = peer.set(Level::One, "k", "w").await;
    assert_eq!(refused, WriteOutcome::NoQuorum(nobody()));
    assert!(matches!(peer.get(Level::One, "k").await, ReadOutcome::NoQuorum(_)));
    // What was asked of others lets go once their links give up.
    peer.coordinator.transport.close();
    while Arc::strong_count(&peer.coordinator) > 1 {
        assert!(begun.elapsed() < 4 * DEADLINE, "{}", Arc::strong_count(&peer.coordinator));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
