//! The map of a cluster of several nodes, decided by Raft.
//!
//! A few nodes are *voters*: they put the commands in order, each keeps the log, and a majority
//! of them makes a command final. All others *follow*: they pull what was decided from any peer
//! and send their own proposals to the leader. Both are one [`RaftStore`], and a node changes
//! from one to the other while it runs. What the nodes say to each other goes through a
//! [`Wire`], as bytes that nobody else understands.
//!
//! Holds:
//! - A command that was answered with a map is durable at a majority of the voters, and applied
//!   once, however often it was sent.
//! - The map that a node shows only goes forward, and is found again after a restart.
//! - Log positions are Raft's own; [`MapVersion`](shoal_core::ids::MapVersion) counts what the
//!   map took.
//! - A node id that once had a log never begins with an empty one: the file stays, and a wiped
//!   node is a new id.
//! - All waiting goes through tokio's clock, and the disk is used in line: in virtual time
//!   nothing depends on how fast the machine is.
//!
//! Does not know: addresses, who is reachable, who ought to be a voter.
//!
//! Limits: a command of [`MAX_COMMAND`] bytes, a message of [`MAX_MESSAGE`] bytes,
//! [`MAX_VOTERS`] voters.

mod store;

mod propose;
mod pull;
mod serve;
mod voters;

mod options;
mod status;
mod wire;

mod file;
mod home;
mod known;
mod log;
mod machine;
mod network;
mod parts;
mod silence;
mod state;
mod types;

pub(crate) use home::RAFT;
pub use options::Options;
pub use pull::is_plausible;
pub use status::{Leadership, Role, Status};
pub use store::RaftStore;
pub use voters::MAX_VOTERS;
pub use wire::{Wire, WireError, WireFuture};

/// The most bytes that a command may take: the longest there are name every keyspace, or tens of
/// thousands of nodes in intents, and take half of it.
pub const MAX_COMMAND: usize = 1 << 20;
/// The most bytes that a message may take: within what a transport carries, with room for what it
/// adds. A larger map travels in parts.
pub const MAX_MESSAGE: usize = 15 << 20;

#[cfg(test)]
mod tests;
