//! The data directory: who it belongs to, that nobody else uses it, and the few small files that
//! have to be replaced as a whole.
//!
//! Holds: a directory is used by one process at a time. One that is not Shoal's, that is of a
//! newer format or of damaged identity, or that others may read, is refused by name before
//! anything in it is touched. A file is replaced by writing another beside it, syncing that,
//! renaming it and syncing the directory: after a crash it is the old one or the new one.
//!
//! Does not know: what the engines keep in it.

mod ceiling;

pub use ceiling::Ceiling;

use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const IDENTITY: &str = "identity";
const LOCK: &str = "lock";
const MAGIC: [u8; 8] = *b"SHOALdir";
/// The format of the directory as a whole.
const FORMAT: u32 = 1;
/// Bytes of an identity file: magic, format, cluster, node, incarnation, checksum.
const IDENTITY_LEN: usize = 8 + 4 + 16 + 4 + 8 + 4;
/// Longer files are not of our making.
const FILE_MAX: u64 = 16_384;

/// Who a data directory belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u128,
    /// The node's number in it.
    pub node_id: u32,
    /// How often the node was started on this directory; rises by one with every opening, so
    /// that no two runs of a node are taken for one.
    pub incarnation: u64,
}

/// Why a data directory is refused. Nothing in it was changed.
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

/// A data directory, locked for this process as long as this lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    identity: Identity,
    _lock: File,
}

impl DataDirectory {
    /// Opens a data directory, making it with mode 0700 if there is none, and counts the start.
    /// `fresh` gives the cluster and the node that a new one belongs to.
    ///
    /// # Errors
    /// The directory is refused, by name.
    pub fn open(path: &Path, fresh: impl FnOnce() -> (u128, u32)) -> Result<Self, DirectoryError> {
        make(path)?;
        let lock = lock(path)?;
        let (cluster_id, node_id, before) = match read_identity(path)? {
            Some(known) => (known.cluster_id, known.node_id, known.incarnation),
            None => {
                check_unused(path)?;
                let (cluster_id, node_id) = fresh();
                (cluster_id, node_id, 0)
            }
        };
        let identity = Identity { cluster_id, node_id, incarnation: before.saturating_add(1) };
        replace_file(path, IDENTITY, &encode_identity(&identity))?;
        Ok(Self { path: path.to_owned(), identity, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who it belongs to.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Lets it belong to another cluster or node from now on, durably.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: which identity stands is only known after a restart.
    pub fn set_identity(&mut self, cluster_id: u128, node_id: u32) -> Result<(), DirectoryError> {
        let identity = Identity { cluster_id, node_id, ..self.identity };
        replace_file(&self.path, IDENTITY, &encode_identity(&identity))?;
        self.identity = identity;
        Ok(())
    }

    /// A folder of the directory, made with mode 0700 if it is not there.
    ///
    /// # Errors
    /// [`DirectoryError::Io`].
    pub fn folder(&self, name: &str) -> Result<PathBuf, DirectoryError> {
        let path = self.path.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => sync_dir(&self.path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(io_error("making", &path, error)),
        }
        Ok(path)
    }

    /// A ceiling kept in the directory under `name`.
    ///
    /// # Errors
    /// The file is refused, by name.
    pub fn ceiling(&self, name: &str) -> Result<Ceiling, DirectoryError> {
        Ceiling::open(&self.path, name)
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

fn make(path: &Path) -> Result<(), DirectoryError> {
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            Err(DirectoryError::NotADirectory { path: path.to_owned() })
        }
        Ok(found) if found.mode() & 0o077 != 0 => {
            Err(DirectoryError::Exposed { path: path.to_owned(), mode: found.mode() & 0o7777 })
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|error| io_error("making", path, error))?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            sync_dir(parent.unwrap_or(Path::new(".")))
        }
        Err(error) => Err(io_error("looking at", path, error)),
    }
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
            let read = file.take(20).read_to_string(&mut pid);
            let pid = pid.trim();
            let known = read.is_ok() && !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
            let pid = if known { pid } else { "(unknown)" };
            return Err(DirectoryError::InUse { path: dir.to_owned(), pid: pid.to_owned() });
        }
        Err(error) => return Err(io_error("locking", &path, error.into())),
    }
    // Only for the message above; that it may be lost does not matter.
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        .map_err(|error| io_error("writing", &path, error))?;
    Ok(file)
}

/// A directory without an identity is new only if it has nothing but what an opening that was
/// cut short leaves behind.
fn check_unused(path: &Path) -> Result<(), DirectoryError> {
    let entries = fs::read_dir(path).map_err(|error| io_error("listing", path, error))?;
    for entry in entries {
        let name = entry.map_err(|error| io_error("listing", path, error))?.file_name();
        if name != LOCK && name != "identity.new" && name != "lost+found" {
            let found = name.to_string_lossy().into_owned();
            return Err(DirectoryError::Foreign { path: path.to_owned(), found });
        }
    }
    Ok(())
}

fn encode_identity(identity: &Identity) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IDENTITY_LEN);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&identity.cluster_id.to_le_bytes());
    bytes.extend_from_slice(&identity.node_id.to_le_bytes());
    bytes.extend_from_slice(&identity.incarnation.to_le_bytes());
    seal(&mut bytes);
    bytes
}

fn read_identity(dir: &Path) -> Result<Option<Identity>, DirectoryError> {
    let path = dir.join(IDENTITY);
    let Some(bytes) = read_file(&path)? else { return Ok(None) };
    let damaged = |what: &str| DirectoryError::Damaged { path: path.clone(), what: what.into() };
    let Some((magic, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(damaged("it is too short"));
    };
    if *magic != MAGIC {
        return Err(damaged("it does not begin as a Shoal identity file does"));
    }
    // The format comes before the checksum, since a newer one may be sealed otherwise.
    let Some((format, _)) = rest.split_first_chunk::<4>() else {
        return Err(damaged("it is too short"));
    };
    let found = u32::from_le_bytes(*format);
    let sound = unseal(&bytes);
    if found != FORMAT && (sound.is_some() || found > FORMAT && found < 1_000) {
        return Err(DirectoryError::Newer { path, found, known: FORMAT });
    }
    let body = sound.ok_or_else(|| damaged("its checksum does not match"))?;
    parse_identity(&body[12..]).ok_or_else(|| damaged("it has the wrong length")).map(Some)
}

fn parse_identity(bytes: &[u8]) -> Option<Identity> {
    let (cluster_id, rest) = bytes.split_first_chunk()?;
    let (node_id, rest) = rest.split_first_chunk()?;
    Some(Identity {
        cluster_id: u128::from_le_bytes(*cluster_id),
        node_id: u32::from_le_bytes(*node_id),
        incarnation: u64::from_le_bytes(rest.try_into().ok()?),
    })
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

fn io_error(doing: &'static str, path: &Path, error: io::Error) -> DirectoryError {
    DirectoryError::Io { doing, path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    fn open(path: &Path) -> Result<DataDirectory, DirectoryError> {
        DataDirectory::open(path, || (7, 1))
    }

    #[test]
    fn a_new_directory_is_private_and_keeps_who_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b");
        let mut made = open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        assert_eq!(made.identity(), Identity { cluster_id: 7, node_id: 1, incarnation: 1 });
        assert_eq!(fs::metadata(made.folder("x").unwrap()).unwrap().mode() & 0o777, 0o700);
        made.folder("x").unwrap();
        made.set_identity(9, 3).unwrap();
        drop(made);
        let again = DataDirectory::open(&path, || panic!("it is not new")).unwrap();
        assert_eq!(again.identity(), Identity { cluster_id: 9, node_id: 3, incarnation: 2 });
    }

    #[test]
    fn a_second_opener_is_told_who_has_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("d");
        let _first = open(&path).unwrap();
        let pid = std::process::id().to_string();
        match open(&path) {
            Err(DirectoryError::InUse { pid: told, .. }) => assert_eq!(told, pid),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_ours_or_open_to_others_is_refused_and_untouched() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, b"x").unwrap();
        assert!(matches!(open(&file), Err(DirectoryError::NotADirectory { .. })));

        let exposed = temp.path().join("exposed");
        fs::create_dir(&exposed).unwrap();
        fs::set_permissions(&exposed, Permissions::from_mode(0o750)).unwrap();
        let refused = open(&exposed).unwrap_err();
        assert!(matches!(refused, DirectoryError::Exposed { mode: 0o750, .. }), "{refused}");
        assert!(refused.to_string().contains("chmod 700"));
        assert_eq!(fs::read_dir(&exposed).unwrap().count(), 0);

        let foreign = temp.path().join("foreign");
        DirBuilder::new().mode(0o700).create(&foreign).unwrap();
        fs::write(foreign.join("notes.txt"), b"x").unwrap();
        match open(&foreign) {
            Err(DirectoryError::Foreign { found, .. }) => assert_eq!(found, "notes.txt"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_opening_cut_short_is_begun_again() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("d");
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        fs::write(path.join("identity.new"), b"half").unwrap();
        assert_eq!(open(&path).unwrap().identity().incarnation, 1);
    }

    #[test]
    fn every_flip_and_every_cut_of_the_identity_is_found() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("d");
        drop(open(&path).unwrap());
        let file = path.join(IDENTITY);
        let good = fs::read(&file).unwrap();
        assert_eq!(good.len(), IDENTITY_LEN);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, &bad).unwrap();
            let refused = open(&path).expect_err("a flipped bit");
            let named =
                matches!(refused, DirectoryError::Damaged { .. } | DirectoryError::Newer { .. });
            assert!(named, "bit {bit}: {refused}");
            assert_eq!(fs::read(&file).unwrap(), bad, "a refused directory is not touched");
        }
        for len in 0..good.len() {
            fs::write(&file, &good[..len]).unwrap();
            let refused = open(&path).expect_err("a cut file");
            assert!(matches!(refused, DirectoryError::Damaged { .. }), "{len}: {refused}");
        }
        fs::write(&file, &good).unwrap();
        open(&path).unwrap();
    }

    #[test]
    fn a_newer_format_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("d");
        drop(open(&path).unwrap());
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&2_u32.to_le_bytes());
        bytes.extend_from_slice(b"whatever a later version writes");
        fs::write(path.join(IDENTITY), bytes).unwrap();
        let refused = open(&path).unwrap_err();
        assert!(matches!(refused, DirectoryError::Newer { found: 2, known: 1, .. }), "{refused}");
    }
}
