//! Where the nodes of `shoal dev` have their data: a directory of the user's, or one that goes
//! when they do.
//!
//! Holds: only a directory made here is removed, and only this user can look into it.

use crate::failure::Failure;
use serde_json::{Value, json};
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A directory. One that is not to be kept is removed with it.
pub(super) struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// This directory, made if it is not there.
    pub(super) fn kept(path: &Path) -> Result<Self, Failure> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| failed(&path, &error))?;
        Ok(Self { path, is_kept: true })
    }

    /// A new one, where the system has temporary files.
    pub(super) fn temporary() -> Result<Self, Failure> {
        let base = std::env::temp_dir();
        loop {
            let path = base.join(format!("shoal-dev-{:08x}", fastrand::u32(..)));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, is_kept: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, &error)),
            }
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is said of it to programs.
    pub(super) fn document(&self) -> Value {
        json!({ "data": self.path.to_string_lossy(), "kept": self.is_kept })
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = if self.is_kept { "kept" } else { "removed at the end" };
        write!(f, "data: {} ({fate})", self.path.display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the data could not be removed");
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new("dev", format!("cannot make the directory {} ({error})", path.display()))
        .hint("choose another one with --keep DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_unless_it_is_kept() {
        let temporary = Folder::temporary().unwrap();
        let path = temporary.path().join("kept");
        drop(Folder::kept(&path).unwrap());
        assert!(path.is_dir());
        drop(temporary);
        assert!(!path.exists());
    }
}
