//! Where the tree is, and which of its files are source.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// One file of the tree that can be read as text.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Its path from the root, with `/` between names.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every text file of the tree that is not ignored, in the order of their paths.
pub(crate) fn files() -> Result<Vec<SourceFile>> {
    let root = root();
    let mut paths = git_files(&root).unwrap_or_default();
    if paths.is_empty() {
        walk(&root, &root, &mut paths)?;
    }
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let Ok(bytes) = std::fs::read(root.join(&path)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile { path, text });
        }
    }
    Ok(files)
}

/// What git tracks or would track; `None` outside a repository.
fn git_files(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .current_dir(root)
        .args(["--no-optional-locks", "ls-files", "-z", "-co", "--exclude-standard"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let list = String::from_utf8(output.stdout).ok()?;
    Some(list.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

fn walk(root: &Path, folder: &Path, into: &mut Vec<String>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            let skipped = ["target", "shoal-data", ".git", "node_modules"];
            if !skipped.iter().any(|skip| name == *skip) {
                walk(root, &path, into)?;
            }
        } else if let Some(path) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            into.push(path.to_owned());
        }
    }
    Ok(())
}

/// What git says of the tree, contents of tracked files and names of all others: equal before and
/// after a run that writes nothing. `None` outside a repository.
pub(crate) fn fingerprint() -> Option<Vec<u8>> {
    let root = root();
    let ask = |arguments: &[&str]| {
        let output = Command::new("git")
            .current_dir(&root)
            .arg("--no-optional-locks")
            .args(arguments)
            .output()
            .ok()?;
        output.status.success().then_some(output.stdout)
    };
    let mut all = ask(&["status", "--porcelain=v1", "--untracked-files=all"])?;
    // Ignored files as well, or a node that a test let write into the tree is not seen. Not with
    // the line above: together they would name every file below `target`.
    all.extend(ask(&["status", "--porcelain=v1", "--untracked-files=normal", "--ignored"])?);
    all.extend(ask(&["diff", "HEAD"]).unwrap_or_default());
    Some(all)
}
