//! Bounds on what connections hold, over all of them together: replies that wait to be taken,
//! and long requests that are still coming in.
//!
//! Holds: what is charged is given back, however the connection ends. Only what is long, or what
//! a client does not take at once, is charged, so the common case touches nothing shared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most bytes of replies that may wait in the whole server. A client whose replies do not
/// fit any more is disconnected.
pub(crate) const MAX_OUTPUT_BYTES: u64 = 1 << 30;

/// The most bytes of unfinished long requests in the whole server. A client whose request does
/// not fit any more is disconnected.
pub(crate) const MAX_INPUT_BYTES: u64 = 1 << 30;

/// What a connection may hold either way without being charged.
pub(crate) const UNCHARGED_BYTES: usize = 64 << 10;

/// A bound on bytes, shared.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    pub(crate) const fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Takes `bytes`, to be given back when the answer is dropped; `None` if they do not fit.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let bytes = bytes as u64;
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Charge { budget: Arc::clone(self), bytes })
    }

    /// Takes `bytes` in place of what is `held`, nothing as long as they are few.
    ///
    /// # Errors
    /// They do not fit; `held` is given back.
    pub(crate) fn recharge(
        self: &Arc<Self>,
        held: &mut Option<Charge>,
        bytes: usize,
    ) -> Result<(), Full> {
        if held.as_ref().map_or(0, |charge| charge.bytes) == bytes as u64 {
            return Ok(());
        }
        *held = None;
        if bytes > UNCHARGED_BYTES {
            *held = Some(self.charge(bytes).ok_or(Full)?);
        }
        Ok(())
    }

    /// Bytes taken at present.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// A [`Budget`] has no room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Bytes taken from a [`Budget`].
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_dropped_fits_again() {
        let budget = Arc::new(Budget::new(100));
        let first = budget.charge(60).expect("it fits");
        assert!(budget.charge(41).is_none());
        let second = budget.charge(40).expect("it fits exactly");
        assert_eq!(budget.used(), 100);
        drop(first);
        assert_eq!(budget.used(), 40);
        assert!(budget.charge(60).is_some());
        drop(second);
        assert_eq!(budget.used(), 0);
        assert!(budget.charge(usize::MAX).is_none());
    }

    #[test]
    fn little_is_not_charged_and_growth_replaces_what_was() {
        let budget = Arc::new(Budget::new(1 << 20));
        let mut held = None;
        assert_eq!(budget.recharge(&mut held, UNCHARGED_BYTES), Ok(()));
        assert_eq!(budget.used(), 0);
        for bytes in [100 << 10, 1 << 20] {
            assert_eq!(budget.recharge(&mut held, bytes), Ok(()));
            assert_eq!(budget.used(), bytes as u64);
        }
        assert_eq!(budget.recharge(&mut held, (1 << 20) + 1), Err(Full));
        assert_eq!(budget.used(), 0);
    }
}
