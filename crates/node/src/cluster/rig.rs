//! What tests of the cluster's parts begin with: maps, addresses, and stores that reach each other.

use bytes::Bytes;
use core::net::SocketAddr;
use parking_lot::Mutex;
use shoal_core::map::{
    Addresses, ClusterMap, Command, EngineKind, KeyspaceSpec, NodeState, Profile,
};
use shoal_core::slot::Partitioning;
use shoal_core::{ClusterId, NodeId};
use shoal_meta::raft::{Options, RaftStore, Wire, WireError, WireFuture};
use shoal_meta::{LocalStore, MapStore};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Longer than anything here takes; virtual.
const LONG: Duration = Duration::from_secs(120);

/// Where a node is found.
pub(crate) fn address_of(node: u32) -> SocketAddr {
    let host = u8::try_from(node).expect("few nodes");
    SocketAddr::new([127, 0, 0, host].into(), 7_401)
}

/// What a node says about itself.
pub(crate) fn profile_of(node: u32) -> Profile {
    let peer = Some(address_of(node).to_string());
    Profile { addresses: Addresses { peer, ..Addresses::default() }, ..Profile::default() }
}

/// The command that founds a cluster of one, with four partitions.
pub(crate) fn founding() -> Command {
    let partitioning = Partitioning::new(4).expect("a power of two");
    Command::Found {
        cluster: ClusterId(7),
        node_name: "m1".to_owned(),
        token: 1,
        hash_seed: 11,
        default: KeyspaceSpec { partitioning, ..KeyspaceSpec::new(EngineKind::Disk) },
        profile: profile_of(1),
    }
}

/// What makes `node`, the next one, a member.
pub(crate) fn joining(node: u32) -> [Command; 2] {
    let (name, profile) = (format!("m{node}"), profile_of(node));
    let node = NodeId(node);
    [
        Command::Join { name, token: 1, profile, replaces: None },
        Command::StartNode { node, presented: 1, next: 2, profile: None },
    ]
}

/// A map of so many members, of which the first owns everything.
pub(crate) fn map_of(nodes: u32) -> ClusterMap {
    let mut map = ClusterMap::default().apply(&founding()).expect("it is the first");
    for command in (2..=nodes).flat_map(joining) {
        map = map.apply(&command).expect("a good command");
    }
    assert!(map.nodes.values().all(|info| info.state == NodeState::Member));
    map
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waits = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, waits).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// Stores of some nodes, the first of which founded the cluster, that reach each other.
#[derive(Default)]
pub(crate) struct Stores {
    wires: Arc<Wires>,
    stores: BTreeMap<u32, (Arc<RaftStore>, TempDir)>,
}

#[derive(Default)]
struct Wires {
    nodes: Mutex<BTreeMap<NodeId, Weak<RaftStore>>>,
    /// How often each node was asked.
    asked: Mutex<BTreeMap<NodeId, usize>>,
}

struct Port(NodeId, Arc<Wires>);

impl Wire for Port {
    fn call(&self, to: NodeId, request: Bytes) -> WireFuture<'_> {
        Box::pin(async move {
            sleep(Duration::from_millis(1)).await;
            let store = self.1.nodes.lock().get(&to).and_then(Weak::upgrade);
            let store = store.ok_or_else(|| WireError::Unreachable("nobody".to_owned()))?;
            *self.1.asked.lock().entry(to).or_default() += 1;
            Ok(Bytes::from(store.serve(self.0, &request).await))
        })
    }
}

impl Stores {
    /// A cluster of so many members, of which the first alone has a voice; the others have the map
    /// that was in force when they were let in.
    pub(crate) async fn new(nodes: u32) -> Self {
        let mut stores = Self::default();
        let directory = tempfile::tempdir().expect("a temporary directory");
        drop(LocalStore::open(directory.path(), || Some(founding())).expect("a new store"));
        stores.open(1, directory).await;
        for node in 2..=nodes {
            for command in joining(node) {
                stores.at(1).propose_async(&command).await.expect("a good command");
            }
            let directory = tempfile::tempdir().expect("a temporary directory");
            let map = stores.at(1).current();
            RaftStore::admit(directory.path(), NodeId(node), &map).expect("a new directory");
            stores.open(node, directory).await;
        }
        stores
    }

    async fn open(&mut self, node: u32, directory: TempDir) {
        let wire = Arc::new(Port(NodeId(node), Arc::clone(&self.wires)));
        let store = RaftStore::open(directory.path(), Options::default(), wire).await;
        let store = store.expect("the directory is whole");
        self.wires.nodes.lock().insert(NodeId(node), Arc::downgrade(&store));
        self.stores.insert(node, (store, directory));
    }

    /// The store of a node.
    pub(crate) fn at(&self, node: u32) -> &Arc<RaftStore> {
        &self.stores[&node].0
    }

    /// How often a node was asked anything.
    pub(crate) fn asked(&self, node: u32) -> usize {
        self.wires.asked.lock().get(&NodeId(node)).copied().unwrap_or(0)
    }

    /// Lets nobody reach a node any more.
    pub(crate) fn hide(&self, node: u32) {
        self.wires.nodes.lock().remove(&NodeId(node));
    }
}
