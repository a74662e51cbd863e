//! What can go wrong in the commit log.

use std::io;
use std::path::Path;

/// Why the log refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A write or sync failed earlier; nothing is taken or settled any more. What was unsettled
    /// may or may not be there after a restart. A retry does not help.
    #[error("the log stopped: {0}")]
    Poisoned(String),
    /// There is no room for the next segment. Nothing was appended. A retry helps once there is
    /// room; the log looks for it by itself.
    #[error("no room on the disk for a log segment of {needed} bytes")]
    DiskFull {
        /// Bytes that the next segment needs.
        needed: u64,
    },
    /// The entry is longer than the log can take. Nothing was appended; a retry does not help.
    #[error("an entry of {bytes} bytes is longer than {limit}")]
    TooLarge {
        /// The entry's length.
        bytes: u64,
        /// The greatest length.
        limit: u64,
    },
    /// The log was closed. Nothing was appended.
    #[error("the log is closed")]
    Closed,
    /// Stored bytes that once were safe are damaged or missing. The log does not open, since to
    /// go on would be to lose them silently.
    #[error("the log is damaged: {file} at byte {offset}: {what}")]
    Damaged {
        /// The file's name.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file was written by another version of the format.
    #[error("{file} has log format {found}, this program reads {known}")]
    UnknownVersion {
        /// The file's name.
        file: String,
        /// The version in the file.
        found: u32,
        /// The version that is understood.
        known: u32,
    },
    /// The operating system refused while the log was being opened, or whoever takes the replay
    /// did.
    #[error("{0}")]
    Io(String),
}

impl LogError {
    /// An error of the operating system, with what was being done to which file.
    pub(super) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::Io(format!("{doing} {}: {error}", path.display()))
    }

    /// Damage in a file.
    pub(super) fn damaged(file: &str, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), offset, what: what.into() }
    }
}
