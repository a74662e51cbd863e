//! What happened to the cluster lately, for people to read.
//!
//! Holds: the words of [`what`] are stable, so that people may search and alert by them; no more
//! than a bounded number of events is kept. Each node notes what it saw itself: what the leader of
//! the map did stands at the leader.
//!
//! Does not know: what leads to an event.

use crate::clock::TimeSource;
use parking_lot::Mutex;
use shoal_core::NodeId;
use shoal_core::map::ClusterMap;
use std::collections::VecDeque;

/// How many are kept.
const KEPT: usize = 1_024;

/// So many nodes are named in one sentence.
const NAMED: usize = 16;

/// The words that say what an event is.
pub mod what {
    /// A node answers: it is new, or back, or objects to being suspected.
    pub const NODE_UP: &str = "node_up";
    /// A node did not answer lately.
    pub const NODE_SUSPECT: &str = "node_suspect";
    /// A node answers nobody.
    pub const NODE_DOWN: &str = "node_down";
    /// A node said goodbye.
    pub const NODE_LEFT: &str = "node_left";
    /// A node has joined the map, or started as a member for the first time.
    pub const NODE_JOINED: &str = "node_joined";
    /// A node is never to come back: somebody forgot it, or another took its place.
    pub const NODE_GONE: &str = "node_gone";
    /// A node that was gone is named by nothing any more and has left the map.
    pub const NODE_REMOVED: &str = "node_removed";
    /// A later process was started as this node.
    pub const SUPERSEDED: &str = "superseded";
    /// Another node leads the map now, or none does.
    pub const LEADER: &str = "leader";
    /// Who votes on the map changes.
    pub const VOTERS: &str = "voters";
    /// Too few voters can be reached: no change of the map can be decided.
    pub const MAJORITY_LOST: &str = "majority_lost";
    /// A majority of the voters can be reached again.
    pub const MAJORITY_BACK: &str = "majority_back";
    /// Partitions begin to change their owners.
    pub const MOVING: &str = "moving";
    /// Partitions have the owners they were to have.
    pub const MOVED: &str = "moved";
    /// Changes of owners are taken back.
    pub const TAKEN_BACK: &str = "taken_back";
    /// Partitions go on with what is left: acknowledged records may be lost.
    pub const DATA_LOST: &str = "data_lost";
    /// Partitions wait for somebody to accept a loss, or do so no longer.
    pub const AWAITING_ACCEPTANCE: &str = "awaiting_acceptance";
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// A stable word for what it is.
    pub what: &'static str,
    /// A sentence.
    pub text: String,
}

/// The newest events, the oldest first.
#[derive(Debug)]
pub struct Events {
    time: TimeSource,
    kept: Mutex<VecDeque<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self::new(TimeSource::system())
    }
}

impl Events {
    /// None yet; they are dated by `time`.
    #[must_use]
    pub const fn new(time: TimeSource) -> Self {
        Self { time, kept: Mutex::new(VecDeque::new()) }
    }

    /// Takes note of what happens now.
    pub fn say(&self, what: &'static str, text: String) {
        self.note(Event { at_ms: self.time.now_ms(), what, text });
    }

    /// Takes note.
    pub fn note(&self, event: Event) {
        tracing::info!(what = event.what, "{}", event.text);
        let mut kept = self.kept.lock();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(event);
    }

    /// Those that are kept.
    #[must_use]
    pub fn all(&self) -> Vec<Event> {
        self.kept.lock().iter().cloned().collect()
    }
}

/// What people call `node`, with its id where that is not the same.
pub(crate) fn called(map: &ClusterMap, node: NodeId) -> String {
    match map.nodes.get(&node) {
        Some(info) if info.name != node.to_string() => format!("{} ({node})", info.name),
        _ => node.to_string(),
    }
}

/// What people call `nodes`, in one row; of very many only how many there are.
pub(crate) fn all_called(map: &ClusterMap, nodes: impl IntoIterator<Item = NodeId>) -> String {
    let names: Vec<_> = nodes.into_iter().map(|node| called(map, node)).collect();
    match names.len() {
        0 => "nobody".to_owned(),
        1..=NAMED => names.join(", "),
        many => format!("{many} nodes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_with_their_dates() {
        let events = Events::new(TimeSource::new(|| 7));
        for number in 0..KEPT + 2 {
            events.say(what::NODE_UP, number.to_string());
        }
        let all = events.all();
        assert_eq!(all.len(), KEPT);
        assert_eq!(all[0], Event { at_ms: 7, what: "node_up", text: "2".to_owned() });
        assert_eq!(all[KEPT - 1].text, (KEPT + 1).to_string());
    }
}
