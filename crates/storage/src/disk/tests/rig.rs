//! A disk engine under test, with files and a sorted store that can be made to fail.

use crate::disk::lsm::{Lsm, LsmOptions};
use crate::disk::sorted::{Figures, Fill, Show, Sink, Sorted, SortedError};
use crate::disk::{DiskEngine, DiskOptions};
use crate::engine::{
    Address, Answer, Commit, Durability, Engine, EngineError, Op, Parts, Patience, Policy,
    SpaceOptions, Tally, Upkeep,
};
use crate::files::{File, Files, Open, RealFiles};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A wait that takes longer than this has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Values that begin with `@` and eight bytes are due at the time those say; `gone` stands for a
/// removal.
#[derive(Debug, Default)]
pub(super) struct TestPolicy {
    pub(super) dead: Mutex<BTreeSet<u32>>,
    /// How much later than they say they are due, in milliseconds.
    pub(super) later_ms: AtomicU64,
}

impl Policy for TestPolicy {
    fn is_dead(&self, space: u32) -> bool {
        self.dead.lock().contains(&space)
    }

    fn due(&self, _: u32, value: &[u8]) -> Option<u64> {
        let (time, _) = value.strip_prefix(b"@")?.split_first_chunk()?;
        Some(u64::from_be_bytes(*time) + self.later_ms.load(Ordering::Relaxed))
    }

    fn removes(&self, _: u32, value: &[u8]) -> bool {
        value == b"gone"
    }
}

pub(super) fn due_at(time_ms: u64) -> Vec<u8> {
    [&b"@"[..], &time_ms.to_be_bytes()].concat()
}

/// Real files on a volume that says how much of it is free.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) free: AtomicU64,
}

impl Files for Volume {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        RealFiles.open(path, how)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFiles.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealFiles.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFiles.sync_dir(dir)
    }
    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(self.free.load(Ordering::Relaxed))
    }
}

/// What a sorted store is made to fail with, and when.
#[derive(Debug)]
pub(super) struct Faults {
    /// How many more calls of an ingestion succeed: its beginning, each entry, its end, and once
    /// more after the end, when everything is done but nobody was told. Negative: all.
    pub(super) left: AtomicI64,
    /// Whether the calls after the one that failed fail as well.
    pub(super) keep_failing: AtomicBool,
    pub(super) error: Mutex<SortedError>,
    /// What the next full compactions fail with.
    pub(super) compactions: Mutex<Vec<SortedError>>,
    /// Ingestion calls so far.
    pub(super) calls: AtomicI64,
    /// The key whose value is damaged.
    pub(super) damaged: Mutex<Option<Box<[u8]>>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            left: AtomicI64::new(-1),
            keep_failing: AtomicBool::new(false),
            error: Mutex::new(SortedError::Io("planted".into())),
            compactions: Mutex::default(),
            calls: AtomicI64::new(0),
            damaged: Mutex::default(),
        }
    }
}

impl Faults {
    /// Fails the `n`th call from now on, once.
    pub(super) fn fail_at(&self, n: i64, error: SortedError) {
        *self.error.lock() = error;
        self.left.store(n, Ordering::SeqCst);
    }

    fn call(&self) -> Result<(), SortedError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.left.load(Ordering::SeqCst) < 0 {
            return Ok(());
        }
        let failing = self.left.load(Ordering::SeqCst) == 0;
        if failing && self.keep_failing.load(Ordering::Relaxed)
            || self.left.fetch_sub(1, Ordering::SeqCst) == 0
        {
            return Err(self.error.lock().clone());
        }
        Ok(())
    }
}

struct Faulty {
    inner: Lsm,
    faults: Arc<Faults>,
}

struct FaultySink<'s> {
    inner: &'s mut dyn Sink,
    faults: &'s Faults,
}

impl Sink for FaultySink<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), SortedError> {
        self.faults.call()?;
        self.inner.put(key, value)
    }
    fn remove(&mut self, key: &[u8]) -> Result<(), SortedError> {
        self.faults.call()?;
        self.inner.remove(key)
    }
}

impl Sorted for Faulty {
    fn get(&self, key: &[u8], visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), SortedError> {
        if self.faults.damaged.lock().as_deref() == Some(key) {
            return Err(SortedError::Corrupt { file: "planted".into(), what: "planted".into() });
        }
        self.inner.get(key, visit)
    }
    fn range(&self, from: &[u8], to: &[u8], visit: &mut Show<'_>) -> Result<(), SortedError> {
        self.inner.range(from, to, visit)
    }
    fn ingest(&self, fill: &mut Fill<'_>) -> Result<(), SortedError> {
        self.faults.call()?;
        self.inner.ingest(&mut |sink| {
            fill(&mut FaultySink { inner: sink, faults: &self.faults })?;
            self.faults.call()
        })?;
        self.faults.call()
    }
    fn compact_step(&self, floor: u64) -> Result<bool, SortedError> {
        self.inner.compact_step(floor)
    }
    fn compact_fully(&self, floor: u64) -> Result<(), SortedError> {
        let planted = self.faults.compactions.lock().pop();
        planted.map_or_else(|| self.inner.compact_fully(floor), Err)
    }
    fn merge_bytes(&self) -> u64 {
        self.inner.merge_bytes()
    }
    fn drop_range(&self, from: &[u8], to: &[u8]) -> Result<(), SortedError> {
        self.inner.drop_range(from, to)
    }
    fn interrupt(&self, on: bool) {
        self.inner.interrupt(on);
    }
    fn reopen(&self) -> Result<(), SortedError> {
        self.inner.reopen()
    }
    fn figures(&self) -> Figures {
        self.inner.figures()
    }
}

/// An engine in a folder of its own.
pub(super) struct Rig {
    pub(super) dir: Arc<TempDir>,
    pub(super) options: DiskOptions,
    pub(super) policy: Arc<dyn Policy>,
    pub(super) volume: Arc<Volume>,
    pub(super) faults: Arc<Faults>,
    spaces: Vec<u32>,
    engine: Option<Arc<DiskEngine>>,
}

/// Small enough that a few thousand writes make many checkpoints.
pub(super) fn small() -> DiskOptions {
    DiskOptions {
        memory_limit_bytes: 16 << 20,
        buffer_bytes: Some(256 << 10),
        // One generation, so that reads often have to go to the store.
        kept_bytes: Some(0),
        segment_bytes: 1 << 20,
        log_bytes: 4 << 20,
        min_free_bytes: Some(1 << 20),
        quiet_after_ms: u64::MAX,
        ..DiskOptions::default()
    }
}

impl Rig {
    pub(super) fn new(options: DiskOptions) -> Self {
        Self::with_policy(options, Arc::new(TestPolicy::default()))
    }

    pub(super) fn with_policy(options: DiskOptions, policy: Arc<dyn Policy>) -> Self {
        let mut rig = Self {
            dir: Arc::new(tempfile::tempdir().unwrap()),
            options,
            policy,
            volume: Arc::new(Volume { free: AtomicU64::new(u64::MAX / 4) }),
            faults: Arc::default(),
            spaces: Vec::new(),
            engine: None,
        };
        rig.start().unwrap();
        rig
    }

    /// Opens the engine, and its spaces.
    pub(super) fn start(&mut self) -> Result<(), EngineError> {
        let lsm = LsmOptions { cache_bytes: 4 << 20, table_bytes: 4 << 20 };
        let store = Lsm::open(&self.dir.path().join("sorted"), &lsm, Arc::clone(&self.policy))?;
        let store = Faulty { inner: store, faults: Arc::clone(&self.faults) };
        let files = Arc::clone(&self.volume) as Arc<dyn Files>;
        let policy = Arc::clone(&self.policy);
        let dir = self.dir.path();
        let engine = DiskEngine::open_on(files, dir, &self.options, policy, Box::new(store))?;
        for space in &self.spaces {
            engine.open_space(*space, space_options())?;
        }
        self.engine = Some(Arc::new(engine));
        Ok(())
    }

    pub(super) fn engine(&self) -> Arc<DiskEngine> {
        Arc::clone(self.engine.as_ref().expect("the engine is open"))
    }

    pub(super) fn open_space(&mut self, space: u32) {
        self.engine().open_space(space, space_options()).unwrap();
        self.spaces.push(space);
    }

    /// Drops the engine without closing it.
    pub(super) fn crash(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.abandon();
        }
    }

    /// Crashes and opens again.
    pub(super) fn restart(&mut self) {
        self.crash();
        self.start().unwrap();
    }

    /// Crashes and opens again, but for one space.
    pub(super) fn restart_without(&mut self, space: u32) {
        self.spaces.retain(|other| *other != space);
        self.restart();
    }

    /// Closes and opens again.
    pub(super) fn reopen(&mut self) {
        self.engine().close().unwrap();
        self.restart();
    }

    pub(super) fn put(&self, space: u32, slot: u16, key: &[u8], value: &[u8], keys: i64) -> Commit {
        self.submit(space, slot, key, Some(value), keys).unwrap()
    }

    pub(super) fn remove(&self, space: u32, slot: u16, key: &[u8]) -> Commit {
        self.submit(space, slot, key, None, -1).unwrap()
    }

    pub(super) fn submit(
        &self,
        space: u32,
        slot: u16,
        key: &[u8],
        value: Option<&[u8]>,
        keys: i64,
    ) -> Result<Commit, EngineError> {
        let put = value.map(|body| Parts { head: b"", body });
        let at = Address { space, slot, key };
        self.engine().submit(&[Op { at, put, tally: Tally { keys, expiring: 0 } }])
    }

    pub(super) fn settle(&self, commit: Commit) {
        settle(&self.engine(), commit).unwrap();
    }

    pub(super) fn read(&self, space: u32, slot: u16, key: &[u8]) -> Option<Vec<u8>> {
        self.try_read(space, slot, key).unwrap()
    }

    pub(super) fn try_read(
        &self,
        space: u32,
        slot: u16,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, EngineError> {
        let mut found = None;
        let at = Address { space, slot, key };
        let answer = self.engine().read(at, Patience::Block, &mut |value| {
            found = value.map(<[u8]>::to_vec);
        })?;
        assert!(matches!(answer, Answer::Given(_)), "a read that may block answers");
        Ok(found)
    }

    pub(super) fn scan(&self, space: u32, slot: u16) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let scanned = self.engine().scan(space, slot, None, usize::MAX, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            true
        });
        scanned.unwrap();
        found
    }

    pub(super) fn due(&self, now_ms: u64) -> Vec<(u32, u16, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let seen = self.engine().due(now_ms, 7, &mut |at, _| {
                found.push((at.space, at.slot, at.key.to_vec()));
            });
            if seen.unwrap() == 0 {
                return found;
            }
        }
    }

    /// Waits until a condition holds, looking whenever the engine signals a change.
    pub(super) fn until(&self, what: &str, mut holds: impl FnMut(&DiskEngine) -> bool) {
        let engine = self.engine();
        let begun = Instant::now();
        while !holds(&engine) {
            assert!(begun.elapsed() < PATIENCE, "{what}");
            let core = engine.core();
            let mut work = core.work.lock();
            core.changed.wait_for(&mut work, Duration::from_millis(20));
        }
    }

    /// How many entries the sorted store has between two bounds.
    pub(super) fn stored(&self, from: &[u8], to: &[u8]) -> usize {
        let mut count = 0;
        let walked = self.engine().core().store.range(from, to, &mut |_, _| {
            count += 1;
            true
        });
        walked.unwrap();
        count
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.crash();
    }
}

fn space_options() -> SpaceOptions {
    SpaceOptions { partitions: 256, durability: Durability::Always, max_memory: None, evict: false }
}

struct Bell(std::thread::Thread);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(super) fn settle(engine: &DiskEngine, commit: Commit) -> Result<(), EngineError> {
    let waker = Waker::from(Arc::new(Bell(std::thread::current())));
    let begun = Instant::now();
    loop {
        match engine.settle(commit, &waker) {
            Poll::Ready(settled) => return settled,
            Poll::Pending => std::thread::park_timeout(PATIENCE),
        }
        assert!(begun.elapsed() < PATIENCE, "a commit did not settle");
    }
}
