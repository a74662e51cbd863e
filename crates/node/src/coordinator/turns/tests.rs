//! Several keys of one slot, changed as one from everywhere.

use super::super::rig::{Cluster, Peer, about};
use super::*;
use shoal_core::quorum::{Condition, Level, ReadOutcome};
use shoal_core::record::{OwnedBody, OwnedRecord, PLAIN};
use shoal_core::update::{Outcome, OwnedUpdate, Tag};
use tokio::sync::oneshot;

const LEFT: &str = "left{p}";
const RIGHT: &str = "right{p}";

fn part(key: &'static str, when: Condition, text: Option<String>) -> Part {
    let live = |text: String| (OwnedBody::Live { kind: PLAIN, bytes: text.into() }, None);
    Part { key: key.into(), when, next: text.map(live) }
}

async fn batch(peer: &Peer, parts: Vec<Part>) -> BatchOutcome {
    let (tell, told) = oneshot::channel();
    let done = Box::new(move |outcome| drop(tell.send(outcome)));
    peer.coordinator.batch(&about(Level::Quorum, LEFT), parts, done);
    told.await.expect("every request is answered")
}

async fn record(peer: &Peer, key: &'static str) -> Option<OwnedRecord> {
    match peer.get(Level::Quorum, key).await {
        ReadOutcome::Found(found) => found.record,
        ReadOutcome::NoQuorum(lack) => panic!("{lack:?}"),
    }
}

/// The condition that a key is as it was, and its number.
fn as_it_was(record: Option<OwnedRecord>) -> (Condition, i64) {
    let Some(record) = record else { return (Condition::Absent, 0) };
    let number = match &record.body {
        OwnedBody::Live { bytes, .. } => String::from_utf8_lossy(bytes).parse().expect("a number"),
        OwnedBody::Tombstone => 0,
    };
    (Condition::Tag(Tag::of(&record.borrow())), number)
}

/// Moves one from the left to the right, as often as it takes.
async fn transfer(peer: &Peer) {
    loop {
        let (left, from) = as_it_was(record(peer, LEFT).await);
        let (right, to) = as_it_was(record(peer, RIGHT).await);
        let parts = vec![
            part(LEFT, left, Some((from - 1).to_string())),
            part(RIGHT, right, Some((to + 1).to_string())),
        ];
        match batch(peer, parts).await {
            BatchOutcome::Done { versions } => return assert_eq!(versions.len(), 2),
            BatchOutcome::Unmet => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn transfers_from_everywhere_lose_nothing_and_none_another() {
    let cluster = Cluster::new(4, 3, false).await;
    let many = |node| {
        let peer = cluster.at(node);
        async move {
            for _ in 0..10 {
                transfer(peer).await;
            }
        }
    };
    // Changes of one of the keys alone stand in the same lines.
    let adds = async {
        for _ in 0..10 {
            let outcome = cluster.at(2).update(RIGHT, OwnedUpdate::Add { delta: 100 }).await;
            let done = matches!(outcome, Forwarded::Done { outcome: Outcome::Integer(_), .. });
            assert!(done, "{outcome:?}");
        }
    };
    tokio::join!(many(1), many(2), many(3), many(4), adds);
    for node in 1..=4 {
        assert_eq!(cluster.at(node).value(LEFT).await, Some("-40".into()));
        assert_eq!(cluster.at(node).value(RIGHT).await, Some("1040".into()));
    }
    let turns = cluster.at(1).coordinator.turns.0.lock();
    assert!(turns.lines.is_empty() && turns.waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_condition_on_one_key_holds_for_all_and_nobody_sees_half() {
    let cluster = Cluster::new(4, 3, false).await;
    let both = |when| {
        vec![part(LEFT, when, Some("1".into())), part(RIGHT, Condition::Any, Some("1".into()))]
    };
    cluster.at(3).set(Level::Quorum, LEFT, "0").await;
    assert_eq!(batch(cluster.at(4), both(Condition::Absent)).await, BatchOutcome::Unmet);
    assert_eq!(cluster.at(2).value(RIGHT).await, None);
    let (was, _) = as_it_was(record(cluster.at(1), LEFT).await);
    let looked_at = vec![part(LEFT, was, None), part(RIGHT, Condition::Any, Some("2".into()))];
    let done = batch(cluster.at(4), looked_at.clone()).await;
    assert!(matches!(done, BatchOutcome::Done { .. }), "{done:?}");
    assert_eq!(cluster.at(3).value(RIGHT).await, Some("2".into()));
    // What was only looked at stayed as it was, until it did not.
    cluster.at(2).set(Level::Quorum, LEFT, "0").await;
    assert_eq!(batch(cluster.at(4), looked_at).await, BatchOutcome::Unmet);
    let done = batch(cluster.at(1), both(Condition::Present)).await;
    assert!(matches!(done, BatchOutcome::Done { .. }), "{done:?}");
    assert_eq!(cluster.at(3).value(LEFT).await, Some("1".into()));
}

#[tokio::test(start_paused = true)]
async fn a_batch_reaches_the_next_owner_where_the_first_is_down() {
    let cluster = Cluster::new(4, 3, false).await;
    cluster.cut_off(1);
    transfer(cluster.at(4)).await;
    assert_eq!(cluster.at(3).value(RIGHT).await, Some("1".into()));
    cluster.cut_off(2);
    let parts = vec![part(LEFT, Condition::Any, Some("9".into()))];
    let outcome = batch(cluster.at(3), parts).await;
    assert!(matches!(outcome, BatchOutcome::NoQuorum(_)), "{outcome:?}");
    assert_eq!(cluster.at(3).value_at(Level::One, LEFT).await, Some("-1".into()));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_no_message_is_sent_to_nobody() {
    let cluster = Cluster::new(3, 3, false).await;
    let text = "x".repeat(super::super::write::MAX_BATCH_BYTES);
    let outcome = batch(cluster.at(1), vec![part(LEFT, Condition::Any, Some(text))]).await;
    assert_eq!(outcome, BatchOutcome::NoQuorum(nobody()));
    assert_eq!(cluster.at(1).value(LEFT).await, None);
}
