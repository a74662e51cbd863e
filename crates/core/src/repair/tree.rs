//! Digests by which two replicas find what they do not have in common.
//!
//! A leaf stands for the records of a slot, or of a range of key hashes within one: how many
//! there are, and the sum of one keyed hash for each. A sum, because a change costs the removal
//! of the old record's hash and the addition of the new one's; not an exclusive or, under which a
//! record held twice, or two that trade places, would cancel out. Keyed with a secret of the
//! cluster, so that nobody who chooses keys or values can make two leaves meet.
//!
//! Holds: equal leaves stand for equal sets of (key, rank), for all that is known of xxh3's
//! 128 bits under a secret seed. Tombstones and expired records count like any others.
//!
//! Does not know: when leaves are compared, and what is done about a difference.

mod kept;

pub use kept::{Tree, Walk};

use crate::record::Rank;
use crate::version::Version;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// How many parts a range is divided into when it is refined.
pub const FANOUT: usize = 16;

/// The secret that hashes are keyed with, drawn when the cluster is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeSecret(pub u64);

/// The digest of a set of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// How many records there are.
    pub count: u64,
    /// The wrapping sum of their hashes.
    pub sum: u128,
}

impl Leaf {
    /// Counts a record in.
    pub fn add(&mut self, secret: TreeSecret, key: &[u8], rank: &Rank) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(mark(secret, key, rank));
    }

    /// Counts a record out, which was counted in before.
    pub fn remove(&mut self, secret: TreeSecret, key: &[u8], rank: &Rank) {
        debug_assert!(self.count > 0, "what is counted out was counted in");
        self.count = self.count.saturating_sub(1);
        self.sum = self.sum.wrapping_sub(mark(secret, key, rank));
    }

    /// The digest of both sets together, which have nothing in common.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { count: self.count + other.count, sum: self.sum.wrapping_add(other.sum) }
    }
}

/// A range of key hashes: those that begin with the `bits` first bits of `prefix`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HashRange {
    /// The first bits, in the upper end; the others are zero.
    pub prefix: u64,
    /// How many bits are fixed, 0 to 64, a multiple of four.
    pub bits: u8,
}

impl HashRange {
    /// Every key.
    pub const ALL: Self = Self { prefix: 0, bits: 0 };

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, secret: TreeSecret, key: &[u8]) -> bool {
        self.bits == 0 || (place(secret, key) ^ self.prefix) >> (64 - u32::from(self.bits)) == 0
    }

    /// The [`FANOUT`] ranges that this one is made of; none where it cannot be divided.
    pub fn parts(self) -> impl Iterator<Item = Self> {
        let bits = self.bits + 4;
        let parts = if self.bits >= 64 { 0 } else { FANOUT as u64 };
        (0..parts)
            .map(move |part| Self { prefix: self.prefix | part << (64 - u32::from(bits)), bits })
    }

    /// Which of the range's parts `key`, which lies in it, belongs to.
    #[must_use]
    pub fn part_of(&self, secret: TreeSecret, key: &[u8]) -> usize {
        debug_assert!(self.contains(secret, key), "only keys of the range have a part in it");
        let shift = 60_u32.saturating_sub(u32::from(self.bits));
        usize::try_from((place(secret, key) >> shift) % FANOUT as u64).expect("below the fan-out")
    }
}

/// Where a key stands in the order of hashes.
fn place(secret: TreeSecret, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, secret.0)
}

/// What stands before the key in what is hashed, in bytes.
const HEAD: usize = 8 + 14 + 14 + 1 + 8 + 1 + 1 + 16;
/// Up to how many bytes are put together without asking for memory.
const AT_HAND: usize = 256;

/// The hash of one record: of everything by which it could differ from another.
fn mark(secret: TreeSecret, key: &[u8], rank: &Rank) -> u128 {
    let mut at_hand = [0; AT_HAND];
    at_hand[..HEAD].copy_from_slice(&head(key.len(), rank));
    let whole = HEAD + key.len();
    if let Some(tail) = at_hand.get_mut(HEAD..whole) {
        tail.copy_from_slice(key);
        return xxh3_128_with_seed(&at_hand[..whole], secret.0);
    }
    let bytes = [&at_hand[..HEAD], key].concat();
    xxh3_128_with_seed(&bytes, secret.0)
}

/// Everything but the key's bytes.
fn head(key_bytes: usize, rank: &Rank) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&(key_bytes as u64).to_be_bytes());
    head[8..22].copy_from_slice(&version(rank.version));
    head[22..36].copy_from_slice(&version(rank.written));
    head[36] = u8::from(rank.expires_at.is_some());
    head[37..45].copy_from_slice(&rank.expires_at.unwrap_or(0).to_be_bytes());
    head[45] = u8::from(rank.tombstone);
    head[46] = rank.kind;
    head[47..].copy_from_slice(&rank.content.to_be_bytes());
    head
}

fn version(version: Version) -> [u8; 14] {
    let mut bytes = [0; 14];
    bytes[..8].copy_from_slice(&version.wall_ms.to_be_bytes());
    bytes[8..10].copy_from_slice(&version.counter.to_be_bytes());
    bytes[10..].copy_from_slice(&version.node.0.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests;
