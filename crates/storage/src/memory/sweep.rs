//! Finds what has fallen due, without a list of it.
//!
//! Every slot, partition and space knows a time before which nothing in it falls due. A write
//! lowers the three; removing the entry does not raise them, the next visit does. A *round* goes
//! once through everything whose time has come, a bounded number of entries per call, and
//! derives the times anew as it goes. So a quiet engine costs one comparison per space, and an
//! expiry next week costs nothing until then.
//!
//! What was offered counts as due again a second later: if it is still there then, it is offered
//! again.

use crate::engine::{Address, Policy};
use crate::memory::space::{SLOTS, Space};

use std::sync::Arc;

/// How long the caller has to remove what it was offered, in milliseconds.
const OFFER_AGAIN_MS: u64 = 1_000;

/// Where a round stands: the next space, slot and position.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    space: u32,
    slot: usize,
    position: u64,
    /// Whether `space` has been entered, and not left.
    inside: bool,
}

/// What one call is to do.
pub(super) struct Sweep<'a> {
    /// The seed of the hashes.
    pub(super) seed: u64,
    /// What values mean.
    pub(super) policy: &'a dyn Policy,
    /// The time.
    pub(super) now_ms: u64,
    /// How many entries to look at, about.
    pub(super) limit: usize,
}

impl Sweep<'_> {
    /// Goes on with the round until about `limit` entries were looked at or the round is at its
    /// end; returns how many were looked at. `spaces` are in ascending order.
    pub(super) fn run(
        &self,
        round: &mut Round,
        spaces: &[Arc<Space>],
        visit: &mut dyn FnMut(Address<'_>, &[u8]),
    ) -> usize {
        let mut looked = 0;
        let first = spaces.partition_point(|space| space.id < round.space);
        for space in &spaces[first..] {
            if !round.inside || space.id != round.space {
                if space.earliest() > self.now_ms {
                    continue;
                }
                space.begin_sweep();
                *round = Round { space: space.id, inside: true, ..Round::default() };
            }
            if !self.run_space(round, space, &mut looked, visit) {
                return looked;
            }
            round.inside = false;
        }
        *round = Round::default();
        looked
    }

    /// Returns whether the space's end was reached.
    fn run_space(
        &self,
        round: &mut Round,
        space: &Space,
        looked: &mut usize,
        visit: &mut dyn FnMut(Address<'_>, &[u8]),
    ) -> bool {
        let width = space.width();
        while round.slot < SLOTS {
            // A partition is entered only to look at it: entering forgets its due times, so one
            // entered and left again would be passed over by the next call, and ever after.
            if *looked >= self.limit.max(1) {
                return false;
            }
            let mut partition = space.lock(round.slot / width);
            if round.slot.is_multiple_of(width) && round.position == 0 {
                if partition.earliest() > self.now_ms {
                    space.lower_earliest(partition.earliest());
                    round.slot += width;
                    continue;
                }
                partition.begin_sweep();
            }
            let end = (round.slot / width + 1) * width;
            while round.slot < end {
                let room = self.limit.max(1).saturating_sub(*looked);
                if room == 0 {
                    return false;
                }
                let slot = u16::try_from(round.slot).expect("slots are below 16,384");
                let bounds = (self.now_ms, room);
                let next = partition.sweep(
                    self.seed,
                    round.slot % width,
                    round.position,
                    bounds,
                    |key, value| {
                        *looked += 1;
                        let due = self.policy.due(space.id, value)?;
                        if due > self.now_ms {
                            return Some(due);
                        }
                        visit(Address { space: space.id, slot, key }, value);
                        Some(self.now_ms.saturating_add(OFFER_AGAIN_MS))
                    },
                );
                round.position = next.unwrap_or(0);
                if next.is_none() {
                    round.slot += 1;
                }
            }
            space.lower_earliest(partition.earliest());
        }
        true
    }
}
