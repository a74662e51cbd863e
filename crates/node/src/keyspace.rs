//! A keyspace as the node serves it: its engine, its rules, and one lock per partition.
//!
//! Holds: whoever changes a key holds the lock of its partition from reading the old record to
//! submitting the new one. A keyspace whose definition changed is *retired* under all its locks
//! and another takes its place; whoever finds it retired looks it up again.

use parking_lot::{ArcMutexGuard, Mutex, MutexGuard, RawMutex};
use shoal_core::codec::record::Form;
use shoal_core::map::{EngineKind, Eviction, Keyspace as Definition};
use shoal_core::slot::Partitioning;
use shoal_core::version::Millis;
use shoal_core::{Incarnation, PartitionId, Slot};
use shoal_storage::{Address, Engine, Tally};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// A keyspace, ready to be read and written.
pub(crate) struct Keyspace {
    pub(crate) name: Arc<str>,
    pub(crate) definition: Definition,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) form: Form,
    /// Whether this node answers for all of it by itself, under the locks below. If not, every
    /// request goes to the copies of the partition, through the coordinator.
    pub(crate) local: bool,
    lanes: Box<[Arc<Mutex<Lane>>]>,
}

/// What a partition's lock guards.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// The keyspace's definition changed; look it up again.
    pub(crate) retired: bool,
    /// Who wants to know of changes of which key. Few keys are ever watched, so this is empty
    /// nearly always.
    watchers: HashMap<Box<[u8]>, Vec<Weak<AtomicBool>>>,
}

impl Lane {
    /// A flag that is set once `key` is changed. It is forgotten when it is dropped.
    pub(crate) fn watch(&mut self, key: &[u8]) -> Arc<AtomicBool> {
        let flag = Arc::default();
        if self.watchers.len().is_power_of_two() {
            self.watchers.retain(|_, flags| flags.iter().any(|flag| flag.strong_count() > 0));
        }
        let flags = self.watchers.entry(key.into()).or_default();
        flags.retain(|flag| flag.strong_count() > 0);
        flags.push(Arc::downgrade(&flag));
        flag
    }

    /// Takes note that from now on nobody hears of changes here: for whoever watches that is a
    /// change.
    pub(crate) fn touch_all(&self) {
        for flag in self.watchers.values().flatten().filter_map(Weak::upgrade) {
            flag.store(true, Ordering::Relaxed);
        }
    }

    /// Takes over the watchers of the lane in whose place this one comes.
    pub(crate) fn inherit(&mut self, before: &mut Self) {
        self.watchers = std::mem::take(&mut before.watchers);
    }

    /// Takes note that `key` was changed.
    pub(crate) fn touch(&self, key: &[u8]) {
        if self.watchers.is_empty() {
            return;
        }
        for flag in self.watchers.get(key).into_iter().flatten().filter_map(Weak::upgrade) {
            flag.store(true, Ordering::Relaxed);
        }
    }
}

/// A partition's lock, held apart from the keyspace it belongs to.
pub(crate) type LaneGuard = ArcMutexGuard<RawMutex, Lane>;

impl Keyspace {
    pub(crate) fn new(definition: &Definition, engine: Arc<dyn Engine>, local: bool) -> Self {
        let lanes = (0..definition.partitioning.count()).map(|_| Arc::default()).collect();
        let form = form_of(definition.engine);
        let name = Arc::from(definition.name.as_str());
        Self { name, definition: definition.clone(), engine, form, local, lanes }
    }

    /// The number under which the engine keeps this life of the keyspace.
    pub(crate) const fn space(&self) -> u32 {
        let Incarnation(number) = self.definition.incarnation;
        number
    }

    pub(crate) const fn partitioning(&self) -> Partitioning {
        self.definition.partitioning
    }

    pub(crate) fn partition_of(&self, slot: Slot) -> PartitionId {
        self.partitioning().partition_of(slot)
    }

    pub(crate) const fn address<'k>(&self, slot: Slot, key: &'k [u8]) -> Address<'k> {
        Address { space: self.space(), slot: slot.number(), key }
    }

    pub(crate) fn in_memory(&self) -> bool {
        self.definition.engine == EngineKind::Memory
    }

    pub(crate) fn evicts(&self) -> bool {
        self.definition.options.eviction != Eviction::None
    }

    pub(crate) fn default_ttl_ms(&self) -> Option<Millis> {
        self.definition.options.default_ttl_ms.map(Into::into)
    }

    /// Whether a removed key leaves nothing behind. With one replica nobody else can hold an
    /// older record; only event times could still arrive late.
    pub(crate) const fn purges_at_once(&self) -> bool {
        !self.definition.accepts_event_time
    }

    pub(crate) fn lock(&self, slot: Slot) -> MutexGuard<'_, Lane> {
        self.lanes[usize::from(self.partition_of(slot).0)].lock()
    }

    /// Lets those who watch keys of `before` watch the same keys here. Whoever calls this holds
    /// all of its locks.
    pub(crate) fn inherit(&self, before: &Self, held: &mut [LaneGuard]) {
        if self.partitioning() != before.partitioning() {
            return;
        }
        for (lane, old) in self.lanes.iter().zip(held) {
            lane.lock().inherit(old);
        }
    }

    pub(crate) fn hold(&self, partition: PartitionId) -> LaneGuard {
        self.lanes[usize::from(partition.0)].lock_arc()
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.partitioning().count()).map(PartitionId)
    }

    pub(crate) fn tally(&self) -> Tally {
        self.engine.tally(self.space(), 0..shoal_core::slot::SLOT_COUNT)
    }
}

/// How records are kept in an engine of this kind.
pub(crate) const fn form_of(engine: EngineKind) -> Form {
    match engine {
        EngineKind::Memory => Form::Plain,
        EngineKind::Disk => Form::Sealed,
    }
}
