//! Where a replica keeps its records, as far as the rules need to know.

use crate::record::Record;
use crate::slot::Slot;

/// The records of one partition.
///
/// To be a shelf is to keep these promises: [`put`](Self::put) stores all records or none, and
/// from its return on every look sees them; a [`Ticket`](Self::Ticket) says how far the store must
/// be durable for a record to survive a crash, and what a later ticket covers an earlier one
/// does not exceed. Between a look and the put that follows from it nobody else puts: the caller
/// holds the partition.
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

    /// Stores these records over whatever is there, and says when they are durable.
    ///
    /// # Errors
    /// The store's own; nothing was stored.
    fn put(
        &mut self,
        slot: Slot,
        records: &[(&[u8], Record<'_>)],
    ) -> Result<Self::Ticket, Self::Error>;

    /// Removes what is stored under these keys, as if it had never been, and says when that is
    /// durable.
    ///
    /// # Errors
    /// The store's own; nothing was removed.
    fn remove(&mut self, slot: Slot, keys: &[&[u8]]) -> Result<Self::Ticket, Self::Error>;
}
