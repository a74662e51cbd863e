//! Which entry to give up when a cache is full.
//!
//! Sampled LRU, as Redis does it: among a few entries looked at in random places, the one unused
//! for longest goes. An eviction concerns this node alone and leaves no trace in the data but the
//! mark of its slot. What may not be evicted is passed over.

use crate::memory::entry::Hash;
use crate::memory::partition::Context;
use crate::memory::space::Space;

/// Entries looked at for one eviction, if there are as many.
const SAMPLE: usize = 8;

/// How many of them may be neighbours, which costs less than going elsewhere for each.
const NEIGHBOURS: usize = 3;

/// An entry that may be given up.
struct Candidate {
    partition: usize,
    slot: usize,
    hash: Hash,
    stamp: u32,
}

/// Evicts one entry of `space`; `false` if there was none, or it was used in the meantime. Locks
/// one partition at a time and must be called with none locked.
pub(super) fn evict_one(space: &Space, random: &mut fastrand::Rng, context: Context<'_>) -> bool {
    let mut idlest: Option<Candidate> = None;
    let mut looked = 0;
    for _ in 0..SAMPLE {
        if looked >= SAMPLE {
            break;
        }
        let start = random.usize(..space.partitions());
        for partition in (start..space.partitions()).chain(0..start) {
            let guard = space.lock(partition);
            if guard.is_empty() {
                continue;
            }
            // Read under the lock, for then no stamp seen here or before is later than it. The
            // context's is older: against that, what was used since would look the idlest.
            let tick = space.tick();
            let idle = |stamp| tick.wrapping_sub(stamp);
            guard.sample(random, NEIGHBOURS, |slot, entry| {
                if context.policy.mark(context.space, entry.value(true)).is_none() {
                    return;
                }
                looked += 1;
                let stamp = entry.stamp();
                if idlest.as_ref().is_none_or(|known| idle(stamp) > idle(known.stamp)) {
                    let hash = Hash::of(context.seed, entry.key());
                    idlest = Some(Candidate { partition, slot, hash, stamp });
                }
            });
            break;
        }
    }
    let Some(Candidate { partition, slot, hash, stamp, .. }) = idlest else {
        return false;
    };
    let freed = space.lock(partition).evict(slot, hash, stamp, context);
    space.charge(-freed.unwrap_or(0));
    freed.is_some()
}
