//! A node's part in its cluster: made, begun, ended.
//!
//! Holds: what goes on by itself ends with the node, and within a bounded time.
//!
//! Does not know: how a node gets that far.

use super::super::adopt::{self, Custody};
use super::super::condition::{self, Conditions};
use super::super::follow::Follow;
use super::super::tend::{self, Tending};
use super::super::{
    Cluster, Events, Lead, Liveness, News, follow, gossip, lead, majority, over, report,
};
use super::Ground;
use super::meet::follow_maps;
use crate::coordinator::{Coordinator, Parts, Surroundings};
use crate::membership;
use crate::node::Node;
use crate::refusal::{Code, Refusal};
use crate::repair::{self, HintStore};
use parking_lot::Mutex;
use shoal_core::NodeId;
use shoal_core::ids::{Epoch, Incarnation};
use shoal_core::version::Millis;
use shoal_meta::MapStore as _;
use shoal_meta::raft::RaftStore;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// How long the goodbye may take.
const END_WITHIN: Duration = Duration::from_secs(2);
/// How long Raft may take to end: handing the lead on takes less, and a disk that does not answer is
/// not waited for.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What the coordinator asks of the rest of the node.
struct Around {
    liveness: Arc<Liveness>,
    follow: Arc<Follow>,
    custody: Arc<Custody>,
}

impl Surroundings for Around {
    fn is_up(&self, node: NodeId) -> bool {
        self.liveness.is_worth_asking(node)
    }

    fn need_map(&self, at_least: Epoch) {
        self.follow.need(at_least);
    }

    fn default_ttl_ms(&self, keyspace: Incarnation) -> Option<Millis> {
        let map = self.custody.map();
        let found = map.keyspaces.values().find(|found| found.incarnation == keyspace)?;
        found.options.default_ttl_ms.map(Into::into)
    }
}

impl Cluster {
    /// The cluster as `node` takes part in it from now on. Its copies are opened; nothing is
    /// served yet.
    ///
    /// # Errors
    /// An engine's.
    pub(super) fn new(
        node: &Arc<Node>,
        ground: &Ground,
        store: Arc<RaftStore>,
    ) -> Result<Arc<Self>, Refusal> {
        node.clock.lower()?;
        let custody = Arc::new(Custody::new(node, &store.current())?);
        let liveness = Arc::new(Liveness::new(node.id()));
        let follow = Arc::new(Follow::default());
        let around = Around {
            liveness: Arc::clone(&liveness),
            follow: Arc::clone(&follow),
            custody: Arc::clone(&custody),
        };
        let coordinator = Coordinator::new(Parts {
            me: node.id(),
            clock: Arc::clone(&node.clock),
            copies: Arc::clone(custody.copies()),
            routes: Arc::clone(custody.routes()),
            transport: Arc::clone(&ground.transport),
            around: Arc::new(around),
            blocking: ground.runtime.clone(),
            max_value_bytes: node.config.max_value_bytes,
        });
        Ok(Arc::new(Self {
            me: node.id(),
            store,
            transport: Arc::clone(&ground.transport),
            coordinator,
            custody,
            tending: Tending::default(),
            liveness,
            follow,
            news: News::default(),
            events: Events::new(node.config.time.clone()),
            talk: Mutex::default(),
            reports: Mutex::default(),
            told: Notify::new(),
            heard: Mutex::default(),
            conditions: Conditions::default(),
            lead: Lead::default(),
            runtime: ground.runtime.clone(),
            stop: watch::Sender::new(false),
        }))
    }

    /// Begins everything that goes on by itself.
    pub(super) fn run(self: &Arc<Self>, node: &Arc<Node>, ground: &Ground) -> Result<(), Refusal> {
        let (custody, maps) = (Arc::clone(&self.custody), Arc::clone(&self.custody));
        // What a keyspace in memory holds does not belong on a disk.
        let is_on_disk = move |keyspace| custody.is_on_disk(keyspace);
        let hints = HintStore::open(Arc::clone(&node.catalogue.engines.disk), is_on_disk)?;
        self.coordinator.restore_hints(hints).map_err(adopt::refused)?;
        self.spawn(repair::run(
            Arc::clone(&self.coordinator),
            Arc::new(move || maps.map()),
            self.stop.subscribe(),
            repair::Options::default(),
        ));
        for queue in self.custody.settle_queues() {
            self.spawn(async move { queue.run().await });
        }
        self.spawn(Arc::clone(&self.coordinator).run());
        self.spawn(tend::run(Arc::clone(self)));
        self.spawn(follow::run(Arc::clone(self)));
        self.spawn(lead::run(Arc::clone(self)));
        self.spawn(majority::run(Arc::clone(self)));
        self.spawn(report::run(Arc::clone(self)));
        self.spawn(condition::run(Arc::clone(self), Arc::downgrade(node)));
        self.spawn(fall_silent(Arc::clone(self)));
        self.spawn(follow_maps(Arc::downgrade(node), Arc::clone(self)));
        let me =
            membership::Identity::new(self.me, node.start_count(), ground.peers.network.address());
        let me = me.map_err(|error| Refusal::new(Code::BadOption, error.to_string()))?;
        let (datagrams, secret) = (Arc::clone(&ground.datagrams), ground.peers.secret.clone());
        let talk = self.runtime.spawn(gossip::run(Arc::clone(self), datagrams, me, secret));
        *self.talk.lock() = Some(talk);
        Ok(())
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Ends everything that goes on by itself, and everything under way. Blocks.
    pub(crate) fn close(&self) {
        self.runtime.block_on(self.end());
    }

    /// The same where it runs.
    pub(in crate::cluster) async fn end(&self) {
        self.stop.send_replace(true);
        let talk = self.talk.lock().take();
        if let Some(talk) = talk {
            // The others need not wait for what they are told.
            let _goodbye = timeout(END_WITHIN, talk).await;
        }
        self.coordinator.close();
        if timeout(CLOSE_WITHIN, self.store.close()).await.is_err() {
            tracing::warn!("the map's store did not close in time; what it has is durable");
        }
        for queue in self.custody.settle_queues() {
            queue.close();
        }
    }
}

/// Ends everything under way, and takes nothing on any more, once a later process was started as
/// this node: the copies that others may still ask here are not theirs any more. Nor are they once
/// a map was left half taken over.
async fn fall_silent(cluster: Arc<Cluster>) {
    let mut changes = cluster.liveness.changed();
    let mut breaks = cluster.custody.breaks();
    let mut stop = cluster.stop.subscribe();
    while !cluster.liveness.superseded() {
        tokio::select! {
            Ok(_) = breaks.wait_for(|broken| *broken) => break,
            // An error says that nobody is left to change anything.
            changed = changes.changed() => if changed.is_err() { return },
            () = over(&mut stop) => return,
        }
    }
    cluster.coordinator.close();
}
