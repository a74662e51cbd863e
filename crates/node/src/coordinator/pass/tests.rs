//! Changes where the first owner does not carry them out.

use super::super::rig::Cluster;
use super::*;
use crate::replicas::rig::{KEYSPACE, copy_of, member, memory, memory_of, owners};
use shoal_core::codec::record::Form;
use shoal_core::quorum::{NoQuorum, WriteOutcome};
use shoal_core::update::{ExpireWhen, Outcome, OwnedWhen, SetExpiry};
use shoal_storage::Engine;

fn counted(forwarded: &Forwarded) -> i64 {
    match forwarded {
        Forwarded::Done { outcome: Outcome::Integer(number), .. } => *number,
        other => panic!("not done: {other:?}"),
    }
}

/// Puts another copy in place of the node's, over this engine: in the life that the map names, or
/// in none.
fn replace(cluster: &Cluster, node: u32, engine: &Arc<dyn Engine>, founded: bool) {
    let first = [member(1, 1), member(2, 1), member(3, 1)];
    let owners = owners(1, &first, &[]);
    let (copy, settled) = copy_of(NodeId(node), engine, Form::Plain, owners);
    if founded {
        copy.found().expect("it begins");
    }
    cluster.at(node).coordinator.copies().add_all(&[((KEYSPACE, PartitionId(0)), copy)]);
    tokio::spawn(async move { settled.run().await });
}

/// Puts a copy that lost everything in place of the node's.
fn lose(cluster: &Cluster, node: u32) {
    replace(cluster, node, &memory(), false);
}

/// Puts a copy in place of the node's whose store has room for nothing.
fn fill(cluster: &Cluster, node: u32) {
    replace(cluster, node, &memory_of(1), true);
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_copy_is_lost_leaves_changes_to_the_next() {
    let cluster = Cluster::new(4, 3, false).await;
    let add = || OwnedUpdate::Add { delta: 1 };
    assert_eq!(counted(&cluster.at(4).update("n", add()).await), 1);
    lose(&cluster, 1);
    for (node, expected) in [(4, 2), (1, 3), (2, 4), (3, 5)] {
        let begun = Instant::now();
        assert_eq!(counted(&cluster.at(node).update("n", add()).await), expected);
        assert!(begun.elapsed() < DEADLINE);
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_owner_takes_it_that_is_said_soon_and_nothing_is_done() {
    let cluster = Cluster::new(4, 3, false).await;
    for node in 1..=3 {
        lose(&cluster, node);
    }
    let begun = Instant::now();
    let outcome = cluster.at(4).update("n", OwnedUpdate::Add { delta: 1 }).await;
    assert_eq!(outcome, Forwarded::Elsewhere);
    assert!(begun.elapsed() < DEADLINE);
}

#[test]
fn only_where_all_who_were_asked_have_no_room_nobody_has() {
    let about = super::super::rig::about(Level::Quorum, "k");
    let mut passing = Passing::new(&about, ());
    let hears = |passing: &mut Passing<()>, node, why| {
        passing.declined.push(NodeId(node));
        passing.note(why);
        passing.nobody_has_room()
    };
    assert_eq!(passing.nobody_has_room(), None);
    assert_eq!(hears(&mut passing, 1, Declined::Full(Full::Disk)), Some(Full::Disk));
    assert_eq!(hears(&mut passing, 2, Declined::Full(Full::Memory)), Some(Full::Memory));
    assert_eq!(hears(&mut passing, 3, Declined::Elsewhere), None);
    passing.begin_again();
    assert_eq!(passing.nobody_has_room(), None);
    assert_eq!(hears(&mut passing, 1, Declined::Elsewhere), None);
    assert_eq!(hears(&mut passing, 2, Declined::Full(Full::Disk)), None);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_room_for_is_refused_by_name_at_once_and_not_done() {
    let cluster = Cluster::new(4, 3, false).await;
    let add = || OwnedUpdate::Add { delta: 1 };
    fill(&cluster, 1);
    assert_eq!(counted(&cluster.at(4).update("n", add()).await), 1, "others have room");
    fill(&cluster, 2);
    fill(&cluster, 3);
    for node in [1, 4] {
        let begun = Instant::now();
        let outcome = cluster.at(node).update("n", add()).await;
        assert_eq!(outcome, Forwarded::Full(Full::Memory));
        assert!(begun.elapsed() < PAUSE, "it was not tried again");
        let outcome = cluster.at(node).set(Level::Quorum, "k", "v").await;
        assert_eq!(outcome, WriteOutcome::Full(Full::Memory));
    }
}

#[tokio::test(start_paused = true)]
async fn too_few_owners_are_named_before_anybody_is_asked() {
    let cluster = Cluster::new(4, 3, false).await;
    cluster.cut_off(1);
    cluster.cut_off(2);
    let outcome = cluster.at(4).update("n", OwnedUpdate::Add { delta: 1 }).await;
    let unreachable = vec![NodeId(1), NodeId(2)];
    assert_eq!(outcome, Forwarded::NoQuorum(NoQuorum { have: 1, need: 2, unreachable }));
}

#[tokio::test(start_paused = true)]
async fn what_was_there_before_is_told_to_whoever_wants_it_alone() {
    let cluster = Cluster::new(4, 3, false).await;
    let set = |value: &'static [u8]| OwnedUpdate::Set {
        value: Bytes::from_static(value),
        expiry: SetExpiry::Never,
        when: OwnedWhen::Always,
    };
    let delete = || OwnedUpdate::Delete { when: OwnedWhen::Always };
    // At the node that carries it out, and at another one.
    for node in [1, 4] {
        let peer = cluster.at(node);
        peer.update("k", set(b"first")).await;
        let Forwarded::Done { before, version, .. } = peer.update("k", set(b"second")).await else {
            panic!("not done");
        };
        let seen = before.as_ref().map(|record| record.borrow().rank().content);
        assert_eq!(
            seen,
            Some(shoal_core::Record::live(Version::ZERO, None, b"first").rank().content)
        );
        // The version that stays is told in either case.
        let unmet =
            OwnedUpdate::Expire { at: 1, when: ExpireWhen { some: true, ..ExpireWhen::default() } };
        let told = peer.update_looking("k", unmet, false).await;
        assert_eq!(told, Forwarded::Done { outcome: Outcome::Unmet, before: None, version });
        let told = peer.update_looking("k", delete(), false).await;
        let gone = Forwarded::Done { outcome: Outcome::Done, before: None, version: None };
        assert_eq!(told, gone);
    }
}
