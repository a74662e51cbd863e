//! Delivering hints: records that owners did not take in time.
//!
//! Holds: a node that came back is sent a bounded number of hints at a time, and all nodes together
//! a bounded number in a second, so that hints leave room for what clients ask. One that does not
//! answer, or refuses, is left alone for longer and longer, and costs the others nothing.

use super::{Options, rest};
use crate::coordinator::{Coordinator, Question};
use parking_lot::Mutex;
use shoal_core::ids::Incarnation;
use shoal_core::quorum::{Refusal, Reply};
use shoal_core::repair::Delivery;
use shoal_core::slot::Slot;
use shoal_core::{NodeId, PartitionId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often hints are looked for where there are none.
const EVERY: Duration = Duration::from_secs(1);
/// How often some are delivered while there are.
const TURN: Duration = Duration::from_millis(100);
/// How many turns make a second.
const TURNS_PER_SECOND: usize = 10;
/// How many are on their way to one node, at most: with a turn ten times a second, ten times as
/// many in a second.
const WINDOW: usize = 256;
/// How many of one partition are begun together.
const AT_ONCE: usize = 16;
/// After how many bytes a turn ends: 16 MiB in a second.
const TURN_BYTES: usize = (16 << 20) / TURNS_PER_SECOND;
/// How long a node is left alone after a failure, at first.
const BACK_OFF: Duration = Duration::from_secs(1);
/// And at most.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// A partition in one life of its keyspace.
type Place = (Incarnation, PartitionId);

/// Who is to be left alone, and what is on its way.
#[derive(Default)]
struct Pace(Mutex<State>);

#[derive(Default)]
struct State {
    under_way: BTreeMap<NodeId, usize>,
    /// Nodes that did not answer, or refused for one partition.
    back_offs: BTreeMap<(NodeId, Option<Place>), BackOff>,
}

struct BackOff {
    until: Instant,
    step: Duration,
}

impl Pace {
    /// Whether one more may be sent; it counts as sent then.
    fn admit(&self, to: NodeId, place: Place) -> bool {
        let mut state = self.0.lock();
        let now = Instant::now();
        let rests = [None, Some(place)].into_iter().any(|place| {
            state.back_offs.get(&(to, place)).is_some_and(|back_off| now < back_off.until)
        });
        let under_way = state.under_way.entry(to).or_default();
        let admits = !rests && *under_way < WINDOW;
        *under_way += usize::from(admits);
        admits
    }

    /// What was sent is answered: well, or not.
    fn answered(&self, to: NodeId, place: Place, is_well: bool, is_silent: bool) {
        let mut state = self.0.lock();
        if let Some(under_way) = state.under_way.get_mut(&to) {
            *under_way = under_way.saturating_sub(1);
        }
        if !is_silent {
            state.back_offs.remove(&(to, None));
        }
        if is_well {
            state.back_offs.remove(&(to, Some(place)));
            return;
        }
        let now = Instant::now();
        let back_off = state
            .back_offs
            .entry((to, Some(place).filter(|_| !is_silent)))
            .or_insert(BackOff { until: now, step: BACK_OFF });
        // Of several that failed together one counts.
        if now >= back_off.until {
            back_off.until = now + back_off.step;
            back_off.step = (back_off.step * 2).min(LONGEST_BACK_OFF);
        }
    }

    /// Forgets what was about partitions that nothing is kept for any more.
    fn retain(&self, places: &[Place]) {
        let keeps =
            |place: &Option<Place>| place.is_none_or(|place| places.binary_search(&place).is_ok());
        self.0.lock().back_offs.retain(|(_, place), _| keeps(place));
    }
}

/// Delivers the hints that `coordinator` keeps, until `stop` turns true.
pub(super) async fn run(
    coordinator: Arc<Coordinator>,
    mut stop: watch::Receiver<bool>,
    options: Options,
) {
    let pace = Arc::new(Pace::default());
    let per_turn = (options.hints_per_second / TURNS_PER_SECOND).max(1);
    let mut first = 0;
    loop {
        let wait = if coordinator.hint_bytes() == 0 { EVERY } else { TURN };
        if rest(&mut stop, wait).await {
            return;
        }
        first = turn(&coordinator, &pace, per_turn, first);
    }
}

/// Sends some, of the partitions from the one at `first` on; where the next turn begins.
fn turn(coordinator: &Arc<Coordinator>, pace: &Arc<Pace>, per_turn: usize, first: usize) -> usize {
    let places = coordinator.hinted();
    pace.retain(&places);
    let (mut left, mut bytes) = (per_turn, 0);
    for step in 0..places.len() {
        let at = (first + step) % places.len();
        let place @ (keyspace, partition) = places[at];
        let may = |to| pace.admit(to, place);
        for delivery in coordinator.deliveries(keyspace, partition, left.min(AT_ONCE), may) {
            left -= 1;
            bytes += delivery.bytes();
            send(coordinator, pace, place, delivery);
        }
        if left == 0 || bytes >= TURN_BYTES {
            return at + 1;
        }
    }
    first + 1
}

fn send(coordinator: &Arc<Coordinator>, pace: &Arc<Pace>, place: Place, delivery: Delivery) {
    let (keyspace, partition) = place;
    let (to, slot, ask) = (delivery.to, Slot::of(&delivery.key), delivery.ask.clone());
    let Some((_, owners)) = coordinator.routes().find(keyspace, slot) else {
        // That life of the keyspace ended just now; the next turn drops its hints.
        coordinator.hint_answered(keyspace, partition, &delivery, None);
        return pace.answered(to, place, false, false);
    };
    let epoch = owners.epoch;
    let question = Question { to, keyspace, slot, epoch, round: 0, ask };
    let (this, pace) = (Arc::clone(coordinator), Arc::clone(pace));
    coordinator.ask(question, move |answer| {
        let is_well = this.hint_answered(keyspace, partition, &delivery, answer.as_ref());
        pace.answered(to, place, is_well, answer.is_none());
        if let Some(answer) = answer
            && answer.reply == Reply::Refused(Refusal::Stale)
            && answer.epoch > epoch
        {
            this.need_map(answer.epoch);
        }
    });
}
