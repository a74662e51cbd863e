//! How fast the voters notice and how long they are waited for.

use super::MAX_MESSAGE;
use openraft::{Config, SnapshotPolicy};
use std::time::Duration;

/// How the voters keep time. The same at every node, or nearly so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How often the leader is heard, and how long it waits for one answer. Longer than an
    /// fsync of a slow disk.
    pub heartbeat: Duration,
    /// A voter that has not heard the leader for a random time between these two asks to lead.
    /// The shorter one at least three heartbeats.
    pub election_timeout: (Duration, Duration),
    /// How long a change of the map may take before its proposer is told that it cannot be
    /// made, or is not known to be.
    pub proposal_deadline: Duration,
    /// How long a new voter may take to catch up before it is given up.
    pub catch_up_deadline: Duration,
    /// After how many log entries a snapshot takes their place, and how many entries are kept
    /// for voters that were away for a while. At least 1.
    pub snapshot_every: u64,
    /// How many bytes of a map one message carries; a larger map travels in parts. 1 to 8 MiB.
    pub part_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(200),
            election_timeout: (Duration::from_millis(1_000), Duration::from_millis(2_000)),
            proposal_deadline: Duration::from_secs(5),
            catch_up_deadline: Duration::from_secs(60),
            snapshot_every: 1_024,
            part_bytes: 1 << 20,
        }
    }
}

/// The most that [`Options::part_bytes`] may be.
const MAX_PART: usize = 8 << 20;
const _: () = assert!(MAX_PART < MAX_MESSAGE, "a part fits into a message");

/// How long one part of a snapshot may be under way, the last one with installing it all.
const SNAPSHOT_TIMEOUT_MS: u64 = 20_000;

impl Options {
    /// How long one question to another node may take.
    pub(super) fn call_timeout(&self) -> Duration {
        self.election_timeout.1
    }

    /// The same for openraft, or what is wrong with it.
    pub(super) fn config(&self) -> Result<Config, String> {
        if !(1..=MAX_PART).contains(&self.part_bytes) {
            return Err(format!("a part of a map has 1 to {MAX_PART} bytes"));
        }
        let config = Config {
            cluster_name: "shoal".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_timeout.0),
            election_timeout_max: millis(self.election_timeout.1),
            install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.snapshot_every,
            // A node that comes back after a cut asks before it makes others vote.
            enable_pre_vote: Some(true),
            // Of two copies of a directory that start at once one may take entries before it is
            // found to be too many. The leader brings the other one what it lacks, rather than to
            // fail itself.
            allow_log_reversion: Some(true),
            ..Config::default()
        };
        config.validate().map_err(|error| error.to_string())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
