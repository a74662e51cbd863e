//! The machine: foca, the roll and the timers behind one set of calls.

use super::codec::{CodecError, Swim, Wire};
use super::config::{Config, ConfigError};
use super::datagram::{Envelope, Gossip, Kind};
use super::identity::Identity;
use super::outbox::Outbox;
use super::roll::{Roll, Seen};
use super::stats::Stats;
use super::timers::Timers;
use super::watch::Due;
use super::{Effect, Event};
use crate::secret::ClusterSecret;
use core::net::SocketAddr;
use foca::{Foca, Member, NoCustomBroadcast, State};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use shoal_core::{ClusterId, NodeId};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

type Swimmer = Foca<Identity, Wire, Xoshiro256PlusPlus, NoCustomBroadcast>;

/// So many members that are down are asked at a time whether they are back.
pub(super) const REACHED_AT_ONCE: usize = 3;

/// Whether this node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Taking,
    /// It left, or a later process has its place. Nothing goes in or out any more.
    Over,
}

/// Who belongs to the cluster's conversation, and can be reached. See the module.
///
/// All times are measured on one clock that never goes back, from any beginning.
pub struct Membership {
    pub(super) config: Config,
    pub(super) swimmer: Swimmer,
    pub(super) envelope: Envelope,
    /// Without a secret nobody beyond this machine is spoken to.
    local_only: bool,
    pub(super) gossip: Gossip,
    pub(super) roll: Roll,
    pub(super) timers: Timers<Due>,
    /// Nodes that the map does not have. Their news are not listened to.
    strangers: BTreeSet<NodeId>,
    pub(super) rng: Xoshiro256PlusPlus,
    pub(super) stats: Stats,
    part: Part,
    /// The number of members that foca's times were made for.
    pub(super) sized_for: usize,
    reclaimed_at: Option<Duration>,
    pub(super) effects: Vec<Effect>,
}

impl Membership {
    /// A node that knows nobody yet.
    ///
    /// # Errors
    ///
    /// If the configuration makes no sense.
    pub fn new(
        config: Config,
        me: Identity,
        secret: &ClusterSecret,
        cluster: ClusterId,
        seed: u64,
        now: Duration,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let dice = Xoshiro256PlusPlus::from_rng(&mut rng);
        let mut timers = Timers::new();
        timers.put(now + config.reach_period, Due::Reach, false);
        Ok(Self {
            config,
            swimmer: Foca::new(me, config.swim(0), dice, Wire),
            envelope: Envelope::new(cluster, secret),
            local_only: secret.is_public(),
            gossip: Gossip::default(),
            roll: Roll::default(),
            timers,
            strangers: BTreeSet::new(),
            rng,
            stats: Stats::default(),
            part: Part::Taking,
            sized_for: 0,
            reclaimed_at: None,
            effects: Vec::new(),
        })
    }

    /// Takes one datagram.
    pub fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Duration) -> Vec<Effect> {
        if self.part == Part::Over {
            return Vec::new();
        }
        self.stats.received += 1;
        if let Err(reason) = self.take(from, bytes, now) {
            self.stats.count(reason);
            tracing::trace!(%from, reason = reason.name(), "dropped a membership datagram");
        }
        std::mem::take(&mut self.effects)
    }

    /// When [`Membership::on_time`] must be called next.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        if self.part == Part::Over { None } else { self.timers.first_due() }
    }

    /// Does what has fallen due. Calling it early does nothing; calling it late is noticed.
    pub fn on_time(&mut self, now: Duration) -> Vec<Effect> {
        while self.part == Part::Taking {
            let Some((entry, late)) = self.timers.take(now) else { break };
            self.fall_due(entry, late, now);
        }
        std::mem::take(&mut self.effects)
    }

    /// The driver's own loop was late by `lag`: until that is some time ago, others have that
    /// much longer to answer. Lateness of [`Membership::on_time`] is noticed without this.
    pub fn on_lag(&mut self, lag: Duration, now: Duration) {
        self.timers.note_lag(lag, now);
    }

    /// Asks whoever takes datagrams at `to` to be let in. It answers with the list of all
    /// members. May be lost: to be repeated until somebody is up.
    pub fn announce(&mut self, to: SocketAddr, now: Duration) -> Vec<Effect> {
        if self.part == Part::Taking {
            self.hello(to);
            self.settle(Outbox::default(), false, now);
        }
        std::mem::take(&mut self.effects)
    }

    /// Says goodbye to everybody and falls silent for good.
    pub fn leave(&mut self, now: Duration) -> Vec<Effect> {
        if self.part == Part::Taking {
            self.goodbye();
            self.settle(Outbox::default(), false, now);
            self.part = Part::Over;
        }
        std::mem::take(&mut self.effects)
    }

    /// What goes out with every datagram from now on. Of a newer map some members are told at
    /// once, and they tell others when they have it.
    pub fn set_gossip(&mut self, gossip: Gossip, now: Duration) -> Vec<Effect> {
        let newer = gossip.map_version > self.gossip.map_version;
        self.gossip = gossip;
        if newer && self.part == Part::Taking {
            self.swim(now, false, |swimmer, outbox| swimmer.gossip(outbox));
        }
        std::mem::take(&mut self.effects)
    }

    /// Forgets all nodes for which `keep` says no, and does not listen to them until it is
    /// called again and `keep` says yes. To be called whenever the map changes, with whether
    /// the map has the node.
    pub fn retain(&mut self, keep: impl Fn(NodeId) -> bool, now: Duration) -> Vec<Effect> {
        self.strangers.retain(|node| !keep(*node));
        let me = self.swimmer.identity().node();
        let gone: Vec<Member<Identity>> = self
            .swimmer
            .iter_membership_state()
            .filter(|member| member.id().node() != me && !keep(member.id().node()))
            .cloned()
            .collect();
        for member in gone {
            let identity = *member.id();
            let down = Member::new(identity, member.incarnation(), State::Down);
            self.roll.remove(identity.node());
            self.strangers.insert(identity.node());
            let mut outbox = Outbox::default();
            let mut result = self.swimmer.apply_many([down].into_iter(), false, &mut outbox);
            let forget = foca::Timer::RemoveDown(identity);
            result = result.and_then(|()| self.swimmer.handle_timer(forget, &mut outbox));
            self.judge(&result);
            self.settle(outbox, false, now);
        }
        while self.strangers.len() > self.config.max_members.get() {
            self.strangers.pop_first();
        }
        std::mem::take(&mut self.effects)
    }

    /// Every other node that is known, by node id.
    pub fn view(&self) -> impl Iterator<Item = &Seen> {
        self.roll.iter().map(|entry| &entry.seen)
    }

    /// What is known of one other node.
    #[must_use]
    pub fn seen(&self, node: NodeId) -> Option<&Seen> {
        self.roll.get(node).map(|entry| &entry.seen)
    }

    /// Whether it is worth sending to `node`: this node itself, or one that is up or suspected.
    #[must_use]
    pub fn is_reachable(&self, node: NodeId) -> bool {
        node == self.swimmer.identity().node()
            || self.seen(node).is_some_and(|seen| seen.state.is_reachable())
    }

    /// Who this node is at present.
    #[must_use]
    pub const fn me(&self) -> &Identity {
        self.swimmer.identity()
    }

    /// What was counted since the start.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Lets foca do something and does what it asks for. `own` says that what it concludes is
    /// this node's own finding.
    pub(super) fn swim(
        &mut self,
        now: Duration,
        own: bool,
        act: impl FnOnce(&mut Swimmer, &mut Outbox) -> Result<(), foca::Error>,
    ) -> bool {
        let mut outbox = Outbox::default();
        let result = act(&mut self.swimmer, &mut outbox);
        let rejoined = outbox.rejoined;
        self.judge(&result);
        self.settle(outbox, own, now);
        rejoined
    }

    /// Believes `members`.
    pub(super) fn learn(
        &mut self,
        members: Vec<Member<Identity>>,
        own: bool,
        now: Duration,
    ) -> bool {
        self.swim(now, own, |swimmer, outbox| swimmer.apply_many(members.into_iter(), true, outbox))
    }

    fn judge(&mut self, result: &Result<(), foca::Error>) {
        if let Err(error) = result {
            self.stats.exceptions += 1;
            tracing::debug!(%error, "the membership protocol took exception");
        }
    }

    /// Does what foca asked for and takes over what it now believes.
    pub(super) fn settle(&mut self, outbox: Outbox, own: bool, now: Duration) {
        for (to, body) in outbox.sends {
            self.send(to.address(), Kind::Swim, &body);
        }
        for (timer, after) in outbox.timers {
            let after = match timer {
                foca::Timer::ProbeRandomMember(_)
                | foca::Timer::SendIndirectProbe { .. }
                | foca::Timer::ChangeSuspectToDown { .. } => self.timers.widened(after, now),
                _ => after,
            };
            self.timers.put(now + after, Due::Swim(timer), false);
        }
        self.stats.rejoined += u64::from(outbox.rejoined);
        let me = self.swimmer.identity().node();
        let effects = &mut self.effects;
        let mut suspects = Vec::new();
        for member in self.swimmer.iter_membership_state() {
            if member.id().node() != me {
                let tell = |event| effects.push(Effect::Event(event));
                suspects.extend(self.roll.learn(member, now, tell));
            }
        }
        for suspect in suspects {
            self.watch(&suspect, own, now);
        }
        self.resize();
    }

    /// The more members there are, the longer a suspected one has to object.
    fn resize(&mut self) {
        let members = self.roll.len();
        if self.sized_for != members {
            self.sized_for = members;
            let result = self.swimmer.set_config(self.config.swim(members));
            self.judge(&result);
        }
    }

    pub(super) fn send(&mut self, to: SocketAddr, kind: Kind, body: &[u8]) {
        if self.local_only && !Identity::is_local(to.ip()) {
            return;
        }
        self.stats.sent += 1;
        let bytes = self.envelope.seal(kind, self.gossip, body);
        self.effects.push(Effect::Send { to, bytes });
    }

    /// Whether a datagram from this address may be listened to at all.
    pub(super) fn may_hear(&self, from: SocketAddr) -> bool {
        !self.local_only || Identity::is_local(from.ip())
    }

    pub(super) fn is_stranger(&self, node: NodeId) -> bool {
        self.strangers.contains(&node)
    }

    /// Somebody knows of a later life of this node than this one.
    pub(super) fn later_self(&mut self, later: &Identity, now: Duration) {
        if later.start() > self.me().start() {
            self.part = Part::Over;
            let start = later.start();
            self.effects.push(Effect::Event(Event::Superseded { start }));
            return;
        }
        // The same start: this process, as it was known before it lost its memory. It goes on
        // above that, though not in a race with a double of itself.
        let lately = |at: Duration| now.saturating_sub(at) < self.config.reach_period;
        let Some(renewals) = later.renewals().checked_add(1) else { return };
        if !self.reclaimed_at.is_some_and(lately) {
            self.reclaimed_at = Some(now);
            let identity = self.me().renewed(renewals);
            self.swim(now, false, |swimmer, outbox| swimmer.change_identity(identity, outbox));
        }
    }

    /// Gives foca a message that was read and weighed before.
    pub(super) fn hand_over(&mut self, swim: &Swim, now: Duration) -> Result<bool, CodecError> {
        let body = swim.encode()?;
        Ok(self.swim(now, false, |swimmer, outbox| swimmer.handle_data(&body, outbox)))
    }

    #[cfg(test)]
    pub(super) fn pending(&self) -> usize {
        self.timers.len()
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("me", self.swimmer.identity())
            .field("members", &self.roll.len())
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}
