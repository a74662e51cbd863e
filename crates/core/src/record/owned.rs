//! A record that can be kept and sent: its value is shared, not copied.

use super::{Body, Record};
use crate::version::{Millis, Version};
use bytes::Bytes;

/// A [`Record`] that owns a share of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Decides which of two records is newer.
    pub version: Version,
    /// The clock's stamp of the write.
    pub written: Version,
    /// When the record stops being visible.
    pub expires_at: Option<Millis>,
    /// The value, or the mark that there is none any more.
    pub body: OwnedBody,
}

/// What a record says about its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedBody {
    /// The key has this value.
    Live {
        /// How the bytes are to be read and merged.
        kind: u8,
        /// The value itself.
        bytes: Bytes,
    },
    /// The key was deleted.
    Tombstone,
}

impl OwnedRecord {
    /// The same record, borrowed.
    #[must_use]
    pub fn borrow(&self) -> Record<'_> {
        let body = match &self.body {
            OwnedBody::Live { kind, bytes } => Body::Live { kind: *kind, bytes },
            OwnedBody::Tombstone => Body::Tombstone,
        };
        let Self { version, written, expires_at, .. } = *self;
        Record { version, written, expires_at, body }
    }

    /// The same record at another version; one of a clock is written when it is made.
    #[must_use]
    pub fn stamped(&self, version: Version) -> Self {
        Self { version, written: version, ..self.clone() }
    }
}

impl From<Record<'_>> for OwnedRecord {
    fn from(record: Record<'_>) -> Self {
        let body = match record.body {
            Body::Live { kind, bytes } => {
                OwnedBody::Live { kind, bytes: Bytes::copy_from_slice(bytes) }
            }
            Body::Tombstone => OwnedBody::Tombstone,
        };
        let Record { version, written, expires_at, .. } = record;
        Self { version, written, expires_at, body }
    }
}
