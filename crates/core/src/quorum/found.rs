//! What comes of a read.

use super::NoQuorum;
use crate::record::{OwnedRecord, Rank};
use crate::replica::Floor;
use crate::version::{Millis, Version};

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The newest record, live, dead or expired; `None` where no owner had any, or where keys are
    /// evicted and too few have it.
    pub record: Option<OwnedRecord>,
    /// The rank of the newest record that any owner told of, given as the record or not.
    pub newest: Option<Rank>,
    /// The greatest mark of what was evicted in the slot, among the owners that answered; zero
    /// where nothing was.
    pub mark: Version,
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
