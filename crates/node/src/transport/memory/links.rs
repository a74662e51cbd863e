//! One node's end of the network in memory: whom it knows, and the links it has.
//!
//! Holds: a link that ends tells everybody who waits on it; counts per kind are exact.
//!
//! Does not know: the weather, or when a link can be made.

use super::SHARE;
use crate::transport::{
    Admission, Denied, Identity, Kind, LinkStatus, MAX_BODY, Serve, Unreachable,
};
use parking_lot::Mutex;
use shoal_core::NodeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use tokio::sync::{mpsc, watch};

/// A link of an end came up or went.
pub(super) struct Notice {
    pub(super) serve: Weak<dyn Serve>,
    pub(super) node: NodeId,
    pub(super) up: bool,
}

/// What is found where a node is looked for.
pub(super) enum Found {
    Nothing,
    Denied(Denied),
    Peer { target: Weak<End>, admission: Admission, tokens: Tokens },
}

/// The tokens under which two take each other for peers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens {
    pub(super) here: u64,
    pub(super) there: u64,
}

/// Tells when a link, or the whole end, is over.
pub(super) struct Life(watch::Receiver<Option<Unreachable>>);

impl Life {
    /// Waits until it is over: what whoever waits is told.
    pub(super) async fn ended(&mut self) -> Unreachable {
        let told = self.0.wait_for(Option::is_some).await.ok().and_then(|told| *told);
        told.unwrap_or(Unreachable::Lost)
    }
}

struct Link {
    target: Weak<End>,
    admission: Admission,
    tokens: Tokens,
    life: watch::Sender<Option<Unreachable>>,
}

#[derive(Default)]
struct Peer {
    link: Option<Link>,
    unanswered: [usize; Kind::ALL.len()],
    status: LinkStatus,
}

struct State {
    identity: Identity,
    closed: bool,
    life: watch::Sender<Option<Unreachable>>,
    peers: BTreeMap<NodeId, Peer>,
}

/// A question that may be sent.
pub(super) struct Begun {
    pub(super) me: NodeId,
    pub(super) target: Arc<End>,
    pub(super) life: Life,
}

/// One node's end of the network.
pub(super) struct End {
    pub(super) address: String,
    /// Let go when it is closed.
    serve: Mutex<Option<Arc<dyn Serve>>>,
    noted_by: Weak<dyn Serve>,
    /// Sent to under the lock, so that notices come in the order of what happened.
    notices: mpsc::UnboundedSender<Notice>,
    state: Mutex<State>,
}

impl End {
    pub(super) fn new(
        address: &str,
        identity: Identity,
        serve: Arc<dyn Serve>,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        let (life, _) = watch::channel(None);
        let state = State { identity, closed: false, life, peers: BTreeMap::new() };
        let (address, noted_by) = (address.to_owned(), Arc::downgrade(&serve));
        let (serve, state) = (Mutex::new(Some(serve)), Mutex::new(state));
        Self { address, serve, noted_by, notices, state }
    }

    /// Who serves here, until it is closed.
    pub(super) fn serve(&self) -> Option<Arc<dyn Serve>> {
        self.serve.lock().clone()
    }

    fn note(&self, node: NodeId, up: bool) {
        // Nobody listens only while everything ends.
        let _ = self.notices.send(Notice { serve: Weak::clone(&self.noted_by), node, up });
    }

    pub(super) fn identity(&self) -> Identity {
        self.state.lock().identity
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(super) fn life(&self) -> Life {
        Life(self.state.lock().life.subscribe())
    }

    pub(super) fn peers(&self) -> Vec<(NodeId, String)> {
        let state = self.state.lock();
        state.peers.iter().map(|(node, peer)| (*node, peer.status.address.clone())).collect()
    }

    /// Makes or ends the link to a node.
    pub(super) fn settle(&self, node: NodeId, found: Found) {
        let mut state = self.state.lock();
        let closed = state.closed;
        let Some(peer) = state.peers.get_mut(&node) else { return };
        match found {
            Found::Peer { target, admission, tokens } if !closed => {
                let same = peer.link.as_mut().filter(|link| link.target.ptr_eq(&target));
                if let Some(link) = same {
                    (link.admission, link.tokens) = (admission, tokens);
                    return;
                }
                if peer.end_link() {
                    self.note(node, false);
                }
                let life = watch::channel(None).0;
                peer.link = Some(Link { target, admission, tokens, life });
                peer.status.connects += 1;
                peer.status.denied = None;
                self.note(node, true);
            }
            Found::Peer { .. } => {}
            Found::Nothing => self.unlink(node, peer, "nobody is heard there".to_owned()),
            Found::Denied(why) => {
                self.unlink(node, peer, why.to_string());
                peer.status.denied = Some(why);
            }
        }
    }

    fn unlink(&self, node: NodeId, peer: &mut Peer, why: String) {
        peer.status.last_failure = Some(why);
        peer.status.denied = None;
        if peer.end_link() {
            self.note(node, false);
        }
    }

    /// Ends the links that lead to `target`.
    pub(super) fn unlink_from(&self, target: &Arc<Self>) {
        let mut state = self.state.lock();
        for (node, peer) in &mut state.peers {
            let leads = |link: &Link| std::ptr::eq(link.target.as_ptr(), Arc::as_ptr(target));
            if peer.link.as_ref().is_some_and(leads) {
                self.unlink(*node, peer, "the link was ended there".to_owned());
            }
        }
    }

    /// The tokens of the link to a node, if it leads to `target`.
    pub(super) fn tokens(&self, node: NodeId, target: &Arc<Self>) -> Option<Tokens> {
        let state = self.state.lock();
        let link = state.peers.get(&node)?.link.as_ref()?;
        std::ptr::eq(link.target.as_ptr(), Arc::as_ptr(target)).then_some(link.tokens)
    }

    /// Whether a question of this kind is more than the link to the node was made for.
    pub(super) fn exceeds(&self, to: NodeId, kind: Kind) -> bool {
        let state = self.state.lock();
        let link = state.peers.get(&to).and_then(|peer| peer.link.as_ref());
        let only = link.is_some_and(|link| link.admission == Admission::ControlOnly);
        only && kind != Kind::Control
    }

    /// Counts a question in, if it may be asked.
    pub(super) fn begin(&self, to: NodeId, kind: Kind, len: usize) -> Result<Begun, Unreachable> {
        let mut state = self.state.lock();
        let me = state.identity.node;
        if state.closed {
            return Err(Unreachable::Closed);
        }
        let peer = state.peers.get_mut(&to).ok_or(Unreachable::Unknown)?;
        let begun = peer.begin(kind, len).map(|(target, life)| Begun { me, target, life });
        match &begun {
            Ok(_) => peer.status.asked += 1,
            Err(_) => peer.status.refused += 1,
        }
        begun
    }

    /// Counts a question out.
    pub(super) fn finish(&self, to: NodeId, kind: Kind, failure: Option<Unreachable>) {
        let mut state = self.state.lock();
        let Some(peer) = state.peers.get_mut(&to) else { return };
        let unanswered = &mut peer.unanswered[kind.index()];
        *unanswered = unanswered.saturating_sub(1);
        match failure {
            None => peer.status.answered += 1,
            Some(_) => peer.status.failed += 1,
        }
    }

    pub(super) fn count_served(&self, node: NodeId) {
        if let Some(peer) = self.state.lock().peers.get_mut(&node) {
            peer.status.served += 1;
        }
    }

    pub(super) fn know(&self, node: NodeId, address: &str) {
        let mut state = self.state.lock();
        let peer = state.peers.entry(node).or_default();
        peer.status.node = node;
        address.clone_into(&mut peer.status.address);
    }

    pub(super) fn forget(&self, node: NodeId) {
        let mut state = self.state.lock();
        if state.peers.remove(&node).is_some_and(|mut peer| peer.end_link()) {
            self.note(node, false);
        }
    }

    /// Takes another identity. Its links end, unless only the token is another. Whether they did.
    pub(super) fn assume(&self, identity: Identity) -> bool {
        let mut state = self.state.lock();
        let renewed = Identity { token: identity.token, ..state.identity } == identity;
        state.identity = identity;
        if !renewed {
            self.end_links(&mut state);
        }
        !renewed
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.life.send_replace(Some(Unreachable::Lost));
        self.end_links(&mut state);
        drop(state);
        let serve = self.serve.lock().take();
        // It may hold what closes here.
        drop(serve);
    }

    fn end_links(&self, state: &mut State) {
        for (node, peer) in &mut state.peers {
            if peer.end_link() {
                self.note(*node, false);
            }
        }
    }

    pub(super) fn statuses(&self) -> Vec<LinkStatus> {
        let state = self.state.lock();
        let status = |peer: &Peer| LinkStatus {
            up: peer.link.is_some(),
            unanswered: peer.unanswered.iter().sum(),
            ..peer.status.clone()
        };
        state.peers.values().map(status).collect()
    }
}

impl Peer {
    /// Whether there was a link.
    fn end_link(&mut self) -> bool {
        let link = self.link.take();
        // Whoever waits on it hears it.
        link.is_some_and(|link| {
            link.life.send_replace(Some(Unreachable::Lost));
            true
        })
    }

    fn begin(&mut self, kind: Kind, len: usize) -> Result<(Arc<End>, Life), Unreachable> {
        if len > MAX_BODY {
            return Err(Unreachable::TooLong);
        }
        let link = self.link.as_ref().ok_or(Unreachable::Down)?;
        let target = link.target.upgrade().ok_or(Unreachable::Down)?;
        if link.admission == Admission::ControlOnly && kind != Kind::Control {
            return Err(Unreachable::Busy);
        }
        let unanswered = &mut self.unanswered[kind.index()];
        if *unanswered >= SHARE {
            return Err(Unreachable::Busy);
        }
        *unanswered += 1;
        Ok((target, Life(link.life.subscribe())))
    }
}
