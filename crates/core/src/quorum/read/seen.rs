//! What owners have said of a key: what they hold, and what they may have evicted.

use super::{Effects, Read, State};
use crate::clock::Stamp;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::quorum::{Ask, Effect, Level, Member};
use crate::record::{OwnedRecord, Rank};
use crate::replica::Floor;
use crate::version::Version;

/// What one owner has said.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) rank: Option<Rank>,
    pub(super) record: Option<OwnedRecord>,
    pub(super) floor: Floor,
    /// Up to where it has evicted.
    pub(super) mark: Version,
    pub(super) clock: Stamp,
    /// Whether it said itself what it holds.
    pub(super) told: bool,
    /// Whether it has taken the newest record since, or something newer.
    pub(super) repaired: bool,
}

impl Seen {
    /// Whether it has the newest record, or where that is a tombstone is as if it had: its mark
    /// keeps out everything that is older.
    pub(super) fn has(&self, newest: &Rank) -> bool {
        let as_good = newest.tombstone || planted(Bug::MarkedHolds);
        self.rank == Some(*newest) || (as_good && self.is_marked(newest))
    }

    /// Whether it may have held this newest value, or something newer, and evicted it.
    pub(super) fn has_evicted(&self, newest: &Rank) -> bool {
        !newest.tombstone && self.is_marked(newest)
    }

    fn is_marked(&self, newest: &Rank) -> bool {
        let is_value = self.rank.is_some_and(|rank| !rank.tombstone);
        !is_value && self.mark != Version::ZERO && newest.version <= self.mark
    }
}

impl Read {
    /// Notes a later answer of an owner, which may not have answered before.
    pub(super) fn note(&mut self, from: Member, clock: Stamp, repaired: bool) {
        let known = self.seen.of(from).cloned();
        let mut seen = known.unwrap_or(Seen {
            rank: None,
            record: None,
            floor: Floor::ZERO,
            mark: Version::ZERO,
            clock,
            told: false,
            repaired: false,
        });
        seen.clock = seen.clock.max(clock);
        seen.repaired |= repaired && matches!(self.state, State::Repairing(..));
        self.seen.insert(from, seen);
    }

    /// An owner that was asked besides, since others were slow, says what it holds only now that the
    /// newest record is known: it helps as if it had been asked to repair that, or to raise its clock.
    pub(super) fn hear_late(&mut self, from: Member, late: Seen, out: &mut Effects) {
        if self.seen.has(from.node) || self.seen.has_failed(from.node) {
            return;
        }
        match &self.state {
            State::Raising(_) => self.raise(from, late.clock, out),
            State::Repairing(record, floor) => {
                probe("read: an owner said late what it holds");
                let newest = record.borrow().rank();
                if late.rank > Some(newest) {
                    let proven = self.proves_newer(from);
                    return self.note(from, late.clock, proven);
                }
                if !late.has(&newest) && !late.has_evicted(&newest) {
                    let ask = self.repair(record.clone(), *floor);
                    out.push(Effect::Send { to: from.node, round: self.round, ask });
                }
                self.seen.insert(from, late);
            }
            _ => {}
        }
    }

    /// Notes the clock of an owner that answered something else while clocks are raised, and asks it
    /// for that too where it is behind.
    pub(super) fn raise(&mut self, from: Member, clock: Stamp, out: &mut Effects) {
        let State::Raising(record) = &self.state else { return };
        if record.expires_at.is_some_and(|at| clock.wall_ms() < at) {
            out.push(Effect::Send { to: from.node, round: self.round, ask: Ask::Clock });
        }
        self.note(from, clock, false);
    }

    /// Notes that an owner, whose mark covers it, did not take the record that was to be repaired: a
    /// dead one is as good as there.
    pub(super) fn note_mark(&mut self, from: Member, clock: Stamp, mark: Version) {
        let State::Repairing(record, _) = &self.state else { return };
        let is_dead = record.borrow().is_tombstone();
        self.note(from, clock, is_dead);
        if let Some(seen) = self.seen.of_mut(from) {
            // A value that it told of is gone.
            seen.rank = seen.rank.filter(|rank| rank.tombstone);
            seen.mark = seen.mark.max(mark);
        }
    }

    /// Whether something newer than the record under repair, which `from` has now, came while the
    /// read went on, so that the read need not know of it. That is so where it answered before.
    /// Where it did not, the newer record may be an old one that others have evicted.
    pub(super) fn proves_newer(&self, from: Member) -> bool {
        let State::Repairing(record, _) = &self.state else { return true };
        let newest = record.borrow().rank();
        let told = self.seen.of(from).is_some_and(|seen| seen.told);
        told || !self.seen.iter().any(|(_, seen)| seen.has_evicted(&newest))
    }

    /// Whether some have evicted the newest value, or something newer, and those of the others that
    /// answered are too few to hold it.
    pub(super) fn is_missed(&self, newest: &Rank) -> bool {
        let evicted = |seen: &Seen| seen.has_evicted(newest) && !seen.repaired;
        let may_hold = |member| self.seen.of(member).is_some_and(|seen| !evicted(seen));
        self.seen.iter().any(|(_, seen)| evicted(seen))
            && !self.owners.reach(Level::Quorum, may_hold)
    }

    pub(super) fn missed(&mut self, out: &mut Effects) {
        probe("read: missed what some have evicted");
        self.found(None, out);
    }
}
