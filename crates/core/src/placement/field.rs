//! The terms of a placement, checked and with small numbers in place of names.
//!
//! Holds: members are numbered by ascending id, whatever their seats, so that no strategy can
//! depend on an order that it should not see; present owners are distinct members.

use super::hash::{Hashes, Use};
use super::log2::negative_log2;
use super::{MAX_REPLICAS, PlacementError, Replication, Strategy, Terms};
use crate::ids::{NodeId, PartitionId};
use std::cmp::min;
use std::collections::{BTreeMap, BTreeSet};

/// The resolved terms. A `member` is an index into `ids`, `weights` and `zones`; a `partition` is
/// one into `present` and `wanted`.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) strategy: Strategy,
    pub(super) hashes: Hashes,
    /// Ascending.
    pub(super) ids: Vec<NodeId>,
    pub(super) weights: Vec<u16>,
    /// The zone of each member, below `zone_count`.
    pub(super) zones: Vec<usize>,
    pub(super) zone_names: Vec<Option<&'a str>>,
    /// The most owners of one partition that stand in one zone.
    pub(super) zone_limit: usize,
    /// The member on each seat.
    pub(super) seats: Vec<usize>,
    /// Who holds each partition now.
    pub(super) present: Vec<Vec<usize>>,
    /// How many owners each partition is to have.
    pub(super) wanted: Vec<usize>,
}

impl<'a> Field<'a> {
    /// Checks and resolves.
    pub(super) fn of(terms: &Terms<'a>) -> Result<Self, PlacementError> {
        let replicas = match terms.replication {
            Replication::All => usize::MAX,
            Replication::Count(replicas @ 1..=MAX_REPLICAS) => usize::from(replicas),
            Replication::Count(replicas) => return Err(PlacementError::Replicas { replicas }),
        };
        let mut members = terms.members.to_vec();
        members.sort_by_key(|member| member.id);
        if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(PlacementError::MemberTwice { node: pair[0].id });
        }
        let ids: Vec<NodeId> = members.iter().map(|member| member.id).collect();
        let numbers: BTreeMap<NodeId, usize> =
            ids.iter().enumerate().map(|(number, id)| (*id, number)).collect();
        let zone_names: BTreeSet<Option<&str>> = members.iter().map(|member| member.zone).collect();
        let zone_names: Vec<Option<&str>> = zone_names.into_iter().collect();
        let zones: Vec<usize> = members
            .iter()
            .map(|member| zone_names.binary_search(&member.zone).unwrap_or_default())
            .collect();
        let weights: Vec<u16> = members.iter().map(|member| member.weight).collect();
        let present = present_members(terms, &numbers)?;
        let wanted = wanted(&weights, &present, replicas)?;
        let zone_limit = if terms.spread_zones {
            zone_limit(&weights, &zones, zone_names.len(), replicas)
        } else {
            usize::MAX
        };
        Ok(Self {
            strategy: terms.strategy,
            hashes: Hashes::new(terms.seed, terms.salt),
            seats: terms.members.iter().map(|member| numbers[&member.id]).collect(),
            ids,
            weights,
            zones,
            zone_names,
            zone_limit,
            present,
            wanted,
        })
    }

    /// How many partitions there are.
    pub(super) fn partitions(&self) -> usize {
        self.wanted.len()
    }

    /// How many members there are.
    pub(super) fn members(&self) -> usize {
        self.ids.len()
    }

    /// Whether a member takes nothing new.
    pub(super) fn rests(&self, member: usize) -> bool {
        self.weights[member] == 0
    }

    /// How far a member is from a partition in the order of preference of rendezvous: the one
    /// with the least is preferred. Two members are equally far only by a clash of hashes, which
    /// their ids decide.
    ///
    /// Where weighted rendezvous ("highest random weight") takes the greatest of
    /// `-weight / ln(hash)`, this is the least of its reciprocal, `-log2(hash) / weight`: the
    /// member whose bell rings first, if each rings at the rate of its weight.
    pub(super) fn distance(&self, partition: usize, member: usize) -> u64 {
        let hash = self.hashes.of(Use::Rendezvous, number(partition), self.ids[member].0);
        match u64::from(self.weights[member]) {
            0 => u64::MAX,
            // At most 64, so that there are eight more bits of room behind the point.
            weight => (negative_log2(hash) << 8) / weight,
        }
    }
}

/// The partition's number as it is hashed.
pub(super) fn number(partition: usize) -> u32 {
    u32::try_from(partition).unwrap_or(u32::MAX)
}

/// The partition's id.
pub(super) fn id_of(partition: usize) -> PartitionId {
    PartitionId(u16::try_from(partition).unwrap_or(u16::MAX))
}

fn present_members(
    terms: &Terms<'_>,
    numbers: &BTreeMap<NodeId, usize>,
) -> Result<Vec<Vec<usize>>, PlacementError> {
    let partitions = terms.partitioning.count();
    if terms.present.is_empty() {
        return Ok(vec![Vec::new(); usize::from(partitions)]);
    }
    if terms.present.len() != usize::from(partitions) {
        return Err(PlacementError::Present { partitions, listed: terms.present.len() });
    }
    let members = |owners: &Vec<NodeId>| {
        let distinct: BTreeSet<usize> =
            owners.iter().filter_map(|id| numbers.get(id).copied()).collect();
        distinct.into_iter().collect()
    };
    Ok(terms.present.iter().map(members).collect())
}

/// As many as asked for, of those who take places and those who rest on one.
fn wanted(
    weights: &[u16],
    present: &[Vec<usize>],
    replicas: usize,
) -> Result<Vec<usize>, PlacementError> {
    let active = weights.iter().filter(|weight| **weight > 0).count();
    let mut wanted = Vec::with_capacity(present.len());
    for (partition, owners) in present.iter().enumerate() {
        let resting = owners.iter().filter(|owner| weights[**owner] == 0).count();
        if active + resting == 0 {
            return Err(PlacementError::NobodyTakes { partition: id_of(partition) });
        }
        wanted.push(min(replicas, active + resting));
    }
    Ok(wanted)
}

/// The least number of owners per zone that leaves places enough: replicas over zones, rounded up,
/// and more where some zones have too few members to play their part.
fn zone_limit(weights: &[u16], zones: &[usize], zone_count: usize, replicas: usize) -> usize {
    let mut sizes = vec![0; zone_count];
    for (zone, weight) in zones.iter().zip(weights) {
        sizes[*zone] += usize::from(*weight > 0);
    }
    let places = min(replicas, sizes.iter().sum());
    let enough =
        |limit: &usize| sizes.iter().map(|size| min(*size, *limit)).sum::<usize>() >= places;
    // A limit as large as all places together is always enough.
    (1..=places).find(enough).unwrap_or(1)
}
