//! The disk engine: a commit log, a write buffer and a sorted store.
//!
//! A batch is appended to the [`log`] and put into the buffer, where every read finds it; it is
//! safe once the log is synced past it. A checkpoint writes the buffer, in key order and in one
//! atomic step, into the sorted store, and cuts the log. Opening loads the store's tallies and
//! replays what the log has beyond the store's mark, so every state a crash can leave is the
//! state after some settled prefix of the batches.
//!
//! Memory is bounded by [`DiskOptions::memory_limit_bytes`]. When writes come faster than
//! checkpoints can be made, a batch waits for room in the buffer, for at most half a minute, and
//! is then refused; meanwhile no read is answered on a thread that may not wait (see `read`).
//! When the disk is nearly full, puts are refused, removals and reads go on, and puts are taken
//! again once there is room.
//!
//! Holds: the log is the authority; the store is what the log said up to the mark, never more or
//! less. Only `log`, `replay` and `write` touch the log, only `lsm` names the store's library.
//!
//! Does not know: what a value means, beyond what [`Policy`](crate::engine::Policy) tells it.

pub mod log;

mod buffer;
mod checkpoint;
mod core;
mod due;
mod engine;
mod entry;
mod foresee;
mod hash;
mod keys;
mod lsm;
mod options;
mod paging;
mod read;
mod record;
mod replay;
mod shard;
mod sorted;
mod space;
mod spaces;
mod workers;
mod write;

#[cfg(test)]
mod tests;

pub use engine::DiskEngine;
pub use keys::{MAX_KEY, MAX_SPACE};
pub use options::DiskOptions;
