//! What people are shown of the cluster: its members, how it is, why a key lives where it does.
//!
//! Holds: a node alone is shown in the same form as one of several. What is shown is what this
//! node believes at the moment; nothing is decided by it.
//!
//! Does not know: how it is written: JSON, tables and metrics are made of these values elsewhere.

mod explain;
mod figures;
mod members;
#[cfg(test)]
mod rig;

pub use crate::coordinator::{Queues, RequestFigure};
pub use explain::{Explained, HeldAnswer, HeldBy, LocalKeys, VerdictShown};
pub use figures::{REPAIR_FIGURES, RepairFigure};
pub use members::{MemberShown, Presence};

use crate::cluster::{Cluster, Condition, Event, lead};
use crate::naming::{self, name_of};
use crate::node::Node;
use crate::refusal::{Code, Refusal};
use crate::request::Target;
use crate::transport::LinkStatus;
use figures::repair_figures;
use members::{Seen, leads, members};
use shoal_core::NodeId;
use shoal_core::control::{ClusterStatus, Control, Health, View, executor, voters};
use shoal_core::ids::ClusterId;
use shoal_core::map::{Command, Keyspace as Definition};
use shoal_meta::MetaError;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// How the cluster is, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterShown {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The node that says all this.
    pub node: NodeId,
    /// Who leads those who decide the map, where that is known.
    pub leader: Option<NodeId>,
    /// The term of the leader; 0 for a node alone.
    pub term: u64,
    /// Who decides the map.
    pub voters: BTreeSet<NodeId>,
    /// What the node waits for before it serves; `None` once it does.
    pub starting: Option<String>,
    /// How far the cluster is from what it is to be.
    pub status: ClusterStatus,
    /// How many hints this node keeps for others.
    pub hints: usize,
    /// How many requests this node coordinates now.
    pub under_way: usize,
    /// How its links to the others are.
    pub links: Vec<LinkStatus>,
    /// What its repair has done since it started, in the order of [`REPAIR_FIGURES`].
    pub repair: [u64; REPAIR_FIGURES.len()],
    /// How many copies of this node are coming in.
    pub taking_in: usize,
    /// How long its queues are.
    pub queues: Queues,
    /// What came of the requests that it coordinated since it started; nothing of a node alone.
    pub requests: Vec<RequestFigure>,
    /// Whether others are to decide the map than those who do: a loss may cost more until then.
    pub voters_change: bool,
    /// How members are that have said so since they were started.
    pub conditions: BTreeMap<NodeId, Condition>,
}

impl ClusterShown {
    /// Members that are up and have not said yet how they are, since they were just started or
    /// another node has just come to lead.
    pub fn unheard(&self) -> impl Iterator<Item = NodeId> {
        let up = self.status.members.difference(&self.status.down);
        up.copied().filter(|node| !self.conditions.contains_key(node))
    }

    /// How the cluster is, in a word. It is not whole as long as somebody may have something to say
    /// against it.
    #[must_use]
    pub fn health(&self) -> Health {
        let said = if self.conditions.values().any(|condition| condition.lost_copies > 0) {
            Health::Degraded
        } else if self.voters_change || self.unheard().next().is_some() {
            Health::Growing
        } else {
            Health::Whole
        };
        self.status.health.max(said)
    }

    /// Whether every partition has all the replicas that it is to have, as everybody has said.
    #[must_use]
    pub fn is_fully_replicated(&self) -> bool {
        let lost = self.conditions.values().any(|condition| condition.lost_copies > 0);
        self.status.is_fully_replicated() && !lost && self.unheard().next().is_none()
    }
}

impl Cluster {
    fn queues(&self) -> Queues {
        let settling = self.custody.settle_queues().iter().map(|queue| queue.len()).sum();
        Queues { settling, ..self.coordinator.queues() }
    }
}

impl Node {
    /// Whether `node` answers, as far as this node knows; it knows so of itself.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        let others = self.cluster();
        node == self.id() || others.is_some_and(|cluster| cluster.liveness.is_worth_asking(node))
    }

    /// Who leads which slots of a keyspace.
    #[must_use]
    pub fn leaders(&self, keyspace: &Definition) -> Vec<(RangeInclusive<u16>, NodeId)> {
        executor::leaders(keyspace, |node| self.is_up(node))
    }

    /// The nodes of the cluster, by id.
    #[must_use]
    pub fn members(&self) -> Vec<MemberShown> {
        members(&self.map(), &self.seen())
    }

    /// How the cluster is. What copies have reported is known to the leader of the map only.
    #[must_use]
    pub fn cluster_status(&self) -> ClusterShown {
        let (map, seen) = (self.map(), self.seen());
        let cluster = self.cluster();
        let status = cluster.map_or_else(
            || Control::default().status(&map, &seen.view),
            |cluster| lead::status(cluster),
        );
        ClusterShown {
            voters_change: voters::choose(&map, &seen.view, &seen.voters).is_some(),
            cluster: map.cluster,
            node: self.id(),
            leader: seen.leader,
            term: seen.term,
            voters: seen.voters,
            starting: self.starting(),
            status,
            conditions: seen.conditions,
            hints: cluster.map_or(0, |cluster| cluster.coordinator.hints()),
            under_way: cluster.map_or(0, |cluster| cluster.coordinator.under_way()),
            links: cluster.map(|cluster| cluster.transport.links()).unwrap_or_default(),
            repair: cluster.map_or([0; REPAIR_FIGURES.len()], |cluster| {
                repair_figures(cluster.coordinator.repairs())
            }),
            queues: cluster.map(|cluster| cluster.queues()).unwrap_or_default(),
            requests: cluster.map(|cluster| cluster.coordinator.figures()).unwrap_or_default(),
            taking_in: cluster.map_or(0, |cluster| cluster.coordinator.repairs().taking_in().len()),
        }
    }

    /// What happened to the cluster lately, the oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.cluster().map(|cluster| cluster.events.all()).unwrap_or_default()
    }

    /// Notes that the node of this name never comes back, and frees its name. Blocks.
    ///
    /// # Errors
    /// [`Code::UnknownNode`], [`Code::NodeInPlace`] while it is up, [`Code::LastReplica`] where a
    /// partition would lose the last replica that may come back; nothing changed.
    pub fn forget(&self, name: &str) -> Result<(), Refusal> {
        let map = self.map();
        let (node, _) = map.node_called(name).ok_or_else(|| {
            Refusal::new(Code::UnknownNode, format!("the cluster has no node called {name}"))
        })?;
        if self.is_up(node) {
            let message = format!("{name} is up; stop it first, then forget it");
            return Err(Refusal::new(Code::NodeInPlace, message));
        }
        self.catalogue.change(&Command::Forget { node })
    }

    /// Lets partitions on disk that have lost too many copies go on with what is left: those of one
    /// keyspace, or all. Says how many.
    ///
    /// # Errors
    /// [`Code::NoKeyspace`]; where another node leads the map, the refusal says which.
    pub async fn accept_loss(&self, keyspace: Option<&str>) -> Result<usize, Refusal> {
        let map = self.map();
        if let Some(name) = keyspace.filter(|name| map.keyspace(name).is_none()) {
            return Err(crate::access::no_keyspace(&Target::Named(name.into())));
        }
        let Some(cluster) = self.cluster() else { return Ok(0) };
        let (there, keyspace) = (Arc::clone(cluster), keyspace.map(str::to_owned));
        let accepting = async move { lead::accept_loss(&there, keyspace.as_deref()).await };
        match cluster.runtime.spawn(accepting).await {
            Ok(Err(MetaError::NotLeader { leader: Some(leader) })) => {
                let (name, info) = (name_of(&map, leader), map.nodes.get(&leader));
                let client = info.and_then(|info| info.addresses.client.clone());
                let at = client.map(|client| format!(" at {client}")).unwrap_or_default();
                let message = format!("the leader of the map knows what is lost: ask {name}{at}");
                Err(Refusal::new(Code::TryAgain, message))
            }
            Ok(accepted) => accepted.map_err(|error| naming::refused(&map, error)),
            Err(_) => Err(Refusal::new(Code::Unknown, "the node is stopping")),
        }
    }

    /// Who is up and who decides, as this node sees it.
    fn seen(&self) -> Seen {
        let me = self.id();
        if let Some(cluster) = self.cluster() {
            let status = cluster.store.status();
            let sights = cluster.liveness.seen().into_iter();
            return Seen {
                me,
                view: cluster.liveness.view(),
                standings: sights
                    .map(|sight| (sight.node, (sight.standing, Some(millis(sight.lasted)))))
                    .collect(),
                leader: status.leadership.leader.filter(|leader| {
                    leads(*leader, &status.voters, |node| cluster.liveness.is_worth_asking(node))
                }),
                term: status.leadership.term,
                voters: status.voters,
                conditions: cluster.conditions.under(&self.map()),
            };
        }
        if self.starting().is_some() {
            // Who decides and who else is up is not known yet.
            let view = View { up: BTreeSet::from([me]), ..View::default() };
            let (standings, voters) = (BTreeMap::new(), BTreeSet::new());
            let conditions = BTreeMap::new();
            return Seen { me, view, standings, leader: None, term: 0, voters, conditions };
        }
        let alone = BTreeSet::from([me]);
        let refusing = self.refusing_writes().map(|refusal| refusal.code.row().code.to_owned());
        Seen {
            me,
            view: View { up: alone.clone(), ..View::default() },
            standings: BTreeMap::new(),
            leader: Some(me),
            term: 0,
            voters: alone,
            conditions: [(me, Condition { refusing, lost_copies: 0 })].into(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
