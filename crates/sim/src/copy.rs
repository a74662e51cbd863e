//! What a node has of one partition: its replica, hints, and the jobs that look after them.

use crate::node::{KEYSPACE, OpId};
use crate::options::Options;
use crate::shelf::SECRET;
use shoal_core::clock::MAX_SKEW_MS;
use shoal_core::movement::Intake;
use shoal_core::quorum::Owners;
use shoal_core::repair::{Hints, Purge, Sync};
use shoal_core::replica::{Limits, Replica};
use shoal_core::{NodeId, ReplicaIncarnation, Slot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something that goes on by itself in one slot.
#[derive(Debug)]
pub(crate) struct Errand<M> {
    /// The number that its questions carry.
    pub(crate) id: OpId,
    pub(crate) slot: Slot,
    /// When it began, in milliseconds of the run.
    pub(crate) began_ms: u64,
    pub(crate) machine: M,
}

/// Which of a copy's jobs a question belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    Intake(Slot),
    Sync,
    Purge,
}

#[derive(Debug)]
pub(crate) struct SimCopy {
    pub(crate) replica: Replica,
    pub(crate) hints: Hints,
    /// Its proofs as a member of `next`, slot by slot.
    pub(crate) intakes: BTreeMap<Slot, Errand<Intake>>,
    /// A comparison with another replica.
    pub(crate) sync: Option<Errand<Sync>>,
    /// A round of purge.
    pub(crate) purge: Option<Errand<Purge>>,
}

impl SimCopy {
    pub(crate) fn new(id: NodeId, owners: &Arc<Owners>, options: &Options) -> Self {
        let incarnation = ReplicaIncarnation(u64::from(owners.has_node(id)));
        let limits = Limits {
            max_skew_ms: MAX_SKEW_MS,
            event_horizon_ms: options.event_horizon_ms,
            secret: SECRET,
        };
        let replica = Replica::new(id, KEYSPACE, Arc::clone(owners), incarnation, limits);
        let hints = Hints::bounded(options.hints);
        Self { replica, hints, intakes: BTreeMap::new(), sync: None, purge: None }
    }

    pub(crate) fn job(&self, id: OpId) -> Option<Job> {
        if let Some((slot, _)) = self.intakes.iter().find(|(_, intake)| intake.id == id) {
            return Some(Job::Intake(*slot));
        }
        if self.sync.as_ref().is_some_and(|sync| sync.id == id) {
            return Some(Job::Sync);
        }
        self.purge.as_ref().is_some_and(|purge| purge.id == id).then_some(Job::Purge)
    }
}
