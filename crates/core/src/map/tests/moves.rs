//! Changes of owners: intents, cut-overs, what is forgotten, going on with what is left.

use super::laws::{partition_at, small};
use super::nodes::three;
use super::*;
use crate::ids::PartitionId;

/// Partition 0 of `default`, as it stands.
fn place(map: &ClusterMap) -> Place {
    let default = &map.keyspaces["default"];
    let (keyspace, partition) = (default.incarnation, PartitionId(0));
    Place { keyspace, partition, epoch: default.partitions[0].epoch }
}

fn intend(map: &ClusterMap, next: &[u32], renewed: &[u32]) -> Command {
    let Place { keyspace, partition, epoch } = place(map);
    let ids = |numbers: &[u32]| numbers.iter().copied().map(NodeId).collect();
    let intent = Intent { keyspace, partition, epoch, next: ids(next), renewed: ids(renewed) };
    Command::Intend { intents: vec![intent] }
}

fn cut_over(map: &ClusterMap) -> Command {
    Command::CutOver { partitions: vec![place(map)] }
}

fn forgotten(map: &ClusterMap, node: u32) -> Command {
    Command::Forgotten { node: NodeId(node), partitions: vec![place(map)] }
}

fn reseat(map: &ClusterMap, members: &[u32]) -> Command {
    let members = members.iter().copied().map(NodeId).collect();
    Command::Reseat { place: place(map), members }
}

/// Each member as its node and the life of its copy.
type Lives = Vec<(u32, u64)>;

/// Partition 0 of `default`: each set as (node, life), and those that still forget.
fn held(map: &ClusterMap) -> (Lives, Lives, Vec<u32>) {
    let partition = partition_at(map, place(map)).expect("it is there");
    let plain = |set: &[Member]| set.iter().map(|m| (m.node.0, m.incarnation.0)).collect();
    let outgoing = partition.outgoing.iter().map(|node| node.0).collect();
    (plain(&partition.replicas), plain(&partition.next), outgoing)
}

/// Applies what `next` makes of the map, which must be taken.
fn then(map: &ClusterMap, next: impl Fn(&ClusterMap) -> Command) -> ClusterMap {
    run(map, &[next(map)])
}

/// `three`, in which partition 0 of `default` is held by `nodes`.
fn on(nodes: &[u32]) -> ClusterMap {
    then(&then(&three(), |map| intend(map, nodes, &[])), cut_over)
}

#[test]
fn one_becomes_three() {
    let map = three();
    let start = map.version.index;
    let moving = then(&map, |map| intend(map, &[1, 2, 3], &[]));
    let life = start + 1;
    assert_eq!(held(&moving), (vec![(1, 1)], vec![(1, 1), (2, life), (3, life)], vec![]));
    let partition = &moving.keyspaces["default"].partitions[0];
    assert_eq!(partition.epoch, moving.version);
    assert_eq!(partition.owners().nodes().collect::<Vec<_>>(), [1, 2, 3].map(NodeId));
    assert_eq!(partition.nodes().collect::<Vec<_>>(), [1, 2, 3].map(NodeId));
    let done = then(&moving, cut_over);
    assert_eq!(held(&done), (vec![(1, 1), (2, life), (3, life)], vec![], vec![]));
    assert_eq!(done.keyspaces["default"].partitions[0].epoch, done.version);
    // Nobody else was touched.
    let rest = |map: &ClusterMap| map.keyspaces["default"].partitions[1..].to_vec();
    assert_eq!(rest(&done), rest(&map));
}

#[test]
fn who_leaves_is_outgoing_until_it_has_forgotten() {
    let map = on(&[2, 3]);
    assert_eq!(held(&map).2, [1]);
    assert_eq!(code(&map, &intend(&map, &[1, 2], &[])), "invalid_owners");
    assert_eq!(code(&map, &forgotten(&map, 2)), "not_outgoing");
    let epoch = place(&map).epoch;
    let clean = then(&map, |map| forgotten(map, 1));
    assert_eq!(held(&clean).2, []);
    assert_eq!(place(&clean).epoch, epoch, "nobody is fenced by it");
    assert_eq!(clean.keyspaces["default"].epoch, clean.version);
    assert_eq!(code(&clean, &forgotten(&clean, 1)), "not_outgoing");
    // It may come back, in a new life.
    let back = then(&clean, |map| intend(map, &[1, 2, 3], &[]));
    assert_eq!(held(&back).1[0], (1, back.version.index));
}

#[test]
fn a_report_of_an_earlier_leaving_is_not_one_of_a_later() {
    let map = on(&[2, 3]);
    let early = forgotten(&map, 1);
    let clean = run(&map, std::slice::from_ref(&early));
    let back = then(&then(&clean, |map| intend(map, &[1, 2, 3], &[])), cut_over);
    let left_again = then(&then(&back, |map| intend(map, &[2, 3], &[])), cut_over);
    assert_eq!(held(&left_again).2, [1]);
    assert_eq!(code(&left_again, &early), "stale_epoch");
}

#[test]
fn a_change_of_owners_is_refused_at_any_other_epoch() {
    let map = three();
    let late = [intend(&map, &[2], &[]), reseat(&map, &[1]), cut_over(&map)];
    let moved = then(&map, |map| intend(map, &[1, 2], &[]));
    for command in &late {
        assert_eq!(code(&moved, command), "stale_epoch", "{command:?}");
    }
    // A flush raises epochs: what was proven before says nothing about the new life.
    let cut = cut_over(&moved);
    let flushed = run(&moved, &[Command::FlushKeyspaces { names: names(&["default"]) }]);
    assert_eq!(code(&flushed, &cut), "stale_epoch");
    let before = held(&moved);
    assert_eq!(held(&flushed), before, "what is to be is still to be");
    let far = Place { partition: PartitionId(4), ..place(&map) };
    let refused = map.apply(&Command::CutOver { partitions: vec![far] });
    assert!(matches!(refused, Err(MapError::StaleEpoch { present: None, .. })), "{refused:?}");
}

#[test]
fn a_command_for_many_partitions_is_taken_whole_or_not_at_all() {
    let map = then(&three(), |map| intend(map, &[1, 2], &[]));
    let other = Place { partition: PartitionId(1), ..place(&map) };
    let both = |epoch| Command::CutOver { partitions: vec![place(&map), Place { epoch, ..other }] };
    assert_eq!(code(&map, &both(place(&map).epoch)), "stale_epoch");
    let right = map.keyspaces["default"].partitions[1].epoch;
    assert_eq!(code(&map, &both(right)), "no_intent");
    let twice = Command::CutOver { partitions: vec![place(&map); 2] };
    assert_eq!(code(&map, &twice), "stale_epoch");
}

#[test]
fn only_members_that_nothing_keeps_from_it_can_be_owners() {
    let joining = Command::Join {
        name: "four".into(),
        token: 4,
        profile: Profile::default(),
        replaces: None,
    };
    let map = run(&three(), &[joining]);
    for (next, renewed) in
        [(&[][..], &[][..]), (&[2, 2], &[]), (&[4], &[]), (&[5], &[]), (&[1, 2], &[3])]
    {
        assert_eq!(code(&map, &intend(&map, next, renewed)), "invalid_owners", "{next:?}");
    }
    let gone = run(&map, &[Command::Forget { node: NodeId(3) }]);
    assert_eq!(code(&gone, &intend(&gone, &[1, 3], &[])), "invalid_owners");
}

#[test]
fn what_is_there_already_is_not_intended_again() {
    let map = on(&[1, 2]);
    for same in [[1, 2], [2, 1]] {
        assert_eq!(code(&map, &intend(&map, &same, &[])), "pointless");
    }
    let moving = then(&map, |map| intend(map, &[1, 3], &[]));
    assert_eq!(code(&moving, &intend(&moving, &[3, 1], &[])), "pointless");
    assert!(moving.apply(&intend(&moving, &[1, 3], &[3])).is_ok(), "it lost what it had copied");
}

#[test]
fn a_replica_that_lost_its_state_comes_back_in_a_new_life() {
    let map = on(&[1, 2, 3]);
    let life = map.version.index - 1;
    let again = then(&map, |map| intend(map, &[1, 2, 3], &[2]));
    let new = again.version.index;
    assert_eq!(held(&again).1, [(1, 1), (2, new), (3, life)]);
    // It loses it once more while it copies.
    let twice = then(&again, |map| intend(map, &[1, 2, 3], &[2]));
    assert_eq!(held(&twice).1, [(1, 1), (2, new + 1), (3, life)]);
    let done = then(&twice, cut_over);
    assert_eq!(held(&done), (vec![(1, 1), (2, new + 1), (3, life)], vec![], vec![]));
}

#[test]
fn a_move_ends_where_the_present_owners_are_intended() {
    let map = on(&[1, 2]);
    let moving = then(&map, |map| intend(map, &[2, 3], &[]));
    let ended = then(&moving, |map| intend(map, &[2, 1], &[]));
    assert_eq!(held(&ended), (held(&map).0, vec![], vec![3]));
    assert!(place(&ended).epoch > place(&moving).epoch);
    // Another intent instead: who is in neither has something to forget.
    let moving = then(&three(), |map| intend(map, &[1, 2], &[]));
    let other = then(&moving, |map| intend(map, &[1, 3], &[]));
    assert_eq!(held(&other).2, [2]);
    assert_eq!(held(&then(&other, cut_over)).2, [2]);
}

#[test]
fn a_node_that_is_gone_is_waited_for_by_nobody() {
    let forget = |node| Command::Forget { node: NodeId(node) };
    // On its way out.
    assert_eq!(held(&run(&on(&[2, 3]), &[forget(3)])), (held(&on(&[2, 3])).0, vec![], vec![1]));
    let leaving = on(&[1, 2]);
    let left = then(&then(&leaving, |map| intend(map, &[1, 3], &[])), cut_over);
    assert_eq!((held(&left).2, held(&run(&left, &[forget(2)])).2), (vec![2], vec![]));
    // On its way in: the intent is dropped, and those who came along forget.
    let coming = then(&three(), |map| intend(map, &[2, 3], &[]));
    let dropped = run(&coming, &[forget(3)]);
    assert_eq!(held(&dropped), (vec![(1, 1)], vec![], vec![2]));
    assert_eq!(place(&dropped).epoch, dropped.version);
    // An owner: it stays named, so that quorums are counted as before, until others took over.
    let map = on(&[1, 2, 3]);
    let lost = run(&map, &[forget(3)]);
    assert_eq!((held(&lost).0, place(&lost).epoch), (held(&map).0, place(&map).epoch));
    let moved = then(&then(&lost, |map| intend(map, &[1, 2], &[])), cut_over);
    assert_eq!(held(&moved).2, [], "nobody will say that it has forgotten");
}

#[test]
fn a_partition_goes_on_with_what_is_left() {
    let map = then(&on(&[1, 2]), |map| intend(map, &[1, 3], &[]));
    let on_one = then(&map, |map| reseat(map, &[1]));
    assert_eq!(held(&on_one), (vec![(1, on_one.version.index)], vec![], vec![2, 3]));
    for members in [&[][..], &[1, 1], &[3], &[4]] {
        assert_eq!(code(&map, &reseat(&map, members)), "invalid_owners", "{members:?}");
    }
    // One that is gone neither goes on nor forgets.
    let gone = run(&map, &[Command::Forget { node: NodeId(2) }]);
    assert_eq!(code(&gone, &reseat(&gone, &[1, 2])), "invalid_owners");
    assert_eq!(held(&then(&gone, |map| reseat(map, &[1]))).2, [3]);
}

#[test]
fn swapped_databases_take_their_owners_along() {
    let map = then(&on(&[2, 3]), |map| intend(map, &[2, 3], &[3]));
    let swapped = run(&map, &[Command::SwapDatabases { a: 0, b: 1 }]);
    let (old, new) = (&map.keyspaces["default"], &swapped.keyspaces["db1"]);
    assert_eq!((old.incarnation, old.salt), (new.incarnation, new.salt));
    let plain =
        |held: &Partition| (held.replicas.clone(), held.next.clone(), held.outgoing.clone());
    assert_eq!(plain(&new.partitions[0]), plain(&old.partitions[0]));
    assert_eq!(new.partitions[0].epoch, swapped.version);
}

#[test]
fn dropping_a_keyspace_ends_its_moves() {
    let made = run(&small(), &[create("cache", None)]);
    let cut = Command::CutOver {
        partitions: vec![Place { keyspace: made.keyspaces["cache"].incarnation, ..place(&made) }],
    };
    let dropped = run(&made, &[Command::DropKeyspace { name: "cache".into() }]);
    assert_eq!(code(&dropped, &cut), "stale_epoch");
}
