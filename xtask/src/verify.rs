//! `cargo xtask verify`: the layers of a check of the whole tree.
//!
//! Holds: nothing is written outside `target/`; a later layer runs although an earlier one
//! failed, so that one run tells everything.

use crate::cargo::{cargo, watch};
use crate::report::{Outcome, Report};
use crate::{readme, root, tidy};
use anyhow::Result;
use std::process::Command;

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What a developer waits for before a push.
    Everyday,
    /// What continuous integration runs.
    Full,
}

/// Runs the layers and prints the closing table; true when all passed.
pub(crate) fn run(depth: Depth) -> Result<bool> {
    let before = root::fingerprint();
    let mut report = Report::default();
    report.layer("format", || watch(&mut cargo(&["fmt", "--all", "--check"])));
    report.layer("clippy", || {
        watch(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]))
    });
    report.layer("tidy", tidy::layer);
    report.layer("tests", || {
        watch_tests(&mut cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]))
    });
    report.layer("docs", || {
        let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
        watch(docs.env("RUSTDOCFLAGS", "-D warnings"))
    });
    if depth == Depth::Full {
        deep_layers(&mut report);
    }
    report.layer("unchanged", || Ok(unchanged(before.as_ref())));
    println!("{}", report.table().trim_end());
    Ok(report.passed())
}

/// What takes longer: all of it optimised and with debug assertions, from one build.
fn deep_layers(report: &mut Report) {
    report.layer("build checked", || {
        watch(&mut cargo(&[
            "test",
            "--workspace",
            "--exclude",
            "xtask",
            "--locked",
            "--profile",
            "checked",
            "--lib",
            "--tests",
            "--bins",
            "--no-run",
        ]))
    });
    // The kill, power cut, damage and full disk runs on real processes.
    report.layer("crash", || process_tests(&["--skip", "differential"]));
    report.layer("differential", || process_tests(&["differential"]));
    // Every property, model and fuzz-style test of the libraries, with many more cases; the
    // commit log's power cuts are among them.
    report.layer("fuzz", || {
        let mut fuzz = cargo(&[
            "test",
            "--workspace",
            "--exclude",
            "shoal-cli",
            "--exclude",
            "xtask",
            "--exclude",
            "shoal-node",
            "--locked",
            "--no-fail-fast",
            "--profile",
            "checked",
            "--lib",
            "--tests",
        ]);
        watch_tests(fuzz.env("SHOAL_FULL", "1").env("PROPTEST_CASES", "2000"))
    });
    // Each case of these starts nodes on a real disk, so fewer of them take as long.
    report.layer("models", || {
        let node = ["test", "--package", "shoal-node", "--locked", "--profile", "checked"];
        watch_tests(cargo(&node).env("PROPTEST_CASES", "150"))
    });
    planted(report);
    report.layer("readme", readme::layer);
}

/// Tests that find nothing must be able to: here are bugs for them.
fn planted(report: &mut Report) {
    report.layer("planted bugs", || {
        watch_tests(&mut cargo(&[
            "test",
            "--workspace",
            "--exclude",
            "xtask",
            "--locked",
            "--profile",
            "checked",
            "--features",
            "shoal-storage/planted-bugs,shoal-sim/planted-bugs",
            "--test",
            "planted_bugs",
        ]))
    });
    // Those that random runs do not meet often enough are played out by name.
    report.layer("planted scenarios", || {
        watch_tests(&mut cargo(&[
            "test",
            "--package",
            "shoal-sim",
            "--locked",
            "--profile",
            "checked",
            "--features",
            "planted-bugs",
            "--lib",
        ]))
    });
}

fn process_tests(filter: &[&str]) -> Result<Outcome> {
    let mut tests = cargo(&[
        "test",
        "--workspace",
        "--exclude",
        "xtask",
        "--locked",
        "--profile",
        "checked",
        "--test",
        "process",
        "--",
        "--nocapture",
        "--test-threads",
        "2",
    ]);
    watch_tests(tests.args(filter).env("SHOAL_FULL", "1"))
}

/// Runs tests, at least one, which keep nothing: a case that fails is printed, not written down
/// beside its source.
fn watch_tests(tests: &mut Command) -> Result<Outcome> {
    Ok(watch(tests.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true"))?.of_tests())
}

fn unchanged(before: Option<&Vec<u8>>) -> Outcome {
    let mut outcome = Outcome::default();
    match (before, root::fingerprint()) {
        (None, _) | (_, None) => outcome
            .skipped
            .push("skipped: not a git checkout, so nothing says that the tree is unchanged".into()),
        (Some(before), Some(after)) if *before == after => outcome.passed = 1,
        _ => outcome.fail("the run changed files of the tree, or someone else did meanwhile"),
    }
    outcome
}
