//! What commands do to nodes: founding, joining, starting, forgetting.
//!
//! Holds: ids are never reused. Of the nodes that are not gone each has a name of its own, and
//! every member has one seat. A node is gone for ever, and only while every partition keeps a
//! replica that may come back.

use super::name::check_node_name;
use super::{ClusterMap, MAX_NODES, MapError, NodeInfo, NodeState, Partition, Profile};
use crate::ids::{Incarnation, MapVersion, NodeId, PartitionId};
use std::collections::BTreeMap;

impl ClusterMap {
    /// The first node, a member at once.
    pub(super) fn found(
        &mut self,
        name: &str,
        token: u64,
        profile: &Profile,
    ) -> Result<(), MapError> {
        check_node_name(name)?;
        profile.check()?;
        if self.cluster.0 == 0 || token == 0 {
            return Err(MapError::ZeroId);
        }
        let first = NodeInfo::new(name.to_owned(), token, profile.clone(), NodeState::Member);
        self.nodes = BTreeMap::from([(NodeId(1), first)]);
        self.seats = vec![NodeId(1)];
        self.next_node = NodeId(2);
        self.next_incarnation = Incarnation(1);
        Ok(())
    }

    pub(super) fn join(
        &mut self,
        name: &str,
        token: u64,
        profile: &Profile,
        replaces: Option<NodeId>,
    ) -> Result<(), MapError> {
        check_node_name(name)?;
        profile.check()?;
        if token == 0 {
            return Err(MapError::ZeroId);
        }
        let holder = self.node_called(name).map(|(node, info)| (node, info.token));
        if holder.is_some_and(|(_, held)| held == token) {
            return Ok(());
        }
        if let Some(node) = replaces {
            let replaced = self.nodes.get(&node).ok_or(MapError::UnknownNode { node })?;
            if replaced.name != name {
                return Err(MapError::WrongReplacement { node, name: name.to_owned() });
            }
        }
        match holder {
            Some((node, _)) if replaces == Some(node) => self.forget(node)?,
            Some((node, _)) => return Err(MapError::NameInUse { name: name.to_owned(), node }),
            None => {}
        }
        if self.nodes.len() >= MAX_NODES {
            return Err(MapError::TooMany { what: "nodes", limit: MAX_NODES });
        }
        let node = self.next_node;
        self.next_node =
            NodeId(node.0.checked_add(1).ok_or(MapError::Exhausted { what: "node ids" })?);
        let info = NodeInfo::new(name.to_owned(), token, profile.clone(), NodeState::Joining);
        self.nodes.insert(node, info);
        Ok(())
    }

    pub(super) fn start_node(
        &mut self,
        node: NodeId,
        presented: u64,
        next: u64,
        profile: Option<&Profile>,
    ) -> Result<(), MapError> {
        let info = self.nodes.get_mut(&node).ok_or(MapError::UnknownNode { node })?;
        if next == 0 {
            return Err(MapError::ZeroId);
        }
        if info.is_gone() || (info.token != presented && info.token != next) {
            return Err(MapError::StaleDirectory { node });
        }
        if let Some(profile) = profile {
            profile.check()?;
            info.describe(profile.clone());
        }
        info.token = next;
        if info.state == NodeState::Joining {
            info.state = NodeState::Member;
            self.seats.push(node);
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, node: NodeId) -> Result<(), MapError> {
        let info = self.nodes.get_mut(&node).ok_or(MapError::UnknownNode { node })?;
        if info.is_gone() {
            return Err(MapError::NodeGone { node });
        }
        info.state = NodeState::Gone;
        // The last one takes the seat that is free, so that jump placement moves the fewest.
        if let Some(seat) = self.seats.iter().position(|seated| *seated == node) {
            self.seats.swap_remove(seat);
        }
        self.check_somebody_is_left(node)?;
        for keyspace in self.keyspaces.values_mut() {
            let mut changed = false;
            for partition in &mut keyspace.partitions {
                changed |= partition.lose(node, self.version);
            }
            if changed {
                keyspace.epoch = self.version;
            }
        }
        Ok(())
    }

    /// Refuses that `node`, which is gone, had the last replica of anything.
    fn check_somebody_is_left(&self, node: NodeId) -> Result<(), MapError> {
        for keyspace in self.keyspaces.values() {
            for (id, partition) in (0..).map(PartitionId).zip(&keyspace.partitions) {
                if !partition.replicas.iter().any(|member| self.is_member(member.node)) {
                    let keyspace = keyspace.name.clone();
                    return Err(MapError::LastReplica { node, keyspace, partition: id });
                }
            }
        }
        Ok(())
    }

    pub(super) fn remove_node(&mut self, node: NodeId) -> Result<(), MapError> {
        let info = self.nodes.get(&node).ok_or(MapError::UnknownNode { node })?;
        if !info.is_gone() {
            return Err(MapError::NotGone { node });
        }
        for keyspace in self.keyspaces.values() {
            let mut partitions = (0..).map(PartitionId).zip(&keyspace.partitions);
            if let Some((partition, _)) = partitions.find(|(_, found)| found.names(node)) {
                let keyspace = keyspace.name.clone();
                return Err(MapError::StillNamed { node, keyspace, partition });
            }
        }
        self.nodes.remove(&node);
        Ok(())
    }
}

impl Partition {
    /// Takes back what was to be done with `node`, which is gone now. What it holds stays named:
    /// quorums go on to count it as one that does not answer. Says whether anything changed.
    fn lose(&mut self, node: NodeId, version: MapVersion) -> bool {
        let named = self.outgoing.len() + self.next.len();
        self.outgoing.retain(|leaver| *leaver != node);
        if self.next.iter().any(|member| member.node == node) {
            // Those on their way in forget; who is to hold it is planned anew.
            let dropped = std::mem::take(&mut self.next);
            self.leave(dropped, |leaver| leaver != node);
            self.epoch = version;
        }
        self.outgoing.len() + self.next.len() != named || self.epoch == version
    }
}
