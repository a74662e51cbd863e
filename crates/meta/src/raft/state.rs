//! What the log's entries add up to: the map, and which proposals were taken already.
//!
//! Holds: a pure function of the entries, so all voters agree on it, on every outcome, and on
//! its stored bytes. No proposal changes the map twice, however late and often a copy comes:
//! within the last [`REMEMBERED`] changes its id is known, and one that began earlier is not
//! taken.
//!
//! Does not know: logs, leaders, files.

use super::types::{At, Outcome, Proposal};
use serde::{Deserialize, Serialize};
use shoal_core::codec::{self, CodecError};
use shoal_core::map::{ClusterMap, Command, MapError};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many taken proposals are remembered, and as many refused ones: more than are ever under
/// way at once, in 32 KiB.
pub(super) const REMEMBERED: usize = 1_024;
/// The first byte of a stored state.
const FORMAT: u8 = 1;

/// What reads commands. A parameter, since nodes of several versions, which do not know the same
/// commands, may belong to one cluster for a while.
pub(super) type ReadCommand = fn(&[u8]) -> Result<Command, CodecError>;

/// The state that the log's entries lead to.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    map: Arc<ClusterMap>,
    taken: Memory,
    refused: Memory,
}

/// What a proposal did.
#[derive(Debug)]
pub(super) struct Effect {
    /// What its proposer is told.
    pub(super) outcome: Outcome,
    /// Why the map refused it, where it was asked just now.
    pub(super) refusal: Option<MapError>,
    /// Whether the map changed.
    pub(super) changed: bool,
}

/// Why an entry or a state cannot be followed. The node must no longer take part: skipping the
/// entry would make its map differ from everyone else's.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    /// A command that this version of Shoal cannot read.
    #[error(
        "a newer version of Shoal put a change into the log that this one cannot read ({0}): the \
             node keeps its map and takes part again once it runs that version"
    )]
    Unreadable(CodecError),
    /// A stored state that this version of Shoal cannot read.
    #[error("{what} cannot be read: {error}")]
    Codec {
        /// What it is.
        what: &'static str,
        /// Why not.
        error: CodecError,
    },
    /// A map that contradicts itself.
    #[error("the map contradicts itself: {0}")]
    Unsound(String),
    /// Bytes that are no state.
    #[error("these bytes are no state of the map")]
    Malformed,
}

impl State {
    /// The state of voters that begin with `map`.
    pub(super) fn of(map: ClusterMap) -> Self {
        Self { map: Arc::new(map), ..Self::default() }
    }

    /// The map.
    pub(super) fn map(&self) -> &Arc<ClusterMap> {
        &self.map
    }

    /// Takes one proposal from the log.
    ///
    /// # Errors
    /// [`StateError`]; nothing changed.
    pub(super) fn take(
        &mut self,
        proposal: &Proposal,
        read: ReadCommand,
    ) -> Result<Effect, StateError> {
        let quiet = |outcome| Effect { outcome, refusal: None, changed: false };
        if let Some(at) = self.taken.find(proposal.id) {
            return Ok(quiet(Outcome::Applied(at)));
        }
        if let Some(at) = self.refused.find(proposal.id) {
            return Ok(quiet(Outcome::Refused(at)));
        }
        // Had it been taken, then after `base`: as long as fewer changes than are remembered came
        // since, it would have been found.
        if self.map.version.index.saturating_sub(proposal.base) >= REMEMBERED as u64 {
            return Ok(quiet(Outcome::Late));
        }
        let command = read(&proposal.command).map_err(StateError::Unreadable)?;
        match self.map.apply(&command) {
            Ok(next) => {
                next.check().map_err(|what| StateError::Unsound(what.to_string()))?;
                let at = At::from(next.version);
                self.map = Arc::new(next);
                self.taken.note(proposal.id, at);
                Ok(Effect { outcome: Outcome::Applied(at), refusal: None, changed: true })
            }
            Err(refusal) => {
                let at = At::from(self.map.version);
                self.refused.note(proposal.id, at);
                let outcome = Outcome::Refused(at);
                Ok(Effect { outcome, refusal: Some(refusal), changed: false })
            }
        }
    }

    /// The bytes that stand for the state.
    pub(super) fn encode(&self) -> Result<Vec<u8>, StateError> {
        let stored = Stored {
            map: codec::map::encode(&self.map),
            taken: self.taken.clone(),
            refused: self.refused.clone(),
        };
        postcard::to_extend(&stored, vec![FORMAT]).map_err(|_| StateError::Malformed)
    }

    /// Reads a state.
    ///
    /// # Errors
    /// [`StateError`] where the bytes are damaged or of another version.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let (&format, rest) = bytes.split_first().ok_or(StateError::Malformed)?;
        if format != FORMAT {
            let error = CodecError::UnknownVersion(format);
            return Err(StateError::Codec { what: "a snapshot", error });
        }
        let stored: Stored = postcard::from_bytes(rest).map_err(|_| StateError::Malformed)?;
        if stored.taken.0.len() > REMEMBERED || stored.refused.0.len() > REMEMBERED {
            return Err(StateError::Malformed);
        }
        // Before the first snapshot arrives a voter's map is the one that is not founded.
        let map = codec::map::decode(&stored.map)
            .map_err(|error| StateError::Codec { what: "the map of a snapshot", error })?;
        Ok(Self { map: Arc::new(map), taken: stored.taken, refused: stored.refused })
    }
}

/// The stored form of a state.
#[derive(Serialize, Deserialize)]
struct Stored {
    map: Vec<u8>,
    taken: Memory,
    refused: Memory,
}

/// The newest proposals of one kind and what became of them, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory(VecDeque<(u128, At)>);

impl Memory {
    fn find(&self, id: u128) -> Option<At> {
        self.0.iter().rev().find(|(known, _)| *known == id).map(|(_, at)| *at)
    }

    fn note(&mut self, id: u128, at: At) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((id, at));
    }
}

#[cfg(test)]
mod tests;
