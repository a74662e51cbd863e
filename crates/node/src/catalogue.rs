//! The catalogue of keyspaces: the cluster map, and the keyspaces as they are served under it.
//!
//! Holds: one change at a time. A change first locks every partition of the keyspaces it
//! touches, then makes the map durable, then swaps the routing, then retires the old keyspaces
//! and lets go; so no write is decided by one map and stored under another. The order of locks
//! is: the change lock, then partitions in ascending order of (space, partition).

use crate::access::no_keyspace;
use crate::keyspace::{Keyspace, LaneGuard};
use crate::refusal::{Code, Refusal};
use crate::request::Target;
use crate::rules::Rules;
use arc_swap::{ArcSwap, Guard};
use parking_lot::{Mutex, MutexGuard};
use shoal_core::map::{self, ClusterMap, Command, EngineKind, Eviction, Keyspace as Definition};
use shoal_meta::{MapStore, MetaError};
use shoal_storage::{Durability, Engine, SpaceOptions};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How many database numbers there are.
const DATABASES: u16 = map::MAX_DATABASE + 1;

/// The keyspaces under one version of the map.
pub(crate) struct Routing {
    pub(crate) map: Arc<ClusterMap>,
    by_name: HashMap<Arc<str>, Arc<Keyspace>>,
    by_database: Vec<Option<Arc<Keyspace>>>,
}

impl Routing {
    pub(crate) fn find(&self, target: &Target) -> Option<&Arc<Keyspace>> {
        match target {
            Target::Database(number) => self.by_database.get(usize::from(*number))?.as_ref(),
            Target::Named(name) => self.by_name.get(name),
        }
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

/// Keeps the map and serves its keyspaces.
pub(crate) struct Catalogue {
    store: Box<dyn MapStore>,
    pub(crate) engines: Engines,
    rules: Arc<Rules>,
    routing: ArcSwap<Routing>,
    change: Mutex<()>,
}

/// The keyspaces that a change replaces, with all their partitions locked.
struct Replaced(Vec<(Arc<Keyspace>, Vec<LaneGuard>)>);

impl Catalogue {
    /// Serves what `store` holds.
    pub(crate) fn open(
        store: Box<dyn MapStore>,
        engines: Engines,
        rules: Arc<Rules>,
    ) -> Result<Self, Refusal> {
        let map = store.current();
        rules.install(&map);
        let routing = next_routing(&map, None, &engines)?;
        let routing = ArcSwap::from_pointee(routing);
        Ok(Self { store, engines, rules, routing, change: Mutex::new(()) })
    }

    pub(crate) fn routing(&self) -> Guard<Arc<Routing>> {
        self.routing.load()
    }

    /// Why no change of the catalogue is taken until a restart, if none is.
    pub(crate) fn in_doubt(&self) -> Option<Refusal> {
        self.store.in_doubt().map(Refusal::from)
    }

    /// Keeps others from changing the catalogue until the guard is dropped.
    pub(crate) fn hold_changes(&self) -> MutexGuard<'_, ()> {
        self.change.lock()
    }

    /// Carries out `command`.
    pub(crate) fn change(&self, command: &Command) -> Result<(), Refusal> {
        let _one = self.change.lock();
        let routing = self.routing();
        let next = routing.map.apply(command)?;
        let replaced = Replaced::lock(&routing, &next);
        self.install(command, &routing, replaced, |_| {})
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
        let mut next = next_routing(&expected, Some(before), &self.engines)?;
        let map = self.store.propose(command)?;
        debug_assert_eq!(map, expected, "applying a command is deterministic");
        next.map = Arc::clone(&map);
        self.rules.install(&map);
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
        for (_, guards) in &mut replaced.0 {
            for lane in guards {
                lane.retired = true;
            }
        }
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
        let lock = |keyspace: &Arc<Keyspace>| {
            let guards = keyspace.partitions().map(|id| keyspace.hold(id)).collect();
            (Arc::clone(keyspace), guards)
        };
        Self(changed.into_iter().map(lock).collect())
    }
}

/// The routing under `map`: keyspaces whose definition did not change stay as they are.
fn next_routing(
    map: &Arc<ClusterMap>,
    before: Option<&Routing>,
    engines: &Engines,
) -> Result<Routing, Refusal> {
    let mut by_name = HashMap::new();
    let mut by_database = vec![None; usize::from(DATABASES)];
    for definition in map.keyspaces.values() {
        let known = before.and_then(|before| before.by_name.get(definition.name.as_str()));
        let keyspace = match known {
            Some(known) if known.definition == *definition => Arc::clone(known),
            _ => open_keyspace(definition, engines)?,
        };
        if let Some(number) = definition.database
            && let Some(place) = by_database.get_mut(usize::from(number))
        {
            *place = Some(Arc::clone(&keyspace));
        }
        by_name.insert(Arc::clone(&keyspace.name), keyspace);
    }
    Ok(Routing { map: Arc::clone(map), by_name, by_database })
}

fn open_keyspace(definition: &Definition, engines: &Engines) -> Result<Arc<Keyspace>, Refusal> {
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
    Ok(Arc::new(Keyspace::new(definition, Arc::clone(engine))))
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
