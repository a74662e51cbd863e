//! Versions: the totally ordered stamps by which one record is newer than another.

use crate::ids::NodeId;
use std::fmt;

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// The greatest wall time a version can carry: 48 bits, the year 10889.
pub const MAX_WALL_MS: Millis = (1 << 48) - 1;

/// When and by whom a record was made: a hybrid logical clock stamp made unique by its node.
///
/// Ordered by wall time, then counter, then node. Stamps of a clock carry even counters,
/// successors made by read-modify-writes odd ones, so that the two can never be equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Milliseconds since the Unix epoch, at most [`MAX_WALL_MS`].
    pub wall_ms: Millis,
    /// Tells apart the stamps of one millisecond.
    pub counter: u16,
    /// The node that made the stamp.
    pub node: NodeId,
}

impl Version {
    /// The smallest version, older than anything ever written.
    pub const ZERO: Self = Self { wall_ms: 0, counter: 0, node: NodeId(0) };

    /// The version as a number, of which the greater is of the greater version.
    #[must_use]
    pub const fn to_bits(self) -> u128 {
        (self.wall_ms as u128) << 48 | (self.counter as u128) << 32 | self.node.0 as u128
    }

    /// The version of which [`Version::to_bits`] is this.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each part is cut out of the number")]
    pub const fn from_bits(bits: u128) -> Self {
        Self {
            wall_ms: (bits >> 48) as u64,
            counter: (bits >> 32) as u16,
            node: NodeId(bits as u32),
        }
    }

    /// The smallest version above `self` that `node` may give to the result of a
    /// read-modify-write: an odd counter, carried into the wall time where it overflows.
    #[must_use]
    pub fn successor(self, node: NodeId) -> Self {
        let bump = if self.counter % 2 == 1 { 2 } else { 1 };
        match self.counter.checked_add(bump) {
            Some(counter) => Self { wall_ms: self.wall_ms, counter, node },
            None => Self { wall_ms: self.wall_ms + 1, counter: 1, node },
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.wall_ms, self.counter, self.node.0)
    }
}

impl std::str::FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let mut parts = text.split('-');
        let (Some(wall), Some(counter), Some(node), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadVersion);
        };
        let wall_ms: Millis = wall.parse().map_err(|_| BadVersion)?;
        if wall_ms > MAX_WALL_MS {
            return Err(BadVersion);
        }
        let counter = counter.parse().map_err(|_| BadVersion)?;
        let node = NodeId(node.parse().map_err(|_| BadVersion)?);
        Ok(Self { wall_ms, counter, node })
    }
}

/// The text is not a version: it wants `wall-counter-node`, all decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version reads wall-counter-node, all decimal, like 1767225600000-0-1")]
pub struct BadVersion;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(wall_ms: Millis, counter: u16, node: u32) -> Version {
        Version { wall_ms, counter, node: NodeId(node) }
    }

    #[test]
    fn a_successor_is_greater_and_odd() {
        for base in
            [version(5, 0, 9), version(5, 1, 9), version(5, 65_534, 1), version(5, 65_535, 1)]
        {
            let next = base.successor(NodeId(1));
            assert!(next > base, "{base} < {next}");
            assert_eq!(next.counter % 2, 1);
        }
    }

    #[test]
    fn text_round_trips_and_nonsense_is_refused() {
        let v = version(MAX_WALL_MS, 65_535, u32::MAX);
        assert_eq!(v.to_string().parse(), Ok(v));
        for text in ["", "1-2", "1-2-3-4", "a-0-1", "1-70000-1", "281474976710656-0-1"] {
            assert_eq!(text.parse::<Version>(), Err(BadVersion), "{text}");
        }
    }

    proptest! {
        #[test]
        fn wall_time_decides_then_the_counter_then_the_node(
            a in (0..3_u64, 0..3_u16, 0..3_u32), b in (0..3_u64, 0..3_u16, 0..3_u32),
        ) {
            let (left, right) = (version(a.0, a.1, a.2), version(b.0, b.1, b.2));
            prop_assert_eq!(left.cmp(&right), a.cmp(&b));
            prop_assert_eq!(left.to_bits().cmp(&right.to_bits()), a.cmp(&b));
        }

        #[test]
        fn a_version_is_what_its_bits_say(
            wall in 0..=MAX_WALL_MS, counter in any::<u16>(), node in any::<u32>(),
        ) {
            let made = version(wall, counter, node);
            prop_assert_eq!(Version::from_bits(made.to_bits()), made);
        }

        #[test]
        fn nothing_a_node_could_have_made_lies_between_a_version_and_its_successor(
            wall in 0..MAX_WALL_MS, counter in any::<u16>(), from in any::<u32>(), by in any::<u32>(),
        ) {
            let base = version(wall, counter, from);
            let next = base.successor(NodeId(by));
            prop_assert!(next > base && next.counter % 2 == 1 && next.node == NodeId(by));
            // In steps of the counter it is at most two away.
            let steps = |v: Version| (u128::from(v.wall_ms) << 16) + u128::from(v.counter);
            prop_assert!(steps(next) - steps(base) <= 2);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-]{0,30}") {
            if let Ok(read) = text.parse::<Version>() {
                prop_assert_eq!(read.to_string().parse(), Ok(read));
            }
        }
    }
}
