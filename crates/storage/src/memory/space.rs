//! One space: its partitions and its share of the memory.
//!
//! Holds: `used` is the sum of the partitions' bytes, plus what is reserved by changes under
//! way; whatever is in a space's `used` is in the engine's too, and leaves it with the space.

use crate::engine::{EngineError, SpaceOptions};
use crate::memory::partition::Partition;

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

/// Slots of a space.
pub(super) const SLOTS: usize = 16_384;

/// What all spaces of an engine share.
#[derive(Debug)]
pub(super) struct Totals {
    /// The bytes of all spaces.
    pub(super) used: AtomicI64,
    /// The most they may come to.
    pub(super) limit: i64,
    /// Entries evicted since the start.
    pub(super) evicted: AtomicU64,
}

/// Which bound a change met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// The space's own.
    Space,
    /// The process's.
    Process,
}

/// A partition with its lock, on cache lines of its own so that neighbours do not contend.
#[derive(Debug)]
#[repr(align(64))]
struct Locked(Mutex<Partition>);

/// A space.
#[derive(Debug)]
pub(super) struct Space {
    /// Its number.
    pub(super) id: u32,
    partitions: Box<[Locked]>,
    /// A slot's upper bits are its partition.
    shift: u32,
    used: AtomicI64,
    max: AtomicI64,
    evict: AtomicBool,
    clock: AtomicU32,
    earliest: AtomicU64,
    totals: Arc<Totals>,
}

impl Space {
    /// An empty space.
    ///
    /// # Errors
    /// [`EngineError::Io`] if the number of partitions is not one a space can have.
    pub(super) fn new(
        id: u32,
        options: SpaceOptions,
        totals: Arc<Totals>,
    ) -> Result<Self, EngineError> {
        let count = usize::from(options.partitions);
        if !count.is_power_of_two() || count > SLOTS {
            return Err(EngineError::Io(format!(
                "a space has a power of two up to {SLOTS} of partitions, not {count}"
            )));
        }
        let width = SLOTS / count;
        let partition = |_| Locked(Mutex::new(Partition::new(width, options.evict)));
        let space = Self {
            id,
            partitions: (0..count).map(partition).collect(),
            shift: width.trailing_zeros(),
            used: AtomicI64::new(0),
            max: AtomicI64::new(i64::MAX),
            evict: AtomicBool::new(false),
            clock: AtomicU32::new(0),
            earliest: AtomicU64::new(u64::MAX),
            totals,
        };
        space.bound(options);
        Ok(space)
    }

    /// Takes over changed options.
    ///
    /// # Errors
    /// [`EngineError::Io`] if the number of partitions is another one.
    pub(super) fn alter(&self, options: SpaceOptions) -> Result<(), EngineError> {
        if usize::from(options.partitions) != self.partitions.len() {
            return Err(EngineError::Io(format!(
                "space {} has {} partitions, which cannot become {}",
                self.id,
                self.partitions.len(),
                options.partitions
            )));
        }
        if options.evict {
            for partition in 0..self.partitions.len() {
                let grown = self.lock(partition).stamp_all(self.tick());
                self.charge(grown);
            }
        }
        self.bound(options);
        Ok(())
    }

    fn bound(&self, options: SpaceOptions) {
        let max = options.max_memory.map_or(i64::MAX, |max| i64::try_from(max).unwrap_or(i64::MAX));
        self.max.store(max, Ordering::Relaxed);
        self.evict.store(options.evict, Ordering::Relaxed);
    }

    /// How many partitions there are.
    pub(super) const fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// How many slots a partition has.
    pub(super) const fn width(&self) -> usize {
        1 << self.shift
    }

    /// The partition of `slot`, and which of its slots that is.
    pub(super) fn locate(&self, slot: u16) -> (usize, usize) {
        debug_assert!(usize::from(slot) < SLOTS, "there is no slot {slot}");
        let slot = usize::from(slot) % SLOTS;
        (slot >> self.shift, slot & (self.width() - 1))
    }

    /// Locks a partition. Whoever locks several does so in ascending (space, partition) order.
    pub(super) fn lock(&self, partition: usize) -> MutexGuard<'_, Partition> {
        self.partitions[partition].0.lock()
    }

    /// Locks a partition if nobody else does, in whatever order.
    pub(super) fn try_lock(&self, partition: usize) -> Option<MutexGuard<'_, Partition>> {
        self.partitions[partition].0.try_lock()
    }

    /// The bytes of all entries and tables.
    pub(super) fn used(&self) -> i64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether entries may be evicted.
    pub(super) fn evicts(&self) -> bool {
        self.evict.load(Ordering::Relaxed)
    }

    /// The clock of uses: it counts the writes of a space that evicts. A count rather than a
    /// time, since it costs a read nothing and is as fine as the order that eviction follows.
    pub(super) fn tick(&self) -> u32 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Moves the clock on, for a write.
    pub(super) fn next_tick(&self) -> u32 {
        if self.evicts() { self.clock.fetch_add(1, Ordering::Relaxed).wrapping_add(1) } else { 0 }
    }

    /// Sets `need` bytes aside before a change that adds them, and returns how many that were: a
    /// change that adds none is never refused.
    ///
    /// # Errors
    /// The bound that does not leave them.
    pub(super) fn reserve(&self, need: i64) -> Result<i64, Bound> {
        if need <= 0 {
            return Ok(0);
        }
        if self.used.fetch_add(need, Ordering::Relaxed) + need > self.max.load(Ordering::Relaxed) {
            self.used.fetch_sub(need, Ordering::Relaxed);
            return Err(Bound::Space);
        }
        if self.totals.used.fetch_add(need, Ordering::Relaxed) + need > self.totals.limit {
            self.charge(-need);
            return Err(Bound::Process);
        }
        Ok(need)
    }

    /// Whether `need` bytes more would be left now.
    pub(super) fn fits(&self, need: i64) -> bool {
        self.used() + need <= self.max.load(Ordering::Relaxed)
            && self.totals.used.load(Ordering::Relaxed) + need <= self.totals.limit
    }

    /// Whether `need` bytes would be left if this space held nothing else.
    pub(super) fn could_fit(&self, need: i64) -> bool {
        let others = self.totals.used.load(Ordering::Relaxed) - self.used();
        need <= self.max.load(Ordering::Relaxed) && others + need <= self.totals.limit
    }

    /// Accounts for a change that has happened, whatever the bounds.
    pub(super) fn charge(&self, bytes: i64) {
        if bytes != 0 {
            self.used.fetch_add(bytes, Ordering::Relaxed);
            self.totals.used.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Before this time nothing here falls due.
    pub(super) fn earliest(&self) -> u64 {
        self.earliest.load(Ordering::Acquire)
    }

    /// Notes that something falls due at `time`. Called with the partition locked, so that a
    /// sweep that did not see the note sees the entry.
    pub(super) fn lower_earliest(&self, time: u64) {
        if time < self.earliest.load(Ordering::Acquire) {
            self.earliest.fetch_min(time, Ordering::AcqRel);
        }
    }

    /// Forgets what is known of due times; the sweep lowers it again as it goes.
    pub(super) fn begin_sweep(&self) {
        self.earliest.store(u64::MAX, Ordering::Release);
    }

    /// Empties a partition for good.
    pub(super) fn close(&self, partition: usize) {
        let (slots, bytes) = self.lock(partition).close();
        drop(slots);
        self.charge(-bytes);
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.totals.used.fetch_sub(*self.used.get_mut(), Ordering::Relaxed);
    }
}
