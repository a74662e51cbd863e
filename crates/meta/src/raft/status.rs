//! What there is to see of a node's part in deciding the map.

use serde::{Deserialize, Serialize};
use shoal_core::ids::{MapVersion, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// Who leads the voters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term, which rises with every election.
    pub term: u64,
    /// The leader of this term, where one is known.
    pub leader: Option<NodeId>,
}

/// What a node does for the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It pulls the map from others and has no voice.
    Follower,
    /// It takes part in Raft and has no voice yet: it is catching up.
    Learner,
    /// It has a voice and does not lead.
    Voter,
    /// It has a voice and asks to lead.
    Candidate,
    /// It leads: changes of the map are put in order here.
    Leader,
    /// It cannot take part until it is restarted; why is in `MapStore::in_doubt`.
    Stopped,
}

/// A node's part in deciding the map, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The node.
    pub node: NodeId,
    /// What it does.
    pub role: Role,
    /// Who leads, as far as is known here.
    pub leadership: Leadership,
    /// Who decides, as far as is known here.
    pub voters: BTreeSet<NodeId>,
    /// The log position at which they were decided. The greater, the newer is what is known of
    /// them here.
    pub voters_since: u64,
    /// How many messages came from one node in another's name and were dropped, since the start.
    pub disowned: u64,
    /// The version of the newest map here.
    pub map: MapVersion,
    /// The last position of the log, which counts refused commands and changes of voters too.
    pub last_log: Option<u64>,
    /// The last position of the log that was applied.
    pub applied: Option<u64>,
    /// Only at the leader: how many positions of the log each other one lacks.
    pub lag: BTreeMap<NodeId, u64>,
}

/// [`Leadership`] in a form that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentLeadership {
    term: u64,
    leader: Option<u32>,
}

impl From<Leadership> for SentLeadership {
    fn from(of: Leadership) -> Self {
        Self { term: of.term, leader: of.leader.map(|node| node.0) }
    }
}

impl From<SentLeadership> for Leadership {
    fn from(of: SentLeadership) -> Self {
        Self { term: of.term, leader: of.leader.map(NodeId) }
    }
}
