//! What was measured of clusters, and whether it reaches its target.
//!
//! Holds: medians are compared, never single runs. A row without samples of both has no verdict
//! but that it was not measured.

use super::super::facts::Facts;
use super::super::results::{Sample, Summary, Verdict};
use super::nodes::Kind;
use super::rows::{Contest, ROWS, Row};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The samples of one call, by row and cluster.
pub(super) type Samples = BTreeMap<(&'static str, Kind), Vec<Sample>>;

/// A row with what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RowResult {
    pub(super) name: String,
    pub(super) contest: Contest,
    /// When, and of which commit.
    pub(super) date: String,
    pub(super) commit: String,
    /// etcd or Redis.
    pub(super) other: Option<Summary>,
    pub(super) shoal: Option<Summary>,
    /// Shoal's median over the other's.
    pub(super) ratio: Option<f64>,
    /// Shoal's CPU time per operation over the other's.
    pub(super) cpu_ratio: Option<f64>,
    pub(super) target: Option<f64>,
    pub(super) verdict: Verdict,
}

impl RowResult {
    fn of(row: &Row, samples: &Samples, facts: &Facts) -> Self {
        let kinds = match row.contest {
            Contest::Disk => [Kind::Etcd, Kind::ShoalDisk],
            Contest::Memory => [Kind::Redis, Kind::ShoalMemory],
        };
        let [other, shoal] = kinds
            .map(|kind| Summary::of(samples.get(&(row.name, kind)).map_or(&[], Vec::as_slice)));
        let (ratio, cpu_ratio) = Summary::ratios(shoal.as_ref(), other.as_ref());
        let verdict = match (ratio, row.target) {
            (None, _) => Verdict::NotMeasured,
            (Some(_), None) => Verdict::Informative,
            (Some(ratio), Some(target)) if ratio >= target => Verdict::Met,
            _ => Verdict::Missed,
        };
        Self {
            name: row.name.to_owned(),
            contest: row.contest,
            date: facts.date.clone(),
            commit: facts.commit.clone(),
            other,
            shoal,
            ratio,
            cpu_ratio,
            target: row.target,
            verdict,
        }
    }
}

/// The whole: what is written to `cluster.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Results {
    /// Of the latest run.
    pub(super) facts: Facts,
    /// etcd's version.
    pub(super) etcd: String,
    /// Runs of each cluster.
    pub(super) runs: usize,
    /// How long one measurement takes.
    pub(super) seconds: f64,
    /// Short runs: to be read by nobody but the one who tries the harness.
    pub(super) quick: bool,
    pub(super) rows: Vec<RowResult>,
    /// What broke off or was skipped, with the reason.
    pub(super) failures: Vec<String>,
}

impl Results {
    /// Puts in what was measured for `wanted` rows; the others stay as they were, and so does a
    /// row that has no sample now.
    pub(super) fn take_in(&mut self, wanted: &[&Row], samples: &Samples) {
        let before = std::mem::take(&mut self.rows);
        for row in ROWS {
            let kept = before.iter().find(|kept| kept.name == row.name);
            let wanted = wanted.iter().any(|wanted| wanted.name == row.name);
            let new = wanted.then(|| RowResult::of(row, samples, &self.facts));
            match (kept, new) {
                (_, Some(new)) if new.other.is_some() || new.shoal.is_some() => self.rows.push(new),
                (Some(kept), _) => self.rows.push(kept.clone()),
                (None, new) => self.rows.extend(new),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        Results {
            facts: Facts::default(),
            etcd: String::new(),
            runs: 1,
            seconds: 1.0,
            quick: true,
            rows: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn samples(row: &'static str, of: &[(Kind, f64)]) -> Samples {
        let sample = |value| vec![Sample::of_work(value, 2.0, 1_000_000)];
        of.iter().map(|(kind, value)| ((row, *kind), sample(*value))).collect()
    }

    fn verdict(row: &'static str, of: &[(Kind, f64)]) -> Verdict {
        let mut results = results();
        let all: Vec<&Row> = ROWS.iter().collect();
        results.take_in(&all, &samples(row, of));
        results.rows.iter().find(|result| result.name == row).unwrap().verdict
    }

    #[test]
    fn a_rate_is_held_against_its_target() {
        let of = |shoal| [(Kind::Etcd, 100.0), (Kind::ShoalDisk, shoal)];
        assert_eq!(verdict("disk-put-200", &of(1000.0)), Verdict::Met);
        assert_eq!(verdict("disk-put-200", &of(999.0)), Verdict::Missed);
        assert_eq!(verdict("disk-put-1", &of(1.0)), Verdict::Informative);
        assert_eq!(verdict("disk-put-200", &of(1000.0)[1..]), Verdict::NotMeasured);
        // Of another contest, and so nothing to be compared with.
        assert_eq!(verdict("memory-set-1", &of(1000.0)), Verdict::NotMeasured);
    }

    #[test]
    fn rows_not_asked_for_stay() {
        let mut results = results();
        let row = |name| ROWS.iter().find(|row| row.name == name).unwrap();
        let of = |value| [(Kind::Etcd, value), (Kind::ShoalDisk, value)];
        results.take_in(&[row("disk-get-1")], &samples("disk-get-1", &of(5.0)));
        results.take_in(&[row("disk-put-1")], &samples("disk-put-1", &of(7.0)));
        let names: Vec<&str> = results.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["disk-put-1", "disk-get-1"]);
        // Broken off before its first sample.
        results.take_in(&[row("disk-get-1")], &Samples::new());
        assert_eq!(
            results.rows[1].shoal.as_ref().unwrap().median.total_cmp(&5.0),
            std::cmp::Ordering::Equal
        );
    }
}
