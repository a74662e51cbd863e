//! What the engine asks of its sorted store, and nothing more, so that another store can take
//! its place and tests can make it fail at any call.
//!
//! Holds: an ingestion is whole or absent, and durable once `ingest` has returned. A failed
//! ingestion or compaction leaves what readers see as it was; after one the store is reopened
//! before it is written again, so that nothing half-made stays behind. Only one thread ingests
//! and reopens, only one compacts.

use crate::engine::EngineError;

/// Called with key and value; returns whether to go on.
pub(crate) type Show<'v> = dyn FnMut(&[u8], &[u8]) -> bool + 'v;
/// Writes an ingestion's entries into a sink.
pub(crate) type Fill<'f> = dyn FnMut(&mut dyn Sink) -> Result<(), SortedError> + 'f;

/// Keeps entries in key order.
pub(crate) trait Sorted: Send + Sync {
    /// Shows the value under `key`.
    fn get(&self, key: &[u8], visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), SortedError>;

    /// Shows the entries of `from..to` in key order.
    fn range(&self, from: &[u8], to: &[u8], visit: &mut Show<'_>) -> Result<(), SortedError>;

    /// Adds what `fill` hands to its sink, in ascending key order, in one step.
    fn ingest(&self, fill: &mut Fill<'_>) -> Result<(), SortedError>;

    /// Merges a little where that is due. Returns whether anything was done. Ends with
    /// [`SortedError::Full`] when it has written much and less than `floor` bytes are free.
    fn compact_step(&self, floor: u64) -> Result<bool, SortedError>;

    /// Merges everything, or ends as a step does. What it writes is what is left, which may be
    /// far less than there is.
    fn compact_fully(&self, floor: u64) -> Result<(), SortedError>;

    /// How many bytes the next step may have to write, or the present one still has to. Asked
    /// far more often than the figures.
    fn merge_bytes(&self) -> u64;

    /// Drops at once what can be dropped of `from..to` without rewriting anything.
    fn drop_range(&self, from: &[u8], to: &[u8]) -> Result<(), SortedError>;

    /// Makes a running compaction end soon, with [`SortedError::Interrupted`], while `on`.
    fn interrupt(&self, on: bool);

    /// Closes and opens the store, forgetting what an error may have left half done.
    fn reopen(&self) -> Result<(), SortedError>;

    /// How the store is.
    fn figures(&self) -> Figures;
}

/// Takes the entries of an ingestion, in ascending key order.
pub(crate) trait Sink {
    /// Sets a value.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), SortedError>;
    /// Removes a key.
    fn remove(&mut self, key: &[u8]) -> Result<(), SortedError>;
}

/// Figures of a sorted store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Bytes of files.
    pub(crate) bytes: u64,
    /// Entries, counting overwritten ones and the marks of removed ones.
    pub(crate) items: u64,
    /// Marks of removed entries.
    pub(crate) removed: u64,
    /// Overlapping runs that a read may have to look into before the sorted levels.
    pub(crate) runs: usize,
    /// Bytes in memory.
    pub(crate) memory: u64,
}

/// What can go wrong in a sorted store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SortedError {
    /// The disk has no room. Worth another try after a reopen, once there is some.
    #[error("no room on the disk: {0}")]
    Full(String),
    /// Stored bytes are damaged.
    #[error("{file} is damaged: {what}")]
    Corrupt { file: String, what: String },
    /// Anything else the operating system said.
    #[error("{0}")]
    Io(String),
    /// The compaction was told to end.
    #[error("interrupted")]
    Interrupted,
}

impl From<SortedError> for EngineError {
    fn from(error: SortedError) -> Self {
        match error {
            SortedError::Corrupt { file, what } => Self::Corrupt { file, what },
            other => Self::Io(other.to_string()),
        }
    }
}
