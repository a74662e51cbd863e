//! What a copy must not forget through a restart: the life it is in, its floor and its marks.
//!
//! Holds: one entry per copy, in a space of its own beside the keyspaces', so that it settles in
//! one order with the records it speaks of. Copies in memory have none: a restart loses them with
//! everything else, which is what their life says then.
//!
//! Does not know: what a life is for.

use super::shelf::ShelfError;
use crate::rules::read_record;
use shoal_core::clock::Stamp;
use shoal_core::codec::record::{Form, head};
use shoal_core::ids::{Incarnation, ReplicaIncarnation};
use shoal_core::map::MAX_INCARNATION;
use shoal_core::record::PLAIN;
use shoal_core::replica::{Floor, Replica};
use shoal_core::{Body, PartitionId, Record, Version};
use shoal_storage::{
    Address, Answer, Commit, Durability, Engine, EngineError, Op, Parts, Patience, SpaceOptions,
    Tally,
};
use std::sync::Arc;

/// The space of the entries: above every keyspace's, below what storage keeps for itself.
pub(crate) const LIVES_SPACE: u32 = MAX_INCARNATION;
const FORMAT: u8 = 1;
const LENGTH: usize = 1 + 8 + 8 + 8 + 1;

/// What is kept of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) incarnation: ReplicaIncarnation,
    pub(crate) floor: Floor,
    pub(crate) purged: Floor,
    /// Whether the floors of the others were taken over.
    pub(crate) floors_known: bool,
}

impl Life {
    /// Of a copy that may lack what it has acknowledged: no map ever names it so.
    pub(crate) const LOST: Self = Self {
        incarnation: ReplicaIncarnation(u64::MAX),
        floor: Floor(Stamp::ZERO),
        purged: Floor(Stamp::ZERO),
        floors_known: false,
    };

    /// Of a copy as it is now.
    pub(crate) const fn of(replica: &Replica) -> Self {
        Self {
            incarnation: replica.member().incarnation,
            floor: replica.floor(),
            purged: replica.purged(),
            floors_known: replica.floors_known(),
        }
    }

    fn encode(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = FORMAT;
        bytes[1..9].copy_from_slice(&self.incarnation.0.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.floor.0.0.to_be_bytes());
        bytes[17..25].copy_from_slice(&self.purged.0.0.to_be_bytes());
        bytes[25] = u8::from(self.floors_known);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(eight)
        };
        (bytes[0] == FORMAT && bytes[25] <= 1).then(|| Self {
            incarnation: ReplicaIncarnation(number(1)),
            floor: Floor(Stamp(number(9))),
            purged: Floor(Stamp(number(17))),
            floors_known: bytes[25] == 1,
        })
    }
}

/// The entries of all copies on disk.
pub(crate) struct Lives {
    engine: Arc<dyn Engine>,
}

impl Lives {
    /// Opens the space of the entries.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn open(engine: Arc<dyn Engine>) -> Result<Self, EngineError> {
        let options = SpaceOptions {
            partitions: 1,
            // Floors are durable whatever the keyspace asks for.
            durability: Durability::Always,
            max_memory: None,
            evict: false,
        };
        engine.open_space(LIVES_SPACE, options)?;
        Ok(Self { engine })
    }

    /// What is kept of a copy; nothing if it never began a life. Blocks.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn of(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
    ) -> Result<Option<Life>, ShelfError> {
        let key = keyspace.0.to_be_bytes();
        let mut found = Ok(None);
        let mut visit = |stored: Option<&[u8]>| {
            found = stored.map(|bytes| read(&key, bytes)).transpose();
        };
        match self.engine.read(at(&key, partition), Patience::Block, &mut visit)? {
            Answer::Given(_) => Ok(found?),
            Answer::Cold => Err(ShelfError::Cold),
        }
    }

    /// Keeps `life`, from the commit on that is handed back.
    ///
    /// # Errors
    /// The engine's; what was kept before stays.
    pub(crate) fn keep(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
        life: Life,
    ) -> Result<Commit, EngineError> {
        let (key, bytes) = (keyspace.0.to_be_bytes(), life.encode());
        let record = Record {
            version: Version::ZERO,
            written: Version::ZERO,
            expires_at: None,
            body: Body::Live { kind: PLAIN, bytes: &bytes },
        };
        let head = head(Form::Sealed, &key, &record);
        let put = Some(Parts { head: head.as_bytes(), body: &bytes });
        self.engine.submit(&[Op { at: at(&key, partition), put, tally: Tally::default() }])
    }

    /// Keeps nothing any more.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn forget(
        &self,
        keyspace: Incarnation,
        partition: PartitionId,
    ) -> Result<Commit, EngineError> {
        let key = keyspace.0.to_be_bytes();
        self.engine.submit(&[Op { at: at(&key, partition), put: None, tally: Tally::default() }])
    }
}

/// One slot per partition, so that no two copies share an address.
const fn at(key: &[u8; 4], partition: PartitionId) -> Address<'_> {
    Address { space: LIVES_SPACE, slot: partition.0, key }
}

fn read(key: &[u8], stored: &[u8]) -> Result<Life, EngineError> {
    let record = read_record(key, stored)?;
    let life = match record.body {
        Body::Live { bytes, .. } => Life::decode(bytes),
        Body::Tombstone => None,
    };
    life.ok_or_else(|| EngineError::Corrupt {
        file: "a copy's life".to_owned(),
        what: "it is of a format that is not known here".to_owned(),
    })
}
