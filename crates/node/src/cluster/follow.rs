//! Keeps the map current where this node has no voice, and the links to those whom it names.
//!
//! Gossip hears of newer maps, and requests that were refused ask for one. One task pulls: from
//! whoever told of it, from the leader, or from anybody who is up, one after the other, more and
//! more slowly where it is in vain; and now and then without a reason, which is also how a node
//! learns who votes and who leads, since neither raises the map's version.
//!
//! Holds: never two pulls at once. Whoever asks does not wait. A version that cannot be is not
//! believed, and one that nobody has who answers is forgotten: it keeps nobody from what there is.
//!
//! Does not know: what a map says of partitions.

use super::{Cluster, Liveness, over};
use crate::transport::Transport;
use parking_lot::Mutex;
use shoal_core::NodeId;
use shoal_core::ids::{Epoch, MapVersion};
use shoal_core::map::ClusterMap;
use shoal_meta::MapStore;
use shoal_meta::raft::{RaftStore, is_plausible};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// How often somebody is asked without a reason.
const LOOK_PERIOD: Duration = Duration::from_secs(3);
/// How soon one who asked in vain asks again, at first and at the latest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// So many are tried before there is a pause.
const TRIED: usize = 3;
/// So often somebody is asked, and answers, for a newer map of which it is not known that there is
/// one, or for one of a version that was told and that nobody turns out to have.
const ENOUGH: u32 = 5;

/// What is known to be missing.
#[derive(Default)]
pub(crate) struct Follow {
    wanted: Mutex<Wanted>,
    news: Notify,
}

#[derive(Clone, Copy, Default)]
struct Wanted {
    /// The newest version that was heard of.
    version: MapVersion,
    /// Who has it.
    teller: Option<NodeId>,
    /// Whether something newer is needed, whatever its version.
    newer: bool,
}

impl Follow {
    /// A map is needed in which a partition has at least this epoch. Whoever asks may have a map
    /// of that version and another epoch of the partition; so somebody is asked in any case.
    pub(crate) fn need(&self, at_least: Epoch) {
        if !is_plausible(at_least) {
            return tracing::debug!(%at_least, "a map was asked for that cannot be");
        }
        {
            let mut wanted = self.wanted.lock();
            if at_least > wanted.version {
                (wanted.version, wanted.teller) = (at_least, None);
            } else if wanted.newer {
                return;
            }
            wanted.newer = true;
        }
        self.news.notify_one();
    }

    /// `node` has the map of this version.
    pub(crate) fn heard(&self, node: NodeId, version: MapVersion) {
        if !is_plausible(version) {
            return tracing::debug!(%node, %version, "a map was told of that cannot be");
        }
        {
            let mut wanted = self.wanted.lock();
            let known = wanted.teller.is_some() && version == wanted.version;
            if version < wanted.version || known {
                return;
            }
            (wanted.version, wanted.teller) = (version, Some(node));
        }
        self.news.notify_one();
    }

    /// The newest version that was heard of.
    pub(super) fn newest_heard(&self) -> MapVersion {
        self.wanted.lock().version
    }

    /// Nobody has a map of this version: it is wanted no longer, and any that is newer than the
    /// `present` one will be heard of again.
    fn forget(&self, version: MapVersion, present: MapVersion) {
        let mut wanted = self.wanted.lock();
        if wanted.version == version {
            (wanted.version, wanted.teller) = (present, None);
        }
    }

    /// What is wanted now. Whoever needs something newer from now on is served by a later pull.
    fn take(&self) -> Wanted {
        let mut wanted = self.wanted.lock();
        let taken = *wanted;
        wanted.newer = false;
        taken
    }
}

/// Follows the map until the node stops.
pub(crate) async fn run(cluster: Arc<Cluster>) {
    let pupil = Pupil {
        me: cluster.me,
        store: &cluster.store,
        liveness: &cluster.liveness,
        follow: &cluster.follow,
    };
    let (mut stop, mut links) = (cluster.stop.subscribe(), Links::default());
    let mut maps = cluster.store.subscribe();
    tokio::select! {
        biased;
        () = over(&mut stop) => {}
        () = links.keep(&*cluster.transport, cluster.me, &mut maps) => {}
        () = pupil.keep_current() => {}
    }
}

/// Whoever pulls.
pub(super) struct Pupil<'c> {
    pub(super) me: NodeId,
    pub(super) store: &'c RaftStore,
    pub(super) liveness: &'c Liveness,
    pub(super) follow: &'c Follow,
}

impl Pupil<'_> {
    /// Pulls whatever is missing. Runs for ever.
    pub(super) async fn keep_current(&self) {
        let (mut in_vain, mut answered) = (0, 0);
        let mut look_at = Instant::now() + LOOK_PERIOD;
        // A need that was taken and is not satisfied yet.
        let mut newer = false;
        loop {
            let wanted = self.follow.take();
            newer |= wanted.newer;
            let before = self.version();
            let behind = before < wanted.version;
            if !behind && !newer && Instant::now() < look_at {
                tokio::select! {
                    () = self.follow.news.notified() => {}
                    () = sleep_until(look_at) => {}
                }
                continue;
            }
            let asked = self.ask(if behind { wanted.teller } else { None }).await;
            look_at = Instant::now() + LOOK_PERIOD;
            let progress = self.version() > before;
            // Whatever was decided before it was asked, the leader has.
            let newest = asked.is_some() && asked == self.leader();
            in_vain = if progress { 0 } else { in_vain + 1 };
            answered = if progress { 0 } else { answered + u32::from(asked.is_some()) };
            if answered >= ENOUGH && self.version() < wanted.version {
                tracing::debug!(version = %wanted.version, "nobody has the map that was told of");
                self.follow.forget(wanted.version, self.version());
            }
            if newest || in_vain >= ENOUGH {
                newer = false;
            }
            if self.version() < self.follow.newest_heard() || newer {
                sleep(pause(in_vain)).await;
            } else {
                (in_vain, answered) = (0, 0);
            }
        }
    }

    fn version(&self) -> MapVersion {
        self.store.current().version
    }

    fn leader(&self) -> Option<NodeId> {
        self.store.leadership().borrow().leader
    }

    /// Pulls from the first who answers of a few, `first` before all others, and says who it was.
    async fn ask(&self, first: Option<NodeId>) -> Option<NodeId> {
        for node in self.candidates(first).into_iter().take(TRIED) {
            if node == self.me {
                // It leads: there is nothing newer.
                return Some(node);
            }
            match self.store.pull(node).await {
                Ok(_) => return Some(node),
                Err(error) => tracing::debug!(%node, %error, "could not pull the map"),
            }
        }
        None
    }

    /// Whom to ask, the most promising first.
    fn candidates(&self, first: Option<NodeId>) -> Vec<NodeId> {
        let map = self.store.current();
        let members = || map.nodes.iter().filter(|(_, info)| !info.is_gone());
        let mut others: Vec<NodeId> = members().map(|(node, _)| *node).collect();
        others.retain(|node| *node != self.me && self.liveness.is_worth_asking(*node));
        if others.is_empty() {
            // Nobody was heard of yet; they may be there nevertheless.
            others = members().map(|(node, _)| *node).filter(|node| *node != self.me).collect();
        }
        fastrand::shuffle(&mut others);
        let leader = self.leader().filter(|leader| self.liveness.is_worth_asking(*leader));
        let mut candidates: Vec<NodeId> = first.into_iter().chain(leader).collect();
        others.retain(|node| !candidates.contains(node));
        candidates.extend(others);
        candidates
    }
}

/// How long to wait after so many questions in vain.
fn pause(in_vain: u32) -> Duration {
    let (least, most) = PAUSE;
    let doubled = least.saturating_mul(1 << in_vain.min(16));
    doubled.min(most)
}

/// The links that were asked for: where to, and to which start of a node. One that was started
/// anew is looked for where the map says, whatever was heard of it before.
#[derive(Default)]
pub(super) struct Links {
    known: BTreeMap<NodeId, (String, u64)>,
}

impl Links {
    /// Keeps a link to everybody whom the map names. Runs for ever.
    async fn keep(
        &mut self,
        transport: &dyn Transport,
        me: NodeId,
        maps: &mut watch::Receiver<Arc<ClusterMap>>,
    ) {
        loop {
            let map = Arc::clone(&maps.borrow_and_update());
            self.adopt(transport, me, &map);
            if maps.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Tells the transport what is new in `map`.
    fn adopt(&mut self, transport: &dyn Transport, me: NodeId, map: &ClusterMap) {
        let mut named = BTreeMap::new();
        for (node, info) in map.nodes.iter().filter(|(_, info)| !info.is_gone()) {
            if let Some(peer) = info.addresses.peer.as_ref().filter(|_| *node != me) {
                named.insert(*node, (peer.clone(), info.token));
            }
        }
        for node in self.known.keys().filter(|node| !named.contains_key(node)) {
            transport.forget(*node);
        }
        for (node, known) in named.iter().filter(|named| self.known.get(named.0) != Some(named.1)) {
            transport.know(*node, &known.0);
        }
        self.known = named;
    }
}

#[cfg(test)]
mod tests;
