//! Nodes in one process, over a network in memory and in virtual time.

use super::*;
use crate::clock::TimeSource;
use crate::replicas::rig::{KEYSPACE, copy_of, disk, epoch, member, memory, owners};
use crate::transport::Kind;
use crate::transport::memory::MemoryNetwork;
use crate::transport::{Admission, Answerer, Denied, Identity, Serve};
use shoal_core::clock::Stamp;
use shoal_core::codec::record::Form;
use shoal_core::quorum::{Ask, Envelope, Forwarded, Header, Member, Owners, WriteOutcome};
use shoal_core::record::{OwnedBody, PLAIN};
use shoal_core::update::OwnedUpdate;
use shoal_core::{ClusterId, PartitionId};
use shoal_storage::directory::DataDirectory;
use std::sync::{OnceLock, Weak};
use tokio::sync::oneshot;
use tokio::time::Instant;

const START_MS: Millis = 1_700_000_000_000;

/// One node: its copy, its coordinator, and its end of the network.
pub(crate) struct Peer {
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) around: Arc<Around>,
    _directory: tempfile::TempDir,
}

/// What a peer believes.
#[derive(Default)]
pub(crate) struct Around {
    pub(crate) down: Mutex<Vec<NodeId>>,
    pub(crate) wanted: Mutex<Vec<Epoch>>,
}

impl Surroundings for Around {
    fn is_up(&self, node: NodeId) -> bool {
        !self.down.lock().contains(&node)
    }

    fn need_map(&self, at_least: Epoch) {
        self.wanted.lock().push(at_least);
    }

    fn default_ttl_ms(&self, _: Incarnation) -> Option<Millis> {
        None
    }
}

/// Hands what comes in to the coordinator, once there is one.
#[derive(Default)]
struct Door(OnceLock<Weak<Coordinator>>);

impl Serve for Door {
    fn serve(&self, _: NodeId, kind: Kind, body: Bytes, answer: Answerer) {
        let Some(coordinator) = self.0.get().and_then(Weak::upgrade) else { return };
        match kind {
            Kind::Data => coordinator.serve_data(&body, answer),
            Kind::Forward => coordinator.serve_forward(&body, answer),
            Kind::Control | Kind::Meta => {}
        }
    }

    fn admit(&self, _: Identity) -> Result<Admission, Denied> {
        Ok(Admission::Whole)
    }
}

pub(crate) struct Cluster {
    pub(crate) network: Arc<MemoryNetwork>,
    pub(crate) peers: Vec<Peer>,
}

impl Cluster {
    /// Nodes 1 to `nodes`, of which the first `replicas` own everything.
    pub(crate) async fn new(nodes: u32, replicas: u32, on_disk: bool) -> Self {
        let network = MemoryNetwork::new(Handle::current(), 7);
        let first: Vec<Member> = (1..=replicas).map(|node| member(node, 1)).collect();
        let owners = owners(1, &first, &[]);
        let peers = (1..=nodes).map(|node| Self::peer(&network, NodeId(node), &owners, on_disk));
        let peers: Vec<Peer> = peers.collect();
        for peer in &peers {
            for other in 1..=nodes {
                let transport = &peer.coordinator.transport;
                transport.know(NodeId(other), &address(NodeId(other)));
            }
            tokio::spawn(Arc::clone(&peer.coordinator).run());
        }
        let cluster = Self { network, peers };
        cluster.linked().await;
        cluster
    }

    pub(crate) fn peer(
        network: &Arc<MemoryNetwork>,
        me: NodeId,
        owners: &Arc<Owners>,
        on_disk: bool,
    ) -> Peer {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let begun = Instant::now();
        let time = TimeSource::new(move || {
            START_MS + u64::try_from(begun.elapsed().as_millis()).expect("a short test")
        });
        let data =
            DataDirectory::open(&directory.path().join("data"), || (1, me.0)).expect("it opens");
        let clock = Arc::new(NodeClock::new(me, data.ceiling("clock").expect("it opens"), time));
        clock.raise(START_MS).expect("the ceiling rises");
        let (copies, routes) = (Arc::new(Copies::default()), Arc::new(Routes::default()));
        routes.set(KEYSPACE, owners);
        if owners.has_node(me) {
            let (engine, form) = if on_disk {
                (disk(&directory.path().join("disk")), Form::Sealed)
            } else {
                (memory(), Form::Plain)
            };
            let (copy, settled) = copy_of(me, &engine, form, Arc::clone(owners));
            copy.found().expect("it begins");
            copies.add_all(&[((KEYSPACE, PartitionId(0)), copy)]);
            tokio::spawn(async move { settled.run().await });
        }
        let door = Arc::new(Door::default());
        let identity = Identity { cluster: ClusterId(9), node: me, token: 1 };
        let transport = network.open(&address(me), identity, Arc::clone(&door) as _);
        let around = Arc::new(Around::default());
        let coordinator = Coordinator::new(Parts {
            me,
            clock,
            copies,
            routes,
            transport: Arc::new(transport),
            around: Arc::clone(&around) as _,
            blocking: Handle::current(),
            max_value_bytes: 1 << 20,
        });
        door.0.set(Arc::downgrade(&coordinator)).expect("set once");
        Peer { coordinator, around, _directory: directory }
    }

    /// Until every node can ask every other.
    pub(crate) async fn linked(&self) {
        loop {
            let links = |peer: &Peer| peer.coordinator.transport.links();
            let all = |peer: &Peer| {
                let me = peer.coordinator.me;
                links(peer).iter().all(|link| link.up || link.node == me)
            };
            if self.peers.iter().all(all) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn at(&self, node: u32) -> &Peer {
        &self.peers[node as usize - 1]
    }

    /// Makes the copy of a node that has none yet.
    pub(crate) async fn host(&self, node: u32, owners: &Arc<Owners>) {
        let coordinator = &self.at(node).coordinator;
        let (copy, settled) = copy_of(NodeId(node), &memory(), Form::Plain, Arc::clone(owners));
        coordinator.copies.add_all(&[((KEYSPACE, PartitionId(0)), copy)]);
        tokio::spawn(async move { settled.run().await });
    }

    /// Mends everything, and waits until everybody can be asked.
    pub(crate) async fn mend(&self) {
        self.network.mend();
        for peer in &self.peers {
            peer.around.down.lock().clear();
        }
        self.linked().await;
    }

    /// Cuts a node off from all others, in both directions; who is left knows it.
    pub(crate) fn cut_off(&self, node: u32) {
        for peer in &self.peers {
            let other = peer.coordinator.me;
            if other != NodeId(node) {
                self.network.cut(NodeId(node), other, true);
                peer.around.down.lock().push(NodeId(node));
            }
        }
    }
}

impl Peer {
    pub(crate) async fn set(
        &self,
        level: Level,
        key: &'static str,
        value: &'static str,
    ) -> WriteOutcome {
        let (tell, told) = oneshot::channel();
        let body = OwnedBody::Live { kind: PLAIN, bytes: value.into() };
        let done = Box::new(move |outcome| drop(tell.send(outcome)));
        let records = vec![(Bytes::from(key), body, None)];
        self.coordinator.write(&about(level, key), records, done).expect("the clock stamps");
        told.await.expect("every request is answered")
    }

    pub(crate) async fn get(&self, level: Level, key: &'static str) -> ReadOutcome {
        let (tell, told) = oneshot::channel();
        let done = Box::new(move |outcome| drop(tell.send(outcome)));
        self.coordinator.read(&about(level, key), key.into(), done);
        told.await.expect("every request is answered")
    }

    pub(crate) async fn value(&self, key: &'static str) -> Option<Bytes> {
        self.value_at(Level::Quorum, key).await
    }

    pub(crate) async fn value_at(&self, level: Level, key: &'static str) -> Option<Bytes> {
        match self.get(level, key).await {
            ReadOutcome::Found(found) => found.live().and_then(|record| match &record.body {
                OwnedBody::Live { bytes, .. } => Some(bytes.clone()),
                OwnedBody::Tombstone => None,
            }),
            ReadOutcome::NoQuorum(lack) => panic!("{lack:?}"),
        }
    }

    pub(crate) async fn update(&self, key: &'static str, update: OwnedUpdate) -> Forwarded {
        self.update_looking(key, update, true).await
    }

    pub(crate) async fn update_looking(
        &self,
        key: &'static str,
        update: OwnedUpdate,
        look: bool,
    ) -> Forwarded {
        let (tell, told) = oneshot::channel();
        let done = Box::new(move |outcome| drop(tell.send(outcome)));
        self.coordinator.update(&about(Level::Quorum, key), key.into(), update, look, done);
        told.await.expect("every request is answered")
    }
}

/// What a node may be asked under the first epoch.
pub(crate) fn question(to: u32, about: &About, ask: Ask) -> Question {
    let (keyspace, slot) = (about.keyspace, about.slot);
    Question { to: NodeId(to), keyspace, slot, epoch: epoch(1), round: 1, ask }
}

/// The same on its way.
pub(crate) fn envelope(ask: Ask) -> Envelope {
    let Question { keyspace, slot, epoch, round, ask, .. } =
        question(1, &about(Level::Quorum, "k"), ask);
    Envelope { header: Header { keyspace, slot, epoch, clock: Stamp::ZERO }, round, ask }
}

pub(crate) fn address(node: NodeId) -> String {
    format!("{node}:7401")
}

pub(crate) fn about(level: Level, key: &str) -> About {
    About { keyspace: KEYSPACE, slot: Slot::of(key.as_bytes()), level }
}
