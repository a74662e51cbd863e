//! The pure core of Shoal: what a key, a record, a version, a partition and the cluster map are,
//! and every rule that decides between them.
//!
//! Holds: nothing in this crate touches a socket, a file, a clock, a thread or a source of
//! randomness. Time comes in as an argument, answers go out as values. Whatever two nodes must
//! agree on is decided here, by functions that give the same answer everywhere.
//!
//! Does not know: how bytes are stored, sent or asked for.

pub mod clock;
pub mod codec;
pub mod control;
pub mod float;
pub mod glob;
pub mod ids;
pub mod lcs;
pub mod map;
pub mod movement;
pub mod placement;
pub mod planted;
pub mod probe;
pub mod quorum;
pub mod record;
pub mod repair;
pub mod replica;
pub mod slot;
pub mod update;
pub mod version;

pub use ids::{ClusterId, Epoch, Incarnation, MapVersion, NodeId, PartitionId, ReplicaIncarnation};
pub use map::ClusterMap;
pub use record::{Body, OwnedRecord, Record, merge};
pub use slot::Slot;
pub use version::Version;
