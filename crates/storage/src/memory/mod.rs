//! The engine for keyspaces that live in memory.
//!
//! A space is found through a snapshot that is swapped when spaces come and go; a partition is a
//! run of slots under one short lock; a slot is a small hash table of its own, so that it can be
//! listed, paged and counted without walking its neighbours. A key and its value are one
//! allocation, which a value of the same length is written into.
//!
//! Holds:
//! - every commit is settled from the start;
//! - reading allocates nothing, overwriting with a value of the same length nothing, overwriting
//!   with another length once, and adding a key once, but where a table or a partition's list of
//!   slots has to grow; the table of a slot's first key has not;
//! - allocations are counted as what they take, tables included, per space and in all. A write
//!   that would pass a bound is refused before it changes anything. Tables grow in steps of a
//!   few hundred bytes (and a directory per slot, when it doubles), which are counted after the
//!   fact; so a bound is passed by no more than one such step per write under way;
//! - a space costs next to nothing before its first key; then two bytes per slot, 32 KiB once
//!   keys are everywhere, and some 120 bytes for each slot that has any. A bound below that
//!   leaves room for nothing;
//! - locks are taken in ascending (space, partition) order, and none while waiting for memory;
//!   only where a lock is given up if it is not free does the order not matter.
//!
//! Does not know: durability, files, what a value means.

mod bucket;
mod entry;
mod evict;
mod foresee;
mod partition;
mod reaper;
mod size;
mod slots;
mod space;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

use crate::engine::{
    Address, Answer, Commit, Decide, Engine, EngineError, Op, Patience, Policy, SpaceOptions,
    Status, Tally, Turn, Upkeep, Visit,
};
use crate::memory::entry::Hash;
use crate::memory::evict::evict_one;
use crate::memory::foresee::foresee;
use crate::memory::partition::{Context, Partition, Spot};
use crate::memory::reaper::Reaper;
use crate::memory::space::{Bound, Space, Totals};
use crate::memory::sweep::{Round, Sweep};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Poll, Waker};

/// How often a write tries to find room before it is refused. Each try follows an eviction or
/// the freeing of a retired partition, whose room another write may have taken.
const ROOM_TRIES: usize = 64;

/// Candidates for eviction that may slip away, one after the other, before a write is refused.
const EVICTION_MISSES: usize = 16;

/// How the engine as a whole is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryOptions {
    /// The most bytes all spaces together may hold; `None` for no bound.
    pub limit_bytes: Option<u64>,
    /// What the order of keys within a slot is drawn from: engines that share it share the order, so
    /// a position of one of them is good for the others. Whoever knows it can choose keys that
    /// collide, so nobody outside may. `None` draws one that no other engine has.
    pub seed: Option<u64>,
}

type Spaces = HashMap<u32, Arc<Space>, BuildHasherDefault<IdHasher>>;

/// Keeps everything in memory.
pub struct MemoryEngine {
    spaces: ArcSwap<Spaces>,
    /// Held while the snapshot of spaces is replaced.
    altering: Mutex<()>,
    policy: Arc<dyn Policy>,
    seed: u64,
    totals: Arc<Totals>,
    round: Mutex<Round>,
    reaper: Reaper,
}

impl std::fmt::Debug for MemoryEngine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("MemoryEngine").field("totals", &self.totals).finish_non_exhaustive()
    }
}

impl MemoryEngine {
    /// An engine without spaces.
    #[must_use]
    pub fn new(policy: Arc<dyn Policy>, options: MemoryOptions) -> Self {
        let limit = options.limit_bytes.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
        Self {
            spaces: ArcSwap::default(),
            altering: Mutex::new(()),
            policy,
            seed: options.seed.unwrap_or_else(|| RandomState::new().hash_one(0u64)),
            totals: Arc::new(Totals {
                used: AtomicI64::new(0),
                limit: limit.unwrap_or(i64::MAX),
                evicted: AtomicU64::new(0),
            }),
            round: Mutex::new(Round::default()),
            reaper: Reaper::default(),
        }
    }

    /// Entries that look as if they were of `space`, for a change of it.
    fn context(&self, space: &Space, tick: u32) -> Context<'_> {
        Context { seed: self.seed, policy: &*self.policy, space: space.id, tick }
    }

    /// A batch of one.
    fn submit_one(&self, op: &Op<'_>) -> Result<Commit, EngineError> {
        let spaces = self.spaces.load();
        let space = spaces.get(&op.at.space).ok_or(EngineError::NoSpace(op.at.space))?;
        let hash = Hash::of(self.seed, op.at.key);
        let (number, slot) = space.locate(op.at.slot);
        for _ in 0..ROOM_TRIES {
            let partition = space.lock(number);
            let place = partition.find(slot, hash, op.at.key);
            match self.apply_one(space, partition, Spot { slot, hash, place }, op)? {
                Ok(()) => return Ok(Commit::DONE),
                Err((need, bound)) => self.make_room(space, need, bound)?,
            }
        }
        Err(EngineError::MemoryFull)
    }

    /// Applies `op` at `spot` if there is room; else says how many bytes there is none for, and
    /// by which bound.
    fn apply_one(
        &self,
        space: &Space,
        mut partition: MutexGuard<'_, Partition>,
        spot: Spot,
        op: &Op<'_>,
    ) -> Result<Result<(), (i64, Bound)>, EngineError> {
        if partition.is_closed() {
            return Err(EngineError::NoSpace(op.at.space));
        }
        let need = partition.need(spot, op.at.key, op.put);
        let reserved = match space.reserve(need) {
            Ok(reserved) => reserved,
            Err(bound) => return Ok(Err((need, bound))),
        };
        let grown = partition.apply(spot, op, self.context(space, space.next_tick()));
        space.lower_earliest(partition.earliest());
        drop(partition);
        space.charge(grown - reserved);
        Ok(Ok(()))
    }

    /// A batch of several, all or nothing.
    fn submit_many(&self, ops: &[Op<'_>]) -> Result<Commit, EngineError> {
        let spaces = self.spaces.load();
        let mut order = Vec::with_capacity(ops.len());
        for op in ops {
            let space = spaces.get(&op.at.space).ok_or(EngineError::NoSpace(op.at.space))?;
            order.push((op.at.space, space.locate(op.at.slot).0));
        }
        order.sort_unstable();
        order.dedup();
        for _ in 0..ROOM_TRIES {
            let mut locked = Vec::with_capacity(order.len());
            for &(id, number) in &order {
                let partition = spaces[&id].lock(number);
                if partition.is_closed() {
                    return Err(EngineError::NoSpace(id));
                }
                locked.push(partition);
            }
            let mut batch = Batch { order: &order, locked, spaces: &spaces };
            let Err((space, need, bound)) = batch.apply(self, ops) else {
                return Ok(Commit::DONE);
            };
            drop(batch);
            self.make_room(space, need, bound)?;
        }
        Err(EngineError::MemoryFull)
    }

    /// Tries to make room for `need` bytes in `space`. Called with nothing locked.
    fn make_room(&self, space: &Space, need: i64, bound: Bound) -> Result<(), EngineError> {
        if bound == Bound::Process && self.reaper.wait() {
            return Ok(());
        }
        if space.fits(need) {
            // It came while nobody looked: from the reaper's last round, or another thread.
            return Ok(());
        }
        if !space.evicts() || !space.could_fit(need) {
            return Err(EngineError::MemoryFull);
        }
        let mut random = fastrand::Rng::new();
        let mut misses = 0;
        while !space.fits(need) {
            if evict_one(space, &mut random, self.context(space, space.tick())) {
                self.totals.evicted.fetch_add(1, Ordering::Relaxed);
                misses = 0;
            } else if misses == EVICTION_MISSES {
                return Err(EngineError::MemoryFull);
            } else {
                misses += 1;
            }
        }
        Ok(())
    }
}

/// A batch with its partitions locked.
struct Batch<'a> {
    /// Space and partition of each lock, ascending.
    order: &'a [(u32, usize)],
    locked: Vec<MutexGuard<'a, Partition>>,
    spaces: &'a Spaces,
}

impl<'a> Batch<'a> {
    /// Applies `ops` if there is room for all of them.
    ///
    /// # Errors
    /// The space without room, how many bytes it lacks, and by which bound. Nothing was changed.
    fn apply(
        &mut self,
        engine: &MemoryEngine,
        ops: &[Op<'_>],
    ) -> Result<(), (&'a Space, i64, Bound)> {
        // A batch touches few spaces, each in one run of `order`.
        let mut bills: Vec<(&Space, i64)> = Vec::new();
        for run in self.order.chunk_by(|one, other| one.0 == other.0) {
            bills.push((&*self.spaces[&run[0].0], 0));
        }
        let ids: Vec<u32> = bills.iter().map(|&(space, _)| space.id).collect();
        let bill_of = |id| ids.partition_point(|&other| other < id);
        for op in ops {
            let bill = bill_of(op.at.space);
            let (number, slot) = bills[bill].0.locate(op.at.slot);
            let partition = &self.locked[self.index_of(op.at.space, number)];
            let hash = Hash::of(engine.seed, op.at.key);
            let place = partition.find(slot, hash, op.at.key);
            bills[bill].1 += partition.need(Spot { slot, hash, place }, op.at.key, op.put);
        }
        for at in 0..bills.len() {
            let (space, need) = bills[at];
            match space.reserve(need) {
                // From here on the bill says what is still to be charged.
                Ok(reserved) => bills[at].1 = -reserved,
                Err(bound) => {
                    bills[..at].iter().for_each(|&(space, bill)| space.charge(bill));
                    return Err((space, need, bound));
                }
            }
        }
        for op in ops {
            let bill = &mut bills[bill_of(op.at.space)];
            let (number, slot) = bill.0.locate(op.at.slot);
            let index = self.index_of(op.at.space, number);
            let partition = &mut self.locked[index];
            let hash = Hash::of(engine.seed, op.at.key);
            let place = partition.find(slot, hash, op.at.key);
            let context = engine.context(bill.0, bill.0.next_tick());
            bill.1 += partition.apply(Spot { slot, hash, place }, op, context);
            bill.0.lower_earliest(partition.earliest());
        }
        bills.iter().for_each(|&(space, bill)| space.charge(bill));
        Ok(())
    }

    fn index_of(&self, space: u32, partition: usize) -> usize {
        let found = self.order.binary_search(&(space, partition));
        found.expect("every partition of the batch was entered in the order")
    }
}

impl Engine for MemoryEngine {
    fn read(
        &self,
        at: Address<'_>,
        _patience: Patience,
        visit: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<Answer, EngineError> {
        let spaces = self.spaces.load();
        if let Some(space) = spaces.get(&at.space) {
            let hash = Hash::of(self.seed, at.key);
            let (number, slot) = space.locate(at.slot);
            let mut partition = space.lock(number);
            let place = partition.find(slot, hash, at.key);
            visit(partition.show(slot, place, || space.tick()));
        } else {
            visit(None);
        }
        Ok(Answer::Given(Commit::DONE))
    }

    fn scan(
        &self,
        space: u32,
        slot: u16,
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut Visit<'_>,
    ) -> Result<Commit, EngineError> {
        if let Some(space) = self.spaces.load().get(&space) {
            let (number, slot) = space.locate(slot);
            space.lock(number).scan(slot, after, limit, visit);
        }
        Ok(Commit::DONE)
    }

    fn page(
        &self,
        space: u32,
        slot: u16,
        position: u64,
        count: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(Option<u64>, Commit), EngineError> {
        let spaces = self.spaces.load();
        let next = spaces.get(&space).and_then(|space| {
            let (number, slot) = space.locate(slot);
            space.lock(number).page(self.seed, slot, position, count, visit)
        });
        Ok((next, Commit::DONE))
    }

    fn submit(&self, ops: &[Op<'_>]) -> Result<Commit, EngineError> {
        match ops {
            [] => Ok(Commit::DONE),
            [op] => self.submit_one(op),
            ops => self.submit_many(ops),
        }
    }

    fn update(
        &self,
        at: Address<'_>,
        _patience: Patience,
        _commit: &mut Commit,
        decide: &mut dyn Decide,
    ) -> Result<Turn, EngineError> {
        let spaces = self.spaces.load();
        let Some(space) = spaces.get(&at.space) else {
            let changes = decide.decide(None);
            return if changes { Err(EngineError::NoSpace(at.space)) } else { Ok(Turn::Taken) };
        };
        let hash = Hash::of(self.seed, at.key);
        let (number, slot) = space.locate(at.slot);
        let mut partition = space.lock(number);
        let place = partition.find(slot, hash, at.key);
        if decide.decide(partition.show(slot, place, || space.tick())) {
            let (put, tally) = decide.change();
            let op = Op { at, put, tally };
            let spot = Spot { slot, hash, place };
            if let Err((need, bound)) = self.apply_one(space, partition, spot, &op)? {
                self.make_room(space, need, bound)?;
                self.submit_one(&op)?;
            }
        }
        Ok(Turn::Taken)
    }

    fn foresee(&self, at: &[Address<'_>]) {
        foresee(&self.spaces.load(), self.seed, at);
    }

    fn settle(&self, _commit: Commit, _waker: &Waker) -> Poll<Result<(), EngineError>> {
        Poll::Ready(Ok(()))
    }

    fn mark(&self, space: u32, slot: u16) -> u128 {
        self.spaces.load().get(&space).map_or(0, |space| {
            let (number, slot) = space.locate(slot);
            space.lock(number).mark(slot)
        })
    }

    fn forget_marks(&self, space: u32, slots: Range<u16>) {
        if let Some(space) = self.spaces.load().get(&space) {
            for (number, slot) in slots.map(|slot| space.locate(slot)) {
                space.lock(number).forget_mark(slot);
            }
        }
    }

    fn tally(&self, space: u32, slots: Range<u16>) -> Tally {
        let spaces = self.spaces.load();
        let Some(space) = spaces.get(&space).filter(|_| !slots.is_empty()) else {
            return Tally::default();
        };
        let (first, last) = (space.locate(slots.start), space.locate(slots.end - 1));
        let mut sum = Tally::default();
        for partition in first.0..=last.0 {
            let from = if partition == first.0 { first.1 } else { 0 };
            let to = if partition == last.0 { last.1 + 1 } else { space.width() };
            sum = sum.plus(space.lock(partition).tally(from..to));
        }
        sum
    }

    /// As the contract says, with this to know for whoever calls it in a loop: it looks at the
    /// entries of slots in which something may be due, at about `limit` per call, due or not. A
    /// return of 0 means that a round is over and nothing was left; a call costs a comparison per
    /// space then. So call again at once while much of what was looked at was due, after a short
    /// pause while little was, and after a longer one at 0.
    fn due(
        &self,
        now_ms: u64,
        limit: usize,
        visit: &mut dyn FnMut(Address<'_>, &[u8]),
    ) -> Result<usize, EngineError> {
        let mut round = self.round.lock();
        let mut spaces: Vec<_> = self.spaces.load().values().cloned().collect();
        spaces.sort_unstable_by_key(|space| space.id);
        let sweep = Sweep { seed: self.seed, policy: &*self.policy, now_ms, limit };
        Ok(sweep.run(&mut round, &spaces, visit))
    }
}

impl Upkeep for MemoryEngine {
    fn open_space(&self, space: u32, options: SpaceOptions) -> Result<(), EngineError> {
        let _altering = self.altering.lock();
        let spaces = self.spaces.load();
        if let Some(known) = spaces.get(&space) {
            return known.alter(options);
        }
        let mut more = Spaces::clone(&spaces);
        more.insert(space, Arc::new(Space::new(space, options, Arc::clone(&self.totals))?));
        self.spaces.store(Arc::new(more));
        Ok(())
    }

    fn retire(&self, space: u32) {
        let _altering = self.altering.lock();
        let mut fewer = Spaces::clone(&self.spaces.load());
        if let Some(retired) = fewer.remove(&space) {
            self.spaces.store(Arc::new(fewer));
            self.reaper.bury(retired);
        }
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn compact(&self) -> Result<(), EngineError> {
        for space in self.spaces.load_full().values() {
            for partition in 0..space.partitions() {
                let grown = space.lock(partition).shrink_to_fit();
                space.charge(grown);
            }
        }
        Ok(())
    }

    fn status(&self) -> Status {
        Status {
            memory_bytes: u64::try_from(self.totals.used.load(Ordering::Relaxed)).unwrap_or(0),
            evicted: self.totals.evicted.load(Ordering::Relaxed),
            ..Status::default()
        }
    }

    fn space_bytes(&self, space: u32) -> u64 {
        self.spaces.load().get(&space).map_or(0, |space| u64::try_from(space.used()).unwrap_or(0))
    }

    fn close(&self) -> Result<(), EngineError> {
        self.reaper.close();
        Ok(())
    }
}

impl Drop for MemoryEngine {
    fn drop(&mut self) {
        self.reaper.close();
    }
}

/// Spreads the numbers of spaces, which count up, over a table.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }
}
