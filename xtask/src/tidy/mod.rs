//! `cargo xtask tidy`: the manners of the tree, checked without compiling it.
//!
//! Each check is a function from text to problems, so that it can be tried on a few lines; this
//! module feeds them the real tree.

mod layering;
mod manners;
mod masked;
mod metadata;
mod policy;
mod size;
mod tested;

use crate::report::Outcome;
use crate::root::{self, SourceFile};
use anyhow::{Context as _, Result};
use metadata::Metadata;

/// Where the functions stand that are longer than allowed, with their lengths.
const RATCHET: &str = "xtask/ratchet.toml";

/// What all checks together found.
#[derive(Debug, Default)]
struct Findings {
    /// What must be put right, one sentence each.
    problems: Vec<String>,
    /// What is worth knowing.
    notes: Vec<String>,
}

/// Runs the checks by themselves.
pub(crate) fn run() -> Result<bool> {
    let outcome = layer()?;
    for why in &outcome.failures {
        println!("{why}");
    }
    Ok(outcome.failures.is_empty())
}

/// Runs the checks as a layer of `verify`; what they find is printed.
pub(crate) fn layer() -> Result<Outcome> {
    let findings = findings()?;
    for note in &findings.notes {
        println!("note: {note}");
    }
    for problem in &findings.problems {
        println!("tidy: {problem}");
    }
    let mut outcome = Outcome::default();
    if findings.problems.is_empty() {
        outcome.passed = 1;
        println!("tidy: nothing to complain of");
    } else {
        outcome.fail(&format!("tidy found {} problems, printed above", findings.problems.len()));
    }
    Ok(outcome)
}

/// Rewrites the ratchet where functions have shrunk; never lets one grow.
pub(crate) fn tighten_ratchet() -> Result<()> {
    let files = root::files()?;
    let ratchet = size::Ratchet::parse(&text_of(&files, RATCHET))?;
    let tightened = ratchet.tightened(&size::long_functions(&files));
    let path = root::root().join(RATCHET);
    if tightened.is_empty() {
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    } else if tightened != ratchet {
        std::fs::write(&path, tightened.to_text()).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn findings() -> Result<Findings> {
    let files = root::files()?;
    let metadata = Metadata::load()?;
    let mut findings = Findings::default();
    let problems = &mut findings.problems;
    problems.extend(layering::check_arrows(&metadata));
    problems.extend(layering::check_unseen_packages(&metadata));
    problems.extend(layering::check_unseen_paths(&files));
    problems.extend(policy::check_licences(&metadata));
    problems.extend(policy::check_bans(&metadata));
    problems.extend(policy::check_versions(&metadata));
    problems.extend(manners::check(&files));
    let ratchet = size::Ratchet::parse(&text_of(&files, RATCHET))?;
    problems.extend(size::check_files(&files, &mut findings.notes));
    problems.extend(ratchet.check(&size::long_functions(&files)));
    Ok(findings)
}

fn text_of(files: &[SourceFile], path: &str) -> String {
    let file = files.iter().find(|file| file.path == path);
    file.map(|file| file.text.clone()).unwrap_or_default()
}
