//! What is made of a datagram, and what this node says outside the SWIM protocol.
//!
//! Beside SWIM there are two messages. *Hello* asks to be let in; the answer is everything that
//! is known, in as many datagrams as it takes. *Tell* says what the sender believes of members:
//! of all to a newcomer; of one to that one itself, where it is suspected or taken for down, so
//! that it can object, or where somebody later has its place.

use super::codec::{Swim, Tell, decode_hello, encode_hello};
use super::datagram::{Gossip, Kind, MAX_BODY};
use super::identity::Identity;
use super::machine::{Membership, REACHED_AT_ONCE};
use super::roll::{Entry, MemberState};
use super::stats::Refused;
use core::net::SocketAddr;
use foca::{Incarnation, Member, Message, State};
use rand::RngExt as _;
use std::cmp::Ordering;
use std::time::Duration;

impl Membership {
    /// Takes one datagram, or says why not.
    pub(super) fn take(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        now: Duration,
    ) -> Result<(), Refused> {
        if !self.may_hear(from) {
            return Err(Refused::NotLoopback);
        }
        let opened = self.envelope.open(bytes)?;
        let (kind, gossip) = (opened.kind, opened.gossip);
        let malformed = |_| Refused::Malformed;
        match kind {
            Kind::Swim => {
                let swim = Swim::decode(opened.body).map_err(malformed)?;
                self.take_swim(swim, gossip, now)
            }
            Kind::Hello => {
                let from = decode_hello(opened.body).map_err(malformed)?;
                self.take_hello(&from, gossip, now)
            }
            Kind::Tell => {
                let tell = Tell::decode(opened.body).map_err(malformed)?;
                self.take_tell(tell, gossip, now)
            }
        }
    }

    fn take_swim(&mut self, mut swim: Swim, gossip: Gossip, now: Duration) -> Result<(), Refused> {
        let src = swim.header.src;
        self.admit(&src, now)?;
        // Meant for an earlier life of this node, or for another at the same address. An
        // announcement is taken in any life, as foca does.
        let dst = swim.header.dst;
        let announced = swim.header.message == Message::Announce && dst.node() == self.me().node();
        if dst != *self.me() && !announced {
            return Err(Refused::Stale);
        }
        swim.updates = self.weigh(swim.updates, now)?;
        let rejoined = self.hand_over(&swim, now).map_err(|_| Refused::Malformed)?;
        self.note(&src, gossip, now);
        if rejoined {
            self.hello(src.address());
        }
        Ok(())
    }

    fn take_hello(&mut self, src: &Identity, gossip: Gossip, now: Duration) -> Result<(), Refused> {
        self.admit(src, now)?;
        if let Some(down) = self.down(src) {
            self.tell(src.address(), vec![down]);
            return Ok(());
        }
        let alive = Member::new(*src, Incarnation::default(), State::Alive);
        self.learn(vec![alive], false, now);
        self.note(src, gossip, now);
        let me = self.me().node();
        let mut members: Vec<Member<Identity>> = self
            .swimmer
            .iter_membership_state()
            .filter(|member| member.id().node() != me && member.id().node() != src.node())
            .cloned()
            .collect();
        members.sort_unstable_by_key(|member| member.id().node());
        self.tell(src.address(), members);
        Ok(())
    }

    fn take_tell(&mut self, tell: Tell, gossip: Gossip, now: Duration) -> Result<(), Refused> {
        let src = tell.from;
        self.admit(&src, now)?;
        let mut members = self.weigh(tell.members, now)?;
        let me = *self.me();
        let down = self.down(&src);
        if down.is_some() {
            // What somebody says who is taken for down is out of date, but for what it says of
            // this node: both may take each other for down, and one must begin.
            members.retain(|member| *member.id() == me);
        } else {
            members.insert(0, Member::new(src, Incarnation::default(), State::Alive));
        }
        let suspected =
            members.iter().any(|member| *member.id() == me && member.state() == State::Suspect);
        let rejoined = self.learn(members, false, now);
        self.note(&src, gossip, now);
        if let Some(down) = down {
            self.tell(src.address(), vec![down]);
        }
        if rejoined {
            self.hello(src.address());
        } else if suspected {
            // Whoever asked gets the objection itself; others hear of it.
            self.swim(now, false, |swimmer, outbox| swimmer.announce(src, outbox));
        }
        Ok(())
    }

    /// Whether `src` may be listened to.
    fn admit(&mut self, src: &Identity, now: Duration) -> Result<(), Refused> {
        if src.node() == self.me().node() {
            if src > self.me() {
                self.later_self(src, now);
            }
            return Err(Refused::Own);
        }
        if self.is_stranger(src.node()) {
            return Err(Refused::Stranger);
        }
        let Some(entry) = self.roll.get(src.node()).copied() else {
            return if self.is_full() { Err(Refused::Full) } else { Ok(()) };
        };
        if *src < entry.identity {
            if src.start() < entry.identity.start() {
                // Two processes of one node: the earlier one must learn of the later.
                self.tell(src.address(), vec![member_of(&entry)]);
            }
            return Err(Refused::Stale);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.roll.len() >= self.config.max_members.get()
    }

    /// Removes from news what this node must not believe, and softens what it need not believe
    /// yet.
    fn weigh(
        &mut self,
        news: Vec<Member<Identity>>,
        now: Duration,
    ) -> Result<Vec<Member<Identity>>, Refused> {
        let mut kept = Vec::with_capacity(news.len());
        let mut doubts = Vec::new();
        let mut room = self.config.max_members.get().saturating_sub(self.roll.len());
        for member in news {
            let identity = *member.id();
            if identity.node() == self.me().node() {
                match identity.cmp(self.me()) {
                    Ordering::Less => {}
                    Ordering::Equal => kept.push(member),
                    Ordering::Greater => {
                        self.later_self(&identity, now);
                        return Err(Refused::Own);
                    }
                }
                continue;
            }
            if self.is_stranger(identity.node()) {
                continue;
            }
            match self.roll.get(identity.node()) {
                Some(entry) if self.is_hasty(entry, &member, now) => {
                    self.stats.doubted += 1;
                    // It has objected since to whatever led to this.
                    if member.incarnation() < entry.incarnation {
                        continue;
                    }
                    doubts.push((identity, member.incarnation()));
                    kept.push(Member::new(identity, member.incarnation(), State::Suspect));
                }
                Some(_) => kept.push(member),
                None if room == 0 => self.stats.crowded += 1,
                None => {
                    room -= 1;
                    kept.push(member);
                }
            }
        }
        for (identity, incarnation) in doubts {
            self.verify(&identity, incarnation, now);
        }
        Ok(kept)
    }

    /// Whether `member` is said to be down without having been suspected for a while, as
    /// somebody must be before being declared down in due form: then it is asked itself first.
    ///
    /// A node that hears nobody takes everybody for down and says so; one that comes back from
    /// a partition still believes what it concluded there.
    fn is_hasty(&self, entry: &Entry, member: &Member<Identity>, now: Duration) -> bool {
        let seen = &entry.seen;
        let suspected_for = now.saturating_sub(seen.since);
        let in_due_form =
            seen.state == MemberState::Suspect && suspected_for >= self.config.suspicion / 2;
        member.state() == State::Down
            && entry.identity == *member.id()
            && !member.id().is_leaving()
            && seen.state.is_reachable()
            && !in_due_form
    }

    fn note(&mut self, src: &Identity, gossip: Gossip, now: Duration) {
        let effects = &mut self.effects;
        let tell = |event| effects.push(super::Effect::Event(event));
        self.roll.heard(src, gossip, now, tell);
    }

    /// What is to be told to `identity` if it is taken for down.
    fn down(&self, identity: &Identity) -> Option<Member<Identity>> {
        let entry = self.roll.get(identity.node())?;
        let down = entry.identity == *identity && !entry.seen.state.is_reachable();
        down.then(|| member_of(entry))
    }

    pub(super) fn hello(&mut self, to: SocketAddr) {
        let body = encode_hello(self.me());
        self.send(to, Kind::Hello, &body);
    }

    pub(super) fn tell(&mut self, to: SocketAddr, members: Vec<Member<Identity>>) {
        let tell = Tell { from: *self.me(), members };
        for body in tell.encode(MAX_BODY) {
            self.send(to, Kind::Tell, &body);
        }
    }

    /// Tells everybody who is reachable that this node leaves.
    pub(super) fn goodbye(&mut self) {
        let from = self.me().leaving();
        let gone = Tell { from, members: vec![Member::new(from, 0, State::Down)] };
        let to: Vec<SocketAddr> = self
            .roll
            .iter()
            .filter(|entry| entry.seen.state.is_reachable())
            .map(|entry| entry.seen.address)
            .collect();
        for body in gone.encode(MAX_BODY) {
            for to in &to {
                self.send(*to, Kind::Tell, &body);
            }
        }
    }

    /// Asks a few of those that are down whether they are back.
    pub(super) fn reach(&mut self) {
        let mut down: Vec<SocketAddr> = self
            .roll
            .iter()
            .filter(|entry| entry.seen.state == MemberState::Down)
            .map(|entry| entry.seen.address)
            .collect();
        for _ in 0..REACHED_AT_ONCE.min(down.len()) {
            let chosen = self.rng.random_range(0..down.len());
            self.hello(down.swap_remove(chosen));
        }
    }
}

/// An entry as it is told to others.
fn member_of(entry: &Entry) -> Member<Identity> {
    let state = match entry.seen.state {
        MemberState::Up => State::Alive,
        MemberState::Suspect => State::Suspect,
        MemberState::Down | MemberState::Left => State::Down,
    };
    Member::new(entry.identity, entry.incarnation, state)
}
