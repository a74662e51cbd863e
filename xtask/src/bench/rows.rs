//! The table of what is measured: names, words and targets.
//!
//! Holds: names are unique and begin with the keyspace's engine; results, documentation and
//! `--rows` go by them.

/// What a row's value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Requests per second; more is better.
    Operations,
    /// Keys per second; more is better.
    Keys,
    /// Mebibytes; fewer is better.
    Mebibytes,
    /// Seconds; fewer is better.
    Seconds,
}

impl Unit {
    /// How it is written.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Operations => "ops/s",
            Self::Keys => "keys/s",
            Self::Mebibytes => "MiB",
            Self::Seconds => "s",
        }
    }

    /// Whether more is better.
    pub(super) const fn is_rate(self) -> bool {
        matches!(self, Self::Operations | Self::Keys)
    }
}

/// What a row must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// Nothing: for information.
    None,
    /// This multiple of Redis: at least for a rate, at most for a size or a time.
    Times(f64),
    /// At most this much of the row's unit, whatever Redis does.
    AtMost(f64),
}

/// One line of the results.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// How it is called on the command line and in the results.
    pub(super) name: &'static str,
    /// What is done, at the committed sizes.
    pub(super) what: &'static str,
    pub(super) unit: Unit,
    pub(super) target: Target,
    /// The server's CPU time per operation must be at most this multiple of Redis'.
    pub(super) cpu_target: Option<f64>,
}

const fn row(name: &'static str, what: &'static str, unit: Unit, target: Target) -> Row {
    Row { name, what, unit, target, cpu_target: None }
}

const fn frugal(row: Row, cpu_target: f64) -> Row {
    Row { cpu_target: Some(cpu_target), ..row }
}

use Target::{AtMost, Times};
use Unit::{Keys, Mebibytes, Operations, Seconds};

/// Every row, in the order of the results.
pub(super) const ROWS: &[Row] = &[
    frugal(
        row("memory-set-p1", "SET, 100 B, random keys of 1 M, pipeline 1", Operations, Times(1.0)),
        0.8,
    ),
    frugal(
        row("memory-get-p1", "GET, 100 B, random keys of 1 M, pipeline 1", Operations, Times(1.0)),
        0.8,
    ),
    row("memory-set-p16", "SET, 100 B, random keys of 1 M, pipeline 16", Operations, Times(1.6)),
    row("memory-get-p16", "GET, 100 B, random keys of 1 M, pipeline 16", Operations, Times(1.6)),
    row(
        "memory-resident",
        "resident memory of 1 M keys of 16 B + 100 B (CPU: per SET)",
        Mebibytes,
        Times(0.9),
    ),
    row("memory-mget-100", "MGET of 100 random keys of 1 M", Operations, Target::None),
    row("memory-set-1k", "SET, 1 KiB, random keys of 100 k", Operations, Target::None),
    row("memory-get-1k", "GET, 1 KiB, random keys of 100 k", Operations, Target::None),
    row("memory-set-16k", "SET, 16 KiB, random keys of 10 k", Operations, Target::None),
    row("memory-get-16k", "GET, 16 KiB, random keys of 10 k", Operations, Target::None),
    row(
        "memory-scan",
        "SCAN of 1 M keys, COUNT 1000, one connection (CPU: per key)",
        Keys,
        Target::None,
    ),
    row("disk-set-p1", "SET, 100 B, random keys of 1 M, pipeline 1", Operations, Times(1.5)),
    row("disk-set-p16", "SET, 100 B, random keys of 1 M, pipeline 16", Operations, Times(1.2)),
    row("disk-get-p1", "GET, 100 B, random keys of 1 M, pipeline 1", Operations, Target::None),
    row("disk-incr-one-key", "INCR of one key by 50 clients", Operations, Target::None),
    row("disk-mget-100", "MGET of 100 random keys of 1 M", Operations, Target::None),
    row("disk-set-1k", "SET, 1 KiB, random keys of 100 k", Operations, Target::None),
    row("disk-get-1k", "GET, 1 KiB, random keys of 100 k", Operations, Target::None),
    row("disk-set-16k", "SET, 16 KiB, random keys of 10 k", Operations, Target::None),
    row("disk-get-16k", "GET, 16 KiB, random keys of 10 k", Operations, Target::None),
    row(
        "disk-overwrite-cold",
        "SET, 100 B, overwriting uniformly 2 M keys that were compacted, pipeline 16",
        Operations,
        Target::None,
    ),
    row(
        "disk-start-10m",
        "start-up with 10 M keys of 100 B, until the first GET is answered (CPU: per key)",
        Seconds,
        Target::None,
    ),
    row(
        "disk-scan-10m",
        "SCAN of 10 M keys, COUNT 1000, one connection (CPU: per key)",
        Keys,
        Target::None,
    ),
    row(
        "disk-limit-512m",
        "largest RssAnon under --memory-limit 512MiB: 2 GiB loaded in values of 1 KiB, 1 M uniform reads, 1 M overwrites, SIGKILL, reopen",
        Mebibytes,
        AtMost(640.0),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_tell_the_engine() {
        let names: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(names.iter().all(|name| name.starts_with("memory-") || name.starts_with("disk-")));
    }
}
