//! Why a partition has the owners it has, as plain values.
//!
//! Holds: there is one line per member, in the partition's order of preference; the lines that
//! say that a member holds it are exactly the owners of the plan.

use super::board::Board;
use super::field::Field;
use super::ring::Ring;
use super::{Strategy, jump};
use crate::ids::{NodeId, PartitionId};

/// One partition's members in its order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Which partition.
    pub partition: PartitionId,
    /// How nodes are chosen.
    pub strategy: Strategy,
    /// How many owners it is to have.
    pub wanted: usize,
    /// The most owners that may stand in one zone; `None` where that is not looked at.
    pub zone_limit: Option<usize>,
    /// Every member, the preferred ones first.
    pub candidates: Vec<Candidate>,
}

/// What became of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is.
    pub node: NodeId,
    /// How far it is from the partition: nearer is preferred. For rendezvous the negative
    /// logarithm of a hash over the weight (in units of 2^-56), for jump its number in the order,
    /// for the ring the way from the partition to its first point (in units of 2^-64 of the ring).
    /// `None` where it is never met.
    pub distance: Option<u64>,
    /// Where it stands.
    pub zone: Option<String>,
    /// How many places of this keyspace it holds in the whole plan.
    pub load: u64,
    /// Why it holds this one, or does not.
    pub verdict: Verdict,
}

/// Why a member holds a partition or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Becomes an owner.
    Taken,
    /// Was an owner and stays one.
    Kept,
    /// There were owners enough before its turn came.
    Enough,
    /// Has weight 0 and takes nothing new.
    TakesNothingNew,
    /// Its zone has as many owners as it may.
    ZoneTaken,
    /// Has as many places as it may, this many.
    BoundReached {
        /// The most places it may have.
        bound: u64,
    },
    /// A present owner that is less preferred keeps its place.
    OwnersStay,
    /// Was an owner and gave the place up, so that the loads are even.
    GaveUp,
    /// Would have been preferred; the place went to another so that the loads are even.
    Balance,
}

impl Verdict {
    /// Whether the member is an owner.
    #[must_use]
    pub const fn is_owner(self) -> bool {
        matches!(self, Self::Taken | Self::Kept)
    }
}

/// Explains one partition of a full board.
pub(super) fn explain(board: &Board<'_>, partition: PartitionId) -> Explanation {
    let field = board.field;
    let at = usize::from(partition.0);
    let ranking = ranking(board, at);
    let last_owner = ranking.iter().rposition(|(_, member)| board.owners(at).contains(member));
    let candidates = ranking.iter().enumerate().map(|(rank, (distance, member))| Candidate {
        node: field.ids[*member],
        distance: *distance,
        zone: field.zone_names[field.zones[*member]].map(str::to_owned),
        load: board.load(*member),
        verdict: verdict(board, at, &ranking[rank..], last_owner.is_some_and(|last| rank > last)),
    });
    Explanation {
        partition,
        strategy: field.strategy,
        wanted: field.wanted[at],
        zone_limit: (field.zone_limit != usize::MAX).then_some(field.zone_limit),
        candidates: candidates.collect(),
    }
}

/// What became of the first of `from_here`; `is_late` says that all owners come before it.
fn verdict(
    board: &Board<'_>,
    partition: usize,
    from_here: &[(Option<u64>, usize)],
    is_late: bool,
) -> Verdict {
    let field = board.field;
    let Some((&(_, member), behind)) = from_here.split_first() else { return Verdict::Enough };
    let was_owner = |member: &usize| field.present[partition].contains(member);
    let is_owner = |member: &usize| board.owners(partition).contains(member);
    let sticky = field.strategy == Strategy::Rendezvous;
    let bound = match field.strategy {
        Strategy::Rendezvous => board.share(member).ceil(),
        Strategy::Jump | Strategy::Ring => board.share(member).scattered(),
    };
    if is_owner(&member) {
        return if was_owner(&member) { Verdict::Kept } else { Verdict::Taken };
    }
    if field.rests(member) {
        return Verdict::TakesNothingNew;
    }
    if sticky && was_owner(&member) {
        return why_lost(field, partition, member, is_late);
    }
    if !board.zone_has_room(partition, member) {
        return Verdict::ZoneTaken;
    }
    if is_late {
        return Verdict::Enough;
    }
    if sticky && behind.iter().any(|(_, other)| is_owner(other) && was_owner(other)) {
        return Verdict::OwnersStay;
    }
    if board.load(member) >= bound {
        return Verdict::BoundReached { bound };
    }
    Verdict::Balance
}

/// Why a present owner that might have stayed did not.
fn why_lost(field: &Field<'_>, partition: usize, member: usize, is_late: bool) -> Verdict {
    let present = &field.present[partition];
    let zone = field.zones[member];
    if present.iter().filter(|owner| field.zones[**owner] == zone).count() > field.zone_limit {
        Verdict::ZoneTaken
    } else if is_late && present.len() > field.wanted[partition] {
        Verdict::Enough
    } else {
        Verdict::GaveUp
    }
}

/// All members in a partition's order of preference; those it never meets come last.
fn ranking(board: &Board<'_>, partition: usize) -> Vec<(Option<u64>, usize)> {
    let field = board.field;
    let mut met: Vec<(Option<u64>, usize)> = match field.strategy {
        Strategy::Rendezvous => {
            let active = (0..field.members()).filter(|member| !field.rests(*member));
            let mut all: Vec<(u64, usize)> =
                active.map(|member| (field.distance(partition, member), member)).collect();
            all.sort_unstable();
            all.into_iter().map(|(distance, member)| (Some(distance), member)).collect()
        }
        Strategy::Jump => {
            let members = jump::order(field, partition).into_iter();
            let members = members.map(|seat| field.seats[seat as usize]);
            (0..).map(Some).zip(members.filter(|member| !field.rests(*member))).collect()
        }
        Strategy::Ring => Ring::of(field)
            .walk(field, partition)
            .map(|(way, member)| (Some(way), member))
            .collect(),
    };
    let mut is_met = vec![false; field.members()];
    for (_, member) in &met {
        is_met[*member] = true;
    }
    met.extend((0..field.members()).filter(|member| !is_met[*member]).map(|member| (None, member)));
    met
}
