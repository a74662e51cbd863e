//! Membership: which nodes of the cluster can be reached right now.
//!
//! The SWIM protocol with suspicion (Das, Gupta, Motivala 2002), as foca implements it: each node
//! asks one other per period, has others ask where no answer comes, and passes news on with
//! everything it sends. Around it stands what a cluster needs besides: datagrams that prove
//! where they come from; the whole list for a newcomer; a reason why somebody is gone; members
//! that are down are asked whether they are back; a node that was itself held up judges later;
//! and where somebody says that a member is down which nobody suspected, that member is asked.
//!
//! [`Membership`] is a machine without a socket, a clock or dice of its own: datagrams and the
//! time go in, [`Effect`]s come out. Whoever drives it keeps one task that sends what it asks for,
//! feeds what comes in, and calls [`Membership::on_time`] when [`Membership::due`] is reached.
//!
//! Holds: what it says is a hint. It never owns, moves or decides anything. The same calls with
//! the same seed have the same effects. Memory is bounded by `max_members`, whatever comes in.
//!
//! Does not know: sockets, names of hosts, the map, which of the nodes should be members.

mod codec;
mod config;
mod datagram;
mod identity;
mod machine;
mod outbox;
mod roll;
mod stats;
mod talk;
mod timers;
mod watch;

pub use config::{Config, ConfigError};
pub use datagram::{Gossip, MAX_DATAGRAM};
pub use identity::{Identity, IdentityError};
pub use machine::Membership;
pub use roll::{MemberState, Seen};
pub use stats::{Refused, Stats};

use core::net::SocketAddr;
use shoal_core::{MapVersion, NodeId};

/// What whoever drives a [`Membership`] is asked to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send one datagram. It may be lost.
    Send {
        /// Whereto.
        to: SocketAddr,
        /// The whole datagram, at most [`MAX_DATAGRAM`] bytes.
        bytes: Vec<u8>,
    },
    /// Take note.
    Event(Event),
}

/// A change in what this node believes of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node is reachable: new, back, no longer suspected, or started again, even where
    /// nobody had noticed that it was gone.
    Up {
        /// The node.
        node: NodeId,
        /// Which of its starts this is.
        start: u64,
        /// Where it takes datagrams.
        address: SocketAddr,
    },
    /// The node did not answer lately.
    Suspect {
        /// The node.
        node: NodeId,
    },
    /// The node answers nobody.
    Down {
        /// The node.
        node: NodeId,
    },
    /// The node said goodbye.
    Left {
        /// The node.
        node: NodeId,
    },
    /// The node has a newer map than it was known to have.
    Heard {
        /// The node.
        node: NodeId,
        /// The version of its map.
        map_version: MapVersion,
    },
    /// Another process was started later as this node. This one has fallen silent for good and
    /// should end.
    Superseded {
        /// Which start the later one is.
        start: u64,
    },
}

#[cfg(test)]
mod tests;
