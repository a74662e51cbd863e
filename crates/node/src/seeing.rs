//! What people are shown of the cluster: its members, how it is, why a key lives where it does.
//!
//! Holds: a node alone is shown in the same form as one of several. What is shown is what this
//! node believes at the moment; nothing is decided by it.
//!
//! Does not know: how it is written: JSON, tables and metrics are made of these values elsewhere.

use crate::cluster::{Event, Standing, lead};
use crate::coordinator::{Coordinator, Question};
use crate::keyspace::Keyspace;
use crate::node::Node;
use crate::refusal::{Code, Refusal};
use crate::repair::RepairCounts;
use crate::request::Target;
use crate::rules::read_record;
use crate::scope::Scope;
use crate::transport::LinkStatus;
use bytes::Bytes;
use shoal_core::control::{ClusterStatus, Control, View, executor};
use shoal_core::ids::{ClusterId, Epoch, Incarnation, ReplicaIncarnation};
use shoal_core::map::{Addresses, ClusterMap, Command, Keyspace as Definition, NodeState};
use shoal_core::placement::{Explanation, Strategy, Verdict};
use shoal_core::quorum::{self, Ask, Reply};
use shoal_core::record::Rank;
use shoal_core::{NodeId, PartitionId, Slot};
use shoal_meta::MetaError;
use shoal_storage::Patience;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// How a node stands in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// It may come back, and stands so.
    Here(Standing),
    /// It never comes back; others take its places.
    Gone,
}

impl Presence {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Here(Standing::Joining),
        Self::Here(Standing::Up),
        Self::Here(Standing::Suspect),
        Self::Here(Standing::Down),
        Self::Here(Standing::Left),
        Self::Gone,
    ];

    /// Its name, which never changes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Here(standing) => standing.name(),
            Self::Gone => "gone",
        }
    }

    /// Whether the node is taken as one that answers.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Here(Standing::Up | Standing::Suspect))
    }
}

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberShown {
    /// Its id.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// How it stands.
    pub presence: Presence,
    /// For how many milliseconds it has stood so, as far as this node has watched.
    pub for_ms: Option<u64>,
    /// Where it stands.
    pub zone: Option<String>,
    /// How much it takes on; 100 is the usual.
    pub weight: u16,
    /// What else people note about it.
    pub tags: BTreeMap<String, String>,
    /// Where it is to be reached.
    pub addresses: Addresses,
    /// Whether it has a voice in deciding the map.
    pub votes: bool,
    /// Whether it leads those who decide the map.
    pub leads: bool,
    /// Whether it is the node that says all this.
    pub is_this: bool,
    /// How many partitions of all keyspaces it holds.
    pub partitions: usize,
}

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
}

/// A count of what repair has done since the node started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairFigure {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
}

macro_rules! repair_figures {
    ($( $field:ident $help:literal; )+) => {
        /// Every count of repair.
        pub const REPAIR_FIGURES: &[RepairFigure] =
            &[$( RepairFigure { name: stringify!($field), help: $help } ),+];

        fn repair_figures(counts: &RepairCounts) -> [u64; REPAIR_FIGURES.len()] {
            [$( counts.$field.load(Ordering::Relaxed) ),+]
        }
    };
}

repair_figures! {
    hints_kept "Hints kept, those in the place of older ones among them.";
    hints_restored "Hints found on the disk at the start.";
    hints_delivered "Messages that an owner took a hint from.";
    hints_superseded "Hints whose owner had something newer already.";
    hints_failed "Deliveries of hints that came to nothing and are tried again.";
    hints_below_floor "Hints dropped because the target's floor had passed them.";
    hints_no_room "Records not kept as hints because there was no room.";
    hints_void "Hints dropped because that life of their keyspace was over.";
    hints_unwritten "Hints that could not be written to the disk: a restart loses them.";
    sync_passes "Times that all partitions this node leads were compared.";
    sync_slots "Slots compared with one other owner each.";
    sync_pulled "Records taken from other owners.";
    sync_pushed "Records that other owners took from here.";
    sync_failures "Comparisons that were broken off.";
    purge_rounds "Rounds of purge that were begun.";
    purge_failures "Rounds of purge that were broken off.";
    purge_put_off "Partitions passed over by purge since an owner could not be asked.";
    purged "Dead records dropped everywhere.";
    intake_slots "Slots in which a copy of this node has proven itself.";
    intake_records "Records handed to copies coming in.";
    intake_failures "Questions of copies coming in that were not answered.";
    leaving_pushed "Records that copies going out handed to the new owners.";
}

/// Where a key lives, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The keyspace.
    pub keyspace: String,
    /// The key's slot.
    pub slot: u16,
    /// The key's partition.
    pub partition: PartitionId,
    /// Since which version of the map it is held so.
    pub epoch: Epoch,
    /// Who leads the key's updates.
    pub leader: Option<NodeId>,
    /// Who holds it or is to hold it, present owners first, in order of preference.
    pub held_by: Vec<HeldBy>,
    /// Who held it and has not forgotten yet.
    pub leaving: Vec<NodeId>,
    /// How the nodes are chosen, in a sentence.
    pub rule: String,
    /// What became of each member, the preferred ones first.
    pub candidates: Vec<VerdictShown>,
}

/// One replica of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBy {
    /// The node.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// Which life of its copy the map names.
    pub incarnation: ReplicaIncarnation,
    /// Whether it is an owner at present.
    pub present: bool,
    /// Whether it is to be one after the change that is under way.
    pub next: bool,
    /// Whether it is up.
    pub up: bool,
    /// What it holds under the key.
    pub answer: HeldAnswer,
}

/// What a replica holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldAnswer {
    /// A record of this rank, a tombstone or an expired one perhaps.
    Record(Rank),
    /// Nothing.
    Nothing,
    /// It did not say, for this reason.
    Unknown(&'static str),
}

/// Why a member holds a key or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictShown {
    /// The member.
    pub node: NodeId,
    /// Whether it is to hold the key.
    pub holds: bool,
    /// Why, in a sentence.
    pub why: String,
}

/// Keys that a node holds a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalKeys {
    /// The keys, ordered by slot, then by key.
    pub keys: Vec<Vec<u8>>,
    /// Whether there may be more after the last one.
    pub more: bool,
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
            cluster: map.cluster,
            node: self.id(),
            leader: seen.leader,
            term: seen.term,
            voters: seen.voters,
            status,
            hints: cluster.map_or(0, |cluster| cluster.coordinator.hints()),
            under_way: cluster.map_or(0, |cluster| cluster.coordinator.under_way()),
            links: cluster.map(|cluster| cluster.transport.links()).unwrap_or_default(),
            repair: cluster.map_or([0; REPAIR_FIGURES.len()], |cluster| {
                repair_figures(cluster.coordinator.repairs())
            }),
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
                let info = map.nodes.get(&leader);
                let name = info.map_or_else(|| leader.to_string(), |info| info.name.clone());
                let client = info.and_then(|info| info.addresses.client.clone());
                let at = client.map(|client| format!(" at {client}")).unwrap_or_default();
                let message = format!("the leader of the map knows what is lost: ask {name}{at}");
                Err(Refusal::new(Code::TryAgain, message))
            }
            Ok(accepted) => Ok(accepted?),
            Err(_) => Err(Refusal::new(Code::Unknown, "the node is stopping")),
        }
    }

    /// Where a key lives and why, and what each of its replicas holds.
    ///
    /// # Errors
    /// [`Code::NoKeyspace`].
    pub async fn explain(
        self: &Arc<Self>,
        target: &Target,
        key: &[u8],
    ) -> Result<Explained, Refusal> {
        let keyspace = self.keyspace_of(target)?;
        let (map, slot) = (self.map(), Slot::of(key));
        let mut explained = explained(&map, &keyspace.definition, slot, |node| self.is_up(node));
        if let Some(coordinator) = self.coordinator() {
            let about = (keyspace.definition.incarnation, slot, explained.epoch);
            ask_all(coordinator, about, key, &mut explained.held_by).await;
            return Ok(explained);
        }
        let (there, key) = (Arc::clone(self), key.to_vec());
        let own = tokio::task::spawn_blocking(move || there.own_answer(&keyspace, slot, &key));
        let own = own.await.unwrap_or(HeldAnswer::Unknown("the read failed"));
        for held in &mut explained.held_by {
            if held.node == self.id() {
                held.answer = own.clone();
            }
        }
        Ok(explained)
    }

    /// What this node's engine holds under a key. Blocks.
    fn own_answer(&self, keyspace: &Keyspace, slot: Slot, key: &[u8]) -> HeldAnswer {
        let mut answer = HeldAnswer::Nothing;
        let mut show = |stored: Option<&[u8]>| {
            if let Some(bytes) = stored {
                let record = read_record(key, bytes);
                let damaged = |_| HeldAnswer::Unknown("the record is damaged");
                answer = record.map_or_else(damaged, |record| HeldAnswer::Record(record.rank()));
            }
        };
        let address = keyspace.address(slot, key);
        match keyspace.engine.read(address, Patience::Block, &mut show) {
            Ok(shoal_storage::Answer::Given(commit)) if self.wait(commit).is_ok() => answer,
            _ => HeldAnswer::Unknown("its storage does not answer"),
        }
    }

    /// Keys that this node holds a copy of, at most `limit`, strictly after `after` in the order
    /// of slot, then key. Blocks.
    ///
    /// # Errors
    /// [`Code::NoKeyspace`], or the engine's refusal.
    pub fn local_keys(
        &self,
        target: &Target,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<LocalKeys, Refusal> {
        self.keyspace_of(target)?;
        let mut keys = Vec::new();
        let mut access = self.access(Patience::Block);
        let mut show = |key: &[u8], _: shoal_core::Record<'_>| keys.push(key.to_vec());
        let listed = access.list_in(target, Scope::Held, &[], after, limit, &mut show);
        let more = listed.map_err(|halt| match halt {
            crate::Halt::Refused(refusal) => refusal,
            _ => Refusal::new(Code::Storage, "a read was not answered"),
        })?;
        let commit = access.commit();
        drop(access);
        self.wait(commit)?;
        Ok(LocalKeys { keys, more })
    }

    fn keyspace_of(&self, target: &Target) -> Result<Arc<Keyspace>, Refusal> {
        let routing = self.catalogue.routing();
        let found = routing.find(target).map(Arc::clone);
        found.ok_or_else(|| crate::access::no_keyspace(target))
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
                leader: status.leadership.leader,
                term: status.leadership.term,
                voters: status.voters,
            };
        }
        let alone = BTreeSet::from([me]);
        Seen {
            me,
            view: View { up: alone.clone(), ..View::default() },
            standings: BTreeMap::new(),
            leader: Some(me),
            term: 0,
            voters: alone,
        }
    }
}

/// Asks those who hold a key and are up what they hold.
async fn ask_all(
    coordinator: &Arc<Coordinator>,
    (keyspace, slot, epoch): (Incarnation, Slot, Epoch),
    key: &[u8],
    held_by: &mut [HeldBy],
) {
    let key = Bytes::copy_from_slice(key);
    let mut told = Vec::with_capacity(held_by.len());
    // All are asked before the first is waited for.
    for held in held_by.iter_mut().filter(|held| held.up) {
        let (tell, answer) = oneshot::channel();
        let ask = Ask::Read { key: key.clone(), whole: false };
        let question = Question { to: held.node, keyspace, slot, epoch, round: 0, ask };
        // Whoever asked may be gone by then.
        coordinator.ask(question, |answer| drop(tell.send(answer)));
        told.push((held, answer));
    }
    for (held, answer) in told {
        held.answer = match answer.await.ok().flatten().map(|answer| answer.reply) {
            None => HeldAnswer::Unknown("it did not answer"),
            Some(Reply::Found { rank: Some(rank), .. }) => HeldAnswer::Record(rank),
            Some(Reply::Found { rank: None, .. }) => HeldAnswer::Nothing,
            Some(Reply::Refused(quorum::Refusal::NotCounting)) => {
                HeldAnswer::Unknown("its copy does not count yet")
            }
            Some(_) => HeldAnswer::Unknown("it does not know this version of the map"),
        };
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What one node sees of the others at a moment.
struct Seen {
    me: NodeId,
    view: View,
    /// What is known beyond up and down, and for how many milliseconds.
    standings: BTreeMap<NodeId, (Standing, Option<u64>)>,
    leader: Option<NodeId>,
    term: u64,
    voters: BTreeSet<NodeId>,
}

fn members(map: &ClusterMap, seen: &Seen) -> Vec<MemberShown> {
    let mut partitions: BTreeMap<NodeId, usize> = BTreeMap::new();
    for partition in map.keyspaces.values().flat_map(|keyspace| &keyspace.partitions) {
        for member in &partition.replicas {
            *partitions.entry(member.node).or_default() += 1;
        }
    }
    let shown = map.nodes.iter().map(|(node, info)| {
        let known = seen.standings.get(node).copied();
        let (presence, for_ms) = match info.state {
            NodeState::Gone => (Presence::Gone, None),
            NodeState::Joining => (Presence::Here(Standing::Joining), None),
            NodeState::Member if *node == seen.me => (Presence::Here(Standing::Up), None),
            NodeState::Member => {
                let (standing, for_ms) = known.unwrap_or((Standing::Down, None));
                (Presence::Here(standing), for_ms)
            }
        };
        MemberShown {
            node: *node,
            name: info.name.clone(),
            presence,
            for_ms,
            zone: info.zone.clone(),
            weight: info.weight,
            tags: info.tags.clone(),
            addresses: info.addresses.clone(),
            votes: seen.voters.contains(node),
            leads: seen.leader == Some(*node),
            is_this: *node == seen.me,
            partitions: partitions.get(node).copied().unwrap_or(0),
        }
    });
    shown.collect()
}

/// Where the keys of a slot live and why; what is held there is not known yet.
fn explained(
    map: &ClusterMap,
    keyspace: &Definition,
    slot: Slot,
    up: impl Fn(NodeId) -> bool,
) -> Explained {
    let (id, partition) = keyspace.partition_of(slot);
    let name = |node: NodeId| {
        map.nodes.get(&node).map_or_else(|| node.to_string(), |info| info.name.clone())
    };
    let coming = partition.next.iter().filter(|member| !partition.replicas.contains(member));
    let held_by = partition.replicas.iter().chain(coming).map(|member| HeldBy {
        node: member.node,
        name: name(member.node),
        incarnation: member.incarnation,
        present: partition.replicas.contains(member),
        next: partition.next.contains(member),
        up: up(member.node),
        answer: HeldAnswer::Unknown(if up(member.node) {
            "it did not answer"
        } else {
            "it is down"
        }),
    });
    let members = map.members();
    let owners = |partition: &shoal_core::map::Partition| {
        partition.replicas.iter().map(|member| member.node).collect()
    };
    let present: Vec<Vec<NodeId>> = keyspace.partitions.iter().map(owners).collect();
    let terms = map.terms(keyspace, &members, &present);
    let explanation = terms.explain(id).ok();
    let rule = explanation.as_ref().map_or_else(
        || "no member may take the partition".to_owned(),
        |explanation| rule(explanation, members.len()),
    );
    let candidates = explanation.into_iter().flat_map(|explanation| explanation.candidates);
    let candidates = candidates.map(|candidate| VerdictShown {
        node: candidate.node,
        holds: candidate.verdict.is_owner(),
        why: sentence(candidate.verdict, candidate.zone.as_deref()),
    });
    Explained {
        keyspace: keyspace.name.clone(),
        slot: slot.number(),
        partition: id,
        epoch: partition.epoch,
        leader: executor::leader(partition, &up),
        held_by: held_by.collect(),
        leaving: partition.outgoing.clone(),
        rule,
        candidates: candidates.collect(),
    }
}

/// How nodes are chosen for a partition.
fn rule(explanation: &Explanation, members: usize) -> String {
    let strategy = match explanation.strategy {
        Strategy::Rendezvous => "weighted rendezvous hashing",
        Strategy::Jump => "jump consistent hashing",
        Strategy::Ring => "a consistent-hash ring",
    };
    let zones = match explanation.zone_limit {
        Some(1) => ", each in a zone of its own".to_owned(),
        Some(limit) => format!(", at most {limit} of them in one zone"),
        None => String::new(),
    };
    let wanted = explanation.wanted;
    format!("{strategy} chooses {wanted} of {members} nodes{zones}")
}

/// What became of a member, in words.
fn sentence(verdict: Verdict, zone: Option<&str>) -> String {
    match verdict {
        Verdict::Taken => "it is among the preferred ones and becomes an owner".to_owned(),
        Verdict::Kept => "it is an owner and stays one".to_owned(),
        Verdict::Enough => "there are owners enough before it".to_owned(),
        Verdict::TakesNothingNew => "its weight is 0: it takes nothing new".to_owned(),
        Verdict::ZoneTaken => match zone {
            Some(zone) => format!("its zone {zone} has as many owners as it may"),
            None => "nodes without a zone have as many places as they may".to_owned(),
        },
        Verdict::BoundReached { bound } => {
            format!("it has as many places of the keyspace as it may: {bound}")
        }
        Verdict::OwnersStay => "owners that are there already stay".to_owned(),
        Verdict::GaveUp => "it gave its place up so that the loads are even".to_owned(),
        Verdict::Balance => "the place went to another so that the loads are even".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_core::map::{Command, EngineKind, KeyspaceSpec, Profile};

    /// A map of three nodes in three zones that all hold everything.
    fn three() -> ClusterMap {
        let profile = |zone: &str| Profile { zone: Some(zone.to_owned()), ..Profile::default() };
        let found = Command::Found {
            cluster: ClusterId(7),
            node_name: "a".to_owned(),
            token: 1,
            hash_seed: 7,
            default: KeyspaceSpec::new(EngineKind::Disk),
            profile: profile("x"),
        };
        let mut map = ClusterMap::default().apply(&found).expect("it is founded");
        for (node, name, zone) in [(2, "b", "y"), (3, "c", "z")] {
            let (token, profile) = (u64::from(node), Some(profile(zone)));
            let join = Command::Join {
                name: name.to_owned(),
                token,
                profile: Profile::default(),
                replaces: None,
            };
            map = map.apply(&join).expect("it is let in");
            let start =
                Command::StartNode { node: NodeId(node), presented: token, next: 9, profile };
            map = map.apply(&start).expect("it starts");
        }
        let create = Command::CreateKeyspace {
            name: "ks".to_owned(),
            spec: KeyspaceSpec::new(EngineKind::Memory),
            database: None,
        };
        map.apply(&create).expect("it is made")
    }

    fn seen() -> Seen {
        Seen {
            me: NodeId(1),
            view: View {
                now_ms: 5_000,
                up: [NodeId(1), NodeId(2)].into(),
                down_since_ms: [(NodeId(3), 2_000)].into(),
                ..View::default()
            },
            standings: [
                (NodeId(2), (Standing::Suspect, Some(10))),
                (NodeId(3), (Standing::Down, Some(3_000))),
            ]
            .into(),
            leader: Some(NodeId(2)),
            term: 4,
            voters: [NodeId(1), NodeId(2), NodeId(3)].into(),
        }
    }

    #[test]
    fn members_are_shown_as_this_node_sees_them() {
        let mut map = three();
        let join = Command::Join {
            name: "d".to_owned(),
            token: 4,
            profile: Profile::default(),
            replaces: None,
        };
        map = map.apply(&join).expect("it is let in");
        let shown = members(&map, &seen());
        let stand: Vec<_> = shown.iter().map(|m| (m.presence.name(), m.for_ms)).collect();
        assert_eq!(
            stand,
            [("up", None), ("suspect", Some(10)), ("down", Some(3_000)), ("joining", None)]
        );
        let words: Vec<_> = shown.iter().map(|m| (m.is_this, m.votes, m.leads)).collect();
        assert_eq!(words[..2], [(true, true, false), (false, true, true)]);
        assert_eq!(words[3], (false, false, false));
        assert_eq!(shown[0].partitions, 512, "all of `default`, and its part of `ks`");
        assert_eq!((shown[1].partitions, shown[3].partitions), (256, 0));
    }

    #[test]
    fn a_key_is_explained_by_its_owners_and_all_that_might_be() {
        let map = three();
        let keyspace = map.keyspace("ks").expect("it was made");
        let slot = Slot::of(b"key");
        let up = |node| node != NodeId(2);
        let explained = explained(&map, keyspace, slot, up);
        assert_eq!(explained.slot, slot.number());
        assert_eq!(explained.held_by.len(), 3);
        assert!(explained.held_by.iter().all(|held| held.present && !held.next));
        let two = explained.held_by.iter().find(|held| held.node == NodeId(2));
        let two = two.expect("it holds everything");
        assert_eq!((two.up, two.name.as_str()), (false, "b"));
        assert_eq!(two.answer, HeldAnswer::Unknown("it is down"));
        assert_ne!(explained.leader, Some(NodeId(2)));
        assert_eq!(explained.candidates.len(), 3);
        assert!(explained.candidates.iter().all(|c| c.holds && c.why.contains("stays one")));
        assert!(explained.rule.contains("3 of 3 nodes"), "{}", explained.rule);
    }

    #[test]
    fn every_verdict_has_a_sentence_of_its_own() {
        let verdicts = [
            Verdict::Taken,
            Verdict::Kept,
            Verdict::Enough,
            Verdict::TakesNothingNew,
            Verdict::ZoneTaken,
            Verdict::BoundReached { bound: 7 },
            Verdict::OwnersStay,
            Verdict::GaveUp,
            Verdict::Balance,
        ];
        let sentences: BTreeSet<_> = verdicts.map(|verdict| sentence(verdict, Some("x"))).into();
        assert_eq!(sentences.len(), verdicts.len());
        assert!(sentence(Verdict::BoundReached { bound: 7 }, None).ends_with('7'));
    }
}
