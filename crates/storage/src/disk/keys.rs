//! How the sorted store's one key space is laid out.
//!
//! ```text
//! [space u32 BE][slot u16 BE][key]                          a value
//! [0xFFFFFFFE][0]                                           the mark: how far the log is covered
//! [0xFFFFFFFE][1][space u32 BE][slot u16 BE]                a slot's tally at the mark
//! [0xFFFFFFFF][due u64 BE][space u32 BE][slot u16 BE][key]  an entry of the due index
//! ```
//!
//! Holds: values sort before everything else, and among themselves by space, slot and key, so a
//! slot and a space are each one contiguous range.

use crate::engine::Address;

/// The highest number a space may have; those above hold the engine's own entries.
pub const MAX_SPACE: u32 = 0xFFFF_FFFD;

/// The longest key in bytes: the store's own keys end at 65,535, and an entry of the due index
/// has 18 bytes before the key.
pub const MAX_KEY: usize = 65_535 - DUE_PREFIX - PREFIX;

/// Bytes before the key proper.
pub(crate) const PREFIX: usize = 6;

const META: [u8; 4] = 0xFFFF_FFFE_u32.to_be_bytes();
const DUE: [u8; 4] = 0xFFFF_FFFF_u32.to_be_bytes();
const DUE_PREFIX: usize = 12;
const INLINE: usize = 122;

/// The stored form of an address, on the stack where it is short, so that a read allocates
/// nothing for it.
pub(crate) struct StoreKey {
    inline: [u8; PREFIX + INLINE],
    len: usize,
    long: Vec<u8>,
}

impl StoreKey {
    pub(crate) fn new(at: Address<'_>) -> Self {
        let mut key = Self { inline: [0; PREFIX + INLINE], len: 0, long: Vec::new() };
        if at.key.len() <= INLINE {
            key.inline[..PREFIX].copy_from_slice(&slot_prefix(at.space, at.slot));
            key.inline[PREFIX..PREFIX + at.key.len()].copy_from_slice(at.key);
            key.len = PREFIX + at.key.len();
        } else {
            key.long = encode(at).into_vec();
        }
        key
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.len > 0 { &self.inline[..self.len] } else { &self.long }
    }
}

/// The stored form of an address, owned.
pub(crate) fn encode(at: Address<'_>) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(PREFIX + at.key.len());
    bytes.extend_from_slice(&slot_prefix(at.space, at.slot));
    bytes.extend_from_slice(at.key);
    bytes.into_boxed_slice()
}

/// The address that stored bytes stand for; `None` where they are too short to be one.
pub(crate) fn decode(bytes: &[u8]) -> Option<Address<'_>> {
    let (space, rest) = bytes.split_first_chunk::<4>()?;
    let (slot, key) = rest.split_first_chunk::<2>()?;
    Some(Address { space: u32::from_be_bytes(*space), slot: u16::from_be_bytes(*slot), key })
}

/// What every key of a slot begins with; also the slot's lower bound.
pub(crate) fn slot_prefix(space: u32, slot: u16) -> [u8; PREFIX] {
    let ([a, b, c, d], [e, f]) = (space.to_be_bytes(), slot.to_be_bytes());
    [a, b, c, d, e, f]
}

/// The least key after all keys of a slot. Slots end far below `u16::MAX`.
pub(crate) fn slot_end(space: u32, slot: u16) -> [u8; PREFIX] {
    slot_prefix(space, slot.saturating_add(1))
}

/// The least key that is greater than `key`.
pub(crate) fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// Where the mark is kept.
pub(crate) fn mark() -> [u8; 5] {
    let [a, b, c, d] = META;
    [a, b, c, d, 0]
}

/// Where the tally of a slot is kept.
pub(crate) fn tally(space: u32, slot: u16) -> [u8; 11] {
    let mut key = [0; 11];
    key[..4].copy_from_slice(&META);
    key[4] = 1;
    key[5..].copy_from_slice(&slot_prefix(space, slot));
    key
}

/// The bounds between which all tallies are, the upper one excluded.
pub(crate) fn tallies() -> ([u8; 5], [u8; 5]) {
    let [a, b, c, d] = META;
    ([a, b, c, d, 1], [a, b, c, d, 2])
}

/// The space and slot a tally's key names.
pub(crate) fn decode_tally(key: &[u8]) -> Option<(u32, u16)> {
    let at = decode(key.strip_prefix(META.as_slice())?.strip_prefix(&[1])?)?;
    at.key.is_empty().then_some((at.space, at.slot))
}

/// The due index's entry for the stored key `key`, due at `due_ms`.
pub(crate) fn due(due_ms: u64, key: &[u8]) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(DUE_PREFIX + key.len());
    bytes.extend_from_slice(&DUE);
    bytes.extend_from_slice(&due_ms.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes.into_boxed_slice()
}

/// The bound below which all entries are that are due at `now_ms`, and the index's lower bound.
pub(crate) fn due_until(now_ms: u64) -> ([u8; DUE_PREFIX], [u8; DUE_PREFIX]) {
    let mut bounds = ([0; DUE_PREFIX], [0; DUE_PREFIX]);
    bounds.0[..4].copy_from_slice(&DUE);
    bounds.1[..4].copy_from_slice(&DUE);
    bounds.1[4..].copy_from_slice(&now_ms.saturating_add(1).to_be_bytes());
    bounds
}

/// The bounds between which the whole due index is, the upper one excluded.
pub(crate) fn due_all() -> ([u8; 4], [u8; DUE_PREFIX + 1]) {
    // No space has the highest number, so no entry begins with so many bytes of ones.
    (DUE, [0xFF; DUE_PREFIX + 1])
}

/// When an entry of the due index is due, and the stored key it is about.
pub(crate) fn decode_due(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (due, key) = bytes.strip_prefix(DUE.as_slice())?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*due), key))
}

/// The space an entry belongs to, whichever kind of entry it is; `None` for the mark.
pub(crate) fn space_of(bytes: &[u8]) -> Option<u32> {
    if let Some((_, key)) = decode_due(bytes) {
        return decode(key).map(|at| at.space);
    }
    if bytes.starts_with(&META) {
        return decode_tally(bytes).map(|(space, _)| space);
    }
    decode(bytes).map(|at| at.space)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn addresses_come_back_and_keep_their_order(
            a in (0..=MAX_SPACE, 0_u16..16_384, proptest::collection::vec(any::<u8>(), 1..300)),
            b in (0..=MAX_SPACE, 0_u16..16_384, proptest::collection::vec(any::<u8>(), 1..300)),
        ) {
            let (x, y) = (
                Address { space: a.0, slot: a.1, key: &a.2 },
                Address { space: b.0, slot: b.1, key: &b.2 },
            );
            let (p, q) = (encode(x), encode(y));
            prop_assert_eq!(decode(&p), Some(x));
            let short = StoreKey::new(x);
            prop_assert_eq!(short.as_slice(), &*p);
            prop_assert_eq!(x.cmp(&y), p.cmp(&q));
            prop_assert!(p.as_ref() < mark().as_slice());
            prop_assert_eq!(space_of(&p), Some(a.0));
            prop_assert_eq!(space_of(&due(7, &p)), Some(a.0));
            let entry = due(7, &p);
            prop_assert_eq!(decode_due(&entry), Some((7, &*p)));
            prop_assert_eq!(space_of(&tally(a.0, a.1)), Some(a.0));
            prop_assert!(p.as_ref() >= slot_prefix(a.0, a.1).as_slice());
            prop_assert!(p.as_ref() < slot_end(a.0, a.1).as_slice());
        }
    }

    #[test]
    fn the_engines_own_entries_have_no_space_or_the_right_one() {
        assert_eq!(space_of(&mark()), None);
        let (from, to) = tallies();
        let key = tally(3, 16_383);
        assert!(from.as_slice() <= key.as_slice() && key.as_slice() < to.as_slice());
        assert_eq!(decode_tally(&key), Some((3, 16_383)));
        let (low, high) = due_until(10);
        assert!(due(10, b"\0\0\0\x01\0\0k").as_ref() < high.as_slice());
        assert!(due(11, b"\0\0\0\x01\0\0k").as_ref() >= high.as_slice());
        assert!(due(0, b"").as_ref() >= low.as_slice());
        let (low, high) = due_all();
        assert!(due(0, &encode(Address { space: 0, slot: 0, key: b"" })).as_ref() > low.as_slice());
        let last = Address { space: MAX_SPACE, slot: 16_383, key: &[0xFF; 20] };
        assert!(due(u64::MAX, &encode(last)).as_ref() >= high.as_slice(), "never is not a time");
        assert!(due(u64::MAX - 1, &encode(last)).as_ref() < high.as_slice());
    }
}
