//! What a run reports: layers, their minutes and counts, and the closing table.

use anyhow::Result;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How a layer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Why the layer failed, one sentence each; empty for one that passed.
    pub(crate) failures: Vec<String>,
    /// What was left out, in the words of the one who left it out.
    pub(crate) skipped: Vec<String>,
}

impl Outcome {
    /// Takes note of one line of output, if it is a test summary or says that something was
    /// skipped.
    pub(crate) fn read_line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(summary) = line.strip_prefix("test result: ") {
            self.passed += count_before(summary, " passed");
            self.failed += count_before(summary, " failed");
        } else if line.starts_with("skipped: ") {
            self.skipped.push(line.to_owned());
        } else if let Some((test, why)) = line.split_once(" ... ignored") {
            let (test, why) = (test.trim_start_matches("test "), why.trim_start_matches(", "));
            self.skipped.push(format!("skipped: {test} is marked to be ignored: {why}"));
        }
    }

    /// Notes a failure if no test ran at all: a filter or a target that fits nothing passes.
    pub(crate) fn of_tests(mut self) -> Self {
        if self.passed + self.failed == 0 {
            self.fail("no test ran");
        }
        self
    }

    /// Notes a failure, counted if nothing failed was counted yet, so that a run that failed
    /// never says "0 failed".
    pub(crate) fn fail(&mut self, why: &str) {
        self.failures.push(why.to_owned());
        self.failed = self.failed.max(1);
    }
}

fn count_before(text: &str, unit: &str) -> u64 {
    let Some((before, _)) = text.split_once(unit) else { return 0 };
    before.rsplit(|letter: char| !letter.is_ascii_digit()).next().unwrap_or("").parse().unwrap_or(0)
}

struct Layer {
    name: String,
    took: Duration,
    outcome: Outcome,
}

/// The layers run so far.
#[derive(Default)]
pub(crate) struct Report {
    layers: Vec<Layer>,
}

impl Report {
    /// Runs one layer and prints how long it took.
    pub(crate) fn layer(&mut self, name: &str, run: impl FnOnce() -> Result<Outcome>) {
        println!("\n=== {name}");
        let begun = Instant::now();
        let outcome = run().unwrap_or_else(|error| {
            let mut outcome = Outcome::default();
            outcome.fail(&format!("{error:#}"));
            outcome
        });
        let took = begun.elapsed();
        let verdict = if outcome.failures.is_empty() { "ok" } else { "FAILED" };
        println!("=== {name}: {verdict} after {} min", minutes(took));
        self.layers.push(Layer { name: name.to_owned(), took, outcome });
    }

    /// Whether every layer passed.
    pub(crate) fn passed(&self) -> bool {
        self.layers.iter().all(|layer| layer.outcome.failures.is_empty())
    }

    /// The closing table; its last line is `N passed, N failed`.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |words: std::fmt::Arguments<'_>| {
            let _infallible = text.write_fmt(words);
            text.push('\n');
        };
        let mut skipped: Vec<&str> = Vec::new();
        for layer in &self.layers {
            for words in &layer.outcome.skipped {
                if !skipped.contains(&words.as_str()) {
                    skipped.push(words);
                }
            }
        }
        line(format_args!("\n{:<14} {:>7} {:>8} {:>7}", "layer", "minutes", "passed", "failed"));
        for layer in &self.layers {
            let Outcome { passed, failed, .. } = layer.outcome;
            line(format_args!(
                "{:<14} {:>7} {passed:>8} {failed:>7}",
                layer.name,
                minutes(layer.took)
            ));
        }
        let all: Duration = self.layers.iter().map(|layer| layer.took).sum();
        line(format_args!("{:<14} {:>7}\n", "together", minutes(all)));
        for layer in &self.layers {
            for why in &layer.outcome.failures {
                line(format_args!("FAILED {}: {why}", layer.name));
            }
        }
        for words in skipped {
            line(format_args!("{words}"));
        }
        let passed: u64 = self.layers.iter().map(|layer| layer.outcome.passed).sum();
        let failed: u64 = self.layers.iter().map(|layer| layer.outcome.failed).sum();
        line(format_args!("{passed} passed, {failed} failed"));
        text
    }
}

fn minutes(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() / 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_summaries_are_summed_and_skips_are_kept() {
        let mut outcome = Outcome::default();
        for line in [
            "running 3 tests\n",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n",
            "skipped: no redis-server on this machine\n",
            "test floods ... ignored, it takes a day\n",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored\n",
        ] {
            outcome.read_line(line);
        }
        assert_eq!((outcome.passed, outcome.failed), (15, 2));
        let expected = [
            "skipped: no redis-server on this machine",
            "skipped: floods is marked to be ignored: it takes a day",
        ];
        assert_eq!(outcome.skipped, expected);
    }

    #[test]
    fn a_failure_is_never_reported_as_none_failed() {
        let mut outcome = Outcome::default();
        outcome.fail("it did not compile");
        assert_eq!(outcome.failed, 1);
        let mut counted = Outcome { failed: 4, ..Outcome::default() };
        counted.fail("four tests");
        assert_eq!(counted.failed, 4);
    }

    #[test]
    fn tests_that_did_not_run_have_failed() {
        let mut outcome = Outcome::default();
        outcome.read_line("test result: ok. 0 passed; 0 failed; 0 ignored; 9 filtered out");
        assert_eq!(outcome.of_tests().failures, ["no test ran"]);
        let one = Outcome { passed: 1, ..Outcome::default() };
        assert_eq!(one.clone().of_tests(), one);
    }

    #[test]
    fn the_table_ends_with_the_sums() {
        let mut report = Report::default();
        report.layer("one", || Ok(Outcome { passed: 2, ..Outcome::default() }));
        report.layer("two", || anyhow::bail!("gone"));
        assert!(!report.passed());
        let table = report.table();
        assert!(table.contains("FAILED two: gone"), "{table}");
        assert_eq!(table.lines().last(), Some("2 passed, 1 failed"));
    }
}
