//! Folders of a test: made empty, removed when it passed, kept when it failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder under `target/tmp`.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new, empty one.
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = base.join(format!("{name}-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for the test");
        // Names in traces are compared as text, so there must be one name only.
        Self(path.canonicalize().expect("the folder was just made"))
    }

    /// A new one in memory where the machine has room there, else on the disk. For images of
    /// disks, which need no disk of their own.
    pub(crate) fn in_memory(name: &str) -> Self {
        /// In KiB, as `df` counts.
        const ROOM: u64 = 4 << 20;
        let memory = Path::new("/dev/shm");
        let free = Command::new("df").args(["-k", "--output=avail"]).arg(memory).output();
        let free = free.ok().and_then(|output| {
            String::from_utf8_lossy(&output.stdout).lines().last()?.trim().parse::<u64>().ok()
        });
        if free.is_some_and(|free| free >= ROOM) {
            let path = memory.join(format!("shoal-{name}-{}", std::process::id()));
            if fs::create_dir(&path).is_ok() {
                return Self(path);
            }
        }
        Self::new(name)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            super::settings::say(&format!("kept: {}", self.0.display()));
        } else {
            let _leftovers_are_harmless = fs::remove_dir_all(&self.0);
        }
    }
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the target folder");
    let mode = fs::metadata(from).expect("the source folder").permissions();
    fs::set_permissions(to, mode).expect("the target's mode");
    for entry in fs::read_dir(from).expect("the source folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("its type");
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
