//! How many places each node should have: the fair shares, and the bounds made of them.
//!
//! A share is proportional to the node's weight as far as it can be: a node has at most one place
//! of every partition, and the nodes of a zone together at most as many as a zone may have. What
//! is above these limits goes to the others, again in proportion, as water fills vessels of
//! different height.
//!
//! Holds: shares add up to the places there are, give or take a rounding of 2^-16 each; integers
//! only.

use std::cmp::min;

/// Bits behind the point of a share.
const FRACTION_BITS: u32 = 32;
/// What rounding may have added to a share: the level is too high by less than one, and is
/// multiplied by a weight of at most 16 bits.
const ROUNDING: u64 = 1 << 16;

/// What shares are made from.
#[derive(Debug)]
pub(super) struct Vessels<'a> {
    /// The members' weights; those of weight 0 get no share.
    pub(super) weights: &'a [u16],
    /// The members' zones, as numbers below `zone_count`.
    pub(super) zones: &'a [usize],
    /// How many zones there are.
    pub(super) zone_count: usize,
    /// The most places of one partition that lie in one zone.
    pub(super) zone_limit: usize,
    /// How many partitions there are, at most 2^14.
    pub(super) partitions: usize,
}

/// One node's fair share of the places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share(u64);

impl Share {
    /// The share without its fraction: who has fewer places is to be given some.
    pub(super) fn floor(self) -> u64 {
        self.0 >> FRACTION_BITS
    }

    /// The share rounded up: a bound of 1.0 times the share.
    pub(super) fn ceil(self) -> u64 {
        let up = (1 << FRACTION_BITS) - 1 - ROUNDING;
        (self.0 + up) >> FRACTION_BITS
    }

    /// A bound that leaves hashing its usual spread and cuts what is beyond it.
    ///
    /// Places drawn by hash scatter by about the square root of their number, so the bound is two
    /// and a half such deviations above the share, and never less than an eighth: 1.145 times a
    /// share of 300, 1.125 times one of 400 and more. A tighter bound would be reached so often
    /// that a join moves many places only because they had been turned away somewhere.
    pub(super) fn scattered(self) -> u64 {
        let share = self.ceil();
        share + (share * 25 / 4).isqrt().max(share / 8)
    }
}

/// The shares of `total` places.
pub(super) fn fair(vessels: &Vessels<'_>, total: usize) -> Vec<Share> {
    let level = level(vessels, (total as u64) << FRACTION_BITS, |level| {
        (0..vessels.zone_count).map(|zone| vessels.in_zone(zone, level)).sum()
    });
    // Zones that are full have a lower level of their own.
    let full = vessels.zone_is_full_at();
    let levels: Vec<u64> = (0..vessels.zone_count)
        .map(|zone| level.min(self::level(vessels, full, |level| vessels.poured(zone, level))))
        .collect();
    (0..vessels.weights.len())
        .map(|member| Share(vessels.in_member(member, levels[vessels.zones[member]])))
        .collect()
}

/// The lowest level, in shares per unit of weight, at which `held` reaches `wanted`; the highest
/// there is when it never does.
fn level(vessels: &Vessels<'_>, wanted: u64, held: impl Fn(u64) -> u64) -> u64 {
    let (mut low, mut high) = (0, (vessels.partitions as u64) << FRACTION_BITS);
    while low < high {
        let middle = low + (high - low) / 2;
        if held(middle) >= wanted {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}

impl Vessels<'_> {
    fn in_member(&self, member: usize, level: u64) -> u64 {
        // At most 2^46 times 2^16.
        min(level * u64::from(self.weights[member]), (self.partitions as u64) << FRACTION_BITS)
    }

    fn poured(&self, zone: usize, level: u64) -> u64 {
        let members = (0..self.weights.len()).filter(|member| self.zones[*member] == zone);
        members.map(|member| self.in_member(member, level)).sum()
    }

    fn in_zone(&self, zone: usize, level: u64) -> u64 {
        min(self.poured(zone, level), self.zone_is_full_at())
    }

    fn zone_is_full_at(&self) -> u64 {
        let places = self.zone_limit.min(self.weights.len()) * self.partitions;
        (places as u64) << FRACTION_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(weights: &[u16], zones: &[usize], zone_limit: usize, total: usize) -> Vec<u64> {
        let zone_count = zones.iter().max().map_or(0, |zone| zone + 1);
        let vessels = Vessels { weights, zones, zone_count, zone_limit, partitions: 100 };
        let shares = fair(&vessels, total);
        let sum: u64 = shares.iter().map(|share| share.0).sum();
        let off = sum.abs_diff((total as u64) << FRACTION_BITS);
        assert!(off <= ROUNDING * weights.len() as u64, "{shares:?}");
        shares.iter().map(|share| share.ceil()).collect()
    }

    #[test]
    fn shares_follow_weights() {
        assert_eq!(shares(&[100; 4], &[0; 4], 9, 300), [75; 4]);
        assert_eq!(shares(&[100, 200, 300, 0], &[0; 4], 9, 120), [20, 40, 60, 0]);
        assert_eq!(shares(&[1, u16::MAX], &[0; 2], 9, 50), [1, 50]);
    }

    #[test]
    fn nobody_has_two_places_of_a_partition() {
        // 100 each is all there is; the fourth of the heavy one goes to the others.
        assert_eq!(shares(&[100, 100, 800], &[0; 3], 9, 200), [50, 50, 100]);
        assert_eq!(shares(&[1, 7, 90], &[0; 3], 9, 300), [100; 3]);
    }

    #[test]
    fn zones_fill_up_like_nodes() {
        // One zone of a single node has a place of every partition, whatever it weighs.
        assert_eq!(shares(&[1, 50, 50, 50, 50], &[0, 1, 1, 2, 2], 1, 300), [100, 50, 50, 50, 50]);
        // Two of three places may lie in zone 0, which would like to have more.
        assert_eq!(shares(&[90, 90, 90, 30], &[0, 0, 0, 1], 2, 300), [67, 67, 67, 100]);
    }

    #[test]
    fn bounds_are_as_said() {
        let share = |whole: u64| Share(whole << FRACTION_BITS);
        let half = Share(3 << (FRACTION_BITS - 1));
        assert_eq!((half.floor(), half.ceil()), (1, 2));
        assert_eq!((share(7).floor(), share(7).ceil()), (7, 7));
        assert_eq!(share(300).scattered(), 343);
        assert_eq!(share(4_000).scattered(), 4_500);
        assert_eq!(share(0).scattered(), 0);
        for whole in 300..20_000 {
            assert!(share(whole).scattered() * 100 <= whole * 115, "{whole}");
        }
    }
}
