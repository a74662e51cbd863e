//! The map of a cluster of one, in one file that is replaced as a whole.
//!
//! Holds: the file always holds one whole map, the newest that was answered or the one being
//! written: it is written beside the old one, synced, renamed over it, and the directory synced.
//! After a failure from the renaming on the store refuses further changes, since what the
//! directory says is not known until it is read again. A directory in which a node of a cluster
//! keeps the map is never opened, nor changed by a store that was retired.

use crate::raft::RAFT;
use crate::{MapStore, MetaError};
use parking_lot::Mutex;
use shoal_core::codec::map::{decode, encode};
use shoal_core::ids::NodeId;
use shoal_core::map::{ClusterMap, Command};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The name of the map's file.
const FILE: &str = "map";
/// The name under which the next map is written.
const NEXT: &str = "map.next";

/// Keeps the map in a directory.
#[derive(Debug)]
pub struct LocalStore {
    directory: PathBuf,
    map: Mutex<Arc<ClusterMap>>,
    /// A replacement failed half-way. Set under the lock of the map, read without it.
    in_doubt: AtomicBool,
    /// The map is kept elsewhere. Set and read under the lock of the map.
    retired: AtomicBool,
}

impl LocalStore {
    /// Opens the map in `directory`; where there is none, founds a cluster with `founding`, which
    /// gives `None` where there ought to be one.
    ///
    /// # Errors
    /// [`MetaError::File`] where the file is damaged or cannot be read or written, or where the
    /// directory belongs to a node of a cluster.
    pub fn open(
        directory: &Path,
        founding: impl FnOnce() -> Option<Command>,
    ) -> Result<Self, MetaError> {
        refuse_several(directory)?;
        let path = directory.join(FILE);
        let map = match fs::read(&path) {
            Ok(bytes) => {
                let map = decode(&bytes).map_err(|error| file_error(&path, &error))?;
                map.check().map_err(|what| file_error(&path, &what))?;
                // Whoever put it in place may have ended before the name was durable.
                sync_names(directory).map_err(|error| file_error(&path, &error))?;
                map
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let missing = || {
                    let what = "it is missing, though the directory holds data: put it back, or \
                                restore the whole directory from a backup";
                    file_error(&path, &what)
                };
                let map = ClusterMap::default().apply(&founding().ok_or_else(missing)?)?;
                write_next(directory, &map)?;
                put_in_place(directory)?;
                map
            }
            Err(error) => return Err(file_error(&path, &error)),
        };
        let map = Mutex::new(Arc::new(map));
        Ok(Self {
            directory: directory.to_owned(),
            map,
            in_doubt: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        })
    }

    /// Takes no change any more, from when this returns, so that a
    /// [`RaftStore`](crate::raft::RaftStore) can be opened over the directory while this store is
    /// still read: no file is kept open here. Every later proposal is refused with
    /// [`MetaError::Peer`], which says that the map is kept elsewhere now.
    ///
    /// # Errors
    /// [`MetaError::InDoubt`] where what the directory says is not known: it was not retired.
    pub fn retire(&self) -> Result<(), MetaError> {
        let _no_change_meanwhile = self.map.lock();
        if let Some(doubt) = self.in_doubt() {
            return Err(doubt);
        }
        self.retired.store(true, Ordering::Release);
        Ok(())
    }

    /// Takes changes again, where nothing came of that for which the store was retired.
    ///
    /// # Errors
    /// [`MetaError::File`] where the directory belongs to a node of a cluster by now, or that
    /// cannot be seen.
    pub fn resume(&self) -> Result<(), MetaError> {
        let _no_change_meanwhile = self.map.lock();
        refuse_several(&self.directory)?;
        self.retired.store(false, Ordering::Release);
        Ok(())
    }
}

impl MapStore for LocalStore {
    fn current(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.map.lock())
    }

    fn in_doubt(&self) -> Option<MetaError> {
        self.in_doubt.load(Ordering::Acquire).then(|| MetaError::InDoubt {
            file: self.directory.join(FILE).display().to_string(),
            what: "an earlier change failed half-way".to_owned(),
        })
    }

    fn propose(&self, command: &Command) -> Result<Arc<ClusterMap>, MetaError> {
        let mut map = self.map.lock();
        if let Some(doubt) = self.in_doubt() {
            return Err(doubt);
        }
        if self.retired.load(Ordering::Acquire) {
            let node = map.nodes.keys().next().copied().unwrap_or(NodeId(0));
            let what = "it is kept elsewhere now, by the nodes of a cluster: ask again";
            return Err(MetaError::Peer { node, what: what.to_owned() });
        }
        let next = map.apply(command)?;
        next.check().map_err(|what| file_error(&self.directory.join(FILE), &what))?;
        // As long as the new map is only written beside the old one, nothing has happened.
        write_next(&self.directory, &next)?;
        if let Err(error) = put_in_place(&self.directory) {
            self.in_doubt.store(true, Ordering::Release);
            return Err(error);
        }
        *map = Arc::new(next);
        Ok(Arc::clone(&map))
    }
}

/// Refuses a directory in which a node of a cluster keeps the map.
fn refuse_several(directory: &Path) -> Result<(), MetaError> {
    let path = directory.join(RAFT);
    if path.try_exists().map_err(|error| file_error(&path, &error))? {
        let what = "the directory belongs to a node of a cluster now, and is no single node's";
        return Err(file_error(&path, &what));
    }
    Ok(())
}

/// Writes `map` beside the old one, durably.
fn write_next(directory: &Path, map: &ClusterMap) -> Result<(), MetaError> {
    let next = directory.join(NEXT);
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&next)?;
        file.write_all(&encode(map))?;
        file.sync_all()
    };
    write().map_err(|error: io::Error| {
        // It would only take room that is needed.
        let _it_is_overwritten_next_time = fs::remove_file(&next);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                MetaError::Full { file: next.display().to_string(), what: error.to_string() }
            }
            _ => file_error(&next, &error),
        }
    })
}

/// Puts the map that was written beside the old one in its place.
fn put_in_place(directory: &Path) -> Result<(), MetaError> {
    let path = directory.join(FILE);
    let put = || {
        fs::rename(directory.join(NEXT), &path)?;
        sync_names(directory)
    };
    put().map_err(|error: io::Error| MetaError::InDoubt {
        file: path.display().to_string(),
        what: error.to_string(),
    })
}

fn sync_names(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn file_error(path: &Path, what: &dyn std::fmt::Display) -> MetaError {
    MetaError::File { file: path.display().to_string(), what: what.to_string() }
}

#[cfg(test)]
mod tests;
