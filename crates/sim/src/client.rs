//! What clients ask, and what they were answered: the history that the oracles judge.

use crate::layout::Layout;
use crate::options::Options;
use bytes::Bytes;
use fastrand::Rng;
use shoal_core::quorum::{Condition, Decide, Level, Part};
use shoal_core::record::{OwnedBody, PLAIN, Rank};
use shoal_core::version::{Millis, Version};
use shoal_core::{NodeId, Record};

/// How far ahead of its coordinator's physical time an event may lie, in milliseconds.
pub(crate) const EVENT_SKEW_MS: i64 = 400;

/// One request of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// One key, but for a batch, whose keys share a slot.
    pub(crate) keys: Vec<Bytes>,
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
    /// Store the request's serial number under some keys and delete the others, as one.
    Batch {
        /// Whether each is deleted.
        deletes: Vec<bool>,
    },
    /// Change some keys of one slot as one, if all are as they are supposed to be.
    Swap {
        /// What is wanted of each.
        wishes: Vec<Wish>,
    },
    /// Store the request's serial number, or delete, as of a time of the client's.
    Event {
        /// The time, in milliseconds from now.
        at_ms: i64,
        deletes: bool,
    },
}

/// What a swap wants of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) when: Condition,
    pub(crate) next: Next,
}

/// What a swap makes of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: it is only looked at.
    Same,
    /// The request's serial number.
    Serial,
    /// The request's serial number and this sum.
    Sum(i64),
    /// Nothing is to be there.
    Gone,
}

/// What the client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A write was done; a read-modify-write that wrote nothing has no version.
    Written { version: Option<Version> },
    /// A swap was done; these keys it wrote.
    Swapped { versions: Vec<(Bytes, Version)> },
    /// A swap's conditions were not met.
    Unmet,
    /// An event is older than what is stored.
    Superseded { by: Version },
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

impl Entry {
    /// Whether the request touches `key`.
    pub(crate) fn touches(&self, key: &Bytes) -> bool {
        self.request.keys.contains(key)
    }

    /// The version that the client was told `key` was written at.
    pub(crate) fn told_version(&self, key: &Bytes) -> Option<Version> {
        match &self.told {
            Some((_, Told::Written { version })) => *version,
            Some((_, Told::Swapped { versions })) => {
                versions.iter().find(|(other, _)| other == key).map(|(_, version)| *version)
            }
            _ => None,
        }
    }

    /// What a swap wants of `key`.
    pub(crate) fn wish(&self, key: &Bytes) -> Option<Wish> {
        let Kind::Swap { wishes } = &self.request.kind else { return None };
        let at = self.request.keys.iter().position(|other| other == key)?;
        wishes.get(at).copied()
    }
}

impl Request {
    pub(crate) fn random(rng: &mut Rng, options: &Options, layout: &Layout) -> Self {
        let is_update = rng.f64() < options.updates;
        let number = rng.u32(0..options.keys);
        // Counters have keys of their own, so that their sums can be told.
        let (name, kind) = if is_update && rng.bool() {
            ("counter", Kind::Add)
        } else if is_update {
            ("key", Kind::Append)
        } else {
            let kind = Self::plain(rng, options);
            (if matches!(kind, Kind::Read) && rng.u32(0..4) == 0 { "counter" } else { "key" }, kind)
        };
        let mut keys = vec![layout.key(name, number)];
        if let Kind::Batch { deletes } = &kind {
            // The next ones in the same slot.
            let others = (1..deletes.len()).filter_map(|place| {
                let step = u32::try_from(place).ok()? * layout.stride();
                Some(layout.key(name, number + step))
            });
            keys.extend(others);
        }
        let level = if rng.f64() < options.other_levels && !is_update {
            if rng.bool() { Level::One } else { Level::All }
        } else {
            Level::Quorum
        };
        Self { keys, level, kind }
    }

    fn plain(rng: &mut Rng, options: &Options) -> Kind {
        if rng.u32(0..10) >= 6 {
            return Kind::Read;
        }
        if rng.f64() < options.events {
            let back_ms = i64::try_from(options.event_horizon_ms.min(20_000)).unwrap_or(0);
            let at_ms =
                if rng.bool() { rng.i64(-back_ms..=0) } else { rng.i64(-600..=EVENT_SKEW_MS) };
            return Kind::Event { at_ms, deletes: rng.u32(0..3) == 0 };
        }
        if rng.f64() < options.batches {
            let deletes = (0..rng.usize(2..=4)).map(|_| rng.u32(0..4) == 0);
            return Kind::Batch { deletes: deletes.collect() };
        }
        if rng.u32(0..3) == 0 {
            return Kind::Delete;
        }
        Kind::Put { ttl_ms: (rng.f64() < options.expiries).then(|| rng.u64(1..=2_000)) }
    }

    /// A read at quorum.
    pub(crate) fn read(key: Bytes) -> Self {
        Self { keys: vec![key], level: Level::Quorum, kind: Kind::Read }
    }

    /// The first key.
    pub(crate) fn key(&self) -> &Bytes {
        &self.keys[0]
    }

    pub(crate) const fn writes(&self) -> bool {
        !matches!(self.kind, Kind::Read)
    }

    /// What a plain write stores under each of its keys; nothing for other kinds.
    pub(crate) fn bodies(&self, serial: u64) -> Vec<OwnedBody> {
        let value = Bytes::from(serial.to_string());
        let body = |deletes: bool| match deletes {
            true => OwnedBody::Tombstone,
            false => OwnedBody::Live { kind: PLAIN, bytes: value.clone() },
        };
        match &self.kind {
            Kind::Put { .. } => vec![body(false)],
            Kind::Delete => vec![body(true)],
            Kind::Batch { deletes } => deletes.iter().map(|deletes| body(*deletes)).collect(),
            Kind::Event { deletes, .. } => vec![body(*deletes)],
            Kind::Read | Kind::Add | Kind::Append | Kind::Swap { .. } => Vec::new(),
        }
    }
}

impl Wish {
    pub(crate) fn part(self, key: Bytes, serial: u64) -> Part {
        let live = |text: String| OwnedBody::Live { kind: PLAIN, bytes: Bytes::from(text) };
        let body = match self.next {
            Next::Same => None,
            Next::Serial => Some(live(serial.to_string())),
            Next::Sum(sum) => Some(live(format!("{serial} {sum}"))),
            Next::Gone => Some(OwnedBody::Tombstone),
        };
        Part { key, when: self.when, next: body.map(|body| (body, None)) }
    }

    pub(crate) fn writes(self) -> bool {
        self.next != Next::Same
    }
}

/// What waits for its turn at an executor.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Update(Deciding),
    Swap(Vec<Part>),
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
