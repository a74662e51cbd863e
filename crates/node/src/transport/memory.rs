//! A network inside one process: whole clusters in one program, for tests and for play.
//!
//! Every [`MemoryTransport`] of a [`MemoryNetwork`] reaches every other by the address under
//! which it was opened. Between each two nodes the network can be slow, lose messages or be cut,
//! each direction by itself: see [`Weather`].
//!
//! Holds: what every transport holds. On one thread and paused time the same calls and the same
//! seed give the same deliveries in the same order. As over TCP, a lost message means that its
//! asker hears [`Unreachable::Lost`], whether it was done or not; a cut swallows what is under
//! way, is noticed after [`NOTICE`], and from then on questions are refused at once.
//!
//! Does not know: bytes on a wire, secrets.

mod links;

use super::{
    Admission, Answerer, Denied, Identity, Kind, LinkStatus, MAX_BODY, Reply, Serve, Transport,
    Unreachable,
};
use bytes::Bytes;
use links::{End, Found, Life, Notice, Tokens};
use parking_lot::Mutex;
use shoal_core::NodeId;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How long a link is silent before it is taken for lost.
pub const NOTICE: Duration = Duration::from_secs(5);

/// How many questions of one kind may be unanswered between two nodes.
pub const SHARE: usize = 4_096;

/// How soon a refused link is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// What becomes of messages from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Nothing arrives.
    pub cut: bool,
    /// How long a message is under way, drawn evenly.
    pub delay: RangeInclusive<Duration>,
    /// How many of a thousand messages are lost.
    pub loss_per_mille: u16,
}

impl Weather {
    /// Everything arrives at once.
    pub const FAIR: Self =
        Self { cut: false, delay: Duration::ZERO..=Duration::ZERO, loss_per_mille: 0 };
}

impl Default for Weather {
    fn default() -> Self {
        Self::FAIR
    }
}

#[derive(Default)]
struct Sky {
    weather: Weather,
    cut_since: Option<Instant>,
}

struct World {
    ends: BTreeMap<String, Arc<End>>,
    skies: BTreeMap<(NodeId, NodeId), Sky>,
    dice: fastrand::Rng,
    /// A second look at links that were refused is on its way.
    retrying: bool,
}

/// What becomes of one message.
enum Fate {
    Arrives { after: Duration },
    Lost { after: Duration },
}

/// A network inside one process.
pub struct MemoryNetwork {
    runtime: Handle,
    /// Unbounded, because whoever takes from it never waits.
    notices: mpsc::UnboundedSender<Notice>,
    world: Mutex<World>,
}

impl MemoryNetwork {
    /// An empty network whose messages travel on `runtime`; `seed` decides which are lost and
    /// how long each takes.
    #[must_use]
    pub fn new(runtime: Handle, seed: u64) -> Arc<Self> {
        let dice = fastrand::Rng::with_seed(seed);
        let (ends, skies) = (BTreeMap::new(), BTreeMap::new());
        let world = Mutex::new(World { ends, skies, dice, retrying: false });
        let (notices, mut noted) = mpsc::unbounded_channel::<Notice>();
        runtime.spawn(async move {
            while let Some(Notice { serve, node, up }) = noted.recv().await {
                if let Some(serve) = serve.upgrade() {
                    serve.linked(node, up);
                }
            }
        });
        Arc::new(Self { runtime, notices, world })
    }

    /// Opens a transport at `address`. One that was open there is closed.
    pub fn open(
        self: &Arc<Self>,
        address: &str,
        identity: Identity,
        serve: Arc<dyn Serve>,
    ) -> MemoryTransport {
        let end = Arc::new(End::new(address, identity, serve, self.notices.clone()));
        let former = self.world.lock().ends.insert(address.to_owned(), Arc::clone(&end));
        if let Some(former) = former {
            former.close();
        }
        self.settle_links();
        MemoryTransport { network: Arc::clone(self), end }
    }

    /// Makes the weather from one node to another; the way back keeps its own. The node `0`
    /// stands for all that introduce themselves.
    pub fn set(self: &Arc<Self>, from: NodeId, to: NodeId, weather: Weather) {
        let now = Instant::now();
        let cut = weather.cut;
        {
            let mut world = self.world.lock();
            let sky = world.skies.entry((from, to)).or_default();
            sky.cut_since = cut.then(|| sky.cut_since.unwrap_or(now));
            sky.weather = weather;
        }
        if cut {
            self.settle_after(NOTICE);
        } else {
            self.settle_links();
        }
    }

    /// Cuts the ways between two nodes, both or only the one from the first to the second.
    pub fn cut(self: &Arc<Self>, from: NodeId, to: NodeId, both_ways: bool) {
        let cut = Weather { cut: true, ..Weather::FAIR };
        self.set(from, to, cut.clone());
        if both_ways {
            self.set(to, from, cut);
        }
    }

    /// Makes the weather fair everywhere.
    pub fn mend(self: &Arc<Self>) {
        self.world.lock().skies.clear();
        self.settle_links();
    }

    fn settle_after(self: &Arc<Self>, wait: Duration) {
        let network = Arc::downgrade(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(network) = network.upgrade() {
                network.world.lock().retrying = false;
                network.settle_links();
            }
        });
    }

    /// Looks at every link anew: makes those that can be, ends those that cannot.
    fn settle_links(self: &Arc<Self>) {
        let ends: Vec<_> = self.world.lock().ends.values().cloned().collect();
        let mut denied = false;
        for end in ends {
            for (node, address) in end.peers() {
                let found = self.find(&end, node, &address);
                denied |= matches!(found, Found::Denied(_));
                end.settle(node, found);
            }
        }
        if denied && !std::mem::replace(&mut self.world.lock().retrying, true) {
            self.settle_after(RETRY);
        }
    }

    /// What `end` finds where it looks for a node.
    fn find(&self, end: &Arc<End>, node: NodeId, address: &str) -> Found {
        let me = end.identity();
        if me.node == NodeId::default() {
            return Found::Nothing;
        }
        let target = {
            let world = self.world.lock();
            if world.is_known_cut(me.node, node) || world.is_known_cut(node, me.node) {
                return Found::Nothing;
            }
            world.ends.get(address).cloned()
        };
        let Some(target) = target else { return Found::Nothing };
        match judge_each_other(end, &target, node) {
            Ok((admission, tokens)) => {
                Found::Peer { target: Arc::downgrade(&target), admission, tokens }
            }
            Err(why) => Found::Denied(why),
        }
    }

    fn fate(&self, from: NodeId, to: NodeId) -> Fate {
        let mut world = self.world.lock();
        let World { skies, dice, .. } = &mut *world;
        let Some(Sky { weather, .. }) = skies.get(&(from, to)) else {
            return Fate::Arrives { after: Duration::ZERO };
        };
        let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (least, most) = (micros(weather.delay.start()), micros(weather.delay.end()));
        let after = Duration::from_micros(dice.u64(least..=most.max(least)));
        if dice.u16(0..1_000) < weather.loss_per_mille {
            Fate::Lost { after }
        } else {
            Fate::Arrives { after }
        }
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.world.lock().skies.get(&(from, to)).is_some_and(|sky| sky.weather.cut)
    }

    /// Takes one message over; ends when it has arrived. A cut swallows it.
    async fn pass(&self, from: NodeId, to: NodeId) -> Result<(), Unreachable> {
        let (after, lost) = match self.fate(from, to) {
            Fate::Arrives { after } => (after, false),
            Fate::Lost { after } => (after, true),
        };
        if !after.is_zero() {
            tokio::time::sleep(after).await;
        }
        if self.is_cut(from, to) {
            std::future::pending::<()>().await;
        }
        if lost { Err(Unreachable::Lost) } else { Ok(()) }
    }

    /// A question's whole way, there and back.
    async fn exchange(
        &self,
        way: (NodeId, NodeId),
        target: &End,
        kind: Kind,
        body: Bytes,
    ) -> Result<Bytes, Unreachable> {
        let (from, to) = way;
        self.pass(from, to).await?;
        if target.is_closed() {
            return Err(Unreachable::Lost);
        }
        let (sender, receiver) = oneshot::channel();
        // An asker that no longer waits has been told why.
        let answerer = Answerer::new(move |given| drop(sender.send(given)));
        let serve = target.serve().ok_or(Unreachable::Lost)?;
        serve.serve(from, kind, body, answerer);
        drop(serve);
        target.count_served(from);
        let given = receiver.await.ok().flatten();
        self.pass(to, from).await?;
        if target.is_closed() {
            return Err(Unreachable::Lost);
        }
        match given {
            Some(body) if body.len() <= MAX_BODY => Ok(body),
            _ => Err(Unreachable::Failed),
        }
    }
}

impl World {
    fn is_known_cut(&self, from: NodeId, to: NodeId) -> bool {
        let since = self.skies.get(&(from, to)).and_then(|sky| sky.cut_since);
        since.is_some_and(|since| since.elapsed() >= NOTICE)
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork").finish_non_exhaustive()
    }
}

/// Whether they may be peers, by what both say.
fn match_up(
    end: &Arc<End>,
    target: &Arc<End>,
    me: Identity,
    looked_for: Option<NodeId>,
) -> Result<(), Denied> {
    let there = target.identity();
    if Arc::ptr_eq(end, target) {
        return Err(Denied::SelfConnection);
    }
    let newcomer = me.node == NodeId::default();
    let homeless = me.cluster.0 == 0;
    let same = !homeless && me.cluster == there.cluster;
    let stranger = !(same || newcomer && homeless);
    if stranger {
        return Err(Denied::ForeignCluster);
    }
    if looked_for.is_some_and(|node| node != there.node) {
        return Err(Denied::WrongNode);
    }
    if !newcomer && me.node == there.node {
        return Err(Denied::StaleNode);
    }
    Ok(())
}

/// Whether two that know each other take each other for peers.
fn judge_each_other(
    end: &Arc<End>,
    target: &Arc<End>,
    node: NodeId,
) -> Result<(Admission, Tokens), Denied> {
    let (me, it) = (end.identity(), target.identity());
    match_up(end, target, me, Some(node))?;
    let before = end.tokens(node, target);
    let (asked, there) = judge(end, it, before.map(|tokens| tokens.there))?;
    let (asks, here) = judge(target, me, before.map(|tokens| tokens.here))?;
    let whole = asked == Admission::Whole && asks == Admission::Whole;
    let admission = if whole { Admission::Whole } else { Admission::ControlOnly };
    Ok((admission, Tokens { here, there }))
}

/// Whether `at` admits a node, under its token of now or under that of a present link.
fn judge(at: &End, who: Identity, before: Option<u64>) -> Result<(Admission, u64), Denied> {
    // Whoever has just closed knows nobody.
    let serve = at.serve().ok_or(Denied::UnknownNode)?;
    let told = serve.admit(who).map(|admission| (admission, who.token));
    match before.filter(|_| told.is_err()) {
        Some(token) => serve.admit(Identity { token, ..who }).map(|admission| (admission, token)),
        None => told,
    }
}

/// A question on its way.
struct Trip {
    way: (NodeId, NodeId),
    target: Arc<End>,
    kind: Kind,
    body: Bytes,
    until: Instant,
    life: Life,
}

/// One node's end of a [`MemoryNetwork`]. Closes when it is dropped.
pub struct MemoryTransport {
    network: Arc<MemoryNetwork>,
    end: Arc<End>,
}

impl MemoryTransport {
    /// The address under which others find it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.end.address
    }

    /// Sends a question on its way; `done` hears what came of it.
    fn send(&self, trip: Trip, done: impl FnOnce(Result<Bytes, Unreachable>) + Send + 'static) {
        let Trip { way, target, kind, body, until, mut life } = trip;
        let network = Arc::clone(&self.network);
        self.network.runtime.spawn(async move {
            let result = tokio::select! {
                biased;
                why = life.ended() => Err(why),
                result = network.exchange(way, &target, kind, body) => result,
                () = tokio::time::sleep_until(until) => Err(Unreachable::Late),
            };
            done(result);
        });
    }
}

impl Transport for MemoryTransport {
    fn ask(&self, to: NodeId, kind: Kind, body: Bytes, patience: Duration, reply: Reply) {
        let until = Instant::now() + patience;
        if self.end.exceeds(to, kind) {
            // Judged again: by now it may be let in for more.
            self.network.settle_links();
        }
        let begun = match self.end.begin(to, kind, body.len()) {
            Ok(begun) => begun,
            Err(why) => return reply(Err(why)),
        };
        let end = Arc::clone(&self.end);
        let way = (begun.me, to);
        let trip = Trip { way, target: begun.target, kind, body, until, life: begun.life };
        self.send(trip, move |result| {
            end.finish(to, kind, result.as_ref().err().copied());
            reply(result);
        });
    }

    fn introduce(&self, address: &str, body: Bytes, patience: Duration, reply: Reply) {
        let until = Instant::now() + patience;
        let me = Identity { node: NodeId::default(), ..self.end.identity() };
        if self.end.is_closed() {
            return reply(Err(Unreachable::Closed));
        }
        if body.len() > MAX_BODY {
            return reply(Err(Unreachable::TooLong));
        }
        let target = self.network.world.lock().ends.get(address).cloned();
        let Some(target) = target else { return reply(Err(Unreachable::Down)) };
        let matched = match_up(&self.end, &target, me, None);
        if let Err(why) = matched.and_then(|()| judge(&target, me, None)) {
            return reply(Err(Unreachable::Denied(why)));
        }
        let way = (me.node, target.identity().node);
        let life = self.end.life();
        self.send(Trip { way, target, kind: Kind::Control, body, until, life }, reply);
    }

    fn know(&self, node: NodeId, address: &str) {
        self.end.know(node, address);
        self.network.settle_links();
    }

    fn forget(&self, node: NodeId) {
        self.end.forget(node);
        // Its links to us end too, and are made again only if we admit it.
        let ends: Vec<_> = self.network.world.lock().ends.values().cloned().collect();
        for end in ends.iter().filter(|end| end.identity().node == node) {
            end.unlink_from(&self.end);
        }
        self.network.settle_links();
    }

    fn assume(&self, identity: Identity) {
        if self.end.assume(identity) {
            let ends: Vec<_> = self.network.world.lock().ends.values().cloned().collect();
            for end in &ends {
                end.unlink_from(&self.end);
            }
        }
        self.network.settle_links();
    }

    fn review(&self) {
        self.network.settle_links();
    }

    fn links(&self) -> Vec<LinkStatus> {
        self.end.statuses()
    }

    fn close(&self) {
        let removed = {
            let mut world = self.network.world.lock();
            let ours = world.ends.get(&self.end.address);
            let ours = ours.is_some_and(|end| Arc::ptr_eq(end, &self.end));
            ours.then(|| world.ends.remove(&self.end.address))
        };
        self.end.close();
        if removed.is_some() {
            self.network.settle_links();
        }
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport").field("address", &self.end.address).finish()
    }
}

#[cfg(test)]
mod tests;
