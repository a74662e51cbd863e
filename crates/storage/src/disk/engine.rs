//! The disk engine as the node sees it.

use super::core::{Core, log_failed};
use super::keys::MAX_SPACE;
use super::lsm::{Lsm, LsmOptions};
use super::options::DiskOptions;
use super::replay;
use super::sorted::Sorted;
use super::workers::Workers;
use crate::engine::{
    Address, Answer, Commit, Engine, EngineError, Op, Patience, Policy, SpaceOptions, Status,
    Tally, Upkeep, Visit,
};
use crate::files::Files;
use parking_lot::Mutex;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Keeps bytes on disk; see the module's text.
pub struct DiskEngine {
    core: Arc<Core>,
    workers: Workers,
    /// How the engine was closed, once it was.
    closed: Mutex<Option<Result<(), EngineError>>>,
}

impl DiskEngine {
    /// Opens the engine whose files are in `dir`, which must be there, making it if it is empty.
    /// Blocks while the log is replayed. Every space has to be opened anew before it is written.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] naming the file, [`EngineError::Io`].
    pub fn open(
        files: Arc<dyn Files>,
        dir: &Path,
        options: &DiskOptions,
        policy: Arc<dyn Policy>,
    ) -> Result<Self, EngineError> {
        let resolved = options.resolve(dir);
        let lsm_options =
            LsmOptions { cache_bytes: resolved.cache_bytes, table_bytes: resolved.table_bytes };
        let store = Lsm::open(&dir.join("sorted"), &lsm_options, Arc::clone(&policy))?;
        Self::open_on(files, dir, options, policy, Box::new(store))
    }

    /// The same on a given sorted store.
    pub(crate) fn open_on(
        files: Arc<dyn Files>,
        dir: &Path,
        options: &DiskOptions,
        policy: Arc<dyn Policy>,
        store: Box<dyn Sorted>,
    ) -> Result<Self, EngineError> {
        let core = replay::open(files, dir, options.resolve(dir), store, policy)?;
        let engine =
            Self { core: Arc::new(core), workers: Workers::default(), closed: Mutex::new(None) };
        engine
            .workers
            .start(&engine.core)
            .map_err(|error| EngineError::Io(format!("starting a thread: {error}")))?;
        Ok(engine)
    }

    /// Whether nothing that was answered before the opening can be missing, whatever durability
    /// its space has: the engine was closed cleanly, or is new. If not, only what was asked to be
    /// synced before its answer is certain to be there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.core.is_whole
    }

    /// Ends the threads as a crash would, also where somebody still holds the engine.
    #[cfg(test)]
    pub(crate) fn abandon(&self) {
        self.workers.stop(&self.core);
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }
}

impl Drop for DiskEngine {
    /// Ends the threads. Without a [`Upkeep::close`] before, this is like a crash: what is
    /// settled is kept, and opening replays the log.
    fn drop(&mut self) {
        self.workers.stop(&self.core);
    }
}

impl Engine for DiskEngine {
    fn read(
        &self,
        at: Address<'_>,
        patience: Patience,
        visit: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<Answer, EngineError> {
        self.core.read(at, patience, visit)
    }

    fn scan(
        &self,
        space: u32,
        slot: u16,
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut Visit<'_>,
    ) -> Result<Commit, EngineError> {
        self.core.scan(space, slot, after, limit, visit)
    }

    fn page(
        &self,
        space: u32,
        slot: u16,
        position: u64,
        count: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(Option<u64>, Commit), EngineError> {
        self.core.page(space, slot, position, count, visit)
    }

    fn submit(&self, ops: &[Op<'_>]) -> Result<Commit, EngineError> {
        self.core.submit(ops)
    }

    fn foresee(&self, at: &[Address<'_>]) {
        self.core.foresee(at);
    }

    fn settle(&self, commit: Commit, waker: &Waker) -> Poll<Result<(), EngineError>> {
        if commit == Commit::DONE {
            return Poll::Ready(Ok(()));
        }
        self.core.log.settle(commit, waker).map_err(log_failed)
    }

    fn tally(&self, space: u32, slots: Range<u16>) -> Tally {
        self.core.spaces.get(space).map_or_else(Tally::default, |space| space.sum(slots))
    }

    fn due(
        &self,
        now_ms: u64,
        limit: usize,
        visit: &mut dyn FnMut(Address<'_>, &[u8]),
    ) -> Result<usize, EngineError> {
        self.core.due(now_ms, limit, visit)
    }
}

impl Upkeep for DiskEngine {
    fn open_space(&self, space: u32, options: SpaceOptions) -> Result<(), EngineError> {
        if let Some(error) = self.core.broken() {
            return Err(error);
        }
        if space > MAX_SPACE || !self.core.spaces.open(space, options) {
            return Err(EngineError::Io(format!("space {space} can not be used")));
        }
        Ok(())
    }

    fn retire(&self, space: u32) {
        self.core.spaces.retire(space);
        let mut work = self.core.work.lock();
        if space <= MAX_SPACE {
            work.retired.push(space);
        }
        self.core.changed.notify_all();
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.core.log.sync().map_err(log_failed)
    }

    fn compact(&self) -> Result<(), EngineError> {
        let core = &self.core;
        core.checkpoint()?;
        let mut work = core.work.lock();
        work.compactions_asked += 1;
        let ticket = work.compactions_asked;
        core.changed.notify_all();
        while work.compactions_done < ticket {
            if work.stopping {
                return Err(EngineError::Io("the engine was closed".into()));
            }
            core.changed.wait(&mut work);
        }
        work.compaction_result.clone()
    }

    fn status(&self) -> Status {
        let core = &self.core;
        let figures = core.store.figures();
        let log = core.log.status();
        let generations = core.generations.load();
        let buffered: usize = generations.newest_first().map(|buffer| buffer.bytes()).sum();
        let kept: usize = generations.kept.iter().map(|buffer| buffer.bytes()).sum();
        drop(generations);
        let broken = core.broken().or(log.poisoned.map(log_failed));
        Status {
            memory_bytes: (buffered + kept) as u64 + figures.memory,
            disk_bytes: figures.bytes + log.bytes,
            evicted: 0,
            syncs: log.syncs,
            log_bytes: log.appended_bytes,
            buffered_bytes: buffered as u64,
            checkpoints: core.work.lock().checkpoints,
            refusing: broken.or_else(|| core.free_space.refusal()),
        }
    }

    /// What the buffer holds of the space, and of the store's bytes the share that is the
    /// space's share of all keys.
    fn space_bytes(&self, space: u32) -> u64 {
        let core = &self.core;
        let (keys, all) = core.spaces.share_of(space);
        let share =
            u128::from(core.store.figures().bytes) * u128::from(keys) / u128::from(all.max(1));
        let generations = core.generations.load();
        let buffered: usize =
            generations.newest_first().map(|buffer| buffer.space_bytes(space)).sum();
        buffered as u64 + u64::try_from(share).unwrap_or(u64::MAX)
    }

    fn close(&self) -> Result<(), EngineError> {
        let mut closed = self.closed.lock();
        if let Some(how) = closed.clone() {
            return how;
        }
        // A full disk does not keep the engine from closing: the log has everything.
        let written = match self.core.free_space.refusal() {
            Some(_) => self.sync(),
            None => self.core.checkpoint(),
        };
        self.workers.stop(&self.core);
        let how = written.and(self.core.log.close().map_err(log_failed));
        *closed = Some(how.clone());
        how
    }
}
