//! Making, changing, emptying and listing keyspaces: what a node is asked about its catalogue.

use super::Node;
use crate::catalogue::sorted;
use crate::keyspace::Keyspace;
use crate::refusal::{Code, Refusal};
use crate::request::Target;
use shoal_core::map::{Changes, Command, Keyspace as Definition, KeyspaceSpec, database_name};
use shoal_storage::Tally;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A keyspace as the map has it, and what it holds.
#[derive(Clone, Debug)]
pub struct KeyspaceInfo {
    /// Its entry in the map.
    pub definition: Definition,
    /// How many keys it holds, and how many of them expire.
    pub tally: Tally,
    /// Bytes it holds, as far as its engine can tell.
    pub bytes: u64,
}

impl Node {
    /// Makes a keyspace. Blocks.
    ///
    /// # Errors
    /// [`Code::KeyspaceExists`], [`Code::BadName`], [`Code::BadOption`]; nothing changed.
    pub fn create_keyspace(
        &self,
        name: &str,
        spec: KeyspaceSpec,
        database: Option<u16>,
    ) -> Result<(), Refusal> {
        self.catalogue.change(&Command::CreateKeyspace { name: name.to_owned(), spec, database })
    }

    /// Changes a keyspace's options. Blocks.
    ///
    /// # Errors
    /// [`Code::NoKeyspace`] or [`Code::BadOption`]; nothing changed.
    pub fn alter_keyspace(&self, name: &str, changes: Changes) -> Result<(), Refusal> {
        self.catalogue.change(&Command::AlterKeyspace { name: name.to_owned(), changes })
    }

    /// Drops a keyspace and everything in it. Blocks.
    ///
    /// # Errors
    /// [`Code::NoKeyspace`], or [`Code::BadOption`] for `default`, which can only be flushed.
    pub fn drop_keyspace(&self, name: &str) -> Result<(), Refusal> {
        self.catalogue.change(&Command::DropKeyspace { name: name.to_owned() })
    }

    /// Empties keyspaces, all at once. Blocks.
    ///
    /// # Errors
    /// [`Code::NoKeyspace`]; nothing changed.
    pub fn flush(&self, targets: &[Target]) -> Result<(), Refusal> {
        let names = self.names(targets)?;
        if names.is_empty() {
            return Ok(());
        }
        self.catalogue.change(&Command::FlushKeyspaces { names })
    }

    /// Empties `default` and `db1` to `db15`, those of them that there are. Blocks.
    ///
    /// # Errors
    /// The refusal of the map's store; nothing changed.
    pub fn flush_databases(&self) -> Result<(), Refusal> {
        self.flush(&self.databases())
    }

    /// The databases that FLUSHALL empties.
    #[must_use]
    pub fn databases(&self) -> Vec<Target> {
        let routing = self.catalogue.routing();
        let numbers = (0..).map_while(|number| database_name(number).map(|_| number));
        let targets = numbers.map(Target::Database);
        targets.filter(|target| routing.find(target).is_some()).collect()
    }

    /// Exchanges what two database numbers hold. Blocks.
    ///
    /// # Errors
    /// [`Code::NoKeyspace`]; nothing changed.
    pub fn swap_databases(&self, a: u16, b: u16) -> Result<(), Refusal> {
        self.catalogue.change(&Command::SwapDatabases { a, b })
    }

    /// One keyspace.
    ///
    /// # Errors
    /// [`Code::NoKeyspace`].
    pub fn describe(&self, name: &str) -> Result<KeyspaceInfo, Refusal> {
        let target = Target::Named(Arc::from(name));
        let routing = self.catalogue.routing();
        let keyspace = routing.find(&target);
        keyspace
            .map(info)
            .ok_or_else(|| Refusal::new(Code::NoKeyspace, format!("there is no keyspace '{name}'")))
    }

    /// All keyspaces, by name.
    #[must_use]
    pub fn list(&self) -> Vec<KeyspaceInfo> {
        let routing = self.catalogue.routing();
        sorted(&routing).into_values().map(info).collect()
    }

    /// The name of the keyspace that `target` stands for.
    ///
    /// # Errors
    /// [`Code::NoKeyspace`].
    pub fn name_of(&self, target: &Target) -> Result<String, Refusal> {
        self.catalogue.name_of(target)
    }

    pub(crate) fn names(&self, targets: &[Target]) -> Result<BTreeSet<String>, Refusal> {
        let routing = self.catalogue.routing();
        let there = targets.iter().filter(|target| {
            // A database that nobody wrote yet is empty already.
            routing.find(target).is_some() || crate::access::implied(target).is_none()
        });
        there.map(|target| self.catalogue.name_of(target)).collect()
    }
}

fn info(keyspace: &Arc<Keyspace>) -> KeyspaceInfo {
    KeyspaceInfo {
        definition: keyspace.definition.clone(),
        tally: keyspace.tally(),
        bytes: keyspace.engine.space_bytes(keyspace.space()),
    }
}
