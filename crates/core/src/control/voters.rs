//! Who votes on the map: 1, 3 or 5 members, chosen without anybody's help.
//!
//! Holds: one change at a time, and only while more than half of the present voters are up; after
//! it more than half of the new ones are. A voter is only replaced where it is dead, or where
//! another one spreads the voters better over the zones. The number of voters stays odd.
//!
//! Does not know: how a change of voters is carried out. It is meant for joint consensus, which
//! takes several at once.

use super::View;
use crate::ids::NodeId;
use crate::map::ClusterMap;
use std::collections::{BTreeMap, BTreeSet};

/// How long a voter is down, in milliseconds, before another one takes its place. Longer than a
/// restart takes; a vote that is missing meanwhile is what the others are there for.
pub const VOTER_PATIENCE_MS: u64 = 30_000;

/// From how many members on there are how many voters: three survive the loss of one, five that of
/// two. Below three members a second voter would only be one more that can stop everything.
const SIZES: [(usize, usize); 3] = [(5, 5), (3, 3), (0, 1)];

/// How many voters a cluster of so many members that may vote is to have.
#[must_use]
pub fn wanted(members: usize) -> usize {
    SIZES.iter().find(|(from, _)| members >= *from).map_or(1, |(_, voters)| *voters)
}

/// A change of the voters, to be made as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Who votes from now on.
    pub add: BTreeSet<NodeId>,
    /// Who does not any more.
    pub remove: BTreeSet<NodeId>,
}

impl Change {
    /// The voters after it.
    #[must_use]
    pub fn applied_to(&self, present: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        present.union(&self.add).filter(|node| !self.remove.contains(node)).copied().collect()
    }
}

/// The next change of the voters, if there is one to make.
#[must_use]
pub fn choose(map: &ClusterMap, view: &View, present: &BTreeSet<NodeId>) -> Option<Change> {
    let field = Field::of(map, view);
    if !field.has_majority(present) {
        return None;
    }
    let want = wanted(field.able.len());
    let change = if present.len() > want {
        Some(field.shrink(present, want))
    } else {
        field
            .replace_dead(present)
            .or_else(|| field.grow(present, want))
            .or_else(|| field.spread(present))
    };
    change.filter(|change| field.has_majority(&change.applied_to(present)))
}

struct Field<'a> {
    map: &'a ClusterMap,
    view: &'a View,
    /// The members that may vote.
    able: BTreeSet<NodeId>,
}

impl<'a> Field<'a> {
    fn of(map: &'a ClusterMap, view: &'a View) -> Self {
        let members = map.nodes.iter().filter(|(_, info)| info.is_member()).map(|(node, _)| *node);
        let able = members.filter(|node| !view.volatile.contains(node)).collect();
        Self { map, view, able }
    }

    fn has_majority(&self, voters: &BTreeSet<NodeId>) -> bool {
        let up = voters.iter().filter(|node| self.view.is_up(**node)).count();
        up > voters.len() / 2
    }

    fn is_dead(&self, node: NodeId) -> bool {
        !self.able.contains(&node) || self.view.is_down_for(node, VOTER_PATIENCE_MS)
    }

    fn zone(&self, node: NodeId) -> Option<&'a str> {
        self.map.nodes.get(&node).and_then(|info| info.zone.as_deref())
    }

    /// How many of `voters` stand in each zone.
    fn crowds(&self, voters: &BTreeSet<NodeId>) -> BTreeMap<Option<&'a str>, usize> {
        let mut crowds = BTreeMap::new();
        for node in voters {
            *crowds.entry(self.zone(*node)).or_default() += 1;
        }
        crowds
    }

    /// The less, the better spread over the zones.
    fn crowding(&self, voters: &BTreeSet<NodeId>) -> usize {
        self.crowds(voters).values().map(|crowd| crowd * crowd).sum()
    }

    /// Who joins `voters` best: somebody up, where the fewest stand.
    fn best(&self, voters: &BTreeSet<NodeId>) -> Option<NodeId> {
        let crowds = self.crowds(voters);
        let free = self.able.iter().filter(|node| self.view.is_up(**node));
        let free = free.filter(|node| !voters.contains(node)).copied();
        free.min_by_key(|node| (crowds.get(&self.zone(*node)).copied(), *node))
    }

    /// Who is spared best: somebody dead, else somebody down, else where most stand.
    fn spare(&self, voters: &BTreeSet<NodeId>) -> Option<NodeId> {
        let crowds = self.crowds(voters);
        voters.iter().copied().max_by_key(|node| {
            let crowd = crowds.get(&self.zone(*node)).copied();
            (!self.able.contains(node), self.is_dead(*node), !self.view.is_up(*node), crowd, *node)
        })
    }

    fn shrink(&self, present: &BTreeSet<NodeId>, want: usize) -> Change {
        let mut change = Change::default();
        // Two fewer at most, so that the number stays odd and every step is a small one.
        let least = present.len().saturating_sub(1 + present.len() % 2);
        while change.applied_to(present).len() > want.max(least) {
            let Some(spared) = self.spare(&change.applied_to(present)) else { break };
            change.remove.insert(spared);
        }
        change
    }

    fn replace_dead(&self, present: &BTreeSet<NodeId>) -> Option<Change> {
        let dead = self.spare(present).filter(|node| self.is_dead(*node))?;
        let mut change = Change { add: BTreeSet::new(), remove: BTreeSet::from([dead]) };
        // Not one of the present ones, the dead one included.
        let left = change.applied_to(present);
        change.add.insert(self.best(&left).filter(|node| *node != dead)?);
        Some(change)
    }

    fn grow(&self, present: &BTreeSet<NodeId>, want: usize) -> Option<Change> {
        let size = present.len() + 1 + present.len() % 2;
        if size > want {
            return None;
        }
        let mut change = Change::default();
        // All at once or nobody: an even number stands no more losses than one fewer.
        while change.applied_to(present).len() < size {
            change.add.insert(self.best(&change.applied_to(present))?);
        }
        Some(change)
    }

    /// One voter less where most stand, for one where fewer do.
    fn spread(&self, present: &BTreeSet<NodeId>) -> Option<Change> {
        if !present.iter().all(|node| self.view.is_up(*node)) {
            return None;
        }
        let spared = self.spare(present)?;
        let mut change = Change { add: BTreeSet::new(), remove: BTreeSet::from([spared]) };
        change.add.insert(self.best(&change.applied_to(present)).filter(|node| *node != spared)?);
        let after = change.applied_to(present);
        (self.crowding(&after) < self.crowding(present)).then_some(change)
    }
}

#[cfg(test)]
mod tests;
