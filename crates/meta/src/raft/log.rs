//! Raft's log and vote, in the node's file.
//!
//! Holds: openraft's contract of log storage (its conformance suite runs against it): entries
//! have no holes, writes are in order, and what was acknowledged is on the disk. Everything
//! happens in line on the runtime: entries are small and rare, and virtual time stays exact.

use super::file::{RaftFile, fact};
use super::types::{Entry, LogId, Types, Vote};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

/// How many bytes of entries one message carries.
const MESSAGE_BYTES: usize = 1 << 20;

/// The log, and what reads it: both are the file.
#[derive(Clone, Debug)]
pub(super) struct Log {
    file: Arc<RaftFile>,
}

impl Log {
    pub(super) fn new(file: Arc<RaftFile>) -> Self {
        Self { file }
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        self.file.entries(range)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.file.get(fact::VOTE)
    }

    /// What one message carries: the first entries, bounded in bytes, at least one.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.file.first_entries(start..end, MESSAGE_BYTES)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let purged: Option<LogId> = self.file.get(fact::PURGED)?;
        let last = self.file.last_entry()?;
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.file.put(fact::VOTE, vote)
    }

    // Durable, since what is committed is shown right afterwards, and no map that was shown may
    // be unknown after a restart.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.file.put(fact::COMMITTED, &committed)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.file.get::<Option<LogId>>(fact::COMMITTED)?.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.file.change(|change| change.append(entries))?;
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let first = last.map_or(0, |last| last.index.saturating_add(1));
        self.file.change(|change| change.drop_entries(first..))
    }

    async fn purge(&mut self, last: LogId) -> io::Result<()> {
        self.file.change(|change| {
            change.put(fact::PURGED, &last)?;
            change.drop_entries(..=last.index)
        })
    }
}
