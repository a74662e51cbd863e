//! What repair has done, and what it is at, for people and metrics.

use parking_lot::Mutex;
use shoal_core::PartitionId;
use shoal_core::ids::Incarnation;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Figures of this node since it started.
#[derive(Debug, Default)]
pub(crate) struct RepairCounts {
    /// Hints that were kept, those in the place of older ones among them.
    pub(crate) hints_kept: AtomicU64,
    /// Hints found on the disk at the start.
    pub(crate) hints_restored: AtomicU64,
    /// Messages that an owner took a hint from.
    pub(crate) hints_delivered: AtomicU64,
    /// Messages whose owner had something newer already.
    pub(crate) hints_superseded: AtomicU64,
    /// Messages that came to nothing and are tried again.
    pub(crate) hints_failed: AtomicU64,
    /// Hints dropped because the target's floor had passed them.
    pub(crate) hints_below_floor: AtomicU64,
    /// Records that were not kept as hints because there was no room.
    pub(crate) hints_no_room: AtomicU64,
    /// Hints dropped because that life of their keyspace was over.
    pub(crate) hints_void: AtomicU64,
    /// Hints that could not be written to the disk: a restart loses them.
    pub(crate) hints_unwritten: AtomicU64,
    /// Times that all partitions this node leads were compared.
    pub(crate) sync_passes: AtomicU64,
    /// Slots compared with one other owner each.
    pub(crate) sync_slots: AtomicU64,
    /// Slots that were looked into, for what is kept of them is not the same everywhere.
    pub(crate) sync_differing: AtomicU64,
    /// Records that were taken from other owners.
    pub(crate) sync_pulled: AtomicU64,
    /// Records that other owners took from here.
    pub(crate) sync_pushed: AtomicU64,
    /// Comparisons that were broken off.
    pub(crate) sync_failures: AtomicU64,
    /// Rounds of purge that were begun.
    pub(crate) purge_rounds: AtomicU64,
    /// Rounds that were broken off.
    pub(crate) purge_failures: AtomicU64,
    /// Partitions that were passed over since an owner could not be asked, or one that left had
    /// not forgotten.
    pub(crate) purge_put_off: AtomicU64,
    /// Records dropped everywhere.
    pub(crate) purged: AtomicU64,
    /// Slots in which a copy of this node has proven itself.
    pub(crate) intake_slots: AtomicU64,
    /// Records that were handed to copies coming in, as often as they were.
    pub(crate) intake_records: AtomicU64,
    /// Questions of copies coming in that were not answered.
    pub(crate) intake_failures: AtomicU64,
    /// Records that copies going out handed to the new owners.
    pub(crate) leaving_pushed: AtomicU64,
    /// What is being taken in.
    taking_in: Mutex<BTreeMap<Which, Progress>>,
}

/// A partition in one life of its keyspace.
type Which = (Incarnation, PartitionId);

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Slots in which it has proven itself.
    pub(crate) done: usize,
    /// Slots of the partition.
    pub(crate) all: usize,
}

/// A copy that comes in; dropped when it is done, or not to be done any more.
pub(super) struct Intaking {
    counts: Arc<RepairCounts>,
    which: Which,
}

impl RepairCounts {
    /// The copies that are coming in now, and how far they have come.
    pub(crate) fn taking_in(&self) -> Vec<(Incarnation, PartitionId, Progress)> {
        let taking_in = self.taking_in.lock();
        taking_in.iter().map(|((keyspace, id), progress)| (*keyspace, *id, *progress)).collect()
    }

    pub(super) fn begin(self: &Arc<Self>, which: Which, all: usize) -> Intaking {
        self.taking_in.lock().insert(which, Progress { done: 0, all });
        Intaking { counts: Arc::clone(self), which }
    }
}

impl Intaking {
    /// One slot more is proven.
    pub(super) fn proven(&self) {
        one_more(&self.counts.intake_slots);
        if let Some(progress) = self.counts.taking_in.lock().get_mut(&self.which) {
            progress.done += 1;
        }
    }
}

impl Drop for Intaking {
    fn drop(&mut self) {
        self.counts.taking_in.lock().remove(&self.which);
    }
}

/// Counts one.
pub(crate) fn one_more(count: &AtomicU64) {
    more(count, 1);
}

/// Counts so many.
pub(crate) fn more(count: &AtomicU64, by: usize) {
    count.fetch_add(by as u64, Ordering::Relaxed);
}
