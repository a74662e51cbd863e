//! What nodes say to each other about keys: the questions, and the answers to them.

use super::Member;
use crate::clock::Stamp;
use crate::ids::{Epoch, Incarnation, NodeId};
use crate::record::{OwnedBody, OwnedRecord, Rank};
use crate::repair::{Digest, HashRange, Leaf};
use crate::replica::Floor;
use crate::slot::Slot;
use crate::version::Version;
use bytes::Bytes;
use std::sync::Arc;

/// What every message about data carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The life of the keyspace that is meant; a message of another life is void.
    pub keyspace: Incarnation,
    /// The slot of all its keys.
    pub slot: Slot,
    /// The epoch of the owners that the sender knows.
    pub epoch: Epoch,
    /// The sender's clock.
    pub clock: Stamp,
}

/// A question with its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What every message carries.
    pub header: Header,
    /// Which of its request's rounds this is; the answer repeats it.
    pub round: u32,
    /// The question.
    pub ask: Ask,
}

/// A key and a record for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Bytes,
    /// Its record.
    pub record: OwnedRecord,
}

/// One key of a conditional batch, as a replica is asked to take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// The key.
    pub key: Bytes,
    /// What the batch was judged by: nothing newer may be stored.
    pub base: Base,
    /// The record to take; nothing where the key is only looked at.
    pub next: Option<OwnedRecord>,
}

/// What is asked of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Take these records, all of one slot.
    Take {
        /// The records; those of a fresh batch share one version.
        items: Arc<[Item]>,
        /// Where they come from.
        origin: Origin,
    },
    /// Take these records, all of one slot, if under none of the keys anything newer is stored than
    /// what they were judged by.
    Batch {
        /// The keys, with what each is to have.
        parts: Arc<[Guarded]>,
    },
    /// Say what is stored under a key.
    Read {
        /// The key.
        key: Bytes,
        /// Whether the record itself is wanted, or its rank will do.
        whole: bool,
    },
    /// Learn the sender's clock and say your own.
    Clock,
    /// Say what is stored under the keys after this one, in order of keys.
    Page {
        /// The last key of the page before; none for the first page.
        after: Option<Bytes>,
        /// How many records to send at most.
        limit: u16,
    },
    /// Say how high your floor and your purge mark are.
    Floors,
    /// Say what is stored under the keys of this range of hashes: digests, or where there are few
    /// (or it cannot be divided) the keys themselves.
    Digest {
        /// The range, within the slot.
        range: HashRange,
    },
    /// Say the digests of whole slots: of this many from the one of the header on, or of the first
    /// of them, where the others would take long.
    Leaves {
        /// How many, all of one partition.
        count: u16,
    },
    /// Say for which of these dead records you hold the same or something newer.
    Prove {
        /// The floor of the round that they are to be purged in.
        round: Floor,
        /// Keys and ranks.
        dead: Arc<[(Bytes, Rank)]>,
    },
    /// Raise your floor to this.
    RaiseFloor {
        /// The floor.
        to: Floor,
    },
    /// Take over what another owner showed of the keys after one of its, and let go of what it
    /// does not hold although it may have held it. A copy asks that of itself.
    Copy(Arc<Shown>),
    /// Every owner has proven these and raised its floor: drop exactly them.
    Purge {
        /// The floor of the round.
        round: Floor,
        /// Keys and ranks.
        proven: Arc<[(Bytes, Rank)]>,
    },
}

impl Ask {
    /// Whether it changes nothing, and says what is stored, or when it is.
    #[must_use]
    pub const fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::Read { .. }
                | Self::Page { .. }
                | Self::Digest { .. }
                | Self::Leaves { .. }
                | Self::Floors
                | Self::Clock
        )
    }

    /// Whether it may raise the replica's floor or its purge mark.
    #[must_use]
    pub const fn may_raise_floors(&self) -> bool {
        matches!(self, Self::RaiseFloor { .. } | Self::Purge { .. })
    }

    /// How many bytes its keys and values take, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// What a key and a record take beside their bytes.
        const EACH: usize = 64;
        let value = |record: &OwnedRecord| match &record.body {
            OwnedBody::Live { bytes, .. } => bytes.len(),
            OwnedBody::Tombstone => 0,
        };
        let item = |item: &Item| EACH + item.key.len() + value(&item.record);
        let part = |part: &Guarded| 2 * EACH + part.key.len() + part.next.as_ref().map_or(0, value);
        EACH + match self {
            Self::Take { items, .. } => items.iter().map(item).sum(),
            Self::Batch { parts } => parts.iter().map(part).sum(),
            Self::Read { key, .. } => key.len(),
            Self::Page { after, .. } => after.as_ref().map_or(0, Bytes::len),
            Self::Prove { dead: pairs, .. } | Self::Purge { proven: pairs, .. } => {
                pairs.iter().map(|(key, _)| EACH + key.len()).sum()
            }
            Self::Copy(shown) => shown.items.iter().map(item).sum(),
            Self::Clock
            | Self::Floors
            | Self::Digest { .. }
            | Self::Leaves { .. }
            | Self::RaiseFloor { .. } => 0,
        }
    }
}

/// What an owner showed of a run of its keys, in a keyspace that evicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Who showed it.
    pub from: Member,
    /// The run begins after this key; none for the first key.
    pub after: Option<Bytes>,
    /// What is stored there, in the order of keys.
    pub items: Arc<[Item]>,
    /// Whether there may be more after the last of them; else the run reaches to the slot's end.
    pub more: bool,
    /// The owner's floor when it was read.
    pub floor: Floor,
    /// The owner's mark after it was read.
    pub mark: Version,
}

/// Where a record that a replica is to take comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's write, now.
    Fresh {
        /// The greatest version that the coordinator was told of, once it stamped again.
        base: Option<Version>,
        /// Whether the coordinator will not stamp again: keys with something newer are passed
        /// over and the others taken. Else a batch with one such key is refused whole.
        last: bool,
    },
    /// The result of a read-modify-write.
    Update {
        /// What it was computed from.
        base: Base,
    },
    /// A record accepted before: a hint, a repair or a copy.
    Kept {
        /// The floor of the replica from whose store it was read, at that moment; zero if it
        /// never was read from one.
        floor: Floor,
    },
}

/// What a read-modify-write was computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// There was no record.
    Nothing,
    /// The record of this rank.
    Record(Rank),
    /// No value, where keys are evicted: the newest record seen was of this rank, and dead or not
    /// on enough owners.
    Missed(Rank),
}

impl Base {
    /// Whether a stored record is newer than this.
    #[must_use]
    pub fn is_below(&self, stored: &Rank) -> bool {
        match self {
            Self::Nothing => true,
            Self::Record(rank) | Self::Missed(rank) => rank < stored,
        }
    }

    /// Whether this is newer than a record.
    #[must_use]
    pub fn is_above(&self, record: &Rank) -> bool {
        match self {
            Self::Nothing => false,
            Self::Record(rank) | Self::Missed(rank) => rank > record,
        }
    }

    /// The rank of the newest record that was seen.
    #[must_use]
    pub const fn rank(&self) -> Option<Rank> {
        match self {
            Self::Nothing => None,
            Self::Record(rank) | Self::Missed(rank) => Some(*rank),
        }
    }

    /// The version, the smallest for nothing.
    #[must_use]
    pub const fn version(&self) -> Version {
        match self {
            Self::Nothing => Version::ZERO,
            Self::Record(rank) | Self::Missed(rank) => rank.version,
        }
    }
}

/// A replica's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answers, and in which life of its copy.
    pub from: Member,
    /// The epoch that it holds.
    pub epoch: Epoch,
    /// The round of the question.
    pub round: u32,
    /// Its clock.
    pub clock: Stamp,
    /// The answer itself.
    pub reply: Reply,
}

impl Answer {
    /// The node that answers.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.from.node
    }
}

/// What a replica says. Everything but a refusal is sent only once the record that it speaks of
/// is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The records are stored, or were already.
    Accepted,
    /// Something newer is stored, at most of this version.
    Newer(Version),
    /// The record lies at or below the replica's floor, and does not carry one as high.
    BelowFloor(Floor),
    /// There is no value under the key, and the record lies at or below the mark of what was
    /// evicted in its slot, or something newer than what it was computed from may.
    BelowMark(Version),
    /// What a read-modify-write was computed from is not the newest any more; this is.
    Conflict {
        /// The newest record.
        record: OwnedRecord,
        /// The replica's floor when it was read.
        floor: Floor,
    },
    /// Of a conditional batch nothing was taken: under these keys something newer is stored than what
    /// it was judged by.
    Changed(Vec<(Bytes, Rank)>),
    /// What is stored under the key.
    Found {
        /// Its rank, if there is anything.
        rank: Option<Rank>,
        /// The record, where it was wanted.
        record: Option<OwnedRecord>,
        /// The replica's floor when it was read.
        floor: Floor,
        /// The mark of what was evicted in the slot, after it was read; zero where nothing was.
        mark: Version,
    },
    /// The clock was heard.
    Clock,
    /// What is stored under some keys, in their order.
    Page {
        /// Keys and records.
        items: Arc<[Item]>,
        /// The replica's floor when they were read.
        floor: Floor,
        /// The mark of what was evicted in the slot, after they were read; zero where nothing was.
        mark: Version,
        /// Whether there may be more after them.
        more: bool,
    },
    /// The replica's floor and purge mark.
    Floors {
        /// The floor.
        floor: Floor,
        /// The purge mark.
        purged: Floor,
    },
    /// What is stored under the keys of a range.
    Digest(Digest),
    /// What some slots hold, in their order: at least one, and no more than were asked for. Other
    /// than the rest, they speak of what is not durable yet too: they only say where to look.
    Leaves(Vec<Leaf>),
    /// Which of the dead records are covered here, in the order of the question.
    Proven(Vec<bool>),
    /// Nothing was done.
    Refused(Refusal),
}

/// Why a replica does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It knows a newer epoch.
    Stale,
    /// That life of the keyspace is over.
    Void,
    /// Its copy does not count: it may have lost what it once acknowledged, or it is not yet fit
    /// to take anything.
    NotCounting,
    /// The record's version is further ahead of its clock than is allowed.
    Skewed,
    /// Its store has no room for it.
    Full(Full),
    /// It cannot do it now, or its store has failed.
    Unable,
}

/// What a store is short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The bound on memory is met.
    Memory,
    /// The disk is down to its reserve.
    Disk,
}
