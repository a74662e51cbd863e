//! Where servers keep their data while they are measured.
//!
//! Holds: the folders lie below `target/`, on the file system of the tree rather than on a
//! temporary one that may be memory, and are gone when their guard is. What a run that was ended
//! by force left behind is removed by the next.

use crate::root::root;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// A folder that is removed with all that is in it when dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder of this process.
    pub(super) fn of_this_run() -> Result<Self> {
        let all = root().join("target").join("bench-work");
        std::fs::create_dir_all(&all).with_context(|| all.display().to_string())?;
        for entry in std::fs::read_dir(&all)? {
            let entry = entry?;
            let owner = Path::new("/proc").join(entry.file_name());
            if !owner.exists() {
                std::fs::remove_dir_all(entry.path())
                    .with_context(|| entry.path().display().to_string())?;
            }
        }
        Self::fresh(all.join(std::process::id().to_string()))
    }

    /// A fresh folder in this one.
    pub(super) fn inside(&self, name: &str) -> Result<Self> {
        Self::fresh(self.path.join(name))
    }

    fn fresh(path: PathBuf) -> Result<Self> {
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("bench: {} is left behind: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_guard() {
        let outer = Folder::of_this_run().unwrap();
        let inner = outer.inside("a").unwrap();
        std::fs::write(inner.path().join("file"), "x").unwrap();
        let path = inner.path().to_path_buf();
        drop(inner);
        assert!(!path.exists());
        let path = outer.path().to_path_buf();
        drop(outer);
        assert!(!path.exists());
    }
}
