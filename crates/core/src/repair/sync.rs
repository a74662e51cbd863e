//! Two replicas of a partition find out what one has and the other lacks, and even it out.
//!
//! Whoever begins asks itself and the other for the digest of the slot, which both keep. Where they
//! differ it asks both for the same range, divides what differs, and where few keys are left
//! compares them one by one: what the other has newer is fetched and taken, what it has itself
//! newer is sent. Both go through `merge`.
//!
//! Holds: a record is moved only if the two ranks differ and the newer one is older than the
//! grace: what is younger is still on its way by itself. Where keys are evicted, an absent key is
//! never filled with a live record: it may be absent because it was evicted.
//!
//! Does not know: how often, with whom, and how fast.

use super::{FANOUT, HashRange, Leaf};
use crate::ids::NodeId;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::quorum::{Answer, Ask, Item, Origin, Reply};
use crate::record::{OwnedRecord, Rank};
use crate::replica::Floor;
use crate::version::Millis;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Up to how many keys are listed rather than divided.
pub const LISTED: usize = 64;

/// What is stored under the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Digest {
    /// Digests of its parts.
    Parts(Box<[Leaf; FANOUT]>),
    /// Its keys, in order, and their records' ranks.
    Keys(Vec<(Bytes, Rank)>),
}

/// What a sync wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncEffect {
    /// Ask a replica, the own one too.
    Send {
        /// Its node.
        to: NodeId,
        /// The round that the answer must repeat.
        round: u32,
        /// The question.
        ask: Ask,
    },
    /// Nothing is left to compare.
    Over {
        /// How many records were moved, either way.
        moved: u64,
    },
}

/// One comparison with one peer, of one slot.
#[derive(Clone, Debug)]
pub struct Sync {
    me: NodeId,
    peer: NodeId,
    /// Records written after this are left alone.
    settled_ms: Millis,
    /// Whether a live record may be put where there is none.
    fills: bool,
    round: u32,
    /// What is asked, by round.
    asked: BTreeMap<u32, Asked>,
    /// What was said of the whole slot, first.
    leaf: Option<Leaf>,
    ranges: BTreeMap<HashRange, Sides>,
    moved: u64,
    is_over: bool,
}

#[derive(Clone, Debug)]
enum Asked {
    Leaf,
    Range(HashRange),
    /// The record under this key is fetched, for the side that does not answer.
    Record {
        key: Bytes,
        /// Whether it may be a value by now; else a tombstone alone is moved.
        live: bool,
    },
    /// A record is being taken, which this node had.
    Taken {
        source: NodeId,
    },
    /// A floor is being raised.
    Raised,
}

#[derive(Clone, Debug, Default)]
struct Sides {
    mine: Option<Digest>,
    theirs: Option<Digest>,
}

impl Sync {
    /// Begins to compare the own replica with that of `peer`. What was written after
    /// `settled_ms` is left alone.
    #[must_use]
    pub fn start(me: NodeId, peer: NodeId, settled_ms: Millis, out: &mut Vec<SyncEffect>) -> Self {
        let mut sync = Self {
            me,
            peer,
            settled_ms,
            fills: true,
            round: 0,
            asked: BTreeMap::new(),
            leaf: None,
            ranges: BTreeMap::new(),
            moved: 0,
            is_over: false,
        };
        for to in [me, peer] {
            sync.send(to, Asked::Leaf, Ask::Leaves { count: 1 }, out);
        }
        sync
    }

    /// The same where keys are evicted.
    #[must_use]
    pub const fn among_evicting(mut self) -> Self {
        self.fills = false;
        self
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes in an answer of either side. Anything but what was asked for ends the comparison: it
    /// begins again another time.
    pub fn answered(&mut self, answer: &Answer, out: &mut Vec<SyncEffect>) {
        let Some(asked) = self.asked.remove(&answer.round) else { return };
        let from = answer.node();
        match (asked, &answer.reply) {
            (Asked::Leaf, Reply::Leaves(leaves)) if leaves.len() == 1 => {
                match self.leaf.replace(leaves[0]) {
                    Some(other) if other != leaves[0] => self.compare(HashRange::ALL, out),
                    _ => {}
                }
            }
            (Asked::Range(range), Reply::Digest(digest)) => {
                self.note(range, from, digest.clone(), out);
            }
            (Asked::Record { key, live }, Reply::Found { record, floor, .. }) => {
                let moves = |record: &&OwnedRecord| live || record.borrow().is_tombstone();
                let record = record.as_ref().filter(moves).cloned();
                self.hand_over(key, from, record, *floor, out);
            }
            (Asked::Taken { source }, Reply::BelowFloor(floor)) => {
                // A round of purge got no further than one of the two: the other raises its
                // floor too, and the next comparison moves the record.
                probe("sync: a floor was raised");
                self.send(source, Asked::Raised, Ask::RaiseFloor { to: *floor }, out);
            }
            (Asked::Taken { .. }, Reply::Accepted | Reply::Newer(_) | Reply::BelowMark(_))
            | (Asked::Raised, Reply::Floors { .. }) => {}
            _ => {
                probe("sync: broken off");
                self.asked.clear();
                self.ranges.clear();
            }
        }
        if self.asked.is_empty() && !self.is_over {
            self.is_over = true;
            out.push(SyncEffect::Over { moved: self.moved });
        }
    }

    fn send(&mut self, to: NodeId, asked: Asked, ask: Ask, out: &mut Vec<SyncEffect>) {
        self.round += 1;
        self.asked.insert(self.round, asked);
        out.push(SyncEffect::Send { to, round: self.round, ask });
    }

    fn compare(&mut self, range: HashRange, out: &mut Vec<SyncEffect>) {
        self.ranges.insert(range, Sides::default());
        for to in [self.me, self.peer] {
            self.send(to, Asked::Range(range), Ask::Digest { range }, out);
        }
    }

    fn note(&mut self, range: HashRange, from: NodeId, digest: Digest, out: &mut Vec<SyncEffect>) {
        let Some(sides) = self.ranges.get_mut(&range) else { return };
        if from == self.me {
            sides.mine = Some(digest);
        } else {
            sides.theirs = Some(digest);
        }
        let Sides { mine: Some(_), theirs: Some(_) } = sides else { return };
        let Some(Sides { mine: Some(mine), theirs: Some(theirs) }) = self.ranges.remove(&range)
        else {
            return;
        };
        match (mine, theirs) {
            (Digest::Keys(mine), Digest::Keys(theirs)) => self.even_out(&mine, &theirs, out),
            (Digest::Parts(mine), Digest::Parts(theirs)) => {
                let parts = range.parts().zip(mine.iter().zip(theirs.iter()));
                let differ: Vec<HashRange> = parts
                    .filter(|(_, (mine, theirs))| mine != theirs)
                    .map(|(part, _)| part)
                    .collect();
                for part in differ {
                    probe("sync: a range was divided");
                    self.compare(part, out);
                }
            }
            // One side has few keys there, the other many: each part by itself then.
            _ => {
                for part in range.parts() {
                    self.compare(part, out);
                }
            }
        }
    }

    fn even_out(
        &mut self,
        mine: &[(Bytes, Rank)],
        theirs: &[(Bytes, Rank)],
        out: &mut Vec<SyncEffect>,
    ) {
        let mine: BTreeMap<&Bytes, &Rank> = mine.iter().map(|(key, rank)| (key, rank)).collect();
        let theirs: BTreeMap<&Bytes, &Rank> =
            theirs.iter().map(|(key, rank)| (key, rank)).collect();
        let keys: BTreeSet<&Bytes> = mine.keys().chain(theirs.keys()).copied().collect();
        for key in keys {
            let (own, other) = (mine.get(key), theirs.get(key));
            if own == other {
                continue;
            }
            let newer = own.max(other).expect("one of two that differ is there");
            if newer.written.wall_ms > self.settled_ms {
                continue;
            }
            let fills = self.fills || planted(Bug::ComparisonFills);
            let live = fills || (own.is_some() && other.is_some());
            if !live && !newer.tombstone {
                continue;
            }
            let from = if own > other { self.me } else { self.peer };
            let asked = Asked::Record { key: key.clone(), live };
            self.send(from, asked, Ask::Read { key: key.clone(), whole: true }, out);
        }
    }

    fn hand_over(
        &mut self,
        key: Bytes,
        from: NodeId,
        record: Option<OwnedRecord>,
        floor: Floor,
        out: &mut Vec<SyncEffect>,
    ) {
        let Some(record) = record else { return };
        let to = if from == self.me { self.peer } else { self.me };
        let items = Arc::from([Item { key, record }]);
        self.moved += 1;
        probe("sync: a record was moved");
        let origin = Origin::Kept { floor };
        self.send(to, Asked::Taken { source: from }, Ask::Take { items, origin }, out);
    }
}

#[cfg(test)]
mod tests;
