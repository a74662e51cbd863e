//! A record's place in the order by which records win over one another.

use super::{Body, Record};
use crate::version::{Millis, Version};
use xxhash_rust::xxh3::xxh3_128;

/// Where a record stands: of two records of a key the one of greater rank wins.
///
/// Ordered by version; between equal versions a tombstone wins, then the later expiry (none is
/// the earliest), the greater kind, the greater content digest, the later `written`. Two records
/// of equal rank are equal, for all that is known of xxh3's 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// The record's version.
    pub version: Version,
    /// Whether it is a tombstone.
    pub tombstone: bool,
    /// When it expires.
    pub expires_at: Option<Millis>,
    /// How its value is to be read.
    pub kind: u8,
    /// A digest of its value.
    pub content: u128,
    /// The clock's stamp of the write.
    pub written: Version,
}

impl Rank {
    /// Whether a record of this rank cannot be seen at `now`: deleted, or expired by then.
    #[must_use]
    pub fn is_dead_at(&self, now: Millis) -> bool {
        self.tombstone || self.expires_at.is_some_and(|at| at <= now)
    }
}

impl Record<'_> {
    /// The record's rank.
    #[must_use]
    pub fn rank(&self) -> Rank {
        let (tombstone, kind, content) = match self.body {
            Body::Live { kind, bytes } => (false, kind, xxh3_128(bytes)),
            Body::Tombstone => (true, 0, 0),
        };
        let Self { version, written, expires_at, .. } = *self;
        Rank { version, tombstone, expires_at, kind, content, written }
    }
}
