//! The bounds of peer links, each with its reason.
//!
//! Does not know: how they are kept.

use shoal_node::transport::{Kind, MAX_BODY};
use std::time::Duration;

/// What may wait of one kind on one link, in one direction. One message always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Messages.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// The bounds of peer links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What may wait, by [`Kind::index`]. Questions count until they are answered, their bytes
    /// until they are sent; the answering side counts the same, and the bytes of its answers.
    pub shares: [Share; Kind::ALL.len()],
    /// The longest message of a peer, in bytes.
    pub longest: usize,
    /// The longest question of a node that introduces itself, in bytes.
    pub longest_introduction: usize,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// Handshakes under way at the same time with nodes that dialled this one. One more ends the
    /// oldest.
    pub half_open: usize,
    /// Nodes that introduce themselves at the same time.
    pub introductions: usize,
    /// How long a node may take to introduce itself.
    pub introduction: Duration,
    /// How often a link is tried with a ping.
    pub ping_every: Duration,
    /// After how long without a byte a link is given up: some pings must have been lost.
    pub silent_after: Duration,
    /// After how long without progress in writing a link is given up.
    pub stalled_after: Duration,
    /// The least and the greatest pause before a link is tried again.
    pub backoff: (Duration, Duration),
}

impl Default for Limits {
    fn default() -> Self {
        let share = |messages, mebibytes: usize| Share { messages, bytes: mebibytes << 20 };
        Self {
            // Control and map changes are few and short, but a map may be pulled whole. Records
            // come by the thousand: 32 MiB are two of the longest messages.
            shares: [share(1_024, 16), share(4_096, 16), share(16_384, 32), share(4_096, 32)],
            longest: MAX_BODY,
            longest_introduction: 64 << 10,
            connect: Duration::from_secs(3),
            handshake: Duration::from_secs(4),
            half_open: 64,
            introductions: 16,
            introduction: Duration::from_secs(30),
            ping_every: Duration::from_secs(1),
            silent_after: Duration::from_secs(5),
            stalled_after: Duration::from_secs(5),
            backoff: (Duration::from_millis(20), Duration::from_secs(2)),
        }
    }
}
