//! How replicas that missed something come to have it.
//!
//! Holds: everything here moves records that were accepted before, through `merge`; nothing is
//! stamped, and no answer to a client depends on it.

mod hints;
mod purge;
mod sync;
mod tree;

pub use hints::{Delivery, Hints};
pub use purge::{Purge, PurgeEffect};
pub use sync::{Digest, LISTED, Sync, SyncEffect};
pub use tree::{FANOUT, HashRange, Leaf, Tree, TreeSecret, Walk};
