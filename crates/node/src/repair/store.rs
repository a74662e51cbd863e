//! Hints on the disk, so that a restart of who keeps them loses none.
//!
//! Holds: one entry per target and key, the newest, in a space of its own beside the keyspaces'.
//! A hint is no acknowledgement, so nobody waits until it is durable; what a crash takes back of
//! the last second is evened out by comparison.
//!
//! Does not know: who is to have a hint, and when.

use crate::replicas::ShelfError;
use crate::rules::read_record;
use bytes::Bytes;
use shoal_core::codec::record::{Form, head};
use shoal_core::ids::Incarnation;
use shoal_core::map::MAX_INCARNATION;
use shoal_core::quorum::Item;
use shoal_core::record::OwnedRecord;
use shoal_core::slot::SLOT_COUNT;
use shoal_core::{Body, NodeId, PartitionId};
use shoal_storage::{Address, Durability, Engine, EngineError, Op, Parts, SpaceOptions, Tally};
use std::sync::Arc;

/// The space of the hints: above every keyspace's and that of the copies' lives, below what
/// storage keeps for itself.
pub(crate) const HINTS_SPACE: u32 = MAX_INCARNATION + 1;
/// How soon a hint is synced, in milliseconds.
const SYNCED_WITHIN_MS: u32 = 1_000;
/// What stands before the key: the keyspace's life and the target.
const PREFIX: usize = 8;
/// How many entries are read at a time.
const AT_ONCE: usize = 256;

/// A hint as it is kept.
pub(crate) struct Kept {
    pub(crate) keyspace: Incarnation,
    pub(crate) partition: PartitionId,
    pub(crate) target: NodeId,
    pub(crate) item: Item,
}

/// The hints on the disk of this node.
pub(crate) struct HintStore {
    engine: Arc<dyn Engine>,
    keeps: Box<dyn Fn(Incarnation) -> bool + Send + Sync>,
}

impl HintStore {
    /// Opens the space of the hints. Those of a keyspace are kept if `keeps` says so: what a
    /// keyspace in memory holds does not belong on a disk.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn open(
        engine: Arc<dyn Engine>,
        keeps: impl Fn(Incarnation) -> bool + Send + Sync + 'static,
    ) -> Result<Self, EngineError> {
        let options = SpaceOptions {
            partitions: 1,
            durability: Durability::Interval(SYNCED_WITHIN_MS),
            max_memory: None,
            evict: false,
        };
        engine.open_space(HINTS_SPACE, options)?;
        Ok(Self { engine, keeps: Box::new(keeps) })
    }

    /// Shows everything that is kept. Damaged entries are passed over, and how many there were is
    /// handed back: comparison makes up for a hint. Blocks.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn load(&self, mut visit: impl FnMut(Kept)) -> Result<usize, ShelfError> {
        let mut damaged = 0;
        for slot in 0..SLOT_COUNT {
            let mut after: Option<Vec<u8>> = None;
            loop {
                let mut seen = 0;
                let mut last = None;
                let mut show = |key: &[u8], stored: &[u8]| {
                    seen += 1;
                    last = Some(key.to_vec());
                    match read(slot, key, stored) {
                        Some(kept) => visit(kept),
                        None => damaged += 1,
                    }
                    true
                };
                self.engine.scan(HINTS_SPACE, slot, after.as_deref(), AT_ONCE, &mut show)?;
                after = last;
                if seen < AT_ONCE {
                    break;
                }
            }
        }
        Ok(damaged)
    }

    /// Keeps a hint in the place of an older one of the same target and key.
    ///
    /// # Errors
    /// The engine's; what was kept before stays.
    pub(crate) fn keep(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
        target: NodeId,
        item: &Item,
    ) -> Result<(), EngineError> {
        if !(self.keeps)(keyspace) {
            return Ok(());
        }
        let key = key_of(keyspace, target, &item.key);
        let record = item.record.borrow();
        let head = head(Form::Sealed, &key, &record);
        let body = match record.body {
            Body::Live { bytes, .. } => bytes,
            Body::Tombstone => &[],
        };
        let put = Some(Parts { head: head.as_bytes(), body });
        self.engine.submit(&[Op { at: at(partition, &key), put, tally: Tally::default() }])?;
        Ok(())
    }

    /// Keeps it no longer.
    ///
    /// # Errors
    /// The engine's; it is delivered once more after a restart then, which does no harm.
    pub(crate) fn drop_hint(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
        target: NodeId,
        key: &[u8],
    ) -> Result<(), EngineError> {
        if !(self.keeps)(keyspace) {
            return Ok(());
        }
        let key = key_of(keyspace, target, key);
        self.engine.submit(&[Op {
            at: at(partition, &key),
            put: None,
            tally: Tally::default(),
        }])?;
        Ok(())
    }
}

fn key_of(keyspace: Incarnation, target: NodeId, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX + key.len());
    bytes.extend_from_slice(&keyspace.0.to_be_bytes());
    bytes.extend_from_slice(&target.0.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

/// One slot per partition, as wide as the keyspace with the most of them.
const fn at(partition: PartitionId, key: &[u8]) -> Address<'_> {
    Address { space: HINTS_SPACE, slot: partition.0, key }
}

fn read(slot: u16, key: &[u8], stored: &[u8]) -> Option<Kept> {
    let record = read_record(key, stored).ok()?;
    let (keyspace, rest) = key.split_first_chunk()?;
    let (target, of) = rest.split_first_chunk()?;
    Some(Kept {
        keyspace: Incarnation(u32::from_be_bytes(*keyspace)),
        partition: PartitionId(slot),
        target: NodeId(u32::from_be_bytes(*target)),
        item: Item { key: Bytes::copy_from_slice(of), record: OwnedRecord::from(record) },
    })
}
