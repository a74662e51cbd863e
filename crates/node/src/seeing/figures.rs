//! What repair has done, as numbers with names.

use crate::repair::RepairCounts;
use std::sync::atomic::Ordering;

/// A count of what repair has done since the node started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairFigure {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
}

macro_rules! repair_figures {
    ($( $field:ident $help:literal; )+) => {
        /// Every count of repair.
        pub const REPAIR_FIGURES: &[RepairFigure] =
            &[$( RepairFigure { name: stringify!($field), help: $help } ),+];

        pub(super) fn repair_figures(counts: &RepairCounts) -> [u64; REPAIR_FIGURES.len()] {
            [$( counts.$field.load(Ordering::Relaxed) ),+]
        }
    };
}

repair_figures! {
    hints_kept "Hints kept, those in the place of older ones among them.";
    hints_restored "Hints found on the disk at the start.";
    hints_delivered "Messages that an owner took a hint from.";
    hints_superseded "Hints whose owner had something newer already.";
    hints_failed "Deliveries of hints that came to nothing and are tried again.";
    hints_below_floor "Hints dropped because the target's floor had passed them.";
    hints_no_room "Records not kept as hints because there was no room.";
    hints_void "Hints dropped because that life of their keyspace was over.";
    hints_unwritten "Hints that could not be written to the disk: a restart loses them.";
    sync_passes "Times that all partitions this node leads were compared.";
    sync_slots "Slots compared with one other owner each.";
    sync_differing "Slots looked into because their digests were not the same everywhere.";
    sync_pulled "Records taken from other owners.";
    sync_pushed "Records that other owners took from here.";
    sync_failures "Comparisons that were broken off.";
    purge_rounds "Rounds of purge that were begun.";
    purge_failures "Rounds of purge that were broken off.";
    purge_put_off "Partitions passed over by purge since an owner could not be asked.";
    purged "Dead records dropped everywhere.";
    intake_slots "Slots in which a copy of this node has proven itself.";
    intake_records "Records handed to copies coming in.";
    intake_failures "Questions of copies coming in that were not answered.";
    leaving_pushed "Records that copies going out handed to the new owners.";
}
