//! How nodes are beyond whether they answer: whether they refuse writes, and how many of their
//! copies are lost. Each tells whoever leads the map, and hears from it how the others are.
//!
//! Holds: what is known of a node it has said itself, in the start that the map has on record for
//! it; of a node that has said nothing since it started nothing is known. What is not heard is told
//! again.
//!
//! Does not know: what is made of it. Nothing is decided by it.

use super::message::{Answer, Request};
use super::{Cluster, over};
use crate::node::Node;
use crate::transport::{Kind, Transport};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use shoal_core::NodeId;
use shoal_core::map::{ClusterMap, MAX_NODES};
use shoal_meta::MapStore;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// How soon it is told again after somebody was started or came to lead, so that all have heard of
/// each other, and how often otherwise: every pause is twice as long as the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long the leader may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest code of a refusal that is heard, in bytes.
const MAX_CODE: usize = 64;

/// How a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The code of the refusal that it answers writes with, while it does.
    pub refusing: Option<String>,
    /// How many of its copies are lost, and not yet begun anew.
    pub lost_copies: u32,
}

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(super) node: u32,
    /// In which start of it.
    pub(super) token: u64,
    pub(super) refusing: Option<String>,
    pub(super) lost_copies: u32,
}

impl Said {
    /// Without what is longer than any code.
    fn bounded(mut self) -> Self {
        self.refusing = self.refusing.filter(|code| code.len() <= MAX_CODE);
        self
    }
}

/// What nodes have said last.
#[derive(Default)]
pub(crate) struct Conditions(Mutex<BTreeMap<NodeId, Said>>);

impl Conditions {
    /// Takes note of what a node says of itself.
    fn note(&self, said: Said) {
        let mut all = self.0.lock();
        let node = NodeId(said.node);
        if all.len() < MAX_NODES || all.contains_key(&node) {
            all.insert(node, said.bounded());
        }
    }

    /// Takes over what the leader of the map has heard.
    fn replace(&self, all: Vec<Said>) {
        let all = all.into_iter().take(MAX_NODES).map(Said::bounded);
        *self.0.lock() = all.map(|said| (NodeId(said.node), said)).collect();
    }

    fn all(&self) -> Vec<Said> {
        self.0.lock().values().cloned().collect()
    }

    /// How the nodes of `map` are, as far as they have said so in their present start.
    pub(crate) fn under(&self, map: &ClusterMap) -> BTreeMap<NodeId, Condition> {
        let all = self.0.lock();
        let present = map.nodes.iter().filter_map(|(node, info)| {
            let Said { refusing, lost_copies, .. } =
                all.get(node).filter(|said| said.token == info.token)?.clone();
            Some((*node, Condition { refusing, lost_copies }))
        });
        present.collect()
    }
}

/// Takes note of what `from` says, where this node leads the map, and answers with what everybody
/// has said.
pub(super) fn hear(cluster: &Cluster, from: NodeId, said: Said) -> Answer {
    let leads = cluster.store.leadership().borrow().leader == Some(cluster.me);
    if !leads || NodeId(said.node) != from {
        return Answer::Heard;
    }
    cluster.conditions.note(said);
    Answer::Conditions(cluster.conditions.all())
}

/// Tells the leader how this node is, until the node stops.
pub(super) async fn run(cluster: Arc<Cluster>, node: Weak<Node>) {
    let mut stop = cluster.stop.subscribe();
    tokio::select! {
        biased;
        () = over(&mut stop) => {}
        () = tell_always(&cluster, &node) => {}
    }
}

async fn tell_always(cluster: &Cluster, node: &Weak<Node>) {
    let (mut leadership, mut maps) = (cluster.store.leadership(), cluster.store.subscribe());
    let mut pause = PAUSES.0;
    while let Some(node) = node.upgrade() {
        let starts = starts(&maps.borrow_and_update());
        let said = own(cluster, &node);
        drop(node);
        let leader = leadership.borrow_and_update().leader;
        match leader {
            Some(leader) if leader == cluster.me => cluster.conditions.note(said),
            Some(leader) => {
                if let Some(all) = tell(&*cluster.transport, leader, said).await {
                    cluster.conditions.replace(all);
                }
            }
            None => {}
        }
        tokio::select! {
            changed = leadership.changed() => {
                if changed.is_err() {
                    return;
                }
                pause = PAUSES.0;
            }
            changed = maps.wait_for(|map| self::starts(map) != starts) => {
                if changed.is_err() {
                    return;
                }
                pause = PAUSES.0;
            }
            () = sleep(pause) => pause = (pause * 2).min(PAUSES.1),
        }
    }
}

/// Which start of which node is on record.
fn starts(map: &ClusterMap) -> Vec<(NodeId, u64)> {
    map.nodes.iter().map(|(node, info)| (*node, info.token)).collect()
}

fn own(cluster: &Cluster, node: &Node) -> Said {
    let map = cluster.store.current();
    let lost = cluster.custody.copies().all().iter().filter(|(_, copy)| copy.is_lost()).count();
    Said {
        node: cluster.me.0,
        token: map.nodes.get(&cluster.me).map_or(0, |info| info.token),
        refusing: node.refusing_writes().map(|refusal| refusal.code.row().code.to_owned()),
        lost_copies: u32::try_from(lost).unwrap_or(u32::MAX),
    }
}

/// What the leader has heard of everybody, if it answers.
async fn tell(transport: &dyn Transport, leader: NodeId, said: Said) -> Option<Vec<Said>> {
    let (sender, receiver) = oneshot::channel();
    // Whoever asked may be gone by the time of the answer: the node is stopping.
    let reply = Box::new(move |answer: Result<Bytes, _>| drop(sender.send(answer)));
    transport.ask(leader, Kind::Control, Request::Condition(said).encode(), PATIENCE, reply);
    match Answer::decode(&receiver.await.ok()?.ok()?) {
        Ok(Answer::Conditions(all)) => Some(all),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::rig::map_of;

    fn said(node: u32, token: u64, lost_copies: u32) -> Said {
        Said { node, token, refusing: None, lost_copies }
    }

    #[test]
    fn what_a_node_said_before_it_was_started_again_says_nothing() {
        let (conditions, map) = (Conditions::default(), map_of(2));
        assert!(conditions.under(&map).is_empty());
        let token = map.nodes[&NodeId(2)].token;
        conditions.note(said(2, token - 1, 0));
        assert!(conditions.under(&map).is_empty());
        conditions.note(said(2, token, 5));
        let known = conditions.under(&map);
        assert_eq!(
            known.into_iter().collect::<Vec<_>>(),
            [(NodeId(2), Condition { refusing: None, lost_copies: 5 })]
        );
        conditions.replace(vec![said(9, token, 0)]);
        assert!(conditions.under(&map).is_empty(), "of nobody in the map");
    }

    #[test]
    fn what_is_heard_is_bounded() {
        let conditions = Conditions::default();
        for node in 0..=u32::try_from(MAX_NODES).expect("few") {
            conditions.note(said(node, 1, 0));
        }
        let code = Some("x".repeat(MAX_CODE + 1));
        conditions.note(Said { refusing: code, ..said(0, 1, 0) });
        let all = conditions.all();
        assert_eq!(all.len(), MAX_NODES);
        assert!(all.iter().all(|said| said.refusing.is_none()));
    }
}
