//! Questions about partitions that this node has no copy of, or not under the epoch that is meant.

use super::super::rig::{Cluster, about, question};
use super::super::{DEADLINE, Question};
use super::*;
use crate::replicas::rig::{KEYSPACE, epoch, member, owners};
use shoal_core::PartitionId;
use shoal_core::ids::Incarnation;
use shoal_core::map::ClusterMap;
use shoal_core::quorum::{Ask, Level, Owners};
use std::time::Duration;

/// What node 2 says to a question of node 1.
async fn said(cluster: &Cluster, index: u64, keyspace: Incarnation) -> Answer {
    let about = About { keyspace, ..about(Level::Quorum, "k") };
    let ask = Ask::Read { key: "k".into(), whole: true };
    let question = Question { epoch: epoch(index), ..question(2, &about, ask) };
    cluster.at(1).coordinator.answer(question).await.expect("it answers")
}

/// Tells node 2 of other owners, without a copy of its own.
fn tell(cluster: &Cluster, owners: &Arc<Owners>) {
    cluster.at(2).coordinator.routes().set(KEYSPACE, owners);
    cluster.at(2).coordinator.adopted();
}

#[tokio::test(start_paused = true)]
async fn a_keyspace_that_is_over_is_void_and_an_epoch_that_is_over_stale() {
    // Node 2 owns nothing.
    let cluster = Cluster::new(2, 1, false).await;
    tell(&cluster, &owners(5, &[member(1, 1)], &[]));
    let over = said(&cluster, 4, Incarnation(3)).await;
    assert_eq!((over.reply, over.epoch), (Reply::Refused(Refusal::Void), epoch(4)));
    let stale = said(&cluster, 4, KEYSPACE).await;
    assert_eq!((stale.reply, stale.epoch), (Reply::Refused(Refusal::Stale), epoch(5)));
    let asked_in_vain = said(&cluster, 5, KEYSPACE).await;
    assert_eq!(asked_in_vain.reply, Reply::Refused(Refusal::NotCounting));
    assert!(cluster.at(2).around.wanted.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_map_to_come_says_more_about_waits_for_it() {
    let cluster = Cluster::new(2, 1, false).await;
    let wanted = || cluster.at(2).around.wanted.lock().clone();
    for keyspace in [KEYSPACE, Incarnation(9)] {
        cluster.at(2).around.wanted.lock().clear();
        let index = 6 + u64::from(keyspace.0);
        let (answer, ()) = tokio::join!(said(&cluster, index, keyspace), async {
            while wanted().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(wanted(), [epoch(index)], "at least that");
            // One that is still too old changes nothing.
            tell(&cluster, &owners(index - 1, &[member(1, 1)], &[]));
            tokio::time::sleep(Duration::from_millis(1)).await;
            tell(&cluster, &owners(index, &[member(1, 1)], &[]));
        });
        let expected = if keyspace == KEYSPACE { Refusal::NotCounting } else { Refusal::Void };
        assert_eq!(answer.reply, Reply::Refused(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_waits_for_a_map_is_refused_in_the_end() {
    let cluster = Cluster::new(2, 2, false).await;
    // Once with a copy, and once without.
    for keyspace in [KEYSPACE, Incarnation(9)] {
        let (tell, told) = tokio::sync::oneshot::channel();
        let about = About { keyspace, ..about(Level::Quorum, "k") };
        let question = question(2, &about, Ask::Clock);
        let Question { keyspace, slot, round, ask, .. } = question;
        let clock = shoal_core::clock::Stamp::ZERO;
        let header = Header { keyspace, slot, epoch: epoch(99), clock };
        let tell = Box::new(move |answer| drop(tell.send(answer)));
        let begun = Instant::now();
        let second = &cluster.at(2).coordinator;
        second.ask_own(Envelope { header, round, ask }, Patience::Inline, tell);
        let answer: Option<Answer> = told.await.expect("it is told");
        assert_eq!(answer.expect("it answers").reply, Reply::Refused(Refusal::Unable));
        assert!(begun.elapsed() >= DEADLINE && begun.elapsed() < 2 * DEADLINE);
    }
    let copy = cluster.at(2).coordinator.copies().find(KEYSPACE, PartitionId(0));
    assert!(copy.is_some_and(|copy| copy.takes()));
}

#[tokio::test(start_paused = true)]
async fn what_waits_at_a_copy_whose_keyspace_is_dropped_is_void_at_once() {
    let cluster = Cluster::new(2, 2, false).await;
    let second = &cluster.at(2).coordinator;
    let copy = second.copies().find(KEYSPACE, PartitionId(0)).expect("it has one");
    let began = Instant::now();
    let (answer, ()) = tokio::join!(said(&cluster, 6, KEYSPACE), async {
        while copy.waiting() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The map that it waited for has no such keyspace.
        let over = second.copies().retain(|_, _| false);
        let map = ClusterMap { version: epoch(6), ..ClusterMap::default() };
        second.routes().install(&map);
        second.adopted();
        second.ask_again(over);
    });
    assert_eq!(answer.reply, Reply::Refused(Refusal::Void));
    assert!(began.elapsed() < DEADLINE);
    assert_eq!(copy.waiting(), 0);
    // Whoever had found the copy just before does not wait there either.
    let question = question(2, &about(Level::Quorum, "k"), Ask::Clock);
    let header = Header { epoch: epoch(7), ..super::super::rig::envelope(Ask::Clock).header };
    let envelope = Envelope { header, round: question.round, ask: question.ask };
    let (tell, told) = tokio::sync::oneshot::channel();
    let now = shoal_core::replica::Now { clock: shoal_core::clock::Stamp::ZERO, physical_ms: 0 };
    let tell = Box::new(move |answer| drop(tell.send(answer)));
    copy.ask(envelope, now, Patience::Inline, || shoal_core::clock::Stamp::ZERO, tell);
    let answer: Option<Answer> = told.await.expect("it is told");
    assert_eq!(answer.expect("it answers").reply, Reply::Refused(Refusal::Void));
}
