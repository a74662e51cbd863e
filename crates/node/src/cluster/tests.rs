//! Whole nodes in one process, over a network in memory: one that is alone, and others that join.
//! Here with threads and disks of their own; in `scenarios` all on one thread and in virtual time.

mod scenarios;
mod town;

use super::memory::{MemoryPeer, MemoryPost};
use super::{First, Peers};
use crate::node::{Node, NodeConfig};
use crate::request::Target;
use crate::secret::ClusterSecret;
use crate::transport::memory::MemoryNetwork;
use shoal_core::map::{ClusterMap, EngineKind, KeyspaceSpec, Profile};
use shoal_core::update::{SetExpiry, Update, When};
use shoal_core::{Body, Record};
use shoal_storage::Patience;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// What the nodes of a test stand on.
pub(crate) struct World {
    network: Arc<MemoryNetwork>,
    post: Arc<MemoryPost>,
    directory: tempfile::TempDir,
    // Dropped last.
    runtime: Runtime,
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("threads can be started");
        let network = MemoryNetwork::new(runtime.handle().clone(), 7);
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { network, post: MemoryPost::new(7), directory, runtime }
    }

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 7_400 + number))
    }

    /// Starts node `number`: the first founds the cluster, all others join it.
    pub(crate) fn start(&self, number: u16, in_memory: bool) -> Arc<Node> {
        self.start_at(Self::address(number), number, in_memory)
    }

    /// The same at an address of its own.
    fn start_at(&self, address: SocketAddr, number: u16, in_memory: bool) -> Arc<Node> {
        let seeds = vec![Self::address(1).to_string()];
        let first = match number {
            1 => First::Found,
            _ => First::Join { seeds, replace: false },
        };
        let network = MemoryPeer::new(Arc::clone(&self.network), Arc::clone(&self.post), address);
        let peers = Peers {
            network: Arc::new(network),
            secret: ClusterSecret::generate([7; 32]),
            profile: Profile::default(),
            first,
        };
        let config = NodeConfig {
            data: self.directory.path().join(format!("n{number}")),
            default_in_memory: in_memory,
            memory_limit: 64 << 20,
            min_free: Some(0),
            name: format!("n{number}"),
            peers: Some(peers),
            ..NodeConfig::default()
        };
        Node::start(config).expect("the node starts")
    }

    /// Waits until `node` has a map that is as `wanted`.
    pub(crate) fn until(&self, node: &Node, wanted: impl Fn(&ClusterMap) -> bool) {
        let cluster = node.cluster().expect("it is one of several");
        let mut maps = cluster.store.subscribe();
        let waited =
            self.runtime.block_on(async { maps.wait_for(|map| wanted(map)).await.is_ok() });
        assert!(waited);
    }
}

pub(crate) fn is_replicated(map: &ClusterMap, times: usize) -> bool {
    let mut partitions = map.keyspaces.values().flat_map(|keyspace| &keyspace.partitions);
    partitions.all(|partition| partition.replicas.len() == times && partition.next.is_empty())
}

pub(crate) fn set(node: &Node, key: &str, value: &str) {
    let value = value.as_bytes();
    let update = Update::Set { value, expiry: SetExpiry::Never, when: When::Always };
    let mut access = node.access(Patience::Block);
    access.update(&Target::DEFAULT, key.as_bytes(), &update, |_| ()).expect("it is written");
    let commit = access.commit();
    drop(access);
    node.wait(commit).expect("it is settled");
}

fn get(node: &Node, key: &str) -> Option<String> {
    let text = |record: Option<Record<'_>>| match record?.body {
        Body::Live { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
        Body::Tombstone => None,
    };
    let mut access = node.access(Patience::Block);
    access.read(&Target::DEFAULT, key.as_bytes(), text).expect("it is read")
}

#[test]
fn one_becomes_three_and_losing_one_is_not_an_event() {
    let world = World::new();
    let first = world.start(1, false);
    for n in 0..200 {
        set(&first, &format!("k{n}"), &format!("alone{n}"));
    }
    let second = world.start(2, false);
    let third = world.start(3, false);
    world.until(&first, |map| is_replicated(map, 3));
    for n in 0..200 {
        for node in [&first, &second, &third] {
            assert_eq!(get(node, &format!("k{n}")), Some(format!("alone{n}")));
        }
    }
    set(&second, "k1", "together");
    assert_eq!(get(&third, "k1").as_deref(), Some("together"));
    assert_eq!(get(&first, "k1").as_deref(), Some("together"));
    first.stop().expect("it stops");
    set(&third, "k2", "without the first");
    assert_eq!(get(&second, "k2").as_deref(), Some("without the first"));
    for n in 3..200 {
        assert_eq!(get(&second, &format!("k{n}")), Some(format!("alone{n}")));
    }
    for node in [second, third] {
        node.stop().expect("it stops");
    }
}

#[test]
fn a_node_started_elsewhere_is_found_by_the_only_one_who_can_lead() {
    let world = World::new();
    let (first, second) = (world.start(1, false), world.start(2, false));
    let third = world.start(3, false);
    world.until(&first, |map| is_replicated(map, 3));
    let mut voters = first.cluster().expect("it is one of several").store.voters();
    let all = world.runtime.block_on(async { voters.wait_for(|all| all.len() == 3).await.is_ok() });
    assert!(all);
    second.stop().expect("it stops");
    // Its directory is its own as long as anybody has it.
    drop(second);
    // What the second does not have: it cannot be voted for.
    first.create_keyspace("late", KeyspaceSpec::new(EngineKind::Memory), None).expect("it is made");
    third.stop().expect("it stops");
    let second = world.start_at(World::address(9), 2, false);
    assert!(second.describe("late").is_ok());
    for node in [first, second] {
        node.stop().expect("it stops");
    }
}
