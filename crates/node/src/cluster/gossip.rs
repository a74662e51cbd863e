//! Drives [`Membership`]: sends what it wants sent, feeds it what comes in and the time, tells it
//! of every new map, and passes on what it believes.
//!
//! A node knows from its map where the others take datagrams. It calls all of them until one
//! answers, and again whenever it is left alone; besides, now and then, those of whom nobody has
//! told it: two parts of a cluster that were started apart find each other so.
//!
//! Holds: one task, which never waits for anything but the next thing to do. Names of hosts are
//! found out beside it.
//!
//! Does not know: sockets, what follows from who is up.

use super::events::{all_called, called, what};
use super::{Cluster, Datagrams, Events, Follow, Liveness, over};
use crate::membership::{Config, Effect, Event, Gossip, Identity, Membership};
use crate::secret::ClusterSecret;
use core::net::SocketAddr;
use shoal_core::NodeId;
use shoal_core::map::{ClusterMap, NodeInfo, NodeState};
use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// How often a node that is alone calls the others.
const ALONE_PERIOD: Duration = Duration::from_secs(1);
/// How often one that is not alone calls those of whom nobody has told it.
const CALL_PERIOD: Duration = Duration::from_secs(5);
/// How long a socket that failed is left alone: it often fails for what was sent before.
const DEAF_PERIOD: Duration = Duration::from_millis(20);
/// So many datagrams are read before what has fallen due is done. What was answered meanwhile
/// should be read first, but those who send must not keep it from being done at all.
const READ_IN_A_ROW: usize = 256;
/// How many names that were found out may wait.
const FOUND: usize = 64;

/// Takes part in the cluster's conversation as `me`, until the node stops.
pub(crate) async fn run(
    cluster: Arc<Cluster>,
    datagrams: Arc<dyn Datagrams>,
    me: Identity,
    secret: ClusterSecret,
) {
    let talk = Talk {
        liveness: &cluster.liveness,
        events: &cluster.events,
        follow: &cluster.follow,
        datagrams: &*datagrams,
        maps: cluster.store.subscribe(),
        stop: cluster.stop.subscribe(),
    };
    talk.run(me, &secret, fastrand::u64(..)).await;
}

/// What a conversation needs.
pub(super) struct Talk<'c> {
    pub(super) liveness: &'c Liveness,
    pub(super) events: &'c Events,
    pub(super) follow: &'c Follow,
    pub(super) datagrams: &'c dyn Datagrams,
    pub(super) maps: watch::Receiver<Arc<ClusterMap>>,
    pub(super) stop: watch::Receiver<bool>,
}

/// What there is to do.
enum Next {
    Leave,
    NewMap,
    Read(SocketAddr, Vec<u8>),
    Deaf(std::io::Error),
    Found(NodeId, Vec<SocketAddr>),
    Due,
    Call,
}

impl Talk<'_> {
    pub(super) async fn run(mut self, me: Identity, secret: &ClusterSecret, seed: u64) {
        let map = Arc::clone(&self.maps.borrow_and_update());
        let now = self.liveness.elapsed();
        let config = Config::default();
        let membership = match Membership::new(config, me, secret, map.cluster, seed, now) {
            Ok(membership) => membership,
            Err(error) => return tracing::error!(%error, "this node cannot look for the others"),
        };
        let mut desk = Desk {
            talk: &self,
            me: me.node(),
            membership,
            map: Arc::clone(&map),
            names: Names::new(),
            call_at: Instant::now(),
        };
        desk.adopt(&map);
        let (mut maps, mut stop) = (self.maps.clone(), self.stop.clone());
        let (mut in_a_row, mut deaf_until) = (0, None);
        loop {
            let due = desk.membership.due().map(|due| self.liveness.at(due));
            let now = Instant::now();
            let late = due.is_some_and(|due| due <= now) || desk.call_at <= now;
            let reads = in_a_row < READ_IN_A_ROW || !late;
            deaf_until = deaf_until.filter(|until| *until > now);
            let next = tokio::select! {
                biased;
                () = over(&mut stop) => Next::Leave,
                Ok(()) = maps.changed() => Next::NewMap,
                next = receive(self.datagrams, deaf_until), if reads => next,
                Some((node, found)) = desk.names.found.recv() => Next::Found(node, found),
                () = reach(due) => Next::Due,
                () = sleep_until(desk.call_at) => Next::Call,
            };
            in_a_row = if matches!(next, Next::Read(..)) { in_a_row + 1 } else { 0 };
            match next {
                Next::Leave => return desk.leave(),
                Next::NewMap => {
                    let map = Arc::clone(&maps.borrow_and_update());
                    desk.adopt(&map);
                }
                Next::Read(from, bytes) => desk.on(|m, now| m.on_datagram(from, &bytes, now)),
                Next::Deaf(error) => {
                    tracing::debug!(%error, "the socket for datagrams failed");
                    deaf_until = Some(Instant::now() + DEAF_PERIOD);
                }
                Next::Found(node, addresses) => desk.call_at(node, &addresses),
                Next::Due => desk.on(Membership::on_time),
                Next::Call => desk.call(),
            }
        }
    }
}

/// The next datagram, though not before `after`.
async fn receive(datagrams: &dyn Datagrams, after: Option<Instant>) -> Next {
    if let Some(after) = after {
        sleep_until(after).await;
    }
    match datagrams.receive().await {
        Ok((from, bytes)) => Next::Read(from, bytes),
        Err(error) => Next::Deaf(error),
    }
}

async fn reach(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// The conversation under way.
struct Desk<'c> {
    talk: &'c Talk<'c>,
    me: NodeId,
    membership: Membership,
    map: Arc<ClusterMap>,
    names: Names,
    call_at: Instant,
}

impl Desk<'_> {
    /// Lets the machine do something and does what it asks for.
    fn on(&mut self, act: impl FnOnce(&mut Membership, Duration) -> Vec<Effect>) {
        let effects = act(&mut self.membership, self.talk.liveness.elapsed());
        let mut changed = false;
        for effect in effects {
            match effect {
                Effect::Send { to, bytes } => self.talk.datagrams.send(to, &bytes),
                Effect::Event(event) => changed |= self.hear(event),
            }
        }
        if changed {
            self.talk.liveness.show(self.membership.view(), &self.map);
        }
    }

    /// Whether somebody is believed to stand otherwise than before.
    fn hear(&self, event: Event) -> bool {
        let Talk { liveness, events, follow, .. } = self.talk;
        let called = |node| called(&self.map, node);
        match event {
            Event::Up { node, address, .. } => {
                events.say(what::NODE_UP, format!("{} answers at {address}", called(node)));
            }
            Event::Suspect { node } => {
                events.say(what::NODE_SUSPECT, format!("{} does not answer", called(node)));
            }
            Event::Down { node } => {
                events.say(what::NODE_DOWN, format!("{} answers nobody", called(node)));
            }
            Event::Left { node } => {
                events.say(what::NODE_LEFT, format!("{} was stopped", called(node)));
            }
            Event::Heard { node, map_version } => {
                if map_version > self.map.version {
                    follow.heard(node, map_version);
                }
                return false;
            }
            Event::Superseded { start } => {
                let node = called(self.me);
                let text = format!("{node} was started again elsewhere (start {start})");
                tracing::error!("{text}; this process is silent from now on and should be ended");
                events.say(what::SUPERSEDED, text);
                liveness.supersede();
                return false;
            }
        }
        true
    }

    /// Goes by this map from now on.
    fn adopt(&mut self, map: &Arc<ClusterMap>) {
        self.tell_of_nodes(map);
        let keep = |node: NodeId| map.nodes.get(&node).is_some_and(|info| !info.is_gone());
        let gossip = Gossip { map_version: map.version, load: 0 };
        self.map = Arc::clone(map);
        self.on(|membership, now| {
            let mut effects = membership.retain(keep, now);
            effects.extend(membership.set_gossip(gossip, now));
            effects
        });
        self.talk.liveness.show(self.membership.view(), &self.map);
    }

    /// Notes who has come and gone by the new map.
    fn tell_of_nodes(&self, new: &ClusterMap) {
        let events = self.talk.events;
        let state = |map: &ClusterMap, node| map.nodes.get(node).map(|info: &NodeInfo| info.state);
        for node in new.nodes.keys() {
            let (before, after) = (state(&self.map, node), state(new, node));
            let name = called(new, *node);
            match after {
                _ if before == after => {}
                Some(NodeState::Joining) => {
                    events.say(what::NODE_JOINED, format!("{name} was let into the cluster"));
                }
                Some(NodeState::Member) => {
                    events.say(what::NODE_JOINED, format!("{name} is a member"));
                }
                Some(NodeState::Gone) => {
                    events.say(what::NODE_GONE, format!("{name} is not to come back"));
                }
                None => {}
            }
        }
        let removed = self.map.nodes.keys().filter(|node| !new.nodes.contains_key(node)).copied();
        let removed: Vec<_> = removed.collect();
        if !removed.is_empty() {
            let names = all_called(&self.map, removed);
            events.say(
                what::NODE_REMOVED,
                format!("{names} left the map: nothing is there any more"),
            );
        }
    }

    /// Calls everybody, if this node is alone, and otherwise those of whom it has not heard.
    fn call(&mut self) {
        let alone = !self.membership.view().any(|seen| seen.state.is_reachable());
        self.call_at = Instant::now() + if alone { ALONE_PERIOD } else { CALL_PERIOD };
        let map = Arc::clone(&self.map);
        for (node, info) in map.nodes.iter().filter(|(_, info)| !info.is_gone()) {
            let unknown = alone || self.membership.seen(*node).is_none();
            let Some(peer) = info.addresses.peer.as_ref().filter(|_| *node != self.me && unknown)
            else {
                continue;
            };
            match peer.parse() {
                Ok(address) => self.on(|membership, now| membership.announce(address, now)),
                Err(_) => self.names.find(self.talk.datagrams, *node, peer),
            }
        }
    }

    /// Calls a node whose name was found out.
    fn call_at(&mut self, node: NodeId, addresses: &[SocketAddr]) {
        self.names.sought.remove(&node);
        for address in addresses {
            self.on(|membership, now| membership.announce(*address, now));
        }
    }

    fn leave(mut self) {
        self.on(Membership::leave);
    }
}

/// Finds out where names of hosts lead.
struct Names {
    sought: BTreeSet<NodeId>,
    tell: mpsc::Sender<(NodeId, Vec<SocketAddr>)>,
    found: mpsc::Receiver<(NodeId, Vec<SocketAddr>)>,
}

impl Names {
    fn new() -> Self {
        let (tell, found) = mpsc::channel(FOUND);
        Self { sought: BTreeSet::new(), tell, found }
    }

    /// Begins to find out where `address` leads, unless that is under way.
    fn find(&mut self, datagrams: &dyn Datagrams, node: NodeId, address: &str) {
        if !self.sought.insert(node) {
            return;
        }
        let (resolved, tell) = (datagrams.resolve(address), self.tell.clone());
        tokio::spawn(async move {
            let addresses = resolved.await;
            // Nobody listens any more once the node stops.
            let _told = tell.send((node, addresses)).await;
        });
    }
}

#[cfg(test)]
mod tests;
