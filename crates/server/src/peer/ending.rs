//! Why links end: one list, for logs, metrics and the other side.
//!
//! Holds: every reason has one name and one number; the numbers are part of the protocol, so
//! they are never given to another reason.

use shoal_node::transport::Denied;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The other side closed the connection.
    HungUp,
    /// The connection failed.
    Broken,
    /// Nothing was heard for too long, although there was something to hear.
    Silent,
    /// The other side took no byte for too long.
    Stalled,
    /// A frame of a format that is not known here.
    BadFormat,
    /// A frame that is not well-formed.
    BadFrame,
    /// A frame that says it is longer than any may be.
    TooLong,
    /// A frame whose checksum does not hold.
    BadChecksum,
    /// A frame that was not made by the other side for this place in this link.
    Forged,
    /// An answer to a question that is not open.
    Unasked,
    /// Something that this side of a link, or this node, must not send.
    NotAllowed,
    /// More unanswered questions, or pings, than are taken.
    Flooded,
    /// The same node opened another link.
    Replaced,
    /// The node was forgotten, has another address, or this node has another identity.
    Withdrawn,
    /// This node stops.
    Stopped,
    /// Serving a question panicked.
    Panicked,
    /// The map does not have the node any more.
    UnknownNode,
    /// The map has the node under another token.
    StaleNode,
    /// The node is no longer admitted, for another reason.
    NotAdmitted,
}

impl Ending {
    /// All reasons, in the order of their numbers on the wire, which begin with 1.
    pub const ALL: [Self; 19] = [
        Self::HungUp,
        Self::Broken,
        Self::Silent,
        Self::Stalled,
        Self::BadFormat,
        Self::BadFrame,
        Self::TooLong,
        Self::BadChecksum,
        Self::Forged,
        Self::Unasked,
        Self::NotAllowed,
        Self::Flooded,
        Self::Replaced,
        Self::Withdrawn,
        Self::Stopped,
        Self::Panicked,
        Self::UnknownNode,
        Self::StaleNode,
        Self::NotAdmitted,
    ];

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::BadFormat => "bad_format",
            Self::BadFrame => "bad_frame",
            Self::TooLong => "too_long",
            Self::BadChecksum => "bad_checksum",
            Self::Forged => "forged",
            Self::Unasked => "unasked",
            Self::NotAllowed => "not_allowed",
            Self::Flooded => "flooded",
            Self::Replaced => "replaced",
            Self::Withdrawn => "withdrawn",
            Self::Stopped => "stopped",
            Self::Panicked => "panicked",
            Self::UnknownNode => "unknown_node",
            Self::StaleNode => "stale_node",
            Self::NotAdmitted => "not_admitted",
        }
    }

    /// What ends a link to or from a node that is not admitted any more.
    pub(super) const fn refusing(why: Denied) -> Self {
        match why {
            Denied::UnknownNode => Self::UnknownNode,
            Denied::StaleNode => Self::StaleNode,
            _ => Self::NotAdmitted,
        }
    }

    /// What was refused, where it ended for that.
    pub(super) const fn denied(self) -> Option<Denied> {
        match self {
            Self::UnknownNode => Some(Denied::UnknownNode),
            Self::StaleNode => Some(Denied::StaleNode),
            _ => None,
        }
    }

    /// Its number on the wire.
    pub(super) fn number(self) -> u64 {
        self as u64 + 1
    }

    /// The reason with this number.
    pub(super) fn numbered(number: u64) -> Option<Self> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        Self::ALL.get(index).copied()
    }

    /// Whether the other side did what it must not, so that somebody should look.
    pub(super) const fn is_offence(self) -> bool {
        matches!(
            self,
            Self::BadFormat
                | Self::BadFrame
                | Self::TooLong
                | Self::BadChecksum
                | Self::Forged
                | Self::Unasked
                | Self::NotAllowed
                | Self::Flooded
        )
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HungUp => "the other side closed the connection",
            Self::Broken => "the connection failed",
            Self::Silent => "nothing was heard for too long",
            Self::Stalled => "the other side took no byte for too long",
            Self::BadFormat => "a frame of a format that is not known",
            Self::BadFrame => "a frame that is not well-formed",
            Self::TooLong => "a frame that is longer than any may be",
            Self::BadChecksum => "a frame whose checksum does not hold",
            Self::Forged => "a frame that was not made for this place",
            Self::Unasked => "an answer to a question that is not open",
            Self::NotAllowed => "a message that the other side must not send",
            Self::Flooded => "more unanswered questions than are taken",
            Self::Replaced => "the same node opened another link",
            Self::Withdrawn => "the node is no longer known so",
            Self::Stopped => "the node stops",
            Self::Panicked => "serving a question panicked",
            Self::UnknownNode => "the map has no such node any more",
            Self::StaleNode => "the map has the node under another token",
            Self::NotAdmitted => "the node is no longer admitted",
        })
    }
}

/// How often each of some reasons occurred.
#[derive(Debug)]
pub(super) struct Tally<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Tally<N> {
    pub(super) fn count(&self, index: usize) {
        if let Some(counter) = self.0.get(index) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_their_reason() {
        for (index, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending.number(), index as u64 + 1);
            assert_eq!(Ending::numbered(ending.number()), Some(ending));
        }
        assert_eq!(Ending::numbered(0), None);
        assert_eq!(Ending::numbered(20), None);
    }
}
