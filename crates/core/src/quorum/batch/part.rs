//! One key of a conditional batch: what is asked of it, and what became known of it.

use crate::clock::Stamp;
use crate::ids::NodeId;
use crate::quorum::attempt::next_version;
use crate::quorum::{Base, Full, Guarded, Item, NoQuorum};
use crate::record::{OwnedBody, OwnedRecord, Rank};
use crate::replica::Floor;
use crate::update::Tag;
use crate::version::{Millis, Version};
use bytes::Bytes;

/// On what a conditional batch depends, of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// On nothing.
    Any,
    /// It has no value.
    Absent,
    /// It has a value.
    Present,
    /// It has the value with this tag.
    Tag(Tag),
}

/// One key of a conditional batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The key.
    pub key: Bytes,
    /// What must be so.
    pub when: Condition,
    /// The value that it is to have, or a tombstone, and the expiry; nothing where it is only looked at.
    pub next: Option<(OwnedBody, Option<Millis>)>,
}

/// What came of a conditional batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// All conditions were met, and what was to be written reached the level.
    Done {
        /// The versions of what was written, in the order of the parts that write.
        versions: Vec<Version>,
    },
    /// Some condition was not met; nothing was written.
    Unmet,
    /// Other writes came between every time; nothing was written.
    Conflict,
    /// Too few owners answered; nothing was written.
    NoQuorum(NoQuorum),
    /// This node cannot carry it out now; another owner may. Nothing was written.
    Elsewhere,
    /// Its copy has no room; another owner's may. Nothing was written.
    Full(Full),
    /// It may have happened.
    Unknown,
}

impl Condition {
    fn is_met(self, newest: Option<&Rank>, now_ms: Millis) -> bool {
        let live = newest.filter(|rank| {
            !rank.tombstone && rank.expires_at.is_none_or(|expires_at| expires_at > now_ms)
        });
        match (self, live) {
            (Self::Any, _) | (Self::Absent, None) | (Self::Present, Some(_)) => true,
            (Self::Tag(tag), Some(rank)) => {
                tag == Tag { version: rank.version, written: rank.written }
            }
            (Self::Absent, Some(_)) | (Self::Present | Self::Tag(_), None) => false,
        }
    }
}

/// One key of a batch under way.
#[derive(Debug)]
pub(super) struct Track {
    part: Part,
    /// The newest record that is not of this request, as far as it matters to the condition.
    seen: Option<Rank>,
    /// What `seen` was when the last attempt was made.
    judged: Option<Rank>,
    /// What a copy has told that stood in the way of the last attempt.
    told: Option<Rank>,
    /// The newest record that was read.
    base: Base,
    /// Every record of this key that was attempted.
    made: Vec<Rank>,
    /// The last of them.
    record: Option<OwnedRecord>,
    /// No version at or below it may be tried.
    tried: Version,
}

impl Track {
    pub(super) const fn new(part: Part, tried: Version) -> Self {
        Self {
            part,
            seen: None,
            judged: None,
            told: None,
            base: Base::Nothing,
            made: Vec::new(),
            record: None,
            tried,
        }
    }

    pub(super) const fn key(&self) -> &Bytes {
        &self.part.key
    }

    pub(super) const fn writes(&self) -> bool {
        self.part.next.is_some()
    }

    /// Whether it writes where there is no record.
    pub(super) fn follows_nothing(&self) -> bool {
        self.writes() && self.base == Base::Nothing
    }

    pub(super) const fn tried(&self) -> (&Bytes, Version) {
        (&self.part.key, self.tried)
    }

    /// The record last attempted.
    pub(super) fn item(&self) -> Option<Item> {
        let record = self.record.clone()?;
        Some(Item { key: self.part.key.clone(), record })
    }

    /// The version last attempted.
    pub(super) fn version(&self) -> Option<Version> {
        self.record.as_ref().map(|record| record.version)
    }

    /// A copy has this, which is newer than what the attempt follows.
    pub(super) fn was_told(&mut self, rank: Rank) {
        if !self.made.contains(&rank) {
            self.told = self.told.max(Some(rank));
        }
    }

    /// Takes note of the newest record that was read.
    pub(super) fn learn(&mut self, base: Base) {
        let told = self.told.take();
        self.base = base;
        let newest = base.rank();
        if self.is_own() {
            // What lies below the own attempt does not show in any read.
            self.seen = self.seen.max(told.filter(|told| Some(*told) < newest));
        } else {
            // A value that was missed is none, as whoever reads it would find.
            self.seen = match base {
                Base::Record(rank) => Some(rank),
                Base::Nothing | Base::Missed(_) => None,
            };
        }
    }

    /// Whether the newest record is an own attempt.
    pub(super) fn is_own(&self) -> bool {
        self.base.rank().is_some_and(|newest| self.made.contains(&newest))
    }

    pub(super) fn is_met(&self, now_ms: Millis) -> bool {
        let was_met = self.is_own() && self.seen == self.judged;
        was_met || self.part.when.is_met(self.seen.as_ref(), now_ms)
    }

    /// Whether the newest record is above every attempt: none of them can be seen.
    pub(super) fn is_passed_by(&self) -> bool {
        self.made.last().is_none_or(|last| self.base.is_above(last))
    }

    /// Makes the next attempt, and says what copies are to be asked.
    pub(super) fn attempt(
        &mut self,
        me: NodeId,
        (floor, mark): (Floor, Version),
        stamp: Option<Stamp>,
    ) -> Guarded {
        let (key, base) = (self.part.key.clone(), self.base);
        self.judged = self.seen;
        if let Some((body, expires_at)) = self.part.next.clone() {
            let stamp = stamp.filter(|_| base == Base::Nothing);
            let version = next_version(me, base.version().max(mark), floor, stamp, self.tried);
            self.tried = version;
            let record = OwnedRecord { version, written: version, expires_at, body };
            self.made.push(record.borrow().rank());
            self.record = Some(record);
        }
        Guarded { key, base, next: self.record.clone() }
    }
}
