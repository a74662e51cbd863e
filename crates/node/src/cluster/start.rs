//! How a node becomes one of several: at its start, where it was one before, or while it runs.
//!
//! Holds: nothing of what a node has is asked for, or given out, before the map has taken note of
//! this start of it: of two copies of a data directory only one gets that far. While a node that
//! was alone becomes one of several, its requests wait for a moment and none is lost.
//!
//! Does not know: sockets.

use super::adopt::{self, Custody};
use super::expect::{Beginning, Waiting};
use super::follow::Follow;
use super::identity::{Note, Tokens};
use super::join::{self, Admitted, JoinError};
use super::serve::Door;
use super::tend::{self, Tending};
use super::{
    Cluster, Datagrams, Events, First, Lead, Liveness, Peers, follow, gossip, lead, over, report,
};
use crate::coordinator::{Coordinator, Parts, Surroundings};
use crate::membership;
use crate::node::{FIRST_NODE, Node, StartError};
use crate::refusal::{Code, Refusal};
use crate::repair::{self, HintStore};
use crate::transport::{Denied, Identity, Kind, Transport, Unreachable};
use bytes::Bytes;
use parking_lot::Mutex;
use shoal_core::NodeId;
use shoal_core::ids::{ClusterId, Epoch, Incarnation};
use shoal_core::map::{ClusterMap, Command, MapError, Profile};
use shoal_core::version::Millis;
use shoal_meta::raft::{Options, RaftStore, Wire, WireError, WireFuture};
use shoal_meta::{MapStore as _, MetaError};
use shoal_storage::directory::{DataDirectory, Unowned};
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{sleep, timeout};

/// How long a question about the map may take on its way.
const META_PATIENCE: Duration = Duration::from_secs(5);
/// How long threads may take to end.
const END_WITHIN: Duration = Duration::from_secs(2);
/// The longest value that fits into a message, beside its key and what else is said of it.
pub(crate) const MAX_VALUE_AMONG: usize = 15 << 20;
/// How soon a map that could not be taken over is tried again.
const TAKE_OVER_AGAIN: Duration = Duration::from_secs(1);
/// How long it may take until a start is noted before it is said again.
const START_WITHIN: Duration = Duration::from_secs(1);
/// How long a node waits before it says again that it wants to start.
const START_AGAIN: Duration = Duration::from_millis(200);

/// What a node that others can reach stands on, alone or not.
pub(crate) struct Ground {
    pub(super) peers: Peers,
    pub(super) door: Arc<Door>,
    pub(super) transport: Arc<dyn Transport>,
    datagrams: Arc<dyn Datagrams>,
    /// Where everything but Raft runs.
    pub(super) runtime: Handle,
    /// Where Raft runs, whose tasks wait for the disk in line.
    meta: Handle,
    threads: Mutex<Option<[Runtime; 2]>>,
}

impl Ground {
    /// Opens the network, as nobody yet.
    ///
    /// # Errors
    /// A thread or a socket cannot be had.
    pub(crate) fn new(peers: Peers) -> std::io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("shoal-peer")
            .enable_all()
            .build()?;
        let meta = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("shoal-meta")
            .enable_all()
            .build()?;
        let door = Arc::new(Door::default());
        let identity = Identity::default();
        let transport = peers.network.open(runtime.handle(), identity, Arc::clone(&door) as _)?;
        let datagrams = peers.network.datagrams(runtime.handle())?;
        Ok(Self {
            peers,
            door,
            transport,
            datagrams,
            runtime: runtime.handle().clone(),
            meta: meta.handle().clone(),
            threads: Mutex::new(Some([runtime, meta])),
        })
    }

    /// Ends everything that runs on it.
    pub(crate) fn close(&self) {
        self.transport.close();
        let threads = self.threads.lock().take();
        for runtime in threads.into_iter().flatten() {
            runtime.shutdown_timeout(END_WITHIN);
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // The last one to let go of the node may be one of these threads themselves.
        let threads = self.threads.get_mut().take();
        for runtime in threads.into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

/// Carries Raft's messages.
struct TransportWire(Arc<dyn Transport>);

impl Wire for TransportWire {
    fn call(&self, to: NodeId, request: Bytes) -> WireFuture<'_> {
        Box::pin(async move {
            let (tell, told) = oneshot::channel();
            let reply = Box::new(move |answer| drop(tell.send(answer)));
            self.0.ask(to, Kind::Meta, request, META_PATIENCE, reply);
            match told.await.unwrap_or(Err(Unreachable::Closed)) {
                Ok(answer) => Ok(answer),
                Err(why) if why.may_be_done() => Err(WireError::Lost(why.to_string())),
                Err(why) => Err(WireError::Unreachable(why.to_string())),
            }
        })
    }
}

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

impl Ground {
    /// Opens the map of a node that is, or now becomes, one of several. Blocks.
    pub(crate) fn open_store(&self, node: &std::path::Path) -> Result<Arc<RaftStore>, MetaError> {
        let wire = Arc::new(TransportWire(Arc::clone(&self.transport)));
        let store = self.meta.block_on(RaftStore::open(node, Options::default(), wire))?;
        self.door.open_to_voters(&store, &self.meta);
        Ok(store)
    }

    /// Lets the map take note of this start. Waits until it has, or says that this directory is
    /// not to be used: however long it takes to find a majority, since of two nodes that were
    /// started from copies of one directory only one must go on.
    ///
    /// # Errors
    /// The map's refusal, `stale_directory` above all, or the directory's.
    pub(crate) async fn put_on_record(
        &self,
        store: &Arc<RaftStore>,
        tokens: &mut Tokens,
        cluster: ClusterId,
    ) -> Result<(), StartError> {
        let (node, profile) = (store.node(), self.profile());
        let propose = |command: Command| async move {
            let Command::StartNode { presented, next, .. } = command else { return Ok(()) };
            // Once it is on record, links under the token before are cut, perhaps before the
            // answer has come; and where the last start was cut short it is on record already.
            for token in [presented, next].into_iter().cycle() {
                self.transport.assume(Identity { cluster, node, token });
                self.know_others(&store.current(), node);
                match timeout(START_WITHIN, store.propose_async(&command)).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(MetaError::Refused(why @ MapError::StaleDirectory { .. }))) => {
                        return Err(JoinError::new("stale_directory", why.to_string()).into());
                    }
                    Ok(Err(error @ MetaError::Refused(_))) => return Err(error.into()),
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "waiting for the cluster to take note of this start");
                    }
                    Err(_) => {
                        tracing::info!("waiting for the cluster to take note of this start");
                    }
                }
                if token == next
                    && let Some(why) = self.is_shut_out()
                {
                    return Err(why.into());
                }
                sleep(START_AGAIN).await;
            }
            Ok::<_, StartError>(())
        };
        tokens.put_on_record(node, &profile, propose).await?;
        self.transport.assume(Identity { cluster, node, token: tokens.presented() });
        Ok(())
    }

    /// Why no node that answers listens to this one, if so. Under the token of its newest start that
    /// is final: only a later start of the same node, or that it was forgotten, lets them refuse it.
    fn is_shut_out(&self) -> Option<JoinError> {
        let links = self.transport.links();
        if links.iter().any(|link| link.up) {
            return None;
        }
        let mut denied = links.iter().filter_map(|link| link.denied);
        denied.find_map(|why| match why {
            Denied::StaleNode => {
                let message = "the data directory is an old copy: another one was started since";
                Some(JoinError::new("stale_directory", message))
            }
            Denied::UnknownNode => {
                let message =
                    "the cluster has forgotten this node: join it with an empty directory";
                Some(JoinError::new("node_gone", message))
            }
            _ => None,
        })
    }

    /// What the node says about itself.
    pub(super) fn profile(&self) -> Profile {
        let mut profile = self.peers.profile.clone();
        profile.addresses.peer = Some(self.peers.network.address().to_string());
        profile
    }

    /// Tells the transport where the others are.
    fn know_others(&self, map: &ClusterMap, me: NodeId) {
        for (node, info) in &map.nodes {
            if let Some(address) = info.addresses.peer.as_deref().filter(|_| !info.is_gone())
                && *node != me
            {
                self.transport.know(*node, address);
            }
        }
    }
}

impl Ground {
    /// Finds out which cluster a directory is to belong to, and under which id. Blocks until one
    /// lets it in, where that is asked for.
    ///
    /// # Errors
    /// [`StartError::Join`] where no cluster will, or the directory's.
    pub(crate) fn find_owner(
        &self,
        unowned: Unowned,
        name: &str,
    ) -> Result<DataDirectory, StartError> {
        if self.peers.first == First::Found {
            let cluster = uuid::Uuid::now_v7().as_u128();
            return Ok(unowned.belong(cluster, FIRST_NODE)?);
        }
        let note = Note::take(unowned.path(), name)?;
        if let First::Expect { seeds, nodes } = &self.peers.first {
            let waiting = Arc::new(Waiting::new(unowned.path(), note.clone(), *nodes));
            self.door.wait(&waiting);
            let transport = &*self.transport;
            if self.runtime.block_on(waiting.run(transport, seeds))? == Beginning::Found {
                return Ok(unowned.belong(uuid::Uuid::now_v7().as_u128(), FIRST_NODE)?);
            }
        }
        let Admitted { cluster, node, .. } = self.ask_in(&note)?;
        Ok(unowned.belong(cluster.0, node.0)?)
    }

    /// Brings to its end what a node keeps that was let into a cluster, and gives the tokens of
    /// one that is in a cluster. Blocks.
    ///
    /// # Errors
    /// As [`Self::find_owner`], and the map's.
    pub(crate) fn settle_in(
        &self,
        directory: &DataDirectory,
    ) -> Result<Option<Tokens>, StartError> {
        let path = directory.path();
        let Some(note) = Note::read(path)? else { return Ok(Tokens::read(path)?) };
        // Nobody is ever let in under the first id: who has it founded the cluster.
        if directory.identity().node_id != FIRST_NODE && Tokens::read(path)?.is_none() {
            // Asking again is asking for the same.
            let Admitted { node, map, .. } = self.ask_in(&note)?;
            if node.0 != directory.identity().node_id {
                let message = "the cluster has let this node in under another id";
                return Err(JoinError::new("stale_directory", message).into());
            }
            if !RaftStore::is_in(path)? {
                RaftStore::admit(path, node, &map)?;
            }
            Tokens::make(path, note.token)?;
        }
        Note::remove(path)?;
        Ok(Tokens::read(path)?)
    }

    fn ask_in(&self, note: &Note) -> Result<Admitted, StartError> {
        let (seeds, replace) = match &self.peers.first {
            First::Join { seeds, replace } => (seeds, *replace),
            First::Expect { seeds, .. } => (seeds, false),
            First::Found => {
                let message = "the directory is about to be let into a cluster; say into which \
                               one with --join";
                return Err(JoinError::new("joining", message).into());
            }
        };
        let (profile, transport) = (self.profile(), &*self.transport);
        let asked = join::ask_in(transport, seeds, &note.name, note.token, &profile, replace);
        Ok(self.runtime.block_on(asked)?)
    }

    /// Waits for `future` from outside of any runtime.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Lets others ask `node`, which is alone so far, to be let in.
    pub(crate) fn wait_for_others(&self, node: &Arc<Node>, map: &ClusterMap) {
        let token = map.nodes.get(&node.id()).map_or(0, |info| info.token);
        self.transport.assume(Identity { cluster: map.cluster, node: node.id(), token });
        self.door.open(node, &self.runtime);
    }
}

impl Cluster {
    /// The cluster as `node` takes part in it from now on. Its copies are opened; nothing is
    /// served yet.
    ///
    /// # Errors
    /// An engine's.
    fn new(node: &Arc<Node>, ground: &Ground, store: Arc<RaftStore>) -> Result<Arc<Self>, Refusal> {
        node.clock.among_others();
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
            events: Events::new(node.config.time.clone()),
            talk: Mutex::default(),
            reports: Mutex::default(),
            told: Notify::new(),
            heard: Mutex::default(),
            lead: Lead::default(),
            runtime: ground.runtime.clone(),
            stop: watch::Sender::new(false),
        }))
    }

    /// Begins everything that goes on by itself.
    fn run(self: &Arc<Self>, node: &Arc<Node>, ground: &Ground) -> Result<(), Refusal> {
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
        self.spawn(report::run(Arc::clone(self)));
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

    /// Ends everything that goes on by itself, and everything under way.
    pub(crate) fn close(&self) {
        self.stop.send_replace(true);
        let talk = self.talk.lock().take();
        if let Some(talk) = talk {
            // The others need not wait for what they are told.
            let _goodbye = self.runtime.block_on(async { timeout(END_WITHIN, talk).await });
        }
        self.coordinator.close();
        self.runtime.block_on(self.store.close());
        for queue in self.custody.settle_queues() {
            queue.close();
        }
    }
}

/// Ends everything under way, and takes nothing on any more, once a later process was started as
/// this node: the copies that others may still ask here are not theirs any more.
async fn fall_silent(cluster: Arc<Cluster>) {
    let mut changes = cluster.liveness.changed();
    let mut stop = cluster.stop.subscribe();
    while !cluster.liveness.superseded() {
        tokio::select! {
            // An error says that nobody is left to change anything.
            changed = changes.changed() => if changed.is_err() { return },
            () = over(&mut stop) => return,
        }
    }
    cluster.coordinator.close();
}

/// Takes over every newer map.
async fn follow_maps(node: Weak<Node>, cluster: Arc<Cluster>) {
    let mut maps = cluster.store.subscribe();
    let mut stop = cluster.stop.subscribe();
    loop {
        let map = Arc::clone(&maps.borrow_and_update());
        let there = node.clone();
        let adopting = move || there.upgrade().map_or(Ok(()), |node| node.adopt(&map));
        let adopted = tokio::task::spawn_blocking(adopting).await;
        let again = match adopted {
            Ok(Ok(())) => None,
            Ok(Err(refusal)) => {
                tracing::error!(%refusal, "a map could not be taken over; it is tried again");
                Some(TAKE_OVER_AGAIN)
            }
            Err(error) => {
                tracing::error!(%error, "taking a map over panicked");
                return;
            }
        };
        tokio::select! {
            changed = maps.changed() => if changed.is_err() { return },
            () = sleep(again.unwrap_or(Duration::MAX)), if again.is_some() => {}
            () = over(&mut stop) => return,
        }
    }
}

impl Node {
    /// Takes over a map on which the cluster has agreed. Blocks.
    ///
    /// # Errors
    /// An engine's; it can be tried again.
    pub(crate) fn adopt(&self, map: &Arc<ClusterMap>) -> Result<(), Refusal> {
        let Some(cluster) = self.cluster() else { return Ok(()) };
        let open = || self.catalogue.open_spaces(map);
        let waiting = cluster.custody.adopt(map, false, open, || self.catalogue.adopt(map))?;
        cluster.coordinator.adopted();
        cluster.coordinator.ask_again(waiting);
        cluster.transport.review();
        cluster.tending.look();
        Ok(())
    }

    /// Begins to serve as one of several, once the map has taken note of this start. Blocks.
    ///
    /// # Errors
    /// An engine's.
    pub(crate) fn serve_among(self: &Arc<Self>, store: Arc<RaftStore>) -> Result<(), Refusal> {
        let Some(ground) = self.ground() else { return Ok(()) };
        let cluster = Cluster::new(self, ground, Arc::clone(&store))?;
        let map = store.current();
        // Nothing waits for the first map.
        let _nothing =
            cluster.custody.adopt(&map, false, || Ok(()), || self.catalogue.adopt(&map))?;
        self.join_catalogue(store);
        let cluster = self.cluster.get_or_init(|| cluster);
        cluster.run(self, ground)?;
        ground.door.open(self, &ground.runtime);
        Ok(())
    }

    /// Becomes one of several, unless it is: somebody wants to be let in. Blocks.
    ///
    /// # Errors
    /// The map's or an engine's; the node goes on alone, though after a failure half-way it takes
    /// no changes of its catalogue before it is started again.
    pub(crate) fn meet_others(self: &Arc<Self>) -> Result<Arc<Cluster>, Refusal> {
        let (Some(ground), Some(local)) = (self.ground(), self.catalogue.alone()) else {
            return self.met_others();
        };
        let held = self.catalogue.hold_changes();
        if self.cluster().is_some() {
            return self.met_others();
        }
        if self.config.max_value_bytes > MAX_VALUE_AMONG {
            let message = "it takes values that are too long to be sent to others: start it with \
                           a max_value of 15MiB or less";
            return Err(Refusal::new(Code::BadOption, message));
        }
        let map = local.current();
        let token = map.nodes.get(&self.id()).map_or(0, |info| info.token);
        let mut tokens = Tokens::make(self.data(), token).map_err(|error| refused(error.into()))?;
        local.retire()?;
        let store = ground.open_store(self.data()).inspect_err(|_| {
            // Nothing comes of it where the file was put in place already.
            let _alone_again = local.resume();
        })?;
        let cluster = Cluster::new(self, ground, Arc::clone(&store))?;
        let map = store.current();
        // Whoever finds the lanes closed finds the copies open.
        let _nothing =
            cluster.custody.adopt(&map, true, || Ok(()), || self.catalogue.adopt_held(&map))?;
        self.join_catalogue(Arc::clone(&store));
        let cluster = self.cluster.get_or_init(|| cluster);
        drop(held);
        cluster.run(self, ground)?;
        let registered = ground.put_on_record(&store, &mut tokens, map.cluster);
        ground.block_on(registered).map_err(refused)?;
        self.adopt(&store.current())?;
        tracing::info!("the node was alone, and is one of several from now on");
        Ok(Arc::clone(cluster))
    }

    /// The cluster, once its map says where this node is: whoever is let in before that is given
    /// a map in which it finds nobody.
    fn met_others(&self) -> Result<Arc<Cluster>, Refusal> {
        let starting = || Refusal::new(Code::TryAgain, "the node is starting");
        let (Some(ground), Some(cluster)) = (self.ground(), self.cluster()) else {
            return Err(starting());
        };
        let (map, at) = (cluster.store.current(), ground.profile().addresses.peer);
        let is_found = map.nodes.get(&self.id()).is_some_and(|info| info.addresses.peer == at);
        is_found.then(|| Arc::clone(cluster)).ok_or_else(starting)
    }

    fn join_catalogue(self: &Arc<Self>, store: Arc<RaftStore>) {
        let node = Arc::downgrade(self);
        let adopt = move |before: &ClusterMap, map: &Arc<ClusterMap>, command: &Command| {
            let Some(node) = node.upgrade() else { return Ok(()) };
            node.adopt(map)?;
            let cluster = node.cluster();
            // The map before may be much older here than the one that the command changed.
            let owned =
                if matches!(command, Command::FlushKeyspaces { .. }) { map } else { before };
            cluster.map_or(Ok(()), |cluster| cluster.await_fence(command, owned, map.version))
        };
        self.catalogue.join_others(store, Box::new(adopt));
    }
}

fn refused(error: StartError) -> Refusal {
    match error {
        StartError::Map(error) => error.into(),
        StartError::Engine(error) => error.into(),
        StartError::Refused(refusal) => refusal,
        other => Refusal::new(Code::Storage, other.to_string()),
    }
}
