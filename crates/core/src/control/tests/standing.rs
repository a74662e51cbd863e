//! What the status says.

use super::{Scene, node};
use crate::control::Health;
use crate::map::{Command, EngineKind};

fn health(scene: &Scene) -> Health {
    scene.control.status(&scene.map, &scene.view).health
}

#[test]
fn a_cluster_of_one_is_whole_and_three_have_to_grow() {
    let mut scene = Scene::new(EngineKind::Disk, 4, 3);
    assert_eq!(health(&scene), Health::Whole);
    scene.joins(None);
    scene.joins(None);
    let status = scene.control.status(&scene.map, &scene.view);
    assert_eq!((status.health, status.is_fully_replicated()), (Health::Growing, false));
    assert_eq!((status.total.partitions, status.total.below_target), (4, 4));
    scene.act();
    scene.proves(2, 0);
    let status = scene.control.status(&scene.map, &scene.view);
    assert_eq!((status.total.moving, status.total.copies_to_make), (4, 7));
    assert_eq!((status.receiving[&node(2)], status.receiving[&node(3)]), (3, 4));
    assert_eq!(status.keyspaces["default"], status.total);
    scene.settle();
    let status = scene.control.status(&scene.map, &scene.view);
    assert_eq!((status.health, status.is_fully_replicated()), (Health::Whole, true));
    assert!(status.receiving.is_empty());
}

#[test]
fn who_is_down_still_has_its_copies() {
    let mut scene = Scene::settled(EngineKind::Disk, 4, 3, 3);
    scene.falls(3);
    scene.patience_ends();
    let status = scene.control.status(&scene.map, &scene.view);
    assert_eq!((status.health, status.is_fully_replicated()), (Health::Degraded, true));
    assert_eq!(status.down.len(), 1);
    scene.falls(2);
    let status = scene.control.status(&scene.map, &scene.view);
    assert_eq!((status.health, status.total.without_quorum), (Health::Broken, 4));
}

#[test]
fn a_change_needs_a_quorum_in_both_sets() {
    let mut scene = Scene::new(EngineKind::Disk, 1, 3);
    scene.joins(None);
    scene.act();
    scene.falls(2);
    let status = scene.control.status(&scene.map, &scene.view);
    assert_eq!((status.total.without_quorum, status.total.stalled), (1, 1));
    scene.patience_ends();
    scene.act();
    let status = scene.control.status(&scene.map, &scene.view);
    assert_eq!((status.health, status.total.leaving), (Health::Degraded, 1));
    assert_eq!(status.total.below_target, 1, "the second copy was never made");
}

#[test]
fn lost_copies_are_missing_until_they_are_whole_again() {
    let mut scene = Scene::settled(EngineKind::Memory, 2, 3, 3);
    scene.loses(2, 0);
    let status = scene.control.status(&scene.map, &scene.view);
    assert_eq!((status.health, status.total.lost_copies), (Health::Degraded, 1));
    assert_eq!((status.total.below_target, status.total.without_quorum), (1, 0));
    scene.act();
    let status = scene.control.status(&scene.map, &scene.view);
    assert_eq!((status.total.lost_copies, status.total.copies_to_make), (1, 1));
    scene.settle();
    assert_eq!(health(&scene), Health::Whole);
}

#[test]
fn what_waits_to_be_accepted_is_counted() {
    let mut scene = Scene::settled(EngineKind::Disk, 2, 3, 3);
    for number in [1, 2] {
        scene.loses(number, 1);
    }
    let status = scene.control.status(&scene.map, &scene.view);
    assert_eq!((status.health, status.total.awaiting_acceptance), (Health::Broken, 1));
}

#[test]
fn a_node_that_is_gone_is_missed_until_its_places_are_taken() {
    let mut scene = Scene::settled(EngineKind::Disk, 2, 3, 4);
    scene.falls(2);
    scene.command(&Command::Forget { node: node(2) });
    let status = scene.control.status(&scene.map, &scene.view);
    assert_eq!(status.health, Health::Degraded);
    assert_eq!((status.gone.len(), status.members.len()), (1, 3));
    let id = scene.join_only(None, None);
    let status = scene.control.status(&scene.map, &scene.view);
    assert!(status.joining.contains(&id));
    scene.starts(id);
    scene.settle();
    assert_eq!(health(&scene), Health::Whole);
}
