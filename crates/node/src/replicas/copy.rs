//! One partition's copy at this node, answering what other nodes and the own coordinator ask.
//!
//! Where a question goes: it takes the partition's lock, `shoal_core::replica` decides and stores,
//! the lock is left, the store becomes durable, the lock is taken once more to look at the epoch,
//! and only then the answer leaves.
//!
//! Holds: floors and marks are durable before the answer that raised them leaves. A question of a
//! newer epoch than is known here waits for the map, with an end to its waiting. The copy's lock is
//! not held while a disk is waited for: what only looks does not hold it, what puts has looked
//! before, and a copy is emptied while it is in no life.
//!
//! Does not know: how questions and answers travel, where maps come from.

mod adopting;
mod leaving;
mod waiting;

use super::life::{Life, Lives};
use super::settle::SettleQueue;
use super::shelf::{EngineShelf, ShelfError};
use parking_lot::{Mutex, MutexGuard};
use shoal_core::clock::Stamp;
use shoal_core::codec::record::Form;
use shoal_core::ids::{Incarnation, ReplicaIncarnation};
use shoal_core::quorum::{Answer, Ask, Envelope, Full, Member, Owners, Refusal, Reply};
use shoal_core::repair::Tree;
use shoal_core::replica::{Floor, Held, Limits, Now, Replica, Served, Shelf as _};
use shoal_core::slot::Slot;
use shoal_core::{Epoch, NodeId, PartitionId};
use shoal_storage::{Commit, Engine, EngineError, Patience};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

/// Takes the answer to one question, or hears that there is none: what was done is not known then.
pub(crate) type Tell = Box<dyn FnOnce(Option<Answer>) + Send>;

/// What became of a question.
pub(crate) enum Asked {
    /// It is answered, or will be once the store is durable.
    Taken,
    /// A disk would have to be waited for; nothing was done. Ask again with [`Patience::Block`].
    Cold(Envelope, Tell),
    /// It waits here, until the copy knows the floors of the others, or until it is
    /// [given up](PartitionCopy::give_up).
    Waits,
    /// The same, until a map of at least the question's epoch is
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
    /// Whether records of it go by themselves where there is no room.
    pub(crate) evicts: bool,
    /// Where its life is kept; `None` for a copy in memory.
    pub(crate) lives: Option<Arc<Lives>>,
    pub(crate) settled: Arc<SettleQueue>,
}

/// A partition's copy.
pub(crate) struct PartitionCopy {
    place: Place,
    /// Whether records may go by themselves. Nothing is kept of digests then: nobody tells them.
    evicts: AtomicBool,
    /// The digests that are kept of what it holds. Taken after `state`.
    tree: Mutex<Tree>,
    /// Held by whoever changes the copy's life or its owners, also while a disk is waited for. Taken
    /// before `state`.
    change: Mutex<()>,
    state: Mutex<State>,
}

struct State {
    replica: Replica,
    /// When what is kept of the copy's life is durable: no answer goes out before.
    kept: Commit,
    /// Questions that wait for a map or for the floors of the others, and since when.
    waiting: Vec<(Instant, Waiting)>,
    /// Whether the copy's life of the keyspace is over: no map to come says anything of it.
    is_void: bool,
}

/// A question, and who waits for its answer.
pub(crate) type Waiting = (Envelope, Tell);

/// What came of a question so far.
enum Outcome<'c> {
    /// It was carried out, by whom and under which epoch; what was done, or seen, is to be settled.
    Served(Result<Served<()>, ShelfError>, (Member, Epoch), Commit),
    /// It is to wait, for this.
    Waits(Asked, MutexGuard<'c, State>),
}

/// Who answers, and under which epoch.
fn as_whom(replica: &Replica) -> (Member, Epoch) {
    (replica.member(), replica.owners().epoch)
}

impl State {
    /// Whether a record has come before this copy is fit to take any, as it will soon be: it comes
    /// in and does not know the floors of the others yet. Refusing would fail a client's write.
    fn must_wait(&self, envelope: &Envelope) -> bool {
        let replica = &self.replica;
        matches!(envelope.ask, Ask::Take { .. } | Ask::Batch { .. })
            && envelope.header.epoch == replica.owners().epoch
            && replica.counts()
            && !replica.takes()
    }

    fn refused(&self, envelope: &Envelope, clock: Stamp, refusal: Refusal) -> Answer {
        Answer {
            from: self.replica.member(),
            epoch: self.replica.owners().epoch,
            round: envelope.round,
            clock,
            reply: Reply::Refused(refusal),
        }
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
            Some(lives) => match lives.of(place.keyspace, place.partition)? {
                // Else the next start, after a clean stop, would trust it again.
                Some(_) if !trusted => {
                    lives.keep(place.keyspace, place.partition, Life::LOST)?;
                    Life::LOST
                }
                kept => kept.unwrap_or_default(),
            },
            None => Life::default(),
        };
        let mut replica = Replica::new(me, place.keyspace, owners, kept.incarnation, limits);
        if kept.floors_known {
            replica.know_floors(kept.floor, kept.purged);
        } else {
            replica.raise_floor(kept.floor);
            replica.raise_purged(kept.purged);
        }
        let state = State { replica, kept: Commit::DONE, waiting: Vec::new(), is_void: false };
        let tree = Mutex::new(Tree::new(limits.secret, place.slots.clone()));
        let (evicts, change) = (AtomicBool::new(false), Mutex::default());
        let copy = Self { place, evicts, tree, change, state: Mutex::new(state) };
        if copy.place.evicts {
            copy.begin_to_evict();
        }
        Ok(copy)
    }

    /// Records may go by themselves from now on, for good.
    pub(crate) fn begin_to_evict(&self) {
        self.evicts.store(true, Ordering::Relaxed);
        self.tree.lock().end();
    }

    /// Begins the life that the present owners name for this copy, without emptying it, unless it
    /// is in one: what is done with a partition that nobody has written to, or that this node alone
    /// has held from the start. No answer goes out before that is durable; whoever founds many waits
    /// once, for all of their commits.
    ///
    /// # Errors
    /// The engine's; the copy is in no life then.
    pub(crate) fn found(&self) -> Result<Commit, ShelfError> {
        let _alone = self.change.lock();
        let mut state = self.state.lock();
        let me = state.replica.member();
        let owners = state.replica.owners();
        let named = owners.replicas.iter().find(|member| member.node == me.node).copied();
        let Some(member) = named.filter(|_| me.incarnation == ReplicaIncarnation::default()) else {
            return Ok(state.kept);
        };
        let mut founded = state.replica.clone();
        founded.begin(member.incarnation);
        founded.know_floors(Floor::ZERO, Floor::ZERO);
        self.keep(&mut state, founded)?;
        Ok(state.kept)
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

    /// Whether it is a present owner's, with everything that was acknowledged before any change of
    /// owners under way.
    pub(crate) fn is_present(&self) -> bool {
        self.state.lock().replica.is_present()
    }

    /// The slots of its partition.
    pub(crate) fn slots(&self) -> Range<u16> {
        self.place.slots.clone()
    }

    /// Whether it may take records now, so that changes can be carried out at its node.
    pub(crate) fn takes(&self) -> bool {
        self.state.lock().replica.takes()
    }

    /// Whether there is anything in `slot` that is dead, or will be some day, as far as is known.
    pub(crate) fn may_hold_dead(&self, slot: Slot) -> bool {
        self.tree.lock().mortal(slot).is_none_or(|mortal| mortal > 0)
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
        let outcome = if envelope.ask.only_looks() {
            self.look(&envelope, now, patience)
        } else {
            self.act(&envelope, now, patience)
        };
        let (served, as_whom, commit) = match outcome {
            Outcome::Served(served, as_whom, commit) => (served, as_whom, commit),
            Outcome::Waits(until, state) => {
                return self.keep_waiting(state, until, envelope, clock(), tell);
            }
        };
        let ((from, epoch), round) = (as_whom, envelope.round);
        let refusal = match served {
            Ok(Served::Held(held)) => {
                self.hold(held, commit, round, clock, tell);
                return Asked::Taken;
            }
            Err(ShelfError::Cold) => return Asked::Cold(envelope, tell),
            Ok(Served::Refused(refusal)) => refusal,
            Err(ShelfError::Engine(error)) => match error {
                EngineError::MemoryFull => Refusal::Full(Full::Memory),
                EngineError::DiskFull { .. } => Refusal::Full(Full::Disk),
                _ => Refusal::Unable,
            },
            Ok(Served::Behind) => Refusal::Unable,
        };
        let reply = Reply::Refused(refusal);
        tell(Some(Answer { from, epoch, round, clock: clock(), reply }));
        Asked::Taken
    }

    /// Carries out a question that may change something, holding the copy.
    fn act(&self, envelope: &Envelope, now: Now, patience: Patience) -> Outcome<'_> {
        if patience == Patience::Block {
            self.warm(envelope);
        }
        let mut state = self.state.lock();
        if state.must_wait(envelope) {
            return Outcome::Waits(Asked::Waits, state);
        }
        let mut shelf = self.shelf(patience);
        let served = if envelope.ask.may_raise_floors() {
            // A floor that cannot be kept must not have risen.
            let mut serving = state.replica.clone();
            serving.serve(envelope, now, &mut shelf).and_then(|served| {
                self.keep(&mut state, serving)?;
                Ok(served)
            })
        } else {
            state.replica.serve(envelope, now, &mut shelf)
        };
        if matches!(served, Ok(Served::Behind)) {
            return Outcome::Waits(Asked::Behind, state);
        }
        let commit = shelf.commit().join(state.kept);
        Outcome::Served(served, as_whom(&state.replica), commit)
    }

    /// Carries out a question that only looks, without holding the copy: what is read may be a
    /// moment newer than the floor that it is told with, never older.
    fn look(&self, envelope: &Envelope, now: Now, patience: Patience) -> Outcome<'_> {
        loop {
            let state = self.state.lock();
            let (mut replica, kept) = (state.replica.clone(), state.kept);
            drop(state);
            let mut shelf = self.shelf(patience);
            let served = replica.serve(envelope, now, &mut shelf);
            if !matches!(served, Ok(Served::Behind)) {
                let commit = shelf.commit().join(kept);
                return Outcome::Served(served, as_whom(&replica), commit);
            }
            let state = self.state.lock();
            if state.replica.owners().epoch == replica.owners().epoch {
                return Outcome::Waits(Asked::Behind, state);
            }
        }
    }

    /// Brings what a question will look at into memory, so that the copy is not held while a disk is
    /// waited for. What cannot be read now is found out when it is.
    fn warm(&self, envelope: &Envelope) {
        let shelf = self.shelf(Patience::Block);
        let warm = |key: &[u8]| {
            let _found_out_later = shelf.look(envelope.header.slot, key, |_| ());
        };
        match &envelope.ask {
            Ask::Take { items, .. } => items.iter().for_each(|item| warm(&item.key)),
            Ask::Batch { parts } => parts.iter().for_each(|part| warm(&part.key)),
            Ask::Prove { dead: pairs, .. } | Ask::Purge { proven: pairs, .. } => {
                pairs.iter().for_each(|(key, _)| warm(key));
            }
            _ => {}
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

    fn shelf(&self, patience: Patience) -> EngineShelf<'_> {
        let Place { engine, keyspace, form, .. } = &self.place;
        let evicts = self.evicts.load(Ordering::Relaxed);
        EngineShelf::new(&**engine, keyspace.0, *form, patience, evicts, &self.tree)
    }
}

#[cfg(test)]
mod tests;
