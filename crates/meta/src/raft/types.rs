//! What Raft orders: proposals, and what became of them.
//!
//! Holds: raft's log positions and map versions are never mixed. A log entry may be a refused
//! command, a change of the voters or a new leader's first word; only a command that the map
//! takes moves the map's version.

use serde::{Deserialize, Serialize};
use shoal_core::ids::{MapVersion, NodeId};
use std::fmt;

openraft::declare_raft_types!(
    /// How openraft is set up here.
    pub(super) Types:
        D = Proposal,
        R = Outcome,
        NodeId = u64,
        Node = openraft::EmptyNode,
);

pub(super) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(super) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(super) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(super) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(super) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub(super) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Vec<u8>>;

/// A map version in a form that can be stored and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct At {
    generation: u32,
    index: u64,
}

impl From<MapVersion> for At {
    fn from(version: MapVersion) -> Self {
        Self { generation: version.generation, index: version.index }
    }
}

impl From<At> for MapVersion {
    fn from(at: At) -> Self {
        Self { generation: at.generation, index: at.index }
    }
}

/// A command on its way into the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proposal {
    /// Names the proposal and no other: a copy that comes late or twice is known by it.
    pub(super) id: u128,
    /// The index of the proposer's map when the id was drawn. A copy so late that the id may be
    /// forgotten is known by it.
    pub(super) base: u64,
    /// The command, as the codec writes it.
    pub(super) command: Vec<u8>,
}

impl Proposal {
    /// The name of the `number`th proposal that `proposer` makes during this opening of its store.
    pub(super) fn name(proposer: NodeId, opening: u64, number: u32) -> u128 {
        u128::from(proposer.0) << 96 | u128::from(opening) << 32 | u128::from(number)
    }

    /// Who made it.
    pub(super) fn proposer(&self) -> Option<NodeId> {
        u32::try_from(self.id >> 96).ok().map(NodeId)
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proposal {:032x}, {} bytes", self.id, self.command.len())
    }
}

/// What became of a log entry; the same at every voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// The entry was none of ours.
    Nothing,
    /// The map took the command and has this version since.
    Applied(At),
    /// The map of this version refused the command. Why is a function of that map and the
    /// command, so it is not carried.
    Refused(At),
    /// It came so late that it may have been taken before and forgotten: it was not taken now.
    Late,
}
