//! The network between the nodes: it loses, delays, repeats and reorders messages, and is cut.

use crate::options::Options;
use fastrand::Rng;
use shoal_core::NodeId;
use std::collections::BTreeSet;

/// How long a very late message takes, at most, in milliseconds.
const STRAGGLE_MS: u64 = 20_000;

/// The links between all nodes, each way by itself.
#[derive(Debug)]
pub(crate) struct Network {
    loss: f64,
    duplicates: f64,
    delay_ms: u64,
    stragglers: f64,
    cut: BTreeSet<(NodeId, NodeId)>,
}

impl Network {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            loss: options.loss,
            duplicates: options.duplicates,
            delay_ms: options.delay_ms,
            stragglers: options.stragglers,
            cut: BTreeSet::new(),
        }
    }

    /// When copies of a message arrive, in milliseconds from now; none if it is lost.
    pub(crate) fn carry(&self, from: NodeId, to: NodeId, rng: &mut Rng) -> Vec<u64> {
        if from == to {
            return vec![0];
        }
        if self.cut.contains(&(from, to)) || rng.f64() < self.loss {
            return Vec::new();
        }
        let mut arrivals = vec![self.delay(rng)];
        if rng.f64() < self.duplicates {
            arrivals.push(self.delay(rng));
        }
        arrivals
    }

    fn delay(&self, rng: &mut Rng) -> u64 {
        if rng.f64() < self.stragglers {
            rng.u64(0..=STRAGGLE_MS)
        } else {
            rng.u64(0..=self.delay_ms)
        }
    }

    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    /// Every link works again, as well as it ever did.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Every link works perfectly from now on.
    pub(crate) fn calm(&mut self) {
        self.heal();
        self.loss = 0.0;
        self.duplicates = 0.0;
        self.stragglers = 0.0;
    }
}
