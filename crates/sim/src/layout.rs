//! Where keys lie: which slots of which partition have any.

use bytes::Bytes;
use shoal_core::Slot;
use shoal_core::slot::Partitioning;

/// The slot of a key, and the partition that it belongs to, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) partition: usize,
    pub(crate) slot: Slot,
}

/// The places that have keys.
#[derive(Debug)]
pub(crate) struct Layout {
    partitioning: Partitioning,
    /// For each slot that is used, a hash tag that leads to it; partitions take turns.
    tags: Vec<(String, Place)>,
}

impl Layout {
    /// So many partitions, and so many slots with keys in each.
    pub(crate) fn new(partitions: u16, slots: u32) -> Self {
        let partitioning = Partitioning::new(partitions).expect("options ask for a power of two");
        let mut layout = Self { partitioning, tags: Vec::new() };
        let mut number = 0_u32;
        for _ in 0..slots {
            for partition in 0..usize::from(partitions) {
                loop {
                    let tag = format!("s{number}");
                    number += 1;
                    let place = layout.place(format!("{{{tag}}}").as_bytes());
                    let is_new = layout.tags.iter().all(|(_, other)| other.slot != place.slot);
                    if place.partition == partition && is_new {
                        layout.tags.push((tag, place));
                        break;
                    }
                }
            }
        }
        layout
    }

    /// The key of this name and number.
    pub(crate) fn key(&self, name: &str, number: u32) -> Bytes {
        let (tag, _) = &self.tags[number as usize % self.tags.len()];
        Bytes::from(format!("{name}-{number}{{{tag}}}"))
    }

    /// How many slots have keys: keys whose numbers differ by a multiple of it share one.
    pub(crate) fn stride(&self) -> u32 {
        u32::try_from(self.tags.len()).expect("options ask for few")
    }

    pub(crate) fn place(&self, key: &[u8]) -> Place {
        self.place_of(Slot::of(key))
    }

    pub(crate) fn place_of(&self, slot: Slot) -> Place {
        Place { partition: usize::from(self.partitioning.partition_of(slot).0), slot }
    }

    pub(crate) fn partitions(&self) -> usize {
        usize::from(self.partitioning.count())
    }

    /// The slots of a partition that have keys.
    pub(crate) fn slots(&self, partition: usize) -> Vec<Slot> {
        let of_it = self.tags.iter().filter(|(_, place)| place.partition == partition);
        of_it.map(|(_, place)| place.slot).collect()
    }
}
