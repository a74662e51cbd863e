//! Families of runs: the ordinary one, in which everything may happen, and those that are bent
//! towards one kind of harm.

use super::{Faults, Options};

/// A family of runs. A seed stands for one run of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Everything may happen.
    Ordinary,
    /// Three owners that lose their power just after they have spoken, one key, and slow disks:
    /// where what is said too early does the most harm.
    Spiteful,
    /// Much dies, is purged soon, and old messages turn up late: where the dead come back, if
    /// they can.
    Mortal,
    /// Messages are lost, nobody crashes and nobody compares: what an owner did not take in time
    /// comes to it by hints, or never.
    Hinting,
    /// Most writes are batches that meet single writes: where one could be taken in part.
    Batching,
    /// Most writes carry times of their own, and what dies is purged soon.
    Eventful,
    /// Much of what is asked depends on several keys of one slot, and is changed as one, while
    /// others write the same keys.
    Swapping,
    /// Two partitions of several slots that move, purge and compare beside each other.
    Divided,
    /// In memory, and any owner evicts any value at any moment.
    Evicting,
    /// Stores are full again and again, here or everywhere, and say so.
    Cramped,
}

impl Family {
    /// Every family there is.
    pub const ALL: [Self; 10] = [
        Self::Ordinary,
        Self::Mortal,
        Self::Hinting,
        Self::Spiteful,
        Self::Batching,
        Self::Swapping,
        Self::Eventful,
        Self::Divided,
        Self::Evicting,
        Self::Cramped,
    ];

    /// The family's name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Spiteful => "spiteful",
            Self::Mortal => "mortal",
            Self::Hinting => "hinting",
            Self::Batching => "batching",
            Self::Swapping => "swapping",
            Self::Eventful => "eventful",
            Self::Divided => "divided",
            Self::Evicting => "evicting",
            Self::Cramped => "cramped",
        }
    }

    /// The family of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// The family that `seed` is run in where all of them take turns: every fourth seed is an
    /// ordinary one.
    #[must_use]
    pub const fn of_seed(seed: u64) -> Self {
        match seed % 12 {
            1 => Self::Hinting,
            2 => Self::Swapping,
            3 => Self::Mortal,
            5 => Self::Spiteful,
            7 => Self::Batching,
            9 => Self::Eventful,
            6 => Self::Evicting,
            10 => Self::Cramped,
            11 => Self::Divided,
            _ => Self::Ordinary,
        }
    }

    /// The run that `seed` stands for in this family, with this many requests.
    #[must_use]
    pub fn run_of(self, seed: u64, requests: usize) -> Options {
        let mut options = Options::ordinary(seed, requests);
        options.family = self;
        match self {
            Self::Ordinary => {}
            Self::Spiteful => spite(&mut options),
            Self::Mortal => kill_much(&mut options),
            Self::Hinting => lose_much(&mut options),
            Self::Batching => batch(&mut options),
            Self::Swapping => swap(&mut options),
            Self::Eventful => tell_times(&mut options),
            Self::Divided => divide(&mut options),
            Self::Evicting => evict(&mut options),
            Self::Cramped => cramp(&mut options),
        }
        options
    }
}

const fn plain(options: &mut Options) {
    options.partitions = 1;
    options.slots = 1;
    options.batches = 0.0;
    options.events = 0.0;
    options.hints = 10_000;
    options.memory = false;
}

const fn spite(options: &mut Options) {
    plain(options);
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
    options.fault_every_ms = 0;
    options.faults = Faults { crashes: true, spite: true, cuts: true, ..Faults::NONE };
}

const fn kill_much(options: &mut Options) {
    plain(options);
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
    options.fault_every_ms = 3_000;
    options.faults = Faults { crashes: true, cuts: true, ..Faults::NONE };
}

const fn lose_much(options: &mut Options) {
    options.replicas = 3;
    options.loss = 0.2;
    options.memory = false;
    options.syncs = false;
    options.hints = 10_000;
    options.other_levels = 0.0;
    // A hint that lies below a floor is left to comparison.
    options.purge_delay_ms = 3_600_000;
    options.fault_every_ms = 1_000;
    // What an executor's own copy stored and was fenced before it was durable becomes no hint.
    let fences = options.updates == 0.0;
    options.faults = Faults { cuts: true, fences, ..Faults::NONE };
}

fn batch(options: &mut Options) {
    options.keys = 4 * options.slots * u32::from(options.partitions);
    options.batches = 0.7;
    options.updates = 0.0;
    options.expiries = 0.0;
    options.events = 0.0;
    options.memory = false;
    // What was purged cannot be told from what never was.
    options.purge_delay_ms = 3_600_000;
    options.hints = 10_000;
    options.faults.moves = false;
}

const fn swap(options: &mut Options) {
    options.keys = 3 * options.slots * (options.partitions as u32);
    options.swaps = 0.5;
    if options.replicas < 3 {
        options.replicas = 3;
    }
    options.updates = 0.0;
    // A third of the runs keep one executor, as far as crashes let them.
    if options.seed.is_multiple_of(3) {
        options.faults.cuts = false;
        options.faults.moves = false;
    }
}

const fn tell_times(options: &mut Options) {
    options.partitions = 1;
    options.slots = 1;
    options.replicas = 3;
    options.keys = 3;
    options.events = 0.8;
    options.event_horizon_ms = 4_000;
    options.purge_delay_ms = 200;
    options.updates = 0.1;
    options.expiries = 0.1;
    options.batches = 0.0;
    options.memory = false;
    options.fault_every_ms = 3_000;
    // Clocks that were restarted are ahead of physical time by right.
    let restarts = options.seed.is_multiple_of(2);
    options.faults = Faults {
        cuts: true,
        fences: true,
        crashes: restarts,
        clock_steps: restarts,
        ..Faults::NONE
    };
}

const fn divide(options: &mut Options) {
    options.partitions = 2;
    if options.slots < 2 {
        options.slots = 3;
    }
    options.keys = 12;
    options.purge_delay_ms = 200;
    if options.fault_every_ms == 0 {
        options.fault_every_ms = 1_000;
    }
    options.faults.moves = true;
}

fn cramp(options: &mut Options) {
    // A message arrives once or not at all, as it does over a link: else what everybody has refused
    // may be taken later.
    options.duplicates = 0.0;
    options.keys = options.keys.min(12);
    options.swaps = if options.seed.is_multiple_of(3) { 0.3 } else { 0.0 };
    options.fault_every_ms = 300;
    let moves = options.seed.is_multiple_of(2);
    options.faults = Faults { cuts: true, fences: true, full: true, moves, ..Faults::NONE };
}

fn evict(options: &mut Options) {
    options.memory = true;
    options.events = 0.0;
    options.replicas = options.replicas.max(3);
    options.nodes = options.nodes.max(4);
    options.keys = options.keys.min(12);
    options.purge_delay_ms = options.purge_delay_ms.min(2_000);
    options.evict_every_ms = match options.seed % 4 {
        0 => 5,
        1 => 20,
        2 => 60,
        _ => 200,
    };
    if options.fault_every_ms == 0 {
        options.fault_every_ms = 1_000;
    }
    if options.seed.is_multiple_of(2) {
        // Old values stay where newer ones did not come, until owners come and go.
        options.loss = options.loss.max(0.05);
        options.hints = 6;
        options.keys = 12;
    }
    if options.seed.is_multiple_of(3) {
        options.swaps = 0.3;
    }
    let moves = options.faults.moves || options.seed.is_multiple_of(2);
    options.faults = Faults { crashes: true, cuts: true, moves, ..options.faults };
}
