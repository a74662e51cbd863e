//! Why a node did not start, each reason with a stable word.

use crate::cluster::JoinError;
use crate::refusal::Refusal;
use shoal_core::ids::ClusterId;
use shoal_meta::MetaError;
use shoal_storage::EngineError;
use shoal_storage::directory::DirectoryError;
use std::path::PathBuf;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory is not to be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The map could not be read or written.
    #[error(transparent)]
    Map(#[from] MetaError),
    /// An engine could not be opened.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The node could not be set up.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The directory's parts belong to different clusters.
    #[error(
        "the map in {data} is of cluster {map}, the identity of cluster {identity}: put the file \
         that belongs here back, or restore the whole directory from a backup"
    )]
    MixedDirectory {
        /// The directory.
        data: PathBuf,
        /// The cluster that the map says.
        map: ClusterId,
        /// The cluster that the identity says.
        identity: ClusterId,
    },
    /// `--memory` was asked for, but the keyspace `default` is on disk already, or the reverse.
    #[error(
        "the keyspace default in {data} lives {there}; start {fix}, or name another data directory"
    )]
    OtherEngine {
        /// The directory.
        data: PathBuf,
        /// Where it lives.
        there: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// A thread could not be started, or an address not be listened on.
    #[error("a thread or a socket could not be had: {0}")]
    Thread(#[from] std::io::Error),
    /// No cluster let this node in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The directory belongs to a node of a cluster, which others have to reach.
    #[error("{data} belongs to a node of a cluster: start it with an address for its peers")]
    NoPeers {
        /// The directory.
        data: PathBuf,
    },
}

impl StartError {
    /// A stable word for the reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Directory(error) => error.code(),
            Self::Map(MetaError::Refused(error)) => Refusal::from(error.clone()).code.row().code,
            Self::Map(MetaError::File { .. }) => "map_file",
            Self::Map(MetaError::Full { .. }) => "disk_full",
            Self::Map(MetaError::InDoubt { .. }) => "map_in_doubt",
            Self::Map(MetaError::NoMajority { .. }) => "no_majority",
            Self::Map(MetaError::Unknown { .. }) => "unknown",
            Self::Map(MetaError::NotLeader { .. }) => "not_leader",
            Self::Map(MetaError::Voters { .. }) => "voters",
            Self::Map(MetaError::Peer { .. }) => "peer_map",
            Self::Engine(error) => Refusal::from(error.clone()).code.row().code,
            Self::Refused(refusal) => refusal.code.row().code,
            Self::MixedDirectory { .. } => "directory_mixed",
            Self::OtherEngine { .. } => "other_engine",
            Self::Thread(_) => "thread",
            Self::Join(error) => error.code,
            Self::NoPeers { .. } => "no_peers",
        }
    }
}
