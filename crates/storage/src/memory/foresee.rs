//! Fetching what is about to be used, for several keys at once.
//!
//! To find a key takes four steps from memory to memory, each of which has to wait for the one
//! before, and in a large table most of them wait for memory and not for a cache. The steps of
//! different keys have nothing to do with each other, so a processor waits for all of them at
//! once if it meets them close together. That is what is done here, each step for all the keys
//! before the next; the commands that follow find everything in the cache.
//!
//! Holds: no lock is waited for, so it does not matter in which order they are taken; where one
//! is not free its key is left out.

use crate::engine::Address;
use crate::memory::Spaces;
use crate::memory::bucket::Bucket;
use crate::memory::entry::{Entry, Hash};

use smallvec::SmallVec;
use std::hint::black_box;

/// How many keys are looked at together: about as many misses as a core can have under way, and
/// few enough locks held at a time.
const TOGETHER: usize = 16;

/// Brings what lies at these addresses into the cache.
pub(super) fn foresee(spaces: &Spaces, seed: u64, at: &[Address<'_>]) {
    for at in at.chunks(TOGETHER) {
        let locked = at.iter().filter_map(|at| {
            let space = spaces.get(&at.space)?;
            let (number, slot) = space.locate(at.slot);
            Some((space.try_lock(number)?, slot, Hash::of(seed, at.key)))
        });
        let locked: SmallVec<[_; TOGETHER]> = locked.collect();
        let buckets: SmallVec<[Option<(&Bucket, Hash)>; TOGETHER]> = locked
            .iter()
            .map(|&(ref partition, slot, hash)| Some((partition.bucket(slot, hash)?, hash)))
            .collect();
        // A comparison that goes another way than the processor expects makes it throw away what
        // it began, so the tags are fetched before any is compared.
        black_box(buckets.iter().flatten().fold(0, |sum, (bucket, _)| sum ^ bucket.touch_tags()));
        let entries: SmallVec<[&Entry; TOGETHER]> = buckets
            .iter()
            .flatten()
            .filter_map(|(bucket, hash)| bucket.entries().get(bucket.find_where(*hash, |_| true)?))
            .collect();
        black_box(entries.iter().fold(0, |sum, entry| sum ^ entry.touch_lines()));
    }
}
