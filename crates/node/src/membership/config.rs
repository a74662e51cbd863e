//! How eagerly members watch each other.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// How often a piece of news is passed on by one member. Ten suffice for hundreds of members; a
/// small cluster needs as many for want of members who could hear it twice.
const TRANSMISSIONS: NonZeroU8 = NonZeroU8::new(12).expect("12 is not 0");

/// No time may be shorter.
const LEAST: Duration = Duration::from_millis(1);

/// Times and bounds of membership. The defaults are for one data centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Every so often one member is asked whether it is there. It is suspected if by the next
    /// time neither it nor anybody who asked on our behalf has answered.
    pub probe_period: Duration,
    /// After so long without an answer others are asked to ask. Less than the period.
    pub probe_patience: Duration,
    /// How many others are asked to ask.
    pub probe_helpers: NonZeroUsize,
    /// How long a suspected member has to object before it is declared down, in a cluster of up
    /// to ten; grows with the logarithm of the number of members.
    pub suspicion: Duration,
    /// While there is news it is passed on this often, to as many members as there are helpers.
    pub gossip_period: Duration,
    /// How often members that are down are asked whether they are back.
    pub reach_period: Duration,
    /// The most members that are kept in mind, dead ones included.
    pub max_members: NonZeroUsize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_secs(1),
            probe_patience: Duration::from_millis(400),
            probe_helpers: NonZeroUsize::new(3).expect("3 is not 0"),
            suspicion: Duration::from_secs(2),
            gossip_period: Duration::from_millis(200),
            reach_period: Duration::from_secs(3),
            // Twice the largest cluster that is planned for, since the dead count too.
            max_members: NonZeroUsize::new(2_048).expect("2,048 is not 0"),
        }
    }
}

/// Why a [`Config`] makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A time is shorter than the grain of any timer.
    #[error("membership: {0} must be at least a millisecond")]
    TooShort(&'static str),
    /// Others must be asked while there is still time to answer.
    #[error("membership: probe_patience must be less than probe_period")]
    Impatient,
}

impl Config {
    /// Whether the times make sense together.
    ///
    /// # Errors
    ///
    /// What does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (name, time) in [
            ("probe_period", self.probe_period),
            ("probe_patience", self.probe_patience),
            ("suspicion", self.suspicion),
            ("gossip_period", self.gossip_period),
            ("reach_period", self.reach_period),
        ] {
            if time < LEAST {
                return Err(ConfigError::TooShort(name));
            }
        }
        if self.probe_patience < self.probe_period { Ok(()) } else { Err(ConfigError::Impatient) }
    }

    /// How long a suspected member has to object among `members`: news needs a number of rounds
    /// that grows with the logarithm of their number.
    pub(super) fn suspicion_among(&self, members: usize) -> Duration {
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        self.suspicion.mul_f64(f64::from(members).log10().max(1.0))
    }

    /// What foca is told.
    pub(super) fn swim(&self, members: usize) -> foca::Config {
        foca::Config {
            probe_period: self.probe_period,
            probe_rtt: self.probe_patience,
            num_indirect_probes: self.probe_helpers,
            max_transmissions: TRANSMISSIONS,
            suspect_to_down_after: self.suspicion_among(members),
            // The dead are forgotten when the map forgets them: an old datagram of one must not
            // bring it back.
            remove_down_after: None,
            max_packet_size: MAX_BODY,
            notify_down_members: true,
            periodic_announce: None,
            // Done here instead, since foca stops asking once it has nobody left at all.
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(foca::PeriodicParams {
                frequency: self.gossip_period,
                num_members: self.probe_helpers,
            }),
        }
    }
}

const MAX_BODY: NonZeroUsize =
    NonZeroUsize::new(super::datagram::MAX_BODY).expect("a datagram has room for a body");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Config::default().check(), Ok(()));
        let zero = Config { gossip_period: Duration::ZERO, ..Config::default() };
        assert_eq!(zero.check(), Err(ConfigError::TooShort("gossip_period")));
        let second = Duration::from_secs(1);
        let hasty = Config { probe_patience: second, ..Config::default() };
        assert_eq!(hasty.check(), Err(ConfigError::Impatient));
    }

    #[test]
    fn many_members_have_longer_to_object() {
        let config = Config::default();
        let among = [0, 3, 10, 100, 1_000].map(|members| config.suspicion_among(members).as_secs());
        assert_eq!(among, [2, 2, 2, 4, 6]);
    }
}
