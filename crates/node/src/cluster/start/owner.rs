//! Which cluster a directory belongs to, and how a node that was let into one settles in.
//!
//! Holds: what was begun is brought to its end by the next start, under the same name and token.
//!
//! Does not know: how a cluster lets nodes in.

use super::super::First;
use super::super::expect::{Beginning, Waiting};
use super::super::identity::{Note, Tokens};
use super::super::join::{self, Admitted, JoinError};
use super::Ground;
use crate::node::{FIRST_NODE, StartError};
use shoal_meta::raft::RaftStore;
use shoal_storage::directory::{DataDirectory, Unowned};
use std::sync::Arc;

impl Ground {
    /// Finds out which cluster a directory is to belong to, and under which id. Blocks until one
    /// lets it in, where that is asked for.
    ///
    /// # Errors
    /// [`StartError::Join`] where no cluster will, or the directory's.
    pub(crate) fn find_owner(
        &self,
        unowned: Unowned,
        name: &str,
    ) -> Result<DataDirectory, StartError> {
        if self.peers.first == First::Found {
            if Note::read(unowned.path())?.is_some() {
                // It would found a cluster beside the one that it was meant for.
                return Err(unsaid().into());
            }
            let cluster = uuid::Uuid::now_v7().as_u128();
            return Ok(unowned.belong(cluster, FIRST_NODE)?);
        }
        let note = Note::take(unowned.path(), name)?;
        if let First::Expect { seeds, nodes } = &self.peers.first {
            let waiting = Arc::new(Waiting::new(unowned.path(), note.clone(), *nodes));
            self.door.wait(&waiting);
            let transport = &*self.transport;
            if self.runtime.block_on(waiting.run(transport, seeds))? == Beginning::Found {
                return Ok(unowned.belong(uuid::Uuid::now_v7().as_u128(), FIRST_NODE)?);
            }
        }
        let Admitted { cluster, node, .. } = self.ask_in(&note)?;
        Ok(unowned.belong(cluster.0, node.0)?)
    }

    /// Brings to its end what a node keeps that was let into a cluster, and gives the tokens of
    /// one that is in a cluster. Blocks.
    ///
    /// # Errors
    /// As [`Self::find_owner`], and the map's.
    pub(crate) fn settle_in(
        &self,
        directory: &DataDirectory,
    ) -> Result<Option<Tokens>, StartError> {
        let path = directory.path();
        let Some(note) = Note::read(path)? else { return Ok(Tokens::read(path)?) };
        // Nobody is ever let in under the first id: who has it founded the cluster.
        if directory.identity().node_id != FIRST_NODE && Tokens::read(path)?.is_none() {
            // Asking again is asking for the same.
            let Admitted { node, map, .. } = self.ask_in(&note)?;
            if node.0 != directory.identity().node_id {
                let message = "the cluster has let this node in under another id";
                return Err(JoinError::new("stale_directory", message).into());
            }
            if !RaftStore::is_in(path)? {
                RaftStore::admit(path, node, &map)?;
            }
            Tokens::make(path, note.token)?;
        }
        Note::remove(path)?;
        Ok(Tokens::read(path)?)
    }

    /// Whether a node without a cluster would ask to be let into one.
    pub(crate) fn asks_to_join(&self) -> bool {
        matches!(self.peers.first, First::Join { .. })
    }

    fn ask_in(&self, note: &Note) -> Result<Admitted, StartError> {
        let (seeds, replace) = match &self.peers.first {
            First::Join { seeds, replace } => (seeds, *replace),
            First::Expect { seeds, .. } => (seeds, false),
            First::Found => return Err(unsaid().into()),
        };
        let (profile, transport) = (self.profile(), &*self.transport);
        let asked = join::ask_in(transport, seeds, &note.name, note.token, &profile, replace);
        Ok(self.runtime.block_on(asked)?)
    }
}

/// Why a directory from which a cluster was asked is not to be one of its own.
fn unsaid() -> JoinError {
    let message = "the directory is about to be let into a cluster; say into which one with \
                   --join, or begin with an empty one";
    JoinError::new("joining", message)
}
