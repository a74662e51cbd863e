//! The catalogue of keyspaces: the cluster map, and the keyspaces as they are served under it.
//!
//! Holds: one change at a time. A change first locks every partition of the keyspaces it
//! touches, then makes the map durable, then swaps the routing, then retires the old keyspaces
//! and lets go; so no write is decided by one map and stored under another. The order of locks
//! is: the change lock, then partitions in ascending order of (space, partition).

use crate::access::no_keyspace;
use crate::keyspace::{Keyspace, LaneGuard};
use crate::naming;
use crate::refusal::{Code, Refusal};
use crate::request::Target;
use crate::rules::Rules;
use arc_swap::{ArcSwap, Guard};
use parking_lot::{Mutex, MutexGuard};
use shoal_core::map::{self, ClusterMap, Command, EngineKind, Eviction, Keyspace as Definition};
use shoal_meta::{LocalStore, MapStore, MetaError};
use shoal_storage::{Durability, Engine, SpaceOptions};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

/// How many database numbers there are.
const DATABASES: u16 = map::MAX_DATABASE + 1;

/// The keyspaces under one version of the map.
pub(crate) struct Routing {
    pub(crate) map: Arc<ClusterMap>,
    by_name: HashMap<Arc<str>, Arc<Keyspace>>,
    by_database: Vec<Option<Arc<Keyspace>>>,
    /// Whether this node answers for all of it by itself.
    local: bool,
}

impl Routing {
    pub(crate) fn find(&self, target: &Target) -> Option<&Arc<Keyspace>> {
        match target {
            Target::Database(number) => self.by_database.get(usize::from(*number))?.as_ref(),
            Target::Named(name) => self.by_name.get(name),
        }
    }

    /// Whether this node answers for all keyspaces by itself.
    pub(crate) const fn is_local(&self) -> bool {
        self.local
    }

    /// The keyspace that is kept under `space`.
    pub(crate) fn of_space(&self, space: u32) -> Option<&Arc<Keyspace>> {
        self.by_name.values().find(|keyspace| keyspace.space() == space)
    }

    /// Whether a keyspace is kept under `space`.
    pub(crate) fn serves(&self, space: u32) -> bool {
        self.by_name.values().any(|keyspace| keyspace.space() == space)
    }
}

/// The two engines of a node.
pub(crate) struct Engines {
    pub(crate) memory: Arc<dyn Engine>,
    pub(crate) disk: Arc<dyn Engine>,
}

impl Engines {
    pub(crate) fn of(&self, kind: EngineKind) -> &Arc<dyn Engine> {
        match kind {
            EngineKind::Memory => &self.memory,
            EngineKind::Disk => &self.disk,
        }
    }
}

/// Takes over a map that several nodes have agreed on, in all of the node, and waits until what
/// the command asks of the others is so: the map before, the map, the command.
pub(crate) type Adopt =
    Box<dyn Fn(&ClusterMap, &Arc<ClusterMap>, &Command) -> Result<(), Refusal> + Send + Sync>;

/// How the map is changed once the node is one of several.
struct Several {
    store: Arc<dyn MapStore>,
    adopt: Adopt,
}

/// Keeps the map and serves its keyspaces.
pub(crate) struct Catalogue {
    /// The map of a node alone.
    store: Option<Arc<LocalStore>>,
    several: OnceLock<Several>,
    pub(crate) engines: Engines,
    rules: Arc<Rules>,
    routing: ArcSwap<Routing>,
    change: Mutex<()>,
}

/// The keyspaces that a change replaces, with all their partitions locked.
struct Replaced(Vec<(Arc<Keyspace>, Vec<LaneGuard>)>);

impl Catalogue {
    /// Serves what `store` holds, by this node alone.
    pub(crate) fn open(
        store: LocalStore,
        engines: Engines,
        rules: Arc<Rules>,
    ) -> Result<Self, Refusal> {
        let map = store.current();
        Self::of(Some(Arc::new(store)), &map, engines, rules)
    }

    /// Serves what `map` holds, as one of several nodes: nothing before [`Self::join_others`].
    pub(crate) fn open_among(
        map: &Arc<ClusterMap>,
        engines: Engines,
        rules: Arc<Rules>,
    ) -> Result<Self, Refusal> {
        Self::of(None, map, engines, rules)
    }

    fn of(
        store: Option<Arc<LocalStore>>,
        map: &Arc<ClusterMap>,
        engines: Engines,
        rules: Arc<Rules>,
    ) -> Result<Self, Refusal> {
        let local = store.is_some();
        rules.install(map, local);
        let routing = next_routing(map, None, &engines, local)?;
        let routing = ArcSwap::from_pointee(routing);
        let (several, change) = (OnceLock::new(), Mutex::new(()));
        Ok(Self { store, several, engines, rules, routing, change })
    }

    /// From now on the map is changed through `store`, and every change is taken over by `adopt`.
    /// Whoever calls this holds the change lock where the node was alone before.
    pub(crate) fn join_others(&self, store: Arc<dyn MapStore>, adopt: Adopt) {
        let _once = self.several.set(Several { store, adopt });
    }

    /// The map's store of a node alone.
    pub(crate) const fn alone(&self) -> Option<&Arc<LocalStore>> {
        self.store.as_ref()
    }

    pub(crate) fn routing(&self) -> Guard<Arc<Routing>> {
        self.routing.load()
    }

    /// Why no change of the catalogue is taken until a restart, if none is.
    pub(crate) fn in_doubt(&self) -> Option<Refusal> {
        let doubt = match (self.several.get(), &self.store) {
            (Some(several), _) => several.store.in_doubt(),
            (None, Some(store)) => store.in_doubt(),
            (None, None) => None,
        };
        doubt.map(Refusal::from)
    }

    /// Keeps others from changing the catalogue until the guard is dropped.
    pub(crate) fn hold_changes(&self) -> MutexGuard<'_, ()> {
        self.change.lock()
    }

    /// Carries out `command`. Blocks.
    pub(crate) fn change(&self, command: &Command) -> Result<(), Refusal> {
        if let Some(several) = self.several.get() {
            return Self::change_among(several, command);
        }
        let one = self.change.lock();
        if let Some(several) = self.several.get() {
            drop(one);
            return Self::change_among(several, command);
        }
        let routing = self.routing();
        let next = routing.map.apply(command)?;
        let replaced = Replaced::lock(&routing, &next);
        self.install(command, &routing, replaced, |_| {})
    }

    /// No lock is held while the others are asked.
    fn change_among(several: &Several, command: &Command) -> Result<(), Refusal> {
        let before = several.store.current();
        let after = several.store.propose(command);
        let after = after.map_err(|error| naming::refused(&before, error))?;
        (several.adopt)(&before, &after, command)
    }

    /// Serves by `map`, on which several nodes have agreed, from now on, unless a newer one is
    /// served already. What was opened for it before is found open.
    ///
    /// # Errors
    /// An engine's, before anything has changed.
    pub(crate) fn adopt(&self, map: &Arc<ClusterMap>) -> Result<(), Refusal> {
        let _one = self.change.lock();
        self.adopt_held(map)
    }

    /// The same for whoever holds the change lock.
    pub(crate) fn adopt_held(&self, map: &Arc<ClusterMap>) -> Result<(), Refusal> {
        let before = self.routing();
        let was_local = before.by_name.values().any(|keyspace| keyspace.local);
        if map.version <= before.map.version && !was_local {
            return Ok(());
        }
        self.rules.admit(map);
        let next = next_routing(map, Some(&before), &self.engines, false)?;
        let mut replaced = if was_local { Replaced::all(&before) } else { Replaced(Vec::new()) };
        self.rules.install(map, false);
        self.routing.store(Arc::new(next));
        for lane in replaced.0.iter().flat_map(|(_, guards)| guards) {
            lane.touch_all();
        }
        replaced.retire();
        drop(replaced);
        self.retire_gone(&before, map);
        Ok(())
    }

    /// Opens what `map` has and is not open yet, so that copies find their spaces.
    ///
    /// # Errors
    /// An engine's.
    pub(crate) fn open_spaces(&self, map: &ClusterMap) -> Result<(), Refusal> {
        self.rules.admit(map);
        let before = self.routing();
        for definition in map.keyspaces.values() {
            let known = before.by_name.get(definition.name.as_str());
            if known.is_none_or(|known| !is_kept_like(&known.definition, definition)) {
                open_space(definition, &self.engines)?;
            }
        }
        Ok(())
    }

    /// Carries out `command` for a transaction that holds the change lock and every partition
    /// of the keyspaces that change. Gives `adopt` the new keyspaces before anyone else can see
    /// them, so that it can lock them first.
    pub(crate) fn change_held(
        &self,
        command: &Command,
        mut adopt: impl FnMut(&Arc<Keyspace>),
    ) -> Result<(), Refusal> {
        let routing = self.routing();
        self.install(command, &routing, Replaced(Vec::new()), &mut adopt)
    }

    fn install(
        &self,
        command: &Command,
        before: &Routing,
        mut replaced: Replaced,
        mut adopt: impl FnMut(&Arc<Keyspace>),
    ) -> Result<(), Refusal> {
        // Whatever can fail comes before the map is durable: a space that stays unused is nothing,
        // a map that is not served is a keyspace lost.
        let expected = Arc::new(before.map.apply(command)?);
        self.rules.admit(&expected);
        let mut next = next_routing(&expected, Some(before), &self.engines, true)?;
        let Some(store) = &self.store else {
            return Err(Refusal::new(Code::TryAgain, "the node is still joining the others"));
        };
        let map = store.propose(command)?;
        debug_assert_eq!(map, expected, "applying a command is deterministic");
        next.map = Arc::clone(&map);
        self.rules.install(&map, true);
        for keyspace in next.by_name.values() {
            let known = before.by_name.get(&keyspace.name);
            if known.is_none_or(|known| !Arc::ptr_eq(known, keyspace)) {
                adopt(keyspace);
            }
        }
        for (old, guards) in &mut replaced.0 {
            if let Some(new) = next.by_name.get(&old.name) {
                new.inherit(old, guards);
            }
        }
        self.routing.store(Arc::new(next));
        replaced.retire();
        drop(replaced);
        self.retire_gone(before, &map);
        Ok(())
    }

    /// Tells the engines which spaces are gone.
    fn retire_gone(&self, before: &Routing, map: &ClusterMap) {
        let alive: Vec<u32> = map.keyspaces.values().map(|k| k.incarnation.0).collect();
        for keyspace in before.by_name.values() {
            if !alive.contains(&keyspace.space()) {
                keyspace.engine.retire(keyspace.space());
            }
        }
    }

    /// Makes one of the databases that a first write makes.
    pub(crate) fn make_database(&self, number: u16) -> Result<(), Refusal> {
        match self.change(&Command::CreateDatabase { number }) {
            // Somebody else made it in the meantime.
            Err(refusal) if refusal.code == Code::KeyspaceExists => Ok(()),
            other => other,
        }
    }

    pub(crate) fn accept_event_time(&self, name: &str) -> Result<(), Refusal> {
        self.change(&Command::AcceptEventTime { name: name.to_owned() })
    }

    /// The name of the keyspace that `target` stands for, there or not yet.
    pub(crate) fn name_of(&self, target: &Target) -> Result<String, Refusal> {
        let routing = self.routing();
        match routing.find(target) {
            Some(keyspace) => Ok(keyspace.name.to_string()),
            None => Err(no_keyspace(target)),
        }
    }
}

impl Replaced {
    /// Locks what changes between the two maps.
    fn lock(routing: &Routing, next: &ClusterMap) -> Self {
        let mut changed: Vec<&Arc<Keyspace>> = routing
            .by_name
            .values()
            .filter(|keyspace| next.keyspaces.get(&*keyspace.name) != Some(&keyspace.definition))
            .collect();
        changed.sort_by_key(|keyspace| keyspace.space());
        Self::locked(changed)
    }

    /// Locks everything.
    fn all(routing: &Routing) -> Self {
        let mut all: Vec<&Arc<Keyspace>> = routing.by_name.values().collect();
        all.sort_by_key(|keyspace| keyspace.space());
        Self::locked(all)
    }

    fn locked(keyspaces: Vec<&Arc<Keyspace>>) -> Self {
        let lock = |keyspace: &Arc<Keyspace>| {
            let guards = keyspace.partitions().map(|id| keyspace.hold(id)).collect();
            (Arc::clone(keyspace), guards)
        };
        Self(keyspaces.into_iter().map(lock).collect())
    }

    /// Sends whoever waits for a lock to what is served from now on.
    fn retire(&mut self) {
        for lane in self.0.iter_mut().flat_map(|(_, guards)| guards) {
            lane.retired = true;
        }
    }
}

/// The routing under `map`: keyspaces whose definition did not change stay as they are.
fn next_routing(
    map: &Arc<ClusterMap>,
    before: Option<&Routing>,
    engines: &Engines,
    local: bool,
) -> Result<Routing, Refusal> {
    let mut by_name = HashMap::new();
    let mut by_database = vec![None; usize::from(DATABASES)];
    for definition in map.keyspaces.values() {
        let known = before.and_then(|before| before.by_name.get(definition.name.as_str()));
        let keyspace = match known {
            Some(known) if known.definition == *definition && known.local == local => {
                Arc::clone(known)
            }
            Some(known) if is_kept_like(&known.definition, definition) => {
                Arc::new(Keyspace::new(definition, Arc::clone(&known.engine), local))
            }
            _ => open_keyspace(definition, engines, local)?,
        };
        if let Some(number) = definition.database
            && let Some(place) = by_database.get_mut(usize::from(number))
        {
            *place = Some(Arc::clone(&keyspace));
        }
        by_name.insert(Arc::clone(&keyspace.name), keyspace);
    }
    Ok(Routing { map: Arc::clone(map), by_name, by_database, local })
}

/// Whether the engine keeps the two in the same space and by the same rules.
fn is_kept_like(a: &Definition, b: &Definition) -> bool {
    let rules = |of: &Definition| {
        let options = &of.options;
        (options.durability, options.max_memory, options.eviction)
    };
    a.incarnation == b.incarnation
        && a.engine == b.engine
        && a.partitioning == b.partitioning
        && rules(a) == rules(b)
}

fn open_keyspace(
    definition: &Definition,
    engines: &Engines,
    local: bool,
) -> Result<Arc<Keyspace>, Refusal> {
    let engine = open_space(definition, engines)?;
    Ok(Arc::new(Keyspace::new(definition, Arc::clone(engine), local)))
}

fn open_space<'e>(
    definition: &Definition,
    engines: &'e Engines,
) -> Result<&'e Arc<dyn Engine>, Refusal> {
    let engine = engines.of(definition.engine);
    let options = &definition.options;
    engine.open_space(
        definition.incarnation.0,
        SpaceOptions {
            partitions: definition.partitioning.count(),
            durability: match options.durability {
                map::Durability::Always => Durability::Always,
                map::Durability::Interval(ms) => Durability::Interval(ms),
                map::Durability::Os => Durability::Os,
            },
            max_memory: options.max_memory,
            evict: options.eviction != Eviction::None,
        },
    )?;
    Ok(engine)
}

impl From<MetaError> for Refusal {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Refused(error) => error.into(),
            MetaError::Full { .. } => Self::new(Code::DiskFull, error.to_string()),
            MetaError::File { .. } => Self::new(Code::Storage, error.to_string()),
            MetaError::InDoubt { .. } => Self::new(Code::MapInDoubt, error.to_string()),
            MetaError::NoMajority { .. } => Self::new(Code::NoMajority, error.to_string()),
            MetaError::Unknown { .. } => Self::new(Code::Unknown, error.to_string()),
            MetaError::Voters { .. } => Self::new(Code::BadOption, error.to_string()),
            MetaError::NotLeader { .. } | MetaError::Peer { .. } => {
                Self::new(Code::TryAgain, error.to_string())
            }
        }
    }
}

/// Keyspaces by name, for the outside: a sorted view.
pub(crate) fn sorted(routing: &Routing) -> BTreeMap<&str, &Arc<Keyspace>> {
    routing.by_name.iter().map(|(name, keyspace)| (&**name, keyspace)).collect()
}
