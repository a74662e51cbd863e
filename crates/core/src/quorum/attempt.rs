//! What a read-modify-write decides, and the attempts that it makes to write what was decided.
//!
//! Holds: a version is attempted once for a key, by this request and by those before it at this
//! node. It is the smallest successor of what it follows, above the floor.

use super::{Base, Full, NoQuorum};
use crate::clock::Stamp;
use crate::ids::NodeId;
use crate::record::{OwnedBody, OwnedRecord, Rank, Record};
use crate::replica::Floor;
use crate::version::{Millis, Version};

/// What a read-modify-write decides about a key.
pub trait Decide {
    /// What the client is told.
    type Answer: Clone + std::fmt::Debug + PartialEq + Eq;

    /// What to answer, and the value to write with its expiry, if any; a tombstone too is
    /// written. Called again if what it was decided on has changed.
    fn decide(
        &mut self,
        before: Option<&Record<'_>>,
        now_ms: Millis,
    ) -> (Self::Answer, Option<(OwnedBody, Option<Millis>)>);

    /// Whether nothing is to be left under the key, whatever there is. Where a value was missed that
    /// another read may find, it is removed then although nobody is told of it.
    fn removes(&self) -> bool {
        false
    }
}

/// What came of a read-modify-write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executed<A> {
    /// It was decided and, where it writes, reached the level.
    Done {
        /// What was decided.
        answer: A,
        /// The version that it wrote, if it wrote.
        version: Option<Version>,
    },
    /// Other writes came between every time; no replica took anything.
    Conflict,
    /// Too few owners answered; nothing was written.
    NoQuorum(NoQuorum),
    /// This node cannot carry it out now, since its copy takes nothing or its clock gives no
    /// stamp; another owner may. No replica took anything.
    Elsewhere,
    /// Its copy has no room; another owner's may. No replica took anything.
    Full(Full),
    /// Something was written, and did not reach the level in time: it may have happened.
    Unknown {
        /// The version that was last tried.
        version: Version,
    },
}

/// One result that was sent, or is about to be.
#[derive(Debug)]
pub(super) struct Attempt<A> {
    pub(super) rank: Rank,
    pub(super) record: OwnedRecord,
    /// What the client is told if this attempt succeeds.
    pub(super) answer: A,
}

/// Every attempt of one request.
#[derive(Debug)]
pub(super) struct Attempts<A> {
    me: NodeId,
    made: Vec<Attempt<A>>,
    /// No version at or below it may be tried: this node tried it before, for this key.
    tried: Version,
}

impl<A> Attempts<A> {
    pub(super) const fn new(me: NodeId, tried: Version) -> Self {
        Self { me, made: Vec::new(), tried }
    }

    pub(super) const fn tried(&self) -> Version {
        self.tried
    }

    pub(super) fn last(&self) -> Option<&Attempt<A>> {
        self.made.last()
    }

    /// The attempt whose record is `base`, if that is one of them.
    pub(super) fn of(&self, base: Base) -> Option<&Attempt<A>> {
        let (Base::Record(rank) | Base::Missed(rank)) = base else { return None };
        self.made.iter().find(|attempt| rank == attempt.rank)
    }

    /// Adds the attempt that follows `base`, at a version of its own: above the floor and the mark
    /// too, and above `stamp`, where one was taken.
    pub(super) fn add(
        &mut self,
        base: Base,
        (floor, mark): (Floor, Version),
        stamp: Option<Stamp>,
        body: OwnedBody,
        expires_at: Option<Millis>,
        answer: A,
    ) {
        let version = next_version(self.me, base.version().max(mark), floor, stamp, self.tried);
        self.tried = version;
        let record = OwnedRecord { version, written: version, expires_at, body };
        self.made.push(Attempt { rank: record.borrow().rank(), record, answer });
    }
}

/// The version of what follows `above`: its smallest successor that is above the floor, above
/// `stamp` where one was taken, and above all that was tried.
pub(super) fn next_version(
    me: NodeId,
    above: Version,
    floor: Floor,
    stamp: Option<Stamp>,
    tried: Version,
) -> Version {
    let mut below = above;
    if floor != Floor::ZERO {
        below = below.max(floor.last_version());
    }
    if let Some(stamp) = stamp {
        below = below.max(stamp.version(me));
    }
    let version = below.successor(me);
    if version > tried { version } else { tried.successor(me) }
}
