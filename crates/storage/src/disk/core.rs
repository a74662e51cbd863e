//! What the disk engine's threads and its callers share.
//!
//! Holds: the generations are exchanged only under the gate's write lock, and a batch goes into
//! log and buffer under its read lock; so at the exchange the log's end is a position below which
//! every entry is in the sealed generation and from which on every entry is in the active one.
//! Whoever reads loads the generations first and asks the sorted store afterwards: what has left
//! the former is in the latter, or hidden by something newer that the former has.

use super::buffer::{Buffer, Entry};
use super::hash::hash_of;
use super::log::{Log, LogError};
use super::options::Resolved;
use super::paging::PageMemo;
use super::sorted::{Sorted, SortedError};
use super::space::{FreeSpace, Owed};
use super::spaces::Spaces;
use crate::engine::{EngineError, Policy};
use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// The generations of the write buffer.
#[derive(Debug)]
pub(crate) struct Generations {
    /// Takes the writes.
    pub(crate) active: Arc<Buffer>,
    /// Being written into the sorted store.
    pub(crate) sealed: Option<Arc<Buffer>>,
    /// What the last checkpoints wrote, the newest first, kept so that what was written lately is
    /// found without the store. Only the oldest may be let go: what hides an older entry stays
    /// as long as that.
    pub(crate) kept: Vec<Arc<Buffer>>,
}

impl Generations {
    /// Those that the store does not have, the newer one first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Arc<Buffer>> {
        std::iter::once(&self.active).chain(self.sealed.as_ref())
    }

    /// Whether nothing more may be put in at `bound` bytes a generation: both are full, or the
    /// active one holds what both may, because whoever would seal it has not come to it yet.
    pub(crate) fn are_full_at(&self, bound: usize) -> bool {
        let active = self.active.bytes();
        let sealed = self.sealed.as_ref().map(|sealed| sealed.bytes());
        active + sealed.unwrap_or(0) >= 2 * bound || sealed.is_some() && active >= bound
    }

    /// The newest entry under a stored key, and what `visit` makes of it. `None` where only the
    /// sorted store can know.
    pub(crate) fn find<R>(
        &self,
        slot: u16,
        key: &[u8],
        visit: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        let hash = hash_of(key);
        let mut visit = Some(visit);
        self.newest_first().chain(&self.kept).find_map(|generation| {
            generation.read(slot, hash, key, |entry| visit.take().map(|visit| visit(entry)))?
        })
    }
}

/// Entries of the stored due index that are out of date.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    /// Found since the last generation was sealed; they go with the next.
    pub(crate) fresh: BTreeSet<Box<[u8]>>,
    /// Going with the generation that is sealed.
    pub(crate) leaving: Arc<BTreeSet<Box<[u8]>>>,
}

/// An attempt to make room by merging everything.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Relief {
    /// When it was made, and after how many checkpoints.
    pub(crate) last: Option<(Instant, u64)>,
    /// How many in a row found no room for what is left.
    pub(crate) failures: u32,
}

/// What the background threads are asked and have done.
#[derive(Debug)]
pub(crate) struct Work {
    /// The engine is ending.
    pub(crate) stopping: bool,
    /// How many checkpoints were asked for.
    pub(crate) asked: u64,
    /// The highest of those that was served.
    pub(crate) served: u64,
    /// Checkpoints done since the start.
    pub(crate) checkpoints: u64,
    /// When the last of them was done.
    pub(crate) checkpointed: Option<Instant>,
    /// The last attempt to make room by merging everything.
    pub(crate) relief: Relief,
    /// A full compaction is running that nobody asked for.
    pub(crate) tidying: bool,
    /// Spaces that were retired and are not yet swept.
    pub(crate) retired: Vec<u32>,
    /// Full compactions asked for.
    pub(crate) compactions_asked: u64,
    /// The highest of those that was served.
    pub(crate) compactions_done: u64,
    /// Why compaction does not go on, if so.
    pub(crate) compaction_failed: Option<SortedError>,
    /// How the last one that was asked for went.
    pub(crate) compaction_result: Result<(), EngineError>,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            stopping: false,
            asked: 0,
            served: 0,
            checkpoints: 0,
            checkpointed: None,
            relief: Relief::default(),
            tidying: false,
            retired: Vec::new(),
            compactions_asked: 0,
            compactions_done: 0,
            compaction_failed: None,
            compaction_result: Ok(()),
        }
    }
}

/// The shared state.
pub(crate) struct Core {
    pub(crate) options: Resolved,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) log: Arc<Log>,
    pub(crate) store: Box<dyn Sorted>,
    pub(crate) spaces: Spaces,
    /// Shared by submits, exclusive to the exchange of generations.
    pub(crate) gate: RwLock<()>,
    pub(crate) generations: ArcSwap<Generations>,
    /// Generations that nobody needs, until nobody looks at them any more: to free one takes
    /// long, and is not for a reader to do.
    pub(crate) leaving: Mutex<Vec<Arc<Buffer>>>,
    /// Entries of the stored due index that are out of date.
    pub(crate) stale: Mutex<Stale>,
    /// Where the present pass over the due index has come.
    pub(crate) due_cursor: Mutex<Option<Box<[u8]>>>,
    /// Whether a damaged value was met on the way through the due index, and the log told.
    pub(crate) due_damage_told: AtomicBool,
    pub(crate) pages: Mutex<PageMemo>,
    pub(crate) work: Mutex<Work>,
    /// Signalled whenever `work` or the generations change.
    pub(crate) changed: Condvar,
    pub(crate) free_space: FreeSpace,
    /// Whether nothing that was answered can be missing, whatever durability was asked for: it
    /// was closed cleanly, or is new.
    pub(crate) is_whole: bool,
    /// Whether a read may go to the sorted store on the caller's thread.
    pub(crate) inline: AtomicBool,
    /// Set once the engine can not take writes any more.
    broken: RwLock<Option<EngineError>>,
    is_broken: AtomicBool,
    started: Instant,
    /// When the last write came, in milliseconds since the start.
    last_write_ms: AtomicU64,
    /// Whether space was retired since the last full compaction.
    pub(crate) dead_bytes: AtomicBool,
}

/// What [`Core::new`] is made of.
pub(crate) struct Parts {
    pub(crate) options: Resolved,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) log: Arc<Log>,
    pub(crate) store: Box<dyn Sorted>,
    pub(crate) spaces: Spaces,
    pub(crate) active: Arc<Buffer>,
    pub(crate) free_space: FreeSpace,
    pub(crate) is_whole: bool,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        let generations = Generations { active: parts.active, sealed: None, kept: Vec::new() };
        let inline = parts.store.figures().bytes <= parts.options.inline_below_bytes;
        Self {
            options: parts.options,
            policy: parts.policy,
            log: parts.log,
            store: parts.store,
            spaces: parts.spaces,
            gate: RwLock::new(()),
            generations: ArcSwap::from_pointee(generations),
            leaving: Mutex::default(),
            stale: Mutex::default(),
            due_cursor: Mutex::new(None),
            due_damage_told: AtomicBool::new(false),
            pages: Mutex::default(),
            work: Mutex::default(),
            changed: Condvar::new(),
            free_space: parts.free_space,
            is_whole: parts.is_whole,
            inline: AtomicBool::new(inline),
            broken: RwLock::new(None),
            is_broken: AtomicBool::new(false),
            started: Instant::now(),
            last_write_ms: AtomicU64::new(0),
            // What died before the start may still be there.
            dead_bytes: AtomicBool::new(true),
        }
    }

    /// Why the engine takes no writes any more, if so.
    pub(crate) fn broken(&self) -> Option<EngineError> {
        if self.is_broken.load(Ordering::Acquire) { self.broken.read().clone() } else { None }
    }

    /// Takes no writes from now on; the first reason stays.
    pub(crate) fn break_with(&self, error: EngineError) {
        let mut broken = self.broken.write();
        if broken.is_none() {
            tracing::error!(%error, "the disk engine takes no writes until it is restarted");
            *broken = Some(error);
        }
        drop(broken);
        self.is_broken.store(true, Ordering::Release);
        let _work = self.work.lock();
        self.changed.notify_all();
    }

    /// Notes that a write came.
    pub(crate) fn touch(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_write_ms.store(now, Ordering::Relaxed);
    }

    /// Whether no write came for a while.
    pub(crate) fn is_quiet(&self) -> bool {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        now.saturating_sub(self.last_write_ms.load(Ordering::Relaxed))
            >= self.options.quiet_after_ms
    }

    /// Asks for a checkpoint of everything written so far and waits for it.
    ///
    /// # Errors
    /// Why it can not be made.
    pub(crate) fn checkpoint(&self) -> Result<(), EngineError> {
        let mut work = self.work.lock();
        work.asked += 1;
        let ticket = work.asked;
        self.changed.notify_all();
        while work.served < ticket {
            // A nearly full disk is no reason: the reserve is there for this. A full one is.
            let full = self.free_space.refusal().filter(|_| self.free_space.has_met_full());
            if let Some(error) = self.broken().or(full) {
                return Err(error);
            }
            if work.stopping {
                return Err(EngineError::Io("the engine was closed".into()));
            }
            self.changed.wait(&mut work);
        }
        Ok(())
    }

    /// Decides anew whether reads may go to the store on the caller's thread.
    pub(crate) fn look_at_size(&self) {
        let inline = self.store.figures().bytes <= self.options.inline_below_bytes;
        self.inline.store(inline, Ordering::Relaxed);
    }

    /// Looks how much is free on the disk, and how much of it is owed. Returns whether there is
    /// room for more.
    pub(crate) fn look_at_room(&self) -> bool {
        let generations = self.generations.load();
        let tables: usize = generations.newest_first().map(|buffer| buffer.bytes()).sum();
        drop(generations);
        self.free_space.owe(Owed { tables: tables as u64, merge: self.store.merge_bytes() });
        self.free_space.look()
    }

    /// Wakes the background threads.
    pub(crate) fn notify(&self) {
        let _work = self.work.lock();
        self.changed.notify_all();
    }
}

/// What the log said, in the engine's words. Whatever stops the log stops the engine.
pub(crate) fn log_failed(error: LogError) -> EngineError {
    match error {
        LogError::Poisoned(why) => EngineError::Poisoned(why),
        LogError::DiskFull { needed } => EngineError::DiskFull { free: 0, reserve: needed },
        LogError::Damaged { file, offset, what } => {
            EngineError::Corrupt { file: format!("log, {file}, byte {offset}"), what }
        }
        other => EngineError::Io(other.to_string()),
    }
}
