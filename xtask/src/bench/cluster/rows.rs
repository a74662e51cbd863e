//! The table of what is measured of clusters.
//!
//! Holds: names are unique; results, documentation and `--rows` go by them.

use serde::{Deserialize, Serialize};

/// Who is measured beside whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Contest {
    /// Shoal on disk, quorum, beside etcd.
    Disk,
    /// Shoal in memory, quorum, beside Redis with `WAIT 1`.
    Memory,
}

impl Contest {
    /// Whom Shoal is beside.
    pub(super) const fn other(self) -> &'static str {
        match self {
            Self::Disk => "etcd",
            Self::Memory => "Redis",
        }
    }
}

/// What every client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Put,
    Get,
}

/// One line of the results.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// How it is called on the command line and in the results.
    pub(super) name: &'static str,
    pub(super) contest: Contest,
    pub(super) request: Request,
    pub(super) clients: usize,
    /// The multiple of the other's rate to be reached, where one is asked for.
    pub(super) target: Option<f64>,
}

const fn row(
    name: &'static str,
    contest: Contest,
    request: Request,
    clients: usize,
    target: Option<f64>,
) -> Row {
    Row { name, contest, request, clients, target }
}

/// All rows, in the order in which a run measures them.
pub(super) const ROWS: &[Row] = &[
    row("disk-put-1", Contest::Disk, Request::Put, 1, None),
    row("disk-put-50", Contest::Disk, Request::Put, 50, None),
    row("disk-put-200", Contest::Disk, Request::Put, 200, Some(10.0)),
    row("disk-get-1", Contest::Disk, Request::Get, 1, Some(3.0)),
    row("disk-get-50", Contest::Disk, Request::Get, 50, Some(3.0)),
    row("disk-get-200", Contest::Disk, Request::Get, 200, Some(3.0)),
    row("memory-set-1", Contest::Memory, Request::Put, 1, Some(1.5)),
    row("memory-set-50", Contest::Memory, Request::Put, 50, Some(1.5)),
    row("memory-set-200", Contest::Memory, Request::Put, 200, Some(1.5)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_tell_the_contest_and_the_clients() {
        let names: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        for row in ROWS {
            assert!(row.name.ends_with(&format!("-{}", row.clients)), "{}", row.name);
            let contest = format!("{:?}-", row.contest).to_lowercase();
            assert!(row.name.starts_with(&contest), "{}", row.name);
        }
    }
}
