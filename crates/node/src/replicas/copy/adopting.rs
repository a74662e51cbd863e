//! How a copy comes to act under other owners, to begin a life, and to end one.
//!
//! Holds: a copy is emptied while it is in no life, and what is kept of its digests is forgotten with
//! what it held.

use super::{PartitionCopy, Place, State, Waiting};
use crate::replicas::ShelfError;
use crate::replicas::life::Life;
use crate::step::counted;
use shoal_core::Epoch;
use shoal_core::ids::ReplicaIncarnation;
use shoal_core::quorum::Owners;
use shoal_core::replica::{Floor, Replica, Shelf as _};
use shoal_core::slot::Slot;
use shoal_storage::{Patience, Tally};
use std::sync::Arc;

/// How many records are removed at a time when a copy is emptied.
const EMPTIED_AT_ONCE: usize = 256;

impl PartitionCopy {
    /// Takes over owners that are durable at this node, and empties the copy first where they
    /// begin another life of it. Hands back the questions that waited for them. Blocks, and holds
    /// nobody else up.
    ///
    /// # Errors
    /// The engine's; the owners before hold on.
    pub(crate) fn adopt(&self, owners: &Arc<Owners>) -> Result<Vec<Waiting>, ShelfError> {
        let _alone = self.change.lock();
        let mut state = self.state.lock();
        if owners.epoch <= state.replica.owners().epoch {
            return Ok(Vec::new());
        }
        if let Some(life) = state.replica.asked_to_go_on(owners) {
            let mut going_on = state.replica.clone();
            going_on.go_on(life);
            self.keep(&mut state, going_on)?;
        } else if let Some(life) = state.replica.asked_to_begin(owners) {
            // Until it is empty, durably, it is in no life at all, and takes nothing.
            state.replica.begin(ReplicaIncarnation::default());
            let none = state.replica.clone();
            self.keep(&mut state, none)?;
            drop(state);
            self.empty()?;
            state = self.state.lock();
            let mut begun = state.replica.clone();
            begun.begin(life);
            self.keep(&mut state, begun)?;
        }
        state.replica.adopt(Arc::clone(owners));
        if owners.nodes().count() == 1 {
            // Whoever is alone may evict, which the digests hear nothing of.
            self.tree.lock().forget(|_| true);
        }
        Ok(self.waited(&mut state))
    }

    /// Takes over the highest floors of every counting member, if the copy still acts under
    /// `epoch`; hands back the questions that waited for them, or `None` where it does not.
    ///
    /// # Errors
    /// The engine's; the floors are not known then.
    pub(crate) fn know_floors(
        &self,
        epoch: Epoch,
        floor: Floor,
        purged: Floor,
    ) -> Result<Option<Vec<Waiting>>, ShelfError> {
        let _alone = self.change.lock();
        let mut state = self.state.lock();
        if state.replica.owners().epoch != epoch {
            return Ok(None);
        }
        let mut knowing = state.replica.clone();
        knowing.know_floors(floor, purged);
        self.keep(&mut state, knowing)?;
        Ok(Some(self.waited(&mut state)))
    }

    /// Removes everything, once the node is no owner any more; whether it still is none and holds
    /// nothing now. Blocks, and holds nobody else up.
    ///
    /// # Errors
    /// The engine's; some of it may be gone.
    pub(crate) fn forget(&self) -> Result<bool, ShelfError> {
        let _alone = self.change.lock();
        let mut state = self.state.lock();
        let me = state.replica.member().node;
        if state.replica.owners().has_node(me) {
            return Ok(false);
        }
        state.replica.begin(ReplicaIncarnation::default());
        drop(state);
        self.empty()?;
        if let Some(lives) = &self.place.lives {
            lives.forget(self.place.keyspace, self.place.partition)?;
            self.place.engine.sync()?;
        }
        Ok(true)
    }

    /// Keeps what must not be forgotten of `next`, and goes on as that. No answer goes out before
    /// it is durable.
    pub(super) fn keep(&self, state: &mut State, next: Replica) -> Result<(), ShelfError> {
        let Place { keyspace, partition, lives, .. } = &self.place;
        let life = Life::of(&next);
        if let Some(lives) = lives {
            // What was given up at once, in memory, is not given up on the disk yet.
            let changed = life != Life::of(&state.replica) || life == Life::default();
            if changed {
                state.kept = state.kept.join(lives.keep(*keyspace, *partition, life)?);
            }
        }
        state.replica = next;
        Ok(())
    }

    /// Removes every record of the partition, durably.
    fn empty(&self) -> Result<(), ShelfError> {
        self.tree.lock().forget(|_| true);
        let emptied = self.remove_all();
        // What was evicted in the life before says nothing of the next.
        self.place.engine.forget_marks(self.place.keyspace.0, self.place.slots.clone());
        // Somebody may have begun to count meanwhile.
        self.tree.lock().forget(|_| true);
        emptied
    }

    fn remove_all(&self) -> Result<(), ShelfError> {
        for slot in self.place.slots.clone().filter_map(Slot::new) {
            loop {
                let shelf = self.shelf(Patience::Block);
                let mut held: Vec<(Vec<u8>, Tally)> = Vec::new();
                shelf.page(slot, None, EMPTIED_AT_ONCE, |key, record| {
                    held.push((key.to_vec(), counted(Some(record))));
                    true
                })?;
                if held.is_empty() {
                    break;
                }
                shelf.clear(slot, &held)?;
            }
        }
        Ok(self.place.engine.sync()?)
    }
}
