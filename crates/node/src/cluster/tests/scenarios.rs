//! What clusters of whole nodes live through, in virtual time.

use super::town::{Town, in_virtual_time};
use crate::cluster::rig::until;
use shoal_core::NodeId;
use shoal_core::map::{Command, DEFAULT_KEYSPACE, EngineKind, KeyspaceSpec};
use shoal_core::quorum::WriteOutcome;
use shoal_core::slot::Partitioning;
use shoal_meta::{MapStore as _, MetaError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

fn create(name: &str) -> Command {
    let partitioning = Partitioning::new(1).expect("a power of two");
    let spec = KeyspaceSpec { partitioning, ..KeyspaceSpec::new(EngineKind::Memory) };
    Command::CreateKeyspace { name: name.to_owned(), spec, database: None }
}

/// Waits until those who are not `away` follow one of themselves, and says whom.
async fn next_leader(town: &Town, away: &[u32]) -> u32 {
    let here: Vec<u32> = town.machines().into_iter().filter(|m| !away.contains(m)).collect();
    let leader = || town.leader_by(here[0]).filter(|leader| here.contains(leader));
    until("another leads", || leader().is_some()).await;
    leader().expect("it was there just now")
}

/// Proposes until it is known to be made.
async fn change(town: &Town, machine: u32, command: &Command) {
    loop {
        match town.propose(machine, command).await {
            Ok(_) => return,
            Err(MetaError::NoMajority { .. } | MetaError::Unknown { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn is_refused(town: &Town, machine: u32, command: &Command) {
    let refused = town.propose(machine, command).await;
    assert!(matches!(refused, Err(MetaError::NoMajority { .. })), "m{machine}: {refused:?}");
}

async fn writes(town: &Town, machine: u32, keys: &BTreeMap<String, String>) {
    for (key, value) in keys {
        let outcome = town.set_key(machine, key, value).await;
        assert!(matches!(outcome, WriteOutcome::Done { .. }), "m{machine}, {key}: {outcome:?}");
    }
}

fn keys(prefix: &str) -> BTreeMap<String, String> {
    (0..20).map(|number| (format!("{prefix}{number}"), format!("{prefix}-{number}"))).collect()
}

async fn all_find(town: &Town, keys: &BTreeMap<String, String>) {
    for (key, value) in keys {
        town.all_find(key, value).await;
    }
}

#[test]
fn one_founds_four_join_and_any_node_serves_any_key() {
    in_virtual_time(3, async |town| {
        town.found().await;
        let early = keys("early");
        writes(town, 1, &early).await;
        town.join(2, 1, false).await.expect("it is let in");
        town.join(3, 2, false).await.expect("it is let in");
        town.is_settled(3, &[1, 2, 3]).await;
        let late = keys("late");
        writes(town, 2, &late).await;
        town.join(4, 3, false).await.expect("it is let in");
        town.join(5, 1, false).await.expect("it is let in");
        town.is_settled(3, &[1, 2, 3, 4, 5]).await;
        all_find(town, &early).await;
        all_find(town, &late).await;
    });
}

#[test]
fn of_five_voters_cut_in_two_only_three_change_the_map() {
    in_virtual_time(3, async |town| {
        town.grow(5).await;
        town.is_settled(3, &[1, 2, 3, 4, 5]).await;
        let leader = next_leader(town, &[]).await;
        let mut others: Vec<u32> = town.machines().into_iter().filter(|m| *m != leader).collect();
        town.dice.shuffle(&mut others);
        let minority = [leader, others[0]];
        town.isolate(&minority);
        for machine in minority {
            is_refused(town, machine, &create("lost")).await;
        }
        for machine in &others[1..] {
            change(town, *machine, &create(&format!("kept{machine}"))).await;
        }
        for machine in minority {
            is_refused(town, machine, &create("lost")).await;
        }
        town.mend();
        town.is_settled(3, &[1, 2, 3, 4, 5]).await;
        let map = town.map(leader);
        assert!(map.keyspace("lost").is_none());
        assert!(others[1..].iter().all(|m| map.keyspace(&format!("kept{m}")).is_some()));
    });
}

#[test]
fn who_only_knows_an_old_map_gets_no_quorum_for_it() {
    in_virtual_time(3, async |town| {
        town.grow(5).await;
        town.is_settled(3, &[1, 2, 3, 4, 5]).await;
        let owners = town.owners(1, "k");
        let former = *owners.first().expect("it has owners");
        let mut strangers = town.machines().into_iter().filter(|m| !owners.contains(m));
        let coordinator = strangers.next().expect("two own nothing of it");
        let before = town.set_key(coordinator, "k", "before").await;
        assert!(matches!(before, WriteOutcome::Done { .. }), "{before:?}");
        let old = town.map(coordinator);
        // Frozen together under the old map, while the others give the key to somebody else.
        town.isolate(&[former, coordinator]);
        let next = next_leader(town, &[former, coordinator]).await;
        change(town, next, &Command::Forget { node: town.id(former) }).await;
        let new_owners = || town.owners(next, "k");
        until("others own it", || !new_owners().contains(&former) && new_owners().len() == 3).await;
        for machine in [former, coordinator] {
            assert_eq!(town.map(machine), old);
            let outcome = town.set_key(machine, "k", "stale").await;
            assert!(!matches!(outcome, WriteOutcome::Done { .. }), "m{machine}: {outcome:?}");
        }
        let outcome = town.set_key(next, "k", "after").await;
        assert!(matches!(outcome, WriteOutcome::Done { .. }), "{outcome:?}");
        town.mend();
        // The one learns the map, and is served under it; the other is not listened to any more.
        let shows = || town.map(coordinator).version >= town.map(next).version;
        until("the coordinator knows", shows).await;
        town.kill(former, false).await;
        town.all_find("k", "after").await;
    });
}

#[test]
fn what_is_written_through_any_node_after_a_flush_is_there() {
    in_virtual_time(2, async |town| {
        town.grow(4).await;
        town.is_settled(3, &[1, 2, 3]).await;
        // It hears of changes late.
        town.slow(4, Duration::from_millis(60));
        for round in 0..20 {
            let machine = round % 3 + 1;
            let before = town.map(machine);
            let command = Command::FlushKeyspaces { names: [DEFAULT_KEYSPACE.to_owned()].into() };
            let map = town.propose(machine, &command).await.expect("there is a majority");
            let cluster = town.cluster(machine);
            cluster.fence(&command, before.version, &map).await.expect("all answer");
            let written = keys(&format!("round {round}, "));
            for (number, (key, value)) in (0..).zip(&written) {
                let outcome = town.set_key(number % 4 + 1, key, value).await;
                assert!(matches!(outcome, WriteOutcome::Done { .. }), "{key}: {outcome:?}");
            }
            all_find(town, &written).await;
        }
    });
}

#[test]
fn a_thousand_changes_at_once_make_one_chain_and_none_is_made_twice() {
    in_virtual_time(2, async |town| {
        town.grow(5).await;
        change(town, 1, &create("chain")).await;
        town.is_settled(3, &[1, 2, 3, 4, 5]).await;
        let before = town.map(1);
        // Each begins a new life under a number of its own, so a second time would show.
        let flush = Command::FlushKeyspaces { names: BTreeSet::from(["chain".to_owned()]) };
        town.lose(100);
        let mut proposals = Vec::new();
        for number in 0..1_000 {
            let (store, flush) = (Arc::clone(town.store(number % 5 + 1)), flush.clone());
            proposals.push(tokio::spawn(async move { store.propose_async(&flush).await }));
        }
        let (mut made, mut open, mut versions) = (0, 0, BTreeSet::new());
        for proposal in proposals {
            match proposal.await.expect("no panic") {
                Ok(map) => {
                    made += 1;
                    versions.insert(map.version);
                }
                Err(MetaError::Unknown { .. }) => open += 1,
                Err(MetaError::NoMajority { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        town.mend();
        town.is_settled(3, &[1, 2, 3, 4, 5]).await;
        let after = town.map(1);
        assert!(made >= 500, "only {made} of 1,000 were made");
        let lives = after.next_incarnation.0 - before.next_incarnation.0;
        assert!((made..=made + open).contains(&lives), "{made} and {open} open made {lives}");
        assert!(after.version.index - before.version.index >= u64::from(lives));
        assert!(versions.last() <= Some(&after.version));
    });
}

#[test]
fn a_voter_that_was_wiped_has_no_voice_again_though_the_leader_dies_meanwhile() {
    in_virtual_time(3, async |town| {
        town.grow(5).await;
        town.is_settled(3, &[1, 2, 3, 4, 5]).await;
        let leader = next_leader(town, &[]).await;
        let wiped = town.machines().into_iter().find(|m| *m != leader).expect("there are five");
        let old = town.id(wiped);
        town.kill(wiped, true).await;
        let refused = town.join(wiped, leader, false).await.expect_err("it has a name in use");
        assert_eq!(refused.code, "name_in_use");
        assert!(town.store(leader).current().nodes.contains_key(&old));
        town.join(wiped, leader, true).await.expect("it takes its place");
        assert_ne!(town.id(wiped), old, "it is another node");
        // It is being made a voter, and an owner, at this moment.
        town.isolate(&[leader]);
        let next = next_leader(town, &[leader]).await;
        change(town, next, &create("meanwhile")).await;
        town.mend();
        town.is_settled(3, &[1, 2, 3, 4, 5]).await;
        let is_away = |machine: u32| {
            let store = town.store(machine);
            !store.voters().borrow().contains(&old) && !town.map(machine).nodes.contains_key(&old)
        };
        until("nothing names the old one", || town.machines().into_iter().all(is_away)).await;
        assert!(town.map(wiped).keyspace("meanwhile").is_some());
        assert!(town.map(wiped).keyspace(DEFAULT_KEYSPACE).is_some());
        assert!(!town.history.leads_as(old, town.store(wiped).leadership().borrow().term));
    });
}

#[test]
fn a_dead_voter_is_replaced_by_one_who_has_no_voice_yet() {
    in_virtual_time(3, async |town| {
        town.grow(4).await;
        let first: Vec<NodeId> = [1, 2, 3].map(NodeId).to_vec();
        town.is_settled(3, &[1, 2, 3]).await;
        let leader = next_leader(town, &[]).await;
        let dead = (1..=3).find(|machine| *machine != leader).expect("there are three");
        assert!(first.contains(&town.id(dead)));
        town.kill(dead, false).await;
        let voters: BTreeSet<NodeId> = (1..=4).filter(|m| *m != dead).map(NodeId).collect();
        let know = |machine: &u32| *town.store(*machine).voters().borrow() == voters;
        until("the fourth votes", || town.machines().iter().all(know)).await;
        // So that one more may be missed.
        let away = next_leader(town, &[]).await;
        town.isolate(&[away]);
        let next = next_leader(town, &[away]).await;
        change(town, next, &create("with-two")).await;
    });
}
