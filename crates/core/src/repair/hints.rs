//! Hints: records kept for owners that did not take them in time.
//!
//! Holds: for a target and a key only the newest record is kept. A hint never counts as an
//! acknowledgement. It goes once its target has it, or something newer; where the target is no
//! owner any more, once every present and incoming owner has it. A record below the target's
//! floor has nothing to add and goes too.
//!
//! Does not know: when to deliver, how fast, how many bytes a node has room for, and how hints are
//! kept through a restart.

use crate::clock::Stamp;
use crate::ids::NodeId;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::quorum::{Ask, Item, Member, Origin, Owners, Reply};
use crate::record::{OwnedBody, OwnedRecord, Rank};
use crate::replica::Floor;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a hint takes beside its key and its value, in bytes: about what the maps around it need.
const OVERHEAD_BYTES: usize = 192;

/// The hints of one partition in one life of its keyspace, a bounded number of them: beyond it
/// comparison alone must even out what was not taken in time.
#[derive(Clone, Debug)]
pub struct Hints {
    kept: BTreeMap<(NodeId, Bytes), Hint>,
    most: usize,
    bytes: usize,
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

impl Delivery {
    /// About how many bytes the message carries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.ask {
            Ask::Take { items, .. } => items.iter().map(Hints::cost).sum(),
            _ => 0,
        }
    }
}

impl Hints {
    /// No hints yet, and never more than `most`.
    #[must_use]
    pub const fn bounded(most: usize) -> Self {
        Self { kept: BTreeMap::new(), most, bytes: 0 }
    }

    /// About how much memory a hint of `item` takes, in bytes.
    #[must_use]
    pub fn cost(item: &Item) -> usize {
        cost(&item.key, &item.record)
    }

    /// About how much memory the hints take, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
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
        let hint = Hint { record: item.record.clone(), taken: BTreeSet::new() };
        self.bytes += Self::cost(item);
        if let Some(older) = self.kept.insert(place, hint) {
            self.bytes -= cost(&item.key, &older.record);
        }
        true
    }

    /// The nodes that hints are kept for.
    pub fn targets(&self) -> impl Iterator<Item = NodeId> {
        let mut next = Some(NodeId(0));
        std::iter::from_fn(move || {
            let ((target, _), _) = self.kept.range((next?, Bytes::new())..).next()?;
            next = target.0.checked_add(1).map(NodeId);
            Some(*target)
        })
    }

    /// What is kept, and for whom.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Bytes, &OwnedRecord)> {
        self.kept.iter().map(|((target, key), hint)| (*target, key, &hint.record))
    }

    /// The messages that are to be sent now, at most `limit`, to nodes that are `reachable`.
    pub fn deliveries(
        &self,
        owners: &Owners,
        reachable: impl Fn(NodeId) -> bool,
        limit: usize,
    ) -> Vec<Delivery> {
        let mut out = Vec::new();
        for target in self.targets() {
            let left = limit - out.len();
            out.extend(self.deliveries_for(target, None, owners, |to, _| reachable(to), left));
        }
        out
    }

    /// The messages that are to be sent now of the hints for `target`, at most `limit`: in the
    /// order of keys from the one after `after` on, then from the first key on. Those are left out
    /// that `may` says no to, given who is to be sent what; it is asked once about each.
    pub fn deliveries_for(
        &self,
        target: NodeId,
        after: Option<&Bytes>,
        owners: &Owners,
        mut may: impl FnMut(NodeId, &Bytes) -> bool,
        limit: usize,
    ) -> Vec<Delivery> {
        let all = || {
            let from = self.kept.range((target, Bytes::new())..);
            from.take_while(move |((of, _), _)| *of == target)
        };
        let is_later = |key: &Bytes| after.is_none_or(|after| key > after);
        let later = all().filter(|((_, key), _)| is_later(key));
        let earlier = all().take_while(|((_, key), _)| !is_later(key));
        let mut out = Vec::new();
        for ((_, key), hint) in later.chain(earlier) {
            for to in hint.receivers(target, owners) {
                if out.len() >= limit {
                    return out;
                }
                if may(to, key) {
                    if to != target {
                        probe("hint: followed its partition to new owners");
                    }
                    out.push(hint.delivery(target, to, key));
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
            // Below a mark it counts as taken, and as evicted since.
            Reply::Accepted | Reply::Newer(_) | Reply::BelowMark(_) => {
                hint.taken.insert(from);
            }
            Reply::BelowFloor(_) => probe("hint: dropped below a floor"),
            _ if planted(Bug::HintDroppedOnRefusal) => return self.drop_hint(&place),
            _ => return false,
        }
        let below = matches!(reply, Reply::BelowFloor(_));
        if below || hint.receivers(delivery.target, owners).next().is_none() {
            return self.drop_hint(&place);
        }
        false
    }

    /// Drops what is kept there; it is gone.
    fn drop_hint(&mut self, place: &(NodeId, Bytes)) -> bool {
        if let Some(hint) = self.kept.remove(place) {
            self.bytes -= cost(&place.1, &hint.record);
        }
        true
    }
}

fn cost(key: &Bytes, record: &OwnedRecord) -> usize {
    let value = match &record.body {
        OwnedBody::Live { bytes, .. } => bytes.len(),
        OwnedBody::Tombstone => 0,
    };
    OVERHEAD_BYTES + key.len() + value
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
