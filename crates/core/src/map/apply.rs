//! How a command makes the next map of the present one.
//!
//! Holds: work is done on a copy, so a refused command leaves nothing behind.

use super::name::{self, check_keyspace_name, check_node_name};
use super::{
    Changes, ClusterMap, Command, DEFAULT_KEYSPACE, Keyspace, KeyspaceSpec, MAX_INCARNATION,
    MAX_KEYSPACES, MAX_PARTITIONS, MapError, NodeInfo, Partition, database_name,
};
use crate::ids::{ClusterId, Incarnation, MapVersion, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// A node's weight unless said otherwise.
const USUAL_WEIGHT: u16 = 100;

impl ClusterMap {
    /// The map after `command`, one version on.
    ///
    /// # Errors
    /// [`MapError`]; there is no next map.
    pub fn apply(&self, command: &Command) -> Result<Self, MapError> {
        let founding = matches!(command, Command::Found { .. });
        match (self.is_founded(), founding) {
            (false, false) => return Err(MapError::NotFounded),
            (true, true) => return Err(MapError::AlreadyFounded),
            _ => {}
        }
        let mut next = self.clone();
        next.version.index += 1;
        match command {
            Command::Found { cluster, node_name, token, hash_seed, default } => {
                next.found(*cluster, node_name, *token, *hash_seed, default)?;
            }
            Command::StartNode { node, presented, next: token } => {
                next.start_node(*node, *presented, *token)?;
            }
            Command::CreateKeyspace { name, spec, database } => {
                next.create(name, spec, *database)?;
            }
            Command::CreateDatabase { number } => next.create_database(*number)?,
            Command::AlterKeyspace { name, changes } => next.alter(name, changes)?,
            Command::DropKeyspace { name } => next.remove(name)?,
            Command::FlushKeyspaces { names } => next.flush(names)?,
            Command::SwapDatabases { a, b } => next.swap(*a, *b)?,
            Command::AcceptEventTime { name } => next.accept_event_time(name)?,
        }
        debug_assert_eq!(next.check(), Ok(()), "after {command:?}");
        Ok(next)
    }

    fn found(
        &mut self,
        cluster: ClusterId,
        node_name: &str,
        token: u64,
        hash_seed: u64,
        default: &KeyspaceSpec,
    ) -> Result<(), MapError> {
        check_node_name(node_name)?;
        if cluster.0 == 0 || token == 0 {
            return Err(MapError::ZeroId);
        }
        let first =
            NodeInfo { name: node_name.to_owned(), token, zone: None, weight: USUAL_WEIGHT };
        self.cluster = cluster;
        self.hash_seed = hash_seed;
        self.nodes = BTreeMap::from([(NodeId(1), first)]);
        self.next_node = NodeId(2);
        self.next_incarnation = Incarnation(1);
        self.create(DEFAULT_KEYSPACE, default, None)
    }

    fn start_node(&mut self, node: NodeId, presented: u64, next: u64) -> Result<(), MapError> {
        let info = self.nodes.get_mut(&node).ok_or(MapError::UnknownNode { node })?;
        if next == 0 {
            return Err(MapError::ZeroId);
        }
        if info.token != presented && info.token != next {
            return Err(MapError::StaleDirectory { node });
        }
        info.token = next;
        Ok(())
    }

    fn create(
        &mut self,
        name: &str,
        spec: &KeyspaceSpec,
        database: Option<u16>,
    ) -> Result<(), MapError> {
        check_keyspace_name(name)?;
        spec.check()?;
        if self.keyspaces.contains_key(name) {
            return Err(MapError::KeyspaceExists { name: name.to_owned() });
        }
        let database = self.bind(name, database)?;
        if self.keyspaces.len() >= MAX_KEYSPACES {
            return Err(MapError::TooMany { what: "keyspaces", limit: MAX_KEYSPACES });
        }
        let count = usize::from(spec.partitioning.count());
        let present: usize = self.keyspaces.values().map(|held| held.partitions.len()).sum();
        if present + count > MAX_PARTITIONS {
            return Err(MapError::TooMany { what: "partitions", limit: MAX_PARTITIONS });
        }
        let replicas = self.first_replicas(spec.options.replication_target);
        let keyspace = Keyspace {
            name: name.to_owned(),
            incarnation: self.take_incarnation()?,
            engine: spec.engine,
            partitioning: spec.partitioning,
            options: spec.options,
            accepts_event_time: false,
            database,
            epoch: self.version,
            partitions: vec![Partition { epoch: self.version, replicas }; count],
        };
        self.keyspaces.insert(name.to_owned(), keyspace);
        Ok(())
    }

    fn create_database(&mut self, number: u16) -> Result<(), MapError> {
        let name = database_name(number).ok_or(MapError::UnknownDatabase { number })?;
        let spec = self.existing(DEFAULT_KEYSPACE)?.spec();
        self.create(&name, &spec, None)
    }

    fn alter(&mut self, name: &str, changes: &Changes) -> Result<(), MapError> {
        self.existing(name)?;
        let database = match changes.database {
            Some(asked) => Some(self.bind(name, asked)?),
            None => None,
        };
        let epoch = self.version;
        let keyspace = self.existing(name)?;
        keyspace.options = changes.applied_to(&keyspace.options);
        keyspace.database = database.unwrap_or(keyspace.database);
        keyspace.epoch = epoch;
        keyspace.check_options()
    }

    fn remove(&mut self, name: &str) -> Result<(), MapError> {
        if name == DEFAULT_KEYSPACE {
            return Err(MapError::DefaultStays);
        }
        match self.keyspaces.remove(name) {
            Some(_) => Ok(()),
            None => Err(MapError::UnknownKeyspace { name: name.to_owned() }),
        }
    }

    fn flush(&mut self, names: &BTreeSet<String>) -> Result<(), MapError> {
        let epoch = self.version;
        for name in names {
            let incarnation = self.take_incarnation()?;
            let keyspace = self.existing(name)?;
            keyspace.incarnation = incarnation;
            // The tombstones that event times need are gone with the old life.
            keyspace.accepts_event_time = false;
            keyspace.fence(epoch);
        }
        Ok(())
    }

    fn swap(&mut self, a: u16, b: u16) -> Result<(), MapError> {
        let [a, b] = [self.database_for_swap(a)?, self.database_for_swap(b)?];
        if a == b {
            return Ok(());
        }
        let (one, other) = (self.existing(&a)?.clone(), self.existing(&b)?.clone());
        let epoch = self.version;
        for (to, from) in [(&one, &other), (&other, &one)] {
            let mut changed =
                Keyspace { name: to.name.clone(), database: to.database, ..from.clone() };
            changed.fence(epoch);
            self.keyspaces.insert(to.name.clone(), changed);
        }
        Ok(())
    }

    /// The name of database `number`, which is created if it may be and is not there.
    fn database_for_swap(&mut self, number: u16) -> Result<String, MapError> {
        if let Some(keyspace) = self.database(number) {
            return Ok(keyspace.name.clone());
        }
        self.create_database(number)?;
        database_name(number).ok_or(MapError::UnknownDatabase { number })
    }

    fn accept_event_time(&mut self, name: &str) -> Result<(), MapError> {
        let epoch = self.version;
        let keyspace = self.existing(name)?;
        keyspace.accepts_event_time = true;
        keyspace.epoch = epoch;
        keyspace.check_options()
    }

    fn existing(&mut self, name: &str) -> Result<&mut Keyspace, MapError> {
        self.keyspaces
            .get_mut(name)
            .ok_or_else(|| MapError::UnknownKeyspace { name: name.to_owned() })
    }

    /// The number that keyspace `name` gets, if it is free.
    fn bind(&self, name: &str, asked: Option<u16>) -> Result<Option<u16>, MapError> {
        let number = name::binding(name, asked)?;
        match number.and_then(|number| self.database(number)) {
            Some(holder) if holder.name != name => Err(MapError::DatabaseTaken {
                number: number.unwrap_or_default(),
                holder: holder.name.clone(),
            }),
            _ => Ok(number),
        }
    }

    fn take_incarnation(&mut self) -> Result<Incarnation, MapError> {
        let taken = self.next_incarnation;
        if taken.0 >= MAX_INCARNATION {
            return Err(MapError::Exhausted { what: "keyspace incarnations" });
        }
        self.next_incarnation = Incarnation(taken.0 + 1);
        Ok(taken)
    }

    /// Who holds a new keyspace: as many members as it wants and there are.
    fn first_replicas(&self, target: u8) -> Vec<NodeId> {
        self.nodes.keys().copied().take(usize::from(target)).collect()
    }
}

impl Keyspace {
    /// Raises the epoch of everything, so that what was sent under an older one is refused.
    fn fence(&mut self, epoch: MapVersion) {
        self.epoch = epoch;
        for partition in &mut self.partitions {
            partition.epoch = epoch;
        }
    }
}
