//! Every invariant of a map, derived anew.

use super::name::{binding, check_keyspace_name, check_node_name};
use super::{
    ClusterMap, DEFAULT_KEYSPACE, Keyspace, MAX_INCARNATION, MAX_KEYSPACES, MAX_PARTITIONS,
};
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
        let mut names = BTreeSet::new();
        for (id, node) in &self.nodes {
            ensure(id.0 >= 1 && *id < self.next_node, || format!("{id} was never given out"))?;
            check_node_name(&node.name).map_err(|error| error.to_string())?;
            ensure(names.insert(&node.name), || format!("two nodes are called {}", node.name))?;
            ensure(node.token != 0, || format!("{id} has no token"))?;
            ensure(node.weight >= 1, || format!("{id} has no weight"))?;
            if let Some(zone) = &node.zone {
                check_node_name(zone).map_err(|error| format!("zone of {id}: {error}"))?;
            }
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), String> {
        ensure(self.keyspaces.contains_key(DEFAULT_KEYSPACE), || {
            "there is no keyspace default".into()
        })?;
        ensure(self.keyspaces.len() <= MAX_KEYSPACES, || "there are too many keyspaces".into())?;
        let partitions: usize = self.keyspaces.values().map(|held| held.partitions.len()).sum();
        ensure(partitions <= MAX_PARTITIONS, || "there are too many partitions".into())?;
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
        for (id, partition) in keyspace.partitions.iter().enumerate() {
            ensure(partition.epoch <= keyspace.epoch, || {
                format!("partition {id} changed after its keyspace")
            })?;
            ensure(!partition.replicas.is_empty(), || format!("partition {id} has no owner"))?;
            ensure(partition.replicas.iter().all(|node| self.nodes.contains_key(node)), || {
                format!("partition {id} is held by no member")
            })?;
            let distinct: BTreeSet<_> = partition.replicas.iter().collect();
            ensure(distinct.len() == partition.replicas.len(), || {
                format!("partition {id} names an owner twice")
            })?;
        }
        Ok(())
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
