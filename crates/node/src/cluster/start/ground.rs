//! What a node that others can reach stands on: threads, sockets, the door, the map's store.
//!
//! Holds: whoever closes it ends everything that runs on it.
//!
//! Does not know: which cluster the node belongs to.

use super::super::serve::Door;
use super::super::{Datagrams, Peers};
use crate::node::Node;
use crate::transport::{Identity, Kind, Transport, Unreachable};
use bytes::Bytes;
use parking_lot::Mutex;
use shoal_core::NodeId;
use shoal_core::map::{ClusterMap, Profile};
use shoal_meta::MetaError;
use shoal_meta::raft::{Options, RaftStore, Wire, WireError, WireFuture};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// How long a question about the map may take on its way.
const META_PATIENCE: Duration = Duration::from_secs(5);
/// How long threads may take to end.
const END_WITHIN: Duration = Duration::from_secs(2);

/// What a node that others can reach stands on, alone or not.
pub(crate) struct Ground {
    pub(in crate::cluster) peers: Peers,
    pub(in crate::cluster) door: Arc<Door>,
    pub(in crate::cluster) transport: Arc<dyn Transport>,
    pub(super) datagrams: Arc<dyn Datagrams>,
    /// Where everything but Raft runs.
    pub(in crate::cluster) runtime: Handle,
    /// Where Raft runs, whose tasks wait for the disk in line.
    meta: Handle,
    threads: Mutex<Option<[Runtime; 2]>>,
    /// What keeps a start from being put on record, for people.
    waits_for: Mutex<String>,
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
        let mut ground = Self::on(peers, runtime.handle(), meta.handle())?;
        ground.threads = Mutex::new(Some([runtime, meta]));
        Ok(ground)
    }

    /// The same on threads that somebody else ends: where everything runs, and where Raft does.
    ///
    /// # Errors
    /// A socket cannot be had.
    pub(in crate::cluster) fn on(
        peers: Peers,
        runtime: &Handle,
        meta: &Handle,
    ) -> std::io::Result<Self> {
        let door = Arc::new(Door::default());
        let identity = Identity::default();
        let transport = peers.network.open(runtime, identity, Arc::clone(&door) as _)?;
        let datagrams = peers.network.datagrams(runtime)?;
        let (runtime, meta, threads) = (runtime.clone(), meta.clone(), Mutex::new(None));
        let waits_for = Mutex::default();
        Ok(Self { peers, door, transport, datagrams, runtime, meta, threads, waits_for })
    }

    /// Ends everything that runs on it.
    pub(crate) fn close(&self) {
        self.transport.close();
        let threads = self.threads.lock().take();
        for runtime in threads.into_iter().flatten() {
            runtime.shutdown_timeout(END_WITHIN);
        }
    }

    /// Opens the map of a node that is, or now becomes, one of several. Blocks.
    pub(crate) fn open_store(&self, node: &std::path::Path) -> Result<Arc<RaftStore>, MetaError> {
        self.meta.block_on(self.begin_store(node))
    }

    /// The same where Raft runs.
    pub(in crate::cluster) async fn begin_store(
        &self,
        node: &std::path::Path,
    ) -> Result<Arc<RaftStore>, MetaError> {
        let wire = Arc::new(TransportWire(Arc::clone(&self.transport)));
        let store = RaftStore::open(node, Options::default(), wire).await?;
        self.door.open_to_voters(&store, &self.transport, &self.meta);
        // Who came before was judged without a map.
        self.transport.review();
        Ok(store)
    }

    /// Notes what keeps a start from being put on record.
    pub(super) fn wait_for(&self, why: &str) {
        why.clone_into(&mut self.waits_for.lock());
    }

    /// What keeps the start from being put on record, as far as is known; empty where nothing is.
    pub(crate) fn waits_for(&self) -> String {
        self.waits_for.lock().clone()
    }

    /// What the node says about itself.
    pub(in crate::cluster) fn profile(&self) -> Profile {
        let mut profile = self.peers.profile.clone();
        profile.addresses.peer = Some(self.peers.network.address().to_string());
        profile
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
