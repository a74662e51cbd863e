//! What the log's callers and its two threads share.
//!
//! Holds: the locks are taken in this order: committer, desk, waiters; each of them, but for the
//! committer's, is held only for moments and never while a file is touched.

use super::commit::Committer;
use super::error::LogError;
use super::format::{ENTRY, HEAD, padded};
use super::pace::{Pace, Waiting};
use super::recover::Recovered;
use super::room::{Admission, Room};
use super::segment::{Maker, OVERHEAD, Sealed, Segment};
use super::waiters::Waiters;
use super::{LogOptions, MAX_ENTRY};
use crate::engine::Durability;
use crate::files::Files;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Instant;

/// Whether the threads are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// No.
    No,
    /// Once everything is written that waits. Nothing new is taken.
    Drained,
    /// At once.
    Now,
}

/// Where appenders leave their entries for the commit thread.
pub(super) struct Desk {
    /// The next frame: room for its head, then entries.
    pub(super) buffer: Vec<u8>,
    /// What is in the buffer.
    pub(super) waiting: Waiting,
    /// The position of the next entry.
    pub(super) end: u64,
    /// Where the entries will go.
    pub(super) room: Room,
    /// Segments that nothing was written to yet.
    pub(super) spares: VecDeque<Segment>,
    /// Sealed segments, oldest first.
    pub(super) kept: VecDeque<Sealed>,
    /// Sealed segments that nobody needs, oldest first, all of them older than those kept.
    pub(super) disposable: VecDeque<Sealed>,
    /// The length of the segment being written.
    pub(super) active_len: u64,
    /// The number of the next segment to be made.
    pub(super) next_number: u64,
    /// Where salts come from.
    pub(super) salts: fastrand::Rng,
    /// How many appenders wait for room.
    pub(super) blocked: u32,
    /// The commit thread sleeps and has to be woken.
    pub(super) resting: bool,
    /// How many committers the commit thread sleeps for; 0 where it does not.
    pub(super) enough: u32,
    /// Whether the threads are to end.
    pub(super) stop: Stop,
}

impl Desk {
    /// Whether an entry of `bytes` may be put down.
    pub(super) fn admit(&self, bytes: u64, most_pending: u64) -> Admission {
        let grown = self.grown(bytes);
        let empty = self.waiting.entries == 0;
        if !empty && grown > most_pending {
            return Admission::Later;
        }
        self.room.admit(grown, empty)
    }

    /// The frame's length with one more entry of `bytes`.
    pub(super) fn grown(&self, bytes: u64) -> u64 {
        padded(self.buffer.len().max(HEAD) as u64 + u64::from(ENTRY) + bytes)
    }

    /// Puts down an entry that was admitted, and returns its position.
    pub(super) fn put(&mut self, parts: &[&[u8]], len: u32, durability: Durability) -> u64 {
        self.buffer.resize(self.buffer.len().max(HEAD), 0);
        self.buffer.extend_from_slice(&len.to_le_bytes());
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        self.waiting.entries += 1;
        self.waiting.bytes += len + ENTRY;
        match durability {
            Durability::Always => self.waiting.committers += 1,
            Durability::Interval(ms) => {
                let within = self.waiting.within_ms.unwrap_or(ms).min(ms);
                self.waiting.within_ms = Some(within);
            }
            Durability::Os => {}
        }
        let position = self.end;
        self.end += 1;
        position
    }

    /// Whether the commit thread has to be woken for what waits now.
    pub(super) fn wakes(&mut self) -> bool {
        let gathered = self.enough > 0 && self.waiting.committers >= self.enough;
        if gathered {
            self.enough = 0;
        }
        std::mem::take(&mut self.resting) || gathered
    }

    /// Lets entries into the first spare segment.
    pub(super) fn offer_spare(&mut self) {
        self.room.next = self.spares.front().map(|spare| spare.len.saturating_sub(OVERHEAD));
    }
}

/// Everything there is of a log but its threads.
pub(super) struct Shared {
    /// The file system.
    pub(super) files: Arc<dyn Files>,
    /// The log's folder.
    pub(super) dir: PathBuf,
    /// How the log is kept.
    pub(super) options: LogOptions,
    /// The log's id.
    pub(super) log_id: u64,
    /// When the log was opened.
    pub(super) started: Instant,
    /// Everything below this position is written.
    pub(super) written: AtomicU64,
    /// Everything below this position is synced.
    pub(super) synced: AtomicU64,
    /// Syncs since the log was opened.
    pub(super) syncs: AtomicU64,
    /// Bytes of frames written since the log was opened.
    pub(super) bytes_written: AtomicU64,
    /// What waits.
    pub(super) desk: Mutex<Desk>,
    /// Wakes the commit thread.
    pub(super) work: Condvar,
    /// Wakes appenders that wait for room.
    pub(super) room: Condvar,
    /// Wakes the housekeeping thread.
    pub(super) chores: Condvar,
    /// What only the commit thread touches.
    pub(super) committer: Mutex<Committer>,
    /// Who waits.
    pub(super) waiters: Mutex<Waiters>,
    /// Why the log stopped, once it has.
    pub(super) poison: OnceLock<String>,
}

impl Shared {
    /// Goes on where the recovery ended.
    pub(super) fn new(
        files: Arc<dyn Files>,
        dir: &Path,
        options: LogOptions,
        salts: fastrand::Rng,
        recovered: Recovered,
    ) -> Self {
        let Recovered { log_id, active, left, spares, kept, disposable, next_number, next, .. } =
            recovered;
        let ordinary = options.segment_bytes - OVERHEAD;
        let room = Room { left, next: None, ordinary, wanted: 0, full: false };
        let mut desk = Desk {
            buffer: Vec::new(),
            waiting: Waiting::default(),
            end: next,
            room,
            spares,
            kept,
            disposable,
            active_len: active.segment.len,
            next_number,
            salts,
            blocked: 0,
            resting: false,
            enough: 0,
            stop: Stop::No,
        };
        desk.offer_spare();
        let pace = Pace::at(next);
        let committer = Committer { active, pace, buffer: Vec::new(), wakers: Vec::new() };
        Self {
            files,
            dir: dir.to_owned(),
            options,
            log_id,
            started: Instant::now(),
            written: AtomicU64::new(next),
            synced: AtomicU64::new(next),
            syncs: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            desk: Mutex::new(desk),
            work: Condvar::new(),
            room: Condvar::new(),
            chores: Condvar::new(),
            committer: Mutex::new(committer),
            waiters: Mutex::default(),
            poison: OnceLock::new(),
        }
    }

    /// The error that everybody gets once the log has stopped.
    pub(super) fn poison(&self) -> Option<LogError> {
        self.poison.get().map(|what| LogError::Poisoned(what.clone()))
    }

    /// Stops the log for good and tells everybody. The first reason counts.
    pub(super) fn set_poison(&self, what: String) {
        if self.poison.set(what).is_err() {
            return;
        }
        // Whoever looked before the poison was there holds the desk until it sleeps.
        drop(self.desk.lock());
        self.work.notify_all();
        self.room.notify_all();
        self.chores.notify_all();
        let mut wakers = Vec::new();
        self.waiters.lock().all(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Below which positions everything is written, and synced.
    pub(super) fn marks(&self) -> (u64, u64) {
        (self.written.load(Ordering::Acquire), self.synced.load(Ordering::Acquire))
    }

    /// How segments are made here.
    pub(super) fn maker(&self) -> Maker<'_> {
        Maker {
            files: &*self.files,
            dir: &self.dir,
            log_id: self.log_id,
            ordinary: self.options.segment_bytes,
        }
    }
}

const _: () = assert!(MAX_ENTRY < u32::MAX / 2, "two of them fit into a frame");
