//! Taking in what the present owners of a partition hold: how a member of `next` proves itself.
//!
//! Holds: slot by slot; a proven slot stays proven while the intent stands. What is copied goes
//! through the own copy like any other record.
//!
//! Does not know: whom the proof is reported to.

use crate::coordinator::{Coordinator, Question};
use crate::replicas::PartitionCopy;
use shoal_core::ids::Incarnation;
use shoal_core::movement::{Intake, IntakeEffect};
use shoal_core::quorum::{Answer, Owners};
use shoal_core::slot::Slot;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// After how long without an answer everything that is wanted is asked for again.
const TEND_AFTER: Duration = Duration::from_secs(1);

/// What came of an intake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenIn {
    /// The copy has proven itself under the epoch that it acted under.
    Proven,
    /// The owners changed meanwhile: another proof is wanted, or none.
    Void,
}

/// Takes in every one of `slots`. Waits for sources that do not answer as long as the intent
/// stands.
pub(crate) async fn take_in(
    coordinator: &Arc<Coordinator>,
    copy: &Arc<PartitionCopy>,
    keyspace: Incarnation,
    slots: Range<u16>,
) -> TakenIn {
    let intent = copy.owners();
    for slot in slots.filter_map(Slot::new) {
        if take_in_slot(coordinator, copy, keyspace, slot, &intent).await == TakenIn::Void {
            return TakenIn::Void;
        }
    }
    TakenIn::Proven
}

async fn take_in_slot(
    coordinator: &Arc<Coordinator>,
    copy: &Arc<PartitionCopy>,
    keyspace: Incarnation,
    slot: Slot,
    intent: &Arc<Owners>,
) -> TakenIn {
    let (said, mut heard) = mpsc::unbounded_channel::<Answer>();
    let mut out = Vec::new();
    let mut intake = Intake::start(copy.member(), Arc::clone(intent), &mut out);
    loop {
        for effect in std::mem::take(&mut out) {
            match effect {
                IntakeEffect::Proven => return TakenIn::Proven,
                IntakeEffect::Send { to, round, ask } => {
                    let epoch = intent.epoch;
                    let said = said.clone();
                    let question = Question { to, keyspace, slot, epoch, round, ask };
                    coordinator.ask(question, move |answer| {
                        if let Some(answer) = answer {
                            let _over_already = said.send(answer);
                        }
                    });
                }
                IntakeEffect::KnowFloors { floor, purged } => {
                    // A store that takes nothing now may take it later.
                    let known = loop {
                        let (copy, epoch) = (Arc::clone(copy), intent.epoch);
                        let known = coordinator
                            .blocking()
                            .spawn_blocking(move || copy.know_floors(epoch, floor, purged));
                        match known.await {
                            Ok(Ok(known)) => break known,
                            Ok(Err(_)) | Err(_) => tokio::time::sleep(TEND_AFTER).await,
                        }
                    };
                    let Some(waiting) = known else { return TakenIn::Void };
                    coordinator.ask_again(waiting);
                    intake.floors_known(&mut out);
                }
            }
        }
        if !out.is_empty() {
            continue;
        }
        if copy.owners().epoch != intent.epoch {
            return TakenIn::Void;
        }
        match timeout(TEND_AFTER, heard.recv()).await {
            Ok(Some(answer)) => intake.answered(&answer, &mut out),
            Ok(None) | Err(_) => intake.tend(&mut out),
        }
    }
}
