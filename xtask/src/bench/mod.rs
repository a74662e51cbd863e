//! `cargo xtask bench`: Redis and Shoal in turns on one machine, and the page of what came out.
//!
//! Holds: both servers are asked by the same load generator with the same options, on the same
//! file system, one at a time; what a scenario could not measure is said on the page, and the
//! others go on.
//! Does not know: why a number is what it is.

mod against;
mod client;
mod cluster;
mod disk;
mod facts;
mod folder;
mod keep;
mod large;
mod limit;
mod memory;
mod options;
mod proc;
mod results;
mod rows;
mod scale;
mod scenario;
mod server;
mod table;
mod tool;

use crate::cargo::{cargo, watch};
use crate::root::root;
use anyhow::{Context as _, Result, bail};
use facts::Facts;
use folder::Folder;
use options::Options;
use results::Results;
use rows::ROWS;
use scenario::{Bench, Samples, Scenario, alternate};
use server::Side;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

const REDIS_PROGRAMS: [&str; 2] = ["redis-server", "redis-benchmark"];

/// Counted runs of each server.
const RUNS: usize = 5;

/// Where a run keeps what it has so far, for the case that it does not reach its end.
const UNFINISHED: &str = "target/bench-unfinished";

/// Measures, writes the page and the JSON, and says whether everything could be measured; a
/// target that is missed stands on the page.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    if words == ["scale"] {
        return scale::run();
    }
    if let ["cluster", words @ ..] = words {
        return cluster::run(words);
    }
    if let ["against", words @ ..] = words {
        return against::run(words);
    }
    let options = Options::parse(words, RUNS)?;
    for program in REDIS_PROGRAMS {
        if !on_path(program) {
            bail!(
                "{program} is not on the path; on Debian: \
                 sudo apt-get install redis-server redis-tools"
            );
        }
    }
    let shoal = program(&options)?;
    let folder = Folder::of_this_run()?;
    let facts = Facts::gather(&shoal, folder.path())?;
    let sizes = options.sizes();
    let (begun, sides) = (Instant::now(), [Side::Redis, Side::Shoal]);
    let bench = Bench { options, sizes, shoal, old: None, sides, folder, begun };
    keep::some_of(&bench.options, ROWS.iter().map(|row| row.name))?;
    let into = keep::folder(&bench.options);
    let mut results = begin(&bench, facts, &into)?;
    measure(&bench, &mut results)?;
    write(&results, &into)?;
    let unfinished = root().join(UNFINISHED);
    std::fs::remove_dir_all(&unfinished).with_context(|| unfinished.display().to_string())?;

    bench.say(&format!("written to {}", into.display()));
    for row in results.short() {
        println!("{}: {:?}", row.name, row.verdict);
    }
    for failure in &results.failures {
        println!("broke off: {failure}");
    }
    Ok(results.failures.is_empty())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The program to measure, built unless one was named.
fn program(options: &Options) -> Result<PathBuf> {
    if let Some(path) = &options.binary {
        return path.canonicalize().with_context(|| path.display().to_string());
    }
    let outcome = watch(&mut cargo(&["build", "--release", "--locked", "--package", "shoal-cli"]))?;
    if !outcome.failures.is_empty() {
        bail!("{}", outcome.failures.join("; "));
    }
    Ok(root().join("target").join("release").join("shoal"))
}

/// The results to put rows into: those that are there when only some rows are asked for.
fn begin(bench: &Bench, facts: Facts, into: &Path) -> Result<Results> {
    let parts = |before: Results| (before.facts, before.rows);
    let rows = keep::rows(&into.join("results.json"), &bench.options, &facts, parts)?;
    let (runs, quick) = (bench.options.runs, bench.options.quick);
    Ok(Results { facts, runs, seconds: bench.sizes.seconds, quick, rows, failures: Vec::new() })
}

/// All that two servers can be measured by in turns.
fn scenarios() -> [Box<dyn Scenario>; 4] {
    [
        Box::new(memory::Memory),
        Box::new(disk::Disk),
        Box::new(disk::ColdOverwrites),
        Box::new(large::Large::default()),
    ]
}

/// Runs every scenario that is asked for. One that breaks off does not keep the others from it.
fn measure(bench: &Bench, results: &mut Results) -> Result<()> {
    let unfinished = root().join(UNFINISHED);
    let mut samples = Samples::new();
    let mut notes = BTreeMap::new();
    for mut scenario in scenarios() {
        if let Err(error) = alternate(bench, scenario.as_mut(), &mut samples) {
            fail(bench, results, format!("{}: {error:#}", scenario.name()));
        }
        results.take_in(&samples, &notes, |row| bench.wants(row));
        write(results, &unfinished)?;
    }
    if bench.wants(limit::ROW) {
        match limit::run(bench) {
            Ok(found) => {
                samples.insert((limit::ROW, Side::Shoal), vec![found.sample]);
                notes.insert(limit::ROW, found.note);
            }
            Err(error) => fail(bench, results, format!("memory limit: {error:#}")),
        }
    }
    results.take_in(&samples, &notes, |row| bench.wants(row));
    Ok(())
}

fn fail(bench: &Bench, results: &mut Results, failure: String) {
    bench.say(&format!("broke off: {failure}"));
    results.failures.push(failure);
}

fn write(results: &Results, into: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(results)? + "\n";
    keep::write(into, &[("results.json", json), ("RESULTS.md", table::page(results))])
}
