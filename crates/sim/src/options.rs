//! What one run is made of, all of it derived from a seed.

use fastrand::Rng;
use std::fmt;

/// The set-up of one run. Printed when it fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What everything else, and every roll of the dice in the run, comes from.
    pub seed: u64,
    /// How many nodes there are, 3 to 7.
    pub nodes: u32,
    /// How many of them own the partition, 1 to 5.
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
}

impl Faults {
    /// Nothing goes wrong but what the network does.
    const NONE: Self = Self {
        crashes: false,
        spite: false,
        cuts: false,
        clock_steps: false,
        fences: false,
        moves: false,
    };
}

impl Options {
    /// The options that `seed` stands for, with this many requests.
    #[must_use]
    pub fn from_seed(seed: u64, requests: usize) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5104_1000_0000_0001);
        let nodes = rng.u32(3..=7);
        let replicas = *rng.choice([1, 2, 3, 3, 3, 3, 4, 5].iter()).expect("not empty");
        let some = |rng: &mut Rng, odds: f64, most: f64| {
            if rng.f64() < odds { rng.f64() * most } else { 0.0 }
        };
        Self {
            seed,
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
            },
            memory: rng.f64() < 0.25,
            syncs: true,
            purge_delay_ms: *rng.choice([200, 2_000, 600_000].iter()).expect("not empty"),
            updates: some(&mut rng, 0.5, 0.6),
            expiries: some(&mut rng, 0.4, 0.5),
            other_levels: some(&mut rng, 0.3, 0.3),
        }
    }

    /// Three owners that lose their power just after they have spoken, one key, and slow disks:
    /// where what is said too early does the most harm.
    #[must_use]
    pub fn spiteful(seed: u64, requests: usize) -> Self {
        let mut options = Self::from_seed(seed, requests);
        options.nodes = 3;
        options.replicas = 3;
        options.clients = 8;
        options.keys = 1;
        options.loss = 0.3;
        options.delay_ms = 10;
        options.stragglers = 0.1;
        options.expiries = 0.0;
        options.other_levels = 0.0;
        options.sync_ms = 500;
        options.skew_ms = 240;
        options.updates = 0.0;
        options.memory = false;
        options.fault_every_ms = 0;
        options.faults = Faults { crashes: true, spite: true, cuts: true, ..Faults::NONE };
        options
    }

    /// Much dies, is purged soon, and old messages turn up late: where the dead come back, if they
    /// can.
    #[must_use]
    pub fn mortal(seed: u64, requests: usize) -> Self {
        let mut options = Self::from_seed(seed, requests);
        options.replicas = 3;
        options.keys = 3;
        options.loss = 0.0;
        options.duplicates = 0.2;
        options.stragglers = 0.1;
        options.skew_ms = 240;
        options.sync_ms = 20;
        options.purge_delay_ms = 200;
        options.expiries = 0.6;
        options.updates = 0.1;
        options.other_levels = 0.0;
        options.memory = false;
        options.fault_every_ms = 3_000;
        options.faults = Faults { crashes: true, cuts: true, ..Faults::NONE };
        options
    }

    /// Messages are lost, nobody crashes and nobody compares: what an owner did not take in time
    /// comes to it by hints, or never.
    #[must_use]
    pub fn hinting(seed: u64, requests: usize) -> Self {
        let mut options = Self::from_seed(seed, requests);
        options.replicas = 3;
        options.loss = 0.2;
        options.memory = false;
        options.syncs = false;
        options.other_levels = 0.0;
        options.purge_delay_ms = 600_000;
        options.fault_every_ms = 1_000;
        options.faults = Faults { cuts: true, fences: true, ..Faults::NONE };
        options
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
