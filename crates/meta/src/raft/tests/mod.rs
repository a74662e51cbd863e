//! Whole stores on paused time, over a wire in memory that can be cut and can lose answers.

mod chain;
mod claims;
mod conformance;
mod disk;
mod faults;
mod follow;
mod limits;
mod order;
mod restart;
mod versions;

use super::home;
use super::state::ReadCommand;
use super::wire::{Answer, Request, decode, encode};
use super::{Options, RaftStore, Role, Wire, WireError, WireFuture};
use crate::rig::{create, founding};
use crate::{LocalStore, MapStore};
use bytes::Bytes;
use parking_lot::Mutex;
use shoal_core::ids::{ClusterId, NodeId};
use shoal_core::map::{ClusterMap, Command, Profile};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tempfile::TempDir;

/// Longer than anything here takes; virtual.
const LONG: Duration = Duration::from_secs(300);

/// A network in memory.
#[derive(Default)]
struct Net {
    nodes: Mutex<BTreeMap<NodeId, Weak<RaftStore>>>,
    /// From whom to whom nothing arrives.
    cut: Mutex<BTreeSet<(NodeId, NodeId)>>,
    /// How many of a hundred answers are lost.
    lossy: Mutex<u8>,
    /// How many requests were carried whole.
    carried: Mutex<BTreeMap<(NodeId, NodeId), usize>>,
    /// How many bytes the largest message had, requests and answers.
    largest: Mutex<usize>,
    /// Whether proposals are taken up and their answers say only that something failed.
    fails: Mutex<bool>,
}

impl Net {
    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.lock().contains(&(from, to))
    }

    fn cut(&self, from: u32, to: u32) {
        self.cut.lock().insert((NodeId(from), NodeId(to)));
    }

    /// Cuts both ways between every one of `these` and every one of `those`.
    fn split(&self, these: &[u32], those: &[u32]) {
        for this in these {
            for that in those {
                self.cut(*this, *that);
                self.cut(*that, *this);
            }
        }
    }

    fn heal(&self) {
        self.cut.lock().clear();
        *self.lossy.lock() = 0;
    }

    async fn carry(&self, from: NodeId, to: NodeId, request: Bytes) -> Result<Bytes, WireError> {
        let proposes = matches!(decode::<Request>(&request), Ok(Request::Propose { .. }))
            && *self.fails.lock();
        let length = request.len();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..5))).await;
        if self.is_cut(from, to) {
            // As on a real network: nothing says so.
            std::future::pending::<()>().await;
        }
        let store = self.nodes.lock().get(&to).and_then(Weak::upgrade);
        let store = store.ok_or_else(|| WireError::Unreachable("connection refused".to_owned()))?;
        // Whoever serves does not notice that the caller has gone.
        let serve = tokio::spawn(async move { store.serve(from, &request).await });
        let answer = serve.await.map_err(|error| WireError::Lost(error.to_string()))?;
        if self.is_cut(to, from) {
            std::future::pending::<()>().await;
        }
        let lossy = *self.lossy.lock();
        if fastrand::u8(0..100) < lossy {
            return Err(WireError::Lost("connection reset".to_owned()));
        }
        *self.carried.lock().entry((from, to)).or_default() += 1;
        {
            let mut largest = self.largest.lock();
            *largest = length.max(answer.len()).max(*largest);
        }
        if proposes {
            let failed = encode(&Answer::Failed("something went wrong".to_owned()));
            return Ok(Bytes::from(failed.unwrap_or_else(|error| panic!("{error}"))));
        }
        Ok(Bytes::from(answer))
    }
}

struct Port {
    net: Arc<Net>,
    from: NodeId,
}

impl Wire for Port {
    fn call(&self, to: NodeId, request: Bytes) -> WireFuture<'_> {
        Box::pin(self.net.carry(self.from, to, request))
    }
}

/// Some nodes and the network between them.
struct Cluster {
    net: Arc<Net>,
    options: Options,
    directories: BTreeMap<u32, TempDir>,
    stores: BTreeMap<u32, Arc<RaftStore>>,
}

impl Cluster {
    /// A single node that became a voter.
    async fn of_one(options: Options) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        drop(LocalStore::open(directory.path(), founding).expect("a new store"));
        let directories = BTreeMap::from([(1, directory)]);
        let net = Arc::new(Net::default());
        let mut cluster = Self { net, options, directories, stores: BTreeMap::new() };
        cluster.start(1).await;
        cluster.leader().await;
        cluster
    }

    /// `count` voters, the first of which founded the cluster.
    async fn of(count: u32) -> Self {
        let mut cluster = Self::of_one(Options::default()).await;
        for _ in 1..count {
            cluster.join().await;
        }
        cluster.set_voters(1..=count).await;
        cluster
    }

    /// Lets a new node in, as a follower.
    async fn join(&mut self) -> u32 {
        let (&by, _) = self.stores.first_key_value().expect("there is a node");
        let node = self.store(by).current().next_node;
        let join = Command::Join {
            name: format!("{node}"),
            token: 1,
            profile: Profile::default(),
            replaces: None,
        };
        self.propose(by, &join).await;
        let start = Command::StartNode { node, presented: 1, next: 2, profile: None };
        let map = self.propose(by, &start).await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        RaftStore::admit(directory.path(), node, &map).expect("a new directory");
        self.directories.insert(node.0, directory);
        self.start(node.0).await;
        node.0
    }

    fn path(&self, node: u32) -> &Path {
        self.directories[&node].path()
    }

    fn store(&self, node: u32) -> &Arc<RaftStore> {
        &self.stores[&node]
    }

    async fn start(&mut self, node: u32) {
        self.start_as(node, shoal_core::codec::command::decode).await;
    }

    /// Starts a node that reads commands like this.
    async fn start_as(&mut self, node: u32, read: ReadCommand) {
        let from = NodeId(node);
        let wire = Arc::new(Port { net: Arc::clone(&self.net), from });
        let file = home::open(self.path(node), &|_| Ok(())).expect("the directory is whole");
        let store = RaftStore::over(Arc::new(file), self.options, wire, read).await;
        let store = store.expect("the directory is whole");
        self.net.nodes.lock().insert(from, Arc::downgrade(&store));
        self.stores.insert(node, store);
    }

    /// Ends a node without a word to the others.
    async fn kill(&mut self, node: u32) {
        let others: Vec<u32> = self.stores.keys().copied().filter(|other| *other != node).collect();
        self.net.nodes.lock().remove(&NodeId(node));
        self.net.split(&[node], &others);
        let store = self.stores.remove(&node).expect("it runs");
        store.close().await;
        drop(store);
        let net = Arc::clone(&self.net);
        net.cut.lock().retain(|(from, to)| *from != NodeId(node) && *to != NodeId(node));
        // What it had under way ends when it is given up.
        tokio::time::sleep(LONG).await;
    }

    async fn propose(&self, by: u32, command: &Command) -> Arc<ClusterMap> {
        self.store(by).propose_async(command).await.expect("a good command")
    }

    /// The node that a majority follows, as soon as there is one.
    async fn leader(&self) -> u32 {
        let found = async {
            loop {
                for (node, store) in &self.stores {
                    if store.leads_now().await {
                        return *node;
                    }
                }
                tokio::time::sleep(self.options.heartbeat).await;
            }
        };
        tokio::time::timeout(LONG, found).await.expect("somebody leads in time")
    }

    async fn set_voters(&self, voters: impl IntoIterator<Item = u32>) {
        let leader = self.leader().await;
        let voters = voters.into_iter().map(NodeId).collect();
        self.store(leader).set_voters(voters).await.expect("a good set of voters");
    }

    /// Waits until a node has taken up a role.
    async fn takes_up(&self, node: u32, role: Role) {
        let store = self.store(node);
        let taken_up = async {
            while store.status().role != role {
                tokio::time::sleep(self.options.heartbeat).await;
            }
        };
        let in_time = tokio::time::timeout(LONG, taken_up).await;
        in_time.unwrap_or_else(|_| panic!("n{node} is {role:?} in time: {:?}", store.status()));
    }

    /// Waits until every node has the map of the others, followers by pulling. What nobody knows
    /// the outcome of may still be put in order meanwhile.
    async fn agree(&self) -> Arc<ClusterMap> {
        let agreed = async {
            loop {
                let leader = self.leader().await;
                for store in self.stores.values().filter(|s| s.status().role == Role::Follower) {
                    store.pull(NodeId(leader)).await.expect("the leader answers");
                }
                let map = self.store(leader).current();
                if self.stores.values().all(|store| store.current() == map) {
                    return map;
                }
                tokio::time::sleep(self.options.heartbeat).await;
            }
        };
        let map = tokio::time::timeout(LONG, agreed).await.expect("in time");
        for (node, store) in &self.stores {
            assert!(store.in_doubt().is_none(), "n{node}");
        }
        map
    }
}
