//! What other nodes ask of this one, before it is one of several and after.
//!
//! Holds: who presents a token lower than the one on record was started from an old or copied
//! directory, and is not listened to. Who presents a higher one has been started since this node
//! last heard of the map. Tokens rise with every start. Who has no id yet may only ask to be let
//! in.
//!
//! Does not know: how questions travel.

use super::expect::Waiting;
use super::message::{Answer, Request};
use super::{condition, join, report, walk};
use crate::node::Node;
use crate::transport::{Admission, Answerer, Denied, Identity, Kind, Serve, Transport};
use bytes::Bytes;
use core::net::SocketAddr;
use shoal_core::NodeId;
use shoal_core::ids::MapVersion;
use shoal_meta::MapStore as _;
use shoal_meta::raft::RaftStore;
use std::sync::{Arc, OnceLock, Weak};
use tokio::runtime::Handle;

/// Where questions come in: it is there before the node is.
#[derive(Default)]
pub(crate) struct Door {
    waiting: OnceLock<Arc<Waiting>>,
    node: OnceLock<(Weak<Node>, Handle)>,
    meta: OnceLock<Meta>,
}

/// What there is of a node once its map is open.
struct Meta {
    store: Weak<RaftStore>,
    transport: Weak<dyn Transport>,
    runtime: Handle,
}

impl Door {
    /// Lets those through who ask about the map. Raft is served on `runtime`.
    pub(super) fn open_to_voters(
        &self,
        store: &Arc<RaftStore>,
        transport: &Arc<dyn Transport>,
        runtime: &Handle,
    ) {
        let (store, transport) = (Arc::downgrade(store), Arc::downgrade(transport));
        let _once = self.meta.set(Meta { store, transport, runtime: runtime.clone() });
    }

    /// Lets those through who belong to no cluster either.
    pub(super) fn wait(&self, waiting: &Arc<Waiting>) {
        let _once = self.waiting.set(Arc::clone(waiting));
    }

    /// Lets everything through.
    pub(super) fn open(&self, node: &Arc<Node>, runtime: &Handle) {
        let _once = self.node.set((Arc::downgrade(node), runtime.clone()));
    }

    fn serve_meta(&self, from: NodeId, body: Bytes, answerer: Answerer) {
        let Some(Meta { store, runtime, .. }) = self.meta.get() else { return };
        let Some(store) = store.upgrade() else { return };
        runtime.spawn(async move {
            answerer.send(store.serve(from, &body).await.into());
        });
    }

    /// Looks for `node` where it says that it is, if it is one of this cluster and cannot be asked
    /// where it was: of two copies of a directory the other one may be who says so.
    fn hear_of_move(&self, node: NodeId, peer: &str) {
        let Some(Meta { store, transport, .. }) = self.meta.get() else { return };
        let (Some(store), Some(transport)) = (store.upgrade(), transport.upgrade()) else { return };
        let is_member = store.current().nodes.get(&node).is_some_and(|info| !info.is_gone());
        let is_lost = !transport.links().iter().any(|link| link.node == node && link.up);
        if node != store.node() && is_member && is_lost && peer.parse::<SocketAddr>().is_ok() {
            transport.know(node, peer);
        }
    }

    fn serve_control(&self, from: NodeId, body: &Bytes, answerer: Answerer) {
        let Some((node, runtime)) = self.node.get() else {
            let answer = match (self.waiting.get(), Request::decode(body)) {
                (Some(waiting), Ok(Request::Expect(other))) => waiting.answer(&other),
                (None, Ok(Request::Moved { peer })) => {
                    self.hear_of_move(from, &peer);
                    Answer::Heard
                }
                _ => busy("it is starting, or belongs to no cluster yet"),
            };
            return answerer.send(answer.encode());
        };
        let Some(node) = node.upgrade() else { return };
        let request = match Request::decode(body) {
            Ok(request) => request,
            Err(error) => {
                let (code, message) = ("incompatible_protocol".to_owned(), error.to_string());
                return answerer.send(Answer::Refused { code, message }.encode());
            }
        };
        match request {
            Request::Report(reports) => {
                if let (Some(cluster), Some(reports)) = (node.cluster(), report::decode(&reports)) {
                    report::hear(cluster, from, reports);
                }
                answerer.send(Answer::Heard.encode());
            }
            Request::Condition(said) => {
                let heard = node.cluster().map(|cluster| condition::hear(cluster, from, said));
                answerer.send(heard.unwrap_or(Answer::Heard).encode());
            }
            Request::Join(join) => {
                runtime.spawn(async move {
                    // The first one that comes makes this node one of several, which takes a while.
                    let met = tokio::task::spawn_blocking(move || node.meet_others()).await;
                    let answer = match met {
                        Ok(Ok(cluster)) => join::answer_join(&*cluster, join).await,
                        Ok(Err(refusal)) => busy(&refusal.to_string()),
                        Err(error) => busy(&error.to_string()),
                    };
                    answerer.send(answer.encode());
                });
            }
            Request::Adopt { generation, index } => {
                let Some(cluster) = node.cluster().cloned() else { return };
                runtime.spawn(async move {
                    if cluster.adopts(MapVersion { generation, index }).await {
                        answerer.send(Answer::Heard.encode());
                    }
                });
            }
            Request::Replace { node: replaced } => {
                let Some(cluster) = node.cluster() else { return };
                let against = join::may_replace(&**cluster, NodeId(replaced));
                answerer.send(against.unwrap_or(Answer::Heard).encode());
            }
            Request::Moved { peer } => {
                self.hear_of_move(from, &peer);
                answerer.send(Answer::Heard.encode());
            }
            Request::Ping | Request::Expect(_) => answerer.send(Answer::Heard.encode()),
        }
    }
}

impl Serve for Door {
    fn serve(&self, from: NodeId, kind: Kind, body: Bytes, answerer: Answerer) {
        match kind {
            Kind::Meta => return self.serve_meta(from, body, answerer),
            Kind::Control => return self.serve_control(from, &body, answerer),
            Kind::Data | Kind::Forward => {}
        }
        let Some((node, runtime)) = self.node.get() else { return };
        let Some(node) = node.upgrade() else { return };
        let Some(cluster) = node.cluster() else { return };
        match kind {
            Kind::Data => cluster.coordinator.serve_data(&body, answerer),
            _ if body.first() == Some(&walk::TAG) => {
                let cluster = Arc::clone(cluster);
                runtime.spawn_blocking(move || {
                    answerer.send(walk::answer(&node, &cluster, &body));
                });
            }
            _ => cluster.coordinator.serve_forward(&body, answerer),
        }
    }

    fn admit(&self, who: Identity) -> Result<Admission, Denied> {
        if who.node == NodeId::default() {
            return Ok(Admission::ControlOnly);
        }
        let store = self.meta.get().and_then(|meta| meta.store.upgrade());
        let Some(store) = store else {
            // Its map is not open yet, or it is alone: to say that nobody is known would tell a
            // node that was started at the same time that it was forgotten.
            return Ok(Admission::ControlOnly);
        };
        let map = store.current();
        let Some(info) = map.nodes.get(&who.node) else {
            // Let in since this node last heard of the map, or never: it will be judged again.
            return if who.node >= map.next_node {
                Ok(Admission::ControlOnly)
            } else {
                Err(Denied::UnknownNode)
            };
        };
        if info.is_gone() {
            return Err(Denied::UnknownNode);
        }
        if who.token < info.token { Err(Denied::StaleNode) } else { Ok(Admission::Whole) }
    }
}

fn busy(why: &str) -> Answer {
    Answer::Busy { why: why.to_owned() }
}
