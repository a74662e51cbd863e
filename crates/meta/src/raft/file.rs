//! The one file in which a node keeps its part in agreeing on the map: a redb database.
//!
//! ```text
//! facts    name  -> postcard value, crc32c
//! entries  index -> postcard log entry, crc32c
//! ```
//!
//! Holds: what a method wrote is on the disk when it returns. Damaged values are refused by
//! name. After a failed write no other is tried (redb refuses them until it is opened anew).
//!
//! Does not know: what the facts mean.

use super::types::{Entry, LogId};
use redb::{
    Database, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::OpenOptions;
use std::io;
use std::ops::RangeBounds;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FACTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("facts");
const ENTRIES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("entries");

/// The format of the file: what the facts are called and look like.
const FORMAT: u32 = 1;
/// Enough for the log's head and tail; the whole file is seldom larger.
const CACHE_BYTES: usize = 4 << 20;
const CRC: usize = 4;

/// The names of facts.
pub(super) mod fact {
    /// The format of the file.
    pub(in crate::raft) const FORMAT: &str = "format";
    /// Whose file this is: a node id.
    pub(in crate::raft) const NODE: &str = "node";
    /// Whether the node runs Raft, and since when it may.
    pub(in crate::raft) const MODE: &str = "mode";
    /// Raft's vote.
    pub(in crate::raft) const VOTE: &str = "vote";
    /// How far the log is known to be committed.
    pub(in crate::raft) const COMMITTED: &str = "committed";
    /// The last log entry that was dropped because a snapshot has it.
    pub(in crate::raft) const PURGED: &str = "purged";
    /// The newest snapshot.
    pub(in crate::raft) const SNAPSHOT: &str = "snapshot";
    /// The newest map that was pulled from a peer.
    pub(in crate::raft) const PULLED: &str = "pulled";
}

/// The open file.
#[derive(Debug)]
pub(super) struct RaftFile {
    path: PathBuf,
    database: Database,
}

impl RaftFile {
    /// Makes a new file, empty but for what `fill` writes, all in one step.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn create(
        path: &Path,
        fill: impl FnOnce(&Change<'_>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let database = builder().create_file(file).map_err(|error| other(&error.into()))?;
        Self::begin(path, database, fill)
    }

    /// Begins a new file in an empty database.
    pub(super) fn begin(
        path: &Path,
        database: Database,
        fill: impl FnOnce(&Change<'_>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let file = Self { path: path.to_owned(), database };
        file.change(|change| {
            change.put(fact::FORMAT, &FORMAT)?;
            fill(change)
        })?;
        Ok(file)
    }

    /// Opens a file that is there.
    ///
    /// # Errors
    /// Where it cannot be read, is another's, or was written by a newer version.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let database = builder().open(path).map_err(|error| other(&error.into()))?;
        let file = Self { path: path.to_owned(), database };
        match file.get::<u32>(fact::FORMAT)? {
            Some(FORMAT) => Ok(file),
            Some(format) => Err(invalid(&format!(
                "format version {format} is not known to this version of Shoal"
            ))),
            None => Err(invalid("it says no format: it is not Shoal's, or was never finished")),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Changes several things in one step.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&Change<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let transaction = self.database.begin_write().map_err(|error| other(&error.into()))?;
        let done = change(&Change { transaction: &transaction })?;
        transaction.commit().map_err(|error| other(&error.into()))?;
        Ok(done)
    }

    /// Writes one fact.
    pub(super) fn put<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        self.change(|change| change.put(name, value))
    }

    /// Reads one fact.
    pub(super) fn get<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let read = self.database.begin_read().map_err(|error| other(&error.into()))?;
        let table = match read.open_table(FACTS) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(other(&error.into())),
        };
        let value = table.get(name).map_err(|error| other(&error.into()))?;
        value.map(|sealed| unseal(sealed.value(), name)).transpose()
    }

    /// The entries with these indexes, those of them that are there.
    pub(super) fn entries(&self, range: impl RangeBounds<u64>) -> io::Result<Vec<Entry>> {
        self.first_entries(range, usize::MAX)
    }

    /// The first entries with these indexes, as many as fit into `room` bytes, at least one.
    pub(super) fn first_entries(
        &self,
        range: impl RangeBounds<u64>,
        mut room: usize,
    ) -> io::Result<Vec<Entry>> {
        let read = self.database.begin_read().map_err(|error| other(&error.into()))?;
        let table = match read.open_table(ENTRIES) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(other(&error.into())),
        };
        let mut entries = Vec::new();
        for item in table.range(range).map_err(|error| other(&error.into()))? {
            let (_, sealed) = item.map_err(|error| other(&error.into()))?;
            let length = sealed.value().len();
            if length > room && !entries.is_empty() {
                break;
            }
            room = room.saturating_sub(length);
            entries.push(unseal(sealed.value(), "a log entry")?);
        }
        Ok(entries)
    }

    /// The last entry's position, if there is an entry.
    pub(super) fn last_entry(&self) -> io::Result<Option<LogId>> {
        let read = self.database.begin_read().map_err(|error| other(&error.into()))?;
        let table = match read.open_table(ENTRIES) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(other(&error.into())),
        };
        let last = table.last().map_err(|error| other(&error.into()))?;
        let last = last.map(|(_, sealed)| unseal::<Entry>(sealed.value(), "a log entry"));
        Ok(last.transpose()?.map(|entry| entry.log_id))
    }
}

/// A change under way; it is all there or not at all. Nobody else changes anything meanwhile.
pub(super) struct Change<'a> {
    transaction: &'a WriteTransaction,
}

impl Change<'_> {
    /// Reads one fact, as nobody can change it before this change is made.
    pub(super) fn get<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let table = self.transaction.open_table(FACTS).map_err(|error| other(&error.into()))?;
        let value = table.get(name).map_err(|error| other(&error.into()))?;
        value.map(|sealed| unseal(sealed.value(), name)).transpose()
    }

    /// Writes one fact.
    pub(super) fn put<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        let mut table = self.transaction.open_table(FACTS).map_err(|error| other(&error.into()))?;
        table.insert(name, seal(value)?.as_slice()).map_err(|error| other(&error.into()))?;
        Ok(())
    }

    /// Adds entries to the log.
    pub(super) fn append(&self, entries: impl IntoIterator<Item = Entry>) -> io::Result<()> {
        let mut table =
            self.transaction.open_table(ENTRIES).map_err(|error| other(&error.into()))?;
        for entry in entries {
            let sealed = seal(&entry)?;
            table
                .insert(entry.log_id.index, sealed.as_slice())
                .map_err(|error| other(&error.into()))?;
        }
        Ok(())
    }

    /// Drops the entries with these indexes.
    pub(super) fn drop_entries(&self, range: impl RangeBounds<u64>) -> io::Result<()> {
        let mut table =
            self.transaction.open_table(ENTRIES).map_err(|error| other(&error.into()))?;
        table.retain_in(range, |_, _| false).map_err(|error| other(&error.into()))
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn seal<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut bytes = postcard::to_stdvec(value).map_err(io::Error::other)?;
    let crc = crc32c::crc32c(&bytes);
    bytes.extend(crc.to_be_bytes());
    Ok(bytes)
}

fn unseal<T: DeserializeOwned>(sealed: &[u8], what: &str) -> io::Result<T> {
    let damaged = || invalid(&format!("{what} is damaged"));
    let (bytes, crc) = sealed.split_last_chunk::<CRC>().ok_or_else(damaged)?;
    if crc32c::crc32c(bytes).to_be_bytes() != *crc {
        return Err(damaged());
    }
    postcard::from_bytes(bytes).map_err(|_| damaged())
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The same error in the standard library's words; a full disk stays one.
fn other(error: &redb::Error) -> io::Error {
    match error {
        redb::Error::Io(inner) => io::Error::new(inner.kind(), inner.to_string()),
        _ => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_in_a_value_is_refused_by_name() {
        let good = seal(&(7_u64, "seven")).expect("it has a form");
        assert_eq!(unseal::<(u64, String)>(&good, "it").expect("it is whole").0, 7);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = unseal::<(u64, String)>(&bad, "the vote").expect_err("it is damaged");
            assert!(error.to_string().contains("the vote is damaged"), "{error}");
        }
        for length in 0..good.len() {
            unseal::<(u64, String)>(&good[..length], "it").expect_err("it is cut");
        }
    }

    #[test]
    fn a_file_that_was_never_finished_or_is_anothers_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("raft");
        drop(Database::create(&path).expect("a database of nobody"));
        let error = RaftFile::open(&path).expect_err("it says no format");
        assert!(error.to_string().contains("no format"), "{error}");
        let newer = directory.path().join("newer");
        drop(
            RaftFile::create(&newer, |change| change.put(fact::FORMAT, &(FORMAT + 1)))
                .expect("a file"),
        );
        let error = RaftFile::open(&newer).expect_err("it is newer");
        assert!(error.to_string().contains("format version 2"), "{error}");
    }
}
