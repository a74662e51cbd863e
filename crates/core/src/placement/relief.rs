//! Relief: members that are above their bound hand places over to members that are below theirs.
//!
//! Holds: partitions keep their number of owners, and no zone gets more of them than it may; who
//! cannot be relieved, because zones are against it, stays above.

use super::board::Board;
use super::share::Share;
use std::collections::VecDeque;

/// The most places of a member, made from its share.
pub(super) type Bound = fn(Share) -> u64;

/// Whether a member takes places and has fewer than `bound` of them.
pub(super) fn is_below(board: &Board<'_>, member: usize, bound: Bound) -> bool {
    !board.field.rests(member) && board.load(member) < bound(board.share(member))
}

fn is_above(board: &Board<'_>, member: usize, bound: Bound) -> bool {
    !board.field.rests(member) && board.load(member) > bound(board.share(member))
}

/// Brings those above their bound down to it, as far as zones let it be: best by giving to those
/// below their share, else to those below their bound, else along a chain of members.
pub(super) fn relieve(board: &mut Board<'_>, bound: Bound) {
    let members = board.field.members();
    for member in 0..members {
        hand_over(board, member, bound, Share::floor);
        hand_over(board, member, bound, bound);
    }
    // Nobody whom a search has reached in vain can be relieved by another one.
    let mut hopeless = vec![false; members];
    for member in 0..members {
        let over = board.load(member).saturating_sub(bound(board.share(member)));
        for _ in 0..over {
            if is_above(board, member, bound) && !hopeless[member] {
                pass_along(board, member, bound, &mut hopeless);
            }
        }
    }
}

/// Gives what `from` has above its bound to members that are below `until`, the best match first.
fn hand_over(board: &mut Board<'_>, from: usize, bound: Bound, until: Bound) {
    if !is_above(board, from, bound) {
        return;
    }
    let members = 0..board.field.members();
    let takers: Vec<usize> = members.filter(|to| is_below(board, *to, until)).collect();
    let mut matches = Vec::new();
    for partition in board.held_by(from) {
        for to in takers.iter().filter(|to| board.may_replace(partition, from, **to)) {
            matches.push((board.field.distance(partition, *to), partition, *to));
        }
    }
    matches.sort_unstable();
    for (_, partition, to) in matches {
        if !is_above(board, from, bound) {
            return;
        }
        if is_below(board, to, until) && board.may_replace(partition, from, to) {
            board.replace(partition, from, to);
        }
    }
}

/// Relieves `from` of one place by the shortest chain of members, each of which gives one place to
/// the next, to one that is below its bound.
fn pass_along(board: &mut Board<'_>, from: usize, bound: Bound, hopeless: &mut [bool]) {
    let mut reached = vec![None; board.field.members()];
    if let Some(end) = search(board, from, bound, &mut reached, hopeless) {
        walk_back(board, &reached, end);
        return;
    }
    hopeless[from] = true;
    for (member, reached) in reached.iter().enumerate() {
        hopeless[member] |= reached.is_some();
    }
}

/// By whom, and with which partition, a member was reached.
type Link = Option<(usize, usize)>;

/// The nearest member below its bound that a place of `from` may reach; breadth first, each member
/// once.
fn search(
    board: &Board<'_>,
    from: usize,
    bound: Bound,
    reached: &mut [Link],
    hopeless: &[bool],
) -> Option<usize> {
    let mut queue = VecDeque::from([from]);
    while let Some(giver) = queue.pop_front() {
        for partition in board.held_by(giver) {
            for taker in 0..board.field.members() {
                let is_new = taker != from && reached[taker].is_none() && !hopeless[taker];
                if !is_new || !board.may_replace(partition, giver, taker) {
                    continue;
                }
                reached[taker] = Some((giver, partition));
                if is_below(board, taker, bound) {
                    return Some(taker);
                }
                queue.push_back(taker);
            }
        }
    }
    None
}

/// Moves one place along each link of a chain, from its end.
fn walk_back(board: &mut Board<'_>, reached: &[Link], end: usize) {
    let mut taker = end;
    while let Some((giver, partition)) = reached[taker] {
        // Two links may share a partition, whose zones then allow the first alone.
        if !board.may_replace(partition, giver, taker) {
            return;
        }
        board.replace(partition, giver, taker);
        taker = giver;
    }
}
