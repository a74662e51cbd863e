//! Who is up, as one node sees it at one moment.
//!
//! Holds: a hint only. Being down never makes a copy lost, nor a node gone, on disk.

use crate::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// Which nodes are up, and since when the others are down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// When this is seen, in milliseconds of a clock that never runs backwards.
    pub now_ms: u64,
    /// Who is up; the one who sees this among them.
    pub up: BTreeSet<NodeId>,
    /// Since when others are known to be down, by the same clock. A node that stands in neither is
    /// not up, but nobody has waited for it yet.
    pub down_since_ms: BTreeMap<NodeId, u64>,
    /// Whose data directory does not outlast them: they cannot vote.
    pub volatile: BTreeSet<NodeId>,
}

impl View {
    /// Whether `node` is up.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.up.contains(&node)
    }

    /// Whether `node` is known to be down for `ms` milliseconds or longer.
    #[must_use]
    pub fn is_down_for(&self, node: NodeId, ms: u64) -> bool {
        let since = self.down_since_ms.get(&node);
        !self.is_up(node) && since.is_some_and(|since| self.now_ms.saturating_sub(*since) >= ms)
    }
}
