//! What clients ask, and what they were answered: the history that the oracles judge.

use bytes::Bytes;
use fastrand::Rng;
use shoal_core::quorum::{Decide, Level};
use shoal_core::record::{OwnedBody, PLAIN, Rank};
use shoal_core::version::{Millis, Version};
use shoal_core::{NodeId, Record};

/// One request of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) key: Bytes,
    pub(crate) level: Level,
    pub(crate) kind: Kind,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Store the request's serial number.
    Put {
        /// The expiry, in milliseconds from now.
        ttl_ms: Option<u64>,
    },
    Delete,
    Read,
    /// Add one to the counter under the key, which only such requests touch.
    Add,
    /// Append the serial number to what is there, if there is anything.
    Append,
}

/// What the client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A write was done; a read-modify-write that wrote nothing has no version.
    Written { version: Option<Version> },
    /// A read found this.
    Found { rank: Option<Rank>, value: Option<Bytes> },
    /// Nothing was done.
    Refused,
    /// It may have happened, or may yet.
    Unknown,
}

/// One line of the history.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) request: Request,
    pub(crate) coordinator: NodeId,
    /// True time of the asking, in steps of the run.
    pub(crate) asked: u64,
    /// When it was answered, and with what.
    pub(crate) told: Option<(u64, Told)>,
}

impl Request {
    pub(crate) fn random(
        rng: &mut Rng,
        keys: u32,
        updates: f64,
        expiries: f64,
        other: f64,
    ) -> Self {
        let is_update = rng.f64() < updates;
        // Counters have keys of their own, so that their sums can be told.
        let (name, kind) = if is_update && rng.bool() {
            ("counter", Kind::Add)
        } else if is_update {
            ("key", Kind::Append)
        } else {
            let ttl_ms = (rng.f64() < expiries).then(|| rng.u64(1..=2_000));
            let kind = match rng.u32(0..10) {
                0..=3 => Kind::Put { ttl_ms },
                4..=5 => Kind::Delete,
                _ => Kind::Read,
            };
            (if matches!(kind, Kind::Read) && rng.u32(0..4) == 0 { "counter" } else { "key" }, kind)
        };
        let key = Bytes::from(format!("{name}-{}{{s}}", rng.u32(0..keys)));
        let level = if rng.f64() < other && !is_update {
            if rng.bool() { Level::One } else { Level::All }
        } else {
            Level::Quorum
        };
        Self { key, level, kind }
    }

    pub(crate) const fn writes(&self) -> bool {
        !matches!(self.kind, Kind::Read)
    }
}

/// How the simulator's read-modify-writes decide.
#[derive(Clone, Debug)]
pub(crate) struct Deciding {
    pub(crate) serial: u64,
    pub(crate) kind: Kind,
}

impl Decide for Deciding {
    type Answer = bool;

    fn decide(
        &mut self,
        before: Option<&Record<'_>>,
        now_ms: Millis,
    ) -> (bool, Option<(OwnedBody, Option<Millis>)>) {
        let held = before.and_then(|record| record.value_at(now_ms));
        let value = match (&self.kind, held) {
            (Kind::Add, held) => {
                let text = std::str::from_utf8(held.unwrap_or(b"0")).unwrap_or("0");
                (text.parse::<u64>().unwrap_or(0) + 1).to_string()
            }
            (_, None) => return (false, None),
            (_, Some(held)) => {
                let text = String::from_utf8_lossy(held);
                let tail: String = text.chars().take(40).collect();
                format!("{} {tail}", self.serial)
            }
        };
        let expires_at = before.and_then(|record| record.expires_at).filter(|_| held.is_some());
        let body = OwnedBody::Live { kind: PLAIN, bytes: Bytes::from(value) };
        (true, Some((body, expires_at)))
    }
}
