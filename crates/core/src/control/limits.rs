//! How much the control machine undertakes at a time.

use std::num::NonZeroUsize;

const fn some(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
}

/// How many nodes the intents of one command name before no more are added to it, whatever else
/// there is room for. With many replicas on each of many partitions this bounds the command's
/// bytes: some 256 KiB, and what one more intent may name.
pub(super) const NODES_PER_COMMAND: usize = 1 << 16;

/// Bounds of what is under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many partitions one node takes over at a time. What it holds of them in memory while it
    /// copies, it bounds by itself; this bounds how many are written to twice meanwhile. With too few
    /// a small cluster comes in by many rounds, each of which waits for two commands of the map.
    pub moves_per_node: NonZeroUsize,
    /// How many partitions change owners at a time in the whole cluster. One that waits, for a node
    /// that is down or because a copy was lost on the way, does not count: it moves nothing, and
    /// must not hold up the others.
    pub moves: NonZeroUsize,
    /// How many partitions one command names. It bounds an entry of the map's log.
    pub partitions_per_command: NonZeroUsize,
    /// How many commands one plan has. Each makes a copy of the map.
    pub commands_per_plan: NonZeroUsize,
    /// How long a node that is down is waited for, in milliseconds, before another one is asked in
    /// its place to take over what it has not got yet, and before its copies in memory are taken
    /// for lost where a partition cannot go on otherwise.
    pub patience_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            moves_per_node: some(64),
            moves: some(256),
            partitions_per_command: some(256),
            commands_per_plan: some(64),
            patience_ms: 30_000,
        }
    }
}
