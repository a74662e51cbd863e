//! What one run is made of, all of it derived from a seed and the family that it belongs to.

mod family;

pub use family::Family;

use fastrand::Rng;
use std::fmt;

/// The set-up of one run. Printed when it fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What everything else, and every roll of the dice in the run, comes from.
    pub seed: u64,
    /// The family of runs that this one belongs to.
    pub family: Family,
    /// How many nodes there are, 3 to 7.
    pub nodes: u32,
    /// How many partitions there are, each with owners of its own: a power of two.
    pub partitions: u16,
    /// How many slots of each partition have keys.
    pub slots: u32,
    /// How many nodes own a partition at first, 1 to 5.
    pub replicas: usize,
    /// How many clients ask, one request at a time each.
    pub clients: usize,
    /// How many requests they make in all, before the calm.
    pub requests: usize,
    /// How many keys they use.
    pub keys: u32,
    /// How likely a message is lost.
    pub loss: f64,
    /// How likely a message arrives twice.
    pub duplicates: f64,
    /// How late a message may be, usually, in milliseconds.
    pub delay_ms: u64,
    /// How likely a message is very late.
    pub stragglers: f64,
    /// How far the nodes' physical clocks are from true time, at most, in milliseconds.
    pub skew_ms: u64,
    /// How long a store takes to become durable, at most, in milliseconds.
    pub sync_ms: u64,
    /// How often a fault happens, on average, in milliseconds; zero for never.
    pub fault_every_ms: u64,
    /// Which kinds of faults there are.
    pub faults: Faults,
    /// Whether the copies are in memory only: a restart loses them.
    pub memory: bool,
    /// Whether replicas compare what they hold. Without it, hints alone must even out what was
    /// not taken in time.
    pub syncs: bool,
    /// How old a dead record is before it may be purged, in milliseconds.
    pub purge_delay_ms: u64,
    /// How much of the work are read-modify-writes.
    pub updates: f64,
    /// How much of the writes carry an expiry.
    pub expiries: f64,
    /// How much of the requests are at a level other than quorum.
    pub other_levels: f64,
    /// How much of the plain writes are batches of keys that share a slot.
    pub batches: f64,
    /// How much of the requests are swaps: batches that depend on what is there.
    pub swaps: f64,
    /// How much of the plain writes carry a time of their own.
    pub events: f64,
    /// How far back such a time may lie, in milliseconds.
    pub event_horizon_ms: u64,
    /// How often something is evicted, on average, in milliseconds; zero for never.
    pub evict_every_ms: u64,
    /// How many hints a node keeps for a partition, at most.
    pub hints: usize,
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Nodes crash and start again.
    pub crashes: bool,
    /// Nodes lose their power just after they have answered.
    pub spite: bool,
    /// Links are cut, one way or both.
    pub cuts: bool,
    /// Physical clocks jump.
    pub clock_steps: bool,
    /// The map raises the partition's epoch.
    pub fences: bool,
    /// The map changes the partition's owners.
    pub moves: bool,
    /// Stores are full for a while, one or all.
    pub full: bool,
}

impl Faults {
    /// Nothing goes wrong but what the network does.
    pub(crate) const NONE: Self = Self {
        crashes: false,
        spite: false,
        cuts: false,
        clock_steps: false,
        fences: false,
        moves: false,
        full: false,
    };
}

impl Options {
    /// The options of the ordinary family that `seed` stands for, with this many requests.
    #[must_use]
    pub fn ordinary(seed: u64, requests: usize) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5104_1000_0000_0001);
        let nodes = rng.u32(3..=7);
        let replicas = *rng.choice([1, 2, 3, 3, 3, 3, 4, 5].iter()).expect("not empty");
        let some = |rng: &mut Rng, odds: f64, most: f64| {
            if rng.f64() < odds { rng.f64() * most } else { 0.0 }
        };
        Self {
            seed,
            family: Family::Ordinary,
            nodes,
            replicas: std::cmp::min(replicas, nodes as usize),
            clients: rng.usize(2..=8),
            requests,
            keys: if rng.u32(0..8) == 0 { 200 } else { rng.u32(1..=12) },
            loss: some(&mut rng, 0.6, 0.1),
            duplicates: some(&mut rng, 0.5, 0.1),
            delay_ms: rng.u64(1..=40),
            stragglers: some(&mut rng, 0.6, 0.05),
            skew_ms: *rng.choice([0, 5, 100, 240].iter()).expect("not empty"),
            sync_ms: *rng.choice([0, 2, 20, 100, 500].iter()).expect("not empty"),
            fault_every_ms: *rng.choice([0, 100, 300, 1_000, 3_000].iter()).expect("not empty"),
            faults: Faults {
                crashes: rng.f64() < 0.6,
                spite: rng.f64() < 0.3,
                cuts: rng.f64() < 0.5,
                clock_steps: rng.f64() < 0.3,
                fences: rng.f64() < 0.4,
                moves: rng.f64() < 0.5,
                full: false,
            },
            memory: rng.f64() < 0.25,
            syncs: true,
            purge_delay_ms: *rng.choice([200, 2_000, 600_000].iter()).expect("not empty"),
            updates: some(&mut rng, 0.5, 0.6),
            expiries: some(&mut rng, 0.4, 0.5),
            other_levels: some(&mut rng, 0.3, 0.3),
            partitions: *rng.choice([1, 1, 2].iter()).expect("not empty"),
            slots: *rng.choice([1, 1, 2, 4].iter()).expect("not empty"),
            batches: some(&mut rng, 0.4, 0.5),
            swaps: 0.0,
            events: some(&mut rng, 0.2, 0.4),
            event_horizon_ms: *rng.choice([3_000, 604_800_000].iter()).expect("not empty"),
            evict_every_ms: 0,
            hints: *rng.choice([6, 10_000, 10_000].iter()).expect("not empty"),
        }
    }
}

impl Options {
    /// Whether keys are evicted: what was written may be missed at any moment.
    #[must_use]
    pub const fn evicts(&self) -> bool {
        self.evict_every_ms > 0
    }

    /// The command that makes this run again.
    #[must_use]
    pub fn replay(&self) -> String {
        let Self { seed, requests, family, .. } = self;
        format!(
            "cargo run --profile checked -p shoal-sim -- --kind {} --replay {seed} --requests {requests}",
            family.name()
        )
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
