//! What membership counts.
//!
//! Holds: every datagram that comes in is counted once as received, and once more under the
//! reason for which it was dropped, if it was.

/// Why a datagram was dropped. None of these is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Longer than any datagram of ours.
    Oversized,
    /// Shorter than an envelope.
    Truncated,
    /// Of a form that this release does not speak.
    Version,
    /// From another cluster.
    Cluster,
    /// Not made with this cluster's secret, or damaged on the way.
    Tag,
    /// From beyond this machine, while the cluster has no secret.
    NotLoopback,
    /// Proven, but not to be understood.
    Malformed,
    /// From this node itself, or from an earlier life of it.
    Own,
    /// From an earlier life of a member.
    Stale,
    /// From a node that the map does not have.
    Stranger,
    /// From somebody new while there is no room for more.
    Full,
}

impl Refused {
    /// All reasons, in the order in which they are counted.
    pub const ALL: [Self; 11] = [
        Self::Oversized,
        Self::Truncated,
        Self::Version,
        Self::Cluster,
        Self::Tag,
        Self::NotLoopback,
        Self::Malformed,
        Self::Own,
        Self::Stale,
        Self::Stranger,
        Self::Full,
    ];

    /// The reason as a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Truncated => "truncated",
            Self::Version => "version",
            Self::Cluster => "cluster",
            Self::Tag => "tag",
            Self::NotLoopback => "not_loopback",
            Self::Malformed => "malformed",
            Self::Own => "own",
            Self::Stale => "stale",
            Self::Stranger => "stranger",
            Self::Full => "full",
        }
    }
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams that came in.
    pub received: u64,
    /// Datagrams that went out.
    pub sent: u64,
    /// How often this node came back after the others had declared it down.
    pub rejoined: u64,
    /// How often a decision was put off because this node itself had been late.
    pub postponed: u64,
    /// How often somebody's word that a member is down was not believed before the member had
    /// been asked itself, because it had not been suspected.
    pub doubted: u64,
    /// How often news of a member was not listened to because there was no room for more.
    pub crowded: u64,
    /// How often the protocol took exception to what it was given, such as a message that only
    /// makes sense from somebody else.
    pub exceptions: u64,
    refused: [u64; Refused::ALL.len()],
}

impl Stats {
    /// How many datagrams were dropped for this reason.
    #[must_use]
    pub const fn refused(&self, reason: Refused) -> u64 {
        self.refused[reason as usize]
    }

    pub(super) const fn count(&mut self, reason: Refused) {
        self.refused[reason as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_counter() {
        let mut stats = Stats::default();
        for (at, reason) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
            stats.count(reason);
            assert_eq!(stats.refused(reason), 1, "{}", reason.name());
        }
    }
}
