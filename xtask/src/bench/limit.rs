//! The run under a memory limit: more values than memory, written, read, overwritten, killed and
//! opened again, with the process' anonymous memory watched throughout.

use super::proc::{Peak, Sampler};
use super::results::Sample;
use super::scenario::Bench;
use super::server::{Keeping, READY_WITHIN, Server, Side};
use super::tool;
use anyhow::{Result, bail};
use std::time::Duration;

/// The row.
pub(super) const ROW: &str = "disk-limit-512m";

/// What the server is given.
const LIMIT: &str = "512MiB";
/// Bytes of a value.
const VALUE_BYTES: u64 = 1024;
/// How long a phase may take.
const PHASE_WITHIN: Duration = Duration::from_secs(900);
/// How long the server may take to open what it was killed on.
const OPEN_WITHIN: Duration = Duration::from_secs(120);
/// How long the reopened server is watched at rest, while it merges what it replayed.
const WATCH_REOPENED: Duration = Duration::from_secs(5);

/// What the run found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) sample: Sample,
    /// The largest memory of every phase, in words.
    pub(super) note: String,
}

/// Runs it once, on Shoal alone.
pub(super) fn run(bench: &Bench) -> Result<Found> {
    let sampler = Sampler::start();
    let worked = work(bench, &sampler);
    let peaks = sampler.finish();
    let (cpu_s, operations) = worked?;
    if let Some(blind) = peaks.iter().find(|peak| peak.samples == 0) {
        bail!("{ROW}: the phase {} was over before its memory was looked at", blind.phase);
    }
    let largest_kib = peaks.iter().map(|peak| peak.kib).max().unwrap_or(0);
    let sample = Sample::of_work(largest_kib as f64 / 1024.0, cpu_s, operations);
    Ok(Found { sample, note: note(&peaks) })
}

/// Gives the CPU time of both processes and how many operations they carried out.
fn work(bench: &Bench, sampler: &Sampler) -> Result<(f64, u64)> {
    let folder = bench.folder.inside("limit")?;
    let (keys, operations) = (bench.sizes.limit_keys, bench.sizes.limit_operations);
    let start = || -> Result<Server> {
        let more = ["--memory-limit", LIMIT];
        let server = Server::start(Side::Shoal, Keeping::Disk, &bench.shoal, folder.path(), &more)?;
        sampler.watch(Some(server.pid()));
        Ok(server)
    };
    sampler.phase("load");
    bench.say("memory limit, load");
    let mut server = start()?;
    server.wait_for(&["PING"], READY_WITHIN)?;
    bench.load(&server, keys, VALUE_BYTES)?;
    for (phase, op) in [("read", "get"), ("overwrite", "set")] {
        sampler.phase(phase);
        bench.say(&format!("memory limit, {phase}"));
        uniform(bench, &server, op, operations)?;
    }
    let cpu_before = server.cpu_seconds()?;
    sampler.watch(None);
    server.kill()?;

    sampler.phase("reopen");
    bench.say("memory limit, reopen after SIGKILL");
    let mut server = start()?;
    let mut client = server.wait_for(&["GET", "key:000000000000"], OPEN_WITHIN)?;
    let there = client.count_keys()?;
    if there != keys {
        bail!("{there} keys are there after SIGKILL instead of {keys}");
    }
    let reads = operations / 10;
    uniform(bench, &server, "get", reads)?;
    std::thread::sleep(WATCH_REOPENED);
    let cpu_s = cpu_before + server.cpu_seconds()?;
    sampler.watch(None);
    server.kill()?;
    Ok((cpu_s, keys + 2 * operations + reads))
}

/// Reads or overwrites keys, each as likely as the next; every one of them must be there.
fn uniform(bench: &Bench, server: &Server, op: &str, operations: u64) -> Result<()> {
    let (keys, count) = (bench.sizes.limit_keys.to_string(), operations.to_string());
    let bytes = VALUE_BYTES.to_string();
    let shape = [
        "--op",
        op,
        "--keys",
        &keys,
        "--value-size",
        &bytes,
        "--pipeline",
        "16",
        "--count",
        &count,
    ];
    tool::shoal_bench(&bench.shoal, server.port(), &shape, PHASE_WITHIN).map(drop)
}

fn note(peaks: &[Peak]) -> String {
    let phases: Vec<String> = peaks
        .iter()
        .map(|peak| {
            let mib = peak.kib as f64 / 1024.0;
            format!("{} {mib:.0} MiB ({} samples)", peak.phase, peak.samples)
        })
        .collect();
    format!("largest RssAnon by phase: {}", phases.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_names_every_phase() {
        let peaks = [
            Peak { phase: "load", kib: 102_400, samples: 7 },
            Peak { phase: "reopen", kib: 51_200, samples: 3 },
        ];
        assert_eq!(
            note(&peaks),
            "largest RssAnon by phase: load 100 MiB (7 samples), reopen 50 MiB (3 samples)"
        );
    }
}
