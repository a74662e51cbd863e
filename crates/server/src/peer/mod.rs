//! Peers over TCP: the [`Transport`] of a real cluster.
//!
//! Every node dials every other, so each pair has two connections, and a connection carries the
//! questions of the one that dialled it and the answers to them. Nobody has to decide which of
//! two connections is kept, and a link that is slow one way does not slow the other.
//!
//! From the outside in: `meet` carries out the `handshake` by which both sides prove that they
//! know the cluster's secret; `link` reads and writes (with a `pen`) the `frame`s of one connection, of
//! which `assembly` makes messages; `outward` is the asking side of it, `inward` the answering side,
//! `outbox` what waits to be sent, `standing` what the other side is taken for; `contact` keeps a
//! link to a known node, `visitor` takes in those who dial.
//!
//! Holds: what every [`Transport`] holds. All links live on one runtime; a question takes a lock,
//! a place in a queue and at most one wake-up. Whoever sends what it must not loses that link,
//! by a name that is counted, and no other link notices. Nothing is encrypted: what goes over a
//! link is authenticated, ordered and fresh, and may be read by whoever sees the wire.
//!
//! Does not know: what messages mean, or who is a member: whoever serves is asked.

mod assembly;
mod contact;
mod counts;
mod ending;
mod frame;
mod handshake;
mod inward;
mod limits;
mod link;
mod lobby;
mod meet;
mod outbox;
mod outward;
mod pen;
mod standing;
mod visitor;

pub use counts::PeerCounts;
pub use ending::Ending;
pub use limits::{Limits, Share};

pub(crate) use handshake::DIALLED;

use bytes::Bytes;
use contact::Contact;
use counts::Counts;
use handshake::{Me, PROTOCOLS};
use inward::Inward;
use link::Side;
use meet::{Met, NoLink};
use outward::Outward;
use parking_lot::{Mutex, RwLock};
use shoal_core::NodeId;
use shoal_node::secret::ClusterSecret;
use shoal_node::transport::{
    Admission, Denied, Identity, Kind, LinkStatus, Reply, Serve, Transport, Unreachable,
};
use standing::Standing;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// What a TCP transport is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Who this node is.
    pub identity: Identity,
    /// What the members share. Without one, only loopback addresses are dialled and accepted.
    pub secret: ClusterSecret,
    /// The bounds.
    pub limits: Limits,
}

/// A link to a node came up or went.
struct Notice {
    node: NodeId,
    up: bool,
}

/// The links of nodes that dialled this one.
#[derive(Default)]
struct Present {
    members: HashMap<NodeId, Arc<Inward>>,
    newcomers: Vec<Weak<Inward>>,
}

/// What all links share.
struct Shared {
    identity: RwLock<Identity>,
    boot: u64,
    secret: ClusterSecret,
    limits: Arc<Limits>,
    /// Who serves. Links hold it weakly, so that closing lets it go.
    serve: RwLock<Option<Arc<dyn Serve>>>,
    contacts: RwLock<BTreeMap<NodeId, Arc<Contact>>>,
    inward: Mutex<Present>,
    counts: Counts,
    /// Unbounded, because whoever takes from it never waits, and links come and go no faster
    /// than the pauses between attempts.
    notices: mpsc::UnboundedSender<Notice>,
    closed: watch::Sender<bool>,
}

impl Shared {
    fn identity(&self) -> Identity {
        *self.identity.read()
    }

    fn admit(&self, who: Identity) -> Result<Admission, Denied> {
        let serve = self.serve.read().clone();
        // Once it is closed nobody is taken in.
        serve.ok_or(Denied::Crowded)?.admit(who)
    }

    fn standing(&self, who: Identity, admission: Admission) -> Standing {
        let serve = self.serve.read().as_ref().map(Arc::downgrade);
        Standing::new(who, admission, serve)
    }

    fn me(&self, identity: Identity) -> Me {
        Me { identity, boot: self.boot, secret: self.secret.clone(), protocols: PROTOCOLS }
    }

    fn contact(&self, node: NodeId) -> Option<Arc<Contact>> {
        self.contacts.read().get(&node).cloned()
    }

    fn note(&self, notice: Notice) {
        // Nobody listens only while everything ends.
        let _ = self.notices.send(notice);
    }

    fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    async fn closed(&self) {
        // The sender is ours, so it is there.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// The links of members that dialled this one.
    fn members(&self) -> Vec<Arc<Inward>> {
        self.inward.lock().members.values().cloned().collect()
    }

    fn end_inward(&self, why: Ending) {
        let present = std::mem::take(&mut *self.inward.lock());
        for link in present.members.values() {
            link.end(why);
        }
        for link in present.newcomers.iter().filter_map(Weak::upgrade) {
            link.end(why);
        }
    }
}

/// Peers over TCP. Closes when it is dropped.
pub struct TcpTransport {
    shared: Arc<Shared>,
    runtime: Handle,
    address: SocketAddr,
}

impl TcpTransport {
    /// Listens on `listener`, and keeps every link on `runtime`, which must have its timers and
    /// its sockets enabled. Questions that come in are served there too. `serve` is kept until the
    /// transport is closed or dropped, so it may hold the transport if whoever has it closes it.
    ///
    /// # Errors
    /// The listener cannot be used, or the system gives no random bytes.
    pub fn start(
        runtime: Handle,
        listener: TcpListener,
        setup: Setup,
        serve: Arc<dyn Serve>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (notices, mut noted) = mpsc::unbounded_channel::<Notice>();
        let noted_by = Arc::downgrade(&serve);
        let shared = Arc::new(Shared {
            identity: RwLock::new(setup.identity),
            boot: meet::draw_boot()?,
            secret: setup.secret,
            limits: Arc::new(setup.limits),
            serve: RwLock::new(Some(serve)),
            contacts: RwLock::default(),
            inward: Mutex::default(),
            counts: Counts::default(),
            notices,
            closed: watch::Sender::new(false),
        });
        // Ends once the last task that could send a notice has.
        runtime.spawn(async move {
            while let Some(Notice { node, up }) = noted.recv().await {
                if let Some(serve) = noted_by.upgrade() {
                    serve.linked(node, up);
                }
            }
        });
        runtime.spawn(visitor::accept(Arc::clone(&shared), listener));
        Ok(Self { shared, runtime, address })
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was counted over all links.
    #[must_use]
    pub fn counts(&self) -> PeerCounts {
        self.shared.counts.read()
    }
}

impl Transport for TcpTransport {
    fn ask(&self, to: NodeId, kind: Kind, body: Bytes, patience: Duration, reply: Reply) {
        let contact = {
            let contacts = self.shared.contacts.read();
            contacts.get(&to).cloned()
        };
        let why = match &contact {
            Some(_) if body.len() > self.shared.limits.longest => Unreachable::TooLong,
            Some(contact) => match contact.link() {
                Some(link) => return link.ask(kind, body, patience, reply),
                None => Unreachable::Down,
            },
            None if self.shared.is_closed() => Unreachable::Closed,
            None => Unreachable::Unknown,
        };
        if let Some(contact) = contact {
            contact.count_refused();
        }
        reply(Err(why));
    }

    fn introduce(&self, address: &str, body: Bytes, patience: Duration, reply: Reply) {
        let reply = Promise(Some(reply));
        if self.shared.is_closed() {
            return reply.keep(Err(Unreachable::Closed));
        }
        if body.len() > self.shared.limits.longest_introduction {
            return reply.keep(Err(Unreachable::TooLong));
        }
        let (shared, address) = (Arc::clone(&self.shared), address.to_owned());
        self.runtime.spawn(async move {
            let until = Instant::now() + patience;
            let told = tokio::select! {
                told = introduce(&shared, &address, body, until) => told,
                () = shared.closed() => Err(Unreachable::Lost),
            };
            reply.keep(told);
        });
    }

    fn know(&self, node: NodeId, address: &str) {
        let contact = {
            let mut contacts = self.shared.contacts.write();
            if self.shared.is_closed() {
                return;
            }
            match contacts.get(&node) {
                Some(contact) => {
                    let contact = Arc::clone(contact);
                    drop(contacts);
                    return contact.move_to(&self.shared, address);
                }
                None => {
                    let contact = Arc::new(Contact::new(node, address));
                    contacts.insert(node, Arc::clone(&contact));
                    contact
                }
            }
        };
        self.runtime.spawn(contact.keep(Arc::clone(&self.shared)));
    }

    fn forget(&self, node: NodeId) {
        let contact = self.shared.contacts.write().remove(&node);
        if let Some(contact) = contact {
            contact.withdraw(&self.shared, Ending::Withdrawn);
        }
        let link = self.shared.inward.lock().members.remove(&node);
        if let Some(link) = link {
            link.end(Ending::Withdrawn);
        }
    }

    fn assume(&self, identity: Identity) {
        let before = std::mem::replace(&mut *self.shared.identity.write(), identity);
        if before == identity {
            return;
        }
        let contacts: Vec<_> = self.shared.contacts.read().values().cloned().collect();
        if (Identity { token: identity.token, ..before }) == identity {
            for link in self.shared.members() {
                link.renew(identity.token);
            }
            for contact in contacts {
                contact.renew(identity.token);
            }
            return;
        }
        self.shared.end_inward(Ending::Withdrawn);
        for contact in contacts {
            contact.begin_anew(&self.shared);
        }
    }

    fn review(&self) {
        for link in self.shared.members() {
            if let Err(why) = link.review() {
                link.end(Ending::refusing(why));
            }
        }
        let contacts: Vec<_> = self.shared.contacts.read().values().cloned().collect();
        for contact in contacts {
            contact.review(&self.shared);
        }
    }

    fn links(&self) -> Vec<LinkStatus> {
        let contacts: Vec<_> = self.shared.contacts.read().values().cloned().collect();
        let with_served_now = |contact: &Arc<Contact>| {
            let mut status = contact.status();
            let present = self.shared.inward.lock();
            status.served += present.members.get(&contact.node).map_or(0, |link| link.served());
            status
        };
        contacts.iter().map(with_served_now).collect()
    }

    fn close(&self) {
        let contacts = {
            let mut contacts = self.shared.contacts.write();
            self.shared.closed.send_replace(true);
            std::mem::take(&mut *contacts)
        };
        for contact in contacts.values() {
            contact.withdraw(&self.shared, Ending::Stopped);
        }
        self.shared.end_inward(Ending::Stopped);
        let serve = self.shared.serve.write().take();
        // It may hold this transport.
        drop(serve);
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A reply that is given even if the task that would give it is cut off.
struct Promise(Option<Reply>);

impl Promise {
    fn keep(mut self, told: Result<Bytes, Unreachable>) {
        if let Some(reply) = self.0.take() {
            reply(told);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(Err(Unreachable::Lost));
        }
    }
}

/// Asks one question at `address` as a node without an id.
async fn introduce(
    shared: &Shared,
    address: &str,
    body: Bytes,
    until: Instant,
) -> Result<Bytes, Unreachable> {
    let limits = &shared.limits;
    let nobody = Identity { node: NodeId::default(), ..shared.identity() };
    let me = shared.me(nobody);
    // Whoever listens there is judged by what it answers.
    let judge = |_| Ok(Admission::ControlOnly);
    let dial = meet::dial(address, me, nobody.node, limits.connect, limits.handshake, judge);
    let met = tokio::time::timeout_at(until, dial).await.map_err(|_| Unreachable::Unsent)?;
    let (Met { stream, first, agreed }, _) = met.map_err(|why: NoLink| {
        shared.counts.no_link(&why);
        match why {
            NoLink::Refused(why) | NoLink::Told(why) => Unreachable::Denied(why),
            NoLink::Foreign => Unreachable::Stranger,
            NoLink::Garbled | NoLink::Late | NoLink::Io(_) => {
                tracing::info!(%address, %why, "this node could not introduce itself");
                Unreachable::Down
            }
        }
    })?;
    let figures = Arc::default();
    let link = Outward::new(Arc::clone(limits), None, figures);
    let link = Arc::new(link);
    let (sender, mut receiver) = oneshot::channel();
    let patience = until.saturating_duration_since(Instant::now());
    // The receiver is there until the answer is.
    let reply = Box::new(move |told| drop(sender.send(told)));
    link.ask(Kind::Control, body, patience, reply);
    let run = link::run(stream, first, agreed, limits.longest, Arc::clone(&link), limits);
    tokio::pin!(run);
    tokio::select! {
        told = &mut receiver => told.unwrap_or(Err(Unreachable::Lost)),
        end = &mut run => {
            shared.counts.ended(end);
            // The end told whoever waited.
            receiver.await.unwrap_or(Err(Unreachable::Lost))
        }
    }
}

#[cfg(test)]
mod tests;
