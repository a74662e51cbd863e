//! Probes: names for the rare branches that a simulation must reach.
//!
//! Holds: without the cargo feature `probes` a probe is nothing. With it, each thread counts how
//! often it came by.

/// Notes that the branch of this name was reached.
#[cfg(not(feature = "probes"))]
pub(crate) const fn probe(_: &'static str) {}

#[cfg(feature = "probes")]
mod counted {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        static REACHED: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
    }

    /// Notes that the branch of this name was reached.
    pub(crate) fn probe(name: &'static str) {
        REACHED.with_borrow_mut(|reached| *reached.entry(name).or_default() += 1);
    }

    /// What this thread has reached since it last asked, and how often.
    #[must_use]
    pub fn take() -> BTreeMap<&'static str, u64> {
        REACHED.take()
    }
}

#[cfg(feature = "probes")]
pub(crate) use counted::probe;
#[cfg(feature = "probes")]
pub use counted::take;
