//! What is carried out at another node, and what came of it.

use super::{Full, Header, Level, NoQuorum, Part};
use crate::record::OwnedRecord;
use crate::update::{Outcome, OwnedUpdate, UpdateError};
use crate::version::{Millis, Version};
use bytes::Bytes;

/// Asks the first owner of a key that is up to change it.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// Life and slot of the key, and the epoch and clock that the sender knows.
    pub header: Header,
    /// The level that the result is to reach.
    pub level: Level,
    /// The key.
    pub key: Bytes,
    /// The change.
    pub update: OwnedUpdate,
    /// Whether what was there before it is to be told.
    pub look: bool,
    /// The caller's own time of the change.
    pub event_time: Option<Millis>,
}

/// Asks the first owner of a slot that is up to judge and write several of its keys as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardBatch {
    /// Life and slot of the keys, and the epoch and clock that the sender knows.
    pub header: Header,
    /// The level that the batch is to reach.
    pub level: Level,
    /// The keys, each once.
    pub parts: Vec<Part>,
}

/// What came of a forwarded change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// It was decided and, where it writes, reached the level.
    Done {
        /// Its outcome.
        outcome: Outcome,
        /// What a reader saw before it, where that was to be told.
        before: Option<OwnedRecord>,
        /// The version of what is there now; `None` if nothing is.
        version: Option<Version>,
    },
    /// It is impossible over what is there; nothing changed.
    Impossible(UpdateError),
    /// Other changes came between every time; nothing changed.
    Conflict,
    /// Too few owners answered; nothing was written.
    NoQuorum(NoQuorum),
    /// It may have happened.
    Unknown {
        /// The version that was last tried.
        version: Version,
    },
    /// The node asked does not carry out changes of this key, by the map that it knows or the state
    /// that it is in: ask the next owner, or look at the map again. Nothing was done.
    Elsewhere,
    /// The store of the node asked has no room; another owner's may. Nothing was done.
    Full(Full),
}
