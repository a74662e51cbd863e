//! Hashes of keys, and tables for what has been hashed.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::LazyLock;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Spreads numbers, which is enough where nobody can choose them to meet.
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let product = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = product ^ (product >> 32);
    }
}

/// A table whose keys are hashes or other numbers.
pub(crate) type Table<V> = HashMap<u64, V, BuildHasherDefault<Spread>>;

/// The hash under which a stored key is found. Its seed is the process's own, so that nobody
/// can choose keys that meet.
pub(crate) fn hash_of(key: &[u8]) -> u64 {
    static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u64));
    xxh3_64_with_seed(key, *SEED)
}
