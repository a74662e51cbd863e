//! What a replica does with what it is asked: the other end of the coordinator's machines.
//!
//! [`Replica::serve`] decides and stores; [`Replica::release`] lets the answer out once the store
//! is durable, and looks at the epoch once more before it does.
//!
//! Holds: a replica acts only under the epoch it has adopted, and answers only under that one. It
//! speaks of a record only when that record is durable. A copy that may have lost what it once
//! acknowledged counts for nothing and takes nothing, until the map has named it anew.
//!
//! Does not know: how the map reaches it, how records are stored.

mod admit;
mod digest;
mod evict;
mod floor;
mod purge;
mod serve;
mod shelf;

pub use floor::Floor;
pub use serve::{Held, Served};
pub use shelf::{Put, Shelf};

use self::evict::Marks;
use crate::clock::Stamp;
use crate::ids::{Incarnation, NodeId, ReplicaIncarnation};
use crate::planted::{Bug, planted};
use crate::quorum::{Member, Owners};
use crate::repair::TreeSecret;
use crate::version::Millis;
use std::sync::Arc;

/// What a replica needs to know of its keyspace and cluster to judge a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How far a fresh version may be ahead of the replica's clock.
    pub max_skew_ms: Millis,
    /// How far an event's time may lie before the time of its writing.
    pub event_horizon_ms: Millis,
    /// What digests of records are keyed with.
    pub secret: TreeSecret,
}

/// The time as a replica sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The node's clock, which has heard the message's.
    pub clock: Stamp,
    /// The node's physical time, in milliseconds since the Unix epoch.
    pub physical_ms: Millis,
}

/// One node's copy of a partition.
#[derive(Clone, Debug)]
pub struct Replica {
    me: NodeId,
    keyspace: Incarnation,
    owners: Arc<Owners>,
    incarnation: ReplicaIncarnation,
    floor: Floor,
    purged: Floor,
    /// Whether the floors of the others were taken over; until then an incoming copy takes
    /// nothing.
    floors_known: bool,
    /// Up to where others had evicted what this copy took over from them.
    marks: Marks,
    limits: Limits,
}

impl Replica {
    /// The copy of `me` in the life that it is known to be in. A copy that lost its state is of
    /// life zero, which no map names.
    #[must_use]
    pub fn new(
        me: NodeId,
        keyspace: Incarnation,
        owners: Arc<Owners>,
        incarnation: ReplicaIncarnation,
        limits: Limits,
    ) -> Self {
        let (floor, purged) = (Floor::ZERO, Floor::ZERO);
        let (floors_known, marks) = (false, Marks::default());
        Self { me, keyspace, owners, incarnation, floor, purged, floors_known, marks, limits }
    }

    /// Who this copy is.
    #[must_use]
    pub const fn member(&self) -> Member {
        Member { node: self.me, incarnation: self.incarnation }
    }

    /// The owners under which it acts.
    #[must_use]
    pub const fn owners(&self) -> &Arc<Owners> {
        &self.owners
    }

    /// Everything written at or below it is refused unless it carries a floor as high.
    #[must_use]
    pub const fn floor(&self) -> Floor {
        self.floor
    }

    /// Up to where dead records were purged.
    #[must_use]
    pub const fn purged(&self) -> Floor {
        self.purged
    }

    /// Whether the floors of the others were taken over.
    #[must_use]
    pub const fn floors_known(&self) -> bool {
        self.floors_known
    }

    /// Whether its answers count in either owner set.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.owners.counts(self.member())
    }

    /// Whether it is an owner that was there before any change under way, with its state.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.owners.replicas.contains(&self.member())
    }

    /// Whether it may take records: it counts, and knows the floors of the others if it is new.
    #[must_use]
    pub fn takes(&self) -> bool {
        self.is_present() || (self.counts() && self.floors_known)
    }

    /// Adopts newer owners, which are durable at this node. Whether they are newer. The caller
    /// looks at [`Self::asked_to_begin`] first.
    pub fn adopt(&mut self, owners: Arc<Owners>) -> bool {
        if owners.epoch <= self.owners.epoch {
            return false;
        }
        self.owners = owners;
        if self.owners.next.is_empty() {
            self.marks.settle();
        }
        true
    }

    /// The life that `owners`, not adopted yet, ask this copy to begin: the caller empties the
    /// copy, durably, calls [`Self::begin`], and adopts them then.
    ///
    /// A life named in a map that was adopted before is not begun a second time: whoever is not
    /// in it has lost it.
    #[must_use]
    pub fn asked_to_begin(&self, owners: &Owners) -> Option<ReplicaIncarnation> {
        let named = owners.next.iter().find(|member| member.node == self.me)?;
        let is_new = named.incarnation.0 > self.owners.epoch.index;
        (is_new && named.incarnation != self.incarnation).then_some(named.incarnation)
    }

    /// The life in which `owners`, not adopted yet, let this copy go on with whatever it holds,
    /// though nobody can prove that this is all there was: the caller calls [`Self::go_on`], makes
    /// that durable, and adopts them then.
    #[must_use]
    pub fn asked_to_go_on(&self, owners: &Owners) -> Option<ReplicaIncarnation> {
        let named = owners.replicas.iter().find(|member| member.node == self.me)?;
        // Whoever was an owner to be has that life already, or has missed it.
        let is_new = named.incarnation.0 == owners.epoch.index;
        (is_new && owners.next.is_empty() && named.incarnation != self.incarnation)
            .then_some(named.incarnation)
    }

    /// Goes on in another life with everything that it holds.
    pub fn go_on(&mut self, incarnation: ReplicaIncarnation) {
        self.incarnation = incarnation;
        self.floors_known = true;
    }

    /// Whether the owners to be (or, if there are none, the present ones) name this node's copy
    /// in a life that it is not in: only a new intent can let it back in.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let set =
            if self.owners.next.is_empty() { &self.owners.replicas } else { &self.owners.next };
        set.iter().any(|member| member.node == self.me && member.incarnation != self.incarnation)
    }

    /// What it once acknowledged may be gone: it counts for nothing from now on.
    pub fn lose(&mut self) {
        if !planted(Bug::LostStateCounts) {
            self.begin(ReplicaIncarnation::default());
        }
    }

    /// Begins a life with nothing in it.
    pub fn begin(&mut self, incarnation: ReplicaIncarnation) {
        self.incarnation = incarnation;
        self.floor = Floor::ZERO;
        self.purged = Floor::ZERO;
        self.floors_known = false;
        self.marks = Marks::default();
    }

    /// Takes over the highest floor of every counting member; it is durable here.
    pub fn know_floors(&mut self, floor: Floor, purged: Floor) {
        self.floors_known = true;
        if planted(Bug::FloorsNotTakenOver) {
            return;
        }
        self.floor = self.floor.max(floor);
        self.purged = self.purged.max(purged);
    }

    /// Raises the floor; it is durable here.
    pub fn raise_floor(&mut self, floor: Floor) {
        self.floor = self.floor.max(floor);
    }

    /// Notes up to where dead records were purged; it is durable here.
    pub fn raise_purged(&mut self, purged: Floor) {
        self.purged = self.purged.max(purged);
        self.floor = self.floor.max(purged);
    }
}

#[cfg(test)]
mod tests;
