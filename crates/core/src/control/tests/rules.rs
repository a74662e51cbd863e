//! What is planned, rule by rule.

use super::{Scene, limits, node, nodes};
use crate::control::{Control, Happened, Limits, Report};
use crate::ids::{Epoch, Incarnation, NodeId, PartitionId};
use crate::map::{Changes, Command, EngineKind, MapError, Place};
use crate::placement::Replication;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

#[test]
fn one_node_that_becomes_three_is_grown_into_and_cut_over_when_all_have_proven() {
    let mut scene = Scene::new(EngineKind::Disk, 4, 3);
    assert_eq!(scene.act(), [], "alone there is nothing to do");
    scene.joins(None);
    scene.joins(None);
    let happened = scene.act();
    assert_eq!(happened.len(), 4);
    for number in 0..4 {
        assert_eq!(scene.next(number), nodes(&[1, 2, 3]));
        let kept = scene.partition(number).replicas[0];
        assert!(scene.partition(number).next.contains(&kept), "who stays keeps its life");
    }
    scene.proves(1, 0);
    scene.proves(2, 0);
    assert_eq!(scene.act(), [], "one proof is missing");
    scene.proves(3, 0);
    let to: Vec<NodeId> = scene.partition(0).next.iter().map(|one| one.node).collect();
    let (keyspace, partition) = ("default".to_owned(), PartitionId(0));
    assert_eq!(scene.act(), [Happened::Moved { keyspace, partition, to: to.clone() }]);
    assert_eq!(scene.replicas(0), to);
    // Whoever comes first in the order of preference leads, and not always the same.
    scene.settle();
    let first: BTreeSet<_> = (0..4).map(|number| scene.replicas(number)[0]).collect();
    assert!(first.len() > 1);
}

#[test]
fn a_proof_of_another_epoch_is_void() {
    let mut scene = Scene::new(EngineKind::Disk, 1, 3);
    scene.joins(None);
    let before = scene.place(0);
    scene.act();
    let after = scene.place(0);
    let later = Epoch { index: after.epoch.index + 1, ..after.epoch };
    for node in nodes(&[1, 2]) {
        scene.control.on(Report::Proven { node, place: before });
    }
    assert_eq!(scene.act(), []);
    for node in nodes(&[1, 2]) {
        scene.control.on(Report::Proven { node, place: Place { epoch: later, ..after } });
    }
    assert_eq!(scene.act(), [], "of a map that is not here yet");
    scene.proves(1, 0);
    scene.proves(2, 0);
    assert_eq!(scene.plan().steps.len(), 1, "what never was makes nothing unheard");
    // A new leader has heard nothing, and hears it again.
    scene.control = Control::new(limits());
    scene.proves(1, 0);
    scene.proves(2, 0);
    assert_eq!(scene.act().len(), 1);
}

#[test]
fn a_plan_made_twice_is_refused_the_second_time() {
    let mut scene = Scene::new(EngineKind::Disk, 2, 3);
    scene.joins(None);
    let [one, other] = [scene.plan(), scene.plan()];
    assert_eq!(one, other);
    scene.command(&one.steps[0].command);
    let again = scene.map.apply(&other.steps[0].command);
    assert!(matches!(again, Err(MapError::StaleEpoch { .. })));
}

#[test]
fn no_more_begins_than_there_is_room_for() {
    let some = |number| NonZeroUsize::new(number).expect("not zero");
    let mut scene = Scene::new(EngineKind::Disk, 8, 2);
    scene.control = Control::new(Limits { moves: some(3), ..limits() });
    scene.joins(None);
    assert_eq!(scene.act().len(), 3);
    assert_eq!(scene.act(), []);
    scene.proves(1, 0);
    scene.proves(2, 0);
    assert_eq!(scene.act().len(), 1, "it is counted until the map shows that it is over");
    assert_eq!(scene.act().len(), 1);

    let mut scene = Scene::new(EngineKind::Disk, 8, 2);
    scene.control = Control::new(Limits { moves_per_node: some(2), ..limits() });
    (0..2).for_each(|_| scene.joins(None));
    assert_eq!(scene.act().len(), 4, "two for each of those that copy");
}

#[test]
fn a_change_that_waits_for_somebody_who_is_down_holds_nobody_up() {
    let some = |number| NonZeroUsize::new(number).expect("not zero");
    let mut scene = Scene::new(EngineKind::Disk, 8, 2);
    scene.control = Control::new(Limits { moves: some(2), ..limits() });
    (0..2).for_each(|_| scene.joins(None));
    assert_eq!(scene.act().len(), 2);
    let moving: Vec<_> = (0..8).map(|number| scene.next(number)).collect();
    let with = |number: u32| moving.iter().filter(|next| next.contains(&node(number))).count();
    let (down, stalled) = if with(2) > 0 { (2, with(2)) } else { (3, with(3)) };
    scene.falls(down);
    assert_eq!(scene.act().len(), stalled);
    assert_eq!(scene.act(), []);
}

#[test]
fn changes_that_have_to_begin_again_do_not_block_each_other() {
    let some = |number| NonZeroUsize::new(number).expect("not zero");
    let mut scene = Scene::new(EngineKind::Memory, 4, 3);
    (0..2).for_each(|_| scene.joins(None));
    scene.act();
    // Fewer may be under way than are, as when nodes came back that others had not waited for.
    scene.control = Control::new(Limits { moves: some(2), moves_per_node: some(2), ..limits() });
    (0..4).for_each(|number| scene.loses(3, number));
    assert_eq!(scene.act().len(), 2);
}

#[test]
fn who_is_down_is_waited_for_and_then_passed_over() {
    let mut scene = Scene::new(EngineKind::Disk, 1, 3);
    scene.joins(None);
    scene.joins(None);
    scene.falls(3);
    assert_eq!(scene.act(), []);
    scene.patience_ends();
    scene.settle();
    assert_eq!(scene.replicas(0).len(), 2);
    scene.rises(3);
    scene.settle();
    assert_eq!(scene.replicas(0).len(), 3);
    // An owner that is down stays one.
    scene.falls(2);
    scene.patience_ends();
    scene.joins(None);
    scene.settle();
    assert!(scene.replicas(0).contains(&node(2)));
}

#[test]
fn who_never_came_is_given_up() {
    let mut scene = Scene::new(EngineKind::Disk, 1, 3);
    scene.joins(None);
    scene.act();
    scene.falls(2);
    assert_eq!(scene.act(), []);
    scene.patience_ends();
    let (keyspace, partition) = ("default".to_owned(), PartitionId(0));
    assert_eq!(scene.act(), [Happened::TakenBack { keyspace, partition }]);
    assert_eq!((scene.replicas(0), scene.next(0)), (nodes(&[1]), vec![]));
    assert_eq!(scene.act(), [], "nor is it asked again");

    // Nor does one who is down itself come in its place.
    let mut scene = Scene::new(EngineKind::Disk, 1, 3);
    scene.joins(None);
    scene.act();
    scene.falls(2);
    scene.patience_ends();
    scene.joins(None);
    scene.falls(3);
    assert!(matches!(scene.act()[..], [Happened::TakenBack { .. }]));

    // Where there is somebody else, that one comes in its place, and who came stays.
    let mut scene = Scene::new(EngineKind::Disk, 1, 3);
    (0..2).for_each(|_| scene.joins(None));
    scene.act();
    let kept = *scene.partition(0).next.iter().find(|one| one.node == node(2)).expect("it comes");
    scene.joins(None);
    scene.falls(3);
    scene.patience_ends();
    assert_eq!(scene.act().len(), 1);
    assert_eq!(scene.next(0), nodes(&[1, 2, 4]));
    assert!(scene.partition(0).next.contains(&kept));
}

#[test]
fn who_had_proven_before_it_went_down_is_not_given_up() {
    let mut scene = Scene::new(EngineKind::Disk, 1, 3);
    (0..2).for_each(|_| scene.joins(None));
    scene.act();
    scene.proves(2, 0);
    scene.falls(2);
    scene.patience_ends();
    assert_eq!(scene.act(), []);
    scene.proves(1, 0);
    scene.proves(3, 0);
    scene.act();
    assert_eq!(scene.replicas(0).len(), 3);
}

#[test]
fn a_lost_copy_begins_anew() {
    let mut scene = Scene::settled(EngineKind::Memory, 2, 3, 3);
    let before = scene.partition(1).clone();
    scene.loses(2, 1);
    assert_eq!(scene.act().len(), 1);
    let partition = scene.partition(1);
    assert_eq!(partition.replicas, before.replicas);
    let changed: Vec<NodeId> = partition
        .next
        .iter()
        .filter(|member| !before.replicas.contains(member))
        .map(|member| member.node)
        .collect();
    assert_eq!(changed, nodes(&[2]));
    assert!(!scene.partition(0).is_moving());
    // Lost again on the way: a new intent, and what was proven is void.
    for number in [1, 3] {
        scene.proves(number, 1);
    }
    let epoch = scene.partition(1).epoch;
    scene.loses(2, 1);
    assert_eq!(scene.act().len(), 1);
    assert!(scene.partition(1).epoch > epoch);
    scene.proves(2, 1);
    assert_eq!(scene.act(), []);
    for number in [1, 3] {
        scene.proves(number, 1);
    }
    assert_eq!(scene.act().len(), 1);
    assert!(!scene.partition(1).is_moving());
}

#[test]
fn a_lost_copy_waits_for_its_node() {
    let mut scene = Scene::settled(EngineKind::Memory, 1, 3, 3);
    scene.loses(2, 0);
    scene.falls(2);
    assert_eq!(scene.act(), []);
    scene.rises(2);
    assert_eq!(scene.act().len(), 1);
}

#[test]
fn a_lost_copy_does_not_wait_for_one_more() {
    let mut scene = Scene::settled(EngineKind::Memory, 1, 3, 2);
    scene.joins(None);
    scene.falls(3);
    scene.loses(2, 0);
    assert_eq!(scene.act().len(), 1);
    assert_eq!(scene.next(0), nodes(&[1, 2]));
}

#[test]
fn what_is_left_in_memory_goes_on() {
    let mut scene = Scene::settled(EngineKind::Memory, 1, 3, 3);
    scene.loses(2, 0);
    scene.act();
    scene.loses(2, 0);
    scene.loses(3, 0);
    let from = scene.replicas(0);
    let (keyspace, partition) = ("default".to_owned(), PartitionId(0));
    let lost = Happened::DataLost { keyspace, partition, from, left: nodes(&[1]) };
    assert_eq!(scene.act(), [lost]);
    assert_eq!(scene.replicas(0), nodes(&[1]));
    scene.settle();
    assert_eq!(scene.replicas(0).len(), 3, "and it grows again");

    // Where nothing is left it goes on empty, with whoever is up.
    (1..=3).for_each(|number| scene.loses(number, 0));
    scene.falls(3);
    scene.act();
    let mut left = scene.replicas(0);
    left.sort();
    assert_eq!(left, nodes(&[1, 2]));
}

#[test]
fn a_copy_in_memory_whose_node_is_down_is_waited_for() {
    let mut scene = Scene::settled(EngineKind::Memory, 1, 3, 3);
    scene.falls(2);
    scene.falls(3);
    scene.patience_ends();
    assert_eq!(scene.act(), [], "nothing is known to be lost");
    scene.rises(2);
    scene.rises(3);
    scene.falls(3);
    scene.loses(2, 0);
    assert_eq!(scene.act(), [], "it may come back with what it has");
    scene.patience_ends();
    assert_eq!(scene.act().len(), 1);
    assert_eq!(scene.replicas(0), nodes(&[1]));

    let mut scene = Scene::settled(EngineKind::Memory, 1, 3, 3);
    scene.loses(1, 0);
    scene.loses(2, 0);
    scene.falls(3);
    assert_eq!(scene.act(), [], "the last copy is not left out at once");
}

#[test]
fn a_loss_on_disk_waits_to_be_accepted() {
    let mut scene = Scene::settled(EngineKind::Disk, 2, 3, 3);
    for number in [2, 3] {
        scene.loses(number, 0);
    }
    let waits =
        |partitions| vec![Happened::AwaitingAcceptance { keyspace: "default".into(), partitions }];
    assert_eq!(scene.act(), waits(1));
    assert_eq!(scene.act(), [], "it is told once");
    assert_eq!(scene.control.accept_loss(&scene.map, &scene.view, Some("other")), []);
    let steps = scene.control.accept_loss(&scene.map, &scene.view, None);
    let [step] = &steps[..] else { panic!("{steps:?}") };
    scene.command(&step.command);
    assert_eq!(scene.replicas(0), nodes(&[1]));
    assert_eq!(scene.act()[0], waits(0)[0]);
    scene.settle();
    assert_eq!(scene.replicas(0).len(), 3);
}

#[test]
fn half_of_an_even_number_is_enough_to_prove_a_change() {
    let mut scene = Scene::settled(EngineKind::Disk, 1, 2, 2);
    scene.loses(2, 0);
    assert_eq!(scene.act().len(), 1, "every write that was acknowledged is on the other one");
    assert_eq!(scene.next(0), nodes(&[1, 2]));
}

#[test]
fn the_places_of_a_node_that_is_gone_are_taken_by_others() {
    let mut scene = Scene::settled(EngineKind::Disk, 8, 3, 4);
    let held: Vec<u16> = (0..8).filter(|one| scene.replicas(*one).contains(&node(2))).collect();
    assert!(!held.is_empty() && held.len() < 8, "{held:?}");
    scene.falls(2);
    scene.patience_ends();
    assert_eq!(scene.act(), [], "being down is not being gone");
    scene.command(&Command::Forget { node: node(2) });
    assert_eq!(scene.act().len(), held.len());
    scene.settle();
    for number in 0..8 {
        let mut replicas = scene.replicas(number);
        replicas.sort();
        assert_eq!(replicas, nodes(&[1, 3, 4]));
    }
    assert!(!scene.map.nodes.contains_key(&node(2)), "nothing names it any more");
}

#[test]
fn a_place_that_nobody_can_take_is_given_up() {
    let mut scene = Scene::settled(EngineKind::Disk, 1, 3, 3);
    scene.falls(2);
    scene.command(&Command::Forget { node: node(2) });
    scene.settle();
    let mut replicas = scene.replicas(0);
    replicas.sort();
    assert_eq!(replicas, nodes(&[1, 3]));
    // But whoever may be back soon, or is about to come, is waited for.
    let mut scene = Scene::settled(EngineKind::Disk, 1, 3, 3);
    scene.joins(None);
    scene.falls(4);
    scene.falls(2);
    scene.command(&Command::Forget { node: node(2) });
    assert_eq!(scene.act(), []);
    scene.patience_ends();
    assert_eq!(scene.act().len(), 1);
    let mut scene = Scene::settled(EngineKind::Disk, 1, 3, 3);
    scene.falls(2);
    let id = scene.join_only(None, Some(node(2)));
    assert_eq!(scene.act(), []);
    scene.starts(id);
    assert_eq!(scene.act().len(), 1);
    assert_eq!(scene.next(0), nodes(&[1, 3, 4]));
}

#[test]
fn a_leaver_that_has_forgotten_is_let_go() {
    let mut scene = Scene::new(EngineKind::Disk, 1, 3);
    scene.joins(None);
    scene.act();
    scene.falls(2);
    scene.patience_ends();
    scene.act();
    assert_eq!(scene.partition(0).outgoing, nodes(&[2]));
    scene.rises(2);
    assert_eq!(scene.act(), [], "it is given nothing before");
    scene.forgets(2, 0);
    scene.act();
    assert_eq!(scene.partition(0).outgoing, []);
    scene.settle();
    assert_eq!(scene.replicas(0).len(), 2);
}

#[test]
fn the_most_endangered_comes_first() {
    let some = |number| NonZeroUsize::new(number).expect("not zero");
    let mut scene = Scene::settled(EngineKind::Memory, 4, 5, 5);
    scene.control = Control::new(Limits { moves: some(1), ..limits() });
    scene.loses(1, 0);
    for number in [2, 3] {
        scene.loses(number, 2);
    }
    scene.loses(1, 3);
    scene.act();
    let moving: Vec<u16> = (0..4).filter(|one| scene.partition(*one).is_moving()).collect();
    assert_eq!(moving, [2]);
}

#[test]
fn another_zone_is_chosen_first() {
    let mut scene = Scene::new(EngineKind::Disk, 16, 2);
    scene.joins(Some("a"));
    scene.settle();
    // Placement would rather have the second node of zone a in places of the first; but that one
    // stays, so that only the node of zone b is somewhere else.
    for zone in ["a", "b"] {
        scene.joins(Some(zone));
    }
    let replication = Some(Replication::Count(3));
    let changes = Changes { replication, ..Changes::default() };
    scene.command(&Command::AlterKeyspace { name: "default".into(), changes });
    scene.settle();
    for number in 0..16 {
        let zones: BTreeSet<_> =
            scene.replicas(number).iter().map(|id| scene.map.nodes[id].zone.clone()).collect();
        assert_eq!(zones.len(), 3, "{:?}", scene.replicas(number));
    }
}

#[test]
fn what_says_nothing_any_more_is_dropped() {
    let mut scene = Scene::new(EngineKind::Disk, 1, 3);
    scene.joins(None);
    let before = scene.place(0);
    scene.proves(1, 0);
    scene.act();
    assert!(scene.control.reports.at(before).is_some(), "the map may not show it yet");
    scene.act();
    assert_eq!(scene.control.reports.at(before), None);
    let of_no_keyspace = Place { keyspace: Incarnation(0), ..scene.place(0) };
    let of_one_to_come = Place { keyspace: Incarnation(9), ..scene.place(0) };
    let of_no_partition = Place { partition: PartitionId(9), ..scene.place(0) };
    let far = Epoch { index: u64::MAX, ..scene.place(0).epoch };
    let of_no_epoch = Place { epoch: far, ..scene.place(0) };
    let false_ones = [of_no_keyspace, of_one_to_come, of_no_partition, of_no_epoch];
    for place in false_ones {
        scene.control.on(Report::Lost { node: node(1), place });
    }
    assert_eq!(scene.act(), []);
    assert!(false_ones.iter().all(|place| scene.control.reports.at(*place).is_none()));
}

/// A node that says of every epoch that might come that its copy is lost, again and again, neither
/// brings anything about nor keeps anything from being done.
#[test]
fn whoever_reports_what_cannot_be_disturbs_nobody() {
    let mut scene = Scene::new(EngineKind::Disk, 2, 3);
    scene.joins(None);
    scene.act();
    let mut moved = 0;
    for _ in 0..3 {
        for ahead in (1..9).rev() {
            let place = scene.place(0);
            let epoch = Epoch { index: place.epoch.index + ahead, ..place.epoch };
            for report in [
                Report::Lost { node: node(1), place: Place { epoch, ..place } },
                Report::Proven { node: node(9), place: Place { epoch, ..place } },
                Report::Forgotten { node: node(2), place: Place { epoch, ..place } },
                // Neither an owner nor one to be.
                Report::Lost { node: node(9), place },
                Report::Proven { node: node(9), place },
                Report::Forgotten { node: node(1), place },
            ] {
                scene.control.on(report);
            }
        }
        if scene.partition(0).is_moving() {
            scene.proves(1, 0);
            scene.proves(2, 0);
        }
        moved += scene.act().len();
    }
    assert_eq!(moved, 1, "it is cut over once, and nothing else happens");
    assert_eq!(scene.replicas(0).len(), 2);
}
