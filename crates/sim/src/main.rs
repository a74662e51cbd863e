//! `shoal-sim`: runs seeds, many or one.
//!
//! `shoal-sim [--seeds N] [--first SEED] [--requests N] [--bug NAME]`; with `--replay SEED` one
//! seed alone, with its options and what came of it printed.

#![expect(clippy::print_stdout, reason = "this is a command")]

use anyhow::{Context as _, Result, bail};
use shoal_sim::{Failure, Options, Report, run};
use std::collections::BTreeMap;

fn main() -> Result<()> {
    let mut seeds = 1_000;
    let mut first = 1;
    let mut requests = 1_000;
    let mut replay = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--seeds" => seeds = value.parse()?,
            "--first" => first = value.parse()?,
            "--requests" => requests = value.parse()?,
            "--replay" => replay = Some(value.parse::<u64>()?),
            "--bug" => plant(&value)?,
            _ => bail!("{name} is not known"),
        }
    }
    if let Some(seed) = replay {
        let options = Options::from_seed(seed, requests);
        println!("{options}");
        let outcome = run(options);
        println!("{outcome:#?}");
        return Ok(());
    }
    many(first, seeds, requests)
}

#[cfg(feature = "planted-bugs")]
fn plant(name: &str) -> Result<()> {
    use shoal_core::planted::{Bug, plant};
    let found = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    plant(Some(found.with_context(|| format!("no such bug; there are {:?}", Bug::ALL))?));
    Ok(())
}

#[cfg(not(feature = "planted-bugs"))]
fn plant(name: &str) -> Result<()> {
    bail!("{name} cannot be planted in this build; it wants --features planted-bugs")
}

fn many(first: u64, seeds: u64, requests: usize) -> Result<()> {
    let mut probes = BTreeMap::new();
    let (mut asked, mut answered, mut moved, mut dropped, mut failed) = (0, 0, 0, 0, 0);
    for seed in first..first + seeds {
        match run(Options::from_seed(seed, requests)) {
            Ok(Report { requests, answered: good, cut_overs, purged, probes: reached, .. }) => {
                asked += requests;
                moved += cut_overs;
                dropped += purged;
                answered += good;
                for (name, times) in reached {
                    *probes.entry(name).or_insert(0) += times;
                }
            }
            Err(Failure { what, .. }) => {
                failed += 1;
                println!("seed {seed}: {what}");
                println!(
                    "  replay: cargo run --profile checked -p shoal-sim -- --replay {seed} --requests {requests}"
                );
                if failed >= 5 {
                    break;
                }
            }
        }
    }
    println!(
        "{seeds} seeds, {asked} requests, {answered} answered, {moved} cut-overs, {dropped} purged, {failed} failed"
    );
    for (name, times) in &probes {
        println!("  {times:>9}  {name}");
    }
    if failed > 0 {
        bail!("{failed} seeds broke a promise");
    }
    Ok(())
}
