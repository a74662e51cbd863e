//! The bound on everything that waits to be sent, over all connections.
//!
//! Holds: what is charged is given back, however the connection ends. Only replies that a client
//! does not take at once are charged, so the common case touches nothing shared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most bytes of replies that may wait in the whole server. A client whose replies do not
/// fit any more is disconnected.
pub(crate) const MAX_OUTPUT_BYTES: u64 = 1 << 30;

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

    /// Bytes taken at present.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

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
}
