//! `shoal-sim`: runs seeds, many or one.
//!
//! `shoal-sim [--seeds N] [--first SEED] [--requests N] [--kind NAME] [--bug NAME]`; with
//! `--replay SEED` one seed alone, with its options and what came of it printed. Without a kind
//! many seeds take turns, and one is of the ordinary kind.

#![expect(clippy::print_stdout, reason = "this is a command")]

use anyhow::{Context as _, Result, bail};
use shoal_sim::{Family, Report, run};
use std::collections::BTreeMap;

/// What was asked for.
struct Wanted {
    seeds: u64,
    first: u64,
    requests: usize,
    family: Option<Family>,
    replay: Option<u64>,
}

fn main() -> Result<()> {
    let wanted = read_arguments()?;
    let Some(seed) = wanted.replay else { return many(&wanted) };
    let options = wanted.family.unwrap_or(Family::Ordinary).run_of(seed, wanted.requests);
    println!("{options}");
    match run(options) {
        Ok(report) => println!("{report:#?}"),
        Err(failure) => bail!("{failure}"),
    }
    Ok(())
}

fn read_arguments() -> Result<Wanted> {
    let mut wanted = Wanted { seeds: 1_000, first: 1, requests: 1_000, family: None, replay: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--seeds" => wanted.seeds = value.parse()?,
            "--first" => wanted.first = value.parse()?,
            "--requests" => wanted.requests = value.parse()?,
            "--replay" => wanted.replay = Some(value.parse()?),
            "--kind" => {
                let family = Family::named(&value);
                let names = Family::ALL.map(Family::name);
                wanted.family =
                    Some(family.with_context(|| format!("no such kind; there are {names:?}"))?);
            }
            "--bug" => plant(&value)?,
            _ => bail!("{name} is not known"),
        }
    }
    Ok(wanted)
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

fn many(wanted: &Wanted) -> Result<()> {
    let mut probes = BTreeMap::new();
    let (mut asked, mut answered, mut moved, mut dropped, mut failed) = (0, 0, 0, 0, 0);
    let mut pairs = [0; 3];
    for seed in wanted.first..wanted.first + wanted.seeds {
        let family = wanted.family.unwrap_or_else(|| Family::of_seed(seed));
        match run(family.run_of(seed, wanted.requests)) {
            Ok(Report {
                requests,
                answered: good,
                cut_overs,
                purged,
                probes: reached,
                counts,
                ..
            }) => {
                pairs[0] += counts.steady_pairs;
                pairs[1] += counts.moved_pairs;
                pairs[2] += counts.moved_pairs_wrong;
                asked += requests;
                moved += cut_overs;
                dropped += purged;
                answered += good;
                for (name, times) in reached {
                    *probes.entry(name).or_insert(0) += times;
                }
            }
            Err(failure) => {
                failed += 1;
                println!("{failure}");
                if failed >= 5 {
                    break;
                }
            }
        }
    }
    let seeds = wanted.seeds;
    println!(
        "{seeds} seeds, {asked} requests, {answered} answered, {moved} cut-overs, {dropped} purged, {failed} failed"
    );
    let [steady, elsewhere, wrong] = pairs;
    println!("{steady} pairs at one executor, {elsewhere} at several, {wrong} of those wrong");
    for (name, times) in &probes {
        println!("  {times:>9}  {name}");
    }
    if failed > 0 {
        bail!("{failed} seeds broke a promise");
    }
    Ok(())
}
