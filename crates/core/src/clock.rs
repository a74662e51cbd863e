//! The hybrid logical clock: where versions come from.
//!
//! A [`Stamp`] is one `u64`, so that a shell may keep the newest in an atomic and move it with
//! compare-and-set; [`Clock`] is the same for a single owner. Physical time is an argument.
//! Source: Kulkarni, Demirbas et al., "Logical Physical Clocks", 2014.
//!
//! Holds: stamps strictly rise, whatever physical time does, across restarts too, and their
//! counters are even (the odd ones belong to [`Version::successor`]). A counter that runs over
//! moves the wall time on by a millisecond: it never wraps. No stamp's wall time reaches the
//! [`Ceiling`] that is known to be durable.
//!
//! Does not know: what time it is, where a ceiling is kept, who else has a clock.

use crate::ids::NodeId;
use crate::planted::{Bug, planted};
use crate::version::{MAX_WALL_MS, Millis, Version};

/// How far a clock may be ahead of physical time in a cluster before it stops stamping.
pub const MAX_SKEW_MS: Millis = 500;

/// The bound on skew of a node that is alone: there is no one to be ahead of, and a node whose
/// physical clock was set back must not wait until time has caught up.
pub const NO_SKEW_BOUND: Millis = Millis::MAX;

/// How far ahead of the clock a new ceiling is laid at a node that is alone.
pub const CEILING_STEP_MS: Millis = 10_000;

/// The same among others. A clock that has just restarted stands at its ceiling and stamps nothing
/// while that is further ahead of physical time than [`MAX_SKEW_MS`]: with this step, for a second
/// at most.
pub const CLUSTER_CEILING_STEP_MS: Millis = 1_000;

/// A moment of a hybrid logical clock: 48 bits of wall time, 16 bits of counter.
///
/// Ordered as versions are: by wall time, then by counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Before every stamp that is ever given.
    pub const ZERO: Self = Self(0);

    /// The first stamp of a millisecond; a time beyond [`MAX_WALL_MS`] counts as that.
    #[must_use]
    pub const fn start_of(wall_ms: Millis) -> Self {
        let wall_ms = if wall_ms > MAX_WALL_MS { MAX_WALL_MS } else { wall_ms };
        Self(wall_ms << 16)
    }

    /// The wall time, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn wall_ms(self) -> Millis {
        self.0 >> 16
    }

    /// What tells apart the stamps of one millisecond.
    #[must_use]
    pub const fn counter(self) -> u16 {
        (self.0 & 0xFFFF) as u16
    }

    /// The stamp as a version made by `node`.
    #[must_use]
    pub const fn version(self, node: NodeId) -> Version {
        Version { wall_ms: self.wall_ms(), counter: self.counter(), node }
    }

    /// The stamp after `prev`: physical time where that is ahead, else the next even counter,
    /// carried into the wall time where it runs over. Greater than `prev` but at the end of all
    /// 48-bit time, which [`Bounds`] never lets a clock reach.
    #[must_use]
    pub fn next(prev: Self, physical_ms: Millis) -> Self {
        // The counter is the low end of the number, so one addition is both step and carry.
        let step = Self((prev.0 | 1).saturating_add(1) & !1);
        step.max(Self::start_of(physical_ms))
    }

    /// What a clock at `prev` becomes when it hears of `remote`: the later of the two, but never
    /// beyond `max_skew_ms` ahead of physical time on another's word.
    #[must_use]
    pub fn observe(prev: Self, remote: Self, physical_ms: Millis, max_skew_ms: Millis) -> Self {
        let bound = Self::start_of(physical_ms.saturating_add(max_skew_ms));
        prev.max(remote.min(bound))
    }
}

/// What a stamp must stay within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The ceiling that is known to be durable: stamps stay below it.
    pub ceiling: Ceiling,
    /// How far ahead of physical time a stamp may be.
    pub max_skew_ms: Millis,
}

impl Bounds {
    /// The stamp after `prev`, if it may be given. A shell calls it in a compare-and-set loop.
    ///
    /// # Errors
    /// [`ClockError`]; the clock has not moved.
    pub fn next(&self, prev: Stamp, physical_ms: Millis) -> Result<Stamp, ClockError> {
        let stamp = Stamp::next(prev, physical_ms);
        let ahead_ms = stamp.wall_ms().saturating_sub(physical_ms);
        if ahead_ms > self.max_skew_ms {
            return Err(ClockError::Ahead { ahead_ms, max_skew_ms: self.max_skew_ms });
        }
        if stamp.wall_ms() >= self.ceiling.0 {
            return Err(ClockError::Ceiling {
                wall_ms: stamp.wall_ms(),
                ceiling_ms: self.ceiling.0,
            });
        }
        Ok(stamp)
    }

    /// The ceiling to make durable now, if any. It is laid ahead of stamps that may be given, and no
    /// further: however often a clock restarts, its ceiling runs no further ahead of time.
    #[must_use]
    pub fn wanted_ceiling(&self, last: Stamp, physical_ms: Millis) -> Option<Ceiling> {
        let alone = self.max_skew_ms == NO_SKEW_BOUND;
        let step_ms = if alone { CEILING_STEP_MS } else { CLUSTER_CEILING_STEP_MS };
        let furthest = Stamp::start_of(physical_ms.saturating_add(self.max_skew_ms));
        self.ceiling.raise(last.min(furthest), physical_ms, step_ms)
    }
}

/// A wall time that every stamp given so far is below. It is made durable before a stamp may
/// come near it, and a restarted clock begins at it: so no stamp is ever given twice, even when
/// physical time was set back in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ceiling(pub Millis);

impl Ceiling {
    /// The ceiling to make durable now, or `None` while more than half a step is left below the
    /// present one. Ask often (every second will do), and at [`ClockError::Ceiling`].
    #[must_use]
    pub fn raise(self, last: Stamp, physical_ms: Millis, step_ms: Millis) -> Option<Self> {
        let now_ms = last.wall_ms().max(physical_ms);
        let wanted = now_ms.saturating_add(step_ms).min(MAX_WALL_MS);
        let enough = now_ms.saturating_add(step_ms / 2).min(MAX_WALL_MS);
        (self.0 <= enough && wanted > self.0).then_some(Self(wanted))
    }

    /// The ceiling that will do from now on, or `None` where the present one is no higher: that of
    /// a node alone is, once others have come. Nobody may stamp by the present one any more before
    /// the lower one is made durable.
    #[must_use]
    pub fn lower(self, last: Stamp, physical_ms: Millis, step_ms: Millis) -> Option<Self> {
        let enough = last.wall_ms().max(physical_ms).saturating_add(step_ms);
        (enough < self.0).then_some(Self(enough))
    }

    /// Where the clock of a node begins that finds this ceiling on its disk.
    #[must_use]
    pub const fn restart(self) -> Stamp {
        Stamp::start_of(self.0)
    }
}

/// A clock with one owner. One shared between threads keeps a [`Stamp`] in an atomic instead and
/// moves it by [`Bounds::next`].
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    last: Stamp,
    bounds: Bounds,
}

impl Clock {
    /// The clock of a node that found `durable` on its disk (zero on its first start). It gives
    /// no stamp before a ceiling above that is [raised](Self::raise_ceiling).
    #[must_use]
    pub fn restart(durable: Ceiling, max_skew_ms: Millis) -> Self {
        let last = if planted(Bug::CeilingForgotten) { Stamp::ZERO } else { durable.restart() };
        Self { last, bounds: Bounds { ceiling: durable, max_skew_ms } }
    }

    /// The newest stamp given or heard of.
    #[must_use]
    pub const fn last(&self) -> Stamp {
        self.last
    }

    /// The ceiling to make durable now, if any; then tell it to [`Self::raise_ceiling`].
    #[must_use]
    pub fn wanted_ceiling(&self, physical_ms: Millis) -> Option<Ceiling> {
        self.bounds.wanted_ceiling(self.last, physical_ms)
    }

    /// Notes that `durable` is on disk. A lower one than known changes nothing.
    pub fn raise_ceiling(&mut self, durable: Ceiling) {
        self.bounds.ceiling = self.bounds.ceiling.max(durable);
    }

    /// A new stamp, above every earlier one.
    ///
    /// # Errors
    /// [`ClockError`]; the clock has not moved.
    pub fn next(&mut self, physical_ms: Millis) -> Result<Stamp, ClockError> {
        self.last = self.bounds.next(self.last, physical_ms)?;
        Ok(self.last)
    }

    /// Learns from the clock of another node.
    pub fn observe(&mut self, remote: Stamp, physical_ms: Millis) {
        self.last = Stamp::observe(self.last, remote, physical_ms, self.bounds.max_skew_ms);
    }
}

/// Why a clock gives no stamp. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// The clock is further ahead of physical time than the skew that is allowed. A retry helps
    /// once physical time has caught up; another node can stamp meanwhile.
    #[error("the clock is {ahead_ms} ms ahead of physical time, {max_skew_ms} ms are allowed")]
    Ahead {
        /// How far ahead the stamp would have been.
        ahead_ms: Millis,
        /// How far it may be.
        max_skew_ms: Millis,
    },
    /// The stamp would reach the durable ceiling. A retry helps once a higher one is durable.
    #[error("the clock at {wall_ms} ms has reached its durable ceiling of {ceiling_ms} ms")]
    Ceiling {
        /// The wall time that the stamp would have had.
        wall_ms: Millis,
        /// The ceiling.
        ceiling_ms: Millis,
    },
}

#[cfg(test)]
mod tests;
