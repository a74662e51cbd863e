//! The node's clock: `core::clock` driven by the system's time, without a lock.
//!
//! Holds: stamps strictly rise, across restarts too, because none reaches the ceiling that was
//! made durable before. The ceiling is raised ahead of time, by the sweep or the coordinator; a
//! stamp that would reach it raises it itself.
//!
//! A clock that has just restarted stands at its ceiling. Alone that does not matter, for it has
//! nobody to differ from. Among others it stamps nothing while it is further ahead of time than the
//! skew that is allowed; so among others the ceiling is laid one second ahead instead of ten, never
//! further than a second beyond what may be stamped, and a node that restarts stamps within a
//! second. It is laid down to there when the first of the others come.

use parking_lot::Mutex;
use shoal_core::NodeId;
use shoal_core::Version;
use shoal_core::clock::{
    Bounds, CLUSTER_CEILING_STEP_MS, Ceiling, ClockError, MAX_SKEW_MS, NO_SKEW_BOUND, Stamp,
};
use shoal_core::replica::Now;
use shoal_core::version::Millis;
use shoal_storage::directory::Ceiling as Kept;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::refusal::{Code, Refusal};

/// Where a node's time comes from: the system's clock, or a test's hand.
#[derive(Clone)]
pub struct TimeSource(Arc<dyn Fn() -> Millis + Send + Sync>);

impl TimeSource {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
        })
    }

    /// Whatever `now` says, in milliseconds since the Unix epoch.
    pub fn new(now: impl Fn() -> Millis + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time that it is, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> Millis {
        (self.0)()
    }
}

impl std::fmt::Debug for TimeSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TimeSource")
    }
}

/// Stamps writes.
pub(crate) struct NodeClock {
    time: TimeSource,
    last: AtomicU64,
    ceiling: AtomicU64,
    told: AtomicU64,
    /// Whether there are others whose clocks differ.
    among_others: AtomicBool,
    /// Whether a stamp was given since the ceiling was last looked at.
    stamped: AtomicBool,
    node: NodeId,
    kept: Mutex<Kept>,
}

impl NodeClock {
    /// The clock of `node`, which starts where the ceiling on record ends.
    pub(crate) fn new(node: NodeId, kept: Kept, time: TimeSource) -> Self {
        let ceiling = Ceiling(kept.value());
        Self {
            time,
            last: AtomicU64::new(ceiling.restart().0),
            ceiling: AtomicU64::new(ceiling.0),
            told: AtomicU64::new(0),
            among_others: AtomicBool::new(false),
            stamped: AtomicBool::new(false),
            node,
            kept: Mutex::new(kept),
        }
    }

    pub(crate) const fn node(&self) -> NodeId {
        self.node
    }

    /// From now on there are others whose clocks differ: skew is bounded, and so is how far the
    /// ceiling is ahead. A node that starts as one of several says so before it first raises the
    /// ceiling.
    pub(crate) fn among_others(&self) {
        self.among_others.store(true, Ordering::Release);
    }

    /// The first of the others have come: a ceiling that was laid for a node alone is laid down to
    /// where it would be among others. Waits for the disk.
    pub(crate) fn lower(&self) -> Result<(), Refusal> {
        self.among_others();
        let mut kept = self.kept.lock();
        let ceiling = Ceiling(self.ceiling.load(Ordering::Acquire));
        let (last, physical) = (Stamp(self.last.load(Ordering::Relaxed)), self.now_ms());
        if let Some(lower) = ceiling.lower(last, physical, CLUSTER_CEILING_STEP_MS) {
            // Stamps heed it first. One that is being given by the higher one is of this moment, and
            // far below both.
            self.ceiling.store(lower.0, Ordering::Release);
            kept.lower(lower.0).map_err(|error| Refusal::new(Code::Storage, error.to_string()))?;
        }
        Ok(())
    }

    /// In how many milliseconds this clock may stamp among others: zero, but for a moment after a
    /// restart, and where physical time was set back.
    pub(crate) fn stamps_in_ms(&self) -> Millis {
        let (last, physical) = (Stamp(self.last.load(Ordering::Relaxed)), self.now_ms());
        last.wall_ms().saturating_sub(physical.saturating_add(MAX_SKEW_MS))
    }

    /// The time by which expiry is judged, in milliseconds since the Unix epoch: physical time,
    /// but never less than was told before, so that nothing that has expired is seen again.
    pub(crate) fn now_ms(&self) -> Millis {
        let physical = (self.time.0)();
        // Most calls come within a millisecond of another; only one of them has to write.
        let told = self.told.load(Ordering::Relaxed);
        if physical <= told {
            told
        } else {
            self.told.fetch_max(physical, Ordering::Relaxed).max(physical)
        }
    }

    /// A version greater than every one given out before, when it is `physical` by the clock.
    ///
    /// # Errors
    /// [`Code::ClockSkewed`] or the engine's refusal, where the ceiling could not be raised.
    pub(crate) fn stamp(&self, physical: Millis) -> Result<Version, Refusal> {
        loop {
            let last = Stamp(self.last.load(Ordering::Relaxed));
            // A cluster of one has nobody to differ from, so its skew is not bounded.
            let bounds = Bounds {
                ceiling: Ceiling(self.ceiling.load(Ordering::Acquire)),
                max_skew_ms: NO_SKEW_BOUND,
            };
            match bounds.next(last, physical) {
                Ok(next) => {
                    let swap = self.last.compare_exchange_weak(
                        last.0,
                        next.0,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                    if swap.is_ok() {
                        return Ok(next.version(self.node));
                    }
                }
                // Also where others have just come: a bounded one may be in the way for good.
                Err(ClockError::Ceiling { .. }) => self.raise_within(physical, NO_SKEW_BOUND)?,
                Err(error) => return Err(Refusal::new(Code::ClockSkewed, error.to_string())),
            }
        }
    }

    /// A new stamp, by the time that it is now, within the skew that is allowed among several
    /// nodes.
    ///
    /// # Errors
    /// [`ClockError`]; where the ceiling is in the way it was raised in vain.
    pub(crate) fn next(&self) -> Result<Stamp, ClockError> {
        if !self.among_others.load(Ordering::Relaxed) {
            self.among_others();
        }
        if !self.stamped.load(Ordering::Relaxed) {
            self.stamped.store(true, Ordering::Relaxed);
        }
        let physical = self.now_ms();
        loop {
            let last = Stamp(self.last.load(Ordering::Relaxed));
            let bounds = Bounds {
                ceiling: Ceiling(self.ceiling.load(Ordering::Acquire)),
                max_skew_ms: MAX_SKEW_MS,
            };
            match bounds.next(last, physical) {
                Ok(next) => {
                    let (order, failed) = (Ordering::Relaxed, Ordering::Relaxed);
                    if self.last.compare_exchange_weak(last.0, next.0, order, failed).is_ok() {
                        return Ok(next);
                    }
                }
                Err(error @ ClockError::Ceiling { .. }) => {
                    self.raise(physical).map_err(|_| error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Learns from the clock of another node.
    pub(crate) fn hear(&self, remote: Stamp) {
        let physical = self.now_ms();
        let heard = Stamp::observe(Stamp::ZERO, remote, physical, MAX_SKEW_MS);
        self.last.fetch_max(heard.0, Ordering::Relaxed);
    }

    /// The clock as others are told it: never behind physical time, and never further ahead of it
    /// than they may follow. A clock that has just restarted stands at its ceiling.
    pub(crate) fn told(&self) -> Stamp {
        self.told_at(self.now_ms())
    }

    fn told_at(&self, physical: Millis) -> Stamp {
        let last = Stamp(self.last.load(Ordering::Relaxed));
        Stamp::observe(Stamp::start_of(physical), last, physical, MAX_SKEW_MS)
    }

    /// The time as a copy judges by it.
    pub(crate) fn now(&self) -> Now {
        let physical_ms = self.now_ms();
        Now { clock: self.told_at(physical_ms), physical_ms }
    }

    /// Whether stamps were given since this was last asked, and less than half of the ceiling's
    /// step is left.
    pub(crate) fn wants_raising(&self) -> bool {
        let is_asked = self.stamped.swap(false, Ordering::Relaxed);
        is_asked && self.wanted(self.now_ms(), self.max_skew_ms()).is_some()
    }

    fn max_skew_ms(&self) -> Millis {
        let among_others = self.among_others.load(Ordering::Acquire);
        if among_others { MAX_SKEW_MS } else { NO_SKEW_BOUND }
    }

    fn wanted(&self, physical: Millis, max_skew_ms: Millis) -> Option<Ceiling> {
        let ceiling = Ceiling(self.ceiling.load(Ordering::Acquire));
        let bounds = Bounds { ceiling, max_skew_ms };
        bounds.wanted_ceiling(Stamp(self.last.load(Ordering::Relaxed)), physical)
    }

    /// Raises the ceiling if less than half of its step is left. Waits for the disk.
    pub(crate) fn raise(&self, physical: Millis) -> Result<(), Refusal> {
        self.raise_within(physical, self.max_skew_ms())
    }

    fn raise_within(&self, physical: Millis, max_skew_ms: Millis) -> Result<(), Refusal> {
        let mut kept = self.kept.lock();
        if let Some(next) = self.wanted(physical, max_skew_ms) {
            kept.raise(next.0).map_err(|error| Refusal::new(Code::Storage, error.to_string()))?;
            self.ceiling.store(next.0, Ordering::Release);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
