//! Taking in the nodes that dial this one.
//!
//! Holds: handshakes under way are few and end in time, whoever dials; a member has one link to
//! this node, the latest; a node without an id can do nothing but introduce itself, for a while.
//!
//! Does not know: who is a member (whoever serves does).

use super::ending::Ending;
use super::inward::Inward;
use super::link::{self, Side};
use super::lobby::{Lobby, Place};
use super::meet::{self, Met, NoLink};
use super::{Shared, contact};
use shoal_core::NodeId;
use shoal_node::transport::{Admission, Denied, Identity};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long to wait where the system has no connection to give (no descriptors, most likely).
const BREATH: Duration = Duration::from_millis(50);

/// Takes in whoever dials until the transport is closed.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let lobby = Arc::new(Lobby::new(shared.limits.half_open));
    let introductions = Arc::new(Semaphore::new(shared.limits.introductions));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.closed() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a peer could not be accepted");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let place = lobby.enter();
        let (shared, introductions) = (Arc::clone(&shared), Arc::clone(&introductions));
        tokio::spawn(async move {
            let taken_in = tokio::select! {
                taken_in = take_in(&shared, stream, from, place, &introductions) => taken_in,
                () = shared.closed() => return,
            };
            if let Err(why) = taken_in {
                shared.counts.no_link(&why);
                tracing::info!(%from, %why, "a peer was not taken in");
            }
        });
    }
}

async fn take_in(
    shared: &Arc<Shared>,
    stream: TcpStream,
    from: SocketAddr,
    mut place: Place,
    introductions: &Arc<Semaphore>,
) -> Result<(), NoLink> {
    let me = shared.me(shared.identity());
    let guest = async {
        let mut greeted = meet::greet(stream, from, &me).await?;
        let guest = match judge(shared, greeted.peer(), introductions) {
            Ok(guest) => guest,
            Err(why) => return Err(meet::refuse(&mut greeted.stream, why).await),
        };
        let entered = guest.enter(shared, me.identity);
        // Once it can be found it is judged again: what changed meanwhile counts.
        if let Err(why) = guest.confirm(shared, me.identity) {
            return Err(meet::refuse(&mut greeted.stream, why).await);
        }
        let met = greeted.welcome().await?;
        Ok((met, guest, entered))
    };
    let (met, guest, entered) = tokio::select! {
        guest = tokio::time::timeout(shared.limits.handshake, guest) => {
            guest.map_err(|_| NoLink::Late)??
        }
        () = place.lost() => return Err(NoLink::Refused(Denied::Crowded)),
    };
    drop(place);
    serve(shared, met, guest, &entered).await;
    Ok(())
}

/// A peer that was admitted.
struct Guest {
    who: Identity,
    admission: Admission,
    /// Held by those that introduce themselves.
    introduction: Option<OwnedSemaphorePermit>,
}

fn judge(shared: &Shared, who: Identity, introductions: &Arc<Semaphore>) -> Result<Guest, Denied> {
    let admission = shared.admit(who)?;
    if who.node.0 != 0 {
        return Ok(Guest { who, admission, introduction: None });
    }
    let introduction = Arc::clone(introductions).try_acquire_owned();
    let introduction = Some(introduction.map_err(|_| Denied::Crowded)?);
    Ok(Guest { who, admission: Admission::ControlOnly, introduction })
}

impl Guest {
    fn enter<'s>(&self, shared: &'s Shared, me: Identity) -> Entered<'s> {
        let limits = Arc::clone(&shared.limits);
        let standing = shared.standing(self.who, self.admission);
        let link = Arc::new(Inward::new(standing, limits));
        shared.enter(&link, self.who.node, me);
        Entered { shared, link, node: self.who.node }
    }

    fn confirm(&self, shared: &Shared, me: Identity) -> Result<(), Denied> {
        let again = shared.admit(self.who)?;
        let same = shared.identity() == me && (again == self.admission || self.who.node.0 == 0);
        // It comes back and finds things as they are then.
        if same { Ok(()) } else { Err(Denied::Crowded) }
    }
}

/// A link that can be found; no longer once this is dropped.
struct Entered<'s> {
    shared: &'s Shared,
    link: Arc<Inward>,
    node: NodeId,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.link.end(Ending::Stopped);
        self.shared.leave(&self.link, self.node);
        if let Some(contact) = self.shared.contact(self.node) {
            contact.figures.served.fetch_add(self.link.served(), Ordering::Relaxed);
        }
    }
}

async fn serve(shared: &Shared, met: Met, guest: Guest, entered: &Entered<'_>) {
    let Met { stream, first, agreed } = met;
    let limits = &shared.limits;
    let node = guest.who.node;
    let longest = if node.0 == 0 { limits.longest_introduction } else { limits.longest };
    if let Some(contact) = shared.contact(node) {
        contact.was_seen();
    }
    let side = Arc::clone(&entered.link);
    let run = link::run(stream, first, agreed, longest, side, limits);
    let end = if guest.introduction.is_some() {
        let late = || link::End::from(Ending::Withdrawn);
        tokio::time::timeout(limits.introduction, run).await.unwrap_or_else(|_| late())
    } else {
        run.await
    };
    shared.counts.ended(end);
    if end.why.is_offence() {
        tracing::warn!(%node, why = end.why.name(), "a peer broke the protocol");
    } else {
        tracing::debug!(%node, why = contact::describe(end), "a link from a peer ended");
    }
}

impl Shared {
    /// Makes a link from a member known; the one before it ends.
    fn enter(&self, link: &Arc<Inward>, node: NodeId, me: Identity) {
        let mut present = self.inward.lock();
        if self.is_closed() || self.identity() != me {
            return link.end(Ending::Withdrawn);
        }
        let former = if node.0 == 0 {
            present.newcomers.push(Arc::downgrade(link));
            present.newcomers.retain(|one| one.strong_count() > 0);
            None
        } else {
            present.members.insert(node, Arc::clone(link))
        };
        drop(present);
        if let Some(former) = former {
            former.end(Ending::Replaced);
        }
    }

    fn leave(&self, link: &Arc<Inward>, node: NodeId) {
        let mut present = self.inward.lock();
        if present.members.get(&node).is_some_and(|one| Arc::ptr_eq(one, link)) {
            present.members.remove(&node);
        }
    }
}
