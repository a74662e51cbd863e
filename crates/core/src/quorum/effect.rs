//! What happens to a coordinator's machine, and what it wants done.

use super::{Answer, Ask, Owners};
use crate::clock::{ClockError, Stamp};
use crate::ids::{Epoch, NodeId};
use std::sync::Arc;

/// What a machine is told.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every event is an answer, and is moved once")]
pub enum Event {
    /// A replica answered. Answers may come twice, late, or never.
    Answered(Answer),
    /// Nothing will come of what this node was asked in this round: it could not be reached, or
    /// its connection ended. What is heard late, of a round that is over, means nothing.
    Failed {
        /// The node.
        node: NodeId,
        /// The round of the question.
        round: u32,
    },
    /// The map changed; these are the owners now.
    Remapped(Arc<Owners>),
    /// Waiting has lasted longer than usual.
    Slow,
    /// The request's time is over.
    Deadline,
}

/// What a machine wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<O> {
    /// Ask a replica, under the epoch of the machine's owners. The own node is asked too.
    Send {
        /// The replica's node.
        to: NodeId,
        /// The round that the answer must repeat.
        round: u32,
        /// The question.
        ask: Ask,
    },
    /// Fetch a map of at least this version, unless the node has one by now, then tell the
    /// machine.
    PullMap {
        /// The epoch that the replica which refused holds.
        at_least: Epoch,
    },
    /// Tell the client. At most once.
    Done(O),
    /// Keep the machine's records for this node, which did not take them in time.
    Hint {
        /// The node.
        to: NodeId,
    },
}

impl<O> Effect<O> {
    /// Fetches the map of whoever said under the epoch `said` that `known` is over.
    pub(super) fn pull_map(known: Epoch, said: Epoch) -> Self {
        let next = Epoch { index: known.index.saturating_add(1), ..known };
        Self::PullMap { at_least: said.max(next) }
    }
}

/// The node's clock, as a machine sees it.
pub trait Stamps {
    /// A new stamp, above every earlier one of this node.
    ///
    /// # Errors
    /// [`ClockError`] where the clock may not stamp now.
    fn stamp(&mut self) -> Result<Stamp, ClockError>;
}
