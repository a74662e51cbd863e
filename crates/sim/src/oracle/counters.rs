//! Counters that only read-modify-writes touch: what they end at, beside what was acknowledged.
//!
//! While views of who is up agree, no increment is lost and none is done twice. At a change of
//! executor both can happen; such runs are counted, not failed.

use crate::client::{Entry, Kind, Told};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// How counters fared in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Counters that were executed at one node throughout.
    pub steady: u64,
    /// Counters that were executed at several.
    pub moved: u64,
    /// Of the steady ones, counters or pairs, those that are wrong: must be none.
    pub steady_wrong: u64,
    /// Of the moved ones, those that lost acknowledged increments.
    pub moved_lost: u64,
    /// Of the moved ones, those that counted more than was ever asked.
    pub moved_doubled: u64,
    /// Pairs that were swapped at one node throughout; those that are wrong count as steady ones.
    pub steady_pairs: u64,
    /// Pairs that were swapped at several, or whose owners changed or lost what they had.
    pub moved_pairs: u64,
    /// Of those, the ones that were torn, or lost a swap.
    pub moved_pairs_wrong: u64,
}

pub(crate) fn count(history: &[Entry], evicts: bool) -> Counts {
    #[derive(Default)]
    struct Counter {
        acknowledged: u64,
        open: u64,
        executors: BTreeSet<u32>,
        last: Option<u64>,
    }
    let mut counters: BTreeMap<&Bytes, Counter> = BTreeMap::new();
    for entry in history {
        let counter = counters.entry(entry.request.key()).or_default();
        match (&entry.request.kind, &entry.told) {
            (Kind::Add, told) => {
                counter.executors.insert(entry.coordinator.0);
                match told {
                    Some((_, Told::Written { .. })) => counter.acknowledged += 1,
                    Some((_, Told::Refused)) => {}
                    _ => counter.open += 1,
                }
            }
            (Kind::Read, Some((_, Told::Found { value, .. }))) => {
                let text =
                    value.as_ref().map_or("0".into(), |value| String::from_utf8_lossy(value));
                counter.last = text.parse().ok();
            }
            _ => {}
        }
    }
    let mut counts = Counts::default();
    for counter in counters.values().filter(|counter| !counter.executors.is_empty()) {
        let Some(last) = counter.last else { continue };
        // What was evicted is counted from zero.
        let lost = last < counter.acknowledged && !evicts;
        let doubled = last > counter.acknowledged + counter.open;
        if counter.executors.len() == 1 {
            counts.steady += 1;
            counts.steady_wrong += u64::from(lost || doubled);
        } else {
            counts.moved += 1;
            counts.moved_lost += u64::from(lost);
            counts.moved_doubled += u64::from(doubled);
        }
    }
    counts
}
