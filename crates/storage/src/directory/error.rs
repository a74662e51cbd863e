//! Why a data directory is refused.

use std::io;
use std::path::{Path, PathBuf};

/// Why a data directory is refused. Nothing in it was changed, but that the start may be counted.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is something else under this name.
    #[error("{path} is not a directory: name another one with --data")]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Other users may read or write it.
    #[error(
        "{path} is open to other users (mode {mode:04o}): run `chmod 700 {path}`, or name another \
         directory with --data"
    )]
    Exposed {
        /// The path.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Another process uses it.
    #[error("{path} is in use by process {pid}: stop that, or name another directory with --data")]
    InUse {
        /// The path.
        path: PathBuf,
        /// The process, as far as it said.
        pid: String,
    },
    /// It has files, but no identity.
    #[error(
        "{path} holds \"{found}\" but no identity file, so it is not, or no longer, a Shoal data \
         directory: name an empty one with --data, or restore the file \"identity\""
    )]
    Foreign {
        /// The path.
        path: PathBuf,
        /// One of the files found.
        found: String,
    },
    /// A file of the directory itself does not check out.
    #[error("{path} is damaged: {what}; restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer version of Shoal wrote it.
    #[error("{path} is of format {found}, this version reads up to {known}: use a newer version")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format in the file.
        found: u32,
        /// The highest format that is understood.
        known: u32,
    },
    /// What was there once is gone.
    #[error(
        "store_missing: {path} is missing, though this directory had it: put it back, or restore \
         the whole directory from a backup; for an empty node name another directory with --data"
    )]
    Missing {
        /// The file or folder.
        path: PathBuf,
    },
    /// A folder of the directory belongs to another one.
    #[error(
        "store_foreign: {path} {what}, so it does not belong to this directory: put this \
         directory's own \"{name}\" back, or restore the whole directory from a backup"
    )]
    Mixed {
        /// The folder.
        path: PathBuf,
        /// Its name in the directory.
        name: String,
        /// How that shows.
        what: String,
    },
    /// The clock's ceiling is gone.
    #[error(
        "clock_missing: {path} is missing, and without it the node might stamp a write as older \
         than one it follows: put it back, or restore the whole directory from a backup; or, if \
         this machine's time is right and was never ahead of that, make an empty file {path}.reset \
         and start again"
    )]
    CeilingMissing {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{doing} {path}: {error}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl DirectoryError {
    /// A stable word for the reason.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotADirectory { .. } => "not_a_directory",
            Self::Exposed { .. } => "directory_exposed",
            Self::InUse { .. } => "directory_in_use",
            Self::Foreign { .. } => "directory_foreign",
            Self::Damaged { .. } => "directory_damaged",
            Self::Newer { .. } => "directory_newer",
            Self::Missing { .. } => "store_missing",
            Self::Mixed { .. } => "store_foreign",
            Self::CeilingMissing { .. } => "clock_missing",
            Self::Io { .. } => "directory_io",
        }
    }
}

pub(super) fn io_error(doing: &'static str, path: &Path, error: io::Error) -> DirectoryError {
    DirectoryError::Io { doing, path: path.to_owned(), error }
}
