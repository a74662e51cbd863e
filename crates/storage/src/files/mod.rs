//! The seam between the commit log and the operating system's files.
//!
//! Holds: whoever implements [`Files`] keeps these promises, which are those of a POSIX file
//! system and no more:
//!
//! 1. Bytes written are visible to every later read. They survive a loss of power only once a
//!    `sync_data` that began after the write has returned `Ok`.
//! 2. A name that was made, renamed or removed is visible at once. It survives a loss of power
//!    only once a `sync_dir` of its folder that began afterwards has returned `Ok`.
//! 3. A rename replaces its target in one step: a reader, also one after a loss of power, finds
//!    the old file or the new one.
//! 4. After an error nothing is known: not whether bytes were written, and not whether a later
//!    sync covers them.
//!
//! Does not know: what is in the files.

mod real;

pub use real::RealFiles;

use std::io;
use std::path::Path;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must be there; it is read and written.
    Existing,
    /// It is made empty, whether it was there or not.
    Fresh,
}

/// Names and folders. The promises are in the module's text.
pub trait Files: Send + Sync {
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// Of the operating system; `NotFound` where an existing file is not there.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>>;

    /// Gives a file another name in the same file system, replacing what had it.
    ///
    /// # Errors
    /// Of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// Of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names of the files in a folder, in no order. Names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// Of the operating system; `NotFound` where the folder is not there.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a folder, unless it is there. Its parent must be there.
    ///
    /// # Errors
    /// Of the operating system.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a folder survive a loss of power.
    ///
    /// # Errors
    /// Of the operating system.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that may still be written to the file system that holds `dir`.
    ///
    /// # Errors
    /// Of the operating system.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file. All methods may be called from several threads at once.
pub trait File: Send + Sync {
    /// The length in bytes.
    ///
    /// # Errors
    /// Of the operating system.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// Of the operating system.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset` on as far as the file goes, and returns how many bytes that
    /// were: fewer than asked for only at the file's end.
    ///
    /// # Errors
    /// Of the operating system.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, lengthening the file where needed.
    ///
    /// # Errors
    /// Of the operating system; some of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or lengthens the file; what is added reads as zeros.
    ///
    /// # Errors
    /// Of the operating system.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Lengthens the file to at least `len` bytes and takes the room for them on the disk, so
    /// that a full disk shows now and not later. Where the file system cannot, only the length
    /// changes.
    ///
    /// # Errors
    /// Of the operating system; `StorageFull` where there is no room.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes bytes and length survive a loss of power.
    ///
    /// # Errors
    /// Of the operating system. What was not yet synced may be lost for good, and a second call
    /// that succeeds does not change that.
    fn sync_data(&self) -> io::Result<()>;
}

/// Whether an error says that the disk, or the user's share of it, is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
