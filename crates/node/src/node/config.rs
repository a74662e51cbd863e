//! How a node is to run.

use crate::clock::TimeSource;
use crate::cluster::Peers;
use std::path::PathBuf;

/// How a node is to run.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where its data lives.
    pub data: PathBuf,
    /// The most bytes it may hold in memory: cache, buffers, tables and pending writes.
    pub memory_limit: u64,
    /// Whether a new directory's keyspace `default` lives in memory rather than on disk.
    pub default_in_memory: bool,
    /// The longest value, in bytes.
    pub max_value_bytes: usize,
    /// Bytes of disk kept free; `None` for a share of the volume.
    pub min_free: Option<u64>,
    /// The node's name in the map; only a new directory takes it.
    pub name: String,
    /// Where its time comes from.
    pub time: TimeSource,
    /// How it meets others; `None` where nobody can reach it.
    pub peers: Option<Peers>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from("shoal-data"),
            memory_limit: 1 << 30,
            default_in_memory: false,
            max_value_bytes: 8 << 20,
            min_free: None,
            name: "n1".to_owned(),
            time: TimeSource::system(),
            peers: None,
        }
    }
}
