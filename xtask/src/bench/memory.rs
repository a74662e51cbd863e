//! The rows of a keyspace in memory, against Redis that keeps nothing.

use super::proc::status_kib;
use super::results::Sample;
use super::scenario::{Run, Scenario};
use super::server::{Keeping, Server};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// How long a server may tidy up after loading before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(1);
/// Keys asked for with one SCAN.
pub(super) const SCAN_COUNT: &str = "1000";

/// The scenario; a fresh server per run.
#[derive(Debug)]
pub(super) struct Memory;

impl Scenario for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn rows(&self) -> &'static [&'static str] {
        &[
            "memory-set-p1",
            "memory-get-p1",
            "memory-set-p16",
            "memory-get-p16",
            "memory-resident",
            "memory-mget-100",
            "memory-set-1k",
            "memory-get-1k",
            "memory-set-16k",
            "memory-get-16k",
            "memory-scan",
        ]
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let folder = run.bench.folder.inside("memory")?;
        let server = run.bench.start(run.side, Keeping::Memory, &folder)?;
        let keys = run.bench.sizes.keys;
        resident(run, &server, keys)?;
        if run.bench.wants("memory-scan") {
            scan(run, &server, "memory-scan", keys)?;
        }
        let range = keys.to_string();
        for (row, test, pipeline) in [
            ("memory-set-p1", "set", "1"),
            ("memory-get-p1", "get", "1"),
            ("memory-set-p16", "set", "16"),
            ("memory-get-p16", "get", "16"),
        ] {
            let shape = ["-t", test, "-d", "100", "-r", &range, "-P", pipeline];
            run.redis_benchmark(row, &server, &shape)?;
        }
        mget_100(run, &server, "memory-mget-100", keys)?;
        larger_values(
            run,
            &server,
            [["memory-set-1k", "memory-get-1k"], ["memory-set-16k", "memory-get-16k"]],
        )
    }
}

/// Loads the keys that all further rows need, and sees what they take.
fn resident(run: &mut Run<'_>, server: &Server, keys: u64) -> Result<()> {
    let empty_kib = status_kib(server.pid(), "VmRSS")?;
    let cpu_before = server.cpu_seconds()?;
    run.bench.load(server, keys, 100)?;
    let cpu = server.cpu_seconds()? - cpu_before;
    std::thread::sleep(SETTLE);
    let kib = status_kib(server.pid(), "VmRSS")?.saturating_sub(empty_kib);
    run.found("memory-resident", Sample::of_work(kib as f64 / 1024.0, cpu, keys));
    Ok(())
}

/// Walks all keys, which must be `keys`.
pub(super) fn scan(run: &mut Run<'_>, server: &Server, row: &'static str, keys: u64) -> Result<()> {
    let mut client = server.client()?;
    let there = client.count_keys()?;
    if there != keys {
        bail!("{there} keys are there instead of {keys}");
    }
    let cpu_before = server.cpu_seconds()?;
    let begun = Instant::now();
    let seen = client.scan(SCAN_COUNT)?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = server.cpu_seconds()? - cpu_before;
    // A key may be shown twice, never not at all.
    if seen < keys {
        bail!("SCAN showed {seen} of {keys} keys");
    }
    run.found(row, Sample::of_work(keys as f64 / seconds, cpu, keys));
    Ok(())
}

/// MGET of 100 keys out of `keys`.
pub(super) fn mget_100(
    run: &mut Run<'_>,
    server: &Server,
    row: &'static str,
    keys: u64,
) -> Result<()> {
    let range = keys.to_string();
    let mut shape = vec!["-r", &range, "MGET"];
    shape.extend(["key:__rand_int__"; 100]);
    run.redis_benchmark(row, server, &shape)
}

/// SET and GET of 1 KiB, then of 16 KiB, on keys that are there.
pub(super) fn larger_values(
    run: &mut Run<'_>,
    server: &Server,
    rows: [[&'static str; 2]; 2],
) -> Result<()> {
    let sizes = run.bench.sizes;
    for (rows, bytes, keys) in
        [(rows[0], 1024, sizes.kib_keys), (rows[1], 16 * 1024, sizes.large_value_keys)]
    {
        if run.bench.wants_any(&rows) {
            run.bench.load(server, keys, bytes)?;
        }
        let (bytes, range) = (bytes.to_string(), keys.to_string());
        for (row, test) in rows.into_iter().zip(["set", "get"]) {
            run.redis_benchmark(row, server, &["-t", test, "-d", &bytes, "-r", &range])?;
        }
    }
    Ok(())
}
