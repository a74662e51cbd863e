//! Whose keys a walk over a keyspace or a count looks at.
//!
//! Holds: of all nodes of a cluster exactly one leads a slot, as far as they agree on who is up, so
//! that the counts of what each of them leads add up to what there is.

use crate::access::Access;
use crate::keyspace::Keyspace;
use shoal_core::slot::SLOT_COUNT;
use std::ops::{Range, RangeInclusive};

/// Whose keys are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All that there are.
    #[default]
    Cluster,
    /// Those of the slots that this node leads, as clients are told that ask each node for its
    /// own part.
    Led,
    /// Those that this node holds a copy of.
    Held,
}

/// Slots to be looked at: ascending runs that do not touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slots(Vec<RangeInclusive<u16>>);

impl Slots {
    /// Every slot.
    pub(crate) fn all() -> Self {
        Self(vec![0..=SLOT_COUNT - 1])
    }

    /// A run of them.
    pub(crate) fn run(slots: Range<u16>) -> Self {
        Self(if slots.is_empty() { Vec::new() } else { vec![slots.start..=slots.end - 1] })
    }

    /// Whether these are all slots.
    pub(crate) fn are_all(&self) -> bool {
        self.0.first() == Some(&(0..=SLOT_COUNT - 1))
    }

    /// The first of them from `slot` on, `SLOT_COUNT` where there is none.
    pub(crate) fn from(&self, slot: u16) -> u16 {
        let run = self.0.iter().find(|run| *run.end() >= slot);
        run.map_or(SLOT_COUNT, |run| slot.max(*run.start()))
    }

    /// Whether `slot` is one of them.
    pub(crate) fn contain(&self, slot: u16) -> bool {
        self.from(slot) == slot && slot < SLOT_COUNT
    }

    /// The runs.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Range<u16>> {
        self.0.iter().map(|run| *run.start()..*run.end() + 1)
    }
}

impl Access<'_> {
    /// The slots of `keyspace` that are looked at in this scope.
    pub(crate) fn slots_in(&self, keyspace: &Keyspace, scope: Scope) -> Slots {
        match scope {
            Scope::Cluster | Scope::Held => Slots::all(),
            Scope::Led => {
                let me = self.node.id();
                let leaders = self.node.leaders(&keyspace.definition);
                let led = leaders.into_iter().filter(|(_, leader)| *leader == me);
                Slots(led.map(|(run, _)| run).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_slot_is_found_in_or_behind_a_gap() {
        let slots = Slots(vec![4..=7, 10..=10]);
        for (from, found) in [(0, 4), (4, 4), (6, 6), (8, 10), (10, 10), (11, SLOT_COUNT)] {
            assert_eq!(slots.from(from), found, "from {from}");
            assert_eq!(slots.contain(from), from == found);
        }
        assert!(!slots.are_all() && Slots::all().are_all());
        assert_eq!(Slots(Vec::new()).from(0), SLOT_COUNT);
        assert_eq!(slots.runs().collect::<Vec<_>>(), [4..8, 10..11]);
    }
}
