//! One partition's copy at this node, answering what other nodes and the own coordinator ask.
//!
//! Where a question goes: it takes the partition's lock, `shoal_core::replica` decides and stores,
//! the lock is left, the store becomes durable, the lock is taken once more to look at the epoch,
//! and only then the answer leaves.
//!
//! Holds: floors and marks are durable before the answer that raised them leaves. A question of a
//! newer epoch than is known here waits for the map.
//!
//! Does not know: how questions and answers travel, where maps come from.

use super::life::{Life, Lives};
use super::settle::SettleQueue;
use super::shelf::{EngineShelf, ShelfError};
use parking_lot::Mutex;
use shoal_core::clock::Stamp;
use shoal_core::codec::record::Form;
use shoal_core::ids::{Incarnation, ReplicaIncarnation};
use shoal_core::quorum::{Answer, Ask, Envelope, Member, Owners, Refusal, Reply};
use shoal_core::replica::{Floor, Held, Limits, Now, Replica, Served, Shelf as _};
use shoal_core::slot::Slot;
use shoal_core::{Epoch, NodeId, PartitionId};
use shoal_storage::{Commit, Engine, Patience};
use std::ops::Range;
use std::sync::Arc;

/// How many records are removed at a time when a copy is emptied.
const EMPTIED_AT_ONCE: usize = 256;
/// The most questions that wait for one copy's map; more are refused.
const MOST_WAITING: usize = 1_024;

/// Takes the answer to one question, or hears that there is none: what was done is not known then.
pub(crate) type Tell = Box<dyn FnOnce(Option<Answer>) + Send>;

/// What became of a question.
pub(crate) enum Asked {
    /// It is answered, or will be.
    Taken,
    /// A disk would have to be waited for; nothing was done. Ask again with [`Patience::Block`].
    Cold(Envelope, Tell),
    /// The sender knows a newer map. The question waits here until that is
    /// [adopted](PartitionCopy::adopt).
    Behind,
}

/// Which copy, and where its records are.
pub(crate) struct Place {
    pub(crate) keyspace: Incarnation,
    pub(crate) partition: PartitionId,
    pub(crate) slots: Range<u16>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) form: Form,
    /// Where its life is kept; `None` for a copy in memory.
    pub(crate) lives: Option<Arc<Lives>>,
    pub(crate) settled: Arc<SettleQueue>,
}

/// A partition's copy.
pub(crate) struct PartitionCopy {
    place: Place,
    state: Mutex<State>,
}

struct State {
    replica: Replica,
    /// When what is kept of the copy's life is durable: no answer goes out before.
    kept: Commit,
    /// Questions that wait for a map or for the floors of the others.
    waiting: Vec<Waiting>,
}

/// A question, and who waits for its answer.
pub(crate) type Waiting = (Envelope, Tell);

impl State {
    /// Whether a record has come before this copy is fit to take any, as it will soon be: it comes
    /// in and does not know the floors of the others yet. Refusing would fail a client's write.
    fn must_wait(&self, envelope: &Envelope) -> bool {
        let replica = &self.replica;
        matches!(envelope.ask, Ask::Take { .. })
            && envelope.header.epoch == replica.owners().epoch
            && replica.counts()
            && !replica.takes()
            && self.waiting.len() < MOST_WAITING
    }
}

impl PartitionCopy {
    /// The copy of `me`, in the life that is kept of it; in none where the store is not `trusted`
    /// to have everything that was acknowledged. Blocks.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn open(
        place: Place,
        me: NodeId,
        owners: Arc<Owners>,
        limits: Limits,
        trusted: bool,
    ) -> Result<Self, ShelfError> {
        let kept = match &place.lives {
            Some(lives) if trusted => {
                lives.of(place.keyspace, place.partition)?.unwrap_or_default()
            }
            _ => Life::default(),
        };
        let mut replica = Replica::new(me, place.keyspace, owners, kept.incarnation, limits);
        if kept.floors_known {
            replica.know_floors(kept.floor, kept.purged);
        } else {
            replica.raise_floor(kept.floor);
            replica.raise_purged(kept.purged);
        }
        Ok(Self {
            place,
            state: Mutex::new(State { replica, kept: Commit::DONE, waiting: Vec::new() }),
        })
    }

    /// Begins the life that the present owners name for this copy, without emptying it, unless it
    /// is in one: what is done with a partition that nobody has written to, or that this node alone
    /// has held from the start. Blocks.
    ///
    /// # Errors
    /// The engine's; the copy is in no life then.
    pub(crate) fn found(&self) -> Result<(), ShelfError> {
        let mut state = self.state.lock();
        let me = state.replica.member();
        let owners = state.replica.owners();
        let named = owners.replicas.iter().find(|member| member.node == me.node).copied();
        let Some(member) = named.filter(|_| me.incarnation == ReplicaIncarnation::default()) else {
            return Ok(());
        };
        let mut founded = state.replica.clone();
        founded.begin(member.incarnation);
        founded.know_floors(Floor::ZERO, Floor::ZERO);
        self.keep_at_once(Life::of(&founded))?;
        state.replica = founded;
        Ok(())
    }

    /// Who this copy is.
    pub(crate) fn member(&self) -> Member {
        self.state.lock().replica.member()
    }

    /// The owners under which it acts.
    pub(crate) fn owners(&self) -> Arc<Owners> {
        Arc::clone(self.state.lock().replica.owners())
    }

    /// Whether the map names this node's copy in a life that it is not in.
    pub(crate) fn is_lost(&self) -> bool {
        self.state.lock().replica.is_lost()
    }

    /// Carries a question out; `now` has heard the sender's clock, and `clock` is read again when
    /// the answer leaves.
    pub(crate) fn ask(
        self: &Arc<Self>,
        envelope: Envelope,
        now: Now,
        patience: Patience,
        clock: impl Fn() -> Stamp + Send + 'static,
        tell: Tell,
    ) -> Asked {
        let round = envelope.round;
        let mut state = self.state.lock();
        if state.must_wait(&envelope) {
            state.waiting.push((envelope, tell));
            return Asked::Taken;
        }
        let mut shelf = self.shelf(patience);
        // A floor that cannot be kept must not have risen.
        let mut serving = state.replica.clone();
        let served = serving.serve(&envelope, now, &mut shelf).and_then(|served| {
            let life = Life::of(&serving);
            if life != Life::of(&state.replica)
                && let Some(lives) = &self.place.lives
            {
                let kept = lives.keep(self.place.keyspace, self.place.partition, life)?;
                state.kept = state.kept.join(kept);
            }
            Ok(served)
        });
        let commit = shelf.commit().join(state.kept);
        if served.is_ok() {
            state.replica = serving;
        }
        let answer = |state: &State, clock: Stamp, reply: Reply| Answer {
            from: state.replica.member(),
            epoch: state.replica.owners().epoch,
            round,
            clock,
            reply,
        };
        match served {
            Ok(Served::Held(held)) => {
                drop(state);
                self.hold(held, commit, round, clock, tell);
                Asked::Taken
            }
            Ok(Served::Behind) if state.waiting.len() < MOST_WAITING => {
                state.waiting.push((envelope, tell));
                Asked::Behind
            }
            Err(ShelfError::Cold) => {
                drop(state);
                Asked::Cold(envelope, tell)
            }
            Ok(Served::Refused(refusal)) => {
                let answer = answer(&state, clock(), Reply::Refused(refusal));
                drop(state);
                tell(Some(answer));
                Asked::Taken
            }
            Ok(Served::Behind) | Err(ShelfError::Engine(_)) => {
                let answer = answer(&state, clock(), Reply::Refused(Refusal::Unable));
                drop(state);
                tell(Some(answer));
                Asked::Taken
            }
        }
    }

    /// Keeps an answer back until what it speaks of is durable.
    fn hold(
        self: &Arc<Self>,
        held: Held<()>,
        commit: Commit,
        round: u32,
        clock: impl Fn() -> Stamp + Send + 'static,
        tell: Tell,
    ) {
        let copy = Arc::clone(self);
        self.place.settled.wait(commit, move |settled| {
            if settled.is_err() {
                // It may be there after a restart, so "not done" would be untrue.
                return tell(None);
            }
            let state = copy.state.lock();
            let reply = state.replica.release(held);
            let (from, epoch) = (state.replica.member(), state.replica.owners().epoch);
            drop(state);
            tell(Some(Answer { from, epoch, round, clock: clock(), reply }));
        });
    }

    /// Takes over owners that are durable at this node, and empties the copy first where they
    /// begin another life of it. Hands back the questions that waited for them. Blocks.
    ///
    /// # Errors
    /// The engine's; the owners before hold on.
    pub(crate) fn adopt(&self, owners: &Arc<Owners>) -> Result<Vec<Waiting>, ShelfError> {
        let mut state = self.state.lock();
        if owners.epoch <= state.replica.owners().epoch {
            return Ok(Vec::new());
        }
        if let Some(life) = state.replica.asked_to_begin(owners) {
            // Until it is empty, durably, it is in no life at all.
            state.replica.begin(ReplicaIncarnation::default());
            self.keep_at_once(Life::of(&state.replica))?;
            self.empty()?;
            state.replica.begin(life);
            self.keep_at_once(Life::of(&state.replica))?;
        }
        state.replica.adopt(Arc::clone(owners));
        Ok(std::mem::take(&mut state.waiting))
    }

    /// Takes over the highest floors of every counting member, if the copy still acts under
    /// `epoch`; hands back the questions that waited for them, or `None` where it does not. Blocks.
    ///
    /// # Errors
    /// The engine's; the floors are not known then.
    pub(crate) fn know_floors(
        &self,
        epoch: Epoch,
        floor: Floor,
        purged: Floor,
    ) -> Result<Option<Vec<Waiting>>, ShelfError> {
        let mut state = self.state.lock();
        if state.replica.owners().epoch != epoch {
            return Ok(None);
        }
        let mut knowing = state.replica.clone();
        knowing.know_floors(floor, purged);
        self.keep_at_once(Life::of(&knowing))?;
        state.replica = knowing;
        Ok(Some(std::mem::take(&mut state.waiting)))
    }

    /// Removes everything, once the node is no owner any more; whether it still is none and holds
    /// nothing now. Blocks.
    ///
    /// # Errors
    /// The engine's; some of it may be gone.
    pub(crate) fn forget(&self) -> Result<bool, ShelfError> {
        let mut state = self.state.lock();
        let me = state.replica.member().node;
        if state.replica.owners().has_node(me) {
            return Ok(false);
        }
        state.replica.begin(ReplicaIncarnation::default());
        self.empty()?;
        if let Some(lives) = &self.place.lives {
            lives.forget(self.place.keyspace, self.place.partition)?;
            self.place.engine.sync()?;
        }
        Ok(true)
    }

    fn shelf(&self, patience: Patience) -> EngineShelf<'_> {
        let Place { engine, keyspace, form, .. } = &self.place;
        EngineShelf::new(&**engine, keyspace.0, *form, patience)
    }

    fn keep_at_once(&self, life: Life) -> Result<(), ShelfError> {
        if let Some(lives) = &self.place.lives {
            lives.keep(self.place.keyspace, self.place.partition, life)?;
            self.place.engine.sync()?;
        }
        Ok(())
    }

    /// Removes every record of the partition, durably.
    fn empty(&self) -> Result<(), ShelfError> {
        for slot in self.place.slots.clone().filter_map(Slot::new) {
            loop {
                let mut shelf = self.shelf(Patience::Block);
                let mut keys: Vec<Vec<u8>> = Vec::new();
                shelf.page(slot, None, EMPTIED_AT_ONCE, |key, _| keys.push(key.to_vec()))?;
                if keys.is_empty() {
                    break;
                }
                let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                shelf.remove(slot, &keys)?;
            }
        }
        Ok(self.place.engine.sync()?)
    }
}

#[cfg(test)]
mod tests;
