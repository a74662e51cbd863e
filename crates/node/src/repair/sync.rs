//! Owners compare what they hold, now and then, and even out what differs.
//!
//! The first owner of a partition that is up does it. It asks all of them for the digests of its
//! slots, which copies keep; where they are the same there is nothing to do. The other slots are
//! compared with each of the others, one by one. What a later one of them had is handed to the
//! earlier ones by comparing the slot once more.
//!
//! Holds: one partition at a time, a few of its slots at a time, few records on their way for each,
//! and a rest after each partition that grows with the work. What is younger than twice a request's
//! deadline is left alone: it is still on its way by itself.
//!
//! Does not know: how copies make digests.

use super::counts::{more, one_more};
use super::talk::{SILENCE, Said, Talk};
use super::{Ground, Maps, Options, grounds, rest, rest_from_work};
use crate::coordinator::{Coordinator, DEADLINE};
use shoal_core::NodeId;
use shoal_core::ids::{Epoch, Incarnation, MapVersion};
use shoal_core::quorum::{Ask, Reply};
use shoal_core::repair::{Sync, SyncEffect};
use shoal_core::slot::Slot;
use shoal_core::version::Millis;
use std::collections::VecDeque;
use std::iter;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often is looked whether something changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many slots are compared at a time.
const WINDOW: usize = 4;
/// For how many slots digests are asked for together.
const RUN: u16 = 256;
/// How many questions of one comparison are under way: each may carry a value.
const QUESTIONS: usize = 16;

/// Compares until `stop` turns true.
pub(super) async fn run(
    coordinator: Arc<Coordinator>,
    maps: Maps,
    mut stop: watch::Receiver<bool>,
    options: Options,
) {
    let mut next = Instant::now() + jittered(options.settle);
    let mut seen = Seen::default();
    loop {
        if rest(&mut stop, LOOK_EVERY.min(options.sync_interval)).await {
            return;
        }
        if seen.changes(&coordinator, &maps) {
            next = next.min(Instant::now() + jittered(options.settle));
        }
        if Instant::now() < next {
            continue;
        }
        if pass(&coordinator, &maps, &mut stop).await {
            return;
        }
        one_more(&coordinator.repairs().sync_passes);
        next = Instant::now() + jittered(options.sync_interval);
    }
}

/// The time, up to a tenth more or less, so that nodes do not all work at once.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.9 + fastrand::f64() * 0.2)
}

/// What was last seen of the map and of who is up.
#[derive(Default)]
struct Seen {
    version: MapVersion,
    up: Vec<NodeId>,
}

impl Seen {
    /// Whether there is a newer map, or somebody has come back.
    fn changes(&mut self, coordinator: &Coordinator, maps: &Maps) -> bool {
        let map = maps();
        let up: Vec<NodeId> =
            map.nodes.keys().copied().filter(|node| coordinator.believes_up(*node)).collect();
        let is_back = up.iter().any(|node| !self.up.contains(node));
        let changes = is_back || map.version != self.version;
        (self.version, self.up) = (map.version, up);
        changes
    }
}

/// Compares everything that this node is to; whether it is time to stop.
async fn pass(
    coordinator: &Arc<Coordinator>,
    maps: &Maps,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    let mut grounds = grounds(&maps(), coordinator.own_id());
    fastrand::shuffle(&mut grounds);
    for ground in grounds {
        let Some(peers) = peers(coordinator, &ground) else { continue };
        let began = Instant::now();
        tokio::select! {
            () = partition(coordinator, &ground, &peers) => {}
            _said_or_nobody_left = stop.wait_for(|stopped| *stopped) => return true,
        }
        if rest_from_work(stop, began).await {
            return true;
        }
    }
    false
}

/// With whom this node is to compare a partition now, if it is to.
fn peers(coordinator: &Coordinator, ground: &Ground) -> Option<Vec<NodeId>> {
    let copy = coordinator.copies().find(ground.keyspace, ground.partition)?;
    let (me, owners) = (copy.member(), copy.owners());
    if owners.epoch != ground.epoch || !owners.replicas.contains(&me) {
        return None;
    }
    let replicas = owners.replicas.iter().map(|member| member.node);
    let mut up = replicas.filter(|node| coordinator.believes_up(*node));
    if up.next() != Some(me.node) {
        return None;
    }
    let others: Vec<NodeId> = up.collect();
    (!others.is_empty()).then_some(others)
}

async fn partition(coordinator: &Arc<Coordinator>, ground: &Ground, peers: &[NodeId]) {
    let mut under_way = JoinSet::new();
    let mut next = ground.slots.start;
    while next < ground.slots.end {
        let run = next..ground.slots.end.min(next.saturating_add(RUN));
        let Some((compared, differ)) = survey(coordinator, ground, peers, run).await else {
            return one_more(&coordinator.repairs().sync_failures);
        };
        more(&coordinator.repairs().sync_slots, compared.len() * peers.len());
        next = compared.end;
        for slot in differ {
            if under_way.len() >= WINDOW {
                let _counted_by_itself = under_way.join_next().await;
            }
            // Owners that evict differ for ever, and nothing is amiss.
            if !ground.evicts {
                one_more(&coordinator.repairs().sync_differing);
            }
            let comparison = Comparison {
                coordinator: Arc::clone(coordinator),
                keyspace: ground.keyspace,
                epoch: ground.epoch,
                evicts: ground.evicts,
                slot,
            };
            under_way.spawn(comparison.with_all(peers.to_vec()));
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// Asks all owners for the digests of these slots. Which of them were compared, the first ones at
/// least, and which of those are not the same everywhere; `None` where the own ones were not told.
async fn survey(
    coordinator: &Arc<Coordinator>,
    ground: &Ground,
    peers: &[NodeId],
    run: Range<u16>,
) -> Option<(Range<u16>, Vec<Slot>)> {
    let me = coordinator.own_id();
    let mut talk = Talk::new(coordinator, ground.keyspace, ground.epoch);
    let (first, count) = (Slot::new(run.start)?, run.end - run.start);
    for to in iter::once(me).chain(peers.iter().copied()) {
        talk.ask(to, first, 0, Ask::Leaves { count });
    }
    let (mut mine, mut theirs) = (None, Vec::new());
    while talk.under_way() > 0 {
        match talk.hear(SILENCE).await {
            Said::Answer(answer) => match (&answer.reply, answer.node() == me) {
                (Reply::Leaves(leaves), true) => mine = Some(leaves.clone()),
                (Reply::Leaves(leaves), false) => theirs.push(leaves.clone()),
                _ => one_more(&coordinator.repairs().sync_failures),
            },
            Said::Failed => one_more(&coordinator.repairs().sync_failures),
            Said::Nothing => talk.give_up(),
        }
    }
    // Whoever did not answer is compared with another time.
    let mine = mine.filter(|mine| !mine.is_empty() && !theirs.is_empty())?;
    let told = theirs.iter().map(Vec::len).chain([mine.len(), usize::from(count)]).min()?;
    let differs = |at: &usize| theirs.iter().any(|theirs| theirs[*at] != mine[*at]);
    let slot_at = |at: usize| Slot::new(run.start + u16::try_from(at).ok()?);
    let differ = (0..told).filter(differs).filter_map(slot_at).collect();
    let end = run.start + u16::try_from(told.max(1)).ok()?;
    Some((run.start..end, differ))
}

/// One slot that is compared.
struct Comparison {
    coordinator: Arc<Coordinator>,
    keyspace: Incarnation,
    epoch: Epoch,
    evicts: bool,
    slot: Slot,
}

impl Comparison {
    async fn with_all(self, peers: Vec<NodeId>) {
        let mut pulled = false;
        for (index, peer) in peers.iter().enumerate() {
            let taken = self.with(*peer).await;
            pulled |= index > 0 && taken > 0;
        }
        if pulled {
            // The first ones do not have yet what the later ones had.
            for peer in &peers[..peers.len() - 1] {
                self.with(*peer).await;
            }
        }
    }

    /// Compares with one other owner; how many records were taken from it.
    async fn with(&self, peer: NodeId) -> usize {
        let counts = self.coordinator.repairs();
        let me = self.coordinator.own_id();
        let mut talk = Talk::new(&self.coordinator, self.keyspace, self.epoch);
        let mut out = Vec::new();
        let mut sync = Sync::start(me, peer, self.settled_ms(), &mut out);
        if self.evicts {
            sync = sync.among_evicting();
        }
        let mut to_ask = VecDeque::new();
        let (mut pulled, mut pushed) = (Vec::new(), Vec::new());
        let mut taken = 0;
        loop {
            for effect in out.drain(..) {
                match effect {
                    SyncEffect::Over { .. } => return taken,
                    SyncEffect::Send { to, round, ask: ask @ Ask::Take { .. } } => {
                        if to == me { &mut pulled } else { &mut pushed }.push(round);
                        // What is in memory already goes first.
                        to_ask.push_front((to, round, ask));
                    }
                    SyncEffect::Send { to, round, ask } => to_ask.push_back((to, round, ask)),
                }
            }
            while talk.under_way() < QUESTIONS
                && let Some((to, round, ask)) = to_ask.pop_front()
            {
                talk.ask(to, self.slot, round, ask);
            }
            let Said::Answer(answer) = talk.hear(SILENCE).await else {
                one_more(&counts.sync_failures);
                return taken;
            };
            match &answer.reply {
                Reply::Accepted if pulled.contains(&answer.round) => {
                    taken += 1;
                    one_more(&counts.sync_pulled);
                }
                Reply::Accepted if pushed.contains(&answer.round) => {
                    one_more(&counts.sync_pushed);
                }
                Reply::Refused(_) => one_more(&counts.sync_failures),
                _ => {}
            }
            sync.answered(&answer, &mut out);
        }
    }

    /// What was written after this is left alone.
    fn settled_ms(&self) -> Millis {
        let grace_ms = Millis::try_from(DEADLINE.as_millis()).unwrap_or(Millis::MAX);
        let grace_ms = grace_ms.saturating_mul(2);
        self.coordinator.moment().wall_ms().saturating_sub(grace_ms)
    }
}
