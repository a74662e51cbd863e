//! Counters of what a node did since it started.
//!
//! Holds: they only grow, and are read without stopping anyone. Connections add theirs once per
//! run, so that counting costs no shared cache line per request.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start of the process.
#[derive(Debug, Default)]
pub struct Stats {
    /// Reads that found a value.
    pub hits: AtomicU64,
    /// Reads that found none.
    pub misses: AtomicU64,
    /// Keys removed because their time had passed.
    pub expired: AtomicU64,
    /// Updates that changed something.
    pub writes: AtomicU64,
    /// Requests refused, for whatever reason.
    pub refused: AtomicU64,
    /// Damaged records met.
    pub corrupt: AtomicU64,
}

/// The part of the counts that one run of a connection adds up for itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) writes: u64,
    pub(crate) refused: u64,
}

impl Stats {
    pub(crate) fn add(&self, run: Tallies) {
        for (counter, amount) in [
            (&self.hits, run.hits),
            (&self.misses, run.misses),
            (&self.writes, run.writes),
            (&self.refused, run.refused),
        ] {
            if amount > 0 {
                counter.fetch_add(amount, Ordering::Relaxed);
            }
        }
    }
}
