//! What nodes say to each other about the map, and the seam through which it reaches them.
//!
//! ```text
//! version  1   of this protocol
//! message      a request or an answer, in postcard's form
//! ```
//!
//! Holds: the bytes are nobody else's business, and bounded by [`MAX_MESSAGE`]. What cannot be
//! read is answered by name, never followed.
//!
//! Does not know: addresses, connections, who may say what. Whoever carries the bytes vouches
//! for the sender's id and cluster.

use super::parts::Part;
use super::status::SentLeadership;
use super::types::{At, Outcome, Proposal, SnapshotMeta, StoredMembership, Types, Vote};
use super::{Leadership, MAX_MESSAGE};
use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shoal_core::ids::NodeId;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

/// The version of the protocol.
const VERSION: u8 = 1;

/// Carries requests of one node to another and brings its answer back.
///
/// To ensure correctness: bytes arrive whole and unchanged or not at all, at the node of that id
/// in this cluster and no other, whose `RaftStore::serve` is called with the true sender.
/// Messages may be lost, delayed, reordered and duplicated. A call that cannot succeed should
/// fail soon; one that hangs is given up by the caller, who drops the future.
pub trait Wire: Send + Sync + 'static {
    /// Sends `request` to `to` and waits for its answer.
    fn call(&self, to: NodeId, request: Bytes) -> WireFuture<'_>;
}

/// An answer under way.
pub type WireFuture<'a> = Pin<Box<dyn Future<Output = Result<Bytes, WireError>> + Send + 'a>>;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The node cannot be reached; it has received nothing.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The answer was lost; the request may have been received.
    #[error("its answer was lost: {0}")]
    Lost(String),
}

/// What a node asks of another.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    /// Raft's: take these entries, or hear that the leader lives.
    Append(AppendEntriesRequest<Types>),
    /// Raft's: give me your vote.
    Vote(VoteRequest<Types>),
    /// Raft's: would you give me your vote?
    PreVote(VoteRequest<Types>),
    /// Raft's: take this snapshot, of which this is a part, in place of entries that are gone.
    Snapshot { vote: Vote, meta: SnapshotMeta, part: Part },
    /// Raft's: lead in my place.
    Transfer(TransferLeaderRequest<Types>),
    /// Do you lead, with a majority behind you?
    WhoLeads,
    /// Put this in order, if you lead. `since` is the asker's map.
    Propose { proposal: Proposal, since: At },
    /// What came after this map? `whole` asks for the map itself.
    Pull { since: At, whole: bool },
    /// Give me a part of the map `of` this version, or, to begin with, of one newer than `since`.
    MapPart { since: At, of: Option<At>, offset: u64 },
    /// Run Raft: you will be made a learner at a later log position than this.
    Invite { index: u64 },
}

/// What is answered.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    /// The snapshot is whole, and this came of it.
    Snapshot(SnapshotResponse<Types>),
    /// The snapshot is not whole yet: so many of its bytes are there.
    SnapshotPart {
        have: u64,
    },
    /// Whether it now tries to lead.
    Transfer(bool),
    /// Whether the answering node leads and a majority follows it at this moment, and what it
    /// knows of the voters.
    Leads {
        confirmed: bool,
        news: News,
    },
    /// What became of the proposal, and what its sender lacks.
    Proposed {
        outcome: Outcome,
        news: News,
    },
    /// The proposal was not taken up.
    NotTaken,
    /// The proposal was taken up, and what became of it is not known here.
    Open,
    News(News),
    /// A part of the map of this version.
    MapPart {
        version: At,
        part: Part,
    },
    /// The map of that version, or the part of it, is not there (any more).
    MapGone,
    /// The proposal cannot be taken up by this version of Shoal, and was not: why.
    Unfit(String),
    Invited,
    /// It does not run Raft.
    NoVoter,
    /// It cannot: why.
    Failed(String),
}

/// Who decides the map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Members {
    /// The log position at which this was decided.
    pub(super) index: u64,
    /// Who has a voice.
    pub(super) voters: BTreeSet<u32>,
    /// Who has none yet.
    pub(super) learners: BTreeSet<u32>,
}

impl Members {
    pub(super) fn of(membership: &StoredMembership) -> Self {
        let id = |id: u64| u32::try_from(id).ok();
        Self {
            index: membership.log_id().map_or(0, |at| at.index),
            voters: membership.voter_ids().filter_map(id).collect(),
            learners: membership.membership().learner_ids().filter_map(id).collect(),
        }
    }

    /// Who has a voice.
    pub(super) fn voters(&self) -> BTreeSet<NodeId> {
        self.voters.iter().copied().map(NodeId).collect()
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.voters.contains(&node.0) || self.learners.contains(&node.0)
    }
}

/// What a node tells one whose map is older.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct News {
    /// The version of the teller's map.
    pub(super) version: At,
    pub(super) members: Members,
    #[serde(with = "leadership")]
    pub(super) leadership: Leadership,
    pub(super) told: Told,
}

/// The map, or what leads to it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// The asker has it all.
    Nothing,
    /// The next commands after the map of the version `since`, perhaps not yet all.
    Commands { since: At, commands: Vec<Vec<u8>> },
    /// The whole map.
    Map(Vec<u8>),
    /// The map, which has to be asked for part by part.
    Parts,
}

mod leadership {
    use super::{Leadership, SentLeadership};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(of: &Leadership, out: S) -> Result<S::Ok, S::Error> {
        SentLeadership::from(*of).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Leadership, D::Error> {
        SentLeadership::deserialize(from).map(Leadership::from)
    }
}

/// Why bytes are no message of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    #[error("a message about the map of {0} bytes is too large")]
    TooLarge(usize),
    #[error("protocol version {0} of messages about the map is not known to this version of Shoal")]
    UnknownVersion(u8),
    #[error("a message about the map cannot be read")]
    Malformed,
}

/// The bytes of a message.
pub(super) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, MessageError> {
    let bytes = postcard::to_extend(message, vec![VERSION]).map_err(|_| MessageError::Malformed)?;
    if bytes.len() > MAX_MESSAGE {
        return Err(MessageError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

/// Reads a message.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MessageError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(MessageError::TooLarge(bytes.len()));
    }
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| MessageError::Malformed),
        Some((&version, _)) => Err(MessageError::UnknownVersion(version)),
        None => Err(MessageError::Malformed),
    }
}
