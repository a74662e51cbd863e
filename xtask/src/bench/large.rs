//! Many keys on disk: how long a server takes to start with them, and to walk them.
//!
//! Holds: each server's data is written once, brought to rest and only read after; every run
//! starts a new process on it.

use super::folder::Folder;
use super::memory::scan;
use super::results::Sample;
use super::scenario::{Bench, Run, Scenario};
use super::server::{Keeping, Server, Side};
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long each step with all the keys may take.
const STEP_WITHIN: Duration = Duration::from_secs(600);
/// A key that the load wrote.
const FIRST_KEY: &str = "key:000000000000";
const START: &str = "disk-start-10m";
const SCAN: &str = "disk-scan-10m";

/// The scenario, with the data of each server.
#[derive(Debug, Default)]
pub(super) struct Large {
    data: BTreeMap<Side, Folder>,
}

impl Scenario for Large {
    fn name(&self) -> &'static str {
        "many keys"
    }

    fn rows(&self) -> &'static [&'static str] {
        &[START, SCAN]
    }

    fn prepare(&mut self, bench: &Bench, side: Side) -> Result<()> {
        bench.say(&format!("many keys, loading, {}", side.name()));
        let folder = bench.folder.inside(&format!("large-{}", side.name()))?;
        let server = bench.start(side, Keeping::Disk, &folder)?;
        bench.load(&server, bench.sizes.many_keys, 100)?;
        bench.say(&format!("many keys, bringing to rest, {}", side.name()));
        server.compact(bench.program(side), STEP_WITHIN)?;
        server.stop(STEP_WITHIN)?;
        self.data.insert(side, folder);
        Ok(())
    }

    fn measure(&self, run: &mut Run<'_>) -> Result<()> {
        let folder = self.data.get(&run.side).context("no data was prepared")?;
        let keys = run.bench.sizes.many_keys;
        let begun = Instant::now();
        let program = run.bench.program(run.side);
        let mut server = Server::start(run.side, Keeping::Disk, program, folder.path(), &[])?;
        server.wait_for(&["GET", FIRST_KEY], STEP_WITHIN)?;
        let seconds = begun.elapsed().as_secs_f64();
        run.found(START, Sample::of_work(seconds, server.cpu_seconds()?, keys));
        if run.bench.wants(SCAN) {
            scan(run, &server, SCAN, keys)?;
        }
        server.stop(STEP_WITHIN)
    }
}
