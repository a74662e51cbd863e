//! A few dozen entries whose hashes share a prefix.
//!
//! The entries lie side by side in no order, and beside them, in an array of their own, 16 bits
//! of each one's hash. A lookup compares those eight at a time and opens an entry only when they
//! agree, so that a miss costs no visit to an entry and a hit one. Arrays rather than an open
//! table, because they can be nearly full whatever their size: at 60 keys a slot, a table of a
//! power of two would stand half empty in every slot at once. The first entry and the first eight
//! tags lie where the arrays' pointers would, so that a bucket of one allocates nothing.
//!
//! Holds: `tags[i]` belongs to `entries[i]`; every entry's hash begins with the `depth` upper
//! bits of `first`, and the lower bits of `first` are zero.

use crate::memory::entry::{Entry, Hash, LINE};
use crate::memory::size::size_class;

use smallvec::SmallVec;

/// The most entries before a bucket is split.
pub(super) const BUCKET_MAX: usize = 64;

/// Capacities, chosen so that entries (16 bytes each here) fill size classes.
const CAPACITIES: [usize; 14] = [1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64];

/// Tags compared at once.
const LANES: usize = 8;

/// Entries of one range of hashes.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    tags: SmallVec<[u16; LANES]>,
    entries: SmallVec<[Entry; 1]>,
    /// The first prefix of the range.
    pub(super) first: u32,
    /// How many bits of the prefix are the same throughout.
    pub(super) depth: u8,
}

impl Bucket {
    /// An empty bucket for the hashes that begin with the `depth` upper bits of `first`.
    pub(super) fn new(first: u32, depth: u8) -> Self {
        Self { tags: SmallVec::new(), entries: SmallVec::new(), first, depth }
    }

    /// The first prefix beyond the range, `None` if there is none.
    pub(super) fn end(&self) -> Option<u32> {
        let width = 1u64 << (32 - u32::from(self.depth));
        u32::try_from(u64::from(self.first) + width).ok()
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries, in no order.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at `index`, to be changed in place or replaced by one of the same key.
    pub(super) fn entry_mut(&mut self, index: usize) -> &mut Entry {
        &mut self.entries[index]
    }

    /// Where `key` is.
    pub(super) fn find(&self, hash: Hash, key: &[u8]) -> Option<usize> {
        self.find_where(hash, |entry| entry.key() == key)
    }

    /// The first entry that has the tag of `hash` and passes `test`.
    pub(super) fn find_where(&self, hash: Hash, test: impl Fn(&Entry) -> bool) -> Option<usize> {
        let tag = hash.tag();
        let (chunks, rest) = self.tags.as_chunks::<LANES>();
        for (chunk, tags) in chunks.iter().enumerate() {
            let mut hits = 0u8;
            for (lane, &other) in tags.iter().enumerate() {
                hits |= u8::from(other == tag) << lane;
            }
            while hits != 0 {
                let index = chunk * LANES + hits.trailing_zeros() as usize;
                if test(&self.entries[index]) {
                    return Some(index);
                }
                hits &= hits - 1;
            }
        }
        let start = chunks.len() * LANES;
        (start..).zip(rest).find_map(|(index, &other)| {
            (other == tag && test(&self.entries[index])).then_some(index)
        })
    }

    /// Looks at each cache line of tags, so that they are at hand when they are compared; what
    /// comes of it means nothing.
    pub(super) fn touch_tags(&self) -> u16 {
        let last = self.tags.last().copied().unwrap_or(0);
        self.tags.iter().step_by(LINE / size_of::<u16>()).fold(last, |sum, tag| sum ^ tag)
    }

    /// Adds an entry whose key is not there.
    pub(super) fn push(&mut self, tag: u16, entry: Entry) {
        self.reserve(1);
        self.tags.push(tag);
        self.entries.push(entry);
    }

    /// Makes room for `more` entries, to the next capacity and not beyond.
    fn reserve(&mut self, more: usize) {
        let len = self.entries.len();
        if len + more > self.entries.capacity() {
            let capacity = capacity_for(len + more);
            self.tags.grow(capacity);
            self.entries.grow(capacity);
        }
    }

    /// Takes out the entry at `index`; another takes its place.
    pub(super) fn remove(&mut self, index: usize) -> Entry {
        self.tags.swap_remove(index);
        let entry = self.entries.swap_remove(index);
        // A step of slack, so that a key that comes and goes does not move the others each time.
        self.shrink_to(capacity_for(self.len() + self.len() / 4 + 1));
        entry
    }

    /// Gives back the capacity that no entry uses.
    pub(super) fn shrink_to_fit(&mut self) {
        self.shrink_to(capacity_for(self.len()));
    }

    fn shrink_to(&mut self, capacity: usize) {
        if self.entries.capacity() > capacity {
            self.tags.grow(capacity);
            self.entries.grow(capacity);
        }
    }

    /// Moves the upper half of the range into a bucket of its own.
    pub(super) fn split(&mut self, seed: u64) -> Self {
        let bit = 1u32 << (31 - u32::from(self.depth));
        let mut lower = Self::new(self.first, self.depth + 1);
        let mut upper = Self::new(self.first | bit, self.depth + 1);
        let count = self.entries.len() / 2 + LANES / 2;
        lower.reserve(count);
        upper.reserve(count);
        let tags = std::mem::take(&mut self.tags);
        for (tag, entry) in tags.into_iter().zip(std::mem::take(&mut self.entries)) {
            let prefix = Hash::of(seed, entry.key()).prefix();
            let half = if prefix & bit == 0 { &mut lower } else { &mut upper };
            half.push(tag, entry);
        }
        lower.shrink_to_fit();
        upper.shrink_to_fit();
        *self = lower;
        upper
    }

    /// Takes in the bucket of the upper half, the inverse of `split`.
    pub(super) fn join(&mut self, upper: Self) {
        debug_assert_eq!(self.depth, upper.depth, "halves are equal");
        debug_assert_eq!(self.end(), Some(upper.first), "halves are neighbours");
        self.reserve(upper.len());
        self.tags.extend(upper.tags);
        self.entries.extend(upper.entries);
        self.depth -= 1;
    }

    /// The bytes of the arrays, without what the entries allocate.
    pub(super) fn size(&self) -> usize {
        let tags = if self.tags.spilled() { self.tags.capacity() } else { 0 };
        let entries = if self.entries.spilled() { self.entries.capacity() } else { 0 };
        size_class(tags * size_of::<u16>()) + size_class(entries * size_of::<Entry>())
    }
}

/// The smallest capacity for `len` entries.
fn capacity_for(len: usize) -> usize {
    if len == 0 {
        return 0;
    }
    let step = CAPACITIES.into_iter().find(|&capacity| capacity >= len);
    step.unwrap_or_else(|| len.next_multiple_of(BUCKET_MAX / 4))
}
