//! What is too large for one message, carried in parts, one after the other.
//!
//! Holds: parts are put together in their order and without a gap; what does not fit is left out.
//! No more memory is taken than has come, and never more than [`MAX_WHOLE`].
//!
//! Does not know: what the bytes are.

use serde::{Deserialize, Serialize};

/// The most bytes that all parts may have together: a map of the greatest size, which is all
/// places that there can be and what belongs to them, with room to spare.
pub(super) const MAX_WHOLE: usize = 80 << 20;

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Where in the whole it begins.
    pub(super) offset: u64,
    /// How many bytes the whole has.
    pub(super) total: u64,
    pub(super) bytes: Vec<u8>,
}

impl Part {
    /// The part of `whole` that begins at `offset`, of at most `most` bytes; `None` where nothing
    /// begins there.
    pub(super) fn of(whole: &[u8], offset: u64, most: usize) -> Option<Self> {
        let rest = whole.get(usize::try_from(offset).ok()?..)?;
        let bytes = rest.get(..most.min(rest.len()))?.to_vec();
        let total = u64::try_from(whole.len()).ok()?;
        (!bytes.is_empty()).then_some(Self { offset, total, bytes })
    }
}

/// The parts that have come so far.
#[derive(Debug)]
pub(super) struct Assembly {
    total: usize,
    bytes: Vec<u8>,
}

impl Assembly {
    /// One that is to have `total` bytes; `None` where that is too much.
    pub(super) fn of(total: u64) -> Option<Self> {
        let total = usize::try_from(total).ok().filter(|total| *total <= MAX_WHOLE)?;
        Some(Self { total, bytes: Vec::new() })
    }

    /// Takes `part`, if it is the next one.
    pub(super) fn add(&mut self, part: &Part) {
        let is_of_it = usize::try_from(part.total) == Ok(self.total);
        let is_next = part.offset == self.have();
        if is_of_it && is_next && part.bytes.len() <= self.total - self.bytes.len() {
            self.bytes.extend_from_slice(&part.bytes);
        }
    }

    /// How many bytes there are, which is where the next part has to begin.
    pub(super) fn have(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether nothing is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes.len() == self.total
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_the_whole_and_what_does_not_fit_is_left_out() {
        let whole: Vec<u8> = (0..=254).collect();
        for most in [1, 7, 100, 255, 1_000] {
            let mut assembly = Assembly::of(255).expect("it is small");
            let mut count = 0;
            while !assembly.is_whole() {
                let part = Part::of(&whole, assembly.have(), most).expect("there is more");
                assert!(part.bytes.len() <= most);
                let gap = Part { offset: part.offset + 1, ..part.clone() };
                let others = Part { total: 256, ..part.clone() };
                let bytes = [part.bytes.as_slice(), &[0; 255]].concat();
                let beyond = Part { bytes, ..part.clone() };
                [gap, others, beyond].iter().for_each(|wrong| assembly.add(wrong));
                assert_eq!(assembly.have(), part.offset);
                assembly.add(&part);
                // Twice is once.
                assembly.add(&part);
                count += 1;
            }
            assert_eq!(count, 255_usize.div_ceil(most));
            assert_eq!(assembly.into_bytes(), whole);
        }
        assert_eq!(Part::of(&whole, 255, 7), None);
        assert_eq!(Part::of(&whole, u64::MAX, 7), None);
        assert!(Assembly::of(MAX_WHOLE as u64).is_some());
        assert!(Assembly::of(MAX_WHOLE as u64 + 1).is_none() && Assembly::of(u64::MAX).is_none());
    }
}
