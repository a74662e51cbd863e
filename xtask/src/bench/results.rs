//! What was measured, and whether it reaches its target.
//!
//! Holds: medians are compared, never single runs. A row without samples of every server it needs
//! has no verdict but that it was not measured.

use super::facts::Facts;
use super::rows::{ROWS, Row, Target};
use super::scenario::Samples;
use super::server::Side;
use super::tool::Measured;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One measurement of one row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// In the row's unit.
    pub(super) value: f64,
    /// CPU seconds of the server per million operations, or keys, of the row.
    pub(super) cpu_s_per_million: f64,
    /// Latencies as the load generator saw them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) p50_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) p99_ms: Option<f64>,
}

impl Sample {
    /// A rate, with the server's CPU time meanwhile.
    pub(super) fn of_rate(measured: &Measured, cpu_s: f64) -> Self {
        Self {
            p50_ms: Some(measured.p50_ms),
            p99_ms: Some(measured.p99_ms),
            ..Self::of_work(measured.rate, cpu_s, measured.operations)
        }
    }

    /// Any value, with the CPU time that so many operations took.
    pub(super) fn of_work(value: f64, cpu_s: f64, operations: u64) -> Self {
        let millions = operations.max(1) as f64 / 1e6;
        Self { value, cpu_s_per_million: cpu_s / millions, p50_ms: None, p99_ms: None }
    }
}

/// The runs of one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// The median.
    pub(super) cpu_s_per_million: f64,
    /// Every run, in order.
    pub(super) samples: Vec<Sample>,
}

impl Summary {
    pub(super) fn of(samples: &[Sample]) -> Option<Self> {
        let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        let cpu: Vec<f64> = samples.iter().map(|sample| sample.cpu_s_per_million).collect();
        Some(Self {
            median: median(&values)?,
            min: values.iter().copied().min_by(f64::total_cmp)?,
            max: values.iter().copied().max_by(f64::total_cmp)?,
            cpu_s_per_million: median(&cpu)?,
            samples: samples.to_vec(),
        })
    }

    /// The median of the one over that of the other, and the same of CPU time per operation.
    pub(super) fn ratios(above: Option<&Self>, below: Option<&Self>) -> (Option<f64>, Option<f64>) {
        let over = |value: fn(&Self) -> f64| {
            let (above, below) = (value(above?), value(below?));
            (below > 0.0).then(|| above / below)
        };
        (over(|summary| summary.median), over(|summary| summary.cpu_s_per_million))
    }
}

/// The middle, or the mean of the two in the middle; nothing of nothing.
fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    values.get(middle - 1).map(|lower| f64::midpoint(*lower, upper))
}

/// Whether a row reaches its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Met,
    Missed,
    /// It has no target.
    Informative,
    NotMeasured,
}

impl Verdict {
    /// How it is written in the table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "**missed**",
            Self::Informative => "–",
            Self::NotMeasured => "**not measured**",
        }
    }
}

/// A row with what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RowResult {
    pub(super) name: String,
    pub(super) what: String,
    pub(super) unit: String,
    /// When, and of which commit.
    pub(super) date: String,
    pub(super) commit: String,
    pub(super) redis: Option<Summary>,
    pub(super) shoal: Option<Summary>,
    /// Shoal's median over Redis'.
    pub(super) ratio: Option<f64>,
    /// Shoal's CPU time per operation over Redis'.
    pub(super) cpu_ratio: Option<f64>,
    pub(super) verdict: Verdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

impl RowResult {
    fn of(row: &Row, samples: &Samples, note: Option<&String>, facts: &Facts) -> Self {
        let summary = |side| Summary::of(samples.get(&(row.name, side)).map_or(&[], Vec::as_slice));
        let (redis, shoal) = (summary(Side::Redis), summary(Side::Shoal));
        let (ratio, cpu_ratio) = Summary::ratios(shoal.as_ref(), redis.as_ref());
        let median = shoal.as_ref().map(|shoal| shoal.median);
        Self {
            name: row.name.to_owned(),
            what: row.what.to_owned(),
            unit: row.unit.name().to_owned(),
            date: facts.date.clone(),
            commit: facts.commit.clone(),
            redis,
            shoal,
            ratio,
            cpu_ratio,
            verdict: verdict(row, median, ratio, cpu_ratio),
            note: note.cloned(),
        }
    }
}

fn verdict(row: &Row, median: Option<f64>, ratio: Option<f64>, cpu: Option<f64>) -> Verdict {
    let reached = match row.target {
        Target::None => ratio.map(|_| true),
        Target::Times(times) if row.unit.is_rate() => ratio.map(|ratio| ratio >= times),
        Target::Times(times) => ratio.map(|ratio| ratio <= times),
        Target::AtMost(most) => median.map(|median| median <= most),
    };
    let frugal = match row.cpu_target {
        None => Some(true),
        Some(target) => cpu.map(|cpu| cpu <= target),
    };
    match (reached, frugal) {
        (Some(true), Some(true)) if row.target == Target::None && row.cpu_target.is_none() => {
            Verdict::Informative
        }
        (Some(true), Some(true)) => Verdict::Met,
        (None, _) | (_, None) => Verdict::NotMeasured,
        _ => Verdict::Missed,
    }
}

/// The whole: what is written to `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Results {
    /// Of the latest run.
    pub(super) facts: Facts,
    /// Counted runs of each server.
    pub(super) runs: usize,
    /// How long one measurement takes.
    pub(super) seconds: f64,
    /// Small sizes: to be read by nobody but the one who tries the harness.
    pub(super) quick: bool,
    pub(super) rows: Vec<RowResult>,
    /// Scenarios that broke off, with what they said.
    pub(super) failures: Vec<String>,
}

impl Results {
    /// Puts in what was measured for the rows that `wanted` names. The others stay as they were,
    /// and so does a row that broke off before its first sample.
    pub(super) fn take_in(
        &mut self,
        samples: &Samples,
        notes: &BTreeMap<&'static str, String>,
        wanted: impl Fn(&str) -> bool,
    ) {
        let before = std::mem::take(&mut self.rows);
        for row in ROWS {
            let kept = before.iter().find(|kept| kept.name == row.name);
            let new = wanted(row.name)
                .then(|| RowResult::of(row, samples, notes.get(row.name), &self.facts));
            let is_measured = |new: &RowResult| new.redis.is_some() || new.shoal.is_some();
            match (kept, new) {
                (_, Some(new)) if is_measured(&new) => self.rows.push(new),
                (Some(kept), _) => self.rows.push(kept.clone()),
                (None, new) => self.rows.extend(new),
            }
        }
    }

    /// The rows that miss their target or could not be measured.
    pub(super) fn short(&self) -> impl Iterator<Item = &RowResult> {
        let short = [Verdict::Missed, Verdict::NotMeasured];
        self.rows.iter().filter(move |row| short.contains(&row.verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Vec<Sample> {
        values.iter().map(|value| Sample::of_work(*value, 2.0, 1_000_000)).collect()
    }

    fn results() -> Results {
        Results {
            facts: Facts::default(),
            runs: 3,
            seconds: 1.0,
            quick: false,
            rows: Vec::new(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn cpu_time_is_per_million() {
        assert_eq!(Sample::of_work(1.0, 3.0, 500_000).cpu_s_per_million, 6.0);
        assert!(Sample::of_work(1.0, 3.0, 0).cpu_s_per_million.is_finite());
    }

    fn row(name: &str) -> &'static Row {
        ROWS.iter().find(|row| row.name == name).unwrap()
    }

    #[test]
    fn a_rate_must_be_at_least_a_size_at_most() {
        let rate = row("memory-set-p16");
        assert_eq!(verdict(rate, Some(1.0), Some(1.6), Some(9.0)), Verdict::Met);
        assert_eq!(verdict(rate, Some(1.0), Some(1.5), Some(0.1)), Verdict::Missed);
        let size = row("memory-resident");
        assert_eq!(verdict(size, Some(1.0), Some(0.9), None), Verdict::Met);
        assert_eq!(verdict(size, Some(1.0), Some(0.91), None), Verdict::Missed);
    }

    #[test]
    fn cpu_time_counts_where_it_has_a_target() {
        let row = row("memory-get-p1");
        assert_eq!(verdict(row, Some(1.0), Some(1.0), Some(0.8)), Verdict::Met);
        assert_eq!(verdict(row, Some(1.0), Some(2.0), Some(0.81)), Verdict::Missed);
        assert_eq!(verdict(row, Some(1.0), Some(2.0), None), Verdict::NotMeasured);
    }

    #[test]
    fn a_bound_needs_no_redis_and_a_row_for_information_no_target() {
        let bound = row("disk-limit-512m");
        assert_eq!(verdict(bound, Some(640.0), None, None), Verdict::Met);
        assert_eq!(verdict(bound, Some(640.1), None, None), Verdict::Missed);
        assert_eq!(verdict(bound, None, None, None), Verdict::NotMeasured);
        let informative = row("memory-scan");
        assert_eq!(verdict(informative, Some(1.0), Some(0.1), None), Verdict::Informative);
        assert_eq!(verdict(informative, Some(1.0), None, None), Verdict::NotMeasured);
    }

    #[test]
    fn rows_that_were_not_measured_stay() {
        let mut results = results();
        let mut found = Samples::new();
        found.insert(("memory-scan", Side::Redis), samples(&[1.0, 3.0, 2.0]));
        found.insert(("memory-scan", Side::Shoal), samples(&[4.0, 4.0, 4.0]));
        results.take_in(&found, &BTreeMap::new(), |_| true);
        assert_eq!(results.rows.len(), ROWS.len());
        let scan = results.rows.iter().find(|row| row.name == "memory-scan").unwrap().clone();
        assert_eq!(scan.ratio, Some(2.0));
        let summary = scan.redis.as_ref().unwrap();
        assert_eq!((summary.median, summary.min, summary.max), (2.0, 1.0, 3.0));

        results.facts.date = "later".to_owned();
        let mut found = Samples::new();
        found.insert(("disk-get-p1", Side::Redis), samples(&[1.0]));
        found.insert(("memory-scan", Side::Redis), samples(&[9.0]));
        results.take_in(&found, &BTreeMap::new(), |name| name.starts_with("disk"));
        assert!(results.rows.contains(&scan), "a row that was not asked for stays");
        let later = results.rows.iter().filter(|row| row.date == "later");
        let later: Vec<&str> = later.map(|row| row.name.as_str()).collect();
        assert_eq!(later, ["disk-get-p1"], "a row without a sample stays");
    }

    #[test]
    fn results_survive_their_file() {
        let mut results = results();
        results.take_in(&Samples::new(), &BTreeMap::new(), |_| true);
        let text = serde_json::to_string(&results).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results);
    }
}
