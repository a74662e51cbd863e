//! Taking in what the present owners of a partition hold: how a member of `next` proves itself.
//!
//! Holds: floors are asked for once, by the first slot; the others follow several at a time, and
//! over all partitions a bounded number of them. Whoever hears nothing gives its place to others
//! until it does. A proven slot stays proven while the intent stands. What is copied goes through
//! the own copy like any other record.
//!
//! Does not know: whom the proof is reported to.

use super::counts::{more, one_more};
use super::talk::{SILENCE, Said, Talk};
use crate::coordinator::Coordinator;
use crate::replicas::PartitionCopy;
use parking_lot::Mutex;
use shoal_core::ids::Incarnation;
use shoal_core::movement::{Intake, IntakeEffect};
use shoal_core::quorum::{Member, Owners, Reply};
use shoal_core::replica::Floor;
use shoal_core::slot::Slot;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How long is waited until what was not answered as wanted is asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often is looked whether the intent still stands.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After how long without a word from any source other copies may come in instead.
const STUCK_AFTER: Duration = Duration::from_secs(2);
/// How many slots of one partition are taken in at a time.
const WINDOW: usize = 8;

/// What came of an intake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenIn {
    /// The copy has proven itself under the epoch that it acted under.
    Proven,
    /// The owners changed meanwhile: another proof is wanted, or none.
    Void,
    /// The map names the copy in a life that it is not in: it proves nothing before it is named
    /// anew.
    Lost,
}

/// One copy that comes in under one intent.
#[derive(Clone)]
struct Incoming {
    coordinator: Arc<Coordinator>,
    copy: Arc<PartitionCopy>,
    keyspace: Incarnation,
    me: Member,
    intent: Arc<Owners>,
    /// When a source was last heard.
    heard_at: Arc<Mutex<Instant>>,
}

/// Takes in every one of `slots`. Waits for sources that do not answer as long as the intent
/// stands, and drops `permit` where they are silent. May be dropped at any time: what was taken
/// stays.
pub(crate) async fn take_in<P>(
    coordinator: &Arc<Coordinator>,
    copy: &Arc<PartitionCopy>,
    keyspace: Incarnation,
    slots: Range<u16>,
    permit: P,
) -> TakenIn {
    let incoming = Incoming {
        coordinator: Arc::clone(coordinator),
        copy: Arc::clone(copy),
        keyspace,
        me: copy.member(),
        intent: copy.owners(),
        heard_at: Arc::new(Mutex::new(Instant::now())),
    };
    let heard_at = Arc::clone(&incoming.heard_at);
    let mut taken = pin!(take_all(incoming, slots));
    let mut permit = Some(permit);
    loop {
        tokio::select! {
            taken = &mut taken => return taken,
            () = sleep(LOOK_EVERY), if permit.is_some() => {
                permit = permit.filter(|_| heard_at.lock().elapsed() < STUCK_AFTER);
            }
        }
    }
}

async fn take_all(incoming: Incoming, slots: Range<u16>) -> TakenIn {
    let Incoming { coordinator, keyspace, .. } = &incoming;
    let all = slots.len();
    let mut slots = slots.filter_map(Slot::new);
    let Some(first) = slots.next() else { return TakenIn::Proven };
    let Some((partition, _)) = coordinator.routes().find(*keyspace, first) else {
        return TakenIn::Void;
    };
    let progress = coordinator.repairs().begin((*keyspace, partition), all);
    match incoming.clone().take(first, true).await {
        TakenIn::Proven => progress.proven(),
        other => return other,
    }
    // What is left of it ends when it is dropped.
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < WINDOW
            && let Some(slot) = slots.next()
        {
            under_way.spawn(incoming.clone().take(slot, false));
        }
        match under_way.join_next().await {
            None => return TakenIn::Proven,
            Some(Ok(TakenIn::Proven)) => progress.proven(),
            Some(Ok(other)) => return other,
            // The runtime ends.
            Some(Err(_)) => return TakenIn::Void,
        }
    }
}

impl Incoming {
    /// Why it is not to go on, if it is not.
    fn is_over(&self) -> Option<TakenIn> {
        if self.copy.owners().epoch != self.intent.epoch {
            return Some(TakenIn::Void);
        }
        if self.intent.next.contains(&self.copy.member()) {
            return None;
        }
        Some(if self.copy.is_lost() { TakenIn::Lost } else { TakenIn::Void })
    }

    async fn take(self, slot: Slot, asks_for_floors: bool) -> TakenIn {
        // Held while there is something to take. Nobody closes it.
        let mut permit = self.coordinator.intakes().acquire().await.ok();
        if let Some(over) = self.is_over() {
            return over;
        }
        let counts = Arc::clone(self.coordinator.repairs());
        let mut talk = Talk::new(&self.coordinator, self.keyspace, self.intent.epoch);
        let mut out = Vec::new();
        let begin = if asks_for_floors { Intake::start } else { Intake::start_below_known_floors };
        let mut intake = begin(self.me, Arc::clone(&self.intent), &mut out);
        let mut heard_at = Instant::now();
        loop {
            for effect in std::mem::take(&mut out) {
                match effect {
                    IntakeEffect::Proven => return TakenIn::Proven,
                    IntakeEffect::Send { to, round, ask } => talk.ask(to, slot, round, ask),
                    IntakeEffect::KnowFloors { floor, purged } => {
                        if let Some(over) = self.know_floors(floor, purged).await {
                            return over;
                        }
                        intake.floors_known(&mut out);
                    }
                }
            }
            if !out.is_empty() {
                continue;
            }
            if talk.under_way() == 0 {
                // Everything is answered, and it was not enough.
                drop(permit.take());
                sleep(AGAIN_AFTER).await;
                heard_at = Instant::now();
                intake.tend(&mut out);
            } else {
                match talk.hear(LOOK_EVERY).await {
                    Said::Answer(answer) => {
                        heard_at = Instant::now();
                        *self.heard_at.lock() = heard_at;
                        if permit.is_none() {
                            permit = self.coordinator.intakes().acquire().await.ok();
                        }
                        if let Reply::Page { items, .. } = &answer.reply {
                            more(&counts.intake_records, items.len());
                        }
                        intake.answered(&answer, &mut out);
                    }
                    Said::Failed => one_more(&counts.intake_failures),
                    Said::Nothing if heard_at.elapsed() > SILENCE => talk.give_up(),
                    // Another may have more to do.
                    Said::Nothing => drop(permit.take()),
                }
            }
            if let Some(over) = self.is_over() {
                return over;
            }
        }
    }

    /// Takes over these floors; why it is not to go on, if it is not.
    async fn know_floors(&self, floor: Floor, purged: Floor) -> Option<TakenIn> {
        loop {
            let (copy, epoch) = (Arc::clone(&self.copy), self.intent.epoch);
            let known = move || copy.know_floors(epoch, floor, purged);
            match self.coordinator.blocking().spawn_blocking(known).await {
                Ok(Ok(Some(waiting))) => {
                    self.coordinator.ask_again(waiting);
                    return None;
                }
                Ok(Ok(None)) => return Some(TakenIn::Void),
                // A store that takes nothing now may take it later.
                Ok(Err(_)) | Err(_) => sleep(AGAIN_AFTER).await,
            }
            if let Some(over) = self.is_over() {
                return Some(over);
            }
        }
    }
}
