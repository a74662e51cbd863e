//! `cargo xtask fix`: what `verify` complains of and a machine can put right.

use crate::cargo::{cargo, watch};
use crate::tidy;
use anyhow::Result;

/// Formats, applies clippy's suggestions, formats again and lowers the ratchet.
pub(crate) fn run() -> Result<bool> {
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--allow-no-vcs",
    ];
    let mut fine = true;
    for arguments in [&["fmt", "--all"][..], &clippy, &["fmt", "--all"]] {
        let outcome = watch(&mut cargo(arguments))?;
        for why in &outcome.failures {
            eprintln!("fix: {why}");
        }
        fine &= outcome.failures.is_empty();
    }
    tidy::tighten_ratchet()?;
    Ok(fine)
}
