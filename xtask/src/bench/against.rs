//! `cargo xtask bench against`: Shoal beside an older Shoal, on the rows that a single node has.
//!
//! Holds: both are measured as Shoal and Redis are otherwise, in turns, by the same load generator,
//! which is the new one's. The verdict is of medians.
//!
//! Does not know: what has changed between them.

use super::facts::{Facts, said};
use super::folder::Folder;
use super::options::Options;
use super::results::{Summary, Verdict};
use super::rows::{ROWS, Row};
use super::scenario::{Bench, Samples, alternate};
use super::server::Side;
use super::table::{dash, machine, times, values};
use super::{UNFINISHED, keep, limit, program, scenarios};
use crate::help;
use crate::root::root;
use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

/// The page.
const PAGE: &str = "AGAINST.md";
/// Counted runs of each program.
const RUNS: usize = 9;
/// What part of the old one's throughput the new one must have; of a size or a time it may take so
/// much more.
const THROUGHPUT: f64 = 0.95;
/// How much more CPU time an operation may cost.
const CPU: f64 = 1.05;

/// Measures, writes the page, and says whether everything could be measured.
pub(super) fn run(words: &[&str]) -> Result<bool> {
    let (old, words) = old_of(words)?;
    let options = Options::parse(&words, RUNS).with_context(|| help::usage("bench against"))?;
    let old = old.canonicalize().with_context(|| old.display().to_string())?;
    let shoal = program(&options)?;
    let folder = Folder::of_this_run()?;
    let facts = Facts::gather(&shoal, folder.path())?;
    let old_is = said(&old.to_string_lossy(), &["--version"]);
    let (sizes, begun, sides) = (options.sizes(), Instant::now(), [Side::Old, Side::Shoal]);
    let bench = Bench { options, sizes, shoal, old: Some(old), sides, folder, begun };
    keep::some_of(&bench.options, all().map(|row| row.name))?;
    let into = keep::folder(&bench.options);
    let unfinished = root().join(UNFINISHED);
    let (mut samples, mut failures) = (Samples::new(), Vec::new());
    for mut scenario in scenarios() {
        if let Err(error) = alternate(&bench, scenario.as_mut(), &mut samples) {
            let failure = format!("{}: {error:#}", scenario.name());
            bench.say(&format!("broke off: {failure}"));
            failures.push(failure);
        }
        keep::write(&unfinished, &[(PAGE, page(&bench, &facts, &old_is, &samples, &failures))])?;
    }
    keep::write(&into, &[(PAGE, page(&bench, &facts, &old_is, &samples, &failures))])?;
    std::fs::remove_dir_all(&unfinished).with_context(|| unfinished.display().to_string())?;
    bench.say(&format!("written to {}", into.join(PAGE).display()));
    for line in rows(&bench).map(|row| Line::of(row, &samples)) {
        println!("{}: {:?}", line.row.name, line.verdict);
    }
    Ok(failures.is_empty())
}

/// Takes the older program out of the words.
fn old_of<'w>(words: &[&'w str]) -> Result<(PathBuf, Vec<&'w str>)> {
    let missing = || format!("--old wants the older program\n{}", help::usage("bench against"));
    let mut words = words.to_vec();
    let at = words.iter().position(|word| *word == "--old" || word.starts_with("--old="));
    let word = words.remove(at.with_context(missing)?);
    let old = match (word.strip_prefix("--old="), at.filter(|at| *at < words.len())) {
        (Some(joined), _) => joined,
        (None, Some(at)) => words.remove(at),
        (None, None) => bail!(missing()),
    };
    Ok((PathBuf::from(old), words))
}

/// All rows that two programs can be measured by in turns.
fn all() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|row| row.name != limit::ROW)
}

/// Those that were asked for.
fn rows(bench: &Bench) -> impl Iterator<Item = &'static Row> {
    all().filter(|row| bench.wants(row.name))
}

/// A row with what was measured.
struct Line {
    row: &'static Row,
    old: Option<Summary>,
    new: Option<Summary>,
    /// The new one's median over the old one's.
    ratio: Option<f64>,
    cpu_ratio: Option<f64>,
    verdict: Verdict,
}

impl Line {
    fn of(row: &'static Row, samples: &Samples) -> Self {
        let summary = |side| Summary::of(samples.get(&(row.name, side)).map_or(&[], Vec::as_slice));
        let (old, new) = (summary(Side::Old), summary(Side::Shoal));
        let (ratio, cpu_ratio) = Summary::ratios(new.as_ref(), old.as_ref());
        let keeps_up = ratio.map(|ratio| match row.unit.is_rate() {
            true => ratio >= THROUGHPUT,
            false => ratio <= 1.0 / THROUGHPUT,
        });
        let verdict = match (keeps_up, cpu_ratio.map(|ratio| ratio <= CPU)) {
            (None, _) | (_, None) => Verdict::NotMeasured,
            (Some(true), Some(true)) => Verdict::Met,
            _ => Verdict::Missed,
        };
        Self { row, old, new, ratio, cpu_ratio, verdict }
    }

    fn text(&self) -> String {
        let Self { row, old, new, ratio, cpu_ratio, verdict } = self;
        let cpu = |side: &Option<Summary>| {
            side.as_ref().map_or_else(dash, |side| format!("{:.2}", side.cpu_s_per_million))
        };
        format!(
            "| `{}`: {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            row.name,
            row.what,
            row.unit.name(),
            values(old.as_ref()),
            values(new.as_ref()),
            times(*ratio),
            cpu(old),
            cpu(new),
            times(*cpu_ratio),
            verdict.name(),
        )
    }
}

fn page(
    bench: &Bench,
    facts: &Facts,
    old_is: &str,
    samples: &Samples,
    failures: &[String],
) -> String {
    let mut page = String::from("# Beside an older Shoal\n\n");
    if bench.options.quick {
        page.push_str("A trial of the harness with small sizes and short runs; not a result.\n\n");
    }
    let _infallible = write!(
        page,
        "Written by `cargo xtask bench against`; how to read it: [README.md](README.md).\n\n{}\
         | old | {old_is} |\n| new | {}, {} |\n\
         | runs | {} of each in turns after a warm-up, {} s each |\n\n\
         A rate must be at least {THROUGHPUT}× the old one's (a size or a time at most {:.2}×), CPU \
         time per operation at most {CPU}×.\n",
        machine(facts),
        facts.shoal,
        facts.rustc,
        bench.options.runs,
        bench.sizes.seconds,
        1.0 / THROUGHPUT,
    );
    for failure in failures {
        let _infallible = write!(page, "\n- broke off: {failure}\n");
    }
    page.push_str(
        "\n| row | | old | new | ratio | CPU s/M old | new | ratio | verdict |\n\
         |---|---|--:|--:|--:|--:|--:|--:|---|\n",
    );
    rows(bench).for_each(|row| page.push_str(&Line::of(row, samples).text()));
    page
}

#[cfg(test)]
mod tests {
    use super::super::results::Sample;
    use super::*;

    fn verdict(row: &str, old: (f64, f64), new: (f64, f64)) -> Verdict {
        let row = ROWS.iter().find(|known| known.name == row).unwrap();
        let sample = |(value, cpu_s)| Sample::of_work(value, cpu_s, 1_000_000);
        let mut samples = Samples::new();
        samples.insert((row.name, Side::Old), vec![sample(old)]);
        samples.insert((row.name, Side::Shoal), vec![sample(new)]);
        Line::of(row, &samples).verdict
    }

    #[test]
    fn neither_rate_nor_cpu_time_may_be_worse() {
        let rate = "disk-set-p1";
        assert_eq!(verdict(rate, (1000.0, 2.0), (950.0, 2.1)), Verdict::Met);
        assert_eq!(verdict(rate, (1000.0, 2.0), (949.0, 1.0)), Verdict::Missed);
        assert_eq!(verdict(rate, (1000.0, 2.0), (2000.0, 2.11)), Verdict::Missed);
        let size = "memory-resident";
        assert_eq!(verdict(size, (100.0, 2.0), (105.0, 2.0)), Verdict::Met);
        assert_eq!(verdict(size, (100.0, 2.0), (106.0, 2.0)), Verdict::Missed);
    }

    #[test]
    fn what_was_not_measured_on_both_has_no_verdict() {
        let line = Line::of(&ROWS[0], &Samples::new());
        assert_eq!(line.verdict, Verdict::NotMeasured);
        assert!(line.text().contains("not measured"));
    }

    #[test]
    fn the_older_program_is_named_in_both_spellings() {
        for words in [&["--rows", "a", "--old", "b"][..], &["--old=b", "--rows", "a"]] {
            let (old, rest) = old_of(words).unwrap();
            assert_eq!((old, rest), (PathBuf::from("b"), vec!["--rows", "a"]));
        }
        for words in [&[][..], &["--old"], &["--quick"]] {
            assert!(old_of(words).is_err(), "{words:?}");
        }
    }
}
