//! The watch over free space on the volume.
//!
//! Holds: puts are refused before any file can see the disk full, as long as nobody else eats
//! the reserve within one look; and they are taken again as soon as a look finds room. What was
//! taken already, and what makes room, never has to do with less because of what comes later: the
//! room that they need is owed to them on top of the reserve.

use crate::engine::EngineError;
use crate::files::Files;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// After how many bytes written a look is taken before its time.
const LOOK_EVERY_BYTES: u64 = 8 << 20;

/// What checkpoints write beside their values, at least.
const TABLE_MARGIN: u64 = 1 << 20;

/// What is kept for the log of removals: two of its longest ordinary segments.
const LOG_ROOM: u64 = 128 << 20;

/// Room that is spoken for, whatever comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    /// Bytes that were taken and are in the log and in memory only: they become tables before the
    /// log lets go of them.
    pub(crate) tables: u64,
    /// Bytes that the next step of a compaction may have to write before it lets go of what it
    /// merges. Without this room nothing that was removed would ever make any.
    pub(crate) merge: u64,
}

impl Owed {
    /// How many bytes must be free for puts to be taken. Without a reserve files are let meet the
    /// end of the disk.
    pub(crate) const fn bound(self, reserve: u64) -> u64 {
        if reserve == 0 {
            0
        } else {
            reserve.saturating_add(self.tables).saturating_add(self.merge)
        }
    }

    /// Below how many free bytes a compaction gives up. It may use most of the reserve, as it
    /// gives back more than it takes; what is left is for the log of removals, half of it at most.
    pub(crate) const fn floor(self, reserve: u64) -> u64 {
        let half = reserve / 2;
        let kept = if half < LOG_ROOM { half } else { LOG_ROOM };
        if reserve == 0 { 0 } else { kept.saturating_add(self.tables) }
    }
}

/// The watch. A look costs one system call.
pub(crate) struct FreeSpace {
    files: Arc<dyn Files>,
    dir: PathBuf,
    reserve: u64,
    owed_tables: AtomicU64,
    owed_merge: AtomicU64,
    /// Bytes free at the last look.
    free: AtomicU64,
    low: AtomicBool,
    /// Set where a write found the disk full although the looks did not.
    met: Mutex<Option<String>>,
    since_look: AtomicU64,
}

impl FreeSpace {
    pub(crate) fn new(files: Arc<dyn Files>, dir: &Path, reserve: u64) -> Self {
        let watch = Self {
            files,
            dir: dir.to_owned(),
            reserve,
            owed_tables: AtomicU64::new(0),
            owed_merge: AtomicU64::new(0),
            free: AtomicU64::new(u64::MAX),
            low: AtomicBool::new(false),
            met: Mutex::new(None),
            since_look: AtomicU64::new(0),
        };
        watch.look();
        watch
    }

    /// Notes what is owed from now on.
    pub(crate) fn owe(&self, owed: Owed) {
        self.owed_tables.store(owed.tables, Ordering::Relaxed);
        self.owed_merge.store(owed.merge, Ordering::Relaxed);
    }

    fn owed(&self) -> Owed {
        Owed {
            tables: self.owed_tables.load(Ordering::Relaxed),
            merge: self.owed_merge.load(Ordering::Relaxed),
        }
    }

    /// Below how many free bytes a compaction gives up; 0 for never.
    pub(crate) fn floor(&self) -> u64 {
        self.owed().floor(self.reserve)
    }

    /// Looks how much is free. Returns whether there is room.
    pub(crate) fn look(&self) -> bool {
        self.since_look.store(0, Ordering::Relaxed);
        match self.files.free_space(&self.dir) {
            Ok(free) => {
                self.free.store(free, Ordering::Relaxed);
                let reserve = self.owed().bound(self.reserve);
                let low = free < reserve || self.met.lock().is_some();
                if low != self.low.swap(low, Ordering::AcqRel) {
                    if low {
                        tracing::warn!(free, reserve, "the disk is nearly full: puts are refused");
                    } else {
                        tracing::info!(free, "there is room on the disk again: puts are taken");
                    }
                }
                !low
            }
            Err(error) => {
                tracing::warn!(%error, "free space could not be looked up");
                !self.low.load(Ordering::Acquire)
            }
        }
    }

    /// Notes that so many bytes were written. Returns whether it is time for a look.
    pub(crate) fn wrote(&self, bytes: usize) -> bool {
        let before = self.since_look.fetch_add(bytes as u64, Ordering::Relaxed);
        before < LOOK_EVERY_BYTES && before + bytes as u64 >= LOOK_EVERY_BYTES
    }

    /// Notes that a write met a full disk; or that one went through again.
    pub(crate) fn met_full(&self, why: Option<String>) {
        *self.met.lock() = why;
        self.look();
    }

    /// Whether a write met a full disk and none went through since.
    pub(crate) fn has_met_full(&self) -> bool {
        self.met.lock().is_some()
    }

    /// Whether a table of so many bytes had room at the last look, out of the reserve where need
    /// be: when it is written, the log gives back as much.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        let needed = bytes.saturating_add(bytes / 8).saturating_add(TABLE_MARGIN);
        self.free.load(Ordering::Relaxed) >= needed
    }

    /// Whether so many bytes could be written now, out of the reserve where need be, and then
    /// some. For work that gives back what it takes.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        self.look();
        self.free.load(Ordering::Relaxed) >= bytes.saturating_add(LOOK_EVERY_BYTES)
    }

    /// Why puts are refused, if they are.
    pub(crate) fn refusal(&self) -> Option<EngineError> {
        self.low.load(Ordering::Acquire).then(|| EngineError::DiskFull {
            free: self.free.load(Ordering::Relaxed),
            reserve: self.owed().bound(self.reserve),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_and_what_makes_room_is_owed_room_beyond_the_reserve() {
        for (reserve, tables, merge, bound, floor) in [
            (100, 0, 0, 100, 50),
            (100, 30, 0, 130, 80),
            (100, 30, 70, 200, 80),
            (100, u64::MAX, 70, u64::MAX, u64::MAX),
            (0, 30, 70, 0, 0),
        ] {
            let owed = Owed { tables, merge };
            assert_eq!(owed.bound(reserve), bound, "{owed:?}");
            assert_eq!(owed.floor(reserve), floor, "{owed:?}");
            // When puts are refused a step of a compaction still has room.
            assert!(reserve == 0 || bound == u64::MAX || bound - floor >= merge, "{owed:?}");
        }
    }
}
