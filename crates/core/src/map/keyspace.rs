//! One keyspace: its engine, its options, its partitions and who holds them.

use super::MapError;
use crate::ids::{Epoch, Incarnation, NodeId, PartitionId};
use crate::placement::{MAX_REPLICAS, Replication, Strategy};
use crate::quorum::{Level, Member, Owners};
use crate::slot::{Partitioning, Slot};
use crate::version::{MAX_WALL_MS, Millis};
use std::num::NonZeroU64;

/// How many partitions a keyspace has unless said otherwise.
const DEFAULT_PARTITIONS: Partitioning = match Partitioning::new(256) {
    Some(partitioning) => partitioning,
    None => unreachable!(),
};
const DAY_MS: Millis = 24 * 60 * 60 * 1_000;

/// A named map with its own engine and options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyspace {
    /// Its name, also its key in the map.
    pub name: String,
    /// Its present life; everything stored is prefixed with it.
    pub incarnation: Incarnation,
    /// Where it lives; fixed at creation.
    pub engine: EngineKind,
    /// How its slots are divided.
    pub partitioning: Partitioning,
    /// How it behaves.
    pub options: KeyspaceOptions,
    /// Whether a write with an event time was ever taken in this life. From then on deleted keys
    /// leave tombstones, which an older event must be compared with.
    pub accepts_event_time: bool,
    /// The number by which `SELECT` knows it.
    pub database: Option<u16>,
    /// What placement mixes in, so that keyspaces do not all burden the same nodes: the number
    /// of its first life. It stays when the keyspace is flushed, so that a flush moves nothing.
    pub salt: u64,
    /// The map version of the last change of anything in here.
    pub epoch: Epoch,
    /// One entry per partition, by its id.
    pub partitions: Vec<Partition>,
}

/// One partition's owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The map version of the last change that fences: of owners, of life, of contents.
    pub epoch: Epoch,
    /// Who holds it, in order of preference; distinct, never empty.
    pub replicas: Vec<Member>,
    /// Who is to hold it; empty while no change is under way.
    pub next: Vec<Member>,
    /// Who left at a cut-over, or was dropped on the way in, and has not yet forgotten what it
    /// held.
    pub outgoing: Vec<NodeId>,
}

/// Where a keyspace lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// In memory only: gone after a restart.
    Memory,
    /// On disk, larger than memory.
    #[default]
    Disk,
}

/// What an acknowledgement of a keyspace on disk waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A sync that began after the write.
    #[default]
    Always,
    /// The write; a sync follows within this many milliseconds, at least 1.
    Interval(u32),
    /// The write; the operating system syncs when it likes.
    Os,
}

/// What a keyspace in memory does when it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// Refuses writes.
    #[default]
    None,
    /// Drops one of the keys not used for longest, found by sampling.
    Lru,
}

/// How a keyspace behaves. All but the strategy may be altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyspaceOptions {
    /// How long a value lives that is written without an expiry.
    pub default_ttl_ms: Option<NonZeroU64>,
    /// What acknowledgements wait for; other than [`Durability::Always`] on disk only.
    pub durability: Durability,
    /// The most bytes it may hold, in memory only; `None` for no bound of its own.
    pub max_memory: Option<u64>,
    /// What happens at that bound; eviction needs one.
    pub eviction: Eviction,
    /// How many replicas it is to have once there are nodes enough: 1 to 7, or one on each.
    pub replication: Replication,
    /// How the nodes are chosen; fixed at creation.
    pub strategy: Strategy,
    /// How many replicas a read asks unless it says so itself.
    pub read_level: Level,
    /// How many replicas a write waits for unless it says so itself.
    pub write_level: Level,
    /// Whether the replicas of a partition are spread over the zones.
    pub spread_zones: bool,
    /// How far back a write's event time may lie, in milliseconds.
    pub event_horizon_ms: u64,
}

impl Default for KeyspaceOptions {
    fn default() -> Self {
        Self {
            default_ttl_ms: None,
            durability: Durability::Always,
            max_memory: None,
            eviction: Eviction::None,
            replication: Replication::Count(3),
            strategy: Strategy::Rendezvous,
            read_level: Level::Quorum,
            write_level: Level::Quorum,
            spread_zones: true,
            event_horizon_ms: 7 * DAY_MS,
        }
    }
}

/// What a keyspace is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyspaceSpec {
    /// Where it is to live.
    pub engine: EngineKind,
    /// How its slots are to be divided.
    pub partitioning: Partitioning,
    /// Its options.
    pub options: KeyspaceOptions,
}

impl KeyspaceSpec {
    /// The usual keyspace on `engine`: 256 partitions, default options.
    #[must_use]
    pub fn new(engine: EngineKind) -> Self {
        Self { engine, partitioning: DEFAULT_PARTITIONS, options: KeyspaceOptions::default() }
    }

    /// Refuses options that contradict each other or the engine.
    pub(super) fn check(&self) -> Result<(), MapError> {
        let refuse = |option, why| Err(MapError::InvalidOption { option, why });
        let options = &self.options;
        let in_memory = self.engine == EngineKind::Memory;
        if options.durability == Durability::Interval(0) {
            return refuse("sync", "an interval has at least 1 ms");
        }
        if in_memory && options.durability != Durability::Always {
            return refuse("sync", "only a keyspace on disk can be synced");
        }
        if !in_memory && options.max_memory.is_some() {
            return refuse("max_memory", "only a keyspace in memory can be bounded by it");
        }
        if options.max_memory == Some(0) {
            return refuse("max_memory", "a bound has at least 1 byte");
        }
        if options.eviction != Eviction::None && options.max_memory.is_none() {
            return refuse("eviction", "it needs max_memory");
        }
        if let Replication::Count(count) = options.replication
            && !(1..=MAX_REPLICAS).contains(&count)
        {
            return refuse("replication", "it goes from 1 to 7, or is all");
        }
        if !(1..=MAX_WALL_MS).contains(&options.event_horizon_ms) {
            return refuse("event_horizon_ms", "it goes from 1 ms to the end of time");
        }
        if options.default_ttl_ms.is_some_and(|ttl| ttl.get() > MAX_WALL_MS) {
            return refuse("default_ttl_ms", "it goes from 1 ms to the end of time");
        }
        Ok(())
    }
}

impl Partition {
    /// The owners, as the machines of replication want them.
    #[must_use]
    pub fn owners(&self) -> Owners {
        Owners { epoch: self.epoch, replicas: self.replicas.clone(), next: self.next.clone() }
    }

    /// Whether a change of owners is under way.
    #[must_use]
    pub const fn is_moving(&self) -> bool {
        !self.next.is_empty()
    }

    /// Every node that holds the partition or is to hold it, once each; present ones first.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let coming = self.next.iter().filter(|member| !is_in(&self.replicas, member.node));
        self.replicas.iter().chain(coming).map(|member| member.node)
    }

    /// Whether `node` holds the partition or is to hold it, whatever its copy's life.
    #[must_use]
    pub fn has_node(&self, node: NodeId) -> bool {
        is_in(&self.replicas, node) || is_in(&self.next, node)
    }

    /// Whether `node` is named at all: an owner, an owner to be, or one that still forgets.
    #[must_use]
    pub fn names(&self, node: NodeId) -> bool {
        self.has_node(node) || self.outgoing.contains(&node)
    }

    /// How many places the partition has in the map.
    pub(crate) const fn places(&self) -> usize {
        self.replicas.len() + self.next.len() + self.outgoing.len()
    }
}

/// Whether `node` is among `members`, whatever its copy's life.
pub(super) fn is_in(members: &[Member], node: NodeId) -> bool {
    members.iter().any(|member| member.node == node)
}

impl Keyspace {
    /// What the keyspace would have to be made from to be like this one.
    #[must_use]
    pub const fn spec(&self) -> KeyspaceSpec {
        KeyspaceSpec { engine: self.engine, partitioning: self.partitioning, options: self.options }
    }

    /// The partition that `slot` belongs to.
    #[must_use]
    pub fn partition_of(&self, slot: Slot) -> (PartitionId, &Partition) {
        let id = self.partitioning.partition_of(slot);
        (id, &self.partitions[usize::from(id.0)])
    }

    /// Refuses what contradicts itself, beyond what the spec alone can.
    pub(super) fn check_options(&self) -> Result<(), MapError> {
        self.spec().check()?;
        if self.accepts_event_time && self.options.eviction != Eviction::None {
            return Err(MapError::EventTimeAndEviction { name: self.name.clone() });
        }
        Ok(())
    }
}
