//! What comes of a read.

use super::NoQuorum;
use crate::record::OwnedRecord;
use crate::replica::Floor;
use crate::version::Millis;

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The newest record, live, dead or expired; `None` where no owner had any.
    pub record: Option<OwnedRecord>,
    /// The highest floor among the owners that answered.
    pub floor: Floor,
    /// The time by which expiry is to be judged, in milliseconds since the Unix epoch.
    pub now_ms: Millis,
}

impl Found {
    /// The record, if it can be seen.
    #[must_use]
    pub fn live(&self) -> Option<&OwnedRecord> {
        self.record.as_ref().filter(|record| record.borrow().is_live_at(self.now_ms))
    }
}

/// What came of a read. It never changes what a client could see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// It was answered.
    Found(Found),
    /// Too few owners answered.
    NoQuorum(NoQuorum),
}
