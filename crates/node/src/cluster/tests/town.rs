//! Whole nodes on one thread, in virtual time: real Raft with its log in line, engines in memory,
//! messages and datagrams under a weather that one seed decides.
//!
//! Holds: time stands still while anything is done and jumps when nothing is left to do, since
//! nothing here waits for a thread that tokio does not know. (Each node's sweep has a thread of its
//! own; among several nodes it does nothing but raise the clock's ceiling.) What every node ever
//! believed is kept in a [`History`], and held against what may be at the end of every test.
//!
//! Does not know: disks that fail or are slow. Raft draws its election timeouts from the system, and
//! so a seed decides the weather and who proposes what, not the last microsecond of a run.

use super::is_replicated;
use crate::catalogue::{Catalogue, Engines};
use crate::clock::TimeSource;
use crate::cluster::identity::Note;
use crate::cluster::join::{self, Admitted, JoinError};
use crate::cluster::memory::{MemoryPeer, MemoryPost};
use crate::cluster::rig::{founding, until};
use crate::cluster::{Cluster, First, Ground, Peers, Tokens};
use crate::coordinator::About;
use crate::node::{Node, NodeConfig};
use crate::rules::Rules;
use crate::secret::ClusterSecret;
use crate::transport::memory::{MemoryNetwork, Weather};
use bytes::Bytes;
use parking_lot::Mutex;
use shoal_core::ids::{ClusterId, MapVersion};
use shoal_core::map::{ClusterMap, Command, DEFAULT_KEYSPACE, Profile};
use shoal_core::quorum::{Level, ReadOutcome, WriteOutcome};
use shoal_core::record::{OwnedBody, PLAIN};
use shoal_core::{NodeId, Slot};
use shoal_meta::raft::RaftStore;
use shoal_meta::{LocalStore, MapStore as _, MetaError};
use shoal_storage::directory::{DataDirectory, Opened};
use shoal_storage::memory::{MemoryEngine, MemoryOptions};
use shoal_storage::{Engine, Policy};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

const START_MS: u64 = 1_700_000_000_000;
/// The most nodes that a town ever numbers.
const NODES: u32 = 9;

/// Runs a scenario once for each of some seeds, and looks at its history.
#[expect(clippy::needless_pass_by_value, reason = "a closure that is written where it is given")]
pub(super) fn in_virtual_time(seeds: u64, scenario: impl AsyncFn(&mut Town)) {
    for seed in 1..=seeds {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let named = Named(seed);
        fastrand::seed(seed);
        runtime.block_on(async {
            let mut town = Town::new(seed);
            scenario(&mut town).await;
            town.history.check();
            for machine in town.machines() {
                town.end(machine).await;
            }
        });
        drop(named);
    }
}

/// Says under which seed a test has failed.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.0);
        }
    }
}

/// What nodes have believed.
#[derive(Default)]
pub(super) struct History {
    maps: Mutex<BTreeMap<MapVersion, Arc<ClusterMap>>>,
    leaders: Mutex<BTreeMap<u64, NodeId>>,
    faults: Mutex<Vec<String>>,
}

impl History {
    /// Looks on for as long as the store is there.
    fn watch(self: &Arc<Self>, store: &RaftStore) {
        let (here, mut maps) = (Arc::clone(self), store.subscribe());
        tokio::spawn(async move {
            let mut before = MapVersion::default();
            loop {
                let map = Arc::clone(&maps.borrow_and_update());
                here.map(before, &map);
                before = map.version;
                if maps.changed().await.is_err() {
                    return;
                }
            }
        });
        let (here, mut leadership) = (Arc::clone(self), store.leadership());
        tokio::spawn(async move {
            loop {
                let now = *leadership.borrow_and_update();
                if let Some(leader) = now.leader {
                    here.leads(now.term, leader);
                }
                if leadership.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn map(&self, before: MapVersion, map: &Arc<ClusterMap>) {
        let version = map.version;
        if version < before {
            self.faults.lock().push(format!("a node went back from {before:?} to {version:?}"));
        }
        let mut maps = self.maps.lock();
        let known = maps.entry(version).or_insert_with(|| Arc::clone(map));
        if known != map {
            self.faults.lock().push(format!("two maps are of the version {version:?}"));
        }
    }

    fn leads(&self, term: u64, leader: NodeId) {
        let first = *self.leaders.lock().entry(term).or_insert(leader);
        if first != leader {
            self.faults.lock().push(format!("{first} and {leader} both lead in term {term}"));
        }
    }

    /// Whether a node led in this term.
    pub(super) fn leads_as(&self, node: NodeId, term: u64) -> bool {
        self.leaders.lock().get(&term) == Some(&node)
    }

    /// One chain of maps, and at most one leader in a term.
    fn check(&self) {
        assert!(!self.maps.lock().is_empty() && !self.leaders.lock().is_empty(), "nobody looked");
        assert_eq!(*self.faults.lock(), Vec::<String>::new());
    }
}

/// Some nodes, by the number of the machine that each runs on, and what is between them.
pub(super) struct Town {
    network: Arc<MemoryNetwork>,
    post: Arc<MemoryPost>,
    directory: tempfile::TempDir,
    begun: Instant,
    nodes: BTreeMap<u32, Arc<Node>>,
    pub(super) history: Arc<History>,
    weather: Weather,
    pub(super) dice: fastrand::Rng,
}

impl Town {
    fn new(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let least = Duration::from_micros(dice.u64(0..2_000));
        let most = least + Duration::from_micros(dice.u64(0..20_000));
        let town = Self {
            network: MemoryNetwork::new(Handle::current(), seed),
            post: MemoryPost::new(seed),
            directory: tempfile::tempdir().expect("a temporary directory"),
            begun: Instant::now(),
            nodes: BTreeMap::new(),
            history: Arc::default(),
            weather: Weather { cut: false, delay: least..=most, loss_per_mille: 0 },
            dice,
        };
        town.mend();
        town
    }

    fn address(machine: u32) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 7_400 + u16::try_from(machine).expect("few")))
    }

    fn path(&self, machine: u32) -> PathBuf {
        self.directory.path().join(format!("n{machine}"))
    }

    fn config(&self, machine: u32) -> NodeConfig {
        let network = MemoryPeer::new(
            Arc::clone(&self.network),
            Arc::clone(&self.post),
            Self::address(machine),
        );
        let peers = Peers {
            network: Arc::new(network),
            secret: ClusterSecret::none(),
            profile: Profile::default(),
            first: First::Found,
        };
        let begun = self.begun;
        let time = move || START_MS + u64::try_from(begun.elapsed().as_millis()).expect("short");
        NodeConfig {
            data: self.path(machine),
            name: format!("m{machine}"),
            time: TimeSource::new(time),
            peers: Some(peers),
            ..NodeConfig::default()
        }
    }

    fn ground(config: &NodeConfig) -> Ground {
        let (peers, here) = (config.peers.clone().expect("it has some"), Handle::current());
        Ground::on(peers, &here, &here).expect("there are no sockets")
    }

    /// Starts machine 1 as the first node of a cluster.
    pub(super) async fn found(&mut self) {
        let config = self.config(1);
        let data = DataDirectory::open(&config.data, || (7, 1)).expect("a new directory");
        drop(LocalStore::open(&config.data, || Some(founding())).expect("a new store"));
        let tokens = Tokens::make(&config.data, 1).expect("it is written");
        let ground = Self::ground(&config);
        self.open(1, config, ground, data, tokens).await;
    }

    /// Starts a machine that has nothing yet and asks machine `seed` to be let in.
    pub(super) async fn join(
        &mut self,
        machine: u32,
        seed: u32,
        replace: bool,
    ) -> Result<(), JoinError> {
        let config = self.config(machine);
        let Ok(Opened::Unowned(unowned)) = Opened::at(&config.data) else {
            panic!("m{machine} has something")
        };
        let note = Note::take(unowned.path(), &config.name).expect("it is written");
        let (ground, seeds) = (Self::ground(&config), [Self::address(seed).to_string()]);
        let (transport, profile) = (&*ground.transport, ground.profile());
        let asked = join::ask_in(transport, &seeds, &note.name, note.token, &profile, replace);
        let asked = asked.await;
        if asked.is_err() {
            ground.close();
        }
        let Admitted { cluster, node, map } = asked?;
        let data = unowned.belong(cluster.0, node.0).expect("it is written");
        RaftStore::admit(data.path(), node, &map).expect("a new directory");
        let tokens = Tokens::make(data.path(), note.token).expect("it is written");
        Note::remove(data.path()).expect("it is there");
        self.open(machine, config, ground, data, tokens).await;
        Ok(())
    }

    /// What every start of one of several does, with engines in memory.
    async fn open(
        &mut self,
        machine: u32,
        config: NodeConfig,
        ground: Ground,
        data: DataDirectory,
        mut tokens: Tokens,
    ) {
        let store = ground.begin_store(data.path()).await.expect("the directory is whole");
        self.history.watch(&store);
        let cluster = ClusterId(data.identity().cluster_id);
        ground.put_on_record(&store, &mut tokens, cluster).await.expect("it is taken note of");
        let map = store.current();
        let rules = Arc::new(Rules::default());
        rules.install(&map, false);
        let engine = || -> Arc<dyn Engine> {
            let policy = Arc::clone(&rules) as Arc<dyn Policy>;
            Arc::new(MemoryEngine::new(policy, MemoryOptions::default()))
        };
        let engines = Engines { memory: engine(), disk: engine() };
        let catalogue = Catalogue::open_among(&map, engines, Arc::clone(&rules));
        let catalogue = catalogue.expect("the spaces are opened");
        let node = Node::of(config, catalogue, rules, data, Some(ground), true);
        let node = node.expect("the node starts");
        node.serve_among(store).expect("it serves");
        self.nodes.insert(machine, node);
    }

    pub(super) fn machines(&self) -> Vec<u32> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn cluster(&self, machine: u32) -> &Arc<Cluster> {
        self.nodes[&machine].cluster().expect("it is one of several")
    }

    pub(super) fn store(&self, machine: u32) -> &Arc<RaftStore> {
        &self.cluster(machine).store
    }

    pub(super) fn id(&self, machine: u32) -> NodeId {
        self.cluster(machine).me
    }

    fn machine_of(&self, node: NodeId) -> Option<u32> {
        self.nodes.keys().copied().find(|machine| self.id(*machine) == node)
    }

    /// The map that the copies of a machine act under.
    pub(super) fn map(&self, machine: u32) -> Arc<ClusterMap> {
        self.cluster(machine).custody.map()
    }

    /// The machine that leads the map, as far as `machine` knows.
    pub(super) fn leader_by(&self, machine: u32) -> Option<u32> {
        let leader = self.store(machine).leadership().borrow().leader;
        leader.and_then(|leader| self.machine_of(leader))
    }

    pub(super) async fn propose(
        &self,
        machine: u32,
        command: &Command,
    ) -> Result<Arc<ClusterMap>, MetaError> {
        self.store(machine).propose_async(command).await
    }

    /// Ends a machine's node, which says goodbye where anybody hears it. Its directory stays.
    pub(super) async fn end(&mut self, machine: u32) {
        let node = self.nodes.remove(&machine).expect("it runs");
        node.cluster().expect("it is one of several").end().await;
        node.ground().expect("it has one").close();
        // What it had under way ends when it is given up.
        sleep(Duration::from_secs(6)).await;
    }

    /// Ends it without a word to anybody, and wipes its directory where `wiped`.
    pub(super) async fn kill(&mut self, machine: u32, wiped: bool) {
        self.isolate(&[machine]);
        self.end(machine).await;
        if wiped {
            std::fs::remove_dir_all(self.path(machine)).expect("it is there");
        }
        self.mend();
    }
}

/// The weather.
impl Town {
    fn set(&self, loss_per_mille: u16) {
        let weather = Weather { loss_per_mille, ..self.weather.clone() };
        for from in 0..=NODES {
            for to in 0..=NODES {
                self.network.set(NodeId(from), NodeId(to), weather.clone());
            }
        }
        self.post.lose(loss_per_mille);
    }

    /// Nothing is cut or lost from now on, but everything takes its time.
    pub(super) fn mend(&self) {
        self.network.mend();
        self.post.mend();
        self.set(0);
    }

    /// So many of a thousand messages are lost from now on, questions and answers.
    pub(super) fn lose(&self, per_mille: u16) {
        self.set(per_mille);
    }

    /// What is sent to a machine takes `delay` from now on.
    pub(super) fn slow(&self, to: u32, delay: Duration) {
        let weather = Weather { delay: delay..=delay, ..self.weather.clone() };
        for from in self.machines() {
            self.network.set(self.id(from), self.id(to), weather.clone());
        }
    }

    /// Nothing arrives any more from the one machine at the other.
    pub(super) fn cut(&self, from: u32, to: u32) {
        let (here, there) = (self.id(from), self.id(to));
        self.network.cut(here, there, false);
        self.post.cut(Self::address(from), Self::address(to));
    }

    /// Cuts some machines off from all others.
    pub(super) fn isolate(&self, these: &[u32]) {
        for other in self.machines().into_iter().filter(|machine| !these.contains(machine)) {
            for this in these {
                self.cut(*this, other);
                self.cut(other, *this);
            }
        }
    }
}

/// What can be waited for, and asked.
impl Town {
    /// Waits until everybody acts under one map, in which everything has `times` owners and no change
    /// is under way, and knows the same `voters`, by machine.
    pub(super) async fn is_settled(&self, times: usize, voters: &[u32]) {
        let voters: BTreeSet<NodeId> = voters.iter().map(|machine| self.id(*machine)).collect();
        let first = self.machines()[0];
        let is_so = |machine| {
            let (map, store) = (self.map(machine), self.store(machine));
            is_replicated(&map, times)
                && map.keyspaces.values().all(|found| {
                    found.partitions.iter().all(|partition| partition.outgoing.is_empty())
                })
                && map == self.map(first)
                && *store.voters().borrow() == voters
        };
        until("all agree", || self.machines().into_iter().all(is_so)).await;
    }

    /// Machines up to `machines`, joined one after the other.
    pub(super) async fn grow(&mut self, machines: u32) {
        self.found().await;
        for machine in 2..=machines {
            self.join(machine, machine - 1, false).await.expect("it is let in");
        }
    }

    /// The machines of the owners of a key.
    pub(super) fn owners(&self, machine: u32, key: &str) -> BTreeSet<u32> {
        let map = self.map(machine);
        let keyspace = map.keyspace(DEFAULT_KEYSPACE).expect("it is always there");
        let partition = keyspace.partitioning.partition_of(Slot::of(key.as_bytes()));
        let members = &keyspace.partitions[usize::from(partition.0)].replicas;
        members.iter().filter_map(|member| self.machine_of(member.node)).collect()
    }

    fn about(&self, machine: u32, key: &str, level: Level) -> About {
        let map = self.map(machine);
        let keyspace = map.keyspace(DEFAULT_KEYSPACE).expect("it is always there").incarnation;
        About { keyspace, slot: Slot::of(key.as_bytes()), level }
    }

    /// Writes at a quorum through a machine.
    pub(super) async fn set_key(&self, machine: u32, key: &str, value: &str) -> WriteOutcome {
        let (tell, told) = oneshot::channel();
        let about = self.about(machine, key, Level::Quorum);
        let body = OwnedBody::Live { kind: PLAIN, bytes: Bytes::from(value.to_owned()) };
        let records = vec![(Bytes::from(key.to_owned()), body, None)];
        let done = Box::new(move |outcome| drop(tell.send(outcome)));
        self.cluster(machine).coordinator.write(&about, records, done).expect("the clock stamps");
        told.await.expect("every request is answered")
    }

    /// Reads at a quorum through a machine.
    pub(super) async fn get_key(&self, machine: u32, key: &str) -> ReadOutcome {
        let (tell, told) = oneshot::channel();
        let about = self.about(machine, key, Level::Quorum);
        let done = Box::new(move |outcome| drop(tell.send(outcome)));
        self.cluster(machine).coordinator.read(&about, Bytes::from(key.to_owned()), done);
        told.await.expect("every request is answered")
    }

    /// Reads a key through every machine: all find `value`.
    pub(super) async fn all_find(&self, key: &str, value: &str) {
        for machine in self.machines() {
            let found = self.get_key(machine, key).await;
            let ReadOutcome::Found(found) = found else { panic!("m{machine}, {key}: {found:?}") };
            let body = found.live().map(|record| record.body.clone());
            let bytes = Bytes::from(value.to_owned());
            assert_eq!(body, Some(OwnedBody::Live { kind: PLAIN, bytes }), "m{machine}, {key}");
        }
    }
}
