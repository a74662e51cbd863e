//! One key with its value, in one allocation.
//!
//! Layout: `[length of the key, varint][key][value]`, and in spaces that evict four bytes more
//! at the end, the *stamp*: when the entry was last used, on the space's own clock. A key of 16
//! bytes with a value of 110 is 127 bytes and fits the allocator's class of 128.
//!
//! Holds: the bytes are well formed from `new` on; nothing but this file makes or changes them.

use crate::engine::Parts;
use crate::memory::size::size_class;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of a stamp.
const STAMP_LEN: usize = 4;

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// How much of an entry is fetched before it is used. A processor that reads on in order fetches
/// the rest by itself.
const NEAR: usize = 4 * LINE;

/// The hash of a key, whose parts serve three ends: the top bits choose the bucket, the top 48
/// are the entry's position in a walk, and the low 16 tell neighbours in a bucket apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash(u64);

impl Hash {
    /// The hash of `key`. The seed is nobody's outside, so that nobody there can choose keys that
    /// collide.
    pub(super) fn of(seed: u64, key: &[u8]) -> Self {
        Self(xxh3_64_with_seed(key, seed))
    }

    /// The bits that choose the bucket, uppermost first.
    pub(super) const fn prefix(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The entry's place in a walk, below 2^48.
    pub(super) const fn position(self) -> u64 {
        self.0 >> 16
    }

    /// The bits kept beside the entry; none of them is part of the position.
    pub(super) const fn tag(self) -> u16 {
        (self.0 & 0xFFFF) as u16
    }
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry(Box<[u8]>);

impl Entry {
    /// Copies `key` and `value` into one allocation, with room for a stamp if one is given.
    pub(super) fn new(key: &[u8], value: Parts<'_>, stamp: Option<u32>) -> Self {
        let len = Self::len_of(key, value, stamp.is_some());
        let mut bytes = Vec::with_capacity(len);
        let mut rest = key.len();
        while rest >= 0x80 {
            bytes.push(low_bits(rest) | 0x80);
            rest >>= 7;
        }
        bytes.push(low_bits(rest));
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value.head);
        bytes.extend_from_slice(value.body);
        if let Some(stamp) = stamp {
            bytes.extend_from_slice(&stamp.to_le_bytes());
        }
        debug_assert_eq!(bytes.len(), len, "the layout and its length agree");
        Self(bytes.into_boxed_slice())
    }

    /// The same entry with a stamp, which it had not.
    pub(super) fn stamped(&self, stamp: u32) -> Self {
        Self::new(self.key(), Parts { head: self.value(false), body: &[] }, Some(stamp))
    }

    /// The bytes an entry of `key` and `value` allocates.
    pub(super) const fn size_of(key: &[u8], value: Parts<'_>, stamped: bool) -> usize {
        size_class(Self::len_of(key, value, stamped))
    }

    const fn len_of(key: &[u8], value: Parts<'_>, stamped: bool) -> usize {
        let mut len = 1 + key.len() + value.len();
        let mut rest = key.len() >> 7;
        while rest > 0 {
            len += 1;
            rest >>= 7;
        }
        if stamped { len + STAMP_LEN } else { len }
    }

    /// The bytes this entry allocates.
    pub(super) const fn size(&self) -> usize {
        size_class(self.0.len())
    }

    /// Where the key lies in the bytes.
    fn key_range(&self) -> std::ops::Range<usize> {
        let first = usize::from(self.0[0]);
        if first < 0x80 {
            return 1..1 + first;
        }
        let mut len = first & 0x7F;
        let mut at = 1;
        loop {
            let byte = usize::from(self.0[at]);
            len |= (byte & 0x7F) << (7 * at);
            at += 1;
            if byte < 0x80 {
                return at..at + len;
            }
        }
    }

    /// The key.
    pub(super) fn key(&self) -> &[u8] {
        &self.0[self.key_range()]
    }

    /// The value; `stamped` says whether a stamp follows it.
    pub(super) fn value(&self, stamped: bool) -> &[u8] {
        let end = self.0.len() - if stamped { STAMP_LEN } else { 0 };
        &self.0[self.key_range().end..end]
    }

    /// Puts `value` where the old one was, if it is as long; says whether it was.
    pub(super) fn overwrite(&mut self, value: Parts<'_>, stamp: Option<u32>) -> bool {
        let start = self.key_range().end;
        let end = self.0.len() - if stamp.is_some() { STAMP_LEN } else { 0 };
        if end - start != value.len() {
            return false;
        }
        let (head, body) = self.0[start..end].split_at_mut(value.head.len());
        head.copy_from_slice(value.head);
        body.copy_from_slice(value.body);
        if let Some(stamp) = stamp {
            self.touch(stamp);
        }
        true
    }

    /// Looks at each cache line of what lies near the key, so that they are at hand when it is
    /// used; what comes of it means nothing.
    pub(super) fn touch_lines(&self) -> u8 {
        let near = &self.0[..self.0.len().min(NEAR)];
        let last = near.last().copied().unwrap_or(0);
        near.iter().step_by(LINE).fold(last, |sum, byte| sum ^ byte)
    }

    /// Notes a use. Only for entries with a stamp.
    pub(super) fn touch(&mut self, stamp: u32) {
        let at = self.0.len() - STAMP_LEN;
        self.0[at..].copy_from_slice(&stamp.to_le_bytes());
    }

    /// When the entry was last used. Only for entries with a stamp.
    pub(super) fn stamp(&self) -> u32 {
        let at = self.0.len() - STAMP_LEN;
        let mut stamp = [0; STAMP_LEN];
        stamp.copy_from_slice(&self.0[at..]);
        u32::from_le_bytes(stamp)
    }
}

/// The lowest seven bits of a length.
fn low_bits(len: usize) -> u8 {
    len.to_le_bytes()[0] & 0x7F
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(body: &[u8]) -> Parts<'_> {
        let (head, body) = body.split_at(body.len() / 3);
        Parts { head, body }
    }

    #[test]
    fn a_small_record_fits_128_bytes() {
        let value = Parts { head: &[7; 10], body: &[8; 100] };
        assert_eq!(Entry::new(&[1; 16], value, None).size(), 128);
        assert_eq!(Entry::size_of(&[1; 16], value, false), 128);
    }

    #[test]
    fn only_a_value_of_the_same_length_is_overwritten() {
        for stamp in [None, Some(9)] {
            let mut entry = Entry::new(b"key", parts(b"value"), stamp);
            assert!(!entry.overwrite(parts(b"longer"), stamp));
            assert!(!entry.overwrite(parts(b"less"), stamp));
            assert_eq!(entry.value(stamp.is_some()), b"value");
            assert!(entry.overwrite(parts(b"VALUE"), stamp));
            assert_eq!((entry.key(), entry.value(stamp.is_some())), (&b"key"[..], &b"VALUE"[..]));
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            key_len in prop_oneof![1usize..300, 16_000usize..17_000, 65_530usize..=65_535],
            value in proptest::collection::vec(any::<u8>(), 0..300),
            stamp in any::<Option<u32>>(),
        ) {
            let key: Vec<u8> = (0..key_len).map(low_bits).collect();
            let entry = Entry::new(&key, parts(&value), stamp);
            prop_assert_eq!(entry.key(), &key[..]);
            prop_assert_eq!(entry.value(stamp.is_some()), &value[..]);
            prop_assert_eq!(entry.size(), Entry::size_of(&key, parts(&value), stamp.is_some()));
            if let Some(stamp) = stamp {
                prop_assert_eq!(entry.stamp(), stamp);
            } else {
                let stamped = entry.stamped(5);
                prop_assert_eq!((stamped.key(), stamped.value(true)), (&key[..], &value[..]));
                prop_assert_eq!(stamped.stamp(), 5);
            }
        }
    }
}
