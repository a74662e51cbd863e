//! Fetching what is about to be used, for several keys at once.
//!
//! To find a key in the write buffer takes four steps from memory to memory for every generation
//! it is looked up in, each of which has to wait for the one before. The steps of different keys
//! have nothing to do with each other, so a processor waits for all of them at once if it meets
//! them close together. That is what is done here, each step for all the keys before the next;
//! the commands that follow find everything in the cache.
//!
//! Holds: no lock is waited for, so it does not matter in which order they are taken; where one
//! is not free its key is left out.

use super::buffer::{Buffer, Entry};
use super::core::{Core, Generations};
use super::hash::hash_of;
use super::keys::StoreKey;
use crate::engine::Address;
use smallvec::SmallVec;
use std::hint::black_box;

/// How many keys are looked at together: about as many misses as a core can have under way, and
/// few enough locks held at a time.
const TOGETHER: usize = 16;

/// Slots and hashes of keys.
type Sought = SmallVec<[(u16, u64); TOGETHER]>;

impl Core {
    /// The contract is [`crate::engine::Engine::foresee`]'s.
    pub(crate) fn foresee(&self, at: &[Address<'_>]) {
        let generations = self.generations.load();
        for at in at.chunks(TOGETHER) {
            let hash = |at: &Address<'_>| hash_of(StoreKey::new(*at).as_slice());
            let mut sought = at.iter().map(|at| (at.slot, hash(at))).collect();
            let generations: &Generations = &generations;
            for generation in generations.newest_first().chain(&generations.kept) {
                fetch(generation, &mut sought);
                if sought.is_empty() {
                    break;
                }
            }
        }
    }
}

/// Fetches what the generation has of the keys, and leaves those it has not.
fn fetch(generation: &Buffer, sought: &mut Sought) {
    let locked: SmallVec<[_; TOGETHER]> = sought
        .iter()
        .map(|(slot, hash)| generation.try_lock(*slot).map(|shard| (shard, *hash)))
        .collect();
    let places: SmallVec<[Option<u32>; TOGETHER]> = locked
        .iter()
        .map(|locked| locked.as_ref().and_then(|(shard, hash)| shard.first(*hash)))
        .collect();
    let entries: SmallVec<[&Entry; TOGETHER]> = locked
        .iter()
        .zip(&places)
        .filter_map(|(locked, at)| locked.as_ref()?.0.entry((*at)?))
        .collect();
    black_box(entries.iter().fold(0, |sum, entry| sum ^ entry.record.touch()));
    let mut places = places.iter();
    sought.retain(|_| places.next().is_some_and(Option::is_none));
}
