//! Delivering hints: records that owners did not take in time.

use crate::coordinator::{Coordinator, Question};
use shoal_core::PartitionId;
use shoal_core::ids::Incarnation;
use shoal_core::quorum::{Refusal, Reply};
use shoal_core::repair::Delivery;
use shoal_core::slot::Slot;
use std::sync::Arc;
use std::time::Duration;

/// How often hints are looked through.
const EVERY: Duration = Duration::from_secs(1);
/// The most hints of one partition that are delivered each time.
const AT_ONCE: usize = 64;

/// Delivers the hints that `coordinator` keeps, for ever.
pub(crate) async fn deliver_hints(coordinator: Arc<Coordinator>) {
    loop {
        tokio::time::sleep(EVERY).await;
        for (keyspace, partition) in coordinator.hinted() {
            for delivery in coordinator.deliveries(keyspace, partition, AT_ONCE) {
                deliver(&coordinator, keyspace, partition, delivery).await;
            }
        }
    }
}

async fn deliver(
    coordinator: &Arc<Coordinator>,
    keyspace: Incarnation,
    partition: PartitionId,
    delivery: Delivery,
) {
    let slot = Slot::of(&delivery.key);
    let Some((_, owners)) = coordinator.routes().find(keyspace, slot) else { return };
    let (to, ask, epoch) = (delivery.to, delivery.ask.clone(), owners.epoch);
    let question = Question { to, keyspace, slot, epoch, round: 0, ask };
    let Some(answer) = coordinator.answer(question).await else { return };
    coordinator.hint_answered(keyspace, partition, &delivery, &answer);
    if answer.reply == Reply::Refused(Refusal::Stale) {
        coordinator.need_map(epoch);
    }
}
