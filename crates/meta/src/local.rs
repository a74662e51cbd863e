//! The map of a cluster of one, in one file that is replaced as a whole.
//!
//! Holds: the file always holds one whole map, the newest that was answered or the one being
//! written: it is written beside the old one, synced, renamed over it, and the directory synced.
//! After a failure from the renaming on the store refuses further changes, since what the
//! directory says is not known until it is read again.

use crate::{MapStore, MetaError};
use parking_lot::Mutex;
use shoal_core::codec::map::{decode, encode};
use shoal_core::map::{ClusterMap, Command};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the map's file.
const FILE: &str = "map";
/// The name under which the next map is written.
const NEXT: &str = "map.next";

/// Keeps the map in a directory.
#[derive(Debug)]
pub struct LocalStore {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    map: Arc<ClusterMap>,
    /// A replacement failed half-way.
    in_doubt: bool,
}

impl LocalStore {
    /// Opens the map in `directory`; where there is none, founds a cluster with `founding`, which
    /// gives `None` where there ought to be one.
    ///
    /// # Errors
    /// [`MetaError::File`] where the file is damaged or cannot be read or written.
    pub fn open(
        directory: &Path,
        founding: impl FnOnce() -> Option<Command>,
    ) -> Result<Self, MetaError> {
        let path = directory.join(FILE);
        let map = match fs::read(&path) {
            Ok(bytes) => {
                let map = decode(&bytes).map_err(|error| file_error(&path, &error))?;
                map.check().map_err(|what| file_error(&path, &what))?;
                map
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let missing =
                    || file_error(&path, &"it is missing, though the directory holds data");
                let map = ClusterMap::default().apply(&founding().ok_or_else(missing)?)?;
                write_next(directory, &map)?;
                put_in_place(directory)?;
                map
            }
            Err(error) => return Err(file_error(&path, &error)),
        };
        let state = State { map: Arc::new(map), in_doubt: false };
        Ok(Self { directory: directory.to_owned(), state: Mutex::new(state) })
    }
}

impl MapStore for LocalStore {
    fn current(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.state.lock().map)
    }

    fn propose(&self, command: &Command) -> Result<Arc<ClusterMap>, MetaError> {
        let mut state = self.state.lock();
        if state.in_doubt {
            return Err(MetaError::InDoubt {
                file: self.directory.join(FILE).display().to_string(),
                what: "an earlier change failed half-way".to_owned(),
            });
        }
        let next = state.map.apply(command)?;
        next.check().map_err(|what| file_error(&self.directory.join(FILE), &what))?;
        // As long as the new map is only written beside the old one, nothing has happened.
        write_next(&self.directory, &next)?;
        if let Err(error) = put_in_place(&self.directory) {
            state.in_doubt = true;
            return Err(error);
        }
        state.map = Arc::new(next);
        Ok(Arc::clone(&state.map))
    }
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
    write().map_err(|error| file_error(&next, &error))
}

/// Puts the map that was written beside the old one in its place.
fn put_in_place(directory: &Path) -> Result<(), MetaError> {
    let path = directory.join(FILE);
    let put = || {
        fs::rename(directory.join(NEXT), &path)?;
        File::open(directory)?.sync_all()
    };
    put().map_err(|error: io::Error| MetaError::InDoubt {
        file: path.display().to_string(),
        what: error.to_string(),
    })
}

fn file_error(path: &Path, what: &dyn std::fmt::Display) -> MetaError {
    MetaError::File { file: path.display().to_string(), what: what.to_string() }
}

#[cfg(test)]
mod tests;
