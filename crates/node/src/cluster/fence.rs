//! Waiting until a life of a keyspace is over everywhere it matters.
//!
//! Holds: once a keyspace is emptied or dropped, and whoever asked for it has the answer, a quorum
//! of the owners of each of its partitions acts under the new map. So no quorum acknowledges a
//! write of the life before any more, through whatever node it comes.
//!
//! Does not know: how owners learn of maps.

use super::message::{Answer, Request};
use super::{Cluster, over};
use crate::coordinator::DEADLINE;
use crate::refusal::{Code, Refusal};
use crate::transport::{Kind, Unreachable};
use bytes::Bytes;
use shoal_core::NodeId;
use shoal_core::ids::MapVersion;
use shoal_core::map::{ClusterMap, Command, Partition};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// How soon a node that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(50);

impl Cluster {
    /// Where `command` has ended lives of keyspaces of the map `before`, waits until a quorum of
    /// each of their partitions acts under the map of `version`. Blocks.
    ///
    /// # Errors
    /// [`Code::Unknown`] where that takes too long: it has happened, but a write through a node
    /// that has not heard of it may still be acknowledged, and is void.
    pub(super) fn await_fence(
        &self,
        command: &Command,
        before: &ClusterMap,
        version: MapVersion,
    ) -> Result<(), Refusal> {
        let names: BTreeSet<&str> = match command {
            Command::FlushKeyspaces { names } => names.iter().map(String::as_str).collect(),
            Command::DropKeyspace { name } => BTreeSet::from([name.as_str()]),
            _ => return Ok(()),
        };
        let ended = before.keyspaces.values().filter(|keyspace| names.contains(&*keyspace.name));
        let partitions: Vec<&Partition> = ended.flat_map(|keyspace| &keyspace.partitions).collect();
        let fenced = self.runtime.block_on(timeout(DEADLINE, self.fenced(&partitions, version)));
        fenced.map_err(|_| {
            let message = "it is done, but too few nodes have confirmed it in time: what is \
                           written through the others at this moment may be void";
            Refusal::new(Code::Unknown, message)
        })
    }

    async fn fenced(&self, partitions: &[&Partition], version: MapVersion) {
        let owners: BTreeSet<NodeId> =
            partitions.iter().flat_map(|partition| partition.nodes()).collect();
        let (tell, mut told) = mpsc::unbounded_channel();
        for node in owners.into_iter().filter(|node| *node != self.me) {
            self.ask_to_adopt(node, version, tell.clone());
        }
        let mut adopted = BTreeSet::from([self.me]);
        let has_quorum = |adopted: &BTreeSet<NodeId>| {
            partitions.iter().all(|partition| {
                let has = |members: &[shoal_core::quorum::Member]| {
                    let there = members.iter().filter(|member| adopted.contains(&member.node));
                    there.count() > members.len() / 2
                };
                has(&partition.replicas) && (partition.next.is_empty() || has(&partition.next))
            })
        };
        while !has_quorum(&adopted) {
            // The sender is kept here, so that the end is the deadline's.
            let Some((node, heard)) = told.recv().await else { return };
            if heard {
                adopted.insert(node);
            } else {
                // A link that is just being made anew, perhaps.
                sleep(AGAIN).await;
                self.ask_to_adopt(node, version, tell.clone());
            }
        }
    }

    fn ask_to_adopt(
        &self,
        node: NodeId,
        version: MapVersion,
        tell: mpsc::UnboundedSender<(NodeId, bool)>,
    ) {
        let body = Request::Adopt { generation: version.generation, index: version.index };
        let reply = move |answered: Result<Bytes, Unreachable>| {
            let answer = answered.ok().and_then(|bytes| Answer::decode(&bytes).ok());
            // Whoever asked may have given up.
            let _gone = tell.send((node, answer == Some(Answer::Heard)));
        };
        self.transport.ask(node, Kind::Control, body.encode(), DEADLINE, Box::new(reply));
    }

    /// Waits until the copies of this node act under a map of at least `version`; whether they do.
    pub(super) async fn adopts(self: Arc<Self>, version: MapVersion) -> bool {
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
