//! What holds over the whole life of a map of one to seven nodes, whatever commands it meets.

use super::commands::{keyspace_command, node_name, profile};
use super::*;
use crate::ids::PartitionId;
use std::collections::BTreeMap;

/// Something to try; what it means depends on the map it meets, so that most of it fits.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Keyspace(Command),
    Join { name: String, token: u64, profile: Profile, replaces: Option<usize> },
    Start { node: usize, stale: bool, profile: Option<Profile> },
    Forget { node: usize },
    Remove { node: usize },
    Intend { intents: Vec<(Spot, Vec<usize>, u8)> },
    CutOver { spots: Vec<Spot> },
    Forgotten { node: usize, spots: Vec<Spot> },
    Reseat { spot: Spot, members: u8 },
}

/// Some partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    keyspace: usize,
    partition: usize,
    stale: bool,
}

/// Steps to live by.
pub(crate) fn steps(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), count)
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..8_usize;
    let spot = || {
        (any::<usize>(), any::<usize>(), prop::bool::weighted(0.05))
            .prop_map(|(keyspace, partition, stale)| Spot { keyspace, partition, stale })
    };
    let spots = move || prop::collection::vec(spot(), 1..3);
    let renewed = prop_oneof![3 => Just(0_u8), 1 => any::<u8>()];
    let intent = (spot(), prop::collection::vec(node(), 1..5), renewed);
    let profile = || prop_oneof![2 => Just(Profile::default()), 1 => profile()];
    prop_oneof![
        4 => keyspace_command().prop_map(Step::Keyspace),
        2 => (node_name(), 1..4_u64, profile(), prop::option::weighted(0.3, node())).prop_map(
            |(name, token, profile, replaces)| Step::Join { name, token, profile, replaces }
        ),
        3 => (node(), prop::bool::weighted(0.1), prop::option::weighted(0.3, profile())).prop_map(
            |(node, stale, profile)| Step::Start { node, stale, profile }
        ),
        1 => node().prop_map(|node| Step::Forget { node }),
        1 => node().prop_map(|node| Step::Remove { node }),
        8 => prop::collection::vec(intent, 1..3).prop_map(|intents| Step::Intend { intents }),
        4 => spots().prop_map(|spots| Step::CutOver { spots }),
        4 => (node(), spots()).prop_map(|(node, spots)| Step::Forgotten { node, spots }),
        1 => (spot(), any::<u8>()).prop_map(|(spot, members)| Step::Reseat { spot, members }),
    ]
}

impl Step {
    /// The command that this stands for where `map` is what there is.
    pub(crate) fn on(self, map: &ClusterMap) -> Command {
        // One more than there are, so that one nobody knows comes up too.
        let node = |at: usize| NodeId(1 + u32::try_from(at).expect("few") % map.next_node.0);
        let member = |at: usize| match at {
            7 => node(at),
            _ => map.seats[at % map.seats.len()],
        };
        let places = |spots: Vec<Spot>, fits: fn(&Partition) -> bool| {
            let mut places: Vec<_> = spots.into_iter().map(|spot| spot.on(map, fits)).collect();
            places.sort();
            places.dedup();
            places
        };
        match self {
            Self::Keyspace(command) => command,
            Self::Join { name, token, profile, replaces } => {
                let holder = map.node_called(&name).map(|(holder, _)| holder);
                let replaces = replaces.and_then(|at| if at < 6 { holder } else { Some(node(at)) });
                Command::Join { name, token, profile, replaces }
            }
            Self::Start { node: at, stale, profile } => {
                let node = node(at);
                let token = map.nodes.get(&node).map_or(1, |info| info.token);
                let presented = if stale { token + 1 } else { token };
                Command::StartNode { node, presented, next: token + 10, profile }
            }
            Self::Forget { node: at } => Command::Forget { node: node(at) },
            Self::Remove { node: at } => Command::RemoveNode { node: node(at) },
            Self::Intend { intents } => {
                let intent = |(spot, nodes, renewed): (Spot, Vec<usize>, u8)| {
                    let place = spot.on(map, |_| true);
                    let Place { keyspace, partition, epoch } = place;
                    let mut next: Vec<_> = nodes.into_iter().map(member).collect();
                    let mut seen = BTreeSet::new();
                    // Mostly those that may be intended, else little would happen.
                    let held = partition_at(map, place);
                    let leaves =
                        |node: &NodeId| held.is_some_and(|held| held.outgoing.contains(node));
                    next.retain(|node| (renewed == 0xFF || !leaves(node)) && seen.insert(*node));
                    let renewed = chosen(&next, renewed);
                    Intent { keyspace, partition, epoch, next, renewed }
                };
                let mut intents: Vec<_> = intents.into_iter().map(intent).collect();
                intents.dedup_by_key(|intent| intent.place());
                Command::Intend { intents }
            }
            Self::CutOver { spots } => {
                Command::CutOver { partitions: places(spots, Partition::is_moving) }
            }
            Self::Forgotten { node: at, spots } => {
                let partitions = places(spots, |held| !held.outgoing.is_empty());
                let leaver =
                    partition_at(map, partitions[0]).and_then(|held| held.outgoing.first());
                Command::Forgotten { node: *leaver.unwrap_or(&node(at)), partitions }
            }
            Self::Reseat { spot, members } => {
                let place = spot.on(map, |_| true);
                let replicas = partition_at(map, place).map_or(vec![], |held| {
                    held.replicas.iter().map(|member| member.node).collect()
                });
                Command::Reseat { place, members: chosen(&replicas, members) }
            }
        }
    }
}

/// Those of `nodes` whose bit is set.
fn chosen(nodes: &[NodeId], bits: u8) -> Vec<NodeId> {
    let is_set = |(at, _): &(usize, &NodeId)| bits >> (at % 8) & 1 == 1;
    nodes.iter().enumerate().filter(is_set).map(|(_, node)| *node).collect()
}

impl Spot {
    /// Some partition, one that `fits` if there is one in the keyspace.
    fn on(self, map: &ClusterMap, fits: fn(&Partition) -> bool) -> Place {
        let keyspaces: Vec<_> = map.keyspaces.values().collect();
        let keyspace = keyspaces[self.keyspace % keyspaces.len()];
        let all = 0..keyspace.partitions.len();
        let fitting: Vec<_> = all.clone().filter(|at| fits(&keyspace.partitions[*at])).collect();
        let at = match fitting.len() {
            0 => self.partition % all.len(),
            count => fitting[self.partition % count],
        };
        let mut epoch = keyspace.partitions[at].epoch;
        epoch.index -= u64::from(self.stale);
        let partition = PartitionId(u16::try_from(at).expect("few"));
        Place { keyspace: keyspace.incarnation, partition, epoch }
    }
}

/// The partition that is meant, if it is there.
pub(super) fn partition_at(map: &ClusterMap, place: Place) -> Option<&Partition> {
    map.keyspace_of(place.keyspace)?.partitions.get(usize::from(place.partition.0))
}

/// A cluster of one with few partitions.
pub(super) fn small() -> ClusterMap {
    let mut founding = found(EngineKind::Disk);
    if let Command::Found { default, .. } = &mut founding {
        default.partitioning = Partitioning::new(4).expect("a power of two");
    }
    ClusterMap::default().apply(&founding).expect("a first command")
}

/// What a life leads to; what is refused leaves no trace.
pub(crate) fn lived(steps: Vec<Step>) -> ClusterMap {
    steps.into_iter().fold(small(), |map, step| map.apply(&step.on(&map)).unwrap_or(map))
}

/// Every partition of every keyspace. Keyspaces go by their first life, which is the one thing
/// that neither a flush nor a swap changes.
fn all(map: &ClusterMap) -> BTreeMap<(u64, usize), &Partition> {
    map.keyspaces
        .values()
        .flat_map(|keyspace| {
            let numbered = keyspace.partitions.iter().enumerate();
            numbered.map(|(at, partition)| ((keyspace.salt, at), partition))
        })
        .collect()
}

fn members(partition: &Partition) -> BTreeSet<Member> {
    partition.replicas.iter().chain(&partition.next).copied().collect()
}

/// Who was a member once, and is not any more, never is again.
#[derive(Default)]
struct Left(BTreeMap<(u64, usize), BTreeSet<Member>>);

impl Left {
    fn see(&mut self, before: &ClusterMap, after: &ClusterMap) -> Result<(), TestCaseError> {
        let old = all(before);
        for (at, partition) in all(after) {
            let left = self.0.entry(at).or_default();
            let now = members(partition);
            if let Some(old) = old.get(&at) {
                left.extend(members(old).difference(&now));
            }
            prop_assert!(left.is_disjoint(&now), "{at:?}: one of {left:?} is back in {now:?}");
        }
        Ok(())
    }
}

/// Nobody who may still hold something of a partition is lost sight of.
fn check_holders(
    before: &ClusterMap,
    command: &Command,
    after: &ClusterMap,
) -> Result<(), TestCaseError> {
    let old = all(before);
    for (at, new) in all(after) {
        let Some(old) = old.get(&at) else { continue };
        for node in old.nodes().chain(old.outgoing.iter().copied()) {
            let has_reported =
                matches!(command, Command::Forgotten { node: reporter, .. } if *reporter == node);
            let is_gone = after.nodes.get(&node).is_none_or(NodeInfo::is_gone);
            prop_assert!(new.names(node) || has_reported || is_gone, "{node} of {at:?} is lost");
        }
        // Present owners change at a cut-over only, and to those who were to be it.
        if new.replicas != old.replicas {
            let is_due = match command {
                Command::CutOver { .. } => new.replicas == old.next && new.next.is_empty(),
                Command::Reseat { members, .. } => {
                    members.iter().eq(new.replicas.iter().map(|member| &member.node))
                }
                _ => false,
            };
            prop_assert!(is_due, "{old:?} became {new:?} by {command:?}");
        }
    }
    Ok(())
}

/// Nodes go one way only: joining, member, gone, and out of the map.
fn check_nodes(before: &ClusterMap, after: &ClusterMap) -> Result<(), TestCaseError> {
    prop_assert!(after.next_node >= before.next_node);
    for (id, new) in &after.nodes {
        match before.nodes.get(id) {
            Some(old) => prop_assert!(new.state >= old.state && new.name == old.name),
            None => prop_assert!(*id >= before.next_node),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_laws_of_maps_hold_through_any_life(steps in steps(1..60)) {
        let mut map = small();
        let mut left = Left::default();
        for step in steps {
            let command = step.on(&map);
            let before = map.clone();
            let Ok(next) = map.apply(&command) else {
                prop_assert_eq!(&map, &before);
                continue;
            };
            prop_assert_eq!(next.check(), Ok(()), "after {:?}", command);
            prop_assert_eq!(next.version.index, before.version.index + 1);
            check_epochs(&before, &next)?;
            check_nodes(&before, &next)?;
            check_holders(&before, &command, &next)?;
            left.see(&before, &next)?;
            map = next;
        }
    }

    /// A kept member keeps its life, a renewed or new one begins one.
    #[test]
    fn intents_change_the_lives_of_those_only_that_are_new_or_renewed(steps in steps(1..60)) {
        let mut map = small();
        for step in steps {
            let command = step.on(&map);
            let Ok(next) = map.apply(&command) else { continue };
            if let Command::Intend { intents } = &command {
                for intent in intents {
                    let (old, new) = (partition_at(&map, intent.place()), partition_at(&next, intent.place()));
                    let (old, new) = (old.expect("it was there"), new.expect("it is there"));
                    for member in &new.next {
                        let known = old.replicas.iter().chain(&old.next).find(|old| old.node == member.node);
                        match known {
                            Some(known) if !intent.renewed.contains(&member.node) => prop_assert_eq!(known, member),
                            _ => prop_assert_eq!(member.incarnation.0, next.version.index),
                        }
                    }
                }
            }
            map = next;
        }
    }
}

/// The laws above say little if most steps are refused.
#[test]
fn lives_at_random_come_to_every_kind_of_change() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut taken: BTreeMap<&'static str, u32> = BTreeMap::new();
    let mut note = |what| *taken.entry(what).or_default() += 1;
    for _ in 0..200 {
        let mut map = small();
        for step in steps(60..61).new_tree(&mut runner).expect("it has values").current() {
            let command = step.on(&map);
            let Ok(next) = map.apply(&command) else { continue };
            let ended = |old: &Partition, new: &Partition| {
                old.is_moving() && !new.is_moving() && old.replicas == new.replicas
            };
            let aborted = all(&map)
                .iter()
                .any(|(at, old)| all(&next).get(at).is_some_and(|new| ended(old, new)));
            match &command {
                Command::Join { replaces: Some(_), .. } => note("replace"),
                Command::Join { .. } => note("join"),
                Command::StartNode { .. } => note("start"),
                Command::Forget { .. } if aborted => note("forget, ending a move"),
                Command::Forget { .. } => note("forget"),
                Command::RemoveNode { .. } => note("remove"),
                Command::Intend { .. } if aborted => note("abort"),
                Command::Intend { .. } => note("intend"),
                Command::CutOver { .. } => note("cut over"),
                Command::Forgotten { .. } => note("forgotten"),
                Command::Reseat { .. } => note("reseat"),
                _ => note("keyspaces"),
            }
            map = next;
        }
    }
    assert_eq!(taken.len(), 12, "{taken:?}");
    assert!(taken.values().all(|count| *count >= 5), "{taken:?}");
}
