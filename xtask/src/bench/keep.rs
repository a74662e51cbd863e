//! Where results are kept from one call to the next.
//!
//! Does not know: what a row is.

use super::facts::Facts;
use super::options::Options;
use crate::root::root;
use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The folder that the results of a call belong in.
pub(super) fn folder(options: &Options) -> PathBuf {
    root().join(if options.quick { "target/bench-quick" } else { "bench" })
}

/// The rows that are kept in `file` already, where only some are measured now. `parts` gives what
/// they come from, and them.
pub(super) fn rows<R: DeserializeOwned, W>(
    file: &Path,
    options: &Options,
    facts: &Facts,
    parts: impl FnOnce(R) -> (Facts, Vec<W>),
) -> Result<Vec<W>> {
    if options.rows.is_none() || !file.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(file)?;
    let before = serde_json::from_str(&text)
        .with_context(|| format!("{} is not understood; run all rows", file.display()))?;
    let (theirs, rows) = parts(before);
    if !theirs.is_same_machine(facts) {
        bail!("the results are of another machine; run without --rows to measure all here");
    }
    Ok(rows)
}

/// Refuses a filter that leaves nothing of these rows.
pub(super) fn some_of(options: &Options, names: impl Iterator<Item = &'static str>) -> Result<()> {
    let names: Vec<&str> = names.collect();
    if names.iter().any(|name| options.wants(name)) {
        return Ok(());
    }
    bail!("no row's name contains that; the rows are {}", names.join(", "))
}

/// Writes files into a folder.
pub(super) fn write(into: &Path, files: &[(&str, String)]) -> Result<()> {
    std::fs::create_dir_all(into).with_context(|| into.display().to_string())?;
    for (name, text) in files {
        let path = into.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_where_some_are_asked_for_and_the_machine_is_the_same() {
        let folder = super::super::folder::Folder::of_this_run().unwrap();
        let file = folder.path().join("kept.json");
        let facts = Facts { cores: 2, ..Facts::default() };
        let some = Options::parse(&["--rows", "b"], 1).unwrap();
        let all = Options::parse(&[], 1).unwrap();
        let kept = |options: &Options, facts: &Facts| {
            rows(&file, options, facts, |kept: (Facts, Vec<u32>)| kept)
        };
        assert_eq!(kept(&some, &facts).unwrap(), Vec::<u32>::new(), "nothing is there");
        let text = serde_json::to_string(&(&facts, [1, 2])).unwrap();
        write(folder.path(), &[("kept.json", text)]).unwrap();
        assert_eq!(kept(&some, &facts).unwrap(), [1, 2]);
        assert_eq!(kept(&all, &facts).unwrap(), Vec::<u32>::new());
        assert!(kept(&some, &Facts { cores: 3, ..facts }).is_err());
    }

    #[test]
    fn a_filter_that_leaves_nothing_is_refused() {
        let options = Options::parse(&["--rows", "disk"], 1).unwrap();
        assert!(some_of(&options, ["memory-a", "disk-a"].into_iter()).is_ok());
        let refused = some_of(&options, ["memory-a", "memory-b"].into_iter()).unwrap_err();
        assert!(refused.to_string().contains("memory-a, memory-b"), "{refused}");
    }
}
