//! What came of the requests that this node coordinated, by level, and how long its queues are.
//!
//! Holds: a request is counted once, when whoever waits for it is told. Counting takes no lock.
//!
//! Does not know: who asked, how the figures are shown.

use super::job::Done;
use super::{Coordinator, Level};
use shoal_core::quorum::{BatchOutcome, Forwarded, ReadOutcome, WriteOutcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What requests can come to, by name.
const OUTCOMES: [&str; 8] =
    ["ok", "no_quorum", "unknown", "superseded", "conflict", "try_again", "impossible", "full"];
/// The levels, by name.
const LEVELS: [&str; 3] = ["one", "quorum", "all"];
/// Whether something was only read.
const KINDS: [&str; 2] = ["read", "write"];

/// How many requests of one kind at one level came to one outcome since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestFigure {
    /// `one`, `quorum` or `all`.
    pub level: &'static str,
    /// `read` or `write`.
    pub kind: &'static str,
    /// What they came to.
    pub outcome: &'static str,
    /// How many.
    pub count: u64,
}

/// What waits in this node for something to be done with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Changes of keys that wait for those before them on their key.
    pub turns: usize,
    /// Questions of copies that wait for their turn to wait for a disk.
    pub cold: usize,
    /// Questions that wait for a map, about partitions of which there is no copy here yet.
    pub homeless: usize,
    /// Requests that wait for a map.
    pub mapless: usize,
    /// Answers of copies that wait until what they speak of is durable.
    pub settling: usize,
}

/// What requests came to.
#[derive(Default)]
pub(super) struct Tally {
    counts: [[[AtomicU64; OUTCOMES.len()]; KINDS.len()]; LEVELS.len()],
}

/// What can come of a request.
pub(super) trait Counted: Send + 'static {
    /// Its place among [`KINDS`].
    const KIND: usize;
    /// Its place among [`OUTCOMES`].
    fn place(&self) -> usize;
}

impl Counted for ReadOutcome {
    const KIND: usize = 0;

    fn place(&self) -> usize {
        match self {
            Self::Found(_) => 0,
            Self::NoQuorum(_) => 1,
        }
    }
}

impl Counted for WriteOutcome {
    const KIND: usize = 1;

    fn place(&self) -> usize {
        match self {
            Self::Done { .. } => 0,
            Self::NoQuorum(_) => 1,
            Self::Unknown { .. } => 2,
            Self::Superseded { .. } => 3,
            Self::Full(_) => 7,
        }
    }
}

impl Counted for Forwarded {
    const KIND: usize = 1;

    fn place(&self) -> usize {
        match self {
            Self::Done { .. } => 0,
            Self::NoQuorum(_) => 1,
            Self::Unknown { .. } => 2,
            Self::Conflict => 4,
            Self::Elsewhere => 5,
            Self::Impossible(_) => 6,
            Self::Full(_) => 7,
        }
    }
}

impl Counted for BatchOutcome {
    const KIND: usize = 1;

    fn place(&self) -> usize {
        match self {
            Self::Done { .. } | Self::Unmet => 0,
            Self::NoQuorum(_) => 1,
            Self::Unknown => 2,
            Self::Conflict => 4,
            Self::Elsewhere => 5,
            Self::Full(_) => 7,
        }
    }
}

impl Tally {
    fn of(&self, level: Level, kind: usize) -> &[AtomicU64; OUTCOMES.len()] {
        let level = match level {
            Level::One => 0,
            Level::Quorum => 1,
            Level::All => 2,
        };
        &self.counts[level][kind]
    }
}

impl Coordinator {
    /// Counts what comes of a request before whoever waits is told.
    pub(super) fn counted<O: Counted>(&self, level: Level, done: Done<O>) -> Done<O> {
        let tally = Arc::clone(&self.tally);
        Box::new(move |outcome| {
            tally.of(level, O::KIND)[outcome.place()].fetch_add(1, Ordering::Relaxed);
            done(outcome);
        })
    }

    /// What requests came to since the start.
    pub(crate) fn figures(&self) -> Vec<RequestFigure> {
        let levels = LEVELS.iter().zip(&self.tally.counts);
        let kinds = levels.flat_map(|(level, kinds)| {
            KINDS.iter().zip(kinds).map(move |(kind, outcomes)| (*level, *kind, outcomes))
        });
        let all = kinds.flat_map(|(level, kind, outcomes)| {
            OUTCOMES.iter().zip(outcomes).map(move |(outcome, count)| RequestFigure {
                level,
                kind,
                outcome,
                count: count.load(Ordering::Relaxed),
            })
        });
        // A read is never superseded; of what cannot be there is no row.
        all.filter(|figure| figure.kind == "write" || ["ok", "no_quorum"].contains(&figure.outcome))
            .collect()
    }

    /// How long the queues are; what waits for the engines is known elsewhere.
    pub(crate) fn queues(&self) -> Queues {
        Queues {
            turns: self.turns.waiting(),
            cold: self.cold.waiting(),
            homeless: self.homeless.waiting(),
            mapless: self.mapless.lock().len(),
            settling: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::Cluster;
    use super::*;
    use shoal_core::update::OwnedUpdate;

    #[tokio::test(start_paused = true)]
    async fn a_request_is_counted_once_by_its_level_and_what_it_came_to() {
        let cluster = Cluster::new(3, 3, false).await;
        let at = cluster.at(1);
        at.set(Level::Quorum, "k", "v").await;
        at.set(Level::All, "k", "v").await;
        at.get(Level::One, "k").await;
        at.update("n", OwnedUpdate::Add { delta: 1 }).await;
        at.update("k", OwnedUpdate::Add { delta: 1 }).await;
        for node in [2, 3] {
            cluster.cut_off(node);
        }
        at.get(Level::Quorum, "k").await;
        let figures = at.coordinator.figures();
        let counted = figures.iter().filter(|figure| figure.count > 0);
        let counted: Vec<_> = counted
            .map(|figure| (figure.level, figure.kind, figure.outcome, figure.count))
            .collect();
        assert_eq!(
            counted,
            [
                ("one", "read", "ok", 1),
                ("quorum", "read", "no_quorum", 1),
                ("quorum", "write", "ok", 2),
                ("quorum", "write", "impossible", 1),
                ("all", "write", "ok", 1),
            ]
        );
        assert_eq!(figures.len(), 3 * (2 + OUTCOMES.len()));
        let elsewhere = cluster.at(2).coordinator.figures();
        assert!(elsewhere.iter().all(|figure| figure.count == 0), "it was asked by a node");
    }
}
