//! The rows of a keyspace on disk with every write synced, against Redis with
//! `appendfsync always`.

use super::memory::{larger_values, mget_100};
use super::scenario::{Run, Scenario};
use super::server::Keeping;
use anyhow::Result;
use std::time::Duration;

/// How long bringing the cold keys to rest may take.
const COMPACTED_WITHIN: Duration = Duration::from_secs(300);

/// Most rows; a fresh server per run.
#[derive(Debug)]
pub(super) struct Disk;

impl Scenario for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn rows(&self) -> &'static [&'static str] {
        &[
            "disk-set-p1",
            "disk-set-p16",
            "disk-get-p1",
            "disk-incr-one-key",
            "disk-mget-100",
            "disk-set-1k",
            "disk-get-1k",
            "disk-set-16k",
            "disk-get-16k",
        ]
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let folder = run.bench.folder.inside("disk")?;
        let server = run.bench.start(run.side, Keeping::Disk, &folder)?;
        let keys = run.bench.sizes.keys;
        let range = keys.to_string();
        for (row, pipeline) in [("disk-set-p1", "1"), ("disk-set-p16", "16")] {
            let shape = ["-t", "set", "-d", "100", "-r", &range, "-P", pipeline];
            run.redis_benchmark(row, &server, &shape)?;
        }
        // Without a range of keys all clients count on one.
        run.redis_benchmark("disk-incr-one-key", &server, &["-t", "incr"])?;
        if run.bench.wants_any(&["disk-get-p1", "disk-mget-100"]) {
            run.bench.load(&server, keys, 100)?;
        }
        run.redis_benchmark("disk-get-p1", &server, &["-t", "get", "-d", "100", "-r", &range])?;
        mget_100(run, &server, "disk-mget-100", keys)?;
        larger_values(
            run,
            &server,
            [["disk-set-1k", "disk-get-1k"], ["disk-set-16k", "disk-get-16k"]],
        )
    }
}

/// Overwrites of keys of which nothing is in a write buffer any more.
#[derive(Debug)]
pub(super) struct ColdOverwrites;

impl Scenario for ColdOverwrites {
    fn name(&self) -> &'static str {
        "cold overwrites"
    }

    fn rows(&self) -> &'static [&'static str] {
        &["disk-overwrite-cold"]
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let folder = run.bench.folder.inside("cold")?;
        let server = run.bench.start(run.side, Keeping::Disk, &folder)?;
        let keys = run.bench.sizes.cold_keys;
        run.bench.load(&server, keys, 100)?;
        server.compact(run.bench.program(run.side), COMPACTED_WITHIN)?;
        let keys = keys.to_string();
        let shape = ["--op", "set", "--value-size", "100", "--keys", &keys, "--pipeline", "16"];
        run.shoal_bench("disk-overwrite-cold", &server, &shape)
    }
}
