//! The sorted store on `lsm-tree`, the tree below fjall.
//!
//! The tree alone, without fjall's journal, memtables and poisoning: our commit log is the
//! authority, so a checkpoint can be one *ingestion*, which writes sorted tables, syncs them, and
//! puts them into the tree with one atomic replacement of its manifest.
//!
//! Holds: nothing is ever written through a memtable, and only ingestions write, so that an
//! ingestion's tables are the newest of their keys. Reads go to the newest version of the tree.
//! While the tree is exchanged no one holds an old one: its tables delete their files by name
//! when they go, and the new tree may have used the name again.

use super::keys;
use super::sorted::{Figures, Fill, Show, Sink, Sorted, SortedError};
use crate::engine::Policy;
use crate::files::{Files, RealFiles};
use lsm_tree::compaction::filter::{Context, Verdict};
use lsm_tree::compaction::{CompactionFilter, Factory, ItemAccessor, Leveled};
use lsm_tree::config::{
    BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy,
};
use lsm_tree::{
    AbstractTree, AnyIngestion, AnyTree, Cache, CompressionType, Config, DescriptorTable, Guard,
    SeqNo, SequenceNumberCounter,
};
use parking_lot::{Mutex, RwLock};
use std::io;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use xxhash_rust::xxh3::xxh3_128;

/// How many tables may lie above the sorted levels before they are merged into them.
const RUNS: u8 = 4;
/// After how many bytes written a compaction looks whether there is room for more.
const LOOK_EVERY_BYTES: u64 = 4 << 20;
/// Files the store keeps open.
const OPEN_FILES: usize = 256;
/// How errors name the store's files.
const TABLES: &str = "sorted store, table";
const MANIFEST: &str = "sorted store, manifest";

/// How the store is set up.
#[derive(Clone, Debug)]
pub(crate) struct LsmOptions {
    /// Bytes of blocks kept in memory.
    pub(crate) cache_bytes: u64,
    /// How large a table becomes.
    pub(crate) table_bytes: u64,
}

/// The store.
pub(crate) struct Lsm {
    dir: PathBuf,
    cache: Arc<Cache>,
    table_bytes: u64,
    filter: Arc<DeadSpaces>,
    /// `None` only while the tree is exchanged, and after that has failed.
    tree: RwLock<Option<Open>>,
    /// Held by whoever compacts or exchanges the tree.
    upkeep: Mutex<()>,
}

#[derive(Clone)]
struct Open {
    tree: AnyTree,
    seqno: SequenceNumberCounter,
}

impl Lsm {
    /// Opens the store in `dir`, making it if the folder is empty or not there.
    pub(crate) fn open(
        dir: &Path,
        options: &LsmOptions,
        policy: Arc<dyn Policy>,
    ) -> Result<Self, SortedError> {
        let store = Self {
            dir: dir.to_owned(),
            cache: Arc::new(Cache::with_capacity_bytes(options.cache_bytes)),
            table_bytes: options.table_bytes,
            filter: Arc::new(DeadSpaces {
                policy,
                interrupted: Arc::default(),
                room: Arc::new(Room::below(dir)),
            }),
            tree: RwLock::new(None),
            upkeep: Mutex::new(()),
        };
        make_folder(dir).map_err(|error| io_failed("making the sorted store's folder", &error))?;
        *store.tree.write() = Some(store.open_tree()?);
        Ok(store)
    }

    fn open_tree(&self) -> Result<Open, SortedError> {
        check_manifest(&self.dir)?;
        remove_leftovers(&self.dir)
            .map_err(|error| io_failed("tidying the sorted store's folder", &error))?;
        let seqno = SequenceNumberCounter::new(1);
        let config = Config::new(&self.dir, seqno.clone(), SequenceNumberCounter::new(1))
            .use_cache(Arc::clone(&self.cache))
            .use_descriptor_table(Some(Arc::new(DescriptorTable::new(OPEN_FILES))))
            .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(
                BloomConstructionPolicy::BitsPerKey(10.0),
            )))
            // Filters and indexes in small pieces, of which only the top is pinned: what is used
            // stays in the cache, and the cache's bound is the bound.
            .filter_block_partitioning_policy(PinningPolicy::all(true))
            .index_block_partitioning_policy(PinningPolicy::all(true))
            .data_block_compression_policy(CompressionPolicy::new([
                CompressionType::None,
                CompressionType::None,
                CompressionType::Lz4,
            ]))
            .with_compaction_filter_factory(Some(Arc::clone(&self.filter) as Arc<dyn Factory>));
        // Damage that passes all checksums can only come from a fault in the store itself; it
        // must not take the node's other keyspaces down.
        let tree = catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|_| corrupt(MANIFEST, "it could not be read"))?
            .map_err(failed)?;
        seqno.fetch_max(tree.get_highest_seqno().map_or(1, |highest| highest + 1));
        Ok(Open { tree, seqno })
    }

    fn with<R>(
        &self,
        work: impl FnOnce(&Open) -> Result<R, SortedError>,
    ) -> Result<R, SortedError> {
        let tree = self.tree.read();
        let open =
            tree.as_ref().ok_or_else(|| SortedError::Io("the sorted store is closed".into()))?;
        work(open)
    }

    /// Lets go of older versions of the tree, and of the files that only they have: nobody reads
    /// the past.
    fn forget_the_past(&self, open: &Open) {
        let watermark = open.seqno.get();
        open.tree
            .get_version_history_lock()
            .maintenance(&self.dir, watermark)
            .unwrap_or_else(|error| tracing::warn!(%error, "an old manifest stays behind"));
    }

    /// Runs a compaction, which is long, without keeping readers' lock.
    fn compacting<R>(
        &self,
        floor: u64,
        work: impl FnOnce(&Open) -> lsm_tree::Result<R>,
    ) -> Result<R, SortedError> {
        let _upkeep = self.upkeep.lock();
        let open = self.with(|open| Ok(open.clone()))?;
        self.filter.room.floor.store(floor, Ordering::Relaxed);
        self.filter.room.written.store(0, Ordering::Relaxed);
        let done = work(&open).map_err(failed);
        self.filter.room.written.store(0, Ordering::Relaxed);
        // What was rewritten or dropped would otherwise keep its files until the next change.
        self.forget_the_past(&open);
        match done {
            Err(_) if self.filter.interrupted.load(Ordering::Acquire) => {
                Err(SortedError::Interrupted)
            }
            done => done,
        }
    }
}

impl Sorted for Lsm {
    fn get(&self, key: &[u8], visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), SortedError> {
        let value = self.with(|open| open.tree.get(key, SeqNo::MAX).map_err(failed))?;
        visit(value.as_deref());
        Ok(())
    }

    fn range(&self, from: &[u8], to: &[u8], visit: &mut Show<'_>) -> Result<(), SortedError> {
        if from >= to {
            return Ok(());
        }
        self.with(|open| {
            for entry in open.tree.range(from..to, SeqNo::MAX, None) {
                let (key, value) = entry.into_inner().map_err(failed)?;
                if !visit(&key, &value) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn ingest(&self, fill: &mut Fill<'_>) -> Result<(), SortedError> {
        self.with(|open| {
            let mut sink = Ingestion { inner: open.tree.ingestion().map_err(failed)?, last: None };
            fill(&mut sink)?;
            sink.inner.finish().map_err(failed)?;
            self.forget_the_past(open);
            Ok(())
        })
    }

    fn compact_step(&self, floor: u64) -> Result<bool, SortedError> {
        let strategy =
            Leveled::default().with_l0_threshold(RUNS).with_table_target_size(self.table_bytes);
        self.compacting(floor, |open| {
            let before = open.tree.table_count();
            let version = open.tree.current_version().id();
            open.tree.compact(Arc::new(strategy), open.seqno.get())?;
            let changed = open.tree.current_version().id() != version;
            tracing::debug!(before, after = open.tree.table_count(), changed, "compaction step");
            Ok(changed)
        })
    }

    fn compact_fully(&self, floor: u64) -> Result<(), SortedError> {
        let table_bytes = self.table_bytes;
        self.compacting(floor, |open| open.tree.major_compact(table_bytes, open.seqno.get()))
    }

    fn merge_bytes(&self) -> u64 {
        let tree = self.tree.read();
        let Some(open) = tree.as_ref() else { return 0 };
        let version = open.tree.current_version();
        let (mut unsorted, mut below) = (0, 0);
        for (depth, level) in version.iter_levels().enumerate() {
            match level.size() {
                size if depth == 0 => unsorted = size,
                size if below == 0 => below = size,
                _ => {}
            }
        }
        // A level that is larger has another put above it, or is merged piece by piece.
        let below = below.min(2 * u64::from(RUNS) * self.table_bytes);
        (unsorted + below).saturating_sub(self.filter.room.written.load(Ordering::Relaxed))
    }

    fn drop_range(&self, from: &[u8], to: &[u8]) -> Result<(), SortedError> {
        self.compacting(0, |open| open.tree.drop_range(from..to))
    }

    fn interrupt(&self, on: bool) {
        self.filter.interrupted.store(on, Ordering::Release);
    }

    fn reopen(&self) -> Result<(), SortedError> {
        let _upkeep = self.upkeep.lock();
        let mut tree = self.tree.write();
        *tree = None;
        *tree = Some(self.open_tree()?);
        Ok(())
    }

    fn figures(&self) -> Figures {
        let cached = self.cache.size();
        let tree = self.tree.read();
        tree.as_ref().map_or_else(Figures::default, |Open { tree, .. }| Figures {
            bytes: tree.disk_space(),
            items: tree.approximate_len() as u64,
            removed: tree.tombstone_count(),
            runs: tree.l0_run_count(),
            memory: cached + (tree.pinned_filter_size() + tree.pinned_block_index_size()) as u64,
        })
    }
}

/// Guards the tree's ingestion, which panics on keys out of order.
struct Ingestion<'t> {
    inner: AnyIngestion<'t>,
    last: Option<Vec<u8>>,
}

impl Ingestion<'_> {
    fn advance(&mut self, key: &[u8]) -> Result<(), SortedError> {
        match &mut self.last {
            Some(last) if last.as_slice() >= key => {
                return Err(SortedError::Io("a checkpoint's keys are out of order".into()));
            }
            Some(last) => {
                last.clear();
                last.extend_from_slice(key);
            }
            None => self.last = Some(key.to_vec()),
        }
        Ok(())
    }
}

impl Sink for Ingestion<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), SortedError> {
        self.advance(key)?;
        self.inner.write(key, value).map_err(failed)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), SortedError> {
        self.advance(key)?;
        self.inner.write_tombstone(key).map_err(failed)
    }
}

/// How far a compaction may fill the disk, and how much it has written.
struct Room {
    dir: PathBuf,
    floor: AtomicU64,
    written: AtomicU64,
}

impl Room {
    fn below(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), floor: AtomicU64::new(0), written: AtomicU64::new(0) }
    }

    /// Notes what was written since the last look.
    fn look(&self, written: u64) -> io::Result<()> {
        self.written.fetch_add(written, Ordering::Relaxed);
        let floor = self.floor.load(Ordering::Relaxed);
        // Where nobody can say how much is free, the end of the disk will.
        if floor > 0 && RealFiles.free_space(&self.dir).is_ok_and(|free| free < floor) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// Drops what belongs to dead spaces whenever a compaction comes past it, and ends a compaction
/// that is not wanted any more or has no room left.
struct DeadSpaces {
    policy: Arc<dyn Policy>,
    interrupted: Arc<AtomicBool>,
    room: Arc<Room>,
}

// The policy is only asked questions; whatever state an unwound call left is the policy's own.
impl RefUnwindSafe for DeadSpaces {}

impl Factory for DeadSpaces {
    fn name(&self) -> &'static str {
        "dead spaces"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(DeadFilter {
            policy: Arc::clone(&self.policy),
            interrupted: Arc::clone(&self.interrupted),
            room: Arc::clone(&self.room),
            unseen: 0,
            asked: None,
        })
    }
}

struct DeadFilter {
    policy: Arc<dyn Policy>,
    interrupted: Arc<AtomicBool>,
    room: Arc<Room>,
    /// Bytes written since the last look for room.
    unseen: u64,
    /// The last space asked about, and the answer: neighbours are mostly of one space.
    asked: Option<(u32, bool)>,
}

impl CompactionFilter for DeadFilter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> lsm_tree::Result<Verdict> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::Interrupted).into());
        }
        // Only what is written anew comes past here, not what that hides.
        self.unseen += (item.key().len() + item.value()?.len()) as u64;
        if self.unseen >= LOOK_EVERY_BYTES {
            self.room.look(std::mem::take(&mut self.unseen))?;
        }
        let Some(space) = keys::space_of(item.key()) else { return Ok(Verdict::Keep) };
        let dead = match self.asked {
            Some((asked, dead)) if asked == space => dead,
            _ => self.policy.is_dead(space),
        };
        self.asked = Some((space, dead));
        // A mark of removal, never a bare drop: that could uncover an older value below.
        Ok(if dead { Verdict::Remove } else { Verdict::Keep })
    }
}

/// Makes the store's folder, and makes it outlive a loss of power.
fn make_folder(dir: &Path) -> io::Result<()> {
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    dir.parent().map_or(Ok(()), |parent| std::fs::File::open(parent)?.sync_all())
}

/// Removes what was being written to replace a file when a process ended.
fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".tmp") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Checks the manifest against the checksum beside its number, which the tree itself does not.
fn check_manifest(dir: &Path) -> Result<(), SortedError> {
    let current = match std::fs::read(dir.join("current")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return check_is_new(dir),
        Err(error) => return Err(io_failed("reading the sorted store's manifest", &error)),
    };
    let damaged = |what| corrupt(MANIFEST, what);
    let (id, rest) =
        current.split_first_chunk().ok_or_else(|| damaged("\"current\" is too short"))?;
    let (sum, rest) =
        rest.split_first_chunk().ok_or_else(|| damaged("\"current\" is too short"))?;
    if rest != [0] {
        return Err(damaged("\"current\" does not end as it should"));
    }
    let name = format!("v{}", u64::from_le_bytes(*id));
    let manifest = match std::fs::read(dir.join(&name)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged("the one that \"current\" names is not there"));
        }
        Err(error) => return Err(io_failed("reading the sorted store's manifest", &error)),
    };
    if xxh3_128(&manifest) == u128::from_le_bytes(*sum) {
        Ok(())
    } else {
        Err(damaged("its checksum does not match"))
    }
}

/// A folder without a manifest is a new store, unless it has tables.
fn check_is_new(dir: &Path) -> Result<(), SortedError> {
    match std::fs::read_dir(dir.join("tables")) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(corrupt(MANIFEST, "\"current\" is missing though there are tables")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_failed("reading the sorted store's manifest", &error)),
    }
}

fn corrupt(file: &str, what: &str) -> SortedError {
    SortedError::Corrupt { file: file.into(), what: what.into() }
}

fn io_failed(doing: &str, error: &io::Error) -> SortedError {
    SortedError::Io(format!("{doing}: {error}"))
}

/// What the tree said, in our words.
fn failed(error: lsm_tree::Error) -> SortedError {
    match error {
        lsm_tree::Error::Io(error) => match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                SortedError::Full(error.to_string())
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound => {
                corrupt(TABLES, &error.to_string())
            }
            io::ErrorKind::Interrupted => SortedError::Interrupted,
            _ => SortedError::Io(format!("the sorted store: {error}")),
        },
        lsm_tree::Error::ChecksumMismatch { .. } => corrupt(TABLES, "a checksum does not match"),
        lsm_tree::Error::InvalidVersion(version) => {
            corrupt(MANIFEST, &format!("version {version} is not known"))
        }
        other => corrupt(TABLES, &format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests;
