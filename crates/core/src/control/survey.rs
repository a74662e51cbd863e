//! Everything that could be done, found in one walk over the map.

use super::report::Reports;
use super::room::Room;
use super::standing::{Left, Standing};
use super::{Limits, View};
use crate::ids::NodeId;
use crate::map::{ClusterMap, Keyspace, Place};
use crate::placement::Replication;
use std::cmp::min;
use std::collections::{BTreeMap, BTreeSet};

/// What was found.
pub(super) struct Survey<'a> {
    /// Changes of owners that everybody has proven.
    pub(super) proven: Vec<Standing<'a>>,
    /// What leavers have forgotten.
    pub(super) forgotten: BTreeMap<NodeId, Vec<Place>>,
    /// Partitions that go on with what is left.
    pub(super) bereft: Vec<(Standing<'a>, Vec<NodeId>)>,
    /// Partitions that want other owners, most endangered first.
    pub(super) wanting: Vec<Standing<'a>>,
    /// How many partitions of a keyspace wait for somebody to accept a loss.
    pub(super) awaiting: BTreeMap<&'a str, usize>,
    /// The nodes that are gone and that no partition names any more.
    pub(super) unnamed: BTreeSet<NodeId>,
    /// Who may be given something.
    pub(super) takers: BTreeSet<NodeId>,
    /// What may begin besides what is under way.
    pub(super) room: Room,
    /// How many places all partitions have.
    pub(super) places: usize,
}

impl<'a> Survey<'a> {
    pub(super) fn of(
        map: &'a ClusterMap,
        view: &'a View,
        reports: &'a Reports,
        limits: &Limits,
    ) -> Self {
        let mut takers = takers(map);
        takers.retain(|node| !view.is_down_for(*node, limits.patience_ms));
        let gone = map.nodes.iter().filter(|(_, info)| info.is_gone());
        let mut survey = Self {
            proven: Vec::new(),
            forgotten: BTreeMap::new(),
            bereft: Vec::new(),
            wanting: Vec::new(),
            awaiting: BTreeMap::new(),
            unnamed: gone.map(|(node, _)| *node).collect(),
            takers,
            room: Room::new(*limits),
            places: 0,
        };
        for keyspace in map.keyspaces.values() {
            for standing in Standing::all(map, view, reports, keyspace) {
                survey.look(standing, limits);
            }
        }
        // The order of the walk stays among those that are equally endangered.
        survey.wanting.sort_by_cached_key(Standing::live_copies);
        survey
    }

    fn look(&mut self, standing: Standing<'a>, limits: &Limits) {
        let partition = standing.partition;
        self.places += partition.places();
        self.unnamed.retain(|node| !partition.names(*node));
        if standing.is_proven() {
            // Everything else would come too late for it. It is under way until the map shows that
            // it is over.
            self.room.take(&standing.receivers().collect::<Vec<_>>());
            return self.proven.push(standing);
        }
        for node in standing.forgotten() {
            self.forgotten.entry(node).or_default().push(standing.place);
        }
        match standing.left(limits) {
            Left::Enough => {}
            Left::Undecided => return,
            Left::AwaitsAcceptance => {
                *self.awaiting.entry(&standing.keyspace.name).or_default() += 1;
                return;
            }
            Left::GoesOnWith(left) => return self.bereft.push((standing, left)),
        }
        let wants = if partition.is_moving() {
            standing.is_spoiled(limits)
        } else {
            let replicas = &partition.replicas;
            replicas.iter().any(|member| !standing.counts(*member))
                || replicas.len() < wanted(&standing, &self.takers)
        };
        if wants {
            self.wanting.push(standing);
        } else if partition.is_moving() && !standing.is_stalled() {
            self.room.take(&standing.receivers().collect::<Vec<_>>());
        }
    }
}

/// The members that may be given something, whether or not they are up.
pub(super) fn takers(map: &ClusterMap) -> BTreeSet<NodeId> {
    let members = map.members().into_iter();
    members.filter(|member| member.weight > 0).map(|member| member.id).collect()
}

/// How many owners a partition is to have while `takers` may be given something.
pub(super) fn wanted(standing: &Standing<'_>, takers: &BTreeSet<NodeId>) -> usize {
    let others = standing.staying().filter(|node| !takers.contains(node)).count();
    min(target(standing.keyspace), takers.len() + others)
}

fn target(keyspace: &Keyspace) -> usize {
    match keyspace.options.replication {
        Replication::Count(count) => usize::from(count),
        Replication::All => usize::MAX,
    }
}
