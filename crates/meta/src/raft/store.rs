//! The map store of a node among several.
//!
//! Holds: at most one Raft runs, and it is never begun with an empty log under an id that had
//! one: its file stays when the node stops being a voter. Changes of mode happen one at a time.
//! What the node does after a restart is durable before it does it.

use super::file::{RaftFile, fact};
use super::home::{self, Mode, Pulled, trouble};
use super::known::Known;
use super::log::Log;
use super::machine::Machine;
use super::network::Network;
use super::options::Options;
use super::serve::Incoming;
use super::silence::Silence;
use super::state::ReadCommand;
use super::status::{Leadership, Role, Status};
use super::types::{Proposal, Types};
use super::wire::{Members, Wire};
use crate::{MapStore, MetaError};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::type_config::alias::WatchReceiverOf;
use openraft::{RaftMetrics, ServerState};
use parking_lot::Mutex;
use shoal_core::codec;
use shoal_core::ids::{MapVersion, NodeId};
use shoal_core::map::{ClusterMap, Keyspace};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(super) type Raft = openraft::Raft<Types, Machine>;
/// How long whoever is to lead next may take, which is one vote and its answers. Where it is being
/// stopped too, nothing comes of it.
const HAND_ON_WITHIN: Duration = Duration::from_millis(500);

type Metrics = WatchReceiverOf<Types, RaftMetrics<Types>>;

/// Keeps the map of a cluster of several nodes: as a voter through Raft, as any other node by
/// pulling what the voters decided. Which of the two a node is may change while it runs.
pub struct RaftStore {
    pub(super) node: NodeId,
    pub(super) options: Options,
    pub(super) file: Arc<RaftFile>,
    pub(super) known: Arc<Known>,
    pub(super) wire: Arc<dyn Wire>,
    pub(super) runtime: Handle,
    pub(super) this: Weak<Self>,
    /// What reads commands.
    pub(super) read: ReadCommand,
    /// The snapshot that is on its way in. Held while a part is copied.
    pub(super) incoming: Mutex<Option<Incoming>>,
    /// How many messages came in another's name.
    pub(super) disowned: AtomicU64,
    /// Names this opening among all of the node's, random.
    opening: u64,
    /// How many proposals this opening has named.
    named: AtomicU32,
    /// Held from reading the newest map until a pulled one is durable and shown; never while
    /// waiting for anything but the disk.
    pub(super) adopting: Mutex<()>,
    /// Held while the voters are being changed from here.
    pub(super) changing: tokio::sync::Mutex<()>,
    /// Held while Raft is started or stopped.
    turning: tokio::sync::Mutex<()>,
    running: Mutex<Option<Running>>,
}

/// Raft, while it runs.
struct Running {
    raft: Raft,
    /// See [`Mode::Voter`].
    invited: u64,
    watcher: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl RaftStore {
    /// Whether a node of a cluster wrote `directory`, so that it is opened here and not by
    /// [`LocalStore`](crate::LocalStore).
    ///
    /// # Errors
    /// [`MetaError::File`] where that cannot be seen.
    pub fn is_in(directory: &Path) -> Result<bool, MetaError> {
        home::is_home(directory)
    }

    /// Makes `directory` the one of `node`, which was let into the cluster of `map` just now.
    ///
    /// # Errors
    /// [`MetaError::File`] or [`MetaError::Full`] where it cannot be written or belongs to a
    /// node already.
    pub fn admit(directory: &Path, node: NodeId, map: &ClusterMap) -> Result<(), MetaError> {
        home::admit(directory, node, map)
    }

    /// Opens what `directory` holds; what a single node wrote becomes the first voter's. Must
    /// be called on the runtime on which Raft is to run: its tasks write to the disk in line.
    ///
    /// # Errors
    /// [`MetaError::File`] where it is damaged, open already, missing, or cannot be written. A
    /// voter whose log has a command that this version of Shoal cannot read is opened all the
    /// same, with the map before that command: it does not take part, and `in_doubt` says why.
    pub async fn open(
        directory: &Path,
        options: Options,
        wire: Arc<dyn Wire>,
    ) -> Result<Arc<Self>, MetaError> {
        let file = Arc::new(home::open(directory, &|_| Ok(()))?);
        Self::over(file, options, wire, codec::command::decode).await
    }

    /// Begins with what `file` says.
    pub(super) async fn over(
        file: Arc<RaftFile>,
        options: Options,
        wire: Arc<dyn Wire>,
        read: ReadCommand,
    ) -> Result<Arc<Self>, MetaError> {
        let failed = |error: io::Error| trouble(file.path(), &error);
        let missing =
            |what| io::Error::new(io::ErrorKind::InvalidData, format!("{what} is missing"));
        let node: Option<u32> = file.get(fact::NODE).map_err(failed)?;
        let node = node.map(NodeId).ok_or_else(|| failed(missing("the node's id")))?;
        let mode: Option<Mode> = file.get(fact::MODE).map_err(failed)?;
        let mode = mode.ok_or_else(|| failed(missing("the node's mode")))?;
        let (map, members) = match file.get::<Pulled>(fact::PULLED).map_err(failed)? {
            Some(pulled) => {
                let map = codec::map::decode(&pulled.map);
                let map = map.map_err(|error| failed(io::Error::other(error.to_string())))?;
                (map, pulled.members)
            }
            None => (ClusterMap::default(), Members::default()),
        };
        let known = Arc::new(Known::new(Arc::new(map), members, options.part_bytes));
        let store = Arc::new_cyclic(|this| Self {
            node,
            options,
            file,
            known,
            wire,
            runtime: Handle::current(),
            this: this.clone(),
            read,
            incoming: Mutex::new(None),
            disowned: AtomicU64::new(0),
            // The keys of a hasher are the one thing the standard library draws at random.
            opening: RandomState::new().hash_one(node.0),
            named: AtomicU32::new(0),
            adopting: Mutex::new(()),
            changing: tokio::sync::Mutex::new(()),
            turning: tokio::sync::Mutex::new(()),
            running: Mutex::new(None),
        });
        if let Mode::Voter { invited } = mode {
            match store.start(invited).await {
                // It keeps its map, and says why it takes no part.
                Err(_) if store.known.failure().is_some() => {}
                started => started?,
            }
        }
        Ok(store)
    }

    /// The node whose store this is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Tells of every newer map; one that is overtaken at once may be left out.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.known.maps()
    }

    /// Tells of every change of leadership that is heard of here.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.known.leadership()
    }

    /// Tells of every change of the voters that is heard of here; empty as long as they are not
    /// known. A change of the voters is no change of the map: whoever has no voice hears of it by
    /// [`RaftStore::pull`], also where the map is the same.
    #[must_use]
    pub fn voters(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.known.voters()
    }

    /// The keyspaces of this name that were dropped after the map `since`, as they were just before;
    /// `None` where that was not seen here.
    #[must_use]
    pub fn dropped(&self, name: &str, since: MapVersion) -> Option<Vec<Keyspace>> {
        self.known.dropped(name, since)
    }

    /// The node's part in deciding the map.
    #[must_use]
    pub fn status(&self) -> Status {
        let members = self.known.members();
        let mut status = Status {
            node: self.node,
            role: Role::Follower,
            leadership: *self.known.leadership().borrow(),
            voters: members.voters(),
            voters_since: members.index,
            disowned: self.disowned.load(Ordering::Relaxed),
            map: self.known.version(),
            last_log: None,
            applied: None,
            lag: BTreeMap::new(),
        };
        if let Some(raft) = self.raft() {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            status.role = match metrics.state {
                ServerState::Learner => Role::Learner,
                ServerState::Follower => Role::Voter,
                ServerState::Candidate => Role::Candidate,
                ServerState::Leader => Role::Leader,
                ServerState::Shutdown => Role::Stopped,
            };
            status.last_log = metrics.last_log_index;
            status.applied = metrics.last_applied.map(|at| at.index);
            let last = metrics.last_log_index.unwrap_or(0);
            for (node, matched) in metrics.replication.iter().flatten() {
                let lacks = last.saturating_sub(matched.map_or(0, |at| at.index));
                if let Ok(node) = u32::try_from(*node) {
                    status.lag.insert(NodeId(node), lacks);
                }
            }
        }
        if self.known.failure().is_some() {
            status.role = Role::Stopped;
        }
        status
    }

    /// Stops Raft, after handing the lead on where this node has it. It takes nothing afterwards;
    /// what was proposed here and not answered may have happened.
    pub async fn close(&self) {
        let _turn = self.turning.lock().await;
        let running = self.running.lock().take();
        if let Some(running) = running {
            self.hand_on(&running.raft).await;
            stop(&running.raft).await;
        }
    }

    /// A name for a proposal that no other one has: the node, the opening, a number.
    pub(super) fn name_proposal(&self) -> u128 {
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        Proposal::name(self.node, self.opening, number)
    }

    /// Raft, if it runs.
    pub(super) fn raft(&self) -> Option<Raft> {
        self.running.lock().as_ref().map(|running| running.raft.clone())
    }

    /// Begins to take part in Raft: what is decided about the voters after the log position
    /// `invited` counts.
    pub(super) async fn take_part(&self, invited: u64) -> Result<(), MetaError> {
        let _turn = self.turning.lock().await;
        if let Some(doubt) = self.in_doubt() {
            return Err(doubt);
        }
        let present = self.running.lock().as_ref().map(|running| running.invited);
        let invited = present.map_or(invited, |present| present.max(invited));
        let mode = Mode::Voter { invited };
        self.file.put(fact::MODE, &mode).map_err(|error| trouble(self.file.path(), &error))?;
        // Nobody else starts or stops it meanwhile.
        if let Some(running) = self.running.lock().as_mut() {
            running.invited = invited;
            return Ok(());
        }
        self.start(invited).await
    }

    async fn start(&self, invited: u64) -> Result<(), MetaError> {
        let failed = |what: String| trouble(self.file.path(), &io::Error::other(what));
        let config = Arc::new(self.options.config().map_err(failed)?);
        let machine = Machine::open(Arc::clone(&self.file), Arc::clone(&self.known), self.read)
            .map_err(|error| trouble(self.file.path(), &error))?;
        let silence = Arc::new(Silence::new(self.node, &self.options));
        let network = Network {
            from: self.node,
            silence: Arc::clone(&silence),
            wire: Arc::clone(&self.wire),
            part_bytes: self.options.part_bytes,
        };
        let log = Log::new(Arc::clone(&self.file));
        let raft = Raft::new(u64::from(self.node.0), config, network, log, machine).await;
        let raft = raft.map_err(|error| failed(error.to_string()))?;
        let watch = watch(self.this.clone(), Arc::clone(&self.known), silence, raft.metrics());
        let watcher = tokio::spawn(watch);
        *self.running.lock() = Some(Running { raft: raft.clone(), invited, watcher });
        if self.known.members().voters() == BTreeSet::from([self.node]) {
            // There is nobody to wait for.
            raft.trigger().elect(false).await.map_err(|error| failed(error.to_string()))?;
        }
        Ok(())
    }

    /// Whether Raft runs here though the voters have decided to do without this node.
    pub(super) fn is_dismissed(&self) -> bool {
        let members = self.known.members();
        let running = self.running.lock();
        running.as_ref().is_some_and(|running| {
            let leads = running.raft.metrics().borrow_watched().state == ServerState::Leader;
            members.index > running.invited && !members.contains(self.node) && !leads
        })
    }

    /// Stops taking part in Raft, if the node was dismissed, and follows instead.
    pub(super) async fn step_back(&self) {
        let _turn = self.turning.lock().await;
        if !self.is_dismissed() {
            return;
        }
        let running = self.running.lock().take();
        let Some(running) = running else { return };
        stop(&running.raft).await;
        *self.incoming.lock() = None;
        // Only now is the newest map of Raft known; it must be found without Raft after a
        // restart. The log and the vote stay.
        let _adopting = self.adopting.lock();
        let pulled = self.pulled(&self.known.map());
        let done = self.file.change(|change| {
            change.put(fact::PULLED, &pulled)?;
            change.put(fact::MODE, &Mode::Follower)
        });
        match done {
            Ok(()) => tracing::info!(node = %self.node, "is no voter any more and follows"),
            Err(error) => self.known.fail(&error.to_string()),
        }
    }

    /// `map` and who decides it, as they are kept.
    pub(super) fn pulled(&self, map: &ClusterMap) -> Pulled {
        Pulled { map: codec::map::encode(map), members: self.known.members() }
    }

    /// Lets the most advanced of the others lead, if this node does, and waits a little for it.
    async fn hand_on(&self, raft: &Raft) {
        let mut metrics = raft.metrics();
        let heir = {
            let now = metrics.borrow_watched();
            let voters: Vec<u64> = now.membership_config.voter_ids().collect();
            let others = now.replication.iter().flatten();
            let others = others.filter(|(node, at)| {
                **node != u64::from(self.node.0) && voters.contains(node) && at.is_some()
            });
            others.max_by_key(|(_, at)| at.map(|at| at.index)).map(|(node, _)| *node)
        };
        let Some(heir) = heir else { return };
        if raft.trigger().transfer_leader(heir).await.is_err() {
            return;
        }
        let handed_on = async {
            while metrics.borrow_watched().state == ServerState::Leader {
                if metrics.changed().await.is_err() {
                    break;
                }
            }
        };
        // Where it does not work, the others elect a leader when they miss this one.
        let _ended_either_way = tokio::time::timeout(HAND_ON_WITHIN, handed_on).await;
    }
}

impl std::fmt::Debug for RaftStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftStore").field("status", &self.status()).finish_non_exhaustive()
    }
}

async fn stop(raft: &Raft) {
    if let Err(error) = raft.shutdown().await {
        tracing::warn!(%error, "Raft ended badly");
    }
}

/// Passes on what Raft says of itself, until it ends.
async fn watch(
    store: Weak<RaftStore>,
    known: Arc<Known>,
    silence: Arc<Silence>,
    mut metrics: Metrics,
) {
    loop {
        {
            let now = metrics.borrow_and_update();
            silence.count_on(now.membership_config.membership().get_joint_config());
            let leader = now.current_leader.and_then(|id| u32::try_from(id).ok()).map(NodeId);
            known.see_leadership(Leadership { term: now.current_term, leader });
            match &now.running_state {
                Ok(()) | Err(Fatal::Stopped) => {}
                Err(fatal) => known.fail(&fatal.to_string()),
            }
        }
        if let Some(store) = store.upgrade()
            && store.is_dismissed()
        {
            // Not from this task, which ends with Raft.
            tokio::spawn(async move { store.step_back().await });
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
