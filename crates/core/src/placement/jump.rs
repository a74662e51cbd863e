//! Jump consistent hash over the list of seats: J. Lamping and E. Veach, "A Fast, Minimal Memory,
//! Consistent Hash Algorithm", 2014.
//!
//! The published function gives one seat. For further replicas it is carried on to an order of all
//! seats. Seats are added one after the other: where the published function jumps to the new one,
//! it comes first, and where it does not, a second hash draws one of the places behind the first.
//! So every order is equally likely, the first seat is the published one, and a seat more never
//! changes the order of those before it. To jump again with other keys until there are replicas
//! enough would be simpler, and was measured: with zones a join then moves up to one and a half
//! times the minimum.
//!
//! A member lighter than the heaviest takes its part of the partitions only, so that a change of a
//! weight moves places of that node alone, as long as the greatest weight stays.
//!
//! Holds: a seat added at the end moves what it gets and hardly more; what lies on a seat follows
//! the seat and not the node.

use super::board::Board;
use super::field::{Field, number};
use super::hash::Use;
use super::relief::{is_below, relieve};
use super::share::Share;

/// How often lighter members are asked before weights are left to the bounds alone.
const ROUNDS: u32 = 8;

/// Lays out all places.
pub(super) fn fill<'a>(field: &'a Field<'a>) -> Board<'a> {
    let mut board = Board::begin(field, false);
    let heaviest = field.weights.iter().copied().max().unwrap_or(1);
    for partition in 0..field.partitions() {
        if !board.wants(partition) {
            continue;
        }
        let order = order(field, partition);
        for round in 0..ROUNDS {
            take(&mut board, partition, &order, |board, member| {
                is_below(board, member, Share::scattered)
                    && board.may_take(partition, member)
                    && accepts(field, partition, round, member, heaviest)
            });
        }
        take(&mut board, partition, &order, |board, member| {
            is_below(board, member, Share::scattered) && board.may_take(partition, member)
        });
        // Zones may leave nobody within its bound, or nobody at all.
        take(&mut board, partition, &order, |board, member| board.may_take(partition, member));
        take(&mut board, partition, &order, |board, member| board.is_free_for(partition, member));
    }
    // Zones may have left somebody with more than its bound.
    relieve(&mut board, Share::scattered);
    board
}

/// Goes through the order once for the owners that are missing.
fn take(
    board: &mut Board<'_>,
    partition: usize,
    order: &[u32],
    allowed: impl Fn(&Board<'_>, usize) -> bool,
) {
    for seat in order {
        if !board.wants(partition) {
            return;
        }
        let member = board.field.seats[*seat as usize];
        if allowed(board, member) {
            board.put(partition, member);
        }
    }
}

fn accepts(field: &Field<'_>, partition: usize, round: u32, member: usize, heaviest: u16) -> bool {
    let weight = field.weights[member];
    if weight == heaviest {
        return true;
    }
    let drawn = number(partition) << 16 | round;
    let hash = field.hashes.of(Use::Acceptance, drawn, field.ids[member].0);
    hash % u64::from(heaviest) < u64::from(weight)
}

/// All seats, the preferred ones first.
pub(super) fn order(field: &Field<'_>, partition: usize) -> Vec<u32> {
    let mut landings = Landings::of(field.hashes.of(Use::Jump, number(partition), 0));
    let mut landing = landings.next();
    let mut order = Vec::with_capacity(field.seats.len());
    for seat in 0..number(field.seats.len()) {
        if landing == Some(u64::from(seat)) {
            order.insert(0, seat);
            landing = landings.next();
        } else {
            let hash = field.hashes.of(Use::BehindTheFirst, number(partition), seat);
            // Seat 0 is always landed on, so there is a first; the rest is below the length.
            order.insert(1 + usize::try_from(hash % u64::from(seat)).unwrap_or_default(), seat);
        }
    }
    order
}

/// The seats that a key lands on, one after the other, as if the list had no end; the last one
/// below its end is the key's seat.
///
/// As published, with whole numbers in place of the published floating-point quotient: the result
/// is that of exact arithmetic.
struct Landings {
    key: u64,
    next: u64,
}

impl Landings {
    fn of(key: u64) -> Self {
        Self { key, next: 0 }
    }
}

impl Iterator for Landings {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let landed = self.next;
        self.key = self.key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // No list has that many seats; beyond it the product would not fit.
        let steps = (landed + 1).checked_mul(1 << 31)?;
        self.next = steps / ((self.key >> 33) + 1);
        Some(landed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The function as it stands in the paper.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as published")]
    fn published(mut key: u64, buckets: u64) -> u64 {
        let (mut b, mut j) = (-1_i64, 0_i64);
        while j < buckets as i64 {
            b = j;
            key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
            j = ((b + 1) as f64 * ((1_i64 << 31) as f64 / ((key >> 33) + 1) as f64)) as i64;
        }
        b as u64
    }

    fn jump(key: u64, seats: u64) -> u64 {
        Landings::of(key).take_while(|seat| *seat < seats).last().unwrap_or(0)
    }

    #[test]
    fn it_lands_where_the_published_function_does() {
        let mut key = 42_u64;
        for seats in [1, 2, 3, 10, 57, 666, 1_000, 65_536] {
            for _ in 0..2_000 {
                key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(7);
                assert_eq!(jump(key, seats), published(key, seats), "{key} {seats}");
            }
        }
        // As other implementations have it.
        for (key, seats, landed) in [
            (1, 1, 0),
            (42, 57, 43),
            (0xDEAD_10CC, 1, 0),
            (0xDEAD_10CC, 666, 361),
            (256, 1_024, 520),
        ] {
            assert_eq!(jump(key, seats), landed);
        }
        assert_eq!(jump(7, 0), 0);
    }

    #[test]
    fn one_more_seat_takes_keys_and_shuffles_none() {
        for key in 0..5_000_u64 {
            let key = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            for seats in 1..40 {
                let (before, after) = (jump(key, seats), jump(key, seats + 1));
                assert!(after == before || after == seats);
            }
        }
    }
}
