//! The last step of the start of a node among several: the map takes note of it, then it serves.
//!
//! Holds: until then every request for data is refused by name, with what is waited for, and no
//! other node is answered but about the map.
//!
//! Does not know: how a start is put on record.

use super::{Node, StartError};
use crate::cluster::Tokens;
use shoal_core::ids::ClusterId;
use shoal_meta::raft::RaftStore;
use std::sync::Arc;
use std::time::Duration;

/// How far ahead of time a clock's ceiling is laid at most; what is beyond that time itself has
/// lost, being set back.
const MOST_AHEAD: Duration = Duration::from_secs(10);

/// What is left to do for a node that was [opened](Node::open) and is one of several.
#[must_use = "the node serves nothing before it has entered"]
pub struct Entry {
    pub(super) node: Arc<Node>,
    pub(super) store: Arc<RaftStore>,
    /// Nothing where this start is on record already.
    pub(super) tokens: Option<Tokens>,
}

impl Entry {
    /// Waits until the map has taken note of this start, and begins to serve. Blocks, for as long as
    /// no majority of the voters can be reached. Where it fails, the node is to be stopped.
    ///
    /// # Errors
    /// [`StartError`], by name: another node was started from a copy of this directory, above all.
    pub fn enter(self) -> Result<(), StartError> {
        let Self { node, store, tokens } = self;
        let Some(ground) = node.ground() else { return Ok(()) };
        let cluster = ClusterId(node.directory.identity().cluster_id);
        if let Some(mut tokens) = tokens {
            ground.block_on(ground.put_on_record(&store, &mut tokens, cluster))?;
        }
        // A clock stands at its ceiling after a restart, which a node that was alone until shortly
        // before has laid further ahead than others may follow.
        let ahead = Duration::from_millis(node.clock.stamps_in_ms()).min(MOST_AHEAD);
        ground.block_on(async { tokio::time::sleep(ahead).await });
        node.serve_among(store)?;
        Ok(())
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("node", &self.node.id()).finish_non_exhaustive()
    }
}
