//! Engines and copies for tests.

use super::copy::{PartitionCopy, Place};
use super::life::Lives;
use super::settle::SettleQueue;
use crate::rules::Rules;
use shoal_core::codec::record::Form;
use shoal_core::ids::{Incarnation, ReplicaIncarnation};
use shoal_core::quorum::{Member, Owners};
use shoal_core::record::{OwnedBody, OwnedRecord, PLAIN};
use shoal_core::repair::TreeSecret;
use shoal_core::replica::Limits;
use shoal_core::version::Millis;
use shoal_core::{Epoch, NodeId, PartitionId, Version};
use shoal_storage::disk::{DiskEngine, DiskOptions};
use shoal_storage::files::RealFiles;
use shoal_storage::memory::{MemoryEngine, MemoryOptions};
use shoal_storage::{Durability, Engine, Policy, SpaceOptions};
use std::path::Path;
use std::sync::Arc;

pub(crate) const KEYSPACE: Incarnation = Incarnation(7);
pub(crate) const ME: NodeId = NodeId(1);
/// What the clocks say.
pub(crate) const NOW_MS: Millis = 1_000_000;

/// The node's own rules, which know of this keyspace alone.
fn rules() -> Arc<dyn Policy> {
    let rules = Rules::default();
    rules.know(KEYSPACE);
    Arc::new(rules)
}

/// An engine with the keyspace's space open.
pub(crate) fn memory() -> Arc<dyn Engine> {
    opened(Arc::new(MemoryEngine::new(rules(), MemoryOptions::default())))
}

/// The same with room for so many bytes.
pub(crate) fn memory_of(bytes: u64) -> Arc<dyn Engine> {
    let options = MemoryOptions { limit_bytes: Some(bytes), ..MemoryOptions::default() };
    opened(Arc::new(MemoryEngine::new(rules(), options)))
}

/// The same on disk; opening it again finds what was there.
pub(crate) fn disk(at: &Path) -> Arc<dyn Engine> {
    let options = DiskOptions {
        memory_limit_bytes: 16 << 20,
        min_free_bytes: Some(0),
        ..DiskOptions::default()
    };
    std::fs::create_dir_all(at).expect("a folder");
    let engine = DiskEngine::open(Arc::new(RealFiles), at, &options, rules());
    opened(Arc::new(engine.expect("an engine opens")))
}

/// An engine whose space of so many bytes makes room for what comes.
pub(crate) fn cache(max_memory: u64) -> Arc<dyn Engine> {
    let engine = Arc::new(MemoryEngine::new(rules(), MemoryOptions::default()));
    opened_with(engine, Some(max_memory), true)
}

fn opened(engine: Arc<dyn Engine>) -> Arc<dyn Engine> {
    opened_with(engine, None, false)
}

fn opened_with(engine: Arc<dyn Engine>, max_memory: Option<u64>, evict: bool) -> Arc<dyn Engine> {
    let durability = Durability::Always;
    let options = SpaceOptions { partitions: 256, durability, max_memory, evict };
    engine.open_space(KEYSPACE.0, options).expect("a space opens");
    engine
}

/// The copy of partition 0 in `engine`, with what serves its waiting answers.
pub(crate) fn copy(
    engine: &Arc<dyn Engine>,
    form: Form,
    owners: Arc<Owners>,
) -> (Arc<PartitionCopy>, Arc<SettleQueue>) {
    copy_of(ME, engine, form, owners)
}

/// The same of another node.
pub(crate) fn copy_of(
    me: NodeId,
    engine: &Arc<dyn Engine>,
    form: Form,
    owners: Arc<Owners>,
) -> (Arc<PartitionCopy>, Arc<SettleQueue>) {
    copy_that(me, engine, form, owners, true)
}

/// The same, of a store that may or may not be `trusted`.
pub(crate) fn copy_that(
    me: NodeId,
    engine: &Arc<dyn Engine>,
    form: Form,
    owners: Arc<Owners>,
    trusted: bool,
) -> (Arc<PartitionCopy>, Arc<SettleQueue>) {
    let settled = Arc::new(SettleQueue::new(Arc::clone(engine)));
    let lives = (form == Form::Sealed)
        .then(|| Arc::new(Lives::open(Arc::clone(engine)).expect("the lives open")));
    let place = Place {
        keyspace: KEYSPACE,
        partition: PartitionId(0),
        slots: 0..64,
        engine: Arc::clone(engine),
        form,
        evicts: false,
        lives,
        settled: Arc::clone(&settled),
    };
    let limits = Limits { max_skew_ms: 500, event_horizon_ms: 60_000, secret: TreeSecret(9) };
    let copy = PartitionCopy::open(place, me, owners, limits, trusted).expect("the copy opens");
    (Arc::new(copy), settled)
}

pub(crate) const fn epoch(index: u64) -> Epoch {
    Epoch { generation: 0, index }
}

pub(crate) const fn member(node: u32, life: u64) -> Member {
    Member { node: NodeId(node), incarnation: ReplicaIncarnation(life) }
}

pub(crate) fn owners(index: u64, replicas: &[Member], next: &[Member]) -> Arc<Owners> {
    Arc::new(Owners { epoch: epoch(index), replicas: replicas.to_vec(), next: next.to_vec() })
}

pub(crate) const fn version(wall_ms: Millis) -> Version {
    Version { wall_ms, counter: 0, node: NodeId(2) }
}

pub(crate) fn live(wall_ms: Millis, text: &'static str) -> OwnedRecord {
    let body = OwnedBody::Live { kind: PLAIN, bytes: text.into() };
    OwnedRecord { version: version(wall_ms), written: version(wall_ms), expires_at: None, body }
}

pub(crate) fn tombstone(wall_ms: Millis) -> OwnedRecord {
    OwnedRecord { body: OwnedBody::Tombstone, ..live(wall_ms, "") }
}
