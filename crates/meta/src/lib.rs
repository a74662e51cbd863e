//! How Shoal keeps its cluster map.
//!
//! The map itself, its commands and what they do are in `shoal_core::map`; here is where the
//! newest one is found after a restart. [`LocalStore`] keeps it in a file, for a cluster of one.
//!
//! Holds: a command that was answered with a map is durable. Two maps never share a version.

mod local;

pub use local::LocalStore;

use shoal_core::map::{ClusterMap, Command, MapError};
use std::sync::Arc;

/// Keeps the cluster map and decides the order of its changes.
pub trait MapStore: Send + Sync + 'static {
    /// The newest map known here.
    fn current(&self) -> Arc<ClusterMap>;

    /// Why no change is taken until a restart: [`MetaError::InDoubt`] after one that failed
    /// half-way. Never waits, not even for a change that is being made.
    fn in_doubt(&self) -> Option<MetaError>;

    /// Applies `command` and makes the outcome durable. Blocks.
    ///
    /// # Errors
    /// [`MetaError::Refused`] where the map does not allow it: nothing changed.
    /// [`MetaError::File`] or [`MetaError::Full`] where it could not be written: nothing changed.
    /// [`MetaError::InDoubt`] where it may be there after a restart.
    fn propose(&self, command: &Command) -> Result<Arc<ClusterMap>, MetaError>;
}

/// Why a map could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The map does not allow the command. Nothing changed; a retry does not help.
    #[error(transparent)]
    Refused(#[from] MapError),
    /// The map's file could not be read or written. Nothing changed; a retry may help.
    #[error("the map in {file}: {what}")]
    File {
        /// The file.
        file: String,
        /// What went wrong.
        what: String,
    },
    /// There is no room on the disk for the next map. Nothing changed; a retry helps once there is.
    #[error("the map in {file}: {what}; there is no room for a changed one")]
    Full {
        /// The file.
        file: String,
        /// What went wrong.
        what: String,
    },
    /// The map's file was half replaced: the change may be there after a restart, and until then
    /// no other is taken.
    #[error("the map in {file} is in doubt: {what}; restart the node to read it again")]
    InDoubt {
        /// The file.
        file: String,
        /// What went wrong.
        what: String,
    },
}
