//! How many bytes of answers all commands of a node may hold together.
//!
//! Holds: what was taken is given back, however a command ends.
//!
//! Does not know: whose bytes they are.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bound is the memory limit divided by this, within the limits below.
const SHARE: u64 = 16;
/// The bound is no lower: the answers to any one command fit, where there is no other.
const LEAST_BYTES: u64 = 80 << 20;
/// The bound is no higher.
const MOST_BYTES: u64 = 1 << 30;

/// A bound on bytes, shared.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// The bound under this memory limit.
    pub(crate) fn under(memory_limit: u64) -> Self {
        Self::new((memory_limit / SHARE).clamp(LEAST_BYTES, MOST_BYTES))
    }

    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Takes `wanted` bytes in place of those that are `held`; whether they fit. If not, nothing
    /// has changed.
    pub(super) fn recharge(&self, held: u64, wanted: u64) -> bool {
        if wanted <= held {
            self.used.fetch_sub(held - wanted, Ordering::Relaxed);
            return true;
        }
        let fits = |used: u64| used.checked_add(wanted - held).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Bytes taken at present.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_changes_nothing_and_what_is_given_back_fits_again() {
        let budget = Budget::new(100);
        assert!(budget.recharge(0, 60));
        assert!(budget.recharge(0, 40));
        assert!(!budget.recharge(60, 61));
        assert_eq!(budget.used(), 100);
        assert!(budget.recharge(60, 0));
        assert!(budget.recharge(40, 100));
        assert!(!budget.recharge(100, u64::MAX));
        assert_eq!(budget.used(), 100);
    }

    #[test]
    fn the_bound_follows_the_memory_limit() {
        let limits = [(64 << 20, 80), (4 << 30, 256), (1 << 40, 1_024)];
        for (memory_limit, mebibytes) in limits {
            assert_eq!(Budget::under(memory_limit).limit >> 20, mebibytes);
        }
    }
}
