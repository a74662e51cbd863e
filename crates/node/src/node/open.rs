//! The start of a node: lock, identity, map, engines, sweep, in this order.
//!
//! Holds: whatever is refused was not changed, but as a crash could have left it. The engines of a
//! node of a cluster are opened under the newest map that it acted under before, and nothing of them
//! is shown before it is on record.
//!
//! Does not know: how a cluster lets a node in, what is served afterwards.

use super::{Entry, Node, NodeConfig, StartError};
use crate::catalogue::{Catalogue, Engines};
use crate::clock::NodeClock;
use crate::cluster::{Ground, MAX_VALUE_AMONG, Tokens, token_after};
use crate::errand::Budget;
use crate::rules::Rules;
use crate::stats::Stats;
use crate::sweep::Sweep;
use shoal_core::NodeId;
use shoal_core::ids::ClusterId;
use shoal_core::map::{ClusterMap, Command, DEFAULT_KEYSPACE, EngineKind, KeyspaceSpec, Profile};
use shoal_meta::LocalStore;
use shoal_storage::Policy;
use shoal_storage::directory::{DataDirectory, Opened};
use shoal_storage::disk::{DiskEngine, DiskOptions};
use shoal_storage::files::RealFiles;
use shoal_storage::memory::{MemoryEngine, MemoryOptions};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// The id of a cluster's first node.
pub(crate) const FIRST_NODE: u32 = 1;
/// The file of the clock's ceiling.
const CEILING: &str = "clock";
/// The folder of the disk engine.
const DISK: &str = "disk";
/// What an engine that was opened once has in its folder. It makes them anew where they are
/// missing, which for a directory that was complete would be a silent loss.
const DISK_PARTS: [&str; 2] = ["log/identity", "sorted/current"];

impl Node {
    /// Opens the data directory and starts serving. Blocks while the log is replayed, and where
    /// the node is one of several until the map has taken note of this start of it.
    ///
    /// # Errors
    /// [`StartError`], by name, where anything is not as it should be; nothing was changed then
    /// but what a crash could have left as well.
    pub fn start(config: NodeConfig) -> Result<Arc<Self>, StartError> {
        let (node, entry) = Self::open(config)?;
        if let Some(Err(error)) = entry.map(Entry::enter) {
            // The reason of the failed start is the one worth telling.
            let _ = node.stop();
            return Err(error);
        }
        Ok(node)
    }

    /// Opens the data directory. Blocks while the log is replayed. A node alone serves from now on.
    /// One of several refuses every request for data, by name, until it has
    /// [entered](Entry::enter); how it is and what it waits for it tells at once.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn open(config: NodeConfig) -> Result<(Arc<Self>, Option<Entry>), StartError> {
        let opened = Opened::at(&config.data)?;
        let ground = config.peers.clone().map(Ground::new).transpose()?;
        let directory = match (opened, &ground) {
            (Opened::Owned(directory), _) => directory,
            (Opened::Unowned(unowned), Some(ground)) => ground.find_owner(unowned, &config.name)?,
            (Opened::Unowned(unowned), None) => {
                unowned.belong(uuid::Uuid::now_v7().as_u128(), FIRST_NODE)?
            }
        };
        let tokens = match &ground {
            Some(ground) => ground.settle_in(&directory)?,
            None => Tokens::read(directory.path())?,
        };
        match (tokens, ground) {
            (None, ground) => Ok((Self::start_alone(config, directory, ground)?, None)),
            (Some(tokens), Some(ground)) => {
                let entry = Self::open_among(config, directory, ground, tokens)?;
                Ok((Arc::clone(&entry.node), Some(entry)))
            }
            (Some(_), None) => Err(StartError::NoPeers { data: config.data }),
        }
    }

    fn start_alone(
        config: NodeConfig,
        directory: DataDirectory,
        ground: Option<Ground>,
    ) -> Result<Arc<Self>, StartError> {
        if ground.as_ref().is_some_and(Ground::asks_to_join) {
            tracing::warn!("not asking to join: the directory has a cluster of this node alone");
        }
        let store = open_map(&config, &directory)?;
        let map = shoal_meta::MapStore::current(&store);
        let rules = Arc::new(Rules::default());
        rules.install(&map, true);
        let (engines, is_whole) = open_engines(&config, &directory, &map, &rules)?;
        let catalogue = Catalogue::open(store, engines, Arc::clone(&rules))?;
        let node = Self::of(config, catalogue, rules, directory, ground, is_whole)?;
        if let Some(ground) = &node.ground {
            ground.wait_for_others(&node, &map);
        }
        Ok(node)
    }

    fn open_among(
        mut config: NodeConfig,
        directory: DataDirectory,
        ground: Ground,
        tokens: Tokens,
    ) -> Result<Entry, StartError> {
        if config.max_value_bytes > MAX_VALUE_AMONG {
            tracing::warn!("max_value is 15MiB: among several nodes no longer value can be sent");
            config.max_value_bytes = MAX_VALUE_AMONG;
        }
        let (store, mut tokens) = (ground.open_store(directory.path())?, Some(tokens));
        let mut map = shoal_meta::MapStore::current(&*store);
        if !map.is_founded()
            && let Some(mut tokens) = tokens.take()
        {
            // Under a map that has nothing, all that is there would be taken for dead.
            let cluster = ClusterId(directory.identity().cluster_id);
            ground.block_on(ground.put_on_record(&store, &mut tokens, cluster))?;
            map = shoal_meta::MapStore::current(&*store);
        }
        let rules = Arc::new(Rules::default());
        rules.install(&map, false);
        let (engines, is_whole) = open_engines(&config, &directory, &map, &rules)?;
        let catalogue = Catalogue::open_among(&map, engines, Arc::clone(&rules))?;
        let node = Self::of(config, catalogue, rules, directory, Some(ground), is_whole)?;
        Ok(Entry { node, store, tokens })
    }

    /// A node of what was opened for it, which serves nobody yet.
    pub(crate) fn of(
        config: NodeConfig,
        catalogue: Catalogue,
        rules: Arc<Rules>,
        mut directory: DataDirectory,
        ground: Option<Ground>,
        disk_is_whole: bool,
    ) -> Result<Arc<Self>, StartError> {
        let (kept, time) = (directory.ceiling(CEILING)?, config.time.clone());
        let id = NodeId(directory.identity().node_id);
        let clock = Arc::new(NodeClock::new(id, kept, time));
        if catalogue.alone().is_none() {
            clock.among_others();
        }
        clock.raise(clock.now_ms())?;
        // Nothing was served before this, and nothing is made anew after it.
        directory.complete()?;
        let answers = Arc::new(Budget::under(config.memory_limit));
        let node = Arc::new(Self {
            config,
            catalogue,
            clock,
            rules,
            stats: Stats::default(),
            answers,
            directory,
            started: Instant::now(),
            sweep: OnceLock::new(),
            cluster: OnceLock::new(),
            ground,
            disk_is_whole,
        });
        let sweep = Sweep::start(Arc::downgrade(&node))?;
        node.sweep.get_or_init(|| sweep);
        Ok(node)
    }
}

fn open_map(config: &NodeConfig, directory: &DataDirectory) -> Result<LocalStore, StartError> {
    let identity = directory.identity();
    let engine = if config.default_in_memory { EngineKind::Memory } else { EngineKind::Disk };
    let has_data = directory.is_complete() || config.data.join(DISK).exists();
    let store = LocalStore::open(&config.data, || {
        // Data without a map would be taken for that of no keyspace, and swept away.
        (!has_data).then(|| Command::Found {
            cluster: ClusterId(identity.cluster_id),
            node_name: config.name.clone(),
            token: token_after(0),
            hash_seed: fastrand::u64(..),
            default: KeyspaceSpec::new(engine),
            profile: Profile::default(),
        })
    })?;
    let map = shoal_meta::MapStore::current(&store);
    if map.cluster != ClusterId(identity.cluster_id) {
        return Err(StartError::MixedDirectory {
            data: config.data.clone(),
            map: map.cluster,
            identity: ClusterId(identity.cluster_id),
        });
    }
    let there = map.keyspace(DEFAULT_KEYSPACE).map_or(engine, |keyspace| keyspace.engine);
    let (data, in_memory) = (config.data.clone(), config.default_in_memory);
    match there {
        EngineKind::Disk if in_memory => {
            Err(StartError::OtherEngine { data, there: "on disk", fix: "without --memory" })
        }
        EngineKind::Memory if !in_memory => {
            Err(StartError::OtherEngine { data, there: "in memory", fix: "with --memory" })
        }
        _ => Ok(store),
    }
}

fn open_engines(
    config: &NodeConfig,
    directory: &DataDirectory,
    map: &ClusterMap,
    rules: &Arc<Rules>,
) -> Result<(Engines, bool), StartError> {
    let policy: Arc<dyn Policy> = Arc::clone(rules) as Arc<dyn Policy>;
    let share = Share::of(config.memory_limit, config.default_in_memory);
    let (limit_bytes, seed) = (Some(share.tables), Some(order_of(map.hash_seed)));
    let memory = MemoryEngine::new(Arc::clone(&policy), MemoryOptions { limit_bytes, seed });
    let options = DiskOptions {
        memory_limit_bytes: share.disk,
        min_free_bytes: config.min_free,
        ..DiskOptions::default()
    };
    let (files, folder) = (Arc::new(RealFiles), directory.folder(DISK, &DISK_PARTS)?);
    let disk = DiskEngine::open(files, &folder, &options, policy)?;
    let is_whole = disk.is_whole();
    Ok((Engines { memory: Arc::new(memory), disk: Arc::new(disk) }, is_whole))
}

/// What the order of keys in memory is drawn from: the same at every node of the cluster, so that a
/// SCAN goes on at another one. It leads to nothing else that the map's number is a secret for,
/// should somebody guess it from the cursors that he is given.
fn order_of(hash_seed: u64) -> u64 {
    let mut order = [0; 8];
    let mut hasher = blake3::Hasher::new_derive_key("shoal 2026 order of keys in memory");
    hasher.update(&hash_seed.to_le_bytes()).finalize_xof().fill(&mut order);
    u64::from_le_bytes(order)
}

/// How the memory limit is divided.
struct Share {
    tables: u64,
    disk: u64,
}

impl Share {
    /// An eighth is set aside for connections. Of the rest the disk's caches and buffers get the
    /// greater part, or where `default` lives in memory the tables do.
    const fn of(limit: u64, default_in_memory: bool) -> Self {
        let disk = if default_in_memory { limit / 8 } else { limit / 2 };
        Self { tables: limit - disk - limit / 8, disk }
    }
}
