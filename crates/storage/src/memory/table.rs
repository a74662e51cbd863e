//! The keys of one slot: buckets under a directory.
//!
//! Extendible hashing (Fagin et al., 1979). The directory has a place for every value of the
//! upper `bits` of a hash and says which bucket that is; a bucket whose hashes share fewer bits
//! stands in several neighbouring places. A full bucket is split in two and the directory
//! doubled only if it cannot tell the halves apart, so growth comes in small steps; two halves
//! that became small are joined again.
//!
//! Since a bucket is a range of hashes, a walk in the order of hashes can stop anywhere and go
//! on later: its position is a hash, which means the same however the buckets were cut since.
//!
//! Holds: the buckets' ranges cover all hashes once; there is no directory while there is one
//! bucket, which then lies in the table itself, as for most slots it does; without keys there is
//! no bucket and nothing is allocated; `arrays` is the sum of the buckets' sizes.

use crate::memory::bucket::{BUCKET_MAX, Bucket};
use crate::memory::entry::{Entry, Hash};
use crate::memory::size::size_class;

use smallvec::SmallVec;

/// The most bits of the directory, 64 MiB of it. Beyond, buckets grow instead.
const BITS_MAX: u8 = 24;

/// Two halves are joined when they come to this many entries.
const JOIN_MAX: usize = BUCKET_MAX / 2;

/// Where an entry is, until the table next changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    bucket: usize,
    index: usize,
}

/// Which bucket has which prefixes.
#[derive(Debug)]
struct Directory {
    /// How many bits it tells apart, 1 at least.
    bits: u8,
    /// The bucket of each value of those bits.
    places: Box<[u32]>,
}

impl Directory {
    fn index(&self, prefix: u32) -> usize {
        (prefix >> (32 - u32::from(self.bits))) as usize
    }

    fn size(&self) -> usize {
        size_class(size_of::<Self>()) + size_class(size_of_val(&*self.places))
    }
}

/// The entries of a slot.
#[derive(Debug, Default)]
pub(super) struct Table {
    buckets: SmallVec<[Bucket; 1]>,
    directory: Option<Box<Directory>>,
    arrays: usize,
    len: usize,
}

impl Table {
    /// How many entries there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The bytes of the table, without what the entries allocate.
    pub(super) fn size(&self) -> usize {
        let buckets = if self.buckets.spilled() { self.buckets.capacity() } else { 0 };
        self.arrays
            + size_class(buckets * size_of::<Bucket>())
            + self.directory.as_ref().map_or(0, |directory| directory.size())
    }

    /// All entries, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(Bucket::entries)
    }

    /// Which bucket has `prefix` in its range. There must be one.
    fn bucket_of(&self, prefix: u32) -> usize {
        self.directory.as_ref().map_or(0, |known| known.places[known.index(prefix)] as usize)
    }

    fn bits(&self) -> u8 {
        self.directory.as_ref().map_or(0, |directory| directory.bits)
    }

    /// Where `key` is.
    pub(super) fn find(&self, hash: Hash, key: &[u8]) -> Option<Place> {
        let bucket = self.bucket_of(hash.prefix());
        let index = self.buckets.get(bucket)?.find(hash, key)?;
        Some(Place { bucket, index })
    }

    /// The bucket in which a key of this hash would be.
    pub(super) fn bucket(&self, hash: Hash) -> Option<&Bucket> {
        self.buckets.get(self.bucket_of(hash.prefix()))
    }

    /// Where an entry is that has this hash, in tag and bucket, and passes `test`.
    pub(super) fn find_where(&self, hash: Hash, test: impl Fn(&Entry) -> bool) -> Option<Place> {
        let bucket = self.bucket_of(hash.prefix());
        let index = self.buckets.get(bucket)?.find_where(hash, test)?;
        Some(Place { bucket, index })
    }

    /// The entry at `place`.
    pub(super) fn entry(&self, place: Place) -> &Entry {
        &self.buckets[place.bucket].entries()[place.index]
    }

    /// The entry at `place`, to be changed or replaced by one of the same key.
    pub(super) fn entry_mut(&mut self, place: Place) -> &mut Entry {
        self.buckets[place.bucket].entry_mut(place.index)
    }

    /// Replaces every entry by what `change` makes of it, keeping the keys.
    pub(super) fn replace_all(&mut self, change: impl Fn(&Entry) -> Entry) {
        for bucket in &mut self.buckets {
            for index in 0..bucket.len() {
                let entry = bucket.entry_mut(index);
                *entry = change(entry);
            }
        }
    }

    /// Adds an entry whose key is not there.
    pub(super) fn insert(&mut self, seed: u64, hash: Hash, entry: Entry) {
        if self.buckets.is_empty() {
            self.push_bucket(Bucket::new(0, 0));
        }
        let mut bucket = self.bucket_of(hash.prefix());
        while self.buckets[bucket].len() >= BUCKET_MAX && self.buckets[bucket].depth < BITS_MAX {
            self.split(bucket, seed);
            bucket = self.bucket_of(hash.prefix());
        }
        let bucket = &mut self.buckets[bucket];
        self.arrays -= bucket.size();
        bucket.push(hash.tag(), entry);
        self.arrays += bucket.size();
        self.len += 1;
    }

    /// Takes out the entry at `place`, and gives back what the table no longer needs.
    pub(super) fn remove(&mut self, place: Place) -> Entry {
        let bucket = &mut self.buckets[place.bucket];
        self.arrays -= bucket.size();
        let entry = bucket.remove(place.index);
        self.arrays += bucket.size();
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else {
            self.join(place.bucket);
        }
        entry
    }

    /// Shows `visit` about `count` entries in the order of their positions, from `from` on, and
    /// returns the position to go on from, `None` at the end. Entries of one position are shown
    /// together unless `visit` stops between them, in which case they come again.
    pub(super) fn walk(
        &self,
        seed: u64,
        from: u64,
        count: usize,
        mut visit: impl FnMut(&Entry) -> bool,
    ) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let mut start = u32::try_from(from >> 16).ok()?;
        let mut shown = 0;
        let mut last = None;
        let mut go_on = true;
        let mut order = Vec::with_capacity(BUCKET_MAX);
        loop {
            let bucket = &self.buckets[self.bucket_of(start)];
            let positions = bucket.entries().iter().map(|entry| {
                let position = Hash::of(seed, entry.key()).position();
                (position, entry)
            });
            order.clear();
            order.extend(positions.filter(|&(position, _)| position >= from));
            order.sort_unstable_by_key(|&(position, _)| position);
            for &(position, entry) in &order {
                if !go_on || (shown >= count.max(1) && last != Some(position)) {
                    return Some(position);
                }
                go_on = visit(entry);
                shown += 1;
                last = Some(position);
            }
            start = bucket.end()?;
            if !go_on || shown >= count.max(1) {
                return Some(u64::from(start) << 16);
            }
        }
    }

    /// A run of up to `count` entries that begins anywhere.
    pub(super) fn sample(&self, random: &mut fastrand::Rng, count: usize) -> &[Entry] {
        if self.buckets.is_empty() {
            return &[];
        }
        let entries = self.buckets[random.usize(..self.buckets.len())].entries();
        let start = random.usize(..=entries.len().saturating_sub(count));
        &entries[start..entries.len().min(start + count)]
    }

    /// Gives back the capacity that nothing uses.
    pub(super) fn shrink_to_fit(&mut self) {
        for bucket in &mut self.buckets {
            self.arrays -= bucket.size();
            bucket.shrink_to_fit();
            self.arrays += bucket.size();
        }
        self.buckets.shrink_to_fit();
    }

    fn push_bucket(&mut self, bucket: Bucket) {
        if self.buckets.len() == self.buckets.capacity() {
            self.buckets.reserve_exact(self.buckets.len() / 2 + 1);
        }
        self.arrays += bucket.size();
        self.buckets.push(bucket);
    }

    fn split(&mut self, bucket: usize, seed: u64) {
        if self.buckets[bucket].depth == self.bits() {
            self.double();
        }
        self.arrays -= self.buckets[bucket].size();
        let upper = self.buckets[bucket].split(seed);
        self.arrays += self.buckets[bucket].size();
        self.push_bucket(upper);
        self.direct(self.buckets.len() - 1);
    }

    /// Doubles the directory, so that it tells apart one bit more.
    fn double(&mut self) {
        let bits = self.bits() + 1;
        let places = self.directory.take().map_or_else(
            || Box::from([0, 0]),
            |old| old.places.iter().flat_map(|&bucket| [bucket, bucket]).collect(),
        );
        self.directory = Some(Box::new(Directory { bits, places }));
    }

    /// Enters `bucket` in all its places in the directory.
    fn direct(&mut self, bucket: usize) {
        let Bucket { first, depth, .. } = self.buckets[bucket];
        if let Some(directory) = &mut self.directory {
            let start = directory.index(first);
            let places = 1usize << (directory.bits - depth);
            let number = u32::try_from(bucket).expect("there are fewer buckets than places");
            directory.places[start..start + places].fill(number);
        }
    }

    /// Joins `bucket` with its other half, if both are there and small.
    fn join(&mut self, bucket: usize) {
        let Bucket { first, depth, .. } = self.buckets[bucket];
        if depth == 0 || self.buckets[bucket].len() > JOIN_MAX {
            return;
        }
        let other = self.bucket_of(first ^ (1 << (32 - u32::from(depth))));
        let together = self.buckets[bucket].len() + self.buckets[other].len();
        if self.buckets[other].depth != depth || together > JOIN_MAX {
            return;
        }
        let (lower, upper) =
            if first < self.buckets[other].first { (bucket, other) } else { (other, bucket) };
        let last = self.buckets.len() - 1;
        self.arrays -= self.buckets[lower].size() + self.buckets[upper].size();
        let upper_bucket = self.buckets.swap_remove(upper);
        // The last bucket now has the number that became free.
        let lower = if lower == last { upper } else { lower };
        self.buckets[lower].join(upper_bucket);
        self.arrays += self.buckets[lower].size();
        self.direct(lower);
        if upper < self.buckets.len() {
            self.direct(upper);
        }
        self.halve();
        if self.buckets.len() < self.buckets.capacity() / 4 || self.buckets.len() == 1 {
            self.buckets.shrink_to_fit();
        }
    }

    /// Makes the directory smaller while it is far larger than needed.
    fn halve(&mut self) {
        if self.buckets.len() == 1 {
            self.directory = None;
        }
        while let Some(directory) = &mut self.directory
            && self.buckets.len() * 8 <= directory.places.len()
            && self.buckets.iter().all(|bucket| bucket.depth < directory.bits)
        {
            directory.bits -= 1;
            directory.places = directory.places.iter().step_by(2).copied().collect();
        }
    }

    /// Derives everything that holds anew; a sentence on what does not.
    #[cfg(test)]
    pub(super) fn check(&self, seed: u64) -> Result<(), String> {
        let places = self.directory.as_ref().map_or(1, |directory| directory.places.len());
        if places != 1 << self.bits() {
            return Err(format!("{places} places for {} bits", self.bits()));
        }
        if self.arrays != self.buckets.iter().map(Bucket::size).sum::<usize>() {
            return Err("the sizes of the buckets do not add up".into());
        }
        if self.len != self.iter().count() || (self.len == 0) != self.buckets.is_empty() {
            return Err(format!("{} entries, {} said", self.iter().count(), self.len));
        }
        let mut start = Some(0);
        let mut seen = 0;
        while let Some(prefix) = start.filter(|_| !self.buckets.is_empty()) {
            let bucket = &self.buckets[self.bucket_of(prefix)];
            if bucket.first != prefix || bucket.depth > self.bits() {
                return Err(format!("a range from {} where {prefix} begins", bucket.first));
            }
            for entry in bucket.entries() {
                let hash = Hash::of(seed, entry.key());
                let end = bucket.end().unwrap_or(u32::MAX);
                if hash.prefix() < prefix || (hash.prefix() >= end && end != u32::MAX) {
                    return Err(format!("{hash:?} outside {prefix}..{end}"));
                }
                if self.find(hash, entry.key()).is_none() {
                    return Err(format!("{hash:?} is not found"));
                }
            }
            seen += 1;
            start = bucket.end();
        }
        if seen != self.buckets.len() {
            return Err(format!("{seen} buckets in the directory of {}", self.buckets.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Parts;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const SEED: u64 = 7;

    fn entry(number: u32) -> (Hash, Entry) {
        let key = number.to_be_bytes();
        (Hash::of(SEED, &key), Entry::new(&key, Parts { head: b"v", body: &[] }, None))
    }

    fn number(entry: &Entry) -> u32 {
        u32::from_be_bytes(entry.key().try_into().unwrap())
    }

    fn insert(table: &mut Table, what: u32) {
        let (hash, entry) = entry(what);
        table.insert(SEED, hash, entry);
    }

    fn remove(table: &mut Table, what: u32) {
        let (hash, made) = entry(what);
        let place = table.find(hash, made.key()).expect("it is there");
        assert_eq!(table.remove(place).key(), made.key());
    }

    #[test]
    fn a_large_slot_grows_and_gives_everything_back() {
        let mut table = Table::default();
        for what in 0..20_000 {
            insert(&mut table, what);
        }
        table.check(SEED).unwrap();
        let full = table.size();
        assert!(full < 20_000 * 30, "{full} bytes for 20,000 keys");
        for what in 0..19_000 {
            remove(&mut table, what);
        }
        table.check(SEED).unwrap();
        assert!(table.size() < full / 8, "{} of {full} bytes for a twentieth", table.size());
        for what in 19_000..20_000 {
            remove(&mut table, what);
        }
        assert_eq!((table.size(), table.len()), (0, 0));
    }

    #[test]
    fn halves_are_joined_in_whatever_order_keys_go() {
        let position = |&what: &u32| entry(what).0.position();
        for order in 0..4 {
            let mut table = Table::default();
            let mut keys: Vec<u32> = (0..6_000).collect();
            keys.iter().for_each(|&what| insert(&mut table, what));
            match order {
                0 => keys.sort_by_key(position),
                1 => keys.sort_by_key(|what| u64::MAX - position(what)),
                // First the odd, then the even sixteenths of the range.
                2 => keys.sort_by_key(|what| (position(what) >> 44) % 2),
                _ => fastrand::Rng::with_seed(5).shuffle(&mut keys),
            }
            for (gone, what) in keys.into_iter().enumerate() {
                remove(&mut table, what);
                if gone % 100 == 0 {
                    table.check(SEED).unwrap();
                }
            }
            assert_eq!(table.size(), 0);
        }
    }

    #[test]
    fn a_walk_shows_about_as_many_as_asked_in_order() {
        let mut table = Table::default();
        for what in 0..1_000 {
            insert(&mut table, what);
        }
        let (mut from, mut seen, mut calls) = (Some(0), Vec::new(), 0);
        while let Some(at) = from {
            let before = seen.len();
            from = table.walk(SEED, at, 10, |entry| {
                seen.push(Hash::of(SEED, entry.key()).position());
                true
            });
            assert!(seen.len() - before <= 10, "positions of 1,000 keys do not collide");
            calls += 1;
        }
        assert!(seen.is_sorted() && seen.len() == 1_000);
        assert!(calls <= 101, "{calls} calls");
    }

    #[test]
    fn a_visitor_that_stops_is_shown_the_next_entry_next() {
        let mut table = Table::default();
        for what in 0..500 {
            insert(&mut table, what);
        }
        let (mut from, mut seen) = (Some(0), BTreeSet::new());
        while let Some(at) = from {
            from = table.walk(SEED, at, 100, |entry| {
                assert!(seen.insert(number(entry)), "no entry comes twice");
                false
            });
        }
        assert_eq!(seen.len(), 500);
    }

    proptest! {
            #![proptest_config(ProptestConfig::with_cases(64))]
            #[test]
            fn holds_together_and_a_walk_misses_nothing_that_stays(
                steps in proptest::collection::vec((any::<bool>(), 0u32..4_000, 1u32..400), 1..30),
                count in 1usize..200,
            ) {
                let mut table = Table::default();
                let mut model = BTreeSet::new();
                let mut staying: Option<BTreeSet<u32>> = None;
                let mut seen = BTreeSet::new();
                let mut from = Some(0);
                for (add, first, more) in steps {
                    for what in first..first + more {
                        if add && model.insert(what) {
                            insert(&mut table, what);
                        } else if !add && model.remove(&what) {
                            remove(&mut table, what);
                        }
                    }
                    prop_assert_eq!(table.check(SEED), Ok(()));
                    let found: BTreeSet<u32> = table.iter().map(number).collect();
                    prop_assert_eq!(&found, &model);
                    if let Some(at) = from {
                        from = table.walk(SEED, at, count, |entry| {
        seen.insert(number(entry));
        true
    });
                    }
                    staying = Some(match staying {
                        None => model.clone(),
                        Some(staying) => &staying & &model,
                    });
                }
                while let Some(at) = from {
                    from = table.walk(SEED, at, count, |entry| {
        seen.insert(number(entry));
        true
    });
                }
                prop_assert!(staying.unwrap_or_default().is_subset(&seen));
            }
        }
}
