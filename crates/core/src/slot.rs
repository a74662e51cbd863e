//! Slots: the 16,384 places a key can hash to, and the partitions that group them.
//!
//! The function is that of Redis Cluster, so that cluster-aware clients and Shoal agree on it:
//! CRC16 (XMODEM) of the key, or of its hash tag, modulo 16,384. Source: the Redis Cluster
//! specification, "Key distribution model" and "Hash tags".
//!
//! Holds: a partition is a contiguous run of slots whose length is a power of two.

use crate::ids::PartitionId;
use std::ops::Range;

/// How many slots there are.
pub const SLOT_COUNT: u16 = 16_384;

/// One of the 16,384 slots. Always below [`SLOT_COUNT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number, or `None` from 16,384 on.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOT_COUNT { Some(Self(number)) } else { None }
    }

    /// The slot of `key`, decided by its hash tag if it has one.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key)) % SLOT_COUNT)
    }

    /// The slot's number, below 16,384.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What of `key` decides its slot: the bytes between the first `{` and the next `}` where there
/// are any, else the whole key.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

/// How a keyspace divides its slots into partitions of equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitioning {
    /// Slots per partition, as a power of two.
    shift: u8,
}

impl Partitioning {
    /// The division into `count` partitions, or `None` unless `count` is a power of two between
    /// 1 and 16,384.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a u16 has at most 16 trailing zeros")]
    pub const fn new(count: u16) -> Option<Self> {
        if count.is_power_of_two() && count <= SLOT_COUNT {
            Some(Self { shift: 14 - count.trailing_zeros() as u8 })
        } else {
            None
        }
    }

    /// How many partitions there are.
    #[must_use]
    pub const fn count(self) -> u16 {
        SLOT_COUNT >> self.shift
    }

    /// The partition that `slot` belongs to.
    #[must_use]
    pub const fn partition_of(self, slot: Slot) -> PartitionId {
        PartitionId(slot.0 >> self.shift)
    }

    /// The slots of `partition`, as numbers.
    #[must_use]
    pub const fn slots_of(self, partition: PartitionId) -> Range<u16> {
        let first = partition.0 << self.shift;
        first..first + (1 << self.shift)
    }
}

/// CRC16/XMODEM: polynomial 0x1021, start 0, no reflection.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let index = usize::from((crc >> 8) as u8 ^ *byte);
        (crc << 8) ^ CRC16_TABLE[index]
    })
}

const CRC16_TABLE: [u16; 256] = crc16_table();

const fn crc16_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_gives_the_published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    #[test]
    fn slots_match_the_vectors_redis_publishes() {
        for (key, slot) in [
            (&b"foo"[..], 12_182),
            (b"bar", 5_061),
            (b"hello", 866),
            (b"", 0),
            (b"somekey", 11_058),
            (b"foo{hash_tag}", 2_515),
            (b"{user1000}.following", 3_443),
        ] {
            assert_eq!(Slot::of(key).number(), slot, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn hash_tags_follow_the_four_published_cases() {
        assert_eq!(hash_tag(b"{user1000}.following"), b"user1000");
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
    }

    #[test]
    fn partitions_tile_the_slots() {
        for power in 0..=14 {
            let parts = Partitioning::new(1 << power).expect("a power of two");
            let mut next = 0;
            for id in 0..parts.count() {
                let slots = parts.slots_of(PartitionId(id));
                assert_eq!(slots.start, next);
                for number in slots.clone() {
                    let slot = Slot::new(number).expect("below the count");
                    assert_eq!(parts.partition_of(slot), PartitionId(id));
                }
                next = slots.end;
            }
            assert_eq!(next, SLOT_COUNT);
        }
        assert_eq!(Partitioning::new(0), None);
        assert_eq!(Partitioning::new(3), None);
        assert_eq!(Partitioning::new(32_768), None);
    }
}
