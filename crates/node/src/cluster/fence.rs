//! Waiting until a life of a keyspace is over everywhere it matters.
//!
//! Holds: once a keyspace is emptied or dropped, and whoever asked for it has the answer, a quorum
//! of the owners of each of its partitions acts under the new map. So no quorum acknowledges a
//! write of the life before any more, through whatever node it comes. Where every node answers, all
//! of them do by then, and what is written next is written in the new life through any of them.
//!
//! Does not know: how owners learn of maps.

use super::message::{Answer, Request};
use super::{Cluster, over};
use crate::coordinator::DEADLINE;
use crate::refusal::{Code, Refusal};
use crate::transport::{Kind, Transport, Unreachable};
use bytes::Bytes;
use shoal_core::NodeId;
use shoal_core::ids::MapVersion;
use shoal_core::map::{ClusterMap, Command, Keyspace, Partition};
use shoal_core::quorum::Member;
use shoal_meta::raft::is_plausible;
use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

/// How soon a node that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// How long nodes are waited for that have to do nothing for what was acknowledged to be kept. A
/// write through one that has not heard is refused by those that have, as one that may have happened.
const COURTESY: Duration = Duration::from_secs(1);

/// Nodes of whom so many have to act under the new map.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Needed {
    of: BTreeSet<NodeId>,
    at_least: usize,
}

impl Cluster {
    /// Where `command` has ended lives of keyspaces and led to `map`, or an older one, waits until a
    /// quorum of each of their partitions acts under it. What was known here before was of the
    /// version `before`. Blocks.
    ///
    /// # Errors
    /// [`Code::Unknown`] where that takes too long: it has happened, but a write through a node
    /// that has not heard of it may still be acknowledged, and is void.
    pub(super) fn await_fence(
        &self,
        command: &Command,
        before: MapVersion,
        map: &ClusterMap,
    ) -> Result<(), Refusal> {
        // A clock ticks on the runtime only.
        self.runtime.block_on(self.fence(command, before, map))
    }

    /// As [`Cluster::await_fence`], without blocking.
    pub(super) async fn fence(
        &self,
        command: &Command,
        before: MapVersion,
        map: &ClusterMap,
    ) -> Result<(), Refusal> {
        let needed = match command {
            // Whoever owns a partition now either did so when it was emptied, or came in since.
            Command::FlushKeyspaces { names } => {
                let emptied = map.keyspaces.values().filter(|of| names.contains(&of.name));
                quorums(emptied)
            }
            Command::DropKeyspace { name } => match self.store.dropped(name, before) {
                Some(dropped) => quorums(dropped.iter()),
                // Who owned it when it went was not seen here: it may have been anybody.
                None => vec![everybody(map)],
            },
            _ => return Ok(()),
        };
        self.fenced(&needed, map).await.map_err(|_| {
            let message = "it is done, but too few nodes have confirmed it in time: what is \
                           written through the others at this moment may be void";
            Refusal::new(Code::Unknown, message)
        })
    }

    /// Asks them until so many as are needed act under `map`, and for a moment the others that are
    /// up.
    async fn fenced(&self, needed: &[Needed], map: &ClusterMap) -> Result<(), Elapsed> {
        let mut others = everybody(map).of;
        others.retain(|node| *node == self.me || self.liveness.is_worth_asking(*node));
        let owners = needed.iter().flat_map(|needed| &needed.of).copied();
        let asked: BTreeSet<NodeId> = others.iter().copied().chain(owners).collect();
        let mut asking = JoinSet::new();
        for node in asked.into_iter().filter(|node| *node != self.me) {
            asking.spawn(ask_until_heard(Arc::clone(&self.transport), node, map.version));
        }
        let mut adopted = BTreeSet::from([self.me]);
        let are_met = |adopted: &_| needed.iter().all(|needed| needed.is_met(adopted));
        timeout(DEADLINE, gather(&mut asking, &mut adopted, are_met)).await?;
        let all = |adopted: &BTreeSet<NodeId>| adopted.is_superset(&others);
        // Nothing depends on those who do not answer within it.
        let _ = timeout(COURTESY, gather(&mut asking, &mut adopted, all)).await;
        Ok(())
    }

    /// Waits until the copies of this node act under a map of at least `version`; whether they do.
    pub(super) async fn adopts(self: Arc<Self>, version: MapVersion) -> bool {
        if !is_plausible(version) {
            return false;
        }
        self.follow.need(version);
        let mut stop = self.stop.subscribe();
        let mut adopted = self.custody.versions();
        tokio::select! {
            there = timeout(DEADLINE, adopted.wait_for(|adopted| *adopted >= version)) => {
                matches!(there, Ok(Ok(_)))
            }
            () = over(&mut stop) => false,
        }
    }
}

impl Needed {
    fn is_met(&self, adopted: &BTreeSet<NodeId>) -> bool {
        self.of.intersection(adopted).count() >= self.at_least
    }
}

/// A quorum of every set of owners of these keyspaces.
fn quorums<'k>(keyspaces: impl Iterator<Item = &'k Keyspace>) -> Vec<Needed> {
    let majority = |members: &Vec<Member>| {
        let of: BTreeSet<NodeId> = members.iter().map(|member| member.node).collect();
        Needed { at_least: of.len() / 2 + 1, of }
    };
    let sets = |partition: &'k Partition| [&partition.replicas, &partition.next];
    let sets = keyspaces.flat_map(|keyspace| &keyspace.partitions).flat_map(sets);
    let mut needed: Vec<Needed> =
        sets.filter(|members| !members.is_empty()).map(majority).collect();
    // Most partitions have the same owners.
    needed.sort_by(|a, b| a.of.cmp(&b.of));
    needed.dedup();
    needed
}

fn everybody(map: &ClusterMap) -> Needed {
    let there = map.nodes.iter().filter(|(_, info)| !info.is_gone());
    let of: BTreeSet<NodeId> = there.map(|(node, _)| *node).collect();
    Needed { at_least: of.len(), of }
}

/// Takes in who has adopted until that is enough. Where nobody is left to ask, the end is the
/// deadline's.
async fn gather(
    asking: &mut JoinSet<NodeId>,
    adopted: &mut BTreeSet<NodeId>,
    is_enough: impl Fn(&BTreeSet<NodeId>) -> bool,
) {
    while !is_enough(adopted) {
        match asking.join_next().await {
            Some(Ok(node)) => {
                adopted.insert(node);
            }
            Some(Err(error)) => tracing::error!(%error, "asking a node to follow failed"),
            None => pending().await,
        }
    }
}

/// Asks `node` to act under a map of at least `version` until it says that it does.
async fn ask_until_heard(
    transport: Arc<dyn Transport>,
    node: NodeId,
    version: MapVersion,
) -> NodeId {
    let MapVersion { generation, index } = version;
    loop {
        let (tell, told) = oneshot::channel();
        // Whoever asked may have given up.
        let reply = move |answer: Result<Bytes, Unreachable>| drop(tell.send(answer));
        let body = Request::Adopt { generation, index }.encode();
        transport.ask(node, Kind::Control, body, DEADLINE, Box::new(reply));
        let answer = told.await.ok().and_then(Result::ok);
        if answer.is_some_and(|bytes| Answer::decode(&bytes) == Ok(Answer::Heard)) {
            return node;
        }
        // A link that is just being made anew, perhaps.
        sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::rig::map_of;
    use crate::transport::memory::MemoryNetwork;
    use crate::transport::{Admission, Answerer, Denied, Identity, Serve};
    use parking_lot::Mutex;
    use shoal_core::ClusterId;
    use tokio::runtime::Handle;

    /// Hears nothing the first few times.
    struct Deaf(Mutex<usize>);

    impl Serve for Deaf {
        fn serve(&self, _: NodeId, _: Kind, _: Bytes, answer: Answerer) {
            let mut times = self.0.lock();
            if *times == 0 {
                answer.send(Answer::Heard.encode());
            }
            // Else it is dropped: there is no answer.
            *times = times.saturating_sub(1);
        }

        fn admit(&self, _: Identity) -> Result<Admission, Denied> {
            Ok(Admission::Whole)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_hear_is_asked_again() {
        let network = MemoryNetwork::new(Handle::current(), 1);
        let identity = |node| Identity { cluster: ClusterId(1), node: NodeId(node), token: 1 };
        let deaf = Arc::new(Deaf(Mutex::new(3)));
        let _owner = network.open("n2:1", identity(2), Arc::clone(&deaf) as _);
        let asker = network.open("n1:1", identity(1), Arc::new(Deaf(Mutex::default())));
        asker.know(NodeId(2), "n2:1");
        let version = MapVersion { generation: 0, index: 9 };
        assert_eq!(ask_until_heard(Arc::new(asker), NodeId(2), version).await, NodeId(2));
        assert_eq!(*deaf.0.lock(), 0);
    }

    #[test]
    fn a_quorum_of_every_set_of_owners_is_needed() {
        let mut map = map_of(4);
        let nodes = |of: &[u32]| of.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        assert_eq!(everybody(&map), Needed { of: nodes(&[1, 2, 3, 4]), at_least: 4 });
        let keyspace = map.keyspaces.values_mut().next().expect("there is one");
        let member = keyspace.partitions[0].replicas[0];
        let of = |of: &[u32]| of.iter().map(|id| Member { node: NodeId(*id), ..member }).collect();
        keyspace.partitions[1].replicas = of(&[2, 3, 4]);
        keyspace.partitions[2].next = of(&[1, 2]);
        let needed = quorums(map.keyspaces.values());
        let of = |of: &[u32], at_least| Needed { of: nodes(of), at_least };
        assert_eq!(needed, [of(&[1], 1), of(&[1, 2], 2), of(&[2, 3, 4], 2)]);
        let is_met = |by: &[u32]| needed.iter().all(|needed| needed.is_met(&nodes(by)));
        assert!(is_met(&[1, 2, 3]) && !is_met(&[1, 2]) && !is_met(&[2, 3, 4]));
    }
}
