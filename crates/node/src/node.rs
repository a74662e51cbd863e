//! The node: opens its data directory, serves, and closes it again.
//!
//! Holds: the order of start is lock, identity, map, engines, sweep; of stop the reverse. A node
//! that stopped cleanly has every file synced and marked so.

use crate::access::Access;
use crate::catalogue::{Catalogue, Engines, sorted};
use crate::clock::{NodeClock, TimeSource};
use crate::cluster::{Cluster, Ground, JoinError, MAX_VALUE_AMONG, Peers, Tokens, token_after};
use crate::coordinator::Coordinator;
use crate::keyspace::Keyspace;
use crate::refusal::{Code, Refusal};
use crate::request::Target;
use crate::rules::Rules;
use crate::stats::Stats;
use crate::sweep::Sweep;
use shoal_core::ids::ClusterId;
use shoal_core::map::{
    Changes, ClusterMap, Command, DEFAULT_KEYSPACE, EngineKind, Keyspace as Definition,
    KeyspaceSpec, Profile, database_name,
};
use shoal_core::{MapVersion, NodeId};
use shoal_meta::{LocalStore, MetaError};
use shoal_storage::directory::{DataDirectory, DirectoryError, Opened};
use shoal_storage::disk::{DiskEngine, DiskOptions};
use shoal_storage::files::RealFiles;
use shoal_storage::memory::{MemoryEngine, MemoryOptions};
use shoal_storage::{Commit, EngineError, Patience, Policy, Status, Tally};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// The id of a cluster's first node.
pub(crate) const FIRST_NODE: u32 = 1;
/// The file of the clock's ceiling.
const CEILING: &str = "clock";
/// The folder of the disk engine.
const DISK: &str = "disk";
/// What an engine that was opened once has in its folder. It makes them anew where they are
/// missing, which for a directory that was complete would be a silent loss.
const DISK_PARTS: [&str; 2] = ["log/identity", "sorted/current"];

/// How far ahead of time a clock's ceiling is laid at most; what is beyond that time itself has
/// lost, being set back.
const MOST_AHEAD: Duration = Duration::from_secs(10);

/// How a node is to run.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where its data lives.
    pub data: PathBuf,
    /// The most bytes it may hold in memory: cache, buffers, tables and pending writes.
    pub memory_limit: u64,
    /// Whether a new directory's keyspace `default` lives in memory rather than on disk.
    pub default_in_memory: bool,
    /// The longest value, in bytes.
    pub max_value_bytes: usize,
    /// Bytes of disk kept free; `None` for a share of the volume.
    pub min_free: Option<u64>,
    /// The node's name in the map; only a new directory takes it.
    pub name: String,
    /// Where its time comes from.
    pub time: TimeSource,
    /// How it meets others; `None` where nobody can reach it.
    pub peers: Option<Peers>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from("shoal-data"),
            memory_limit: 1 << 30,
            default_in_memory: false,
            max_value_bytes: 8 << 20,
            min_free: None,
            name: "n1".to_owned(),
            time: TimeSource::system(),
            peers: None,
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory is not to be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The map could not be read or written.
    #[error(transparent)]
    Map(#[from] MetaError),
    /// An engine could not be opened.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The node could not be set up.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The directory's parts belong to different clusters.
    #[error(
        "the map in {data} is of cluster {map}, the identity of cluster {identity}: put the file \
         that belongs here back, or restore the whole directory from a backup"
    )]
    MixedDirectory {
        /// The directory.
        data: PathBuf,
        /// The cluster that the map says.
        map: ClusterId,
        /// The cluster that the identity says.
        identity: ClusterId,
    },
    /// `--memory` was asked for, but the keyspace `default` is on disk already, or the reverse.
    #[error(
        "the keyspace default in {data} lives {there}; start {fix}, or name another data directory"
    )]
    OtherEngine {
        /// The directory.
        data: PathBuf,
        /// Where it lives.
        there: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// A thread could not be started, or an address not be listened on.
    #[error("a thread or a socket could not be had: {0}")]
    Thread(#[from] std::io::Error),
    /// No cluster let this node in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The directory belongs to a node of a cluster, which others have to reach.
    #[error("{data} belongs to a node of a cluster: start it with an address for its peers")]
    NoPeers {
        /// The directory.
        data: PathBuf,
    },
}

impl StartError {
    /// A stable word for the reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Directory(error) => error.code(),
            Self::Map(MetaError::Refused(error)) => Refusal::from(error.clone()).code.row().code,
            Self::Map(MetaError::File { .. }) => "map_file",
            Self::Map(MetaError::Full { .. }) => "disk_full",
            Self::Map(MetaError::InDoubt { .. }) => "map_in_doubt",
            Self::Map(MetaError::NoMajority { .. }) => "no_majority",
            Self::Map(MetaError::Unknown { .. }) => "unknown",
            Self::Map(MetaError::NotLeader { .. }) => "not_leader",
            Self::Map(MetaError::Voters { .. }) => "voters",
            Self::Map(MetaError::Peer { .. }) => "peer_map",
            Self::Engine(error) => Refusal::from(error.clone()).code.row().code,
            Self::Refused(refusal) => refusal.code.row().code,
            Self::MixedDirectory { .. } => "directory_mixed",
            Self::OtherEngine { .. } => "other_engine",
            Self::Thread(_) => "thread",
            Self::Join(error) => error.code,
            Self::NoPeers { .. } => "no_peers",
        }
    }
}

/// A running node.
pub struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) catalogue: Catalogue,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) stats: Stats,
    directory: DataDirectory,
    started: Instant,
    sweep: OnceLock<Sweep>,
    pub(crate) cluster: OnceLock<Arc<Cluster>>,
    ground: Option<Ground>,
    disk_is_whole: bool,
}

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

/// How a node is.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The map's version.
    pub map: MapVersion,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// The engine in memory.
    pub memory: Status,
    /// The engine on disk.
    pub disk: Status,
}

impl Node {
    /// Opens the data directory and starts serving. Blocks while the log is replayed, and where
    /// the node is one of several until the map has taken note of this start of it.
    ///
    /// # Errors
    /// [`StartError`], by name, where anything is not as it should be; nothing was changed then
    /// but what a crash could have left as well.
    pub fn start(config: NodeConfig) -> Result<Arc<Self>, StartError> {
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
            (None, ground) => Self::start_alone(config, directory, ground),
            (Some(tokens), Some(ground)) => Self::start_among(config, directory, ground, tokens),
            (Some(_), None) => Err(StartError::NoPeers { data: config.data }),
        }
    }

    fn start_alone(
        config: NodeConfig,
        directory: DataDirectory,
        ground: Option<Ground>,
    ) -> Result<Arc<Self>, StartError> {
        let store = open_map(&config, &directory)?;
        let map = shoal_meta::MapStore::current(&store);
        let rules = Arc::new(Rules::default());
        rules.install(&map, true);
        let (engines, is_whole) = open_engines(&config, &directory, &rules)?;
        let catalogue = Catalogue::open(store, engines, Arc::clone(&rules))?;
        let node = Self::of(config, catalogue, rules, directory, ground, is_whole)?;
        if let Some(ground) = &node.ground {
            ground.wait_for_others(&node, &map);
        }
        Ok(node)
    }

    fn start_among(
        mut config: NodeConfig,
        directory: DataDirectory,
        ground: Ground,
        mut tokens: Tokens,
    ) -> Result<Arc<Self>, StartError> {
        if config.max_value_bytes > MAX_VALUE_AMONG {
            tracing::warn!("max_value is 15MiB: among several nodes no longer value can be sent");
            config.max_value_bytes = MAX_VALUE_AMONG;
        }
        let identity = directory.identity();
        let store = ground.open_store(directory.path())?;
        let cluster = ClusterId(identity.cluster_id);
        ground.block_on(ground.put_on_record(&store, &mut tokens, cluster))?;
        let map = shoal_meta::MapStore::current(&*store);
        let rules = Arc::new(Rules::default());
        rules.install(&map, false);
        let (engines, is_whole) = open_engines(&config, &directory, &rules)?;
        let catalogue = Catalogue::open_among(&map, engines, Arc::clone(&rules))?;
        let node = Self::of(config, catalogue, rules, directory, Some(ground), is_whole)?;
        // A clock stands at its ceiling after a restart, which a node that was alone until shortly
        // before has laid further ahead than others may follow.
        let ahead = Duration::from_millis(node.clock.stamps_in_ms()).min(MOST_AHEAD);
        if let Some(ground) = node.ground() {
            ground.block_on(async { tokio::time::sleep(ahead).await });
        }
        node.serve_among(store)?;
        Ok(node)
    }

    fn of(
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
        let node = Arc::new(Self {
            config,
            catalogue,
            clock,
            rules,
            stats: Stats::default(),
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

    /// Stops the background work, syncs and closes the engines. Blocks.
    ///
    /// # Errors
    /// The refusal of an engine that could not be closed cleanly.
    pub fn stop(&self) -> Result<(), Refusal> {
        if let Some(sweep) = self.sweep.get() {
            sweep.stop();
        }
        if let Some(cluster) = self.cluster() {
            cluster.close();
        }
        if let Some(ground) = &self.ground {
            ground.close();
        }
        let disk = self.catalogue.engines.disk.close();
        let memory = self.catalogue.engines.memory.close();
        disk?;
        memory?;
        Ok(())
    }

    /// What the node stands on, where others can reach it.
    pub(crate) const fn ground(&self) -> Option<&Ground> {
        self.ground.as_ref()
    }

    /// Whether the disk had everything that was answered, whatever durability was asked for, when
    /// it was opened.
    pub(crate) const fn disk_is_whole(&self) -> bool {
        self.disk_is_whole
    }

    /// How often the node was started on its directory.
    pub(crate) fn start_count(&self) -> u64 {
        self.directory.identity().incarnation
    }

    /// How the node was asked to run.
    #[must_use]
    pub const fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// What the node did since it started.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.clock.node()
    }

    /// Where its data lives.
    #[must_use]
    pub fn data(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// How the node is.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        NodeStatus {
            cluster: ClusterId(self.directory.identity().cluster_id),
            node: self.id(),
            map: self.catalogue.routing().map.version,
            uptime_seconds: self.started.elapsed().as_secs(),
            memory: self.catalogue.engines.memory.status(),
            disk: self.catalogue.engines.disk.status(),
        }
    }

    /// The cluster map.
    #[must_use]
    pub fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.catalogue.routing().map)
    }

    /// The node's part in its cluster, once it is one of several.
    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.get()
    }

    /// What answers requests once the node is one of several.
    pub(crate) fn coordinator(&self) -> Option<&Arc<Coordinator>> {
        self.cluster().map(|cluster| &cluster.coordinator)
    }

    /// A run of requests.
    #[must_use]
    pub fn access(&self, patience: Patience) -> Access<'_> {
        Access::new(self, patience)
    }

    /// Ready once `commit` is settled; `waker` is woken until then.
    ///
    /// # Errors
    /// [`Code::StorageStopped`]: whether the writes survive a restart is not known.
    pub fn settle(&self, commit: Commit, waker: &Waker) -> Poll<Result<(), Refusal>> {
        if commit == Commit::DONE {
            return Poll::Ready(Ok(()));
        }
        self.catalogue.engines.disk.settle(commit, waker).map_err(Refusal::from)
    }

    /// Waits until `commit` is settled.
    ///
    /// # Errors
    /// As [`Node::settle`].
    pub async fn settled(&self, commit: Commit) -> Result<(), Refusal> {
        poll_fn(|context| self.settle(commit, context.waker())).await
    }

    /// As [`Node::settled`], blocking the thread.
    ///
    /// # Errors
    /// As [`Node::settle`].
    pub fn wait(&self, commit: Commit) -> Result<(), Refusal> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            match self.settle(commit, &waker) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// Makes a keyspace; one that evicts gets one replica, whatever is asked for. Blocks.
    ///
    /// # Errors
    /// [`Code::KeyspaceExists`], [`Code::BadName`], [`Code::BadOption`]; nothing changed.
    pub fn create_keyspace(
        &self,
        name: &str,
        mut spec: KeyspaceSpec,
        database: Option<u16>,
    ) -> Result<(), Refusal> {
        spec.options.replication = spec.options.replicas();
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

    /// Rewrites the files without what is not needed any more. Blocks, for long.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn compact(&self) -> Result<(), Refusal> {
        self.catalogue.engines.disk.compact()?;
        Ok(self.catalogue.engines.memory.compact()?)
    }

    /// Waits until everything written so far is synced. Blocks.
    ///
    /// # Errors
    /// The engine's refusal.
    pub fn sync(&self) -> Result<(), Refusal> {
        Ok(self.catalogue.engines.disk.sync()?)
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
    rules: &Arc<Rules>,
) -> Result<(Engines, bool), StartError> {
    let policy: Arc<dyn Policy> = Arc::clone(rules) as Arc<dyn Policy>;
    let share = Share::of(config.memory_limit, config.default_in_memory);
    let memory =
        MemoryEngine::new(Arc::clone(&policy), MemoryOptions { limit_bytes: Some(share.tables) });
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

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
