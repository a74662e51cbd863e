//! The watch over free space on the volume.
//!
//! Holds: puts are refused before any file can see the disk full, as long as nobody else eats
//! the reserve within one look; and they are taken again as soon as a look finds room.

use crate::engine::EngineError;
use crate::files::Files;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// After how many bytes written a look is taken before its time.
const LOOK_EVERY_BYTES: u64 = 8 << 20;

/// The watch. A look costs one system call.
pub(crate) struct FreeSpace {
    files: Arc<dyn Files>,
    dir: PathBuf,
    reserve: u64,
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
            free: AtomicU64::new(u64::MAX),
            low: AtomicBool::new(false),
            met: Mutex::new(None),
            since_look: AtomicU64::new(0),
        };
        watch.look();
        watch
    }

    /// Looks how much is free. Returns whether there is room.
    pub(crate) fn look(&self) -> bool {
        self.since_look.store(0, Ordering::Relaxed);
        match self.files.free_space(&self.dir) {
            Ok(free) => {
                self.free.store(free, Ordering::Relaxed);
                let low = free < self.reserve || self.met.lock().is_some();
                if low != self.low.swap(low, Ordering::AcqRel) {
                    let reserve = self.reserve;
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

    /// Whether the reserve was free at the last look.
    pub(crate) fn has_room(&self) -> bool {
        self.free.load(Ordering::Relaxed) >= self.reserve
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
            reserve: self.reserve,
        })
    }
}
