//! The record: what is stored under a key, and how two of them become one.
//!
//! Holds: [`merge`] is a join (commutative, associative, idempotent), so records may be moved,
//! replayed and reordered without harm. Which of two wins can be told from their [`Rank`]s, which
//! are small: replicas compare without sending values. A [`Record`] borrows its bytes, an
//! [`OwnedRecord`] shares them.

mod owned;
mod rank;

pub use owned::{OwnedBody, OwnedRecord};
pub use rank::Rank;

use crate::version::{Millis, Version};
use std::cmp::Ordering;
use xxhash_rust::xxh3::xxh3_128;

/// What is stored under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Decides which of two records is newer. A caller's event time, where one was given.
    pub version: Version,
    /// The clock's stamp of the write; differs from `version` only under event time.
    pub written: Version,
    /// When the record stops being visible, in milliseconds since the Unix epoch.
    pub expires_at: Option<Millis>,
    /// The value, or the mark that there is none any more.
    pub body: Body<'a>,
}

/// What a record says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// The key has this value.
    Live {
        /// How the bytes are to be read and merged; 0 is plain bytes.
        kind: u8,
        /// The value itself; empty is a value too.
        bytes: &'a [u8],
    },
    /// The key was deleted.
    Tombstone,
}

/// The kind of a value that is plain bytes.
pub const PLAIN: u8 = 0;

impl<'a> Record<'a> {
    /// A live record of plain bytes, written at `version`.
    #[must_use]
    pub const fn live(version: Version, expires_at: Option<Millis>, bytes: &'a [u8]) -> Self {
        Self { version, written: version, expires_at, body: Body::Live { kind: PLAIN, bytes } }
    }

    /// A tombstone, written at `version`.
    #[must_use]
    pub const fn tombstone(version: Version) -> Self {
        Self { version, written: version, expires_at: None, body: Body::Tombstone }
    }

    /// The value, if the record is neither a tombstone nor expired at `now`.
    #[must_use]
    pub fn value_at(&self, now: Millis) -> Option<&'a [u8]> {
        match self.body {
            Body::Live { bytes, .. } if !self.expired_at(now) => Some(bytes),
            _ => None,
        }
    }

    /// Whether the record can be seen at `now`.
    #[must_use]
    pub fn is_live_at(&self, now: Millis) -> bool {
        !self.is_tombstone() && !self.expired_at(now)
    }

    /// Whether the record's time has passed: it then counts as a tombstone of its version.
    #[must_use]
    pub fn expired_at(&self, now: Millis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whether the record says that its key was deleted.
    #[must_use]
    pub const fn is_tombstone(&self) -> bool {
        matches!(self.body, Body::Tombstone)
    }

    /// A digest of everything but the version: equal records have equal digests, and two that
    /// differ do not, for all that is known of xxh3's 128 bits.
    #[must_use]
    pub fn digest(&self) -> u128 {
        let (kind, bytes) = match self.body {
            Body::Live { kind, bytes } => (u16::from(kind), bytes),
            Body::Tombstone => (0x100, &[][..]),
        };
        let kind = kind | if self.expires_at.is_some() { 0x200 } else { 0 };
        let mut head = [0; 40];
        head[..8].copy_from_slice(&self.expires_at.unwrap_or(0).to_be_bytes());
        head[8..10].copy_from_slice(&kind.to_be_bytes());
        head[10..26].copy_from_slice(&xxh3_128(bytes).to_be_bytes());
        head[26..34].copy_from_slice(&self.written.wall_ms.to_be_bytes());
        head[34..36].copy_from_slice(&self.written.counter.to_be_bytes());
        head[36..].copy_from_slice(&self.written.node.0.to_be_bytes());
        xxh3_128(&head)
    }
}

/// The newer of two records, by [`Rank`], so that every replica picks the same winner.
#[must_use]
pub fn merge<'a>(a: Record<'a>, b: Record<'a>) -> Record<'a> {
    if newer(&a, &b) == Ordering::Less { b } else { a }
}

/// The full order behind [`merge`]: `Greater` where `a` wins over `b`. Values are looked at only
/// where everything before them is equal.
#[must_use]
pub fn newer(a: &Record<'_>, b: &Record<'_>) -> Ordering {
    a.version.cmp(&b.version).then_with(|| a.rank().cmp(&b.rank()))
}

#[cfg(test)]
mod tests;
