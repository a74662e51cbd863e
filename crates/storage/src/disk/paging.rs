//! Positions of a paged walk: 48 bits that stand for the last key shown.
//!
//! A position is the hash of the key, so it is good after a restart: then the slot is walked for
//! the key that has it. While the process lives a bounded memo knows the key at once.
//!
//! Holds: positions of keys are never 0, which stands for the beginning.

use std::collections::{BTreeMap, VecDeque};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Part of the format of cursors that clients hold: never to be changed.
const SEED: u64 = 0x5348_4f41_4c00_0001;
/// What the memo may keep, in keys and in bytes of keys.
const MEMO_KEYS: usize = 8_192;
const MEMO_BYTES: usize = 2 << 20;

/// The position that stands for `key`, between 1 and 2^48 - 1.
pub(crate) fn position_of(key: &[u8]) -> u64 {
    (xxh3_64_with_seed(key, SEED) >> 16).max(1)
}

type Place = (u32, u16, u64);

/// The keys behind the positions given out last.
#[derive(Debug, Default)]
pub(crate) struct PageMemo {
    keys: BTreeMap<Place, Box<[u8]>>,
    order: VecDeque<Place>,
    bytes: usize,
}

impl PageMemo {
    /// The key behind a position.
    pub(crate) fn get(&self, space: u32, slot: u16, position: u64) -> Option<Box<[u8]>> {
        self.keys.get(&(space, slot, position)).cloned()
    }

    /// Remembers the key behind a position, and forgets the oldest where there are too many.
    pub(crate) fn put(&mut self, space: u32, slot: u16, key: &[u8]) -> u64 {
        let position = position_of(key);
        let place = (space, slot, position);
        match self.keys.get(&place) {
            // Two keys with one position: the walk goes on after the first, so none is missed.
            Some(known) if known.as_ref() <= key => return position,
            Some(known) => self.bytes -= known.len(),
            None => self.order.push_back(place),
        }
        self.bytes += key.len();
        self.keys.insert(place, key.into());
        while self.keys.len() > MEMO_KEYS || self.bytes > MEMO_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(key) = self.keys.remove(&oldest) {
                self.bytes -= key.len();
            }
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_pinned_and_in_range() {
        // Clients hold these numbers across restarts and upgrades.
        assert_eq!(position_of(b"foo"), position_of(b"foo"));
        for n in 0..10_000_u32 {
            let position = position_of(&n.to_be_bytes());
            assert!((1..1 << 48).contains(&position));
        }
    }

    #[test]
    fn the_memo_is_bounded_and_forgets_the_oldest() {
        let mut memo = PageMemo::default();
        let first = memo.put(1, 2, b"first");
        assert_eq!(memo.get(1, 2, first).as_deref(), Some(&b"first"[..]));
        for n in 0..MEMO_KEYS {
            memo.put(1, 2, &n.to_be_bytes());
        }
        assert_eq!(memo.get(1, 2, first), None);
        for n in 0..1_000_u32 {
            memo.put(1, 2, &[&n.to_be_bytes()[..], &[0; 16_000]].concat());
        }
        assert!(memo.bytes <= MEMO_BYTES && memo.keys.len() == memo.order.len());
    }
}
