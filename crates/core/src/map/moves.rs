//! What commands do to the owners of partitions: intents, cut-overs, what is forgotten.
//!
//! Holds: every change names the epoch at which it found the partition, and is refused at any
//! other. A member that stays keeps the life of its copy, every other one begins a life that
//! never was. Who held a partition and does not any more, or was on its way in, is outgoing until
//! it says that nothing is left, unless it is gone and says nothing any more.
//!
//! Does not know: who ought to hold what, and who has proven what.

use super::keyspace::is_in;
use super::{ClusterMap, Intent, Keyspace, MapError, NodeInfo, Partition, Place};
use crate::ids::{Incarnation, MapVersion, NodeId, ReplicaIncarnation};
use crate::quorum::Member;
use std::collections::{BTreeMap, BTreeSet};

/// The partitions of a map that is being changed, and what is known of its nodes.
struct Board<'a> {
    version: MapVersion,
    nodes: &'a BTreeMap<NodeId, NodeInfo>,
    lives: BTreeMap<Incarnation, &'a mut Keyspace>,
}

impl ClusterMap {
    pub(super) fn intend(&mut self, intents: &[Intent]) -> Result<(), MapError> {
        let mut board = Board::of(self);
        intents.iter().try_for_each(|intent| board.intend(intent))?;
        self.check_places(0)
    }

    pub(super) fn cut_over(&mut self, places: &[Place]) -> Result<(), MapError> {
        let mut board = Board::of(self);
        places.iter().try_for_each(|place| board.cut_over(*place))
    }

    pub(super) fn forgotten(&mut self, node: NodeId, places: &[Place]) -> Result<(), MapError> {
        let mut board = Board::of(self);
        places.iter().try_for_each(|place| board.forgotten(node, *place))
    }

    pub(super) fn reseat(&mut self, place: Place, members: &[NodeId]) -> Result<(), MapError> {
        Board::of(self).reseat(place, members)
    }
}

impl<'a> Board<'a> {
    fn of(map: &'a mut ClusterMap) -> Self {
        let keyspaces = map.keyspaces.values_mut();
        let lives = keyspaces.map(|keyspace| (keyspace.incarnation, keyspace)).collect();
        Self { version: map.version, nodes: &map.nodes, lives }
    }

    /// The partition at `place`, if that is how it still stands.
    fn at(&mut self, place: Place) -> Result<&mut Partition, MapError> {
        let Place { keyspace, partition, epoch } = place;
        let stale = |present| MapError::StaleEpoch { keyspace, partition, present };
        let found = self.lives.get_mut(&keyspace).ok_or(stale(None))?;
        let held = found.partitions.get_mut(usize::from(partition.0)).ok_or(stale(None))?;
        if held.epoch != epoch {
            return Err(stale(Some(held.epoch)));
        }
        found.epoch = self.version;
        Ok(held)
    }

    fn intend(&mut self, intent: &Intent) -> Result<(), MapError> {
        let Intent { keyspace, partition, .. } = *intent;
        let (version, nodes) = (self.version, self.nodes);
        let held = self.at(intent.place())?;
        check_owners(nodes, held, intent).map_err(|why| MapError::InvalidOwners {
            keyspace,
            partition,
            why,
        })?;
        // What the present replicas say of a life is written last, so it decides.
        let lives = held.next.iter().chain(&held.replicas);
        let mut lives: BTreeMap<_, _> = lives.map(|member| (member.node, *member)).collect();
        for node in &intent.renewed {
            lives.remove(node);
        }
        let incarnation = ReplicaIncarnation(version.index);
        let member = |node| *lives.get(&node).unwrap_or(&Member { node, incarnation });
        let mut next: Vec<Member> = intent.next.iter().copied().map(member).collect();
        let nothing_new = same(&next, &held.replicas);
        if same(&next, &held.next) || (nothing_new && !held.is_moving()) {
            return Err(MapError::Pointless { keyspace, partition });
        }
        if nothing_new {
            next.clear();
        }
        let dropped = std::mem::replace(&mut held.next, next);
        held.leave(dropped, |_| true);
        held.epoch = version;
        Ok(())
    }

    fn cut_over(&mut self, place: Place) -> Result<(), MapError> {
        let (version, nodes) = (self.version, self.nodes);
        let held = self.at(place)?;
        let Place { keyspace, partition, .. } = place;
        if !held.is_moving() {
            return Err(MapError::NoIntent { keyspace, partition });
        }
        let next = std::mem::take(&mut held.next);
        let left = std::mem::replace(&mut held.replicas, next);
        held.leave(left, |node| is_member(nodes, node));
        held.epoch = version;
        Ok(())
    }

    fn forgotten(&mut self, node: NodeId, place: Place) -> Result<(), MapError> {
        let held = self.at(place)?;
        let Some(at) = held.outgoing.iter().position(|leaver| *leaver == node) else {
            let Place { keyspace, partition, .. } = place;
            return Err(MapError::NotOutgoing { node, keyspace, partition });
        };
        // Nobody's answers change their meaning by this, so it fences nobody.
        held.outgoing.remove(at);
        Ok(())
    }

    fn reseat(&mut self, place: Place, members: &[NodeId]) -> Result<(), MapError> {
        let (version, nodes) = (self.version, self.nodes);
        let held = self.at(place)?;
        let Place { keyspace, partition, .. } = place;
        check_seats(nodes, held, members).map_err(|why| MapError::InvalidOwners {
            keyspace,
            partition,
            why,
        })?;
        let incarnation = ReplicaIncarnation(version.index);
        let seated = members.iter().map(|node| Member { node: *node, incarnation }).collect();
        let mut left = std::mem::replace(&mut held.replicas, seated);
        left.append(&mut held.next);
        held.leave(left, |node| is_member(nodes, node));
        held.epoch = version;
        Ok(())
    }
}

impl Partition {
    /// Makes outgoing those of `left` that are no owners in either set, as far as `reports` says
    /// that they will ever say that they have forgotten.
    pub(super) fn leave(&mut self, left: Vec<Member>, reports: impl Fn(NodeId) -> bool) {
        let named = self.replicas.iter().chain(&self.next).map(|member| member.node);
        let mut named: BTreeSet<NodeId> = named.chain(self.outgoing.iter().copied()).collect();
        let left = left.into_iter().map(|member| member.node);
        self.outgoing.extend(left.filter(|node| reports(*node) && named.insert(*node)));
    }
}

fn is_member(nodes: &BTreeMap<NodeId, NodeInfo>, node: NodeId) -> bool {
    nodes.get(&node).is_some_and(NodeInfo::is_member)
}

/// Refuses what can never be the owners of a partition that stands like `held`.
fn check_owners(
    nodes: &BTreeMap<NodeId, NodeInfo>,
    held: &Partition,
    intent: &Intent,
) -> Result<(), &'static str> {
    let next: BTreeSet<NodeId> = intent.next.iter().copied().collect();
    if next.is_empty() {
        return Err("there is nobody");
    }
    if next.len() < intent.next.len() {
        return Err("one of them is named twice");
    }
    if !next.iter().all(|node| is_member(nodes, *node)) {
        return Err("one of them is no member");
    }
    if held.outgoing.iter().any(|node| next.contains(node)) {
        return Err("one of them has not yet forgotten what it held before");
    }
    if !intent.renewed.iter().all(|node| next.contains(node)) {
        return Err("one is to be renewed that is not among them");
    }
    Ok(())
}

/// Refuses what a partition that stands like `held` cannot go on with.
fn check_seats(
    nodes: &BTreeMap<NodeId, NodeInfo>,
    held: &Partition,
    members: &[NodeId],
) -> Result<(), &'static str> {
    if members.is_empty() {
        return Err("there is nobody");
    }
    if members.iter().collect::<BTreeSet<_>>().len() < members.len() {
        return Err("one of them is named twice");
    }
    if !members.iter().all(|node| is_in(&held.replicas, *node)) {
        return Err("one of them holds no replica");
    }
    if !members.iter().all(|node| is_member(nodes, *node)) {
        return Err("one of them is gone");
    }
    Ok(())
}

/// Whether both have the same members, in whatever order.
pub(super) fn same(some: &[Member], others: &[Member]) -> bool {
    let set = |members: &[Member]| members.iter().copied().collect::<BTreeSet<_>>();
    some.len() == others.len() && set(some) == set(others)
}
