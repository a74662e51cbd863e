//! What a measurement found, as text and as JSON.
//!
//! Holds: throughput counts good replies only, over the time from the end of the warm-up to the
//! last reply.
//! Does not know: how it was measured.

use super::worker::Tally;
use super::workload::{Kind, Workload};
use crate::table::Table;
use crate::units::{show_bytes, show_count};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The percentiles that are told.
const PERCENTILES: [(&str, &str, f64); 4] =
    [("p50", "p50", 50.0), ("p95", "p95", 95.0), ("p99", "p99", 99.0), ("p99.9", "p99_9", 99.9)];

/// A finished measurement.
pub(crate) struct Report<'a> {
    /// What was sent.
    pub(crate) workload: &'a Workload,
    /// Where it went.
    pub(crate) target: String,
    /// Connections.
    pub(crate) clients: usize,
    /// Threads of the load writer.
    pub(crate) threads: usize,
    /// Commands per batch.
    pub(crate) pipeline: u32,
    /// The warm-up before.
    pub(crate) warm_up: Duration,
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// What was counted.
    pub(crate) tally: Tally,
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
impl Report<'_> {
    /// Good replies of every kind.
    fn operations(&self) -> u64 {
        self.tally.latency_ns.iter().map(Histogram::len).sum()
    }

    fn per_second(&self, operations: u64) -> f64 {
        operations as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The kinds that occurred, with their latencies.
    fn kinds(&self) -> impl Iterator<Item = (Kind, &Histogram<u64>)> {
        Kind::ALL.into_iter().zip(&self.tally.latency_ns).filter(|(_, latency)| !latency.is_empty())
    }

    /// One document with every figure.
    pub(crate) fn json(&self) -> Value {
        let mut by_command = Map::new();
        let mut all = Tally::new(self.tally.finished).latency_ns[0].clone();
        for (kind, latency) in self.kinds() {
            let figures = json!({
                "operations": latency.len(),
                "ops_per_s": self.per_second(latency.len()),
                "latency_ms": latency_json(latency),
            });
            by_command.insert(kind.name().to_owned(), figures);
            // All have the same bounds, so that adding cannot fail.
            let _ = all.add(latency);
        }
        let workload = self.workload;
        let value_bytes = &workload.value_bytes;
        json!({
            "op": format!("{:?}", workload.op).to_lowercase(),
            "target": self.target,
            "clients": self.clients,
            "threads": self.threads,
            "pipeline": self.pipeline,
            "keys": workload.keys,
            "key_distribution": workload.distribution.to_string(),
            "value_bytes": [value_bytes.start(), value_bytes.end()],
            "batch": workload.batch,
            "warm_up_s": self.warm_up.as_secs_f64(),
            "elapsed_s": self.elapsed.as_secs_f64(),
            "operations": self.operations(),
            "ops_per_s": self.per_second(self.operations()),
            "errors": self.tally.errors,
            "first_error": self.tally.first_error,
            "misses": self.tally.misses,
            "latency_ms": latency_json(&all),
            "by_command": by_command,
        })
    }

    /// A few lines for people.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![self.heading(), String::new()];
        let operations = self.operations();
        let rate = self.per_second(operations);
        lines.push(format!(
            "{} operations in {:.2} s: {} per second",
            show_count(operations),
            self.elapsed.as_secs_f64(),
            whole(rate),
        ));
        let batch = f64::from(self.workload.batch);
        if self.kinds().any(|(kind, _)| matches!(kind, Kind::Mget | Kind::Mset)) {
            lines.push(format!("{} keys per second", whole(rate * batch)));
        }
        if self.kinds().any(|(kind, _)| kind == Kind::Get) {
            lines.push(format!("{} keys were not there", show_count(self.tally.misses)));
        }
        lines.push(format!("{} errors", show_count(self.tally.errors)));
        if let Some(first) = &self.tally.first_error {
            lines.push(format!("the first error: {first}"));
        }
        lines.push(String::new());
        let mut table =
            Table::new(&["latency, ms", "mean", "p50", "p95", "p99", "p99.9", "max", "count"]);
        for (kind, latency) in self.kinds() {
            let percentiles =
                PERCENTILES.iter().map(|(_, _, at)| ms(latency.value_at_percentile(*at) as f64));
            table.row(
                [kind.name().to_owned(), ms(latency.mean())]
                    .into_iter()
                    .chain(percentiles)
                    .chain([ms(latency.max() as f64), show_count(latency.len())]),
            );
        }
        lines.push(table.show());
        lines.join("\n")
    }

    fn heading(&self) -> String {
        let workload = self.workload;
        let (least, most) = (workload.value_bytes.start(), workload.value_bytes.end());
        let values = match least == most {
            true => show_bytes(*most as u64),
            false => format!("{} to {}", show_bytes(*least as u64), show_bytes(*most as u64)),
        };
        format!(
            "{:?} on {}: {} clients, pipeline {}, {} {}, {} keys {}, values of {values}",
            workload.op,
            self.target,
            self.clients,
            self.pipeline,
            self.threads,
            if self.threads == 1 { "thread" } else { "threads" },
            show_count(workload.keys),
            workload.distribution,
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
fn latency_json(latency: &Histogram<u64>) -> Value {
    let mut figures = Map::new();
    figures.insert("mean".to_owned(), json!(latency.mean() / 1e6));
    for (_, name, at) in PERCENTILES {
        figures.insert(name.to_owned(), json!(latency.value_at_percentile(at) as f64 / 1e6));
    }
    figures.insert("max".to_owned(), json!(latency.max() as f64 / 1e6));
    Value::Object(figures)
}

fn ms(ns: f64) -> String {
    format!("{:.3}", ns / 1e6)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are small")]
fn whole(rate: f64) -> String {
    show_count(rate.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::workload::{Distribution, Op};
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::time::Instant;

    #[test]
    fn percentiles_and_rates() {
        let mut tally = Tally::new(Instant::now());
        for ns in 1..=1_000 {
            tally.latency_ns[Kind::Get as usize].record(ns * 1_000).unwrap();
        }
        let workload = Workload {
            op: Op::Get,
            read_ratio: 1.0,
            batch: 1,
            keys: 10,
            distribution: Distribution::Uniform,
            value_bytes: 3..=3,
            prefix: String::new(),
            next: AtomicU64::new(0),
        };
        let report = Report {
            workload: &workload,
            target: "h:1".to_owned(),
            clients: 1,
            threads: 1,
            pipeline: 1,
            warm_up: Duration::ZERO,
            elapsed: Duration::from_millis(500),
            tally,
        };
        let json = report.json();
        assert_eq!(json["operations"], 1_000);
        assert_eq!(json["ops_per_s"], 2_000.0);
        assert_eq!(json["op"], "get");
        for (name, expected_ms) in [("p50", 0.5), ("p95", 0.95), ("p99_9", 0.999), ("max", 1.0)] {
            let got = json["latency_ms"][name].as_f64().unwrap();
            assert!((got / expected_ms - 1.0).abs() < 0.002, "{name}: {got}");
        }
        assert!(report.text().contains("1,000 operations in 0.50 s: 2,000 per second"));
    }
}
