//! `cargo xtask bench cluster`: three Shoal nodes on one machine beside three of etcd, and in
//! memory beside Redis with two replicas.
//!
//! Holds: both are asked by the same load generator with as many connections, one request
//! outstanding on each, on the same file system, one cluster at a time. What could not be
//! measured is said on the page and fails the run; the rest goes on.
//! Does not know: why a number is what it is.

mod grpc;
mod load;
mod nodes;
mod page;
mod proto;
mod resp;
mod results;
mod rows;

use super::facts::Facts;
use super::folder::Folder;
use super::options::Options;
use super::results::Sample;
use super::{keep, on_path, program, tool};
use anyhow::{Context as _, Result};
use load::{Clients, Work};
use nodes::{Kind, Nodes};
use results::{Results, Samples};
use rows::{Contest, ROWS, Request, Row};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The Debian package that has etcd.
const ETCD_PACKAGE: &str = "etcd-server";
/// How long its installation may take.
const INSTALLED_WITHIN: Duration = Duration::from_secs(300);
/// Different keys.
const KEYS: u64 = 10_000;
/// Clients that write all keys before anything is measured.
const FILLING: usize = 50;
/// What part of a measurement goes before it uncounted.
const WARM_UP: f64 = 1.0 / 3.0;

/// One call of the tool.
struct Bench {
    options: Options,
    shoal: PathBuf,
    folder: Folder,
    begun: Instant,
}

impl Bench {
    fn say(&self, what: &str) {
        println!("[{:>5.0} s] {what}", self.begun.elapsed().as_secs_f64());
    }

    /// How long one measurement takes, in seconds.
    fn seconds(&self) -> f64 {
        self.options.sizes().seconds
    }
}

/// Measures, writes the page and the JSON, and says whether everything could be measured.
pub(super) fn run(words: &[&str]) -> Result<bool> {
    let options = Options::parse(words, super::RUNS)?;
    let shoal = program(&options)?;
    let folder = Folder::of_this_run()?;
    let facts = Facts::gather(&shoal, folder.path())?;
    let bench = Bench { options, shoal, folder, begun: Instant::now() };
    keep::some_of(&bench.options, ROWS.iter().map(|row| row.name))?;
    let into = keep::folder(&bench.options);
    let mut results = begin(&bench, facts, &into)?;
    for contest in [Contest::Disk, Contest::Memory] {
        measure(&bench, contest, &mut results)?;
    }
    write(&results, &into)?;
    bench.say(&format!("written to {}", into.display()));
    for failure in &results.failures {
        println!("NOT MEASURED: {failure}");
    }
    Ok(results.failures.is_empty())
}

/// The results to put rows into: those that are there when only some rows are asked for.
fn begin(bench: &Bench, facts: Facts, into: &Path) -> Result<Results> {
    let parts = |before: Results| (before.facts, before.rows);
    let rows = keep::rows(&into.join("cluster.json"), &bench.options, &facts, parts)?;
    Ok(Results {
        facts,
        etcd: String::new(),
        runs: bench.options.runs,
        seconds: bench.seconds(),
        quick: bench.options.quick,
        rows,
        failures: Vec::new(),
    })
}

/// All wanted rows of one contest, the two clusters in turns, another one first each time.
fn measure(bench: &Bench, contest: Contest, results: &mut Results) -> Result<()> {
    let rows: Vec<&Row> =
        ROWS.iter().filter(|row| row.contest == contest && bench.options.wants(row.name)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut kinds = match contest {
        Contest::Disk => vec![Kind::Etcd, Kind::ShoalDisk],
        Contest::Memory => vec![Kind::Redis, Kind::ShoalMemory],
    };
    let missing = match contest {
        Contest::Disk => etcd_is_missing(bench),
        Contest::Memory => redis_is_missing(),
    };
    if let Some(missing) = missing {
        let failure = format!("{} was SKIPPED: {missing}", contest.other());
        bench.say(&failure);
        results.failures.push(failure);
        kinds.remove(0);
    }
    results.etcd = etcd_version();
    let mut samples = Samples::new();
    'runs: for run in 0..bench.options.runs {
        for kind in &kinds {
            bench.say(&format!("{kind:?}, run {} of {}", run + 1, bench.options.runs));
            if let Err(error) = one_run(bench, *kind, &rows, &mut samples) {
                let failure = format!("{kind:?} broke off: {error:#}");
                bench.say(&failure);
                results.failures.push(failure);
                // The other one's figures would stand beside none of the same moment.
                break 'runs;
            }
        }
        kinds.reverse();
    }
    results.take_in(&rows, &samples);
    Ok(())
}

/// One cluster from its start to its end, and one sample of every row.
fn one_run(bench: &Bench, kind: Kind, rows: &[&Row], samples: &mut Samples) -> Result<()> {
    let folder = bench.folder.inside("nodes")?;
    let nodes = Nodes::start(kind, &bench.shoal, &folder)?;
    let done = sample_rows(bench, kind, &nodes, rows, samples);
    done.with_context(|| format!("the nodes said last: {}", nodes.last_words()))
}

fn sample_rows(
    bench: &Bench,
    kind: Kind,
    nodes: &Nodes,
    rows: &[&Row],
    samples: &mut Samples,
) -> Result<()> {
    let connect = |count| Clients::connect(nodes.protocol(), nodes.ports(), count);
    connect(FILLING)?.run(Work::Fill, KEYS).context("writing all keys")?;
    let time = Duration::from_secs_f64(bench.seconds());
    for row in rows {
        let work = |time| match row.request {
            Request::Put => Work::Put(time),
            Request::Get => Work::Get(time),
        };
        let mut clients = connect(row.clients)?;
        clients.run(work(time.mul_f64(WARM_UP)), KEYS).context(row.name)?;
        let cpu_before_s = nodes.cpu_seconds()?;
        let measured = clients.run(work(time), KEYS).context(row.name)?;
        let cpu_s = nodes.cpu_seconds()? - cpu_before_s;
        bench.say(&format!(
            "  {}: {:.0} ops/s, p50 {:.2} ms, p99 {:.2} ms, {:.1} CPU s per million",
            row.name,
            measured.rate,
            measured.p50_ms,
            measured.p99_ms,
            cpu_s * 1e6 / measured.operations.max(1) as f64
        ));
        samples.entry((row.name, kind)).or_default().push(Sample::of_rate(&measured, cpu_s));
    }
    Ok(())
}

/// Why there is no etcd, after an attempt to install it.
fn etcd_is_missing(bench: &Bench) -> Option<String> {
    if on_path("etcd") {
        return None;
    }
    bench.say(&format!("etcd is not on the path; installing {ETCD_PACKAGE}"));
    let mut why = "it has no etcd".to_owned();
    // A machine that has never fetched the lists of packages finds none until it has.
    for words in
        [&["install", "-y", ETCD_PACKAGE][..], &["update"], &["install", "-y", ETCD_PACKAGE]]
    {
        let mut command = Command::new("apt-get");
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        let said = tool::run(&mut command, INSTALLED_WITHIN);
        if on_path("etcd") {
            return None;
        }
        if let Err(error) = said {
            why = format!("{error:#}");
        }
    }
    Some(format!("apt-get install {ETCD_PACKAGE}: {why}"))
}

fn redis_is_missing() -> Option<String> {
    (!on_path("redis-server")).then(|| "redis-server is not on the path".to_owned())
}

fn etcd_version() -> String {
    let said = tool::run(Command::new("etcd").arg("--version"), Duration::from_secs(30));
    said.ok().and_then(|said| said.lines().next().map(str::to_owned)).unwrap_or_default()
}

fn write(results: &Results, into: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(results)? + "\n";
    keep::write(into, &[("cluster.json", json), ("CLUSTER.md", page::page(results))])
}
