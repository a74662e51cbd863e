//! Who owns which partition, by the newest map that is known here.

use arc_swap::ArcSwap;
use shoal_core::PartitionId;
use shoal_core::ids::{Incarnation, MapVersion};
use shoal_core::map::ClusterMap;
use shoal_core::quorum::Owners;
use shoal_core::slot::{Partitioning, Slot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The owners of every partition of every keyspace.
#[derive(Default)]
pub(crate) struct Routes {
    table: ArcSwap<Table>,
}

/// What one map says.
#[derive(Clone, Default)]
struct Table {
    version: MapVersion,
    keyspaces: BTreeMap<Incarnation, Route>,
}

/// One keyspace's part.
#[derive(Clone)]
struct Route {
    partitioning: Partitioning,
    owners: Vec<Arc<Owners>>,
}

impl Routes {
    /// Takes over what `map` says.
    pub(crate) fn install(&self, map: &ClusterMap) {
        let before = self.table.load();
        let keyspaces = map.keyspaces.values().map(|keyspace| {
            let known = before.keyspaces.get(&keyspace.incarnation);
            let owners = keyspace.partitions.iter().enumerate().map(|(index, partition)| {
                // What did not change stays what it is.
                let same = known
                    .and_then(|route| route.owners.get(index))
                    .filter(|owners| owners.epoch == partition.epoch);
                same.map_or_else(|| Arc::new(partition.owners()), Arc::clone)
            });
            let route = Route { partitioning: keyspace.partitioning, owners: owners.collect() };
            (keyspace.incarnation, route)
        });
        let table = Table { version: map.version, keyspaces: keyspaces.collect() };
        self.table.store(Arc::new(table));
    }

    /// The version of that map.
    pub(crate) fn version(&self) -> MapVersion {
        self.table.load().version
    }

    /// Gives a keyspace of one partition these owners.
    #[cfg(test)]
    pub(crate) fn set(&self, keyspace: Incarnation, owners: &Arc<Owners>) {
        let partitioning = Partitioning::new(1).expect("a power of two");
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            table.version = table.version.max(owners.epoch);
            let owners = vec![Arc::clone(owners)];
            table.keyspaces.insert(keyspace, Route { partitioning, owners });
            table
        });
    }

    /// The owners of a partition.
    pub(crate) fn owners(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
    ) -> Option<Arc<Owners>> {
        let table = self.table.load();
        table.keyspaces.get(&keyspace)?.owners.get(usize::from(partition.0)).map(Arc::clone)
    }

    /// The partition of a slot and its owners; nothing where the keyspace's life is not known.
    pub(crate) fn find(
        &self,
        keyspace: Incarnation,
        slot: Slot,
    ) -> Option<(PartitionId, Arc<Owners>)> {
        let table = self.table.load();
        let route = table.keyspaces.get(&keyspace)?;
        let partition = route.partitioning.partition_of(slot);
        Some((partition, Arc::clone(route.owners.get(usize::from(partition.0))?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_core::NodeId;
    use shoal_core::ids::ClusterId;
    use shoal_core::map::{Command, EngineKind, KeyspaceSpec, Profile};

    #[test]
    fn what_a_map_changes_is_new_and_the_rest_is_what_it_was() {
        let map = ClusterMap::default()
            .apply(&Command::Found {
                cluster: ClusterId(1),
                node_name: "n1".to_owned(),
                token: 1,
                profile: Profile::default(),
                hash_seed: 7,
                default: KeyspaceSpec::new(EngineKind::Disk),
            })
            .expect("a cluster is founded");
        let routes = Routes::default();
        routes.install(&map);
        let keyspace = map.keyspaces["default"].incarnation;
        let slot = Slot::of(b"key");
        let (partition, owners) = routes.find(keyspace, slot).expect("it is there");
        assert_eq!(owners.nodes().collect::<Vec<_>>(), [NodeId(1)]);
        routes.install(&map);
        let again = routes.owners(keyspace, partition).expect("it is there");
        assert!(Arc::ptr_eq(&owners, &again));
        let flush = Command::FlushKeyspaces { names: ["default".to_owned()].into() };
        let flushed = map.apply(&flush).expect("it is emptied");
        routes.install(&flushed);
        assert!(routes.find(keyspace, slot).is_none(), "that life is over");
        let keyspace = flushed.keyspaces["default"].incarnation;
        let (_, owners) = routes.find(keyspace, slot).expect("it is there");
        assert_eq!(owners.epoch, flushed.version);
    }
}
