//! The records of one partition as the machines of `shoal_core::replica` see them: an engine
//! behind the trait [`Shelf`].
//!
//! Holds: a shelf lives as long as the caller holds the partition. What was looked at and what was
//! put join one commit, which is what an answer has to wait for. A read that would have to wait
//! for a disk ends the whole question with [`ShelfError::Cold`] before anything was put: the
//! machines look at everything first.
//!
//! Does not know: who asks, epochs, floors.

use crate::rules::read_record;
use crate::step::{counted, minus};
use shoal_core::codec::record::{Form, Head, head};
use shoal_core::replica::Shelf;
use shoal_core::{Body, Record, Slot};
use shoal_storage::{Address, Answer, Commit, Engine, EngineError, Op, Parts, Patience, Tally};
use std::cell::{Cell, RefCell};

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
    /// What keys that were looked at count for, since whoever puts under them comes right after;
    /// nothing where nobody will.
    seen: RefCell<Vec<(Slot, Vec<u8>, Tally)>>,
    only_looks: bool,
    /// Behind which of `seen` the next key is looked for first: keys are put in the order in which
    /// they were looked at.
    next: Cell<usize>,
}

impl<'e> EngineShelf<'e> {
    pub(crate) fn new(engine: &'e dyn Engine, space: u32, form: Form, patience: Patience) -> Self {
        let (commit, seen) = (Cell::new(Commit::DONE), RefCell::new(Vec::new()));
        let (only_looks, next) = (false, Cell::new(0));
        Self { engine, space, form, patience, commit, seen, only_looks, next }
    }

    /// The same, for whoever puts and removes nothing.
    pub(crate) fn for_looking(self) -> Self {
        Self { only_looks: true, ..self }
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

    /// What the key counts for now.
    fn tally(&self, slot: Slot, key: &[u8]) -> Result<Tally, ShelfError> {
        let seen = self.seen.borrow();
        let (before, behind) = seen.split_at(self.next.get().min(seen.len()));
        let mut found = behind.iter().chain(before).enumerate();
        if let Some((passed, (.., tally))) =
            found.find(|(_, (at, seen, _))| *at == slot && seen == key)
        {
            self.next.set((self.next.get() + passed + 1) % seen.len());
            return Ok(*tally);
        }
        drop(seen);
        self.read(slot, key, |record| counted(record.copied().as_ref()))
    }

    fn submit(&self, ops: &[Op<'_>]) -> Result<(), ShelfError> {
        // What was seen holds no longer.
        self.seen.borrow_mut().clear();
        self.next.set(0);
        if !ops.is_empty() {
            self.join(self.engine.submit(ops)?);
        }
        Ok(())
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
        let mut tally = Tally::default();
        let result = self.read(slot, key, |record| {
            tally = counted(record);
            f(record)
        })?;
        if !self.only_looks {
            self.seen.borrow_mut().push((slot, key.to_vec(), tally));
        }
        Ok((result, ()))
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

    fn put(&mut self, slot: Slot, records: &[(&[u8], Record<'_>)]) -> Result<(), ShelfError> {
        let mut made: Vec<(Head, &[u8], Tally)> = Vec::with_capacity(records.len());
        for (key, record) in records {
            let bytes = match record.body {
                Body::Live { bytes, .. } => bytes,
                Body::Tombstone => &[],
            };
            let tally = minus(counted(Some(record)), self.tally(slot, key)?);
            made.push((head(self.form, key, record), bytes, tally));
        }
        let ops: Vec<Op<'_>> = records
            .iter()
            .zip(&made)
            .map(|((key, _), (head, body, tally))| Op {
                at: self.address(slot, key),
                put: Some(Parts { head: head.as_bytes(), body }),
                tally: *tally,
            })
            .collect();
        self.submit(&ops)
    }

    fn remove(&mut self, slot: Slot, keys: &[&[u8]]) -> Result<(), ShelfError> {
        let mut ops = Vec::with_capacity(keys.len());
        for key in keys {
            let tally = minus(Tally::default(), self.tally(slot, key)?);
            ops.push(Op { at: self.address(slot, key), put: None, tally });
        }
        self.submit(&ops)
    }
}

#[cfg(test)]
mod tests;
