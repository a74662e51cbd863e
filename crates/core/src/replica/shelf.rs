//! Where a replica keeps its records, as far as the rules need to know.

use crate::record::{Rank, Record};
use crate::repair::Tree;
use crate::slot::Slot;
use crate::version::Version;

/// A record to be stored, and what it is stored over.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The record.
    pub record: Record<'a>,
    /// Its rank.
    pub rank: Rank,
    /// The rank of what is there, if anything is.
    pub before: Option<Rank>,
}

impl<'a> Put<'a> {
    /// A record to be stored over what is there.
    #[must_use]
    pub fn over(before: Option<Rank>, key: &'a [u8], record: Record<'a>) -> Self {
        Self { key, record, rank: record.rank(), before }
    }
}

/// The records of one partition.
///
/// To be a shelf is to keep these promises: [`put`](Self::put) stores all records or none, and
/// from its return on every look sees them; a [`Ticket`](Self::Ticket) says how far the store must
/// be durable for a record to survive a crash, and what a later ticket covers an earlier one
/// does not exceed. Between a look and the put that follows from it nobody else puts: the caller
/// holds the partition. The [digests](Tree) that are kept of it are told of every put and removal
/// in one with it, so that nobody is at them between the one and the other; and they know nothing
/// any more where something was changed otherwise.
/// A live record may be evicted at any moment, a tombstone never.
pub trait Shelf {
    /// How far the store must be durable; the smallest one needs nothing.
    type Ticket: Copy + Ord + Default;
    /// What can go wrong.
    type Error;

    /// Calls `f` with what is stored under `key`, and says when that is durable.
    ///
    /// # Errors
    /// The store's own.
    fn look<R>(
        &self,
        slot: Slot,
        key: &[u8],
        f: impl FnOnce(Option<&Record<'_>>) -> R,
    ) -> Result<(R, Self::Ticket), Self::Error>;

    /// Calls `f` with at most `limit` records of the slot whose keys come after `after`, in order
    /// of keys, for as long as it wants more, and says when they are durable.
    ///
    /// # Errors
    /// The store's own.
    fn page(
        &self,
        slot: Slot,
        after: Option<&[u8]>,
        limit: usize,
        f: impl FnMut(&[u8], &Record<'_>) -> bool,
    ) -> Result<Self::Ticket, Self::Error>;

    /// The mark of what was evicted in this slot: no version of a record that went was greater. It
    /// has risen before a look misses the record; zero where nothing is ever evicted.
    fn mark(&self, _slot: Slot) -> Version {
        Version::ZERO
    }

    /// Stores these records over whatever is there, and says when they are durable.
    ///
    /// # Errors
    /// The store's own; nothing was stored.
    fn put(&mut self, slot: Slot, records: &[Put<'_>]) -> Result<Self::Ticket, Self::Error>;

    /// Removes what is stored under these keys, with these ranks, as if it had never been, and says
    /// when that is durable.
    ///
    /// # Errors
    /// The store's own; nothing was removed.
    fn remove(&mut self, slot: Slot, keys: &[(&[u8], Rank)]) -> Result<Self::Ticket, Self::Error>;

    /// Calls `f` with the digests that are kept.
    fn tree<R>(&self, f: impl FnOnce(&mut Tree) -> R) -> R;
}
