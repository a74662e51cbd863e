//! Taking over a map: its spaces are opened, its copies act under it, its routes are followed.
//!
//! Holds: maps are taken over one at a time, each newer than the one before. A copy acts under a
//! map before anything is routed by it, so that whoever is routed here finds the copy. A copy that
//! nobody has kept a life of begins one only where it cannot ever have acknowledged anything in
//! the present life of its keyspace. Where taking over panics, some copies may act under one map and
//! some under another, and locks may have been left half-way: nothing is taken over, and nothing is
//! answered, until the node is restarted.
//!
//! Does not know: where maps come from, what copies do then.

use crate::coordinator::Routes;
use crate::keyspace::form_of;
use crate::node::Node;
use crate::refusal::{Code, Refusal};
use crate::replicas::{Copies, Lives, PartitionCopy, Place, SettleQueue, ShelfError, Waiting};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use shoal_core::ids::{Incarnation, MapVersion};
use shoal_core::map::{ClusterMap, Durability, EngineKind, Eviction, Keyspace, Partition};
use shoal_core::quorum::Owners;
use shoal_core::repair::TreeSecret;
use shoal_core::replica::Limits;
use shoal_core::{Epoch, NodeId, PartitionId};
use shoal_storage::{Engine, EngineError};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// How far ahead of a copy's clock a fresh record may be.
const MAX_SKEW_MS: u64 = 500;

/// What copies are opened with, and the map that they act under.
pub(crate) struct Custody {
    me: NodeId,
    copies: Arc<Copies>,
    routes: Arc<Routes>,
    memory: Store,
    disk: Store,
    /// Whether the disk has everything that was answered, whatever durability was asked for.
    disk_is_whole: bool,
    /// Lives of keyspaces from this one on began while this process was running.
    unborn: Incarnation,
    /// The map that was taken over last; held while one is.
    adopted: Mutex<Arc<ClusterMap>>,
    /// The same for those who only look.
    shown: ArcSwap<ClusterMap>,
    /// Its version, for those who wait for one.
    version: watch::Sender<MapVersion>,
    /// Whether taking over a map has panicked.
    broken: watch::Sender<bool>,
}

/// Held while a map is taken over: a panic meanwhile is noted.
pub(super) struct TakingOver<'c>(&'c Custody);

impl Drop for TakingOver<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("taking over a map panicked: the node serves nothing more; restart it");
            self.0.broken.send_replace(true);
        }
    }
}

/// One of the two engines.
struct Store {
    engine: Arc<dyn Engine>,
    settled: Arc<SettleQueue>,
    lives: Option<Arc<Lives>>,
}

impl Store {
    fn new(engine: &Arc<dyn Engine>, lives: Option<Arc<Lives>>) -> Self {
        let settled = Arc::new(SettleQueue::new(Arc::clone(engine)));
        Self { engine: Arc::clone(engine), settled, lives }
    }
}

/// What there was of a keyspace before.
type Before<'m> = BTreeMap<Incarnation, &'m Keyspace>;

impl Custody {
    /// Custody of the copies of `me`, of which there are none yet. `map` is the newest that is
    /// known here.
    ///
    /// # Errors
    /// The disk engine's.
    pub(super) fn new(node: &Node, map: &ClusterMap) -> Result<Self, EngineError> {
        let engines = &node.catalogue.engines;
        let lives = Arc::new(Lives::open(Arc::clone(&engines.disk))?);
        Ok(Self {
            me: node.id(),
            copies: Arc::default(),
            routes: Arc::default(),
            memory: Store::new(&engines.memory, None),
            disk: Store::new(&engines.disk, Some(lives)),
            disk_is_whole: node.disk_is_whole(),
            unborn: map.next_incarnation,
            adopted: Mutex::default(),
            shown: ArcSwap::default(),
            version: watch::Sender::default(),
            broken: watch::Sender::new(false),
        })
    }

    /// Says that taking over a map begins, in all of the node.
    ///
    /// # Errors
    /// [`Code::MapInDoubt`] where that has panicked before.
    pub(super) fn begin(&self) -> Result<TakingOver<'_>, Refusal> {
        self.is_sound()?;
        Ok(TakingOver(self))
    }

    /// Whether no map was left half taken over.
    ///
    /// # Errors
    /// [`Code::MapInDoubt`] where one was.
    pub(crate) fn is_sound(&self) -> Result<(), Refusal> {
        if *self.broken.borrow() {
            let message = "taking over a map failed half-way; the node must be restarted";
            return Err(Refusal::new(Code::MapInDoubt, message));
        }
        Ok(())
    }

    /// Tells once a map was left half taken over.
    pub(super) fn breaks(&self) -> watch::Receiver<bool> {
        self.broken.subscribe()
    }

    /// The copies.
    pub(super) const fn copies(&self) -> &Arc<Copies> {
        &self.copies
    }

    /// Who owns what.
    pub(super) const fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// What waits until answers are durable, for each engine; to be run.
    pub(crate) fn settle_queues(&self) -> [Arc<SettleQueue>; 2] {
        [Arc::clone(&self.memory.settled), Arc::clone(&self.disk.settled)]
    }

    /// The map that the copies act under.
    pub(super) fn map(&self) -> Arc<ClusterMap> {
        self.shown.load_full()
    }

    /// The versions of the maps that the copies act under.
    pub(super) fn versions(&self) -> watch::Receiver<MapVersion> {
        self.version.subscribe()
    }

    /// Whether what a keyspace holds is kept on disk.
    pub(super) fn is_on_disk(&self, keyspace: Incarnation) -> bool {
        let map = self.map();
        let found = map.keyspaces.values().find(|found| found.incarnation == keyspace);
        found.is_some_and(|found| found.engine == EngineKind::Disk)
    }

    /// Takes over `map` if it is newer than the one before: what it has is opened by `open`, then
    /// come the copies, then whoever is served by `serve`. Hands back the questions that waited for it. Blocks.
    ///
    /// With `alone` this node has held everything by itself so far, and founds its copies on that.
    ///
    /// # Errors
    /// An engine's, or `serve`'s: some copies may act under the new map already, and taking it
    /// over again goes on from there.
    pub(super) fn adopt(
        &self,
        map: &Arc<ClusterMap>,
        alone: bool,
        open: impl FnOnce() -> Result<(), Refusal>,
        serve: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<Vec<Waiting>, Refusal> {
        let mut adopted = self.adopted.lock();
        if map.version <= adopted.version {
            return Ok(Vec::new());
        }
        // Not before it is known to be newer: what an older map has may be gone for good.
        open()?;
        let before: Before<'_> =
            adopted.keyspaces.values().map(|keyspace| (keyspace.incarnation, keyspace)).collect();
        let mut waiting = Vec::new();
        let mut opened = Vec::new();
        for keyspace in map.keyspaces.values() {
            let known = before.get(&keyspace.incarnation);
            let begins_to_evict = evicts(keyspace) && known.is_some_and(|known| !evicts(known));
            for (id, partition) in (0..).map(PartitionId).zip(&keyspace.partitions) {
                let earlier = known.and_then(|known| known.partitions.get(usize::from(id.0)));
                if begins_to_evict && let Some(copy) = self.copies.find(keyspace.incarnation, id) {
                    copy.begin_to_evict();
                }
                if earlier.is_some_and(|earlier| earlier.epoch == partition.epoch) {
                    continue;
                }
                let owners = Arc::new(partition.owners());
                if let Some(copy) = self.copies.find(keyspace.incarnation, id) {
                    waiting.extend(copy.adopt(&owners).map_err(refused)?);
                } else if partition.names(self.me) {
                    let is_first = adopted.version == Epoch::default();
                    let earlier = earlier.map(Partition::owners);
                    let copy = self.open(map, keyspace, id, &owners, earlier, is_first, alone)?;
                    opened.push(((keyspace.incarnation, id), Arc::new(copy)));
                }
            }
        }
        if !opened.is_empty() {
            // Once for all of them: no life that has begun is acted in before it is durable.
            self.disk.engine.sync()?;
            self.copies.add_all(&opened);
        }
        let alive: BTreeMap<Incarnation, ()> =
            map.keyspaces.values().map(|keyspace| (keyspace.incarnation, ())).collect();
        let over = self.copies.retain(|(keyspace, _), _| alive.contains_key(&keyspace));
        waiting.extend(over);
        self.routes.install(map);
        serve()?;
        *adopted = Arc::clone(map);
        self.shown.store(Arc::clone(map));
        self.version.send_replace(map.version);
        Ok(waiting)
    }

    /// Opens the copy of a partition that names this node. What is kept of its life is not durable
    /// yet.
    #[expect(clippy::too_many_arguments, reason = "all of them are one place in the map")]
    fn open(
        &self,
        map: &ClusterMap,
        keyspace: &Keyspace,
        id: PartitionId,
        owners: &Arc<Owners>,
        earlier: Option<Owners>,
        is_first: bool,
        alone: bool,
    ) -> Result<PartitionCopy, Refusal> {
        let store = match keyspace.engine {
            EngineKind::Memory => &self.memory,
            EngineKind::Disk => &self.disk,
        };
        let place = Place {
            keyspace: keyspace.incarnation,
            partition: id,
            slots: keyspace.partitioning.slots_of(id),
            engine: Arc::clone(&store.engine),
            form: form_of(keyspace.engine),
            evicts: evicts(keyspace),
            lives: store.lives.clone(),
            settled: Arc::clone(&store.settled),
        };
        let limits = Limits {
            max_skew_ms: MAX_SKEW_MS,
            event_horizon_ms: keyspace.options.event_horizon_ms,
            secret: TreeSecret(map.hash_seed),
        };
        let is_new = keyspace.incarnation >= self.unborn;
        let trusted = keyspace.engine == EngineKind::Disk
            && (is_new || alone || self.has_all(keyspace.options.durability));
        // Who is named for the first time, while this process runs, begins what the map asks of
        // it. After a start nobody knows whether that was begun before.
        let first =
            if is_first { Arc::clone(owners) } else { Arc::new(earlier.unwrap_or_else(nobody)) };
        let copy = PartitionCopy::open(place, self.me, first, limits, trusted).map_err(refused)?;
        if !is_first {
            // Nobody can have asked it anything.
            let _nobody_waits = copy.adopt(owners).map_err(refused)?;
        }
        // On disk no life is kept only where none was ever begun: nothing was acknowledged.
        if trusted || is_new || alone {
            copy.found().map_err(refused)?;
        }
        Ok(copy)
    }

    /// Whether what was answered at this durability is on the disk after a start.
    const fn has_all(&self, durability: Durability) -> bool {
        matches!(durability, Durability::Always) || self.disk_is_whole
    }
}

pub(super) fn refused(error: ShelfError) -> Refusal {
    match error {
        ShelfError::Engine(error) => error.into(),
        ShelfError::Cold => Refusal::new(Code::Storage, "a read was not answered"),
    }
}

fn evicts(keyspace: &Keyspace) -> bool {
    keyspace.options.eviction != Eviction::None
}

/// The owners of what nobody has owned.
const fn nobody() -> Owners {
    Owners { epoch: Epoch { generation: 0, index: 0 }, replicas: Vec::new(), next: Vec::new() }
}
