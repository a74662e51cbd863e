//! Hints: records kept for owners that did not take them in time.
//!
//! Holds: for a target and a key only the newest record is kept. A hint never counts as an
//! acknowledgement. It goes once its target has it, or something newer; where the target is no
//! owner any more, once every present and incoming owner has it. A record below the target's
//! floor has nothing to add and goes too.
//!
//! Does not know: when to deliver, how fast, and how hints are kept through a restart.

use crate::clock::Stamp;
use crate::ids::NodeId;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::quorum::{Ask, Item, Member, Origin, Owners, Reply};
use crate::record::{OwnedRecord, Rank};
use crate::replica::Floor;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The hints of one partition in one life of its keyspace, a bounded number of them: beyond it
/// comparison alone must even out what was not taken in time.
#[derive(Clone, Debug)]
pub struct Hints {
    kept: BTreeMap<(NodeId, Bytes), Hint>,
    most: usize,
}

#[derive(Clone, Debug)]
struct Hint {
    record: OwnedRecord,
    /// Who has it, of those that it went to in place of a target that is no owner any more.
    taken: BTreeSet<Member>,
}

/// One message that would deliver a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// For whom the hint was kept.
    pub target: NodeId,
    /// To whom it goes.
    pub to: NodeId,
    /// The key.
    pub key: Bytes,
    /// The record's rank, to tell its answer from that of another.
    pub rank: Rank,
    /// The message.
    pub ask: Ask,
}

impl Hints {
    /// No hints yet, and never more than `most`.
    #[must_use]
    pub const fn bounded(most: usize) -> Self {
        Self { kept: BTreeMap::new(), most }
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Keeps `item` for `target`, unless something newer is kept already or there is no room.
    /// Whether it is kept; the caller makes it durable.
    pub fn keep(&mut self, target: NodeId, item: &Item) -> bool {
        let place = (target, item.key.clone());
        let rank = item.record.borrow().rank();
        if self.kept.get(&place).is_some_and(|hint| hint.record.borrow().rank() >= rank) {
            return false;
        }
        if self.kept.len() >= self.most && !self.kept.contains_key(&place) {
            probe("hint: no room");
            return false;
        }
        self.kept.insert(place, Hint { record: item.record.clone(), taken: BTreeSet::new() });
        true
    }

    /// The messages that are to be sent now, at most `limit`, to nodes that are `reachable`.
    pub fn deliveries(
        &self,
        owners: &Owners,
        reachable: impl Fn(NodeId) -> bool,
        limit: usize,
    ) -> Vec<Delivery> {
        let mut out = Vec::new();
        for ((target, key), hint) in &self.kept {
            for to in hint.receivers(*target, owners) {
                if out.len() >= limit {
                    return out;
                }
                if reachable(to) {
                    if to != *target {
                        probe("hint: followed its partition to new owners");
                    }
                    out.push(hint.delivery(*target, to, key));
                }
            }
        }
        out
    }

    /// Takes in what `from` said of a delivery. Whether the hint is gone.
    pub fn answered(
        &mut self,
        delivery: &Delivery,
        from: Member,
        reply: &Reply,
        owners: &Owners,
    ) -> bool {
        let place = (delivery.target, delivery.key.clone());
        let Some(hint) = self.kept.get_mut(&place) else { return false };
        if hint.record.borrow().rank() != delivery.rank {
            return false;
        }
        match reply {
            Reply::Accepted | Reply::Newer(_) => {
                hint.taken.insert(from);
            }
            Reply::BelowFloor(_) => probe("hint: dropped below a floor"),
            _ if planted(Bug::HintDroppedOnRefusal) => {
                self.kept.remove(&place);
                return true;
            }
            _ => return false,
        }
        let below = matches!(reply, Reply::BelowFloor(_));
        if below || hint.receivers(delivery.target, owners).next().is_none() {
            self.kept.remove(&place);
            return true;
        }
        false
    }
}

impl Hint {
    /// Who is still to have it.
    fn receivers(&self, target: NodeId, owners: &Owners) -> impl Iterator<Item = NodeId> {
        let moved = !owners.has_node(target);
        let members = owners.replicas.iter().chain(&owners.next);
        let mut nodes: Vec<NodeId> = members
            .filter(|member| moved || member.node == target)
            .filter(|member| !self.taken.contains(member))
            .map(|member| member.node)
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.into_iter()
    }

    fn delivery(&self, target: NodeId, to: NodeId, key: &Bytes) -> Delivery {
        let item = Item { key: key.clone(), record: self.record.clone() };
        let rank = item.record.borrow().rank();
        // It never was read from a store, so it carries no floor.
        let claims = planted(Bug::HintClaimsFloor);
        let floor = if claims { Floor(Stamp(u64::MAX)) } else { Floor::ZERO };
        let origin = Origin::Kept { floor };
        let ask = Ask::Take { items: Arc::from([item]), origin };
        Delivery { target, to, key: key.clone(), rank, ask }
    }
}

#[cfg(test)]
mod tests;
