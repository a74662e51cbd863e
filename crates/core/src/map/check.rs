//! Every invariant of a map, derived anew.

use super::moves::same;
use super::name::{binding, check_keyspace_name, check_node_name};
use super::{
    ClusterMap, DEFAULT_KEYSPACE, Keyspace, MAX_INCARNATION, MAX_KEYSPACES, MAX_NODES,
    MAX_PARTITIONS, MAX_PLACES, NodeInfo, Partition,
};
use crate::ids::NodeId;
use std::collections::BTreeSet;

impl ClusterMap {
    /// Whether the map is one that commands can lead to, as far as it tells by itself.
    ///
    /// # Errors
    /// A sentence about the first thing that is wrong.
    pub fn check(&self) -> Result<(), String> {
        if !self.is_founded() {
            return Ok(());
        }
        ensure(self.cluster.0 != 0, || "a founded cluster has no id".into())?;
        ensure(self.version.index >= 1, || "a founded cluster has seen no command".into())?;
        self.check_nodes()?;
        self.check_counts()?;
        let mut incarnations = BTreeSet::new();
        let mut databases = BTreeSet::new();
        for (name, keyspace) in &self.keyspaces {
            self.check_keyspace(name, keyspace).map_err(|why| format!("keyspace {name}: {why}"))?;
            ensure(incarnations.insert(keyspace.incarnation), || {
                format!("keyspace {name} shares its incarnation with another")
            })?;
            ensure(keyspace.database.is_none_or(|number| databases.insert(number)), || {
                format!("keyspace {name} shares its database number with another")
            })?;
        }
        Ok(())
    }

    fn check_nodes(&self) -> Result<(), String> {
        ensure(!self.nodes.is_empty(), || "a founded cluster has no nodes".into())?;
        ensure(self.nodes.len() <= MAX_NODES, || "there are too many nodes".into())?;
        let mut names = BTreeSet::new();
        for (id, node) in &self.nodes {
            ensure(id.0 >= 1 && *id < self.next_node, || format!("{id} was never given out"))?;
            check_node_name(&node.name).map_err(|error| error.to_string())?;
            ensure(node.is_gone() || names.insert(&node.name), || {
                format!("two nodes are called {}", node.name)
            })?;
            ensure(node.token != 0, || format!("{id} has no token"))?;
            node.profile().check().map_err(|error| format!("{id}: {error}"))?;
        }
        let members = self.nodes.iter().filter(|(_, node)| node.is_member()).map(|(id, _)| *id);
        let seated: BTreeSet<NodeId> = self.seats.iter().copied().collect();
        ensure(seated.len() == self.seats.len() && members.eq(seated), || {
            "the seats are not those of the members, one each".into()
        })
    }

    fn check_counts(&self) -> Result<(), String> {
        ensure(self.keyspaces.contains_key(DEFAULT_KEYSPACE), || {
            "there is no keyspace default".into()
        })?;
        ensure(self.keyspaces.len() <= MAX_KEYSPACES, || "there are too many keyspaces".into())?;
        let partitions: usize = self.keyspaces.values().map(|held| held.partitions.len()).sum();
        ensure(partitions <= MAX_PARTITIONS, || "there are too many partitions".into())?;
        ensure(self.places() <= MAX_PLACES, || "partitions have too many replicas".into())?;
        ensure(self.next_incarnation.0 <= MAX_INCARNATION, || {
            "the next incarnation is beyond the last".into()
        })
    }

    fn check_keyspace(&self, name: &str, keyspace: &Keyspace) -> Result<(), String> {
        ensure(keyspace.name == name, || format!("calls itself {}", keyspace.name))?;
        check_keyspace_name(name).map_err(|error| error.to_string())?;
        keyspace.check_options().map_err(|error| error.to_string())?;
        ensure(binding(name, keyspace.database) == Ok(keyspace.database), || {
            format!("has the wrong database number {:?}", keyspace.database)
        })?;
        let given_out = 1..self.next_incarnation.0;
        ensure(given_out.contains(&keyspace.incarnation.0), || {
            "its incarnation was never given out".into()
        })?;
        ensure(keyspace.epoch <= self.version, || "changed in the future".into())?;
        ensure(keyspace.partitions.len() == usize::from(keyspace.partitioning.count()), || {
            format!("has {} partitions, not what it says", keyspace.partitions.len())
        })?;
        ensure(keyspace.salt != 0 && keyspace.salt <= keyspace.incarnation.0.into(), || {
            "its salt is not that of its first life".into()
        })?;
        for (id, partition) in keyspace.partitions.iter().enumerate() {
            ensure(partition.epoch <= keyspace.epoch, || {
                format!("partition {id} changed after its keyspace")
            })?;
            self.check_partition(partition).map_err(|why| format!("partition {id} {why}"))?;
        }
        Ok(())
    }

    fn check_partition(&self, partition: &Partition) -> Result<(), String> {
        let Partition { epoch: _, replicas, next, outgoing } = partition;
        let has = |node: NodeId, is: fn(&NodeInfo) -> bool| self.nodes.get(&node).is_some_and(is);
        let owners = distinct(replicas.iter().map(|member| member.node));
        let owners = owners.ok_or("names an owner twice")?;
        let coming = distinct(next.iter().map(|member| member.node));
        let coming = coming.ok_or("names an owner to be twice")?;
        let leaving = distinct(outgoing.iter().copied());
        let leaving = leaving.ok_or("names one that forgets twice")?;
        ensure(owners.iter().any(|node| has(*node, NodeInfo::is_member)), || {
            "has no owner that may come back".into()
        })?;
        let may_own = |node: &NodeInfo| node.is_member() || node.is_gone();
        ensure(owners.iter().all(|node| has(*node, may_own)), || "is held by no member".into())?;
        let rest = || coming.iter().chain(&leaving);
        ensure(rest().all(|node| has(*node, NodeInfo::is_member)), || {
            "is to be held, or forgotten, by no member".into()
        })?;
        ensure(leaving.is_disjoint(&owners) && leaving.is_disjoint(&coming), || {
            "is to be forgotten by an owner".into()
        })?;
        let given_out = 1..=self.version.index;
        let members = || replicas.iter().chain(next);
        ensure(members().all(|member| given_out.contains(&member.incarnation.0)), || {
            "has a replica of a life that never began".into()
        })?;
        ensure(!same(replicas, next), || "is to be held by those who hold it".into())
    }
}

/// The nodes as a set, if each is there once.
fn distinct(nodes: impl ExactSizeIterator<Item = NodeId>) -> Option<BTreeSet<NodeId>> {
    let count = nodes.len();
    let set: BTreeSet<NodeId> = nodes.collect();
    (set.len() == count).then_some(set)
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
