//! Whether a replica takes a record, given the one that it holds.
//!
//! Holds: fresh writes alone are checked for skew. Everything that moves records accepted before
//! goes through the order of ranks and the floors, and nothing else.

use super::{Floor, Limits, Now, Put, Replica};
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::quorum::{Base, Origin, Refusal};
use crate::record::Record;
use crate::version::Version;

/// What becomes of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is stored.
    Take,
    /// It is here already.
    Same,
    /// Something newer is here, of this version.
    Newer(Version),
    /// What it was computed from is not the newest any more.
    Conflict,
    /// It may be a purged record come back.
    BelowFloor,
    /// It, or something newer than what it was computed from, may be an evicted record come back.
    BelowMark(Version),
    /// It is not taken at all.
    Refuse(Refusal),
}

impl Replica {
    /// Judges a record against what is stored under its key, and against `mark`, up to which
    /// something may have been evicted there.
    pub(super) fn admit(&self, put: &Put<'_>, origin: Origin, now: Now, mark: Version) -> Verdict {
        let Put { record, rank, before: held, .. } = put;
        if !self.takes() {
            return Verdict::Refuse(Refusal::NotCounting);
        }
        if breaks_horizon(record, &self.limits) {
            return Verdict::Refuse(Refusal::Skewed);
        }
        if *held == Some(*rank) {
            return Verdict::Same;
        }
        match origin {
            Origin::Fresh { base, .. } => self.admit_fresh(put, base, now, mark),
            Origin::Update { base } => match held {
                Some(held) if base.is_below(held) && !planted(Bug::NoBaseCheck) => {
                    Verdict::Conflict
                }
                _ if hides_newer(record, base, mark) => {
                    probe("evict: what an update was computed from may have been passed by");
                    Verdict::BelowMark(mark)
                }
                _ if self.floor.covers(record.written) => Verdict::BelowFloor,
                _ => Verdict::Take,
            },
            Origin::Kept { floor } => self.admit_kept(put, floor, mark),
        }
    }

    fn admit_fresh(
        &self,
        put: &Put<'_>,
        base: Option<Version>,
        now: Now,
        mark: Version,
    ) -> Verdict {
        let known = put.before.map(|held| held.version).max(base);
        if is_skewed(put.rank.version, known, now, &self.limits) {
            return Verdict::Refuse(Refusal::Skewed);
        }
        match by_rank(put) {
            Verdict::Take if covers(mark, &put.record) => {
                probe("evict: a write lay below the mark");
                let floor = Some(self.floor).filter(|floor| floor.covers(put.rank.written));
                Verdict::Newer(floor.map_or(mark, |floor| mark.max(floor.last_version())))
            }
            Verdict::Take if self.floor.covers(put.rank.written) => Verdict::BelowFloor,
            verdict => verdict,
        }
    }

    fn admit_kept(&self, put: &Put<'_>, carried: Floor, mark: Version) -> Verdict {
        match by_rank(put) {
            Verdict::Newer(_) if planted(Bug::CopyReplaces) => Verdict::Take,
            Verdict::Take if planted(Bug::FloorNotCompared) => Verdict::Take,
            Verdict::Take if covers(mark, &put.record) => {
                probe("evict: a kept record lay below the mark");
                Verdict::BelowMark(mark)
            }
            Verdict::Take if self.floor.covers(put.rank.written) && carried < self.floor => {
                probe("replica: a kept record lay below the floor");
                Verdict::BelowFloor
            }
            verdict => verdict,
        }
    }
}

fn by_rank(put: &Put<'_>) -> Verdict {
    match put.before {
        Some(held) if held.version == put.rank.version && planted(Bug::TiesNotDecided) => {
            Verdict::Newer(held.version)
        }
        Some(held) if held > put.rank => Verdict::Newer(held.version),
        _ => Verdict::Take,
    }
}

/// Whether a record like this may have been evicted, or one that came after it.
fn covers(mark: Version, record: &Record<'_>) -> bool {
    mark != Version::ZERO && record.version <= mark
}

/// Whether the result of a read-modify-write, or something newer than the value that it was
/// computed from, may have been evicted. What was computed from no value need not know of values
/// that are gone.
fn hides_newer(record: &Record<'_>, base: Base, mark: Version) -> bool {
    let passed_by = matches!(base, Base::Record(base) if base.version < mark);
    covers(mark, record) || passed_by
}

/// Whether `version` is too far ahead of the replica's time, and not just the next one after a
/// version that is known to exist.
fn is_skewed(version: Version, known: Option<Version>, now: Now, limits: &Limits) -> bool {
    let time_ms = now.clock.wall_ms().max(now.physical_ms);
    let ahead = version.wall_ms > time_ms.saturating_add(limits.max_skew_ms);
    ahead && known.is_none_or(|known| version > known.successor(version.node))
}

/// Whether an event's time lies further before its writing than the keyspace remembers.
fn breaks_horizon(record: &Record<'_>, limits: &Limits) -> bool {
    record.version != record.written
        && record.version.wall_ms.saturating_add(limits.event_horizon_ms) < record.written.wall_ms
}
