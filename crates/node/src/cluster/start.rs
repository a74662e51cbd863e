//! How a node becomes one of several: at its start, where it was one before, or while it runs.
//!
//! Holds: nothing of what a node has is asked for, or given out, before the map has taken note of
//! this start of it: of two copies of a data directory only one gets that far. While a node that
//! was alone becomes one of several, its requests wait for a moment and none is lost.
//!
//! Does not know: sockets.

mod ground;
mod meet;
mod owner;
mod record;
mod run;

pub(crate) use ground::Ground;

/// The longest value that fits into a message, beside its key and what else is said of it.
pub(crate) const MAX_VALUE_AMONG: usize = 15 << 20;
