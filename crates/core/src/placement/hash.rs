//! The hashes that placement draws from: XXH3 with the cluster's seed, over the keyspace's salt
//! and two numbers.
//!
//! Holds: what is hashed is written least significant byte first on every machine; different
//! uses never draw the same numbers.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a hash is for. The numbers are part of every placement and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// How much a partition and a node want each other.
    Rendezvous = 1,
    /// The key with which a partition jumps.
    Jump = 2,
    /// Whether a lighter node takes its turn.
    Acceptance = 3,
    /// Where a seat comes in that a partition does not jump to.
    BehindTheFirst = 4,
    /// Where a partition stands on the ring.
    PartitionOnRing = 5,
    /// Where a node stands on the ring, once per point.
    NodeOnRing = 6,
}

/// The source of all hashes of one keyspace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashes {
    seed: u64,
    salt: u64,
}

impl Hashes {
    /// Those of the keyspace with this salt in the cluster with this seed.
    pub(super) fn new(seed: u64, salt: u64) -> Self {
        Self { seed, salt }
    }

    /// The hash of two numbers for one use.
    pub(super) fn of(&self, what_for: Use, a: u32, b: u32) -> u64 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.salt.to_le_bytes());
        bytes[8..12].copy_from_slice(&a.to_le_bytes());
        bytes[12..].copy_from_slice(&b.to_le_bytes());
        xxh3_64_with_seed(&bytes, self.seed ^ ((what_for as u64) << 56))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everything_that_goes_in_changes_what_comes_out() {
        let drawn = [
            Hashes::new(1, 2).of(Use::Jump, 3, 4),
            Hashes::new(9, 2).of(Use::Jump, 3, 4),
            Hashes::new(1, 9).of(Use::Jump, 3, 4),
            Hashes::new(1, 2).of(Use::Acceptance, 3, 4),
            Hashes::new(1, 2).of(Use::Jump, 9, 4),
            Hashes::new(1, 2).of(Use::Jump, 3, 9),
            Hashes::new(1, 2).of(Use::Jump, 4, 3),
        ];
        assert_eq!(BTreeSet::from(drawn).len(), drawn.len());
    }
}
