//! The data directory: who it belongs to, that nobody else uses it, that its parts are there and
//! belong together, and the few small files that are kept whole.
//!
//! A new directory gets its identity first, then its parts, and once all of them are durable it
//! is called complete. Until then nothing was served from it, so a start that finds it half made
//! goes on making it; afterwards a part that is missing is a loss, and is refused by name.
//!
//! Holds: a directory is used by one process at a time. One that is not Shoal's, that is of a
//! newer format or of damaged identity, or that others may read, is refused by name before
//! anything in it is touched. A folder of it says whom it belongs to, and another's is refused.
//! A file is replaced by writing another beside it, syncing that, renaming it and syncing the
//! directory: after a crash it is the old one or the new one. Opening a complete directory takes
//! no room on the disk.
//!
//! Does not know: what the engines keep in it.

mod ceiling;
mod error;
mod identity;
mod owner;
mod slots;

pub use ceiling::Ceiling;
pub use error::DirectoryError;
pub use identity::Identity;

use error::io_error;
use identity::{Kept, Record, Stage};
use owner::Owner;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
/// What replacing [`Unowned::NOTE`] leaves behind when it is cut short.
const NOTE_BEGUN: &str = "joining.new";
/// Bytes of the lock's text: a process number and blanks.
const PID_LEN: usize = 20;
/// Longer files are not of our making.
const FILE_MAX: u64 = 16_384;

/// What is found where a data directory is to be. Either way it is locked for this process.
#[derive(Debug)]
pub enum Opened {
    /// It says who it belongs to.
    Owned(DataDirectory),
    /// It belongs to nobody yet.
    Unowned(Unowned),
}

impl Opened {
    /// Opens a data directory, making it with mode 0700 if there is none. The start of one that
    /// belongs to a node is counted.
    ///
    /// # Errors
    /// The directory is refused, by name.
    pub fn at(path: &Path) -> Result<Self, DirectoryError> {
        make(path)?;
        let lock = lock(path)?;
        let path = path.to_owned();
        if let Some(kept) = Kept::begin(&path)? {
            return Ok(Self::Owned(DataDirectory { path, kept, _lock: lock }));
        }
        check_unused(&path)?;
        Ok(Self::Unowned(Unowned { path, lock }))
    }
}

/// A data directory that belongs to nobody yet, locked for this process as long as this lives: its
/// node has to find out first which cluster lets it in, and under which id.
///
/// Beside the lock it may hold one file, [`Unowned::NOTE`], in which the node keeps what it must
/// not forget until it is let in.
#[derive(Debug)]
pub struct Unowned {
    path: PathBuf,
    lock: File,
}

impl Unowned {
    /// The name of the one file that is kept in a directory before it belongs to anybody.
    pub const NOTE: &str = "joining";

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it the directory of a node, durably.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: whether it belongs to the node is only known after a restart.
    pub fn belong(self, cluster_id: u128, node_id: u32) -> Result<DataDirectory, DirectoryError> {
        let identity = Identity { cluster_id, node_id, incarnation: 1 };
        let kept = Kept::make(&self.path, identity, Stage::Founding)?;
        Ok(DataDirectory { path: self.path, kept, _lock: self.lock })
    }
}

/// A data directory, locked for this process as long as this lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    kept: Kept,
    _lock: File,
}

impl DataDirectory {
    /// Opens a data directory, making it with mode 0700 if there is none, and counts the start.
    /// `fresh` gives the cluster and the node that a new one belongs to.
    ///
    /// # Errors
    /// The directory is refused, by name.
    pub fn open(path: &Path, fresh: impl FnOnce() -> (u128, u32)) -> Result<Self, DirectoryError> {
        match Opened::at(path)? {
            Opened::Owned(directory) => Ok(directory),
            Opened::Unowned(unowned) => {
                let (cluster_id, node_id) = fresh();
                unowned.belong(cluster_id, node_id)
            }
        }
    }

    /// Whether the directory at `path`, if there is one, says who it belongs to.
    #[must_use]
    pub fn is_owned(path: &Path) -> bool {
        path.join(identity::FILE).exists()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who it belongs to.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.record().identity
    }

    /// Whether all its parts were there once, so that none may be made anew.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.record().stage == Stage::Complete
    }

    /// A folder of the directory, made with mode 0700 and marked as the directory's if it is not
    /// there yet. In a complete directory it is there, with all of `parts`, which are paths below
    /// it.
    ///
    /// # Errors
    /// The folder is refused, by name.
    pub fn folder(&self, name: &str, parts: &[&str]) -> Result<PathBuf, DirectoryError> {
        let path = self.path.join(name);
        if self.is_complete() {
            require(&path)?;
        } else {
            make_folder(&self.path, &path)?;
        }
        let mixed = |what: String| DirectoryError::Mixed {
            path: path.clone(),
            name: name.to_owned(),
            what,
        };
        match (owner::look(&path, self.record())?, self.record().stage) {
            (Owner::Us, Stage::Complete) => {
                parts.iter().try_for_each(|part| require(&path.join(part)))?;
            }
            // The mark may be seen and not be durable.
            (Owner::Us, _) => sync_dir(&path)?,
            (Owner::Another(what), _) => return Err(mixed(what)),
            (Owner::Nobody, Stage::TakingOver) => owner::mark(&path, self.record())?,
            (Owner::Nobody, Stage::Founding) if is_unused(&path)? => {
                owner::mark(&path, self.record())?;
            }
            (Owner::Nobody, _) => {
                return Err(mixed(format!("holds no file \"{}\"", owner::FILE)));
            }
        }
        Ok(path)
    }

    /// A ceiling kept in the directory under `name`. In a complete directory it is there, unless
    /// an operator has said, by an empty file `name.reset`, that it may begin anew.
    ///
    /// # Errors
    /// The file is refused, by name.
    pub fn ceiling(&self, name: &str) -> Result<Ceiling, DirectoryError> {
        let reset = self.path.join(format!("{name}.reset"));
        let found = Ceiling::find(&self.path, name)?;
        let ceiling = match found {
            Some(found) => found,
            None if !self.is_complete() || reset.exists() => Ceiling::make(&self.path, name, 0)?,
            None => return Err(DirectoryError::CeilingMissing { path: self.path.join(name) }),
        };
        // Said once, it holds once.
        match fs::remove_file(&reset) {
            Ok(()) => {
                tracing::warn!(path = %reset.display(), "the clock began anew, as was asked");
                sync_dir(&self.path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("removing", &reset, error)),
        }
        Ok(ceiling)
    }

    /// Says that all parts are there: from now on none of them may be missing. Does nothing where
    /// that was said before.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: whether it was said is only known after a restart.
    pub fn complete(&mut self) -> Result<(), DirectoryError> {
        if self.is_complete() {
            return Ok(());
        }
        // A start that was cut short may have made names and not have synced them.
        sync_dir(&self.path)?;
        sync_ancestors(&self.path)?;
        self.kept.change(Record { stage: Stage::Complete, ..*self.record() })
    }

    const fn record(&self) -> &Record {
        self.kept.record()
    }
}

/// Replaces the file `name` in `dir` by one that holds `bytes`, durably and as a whole.
///
/// # Errors
/// [`DirectoryError::Io`]: the file is the old one or the new one.
pub fn replace_file(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), DirectoryError> {
    let path = dir.join(name);
    let beside = dir.join(format!("{name}.new"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(|error| io_error("making", &beside, error))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|error| io_error("writing", &beside, error))?;
    fs::rename(&beside, &path).map_err(|error| io_error("renaming to", &path, error))?;
    sync_dir(dir)
}

/// As [`replace_file`], with `magic` before `bytes` and a checksum after them.
///
/// # Errors
/// As [`replace_file`].
pub fn replace_sealed(
    dir: &Path,
    name: &str,
    magic: [u8; 8],
    bytes: &[u8],
) -> Result<(), DirectoryError> {
    let mut sealed = [&magic, bytes].concat();
    seal(&mut sealed);
    replace_file(dir, name, &sealed)
}

/// What [`replace_sealed`] wrote, up to 16 KiB; `None` if there is no such file.
///
/// # Errors
/// [`DirectoryError::Damaged`] where the magic or the checksum is another, or
/// [`DirectoryError::Io`].
pub fn read_sealed(
    dir: &Path,
    name: &str,
    magic: [u8; 8],
) -> Result<Option<Vec<u8>>, DirectoryError> {
    let path = dir.join(name);
    let Some(bytes) = read_file(&path)? else { return Ok(None) };
    match unseal(&bytes).and_then(|body| body.strip_prefix(&magic)) {
        Some(body) => Ok(Some(body.to_vec())),
        None => {
            let what = "its first bytes or its checksum are wrong".to_owned();
            Err(DirectoryError::Damaged { path, what })
        }
    }
}

/// Removes the file `name` in `dir`, durably; does nothing where there is none.
///
/// # Errors
/// [`DirectoryError::Io`]: whether it is there is only known after a restart.
pub fn remove_file(dir: &Path, name: &str) -> Result<(), DirectoryError> {
    let path = dir.join(name);
    match fs::remove_file(&path) {
        Ok(()) => sync_dir(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("removing", &path, error)),
    }
}

/// Makes the directory if it is not there, and looks whether it may be used.
fn make(path: &Path) -> Result<(), DirectoryError> {
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            Err(DirectoryError::NotADirectory { path: path.to_owned() })
        }
        Ok(found) if found.mode() & 0o077 != 0 => {
            Err(DirectoryError::Exposed { path: path.to_owned(), mode: found.mode() & 0o7777 })
        }
        Ok(_) => Ok(()),
        // Its name, and those of the folders above it, are synced before it is complete.
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| io_error("making", path, error)),
        Err(error) => Err(io_error("looking at", path, error)),
    }
}

/// Makes the names durable by which the directory is found. A folder above that may not be read
/// was not made by us.
fn sync_ancestors(path: &Path) -> Result<(), DirectoryError> {
    let path = std::path::absolute(path).map_err(|error| io_error("finding", path, error))?;
    for ancestor in path.ancestors().skip(1) {
        match sync_dir(ancestor) {
            Err(DirectoryError::Io { error, .. }) if is_not_ours(&error) => break,
            synced => synced?,
        }
    }
    Ok(())
}

/// Whether a folder can not be synced because it, or its file system, is somebody else's.
fn is_not_ours(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}

fn make_folder(dir: &Path, path: &Path) -> Result<(), DirectoryError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made.map_err(|error| io_error("making", path, error))?,
    }
    // Also where it was there: whoever made it may have ended before this.
    sync_dir(dir)
}

fn require(path: &Path) -> Result<(), DirectoryError> {
    match fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(DirectoryError::Missing { path: path.to_owned() })
        }
        Err(error) => Err(io_error("looking at", path, error)),
    }
}

/// Whether a folder has nothing but what marking it leaves behind when it is cut short.
fn is_unused(folder: &Path) -> Result<bool, DirectoryError> {
    let mark = format!("{}.new", owner::FILE);
    let entries = fs::read_dir(folder).map_err(|error| io_error("listing", folder, error))?;
    for entry in entries {
        let name = entry.map_err(|error| io_error("listing", folder, error))?.file_name();
        if name != *mark {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(dir: &Path) -> Result<File, DirectoryError> {
    let path = dir.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| io_error("opening", &path, error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let read = file.take(PID_LEN as u64).read_to_string(&mut pid);
            let pid = pid.trim();
            let known = read.is_ok() && !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
            let pid = if known { pid } else { "(unknown)" };
            return Err(DirectoryError::InUse { path: dir.to_owned(), pid: pid.to_owned() });
        }
        Err(error) => return Err(io_error("locking", &path, error.into())),
    }
    tell_pid(&mut file);
    Ok(file)
}

/// Writes which process has the directory: only for the message above, so that it may be lost
/// does not matter. Over what is there, as a full disk might not give back what is cut off.
fn tell_pid(file: &mut File) {
    let pid = format!("{:<width$}", std::process::id(), width = PID_LEN);
    if let Err(error) = file.rewind().and_then(|()| file.write_all(pid.as_bytes())) {
        tracing::debug!(%error, "the lock does not say who has it");
        let _better_nobody_than_another = file.set_len(0);
    }
}

/// A directory without an identity is new only if it has nothing but what an opening that was
/// cut short leaves behind.
fn check_unused(path: &Path) -> Result<(), DirectoryError> {
    let entries = fs::read_dir(path).map_err(|error| io_error("listing", path, error))?;
    for entry in entries {
        let name = entry.map_err(|error| io_error("listing", path, error))?.file_name();
        let known = [LOCK, "identity.new", "lost+found", Unowned::NOTE, NOTE_BEGUN];
        if !known.iter().any(|known| name == *known) {
            let found = name.to_string_lossy().into_owned();
            return Err(DirectoryError::Foreign { path: path.to_owned(), found });
        }
    }
    Ok(())
}

/// Appends the checksum of what is there.
fn seal(bytes: &mut Vec<u8>) {
    let sum = crc32c::crc32c(bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
}

/// What stands before the checksum, if that matches.
fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (body, sum) = bytes.split_last_chunk()?;
    (crc32c::crc32c(body) == u32::from_le_bytes(*sum)).then_some(body)
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, DirectoryError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("opening", path, error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| io_error("reading", path, error))?;
    Ok(Some(bytes))
}

fn sync_dir(dir: &Path) -> Result<(), DirectoryError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| io_error("syncing", dir, error))
}

#[cfg(test)]
mod tests;
