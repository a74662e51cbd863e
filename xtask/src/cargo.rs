//! Calls of cargo, shown as they run, their test results counted.

use crate::report::Outcome;
use anyhow::{Context as _, Result};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// A `cargo` in the workspace's folder, with the cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(crate::root::root()).args(arguments).stdin(Stdio::null());
    // Set by `cargo run` for this package; a build below would be made twice for it.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME"] {
        command.env_remove(name);
    }
    command
}

/// Runs `command` to its end, passing its output on line by line and counting what it reports.
pub(crate) fn watch(command: &mut Command) -> Result<Outcome> {
    println!("$ {}", shown(command));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let seen = Mutex::new(Outcome::default());
    std::thread::scope(|scope| {
        if let Some(from) = child.stdout.take() {
            scope.spawn(|| pass_on(from, std::io::stdout(), &seen));
        }
        if let Some(from) = child.stderr.take() {
            scope.spawn(|| pass_on(from, std::io::stderr(), &seen));
        }
    });
    let status = child.wait()?;
    let mut outcome = seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !status.success() {
        outcome.fail(&format!("{} ended with {status}", shown(command)));
    }
    Ok(outcome)
}

fn pass_on(from: impl Read, mut to: impl Write, seen: &Mutex<Outcome>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
        // A reader that has gone away must not end the run that it no longer watches.
        let _gone = to.write_all(&line);
        if let Ok(mut seen) = seen.lock() {
            seen.read_line(&String::from_utf8_lossy(&line));
        }
        line.clear();
    }
}

fn shown(command: &Command) -> String {
    let mut words: Vec<String> = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}='{}'", name.to_string_lossy(), value.to_string_lossy()));
        }
    }
    words.push("cargo".to_owned());
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
