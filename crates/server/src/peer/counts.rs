//! What is counted over all links, by reason.
//!
//! Does not know: which peer it was.

use super::ending::{Ending, Tally};
use super::link::End;
use super::meet::NoLink;
use shoal_node::transport::Denied;

/// What was counted over all links since the start. Each reason has its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCounts {
    /// Why links ended that had been up, in both directions.
    pub ended: Vec<(Ending, u64)>,
    /// Why this node refused others, whoever dialled.
    pub refused: Vec<(Denied, u64)>,
    /// Why others refused this node, whoever dialled.
    pub refused_by_others: Vec<(Denied, u64)>,
    /// Handshakes that were none.
    pub garbled: u64,
    /// Connections and handshakes that took too long.
    pub late: u64,
    /// Connections that could not be made, or broke in the handshake.
    pub broken: u64,
}

impl PeerCounts {
    /// How often links ended for this reason.
    #[must_use]
    pub fn ended(&self, why: Ending) -> u64 {
        find(&self.ended, why)
    }

    /// How often this node refused others for this reason.
    #[must_use]
    pub fn refused(&self, why: Denied) -> u64 {
        find(&self.refused, why)
    }

    /// How often others refused this node for this reason.
    #[must_use]
    pub fn refused_by_others(&self, why: Denied) -> u64 {
        find(&self.refused_by_others, why)
    }
}

fn find<T: Copy + PartialEq>(counts: &[(T, u64)], why: T) -> u64 {
    counts.iter().find(|(one, _)| *one == why).map_or(0, |(_, count)| *count)
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    ended: Tally<{ Ending::ALL.len() }>,
    refused: Tally<{ Denied::ALL.len() }>,
    refused_by_others: Tally<{ Denied::ALL.len() }>,
    /// Garbled, late, broken.
    failed: Tally<3>,
}

impl Counts {
    pub(super) fn ended(&self, end: End) {
        self.ended.count(end.why as usize);
    }

    pub(super) fn no_link(&self, why: &NoLink) {
        match why {
            NoLink::Refused(why) => self.refused.count(*why as usize),
            NoLink::Told(why) => self.refused_by_others.count(*why as usize),
            NoLink::Foreign | NoLink::Garbled => self.failed.count(0),
            NoLink::Late => self.failed.count(1),
            NoLink::Io(_) => self.failed.count(2),
        }
    }

    pub(super) fn read(&self) -> PeerCounts {
        let denied = |tally: &Tally<{ Denied::ALL.len() }>| {
            Denied::ALL.into_iter().map(|why| (why, tally.read(why as usize))).collect()
        };
        let ended = Ending::ALL.into_iter().map(|why| (why, self.ended.read(why as usize)));
        PeerCounts {
            ended: ended.collect(),
            refused: denied(&self.refused),
            refused_by_others: denied(&self.refused_by_others),
            garbled: self.failed.read(0),
            late: self.failed.read(1),
            broken: self.failed.read(2),
        }
    }
}
