//! How a command makes the next map of the present one, and what commands do to keyspaces.
//!
//! Holds: work is done on a copy, so a refused command leaves nothing behind.

use super::name::{self, check_keyspace_name};
use super::{
    Changes, ClusterMap, Command, DEFAULT_KEYSPACE, Eviction, Keyspace, KeyspaceSpec,
    MAX_INCARNATION, MAX_KEYSPACES, MAX_PARTITIONS, MAX_PLACES, MapError, Partition, database_name,
};
use crate::ids::{Incarnation, MapVersion, ReplicaIncarnation};
use crate::placement::{Replication, Terms};
use crate::quorum::Member;
use std::collections::BTreeSet;

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
            Command::Found { cluster, node_name, token, hash_seed, default, profile } => {
                next.cluster = *cluster;
                next.hash_seed = *hash_seed;
                next.found(node_name, *token, profile)?;
                next.create(DEFAULT_KEYSPACE, default, None)?;
            }
            Command::Join { name, token, profile, replaces } => {
                next.join(name, *token, profile, *replaces)?;
            }
            Command::StartNode { node, presented, next: token, profile } => {
                next.start_node(*node, *presented, *token, profile.as_ref())?;
            }
            Command::Forget { node } => next.forget(*node)?,
            Command::RemoveNode { node } => next.remove_node(*node)?,
            Command::Intend { intents } => next.intend(intents)?,
            Command::CutOver { partitions } => next.cut_over(partitions)?,
            Command::Forgotten { node, partitions } => next.forgotten(*node, partitions)?,
            Command::Reseat { place, members } => next.reseat(*place, members)?,
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
        let incarnation = self.take_incarnation()?;
        let mut keyspace = Keyspace {
            name: name.to_owned(),
            incarnation,
            engine: spec.engine,
            partitioning: spec.partitioning,
            options: spec.options,
            accepts_event_time: false,
            database,
            salt: incarnation.0.into(),
            epoch: self.version,
            partitions: Vec::new(),
        };
        keyspace.partitions = self.placed(&keyspace)?;
        self.keyspaces.insert(name.to_owned(), keyspace);
        Ok(())
    }

    /// The partitions of a new keyspace: as many replicas as it wants and there are members.
    fn placed(&self, keyspace: &Keyspace) -> Result<Vec<Partition>, MapError> {
        let members = self.members();
        let each = match keyspace.options.replication {
            Replication::Count(count) => members.len().min(count.into()),
            Replication::All => members.len(),
        };
        self.check_places(each * usize::from(keyspace.partitioning.count()))?;
        // The options were checked and every member has one seat: nothing else can be wrong.
        let replication = keyspace.options.replication;
        let plan = Terms { replication, ..self.terms(keyspace, &members, &[]) }.plan();
        let plan = plan.map_err(|_| MapError::NobodyTakes)?;
        let incarnation = ReplicaIncarnation(self.version.index);
        let partition = |nodes: Vec<_>| Partition {
            epoch: self.version,
            replicas: nodes.into_iter().map(|node| Member { node, incarnation }).collect(),
            next: Vec::new(),
            outgoing: Vec::new(),
        };
        Ok(plan.into_iter().map(partition).collect())
    }

    /// How many places all partitions have.
    pub(super) fn places(&self) -> usize {
        let partitions = self.keyspaces.values().flat_map(|keyspace| &keyspace.partitions);
        partitions.map(Partition::places).sum()
    }

    /// Refuses so many `more` places than there are.
    pub(super) fn check_places(&self, more: usize) -> Result<(), MapError> {
        if self.places() + more > MAX_PLACES {
            return Err(MapError::TooMany { what: "replicas of partitions", limit: MAX_PLACES });
        }
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
        let is_replicated = |partition: &Partition| partition.nodes().nth(1).is_some();
        if changes.eviction.is_some_and(|eviction| eviction != Eviction::None)
            && keyspace.partitions.iter().any(is_replicated)
        {
            let why = "a keyspace with several replicas cannot begin to evict; make another one";
            return Err(MapError::InvalidOption { option: "eviction", why });
        }
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
