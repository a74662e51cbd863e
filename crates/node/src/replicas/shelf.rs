//! The records of one partition as the machines of `shoal_core::replica` see them: an engine
//! behind the trait [`Shelf`].
//!
//! Holds: whoever puts or removes holds the partition as long as the shelf lives. What was looked at
//! and what was put join one commit, which is what an answer has to wait for. A read that would have to wait
//! for a disk ends the whole question with [`ShelfError::Cold`] before anything was put: the
//! machines look at everything first.
//!
//! Does not know: who asks, epochs, floors.

use crate::rules::read_record;
use crate::step::{counted, minus};
use parking_lot::{Mutex, MutexGuard};
use shoal_core::codec::record::{Form, Head, head};
use shoal_core::record::Rank;
use shoal_core::repair::Tree;
use shoal_core::replica::{Put, Shelf};
use shoal_core::{Body, Record, Slot, Version};
use shoal_storage::{Address, Answer, Commit, Engine, EngineError, Op, Parts, Patience, Tally};
use std::cell::Cell;

/// Why a question came to nothing. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShelfError {
    /// A disk may have to be waited for; ask again with [`Patience::Block`].
    #[error("the disk would have to be waited for")]
    Cold,
    /// The engine's refusal.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// One partition's records in an engine, for one question.
pub(crate) struct EngineShelf<'e> {
    engine: &'e dyn Engine,
    space: u32,
    form: Form,
    patience: Patience,
    commit: Cell<Commit>,
    /// Whether records are evicted here, which leaves marks.
    evicts: bool,
    /// The digests that are kept of the records. Held while some change, and for a moment by
    /// whoever looks at them.
    tree: &'e Mutex<Tree>,
}

impl<'e> EngineShelf<'e> {
    pub(crate) fn new(
        engine: &'e dyn Engine,
        space: u32,
        form: Form,
        patience: Patience,
        evicts: bool,
        tree: &'e Mutex<Tree>,
    ) -> Self {
        Self { engine, space, form, patience, commit: Cell::new(Commit::DONE), evicts, tree }
    }

    /// What everything seen and put so far depends on.
    pub(crate) const fn commit(&self) -> Commit {
        self.commit.get()
    }

    fn join(&self, commit: Commit) {
        self.commit.set(self.commit.get().join(commit));
    }

    const fn address<'k>(&self, slot: Slot, key: &'k [u8]) -> Address<'k> {
        Address { space: self.space, slot: slot.number(), key }
    }

    fn read<R>(
        &self,
        slot: Slot,
        key: &[u8],
        f: impl FnOnce(Option<&Record<'_>>) -> R,
    ) -> Result<R, ShelfError> {
        let mut f = Some(f);
        let mut outcome = None;
        let mut visit = |stored: Option<&[u8]>| {
            let record = stored.map(|bytes| read_record(key, bytes)).transpose();
            outcome = f.take().map(|f| record.map(|record| f(record.as_ref())));
        };
        match self.engine.read(self.address(slot, key), self.patience, &mut visit)? {
            Answer::Given(commit) => self.join(commit),
            Answer::Cold => return Err(ShelfError::Cold),
        }
        Ok(outcome.expect("a read that is given calls its visitor")?)
    }

    /// Removes what is stored under these keys, which counts for so much. The digests are not told:
    /// they are to be forgotten before and after.
    pub(super) fn clear(&self, slot: Slot, keys: &[(Vec<u8>, Tally)]) -> Result<(), ShelfError> {
        let removals = keys.iter().map(|(key, tally)| self.removal(slot, key, *tally));
        let ops: Vec<Op<'_>> = removals.collect();
        self.submit(&ops)
    }

    /// Takes out what is stored under `key` and counts for so much.
    const fn removal<'k>(&self, slot: Slot, key: &'k [u8], counts: Tally) -> Op<'k> {
        Op {
            at: self.address(slot, key),
            put: None,
            tally: minus(Tally { keys: 0, expiring: 0 }, counts),
        }
    }

    fn submit(&self, ops: &[Op<'_>]) -> Result<(), ShelfError> {
        if !ops.is_empty() {
            self.join(self.engine.submit(ops)?);
        }
        Ok(())
    }

    /// Submits, and hands out the digests for being told, which nobody has been at meanwhile.
    fn submit_and_tell(&self, ops: &[Op<'_>]) -> Result<MutexGuard<'e, Tree>, ShelfError> {
        let tree = self.tree.lock();
        self.submit(ops)?;
        Ok(tree)
    }
}

/// What a record of this rank counts for.
fn counts_for(rank: Option<&Rank>) -> Tally {
    match rank {
        Some(rank) if !rank.tombstone => {
            Tally { keys: 1, expiring: i64::from(rank.expires_at.is_some()) }
        }
        _ => Tally::default(),
    }
}

impl Shelf for EngineShelf<'_> {
    /// [`EngineShelf::commit`] says it for all that was done.
    type Ticket = ();
    type Error = ShelfError;

    fn look<R>(
        &self,
        slot: Slot,
        key: &[u8],
        f: impl FnOnce(Option<&Record<'_>>) -> R,
    ) -> Result<(R, ()), ShelfError> {
        Ok((self.read(slot, key, f)?, ()))
    }

    fn page(
        &self,
        slot: Slot,
        after: Option<&[u8]>,
        limit: usize,
        mut f: impl FnMut(&[u8], &Record<'_>) -> bool,
    ) -> Result<(), ShelfError> {
        if self.patience == Patience::Inline {
            return Err(ShelfError::Cold);
        }
        let mut damage = None;
        let mut visit = |key: &[u8], stored: &[u8]| match read_record(key, stored) {
            Ok(record) => f(key, &record),
            Err(error) => {
                damage = Some(error);
                false
            }
        };
        let commit = self.engine.scan(self.space, slot.number(), after, limit, &mut visit)?;
        self.join(commit);
        damage.map_or(Ok(()), |error| Err(error.into()))
    }

    fn mark(&self, slot: Slot) -> Version {
        if !self.evicts {
            return Version::ZERO;
        }
        Version::from_bits(self.engine.mark(self.space, slot.number()))
    }

    fn put(&mut self, slot: Slot, records: &[Put<'_>]) -> Result<(), ShelfError> {
        let mut made: Vec<(Head, &[u8], Tally)> = Vec::with_capacity(records.len());
        for Put { key, record, before, .. } in records {
            let bytes = match record.body {
                Body::Live { bytes, .. } => bytes,
                Body::Tombstone => &[],
            };
            let tally = minus(counted(Some(record)), counts_for(before.as_ref()));
            made.push((head(self.form, key, record), bytes, tally));
        }
        let ops: Vec<Op<'_>> = records
            .iter()
            .zip(&made)
            .map(|(Put { key, .. }, (head, body, tally))| Op {
                at: self.address(slot, key),
                put: Some(Parts { head: head.as_bytes(), body }),
                tally: *tally,
            })
            .collect();
        let mut tree = self.submit_and_tell(&ops)?;
        for Put { key, rank, before, .. } in records {
            tree.changed(slot, key, before.as_ref(), Some(rank));
        }
        Ok(())
    }

    fn remove(&mut self, slot: Slot, keys: &[(&[u8], Rank)]) -> Result<(), ShelfError> {
        let removals =
            keys.iter().map(|(key, rank)| self.removal(slot, key, counts_for(Some(rank))));
        let ops: Vec<Op<'_>> = removals.collect();
        let mut tree = self.submit_and_tell(&ops)?;
        for (key, rank) in keys {
            tree.changed(slot, key, Some(rank), None);
        }
        Ok(())
    }

    fn tree<R>(&self, f: impl FnOnce(&mut Tree) -> R) -> R {
        f(&mut self.tree.lock())
    }
}

#[cfg(test)]
mod tests;
