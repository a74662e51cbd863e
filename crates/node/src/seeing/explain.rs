//! Why a key lives where it does, what each of its replicas holds, and what this node holds.

use crate::coordinator::{Coordinator, Question};
use crate::keyspace::Keyspace;
use crate::node::Node;
use crate::refusal::{Code, Refusal};
use crate::request::Target;
use crate::rules::read_record;
use crate::scan::Listing;
use crate::scope::Scope;
use bytes::Bytes;
use shoal_core::control::executor;
use shoal_core::ids::{Epoch, Incarnation, ReplicaIncarnation};
use shoal_core::map::{ClusterMap, Keyspace as Definition};
use shoal_core::placement::{Explanation, Strategy, Verdict};
use shoal_core::quorum::{self, Ask, Reply};
use shoal_core::record::Rank;
use shoal_core::{NodeId, PartitionId, Slot};
use shoal_storage::Patience;
use std::sync::Arc;
use tokio::sync::oneshot;

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
        let listing = Listing { after, limit, ..Listing::default() };
        let listed = access.list_in(target, Scope::Held, &listing, &mut show);
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
    use super::super::rig::three;
    use super::*;
    use std::collections::BTreeSet;

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
