//! A consistent-hash ring with virtual nodes: D. Karger et al., "Consistent Hashing and Random
//! Trees", 1997; several points per node as in G. DeCandia et al., "Dynamo", 2007.
//!
//! A partition stands on the ring and walks on from there; the first members it meets become its
//! owners, unless their zone is full or they are at their bound (see [`Share::scattered`]).
//! Only where zones leave no other way somebody gets more, and is relieved of it at the end.
//!
//! Holds: a member's points depend on its id, its weight and the scale alone; members that are
//! equally heavy have equally many.

use super::board::Board;
use super::field::{Field, number};
use super::hash::Use;
use super::relief::{is_below, relieve};
use super::share::Share;

/// Points per unit of weight where weights are usual: 400 for a weight of 100, so that a node's
/// part of the ring strays from the mean by a twentieth.
const POINTS_PER_WEIGHT: u64 = 4;
/// Mean weights from this to twice this are the usual ones. Others are scaled by a power of two, so
/// that the mean member always has between 256 and 512 points.
const LEAST_MEAN_WEIGHT: u64 = 64;

/// One point of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    at: u64,
    member: usize,
}

/// All points in the order of the ring.
#[derive(Debug)]
pub(super) struct Ring {
    points: Vec<Point>,
    members: usize,
}

/// Lays out all places.
pub(super) fn fill<'a>(field: &'a Field<'a>) -> Board<'a> {
    let mut board = Board::begin(field, false);
    let ring = Ring::of(field);
    for partition in 0..field.partitions() {
        take(&mut board, partition, &ring, |board, member| {
            is_below(board, member, Share::scattered) && board.may_take(partition, member)
        });
        // Zones may leave nobody within its bound, or nobody at all.
        take(&mut board, partition, &ring, |board, member| board.may_take(partition, member));
        take(&mut board, partition, &ring, |board, member| board.is_free_for(partition, member));
    }
    // Zones may have left somebody with more than its bound.
    relieve(&mut board, Share::scattered);
    board
}

/// Walks once for the owners that are missing.
fn take(
    board: &mut Board<'_>,
    partition: usize,
    ring: &Ring,
    allowed: impl Fn(&Board<'_>, usize) -> bool,
) {
    if !board.wants(partition) {
        return;
    }
    for (_, member) in ring.walk(board.field, partition) {
        if allowed(board, member) {
            board.put(partition, member);
            if !board.wants(partition) {
                return;
            }
        }
    }
}

impl Ring {
    /// The ring of a field.
    pub(super) fn of(field: &Field<'_>) -> Self {
        let mut points = Vec::new();
        for (member, weight) in field.weights.iter().enumerate() {
            for point in 0..points_of(*weight, &field.weights) {
                let at = field.hashes.of(Use::NodeOnRing, field.ids[member].0, point);
                points.push(Point { at, member });
            }
        }
        points.sort_unstable();
        let members = field.weights.iter().filter(|weight| **weight > 0).count();
        Self { points, members }
    }

    /// The members as a partition meets them, each once, with the way it has gone by then.
    pub(super) fn walk(
        &self,
        field: &Field<'_>,
        partition: usize,
    ) -> impl Iterator<Item = (u64, usize)> {
        let stand = field.hashes.of(Use::PartitionOnRing, number(partition), 0);
        let first = self.points.partition_point(|point| point.at < stand);
        let (behind, ahead) = self.points.split_at(first);
        let mut met = vec![false; field.members()];
        ahead
            .iter()
            .chain(behind)
            .filter(move |point| !std::mem::replace(&mut met[point.member], true))
            .map(move |point| (point.at.wrapping_sub(stand), point.member))
            .take(self.members)
    }
}

/// How many points a member of this weight has among members of these.
///
/// In proportion to the weight, at least one; scaled by a power of two where the usual scale would
/// make a ring too coarse or too large, so that the scale hardly ever changes.
fn points_of(weight: u16, weights: &[u16]) -> u32 {
    if weight == 0 {
        return 0;
    }
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let active = weights.iter().filter(|weight| **weight > 0).count() as u64;
    let mean = sum / active.max(1);
    let mut points = u64::from(weight) * POINTS_PER_WEIGHT;
    let (mut low, mut high) = (mean, mean);
    while low < LEAST_MEAN_WEIGHT && low > 0 {
        low *= 2;
        points *= 2;
    }
    while high >= 2 * LEAST_MEAN_WEIGHT {
        high /= 2;
        points /= 2;
    }
    u32::try_from(points.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_follow_weights_at_a_scale_that_keeps_the_ring_small() {
        assert_eq!(points_of(100, &[100; 5]), 400);
        assert_eq!(points_of(200, &[100, 100, 200, 50]), 800);
        assert_eq!(points_of(50, &[100, 100, 200, 50]), 200);
        assert_eq!(points_of(0, &[0, 100]), 0);
        for weight in 1..=u16::MAX {
            let points = points_of(weight, &[weight; 3]);
            assert!((256..512).contains(&points), "{weight}: {points}");
        }
        assert_eq!(points_of(1, &[1, u16::MAX, u16::MAX]), 1);
    }
}
