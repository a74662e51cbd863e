//! The contract between the node and whatever keeps its bytes.
//!
//! An engine holds *spaces*, one per life of a keyspace; a space is divided into 16,384 slots; a
//! slot holds keys. To be an engine is to keep these promises, which the conformance suite
//! checks:
//!
//! 1. `submit` applies a batch at once and as a whole: from its return on every read sees all of
//!    it, no read sees part of it, and a crash keeps all of it or nothing.
//! 2. Batches that touch the same key are submitted one after the other by the caller (who holds
//!    the partition's lock); they become durable in that order.
//! 3. What a [`Commit`] stands for is durable, as its space's [`Durability`] asks, once `settle`
//!    is ready. A read hands out the commit its answer depends on, so that no one need be told
//!    of bytes that a crash could take back. Commits settle in order.
//! 4. A failed write or sync poisons the engine: from then on `submit` and the `settle` of
//!    everything unsettled fail, and reads of what is durable go on.
//! 5. Damage is reported as [`EngineError::Corrupt`], never handed out as a value.
//! 6. Nothing is ever removed but by `submit`, by `retire`, or by eviction in a space that asks
//!    for it, which leaves its mark.
//!
//! Does not know: what a value means, beyond what [`Policy`] tells it.

use std::ops::Range;
use std::task::{Poll, Waker};

/// Where a value lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address<'a> {
    /// The space: a keyspace's incarnation.
    pub space: u32,
    /// The slot, below 16,384.
    pub slot: u16,
    /// The key, 1 to 65,517 bytes.
    pub key: &'a [u8],
}

/// A value in two parts, so that a head made on the stack needs no copy before the engine's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// The first bytes.
    pub head: &'a [u8],
    /// The bytes after them.
    pub body: &'a [u8],
}

impl Parts<'_> {
    /// The length of both parts together, in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Whether both parts are empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One change of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op<'a> {
    /// Where.
    pub at: Address<'a>,
    /// The new value; `None` removes it.
    pub put: Option<Parts<'a>>,
    /// What the change adds to its slot's tally. The caller knows what was there before.
    pub tally: Tally,
}

/// What a slot holds, as the sum of what the ops on it said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Keys that a user would count.
    pub keys: i64,
    /// Those of them that carry an expiry.
    pub expiring: i64,
}

impl Tally {
    /// The sum of two tallies.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { keys: self.keys + other.keys, expiring: self.expiring + other.expiring }
    }
}

/// How far a log must have come for an answer to be safe to give.
///
/// Two marks, since spaces differ in what they wait for: the position that must have been handed
/// to the operating system, and the one that must have been synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Everything below this position must be written.
    pub written: u64,
    /// Everything below this position must be synced.
    pub synced: u64,
}

impl Commit {
    /// Settled from the start: what memory gives.
    pub const DONE: Self = Self { written: 0, synced: 0 };

    /// The commit that is settled when both are.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { written: self.written.max(other.written), synced: self.synced.max(other.synced) }
    }
}

/// What a write of a space waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A sync of the log that began after the write.
    #[default]
    Always,
    /// The write to the log; a sync follows within this many milliseconds.
    Interval(u32),
    /// The write to the log; the operating system syncs when it likes.
    Os,
}

/// How a space is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceOptions {
    /// How many partitions its slots are divided into: a power of two up to 16,384.
    pub partitions: u16,
    /// What its writes wait for; of no meaning in memory.
    pub durability: Durability,
    /// The most bytes it may hold in memory; `None` for no bound of its own.
    pub max_memory: Option<u64>,
    /// Whether a write that meets the bound makes room by evicting, rather than being refused.
    pub evict: bool,
}

/// Whether a read may wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// No: answer [`Answer::Cold`] where a wait is likely. For threads that serve connections.
    Inline,
    /// Yes. For threads that may block.
    Block,
}

/// How a read went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The visitor was called; what it saw is safe to pass on once this commit is settled.
    Given(Commit),
    /// Nothing was read, because a disk may have to be waited for. Ask again with
    /// [`Patience::Block`].
    Cold,
}

/// What the engine must know of values to keep house; the node's, handed over at open.
pub trait Policy: Send + Sync + 'static {
    /// Whether everything in `space` may be dropped: its keyspace was flushed or dropped.
    fn is_dead(&self, space: u32) -> bool;

    /// From when on, in milliseconds since the Unix epoch, `value` is worth offering to the
    /// sweep; `None` for never.
    fn due(&self, space: u32, value: &[u8]) -> Option<u64>;

    /// What an eviction of `value` leaves as a mark of its slot, the greatest of which is kept;
    /// `None` where it may not be evicted. Asked for in spaces that evict.
    fn mark(&self, _space: u32, _value: &[u8]) -> Option<u128> {
        Some(0)
    }

    /// Whether `value` only says that a key is gone, there or at another node: where the disk is
    /// down to its reserve it is taken as a removal is.
    fn removes(&self, _space: u32, _value: &[u8]) -> bool {
        false
    }

    /// What `value` counts for in the tally of its slot. Asked for in spaces that evict, where
    /// entries go by themselves.
    fn counts(&self, space: u32, value: &[u8]) -> Tally {
        let due = self.due(space, value).filter(|&due| due < u64::MAX);
        Tally { keys: 1, expiring: i64::from(due.is_some()) }
    }
}

/// What decides a change of one key, once it sees what is there; see [`Engine::update`].
pub trait Decide {
    /// Takes the value at the address, or `None`, and says whether it is to be changed. Called
    /// once at most, perhaps from under a lock: it copies what it needs, quickly, and does not
    /// call the engine.
    fn decide(&mut self, stored: Option<&[u8]>) -> bool;

    /// The new value, `None` to remove the old one, and what that adds to the slot's tally.
    /// Asked for only after `decide` said yes.
    fn change(&self) -> (Option<Parts<'_>>, Tally);
}

/// Whether an update took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It was decided, and what was decided is applied.
    Taken,
    /// Nothing was read or decided, because a disk may have to be waited for. Ask again with
    /// [`Patience::Block`].
    Cold,
}

/// Called with key and value; returns whether to go on.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> bool + 'v;

/// Keeps bytes under addresses. The promises are in the module's text.
pub trait Engine: Upkeep {
    /// Shows `visit` the value at `at`, or `None`. The value may be borrowed from under a lock:
    /// `visit` copies what it needs, quickly, and does not call the engine.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] or [`EngineError::Io`]; `visit` was not called.
    fn read(
        &self,
        at: Address<'_>,
        patience: Patience,
        visit: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<Answer, EngineError>;

    /// Shows `visit` up to `limit` entries of a slot in key order, strictly after `after`.
    /// May block. The commit covers everything shown.
    ///
    /// # Errors
    /// As [`Engine::read`]; entries shown before the error are good.
    fn scan(
        &self,
        space: u32,
        slot: u16,
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut Visit<'_>,
    ) -> Result<Commit, EngineError>;

    /// Shows `visit` about `count` entries of a slot in an order of the engine's own, from
    /// `position` (below 2^48, 0 first) on, and returns the position after them, `None` at the
    /// slot's end. An entry present from the first page to the last is shown at least once,
    /// whatever else comes, goes or grows meanwhile, restarts included. May block.
    ///
    /// # Errors
    /// As [`Engine::read`].
    fn page(
        &self,
        space: u32,
        slot: u16,
        position: u64,
        count: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(Option<u64>, Commit), EngineError>;

    /// Applies `ops` as one batch. The ops may be of several spaces and slots.
    ///
    /// # Errors
    /// [`EngineError::MemoryFull`], [`EngineError::DiskFull`], [`EngineError::Poisoned`], [`EngineError::Io`],
    /// [`EngineError::NoSpace`]: nothing was changed.
    fn submit(&self, ops: &[Op<'_>]) -> Result<Commit, EngineError>;

    /// Shows `decide` the value at `at` and applies what it decides: what a [`Engine::read`] and
    /// a [`Engine::submit`] of one op come to, for an engine that can do with one way to the key.
    /// What the decision depends on and what was written join `commit`; the former also where
    /// the write is refused.
    ///
    /// Like batches, updates of the same key come one after the other. Nothing else keeps others
    /// from changing the key between the look and the change.
    ///
    /// # Errors
    /// Those of [`Engine::read`], with nothing decided, and those of [`Engine::submit`], with
    /// nothing changed.
    fn update(
        &self,
        at: Address<'_>,
        patience: Patience,
        commit: &mut Commit,
        decide: &mut dyn Decide,
    ) -> Result<Turn, EngineError> {
        let mut changes = false;
        match self.read(at, patience, &mut |stored| changes = decide.decide(stored))? {
            Answer::Given(seen) => *commit = commit.join(seen),
            Answer::Cold => return Ok(Turn::Cold),
        }
        if changes {
            let (put, tally) = decide.change();
            *commit = commit.join(self.submit(&[Op { at, put, tally }])?);
        }
        Ok(Turn::Taken)
    }

    /// Says that the values at these addresses are about to be read or updated, so that an engine
    /// can fetch them side by side rather than one after the other. Never waits, and changes
    /// nothing but how long that takes.
    fn foresee(&self, _at: &[Address<'_>]) {}

    /// Ready once `commit` is settled. Until then `waker` is kept and woken, once.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`]: whether the commit survives a restart is not known.
    fn settle(&self, commit: Commit, waker: &Waker) -> Poll<Result<(), EngineError>>;

    /// The greatest [mark](Policy::mark) of what was evicted in a slot, 0 where nothing was. It has
    /// risen before any read misses what went.
    fn mark(&self, _space: u32, _slot: u16) -> u128 {
        0
    }

    /// Forgets the marks of `slots`, as if nothing had ever been evicted there.
    fn forget_marks(&self, _space: u32, _slots: Range<u16>) {}

    /// The sum of the tallies of `slots`.
    fn tally(&self, space: u32, slots: Range<u16>) -> Tally;

    /// Shows `visit` up to `limit` entries that are due at `now` by [`Policy::due`], and returns
    /// how many it looked at: 0 when there is nothing to do. May block. What it showed is
    /// offered again only after the caller has had time to remove it.
    ///
    /// # Errors
    /// As [`Engine::read`].
    fn due(
        &self,
        now_ms: u64,
        limit: usize,
        visit: &mut dyn FnMut(Address<'_>, &[u8]),
    ) -> Result<usize, EngineError>;
}

/// The housekeeping side of an engine: what an administrator or a background task asks.
pub trait Upkeep: Send + Sync + 'static {
    /// Makes `space` usable, or changes its options (all but the partitions).
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] or [`EngineError::Io`].
    fn open_space(&self, space: u32, options: SpaceOptions) -> Result<(), EngineError>;

    /// Forgets `space` and everything in it, at once for readers; the bytes go in the background.
    /// [`Policy::is_dead`] already says so.
    fn retire(&self, space: u32);

    /// Waits until everything submitted is synced. Blocks.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`].
    fn sync(&self) -> Result<(), EngineError>;

    /// Rewrites what is kept without what is not needed any more. Blocks.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] or [`EngineError::Io`].
    fn compact(&self) -> Result<(), EngineError>;

    /// How the engine is.
    fn status(&self) -> Status;

    /// Bytes that `space` holds, as far as the engine can tell them apart.
    fn space_bytes(&self, space: u32) -> u64;

    /// Syncs, marks the files as cleanly closed and ends the engine's threads. Blocks.
    ///
    /// # Errors
    /// [`EngineError::Poisoned`] or [`EngineError::Io`].
    fn close(&self) -> Result<(), EngineError>;
}

/// Figures of an engine, for INFO and the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Bytes of keys, values and their overhead held in memory.
    pub memory_bytes: u64,
    /// Bytes of files.
    pub disk_bytes: u64,
    /// Entries evicted since the start.
    pub evicted: u64,
    /// Syncs of the log since the start.
    pub syncs: u64,
    /// Bytes appended to the log since the start.
    pub log_bytes: u64,
    /// Bytes of write buffer not yet in the sorted store.
    pub buffered_bytes: u64,
    /// Checkpoints done since the start.
    pub checkpoints: u64,
    /// Why writes are refused, if they are.
    pub refusing: Option<EngineError>,
}

/// What can go wrong in an engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The space is not open. Nothing changed.
    #[error("space {0} is not open")]
    NoSpace(u32),
    /// The bound on memory is met. Nothing changed; a retry helps once something was removed.
    #[error("the memory bound is met")]
    MemoryFull,
    /// Less than the reserve is free on the disk. Nothing changed; a retry helps once there is
    /// room. Removals are still taken.
    #[error("the disk is full: {free} bytes are free, {reserve} are kept in reserve")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes kept in reserve.
        reserve: u64,
    },
    /// A write or sync failed earlier. What was unsettled then may or may not survive; a restart
    /// tells. Retrying does not help.
    #[error("storage stopped after a failed write: {0}")]
    Poisoned(String),
    /// Stored bytes are damaged. They are not handed out.
    #[error("damaged: {file}: {what}")]
    Corrupt {
        /// The file, or the kind of file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system refused a read or the opening of a file.
    #[error("{0}")]
    Io(String),
}
