//! Weighted rendezvous hashing with exact bounds, which keeps present owners.
//!
//! Every partition has an order of preference among the members: highest random weight, D. Thaler
//! and C. V. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998; weighted by the
//! logarithm of the hash, J. Resch, "New Hashing Algorithms for Data Storage", 2015. No member
//! takes more than its bound: V. Mirrokni, M. Thorup and M. Zadimoghaddam, "Consistent Hashing
//! with Bounded Loads", 2018. That paper's bound is a factor above the mean, since whoever looks
//! from outside must find the same node again without a list of owners. The cluster map has the
//! list, so here present owners stay and the factor is 1.0: a bound of the fair share, rounded up.
//! With it a join was measured to move what the newcomer gets and nothing more (bench/SCALE.md), so
//! a looser one could save no moves and would only give evenness away.
//!
//! 1. *Keep*: present owners stay where they may.
//! 2. *Fill*: a partition that lacks owners takes the preferred members that are below their share,
//!    else below their bound. Partitions with the least choice come first.
//! 3. *Relieve*: who is above its bound hands places over, best to those below their share, and if
//!    need be along a chain of members.
//! 4. *Lift*: who is below its share takes the places it is preferred for from those above theirs.
//!
//! Holds: a plan made of present owners that are a plan already is the same again.

use super::board::Board;
use super::field::Field;
use super::relief::{is_below, relieve};
use super::share::Share;
use std::cmp::Reverse;

/// How often loads are evened out: a lift may make room that zones had denied to a relief. One
/// round is nearly always enough, and the next one only finds that.
const ROUNDS: u32 = 8;

/// Lays out all places.
pub(super) fn fill<'a>(field: &'a Field<'a>) -> Board<'a> {
    let mut board = Board::begin(field, true);
    for partition in by_choice(&board) {
        fill_partition(&mut board, partition);
    }
    for _ in 0..ROUNDS {
        let before = board.replacements();
        relieve(&mut board, Share::ceil);
        for member in 0..field.members() {
            lift(&mut board, member);
        }
        if board.replacements() == before {
            break;
        }
    }
    board.sort_by_preference();
    board
}

/// The partitions that lack owners, those with the fewest members to choose from first: what is
/// left for the last ones is then still something that their zones allow.
fn by_choice(board: &Board<'_>) -> Vec<usize> {
    let field = board.field;
    let lacking = (0..field.partitions()).filter(|partition| board.wants(*partition));
    let mut lacking: Vec<usize> = lacking.collect();
    lacking.sort_by_cached_key(|partition| {
        let choice = (0..field.members()).filter(|member| board.may_take(*partition, *member));
        (choice.count(), *partition)
    });
    lacking
}

fn fill_partition(board: &mut Board<'_>, partition: usize) {
    let field = board.field;
    let distances: Vec<u64> =
        (0..field.members()).map(|member| field.distance(partition, member)).collect();
    while board.wants(partition) {
        let nearest = |allowed: &dyn Fn(usize) -> bool| {
            let free = (0..field.members()).filter(|member| board.is_free_for(partition, *member));
            free.filter(|member| allowed(*member)).min_by_key(|member| distances[*member])
        };
        let zone_agrees = |member| board.zone_has_room(partition, member);
        // Whoever is put above its bound is relieved later.
        let chosen =
            nearest(&|member| is_below(board, member, Share::floor) && zone_agrees(member))
                .or_else(|| {
                    nearest(&|member| is_below(board, member, Share::ceil) && zone_agrees(member))
                })
                .or_else(|| nearest(&zone_agrees))
                // Zones do not suffice, next to owners that rest: rather who is there already.
                .or_else(|| nearest(&|member| field.present[partition].contains(&member)))
                .or_else(|| nearest(&|_| true));
        // There is always somebody: no more owners are wanted than there are.
        let Some(chosen) = chosen else { return };
        board.put(partition, chosen);
    }
}

/// Brings a member up to its share with the places it is preferred for, out of the hands of those
/// who have more than theirs.
fn lift(board: &mut Board<'_>, to: usize) {
    if !is_below(board, to, Share::floor) {
        return;
    }
    let field = board.field;
    let mut partitions: Vec<usize> = (0..field.partitions()).collect();
    partitions.sort_by_cached_key(|partition| (field.distance(*partition, to), *partition));
    for partition in partitions {
        if !is_below(board, to, Share::floor) {
            return;
        }
        let surplus = |owner: usize| board.load(owner).saturating_sub(board.share(owner).floor());
        let giver = board
            .owners(partition)
            .iter()
            .copied()
            .filter(|owner| !field.rests(*owner) && surplus(*owner) > 0)
            .filter(|owner| board.may_replace(partition, *owner, to))
            .max_by_key(|owner| (surplus(*owner), Reverse(*owner)));
        if let Some(giver) = giver {
            board.replace(partition, giver, to);
        }
    }
}
