//! Hints that come late, to the wrong place, or not at all.

use super::stage::{KEPT, PUT, Stage};
use crate::client::{Kind, Told};
use shoal_core::quorum::{Ask, Item, Origin, Refusal, Reply};
use shoal_core::{Incarnation, NodeId};
use std::sync::Arc;

#[test]
fn an_old_hint_changes_nothing_however_often_it_comes() {
    let mut stage = Stage::new(3, 3);
    stage.isolate(3);
    let old = stage.write(1, PUT);
    let hint = stage.held(1).expect("it was written there");
    stage.heal();
    let new = stage.write(2, PUT);
    stage.run(10);
    assert!(new > old);
    for _ in 0..3 {
        assert_eq!(stage.offer(3, &hint, KEPT), Reply::Newer(new));
        assert_eq!(stage.held(3).map(|held| held.version), Some(new));
    }
    stage.run(10_000);
    assert_eq!(stage.world.nodes[0].copies[0].hints.len(), 0);
    stage.judge();
}

#[test]
fn a_hint_for_who_is_no_owner_any_more_goes_to_the_owners_of_today() {
    let mut stage = Stage::new(5, 3);
    // The third owner does not hear of the write, and then is no owner any more.
    stage.cut(5, 3);
    stage.cut(1, 3);
    let version = stage.write(5, PUT);
    stage.run(6_000);
    let hint = stage.held(1).expect("it was written there");
    assert_eq!(stage.world.nodes[4].copies[0].hints.len(), 1);
    for node in [1, 2, 3, 4] {
        stage.cut(5, node);
        stage.cut(node, 5);
    }
    stage.world.move_to(0, &[1, 2, 4]);
    for node in [1, 2, 3, 4] {
        stage.world.pull_map(NodeId(node));
    }
    stage.run(10_000);
    assert_eq!(stage.world.cut_overs, 1);
    stage.heal();
    stage.world.pull_map(NodeId(5));
    stage.run(5_000);
    assert_eq!(stage.world.nodes[4].copies[0].hints.len(), 0);
    assert_eq!(stage.held(3), None);
    assert_eq!(stage.offer(3, &hint, KEPT), Reply::Refused(Refusal::NotCounting));
    assert_eq!([1, 2, 4].map(|at| stage.held(at).map(|held| held.version)), [Some(version); 3]);
    stage.judge();
}

#[test]
fn a_hint_of_an_earlier_life_of_the_keyspace_is_void() {
    let mut stage = Stage::new(3, 3);
    stage.write(1, PUT);
    let record = stage.held(1).expect("it was written there");
    let items: Arc<[Item]> = Arc::from([Item { key: stage.key(1), record }]);
    let hint = Ask::Take { items, origin: KEPT };
    assert_eq!(stage.serve_in(Incarnation(0), 2, hint), Reply::Refused(Refusal::Void));
    assert_eq!(stage.held_under(2, 1), None);
}

#[test]
fn a_hint_is_no_acknowledgement_and_what_it_would_have_brought_comes_by_comparison() {
    let mut stage = Stage::with(3, 3, |options| options.hints = 0);
    stage.isolate(3);
    let version = stage.write(1, PUT);
    stage.run(6_000);
    assert_eq!(stage.world.nodes[0].copies[0].hints.len(), 0, "there is no room for any");
    stage.isolate(2);
    assert_eq!(stage.ask(1, PUT), Told::Unknown);
    stage.heal();
    stage.compare(1, 2);
    stage.compare(1, 3);
    let versions = [1, 2, 3].map(|at| stage.held(at).map(|held| held.version));
    assert!(versions[0] > Some(version) && versions == [versions[0]; 3]);
    stage.judge();
}

#[test]
fn hints_survive_their_holders_restart() {
    let mut stage = Stage::new(3, 3);
    stage.isolate(3);
    stage.write(1, Kind::Delete);
    stage.run(6_000);
    stage.restart(1);
    stage.heal();
    stage.run(6_000);
    assert!(stage.held(3).is_some_and(|held| held.borrow().is_tombstone()));
}

#[test]
fn a_hint_is_nothing_fresh() {
    // A record that was accepted once may be ahead of a clock that has been set back since.
    let mut stage = Stage::new(3, 3);
    stage.write(1, PUT);
    let record = stage.held(1).expect("it was written there");
    stage.world.node(NodeId(2)).offset_ms = -3_600_000;
    let fresh = Origin::Fresh { base: None, last: false };
    assert!(matches!(stage.offer(2, &record, KEPT), Reply::Accepted));
    assert!(matches!(stage.offer(2, &record, fresh), Reply::Accepted), "it is there already");
}
