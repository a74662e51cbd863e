//! How many more changes of owners may begin.
//!
//! Holds: a change takes one place of the whole and one of each node that has to copy. Changes that
//! cannot go on as they are take none, or they could block each other for ever: those that wait
//! for a node that is down, or to be replaced, or for a loss to be accepted.

use super::Limits;
use crate::ids::NodeId;
use std::collections::BTreeMap;

/// What is under way, against its bounds.
#[derive(Clone, Debug)]
pub(super) struct Room {
    limits: Limits,
    moves: usize,
    receiving: BTreeMap<NodeId, usize>,
}

impl Room {
    pub(super) const fn new(limits: Limits) -> Self {
        Self { limits, moves: 0, receiving: BTreeMap::new() }
    }

    /// Whether nothing more fits.
    pub(super) fn is_full(&self) -> bool {
        self.moves >= self.limits.moves.get()
    }

    /// Whether a change fits that these have to copy for.
    pub(super) fn fits(&self, receivers: &[NodeId]) -> bool {
        let most = self.limits.moves_per_node.get();
        let has_room = |node| self.receiving.get(node).is_none_or(|moves| *moves < most);
        !self.is_full() && receivers.iter().all(has_room)
    }

    /// Notes a change that is under way, or begins.
    pub(super) fn take(&mut self, receivers: &[NodeId]) {
        self.moves += 1;
        for node in receivers {
            *self.receiving.entry(*node).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    #[test]
    fn a_node_and_the_whole_have_bounds_of_their_own() {
        let of = |number| NonZeroUsize::new(number).expect("not zero");
        let limits = Limits { moves_per_node: of(2), moves: of(3), ..Limits::default() };
        let mut room = Room::new(limits);
        let (one, other) = (NodeId(1), NodeId(2));
        room.take(&[one]);
        room.take(&[one, other]);
        assert!(!room.fits(&[one]) && !room.fits(&[other, one]));
        assert!(room.fits(&[other]) && room.fits(&[]));
        room.take(&[]);
        assert!(room.is_full() && !room.fits(&[other]) && !room.fits(&[]));
    }
}
