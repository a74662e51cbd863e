//! The board on which a placement is laid out: who holds what so far, and what is allowed next.
//!
//! Holds: owners of a partition are distinct; nobody takes a place while resting; loads are the
//! number of places held.

use super::field::Field;
use super::share::{self, Share, Vessels};

/// Owners and loads so far.
#[derive(Debug)]
pub(super) struct Board<'a> {
    pub(super) field: &'a Field<'a>,
    owners: Vec<Vec<usize>>,
    loads: Vec<u64>,
    shares: Vec<Share>,
    replacements: u64,
}

impl<'a> Board<'a> {
    /// A board on which present owners that rest have kept their places, wherever they stand, and
    /// the others too if `everybody` does. Of those beyond what is wanted, or beyond what their
    /// zone may have, the preferred ones stay.
    pub(super) fn begin(field: &'a Field<'a>, everybody: bool) -> Self {
        let mut board = Self {
            field,
            owners: vec![Vec::new(); field.partitions()],
            loads: vec![0; field.members()],
            shares: Vec::new(),
            replacements: 0,
        };
        for partition in 0..field.partitions() {
            let present = board.by_preference(partition, &field.present[partition]);
            let (resting, others): (Vec<_>, Vec<_>) =
                present.into_iter().partition(|owner| field.rests(*owner));
            for owner in resting {
                if board.wants(partition) {
                    board.put(partition, owner);
                }
            }
            for owner in others {
                let may_stay = everybody && board.zone_has_room(partition, owner);
                if may_stay && board.wants(partition) {
                    board.put(partition, owner);
                }
            }
        }
        board.shares = board.fair_shares();
        board
    }

    /// Each member's fair share of the places that resting owners leave.
    fn fair_shares(&self) -> Vec<Share> {
        let field = self.field;
        let wanted: usize = field.wanted.iter().sum();
        let held_by_resting: usize = self
            .owners
            .iter()
            .map(|owners| owners.iter().filter(|owner| field.rests(**owner)).count())
            .sum();
        let vessels = Vessels {
            weights: &field.weights,
            zones: &field.zones,
            zone_count: field.zone_names.len(),
            zone_limit: field.zone_limit,
            partitions: field.partitions(),
        };
        share::fair(&vessels, wanted - held_by_resting)
    }

    /// The owners of a partition, in the order in which they came unless put in another.
    pub(super) fn owners(&self, partition: usize) -> &[usize] {
        &self.owners[partition]
    }

    /// How many places a member holds.
    pub(super) fn load(&self, member: usize) -> u64 {
        self.loads[member]
    }

    /// How many it should.
    pub(super) fn share(&self, member: usize) -> Share {
        self.shares[member]
    }

    /// Whether a partition has fewer owners than it is to have.
    pub(super) fn wants(&self, partition: usize) -> bool {
        self.owners[partition].len() < self.field.wanted[partition]
    }

    /// Whether a member may become one more owner, as far as the zones do not mind.
    pub(super) fn is_free_for(&self, partition: usize, member: usize) -> bool {
        !self.field.rests(member) && !self.owners[partition].contains(&member)
    }

    /// Whether the zone of `member` has fewer owners than it may.
    pub(super) fn zone_has_room(&self, partition: usize, member: usize) -> bool {
        self.in_zone_of(member, &self.owners[partition]) < self.field.zone_limit
    }

    /// Whether a member may become one more owner.
    pub(super) fn may_take(&self, partition: usize, member: usize) -> bool {
        self.is_free_for(partition, member) && self.zone_has_room(partition, member)
    }

    /// Whether `to` may become an owner in the place of `from`.
    pub(super) fn may_replace(&self, partition: usize, from: usize, to: usize) -> bool {
        let zones = &self.field.zones;
        let owners = &self.owners[partition];
        owners.contains(&from)
            && self.is_free_for(partition, to)
            && (zones[from] == zones[to] || self.in_zone_of(to, owners) < self.field.zone_limit)
    }

    /// Makes a member one more owner.
    pub(super) fn put(&mut self, partition: usize, member: usize) {
        debug_assert!(!self.owners[partition].contains(&member));
        self.owners[partition].push(member);
        self.loads[member] += 1;
    }

    /// Makes `to` an owner in the place of `from`.
    pub(super) fn replace(&mut self, partition: usize, from: usize, to: usize) {
        debug_assert!(self.may_replace(partition, from, to));
        if let Some(place) = self.owners[partition].iter_mut().find(|owner| **owner == from) {
            *place = to;
            self.loads[from] -= 1;
            self.loads[to] += 1;
            self.replacements += 1;
        }
    }

    /// How often an owner was replaced so far.
    pub(super) fn replacements(&self) -> u64 {
        self.replacements
    }

    /// The partitions that a member holds.
    pub(super) fn held_by(&self, member: usize) -> impl Iterator<Item = usize> {
        (0..self.owners.len()).filter(move |partition| self.owners[*partition].contains(&member))
    }

    /// Puts every partition's owners into their order of preference.
    pub(super) fn sort_by_preference(&mut self) {
        for partition in 0..self.owners.len() {
            self.owners[partition] = self.by_preference(partition, &self.owners[partition]);
        }
    }

    fn by_preference(&self, partition: usize, members: &[usize]) -> Vec<usize> {
        let mut members = members.to_vec();
        members.sort_by_cached_key(|member| (self.field.distance(partition, *member), *member));
        members
    }

    fn in_zone_of(&self, member: usize, owners: &[usize]) -> usize {
        let zones = &self.field.zones;
        owners.iter().filter(|owner| zones[**owner] == zones[member]).count()
    }

    /// Whether a board that is full is as it must be.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut loads = vec![0; self.loads.len()];
        for (partition, owners) in self.owners.iter().enumerate() {
            if owners.len() != self.field.wanted[partition] {
                return Err(format!("partition {partition} has {} owners", owners.len()));
            }
            for (at, owner) in owners.iter().enumerate() {
                loads[*owner] += 1;
                if owners[..at].contains(owner) {
                    return Err(format!("partition {partition} has an owner twice"));
                }
                if self.field.rests(*owner) && !self.field.present[partition].contains(owner) {
                    return Err(format!("partition {partition} went to a member of weight 0"));
                }
            }
        }
        if loads == self.loads { Ok(()) } else { Err("loads are not what is held".to_owned()) }
    }
}
