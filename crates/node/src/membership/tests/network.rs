//! A little network in virtual time: it loses, delays, repeats and reorders datagrams, is cut one
//! way or both, and its nodes crash, pause and start again.

use super::super::{Config, Effect, Event, Identity, MemberState, Membership};
use crate::membership::Gossip;
use crate::secret::ClusterSecret;
use core::net::SocketAddr;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use shoal_core::{ClusterId, MapVersion, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a socket keeps of what nobody reads.
const SOCKET_KEEPS: usize = 200;

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

type Letter = (SocketAddr, Vec<u8>);

pub(crate) struct Machine {
    pub(crate) membership: Membership,
    address: SocketAddr,
    /// What arrived while it was stopped; none while it runs.
    stopped: Option<Vec<Letter>>,
}

pub(crate) struct Network {
    pub(crate) now: Duration,
    rng: Xoshiro256PlusPlus,
    pub(crate) machines: BTreeMap<u32, Machine>,
    flight: BTreeMap<(Duration, u64), (SocketAddr, Letter)>,
    sent: u64,
    cut: BTreeSet<(u32, u32)>,
    /// Of a thousand datagrams so many are lost, and so many come twice.
    pub(crate) loss: u32,
    pub(crate) duplicates: u32,
    /// The longest that a datagram takes, in milliseconds.
    pub(crate) delay_ms: u64,
    /// Whether nodes that hear of a newer map get it.
    pub(crate) pulls: bool,
    pub(crate) events: Vec<(Duration, u32, Event)>,
    /// Everything ever sent, if wanted.
    pub(crate) record: Option<Vec<(u32, SocketAddr, Vec<u8>)>>,
    /// Stands for every byte ever sent, and when.
    pub(crate) digest: blake3::Hasher,
}

pub(crate) fn address(node: u32) -> SocketAddr {
    let [.., high, low] = node.to_be_bytes();
    SocketAddr::new([10, 0, high, low].into(), 7_001)
}

pub(crate) fn identity(node: u32, start: u64) -> Identity {
    Identity::new(NodeId(node), start, address(node)).unwrap()
}

pub(crate) fn secret() -> ClusterSecret {
    ClusterSecret::generate([9; 32])
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            machines: BTreeMap::new(),
            flight: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            loss: 0,
            duplicates: 0,
            delay_ms: 5,
            pulls: false,
            events: Vec::new(),
            record: None,
            digest: blake3::Hasher::new(),
        }
    }

    /// A network of `nodes` that have all found each other.
    pub(crate) fn converged(nodes: u32, seed: u64) -> Self {
        let mut network = Self::new(seed);
        for node in 1..=nodes {
            network.start(node, 1);
            network.announce(node, 1);
            network.run(ms(20));
        }
        network.run(secs(2) + ms(seed % 1_000));
        network.assert_all_up();
        network.events.clear();
        network
    }

    pub(crate) fn start(&mut self, node: u32, start: u64) {
        self.start_as(node, identity(node, start), &secret(), ClusterId(1));
    }

    pub(crate) fn start_as(
        &mut self,
        machine: u32,
        me: Identity,
        secret: &ClusterSecret,
        cluster: ClusterId,
    ) {
        let seed = self.rng.random();
        let config = Config::default();
        let membership = Membership::new(config, me, secret, cluster, seed, self.now).unwrap();
        let machine_of = Machine { membership, address: me.address(), stopped: None };
        self.machines.insert(machine, machine_of);
    }

    pub(crate) fn crash(&mut self, node: u32) {
        self.machines.remove(&node);
    }

    pub(crate) fn pause(&mut self, node: u32) {
        self.machines.get_mut(&node).unwrap().stopped = Some(Vec::new());
    }

    /// Goes on, with the worst order: first what fell due meanwhile, then what lay unread.
    pub(crate) fn resume(&mut self, node: u32) {
        let now = self.now;
        let machine = self.machines.get_mut(&node).unwrap();
        let unread = machine.stopped.take().unwrap();
        let effects = machine.membership.on_time(now);
        self.carry_out(node, effects);
        for (from, bytes) in unread {
            self.deliver(node, from, &bytes);
        }
    }

    /// Nothing gets from one to the other any more; the other way it does.
    pub(crate) fn cut(&mut self, from: u32, to: u32) {
        self.cut.insert((from, to));
    }

    pub(crate) fn split(&mut self, left: &[u32], right: &[u32]) {
        for a in left {
            for b in right {
                self.cut(*a, *b);
                self.cut(*b, *a);
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn announce(&mut self, node: u32, to: u32) {
        let to = self.machines.get(&to).map_or(address(to), |machine| machine.address);
        self.on(node, |membership, now| membership.announce(to, now));
    }

    pub(crate) fn set_map(&mut self, node: u32, index: u64) {
        let gossip = Gossip { map_version: MapVersion { generation: 0, index }, load: 0 };
        self.on(node, |membership, now| membership.set_gossip(gossip, now));
    }

    /// The map of every node that runs has from now on those for which `keep` holds.
    pub(crate) fn retain_all(&mut self, keep: impl Fn(NodeId) -> bool + Copy) {
        let running: Vec<u32> = self.machines.keys().copied().collect();
        for node in running {
            self.on(node, |membership, now| membership.retain(keep, now));
        }
    }

    pub(crate) fn on(
        &mut self,
        node: u32,
        act: impl FnOnce(&mut Membership, Duration) -> Vec<Effect>,
    ) {
        let now = self.now;
        let effects = act(&mut self.machines.get_mut(&node).unwrap().membership, now);
        self.carry_out(node, effects);
    }

    pub(crate) fn deliver(&mut self, node: u32, from: SocketAddr, bytes: &[u8]) {
        self.on(node, |membership, now| membership.on_datagram(from, bytes, now));
    }

    /// Lets `time` pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let running = |(node, machine): (&u32, &Machine)| {
                let due = machine.membership.due().filter(|_| machine.stopped.is_none())?;
                Some((due, *node))
            };
            let timer = self.machines.iter().filter_map(running).min();
            let arrival = self.flight.keys().next().map(|(at, _)| *at);
            match (timer, arrival) {
                (Some((due, node)), arrival)
                    if due <= end && arrival.is_none_or(|arrival| due <= arrival) =>
                {
                    self.now = due.max(self.now);
                    self.on(node, |membership, now| membership.on_time(now));
                }
                (_, Some(arrival)) if arrival <= end => {
                    self.now = arrival.max(self.now);
                    let (_, (to, letter)) = self.flight.pop_first().unwrap();
                    self.arrive(to, letter);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn arrive(&mut self, to: SocketAddr, (from, bytes): Letter) {
        let there = |(_, machine): &(&u32, &mut Machine)| machine.address == to;
        let nodes = self.machines.iter_mut().filter(there);
        let Some((node, machine)) = nodes.last() else { return };
        let node = *node;
        match &mut machine.stopped {
            Some(unread) if unread.len() < SOCKET_KEEPS => unread.push((from, bytes)),
            Some(_) => {}
            None => self.deliver(node, from, &bytes),
        }
    }

    fn carry_out(&mut self, node: u32, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, bytes } => self.send(node, to, &bytes),
                Effect::Event(event) => {
                    self.events.push((self.now, node, event));
                    if let (true, Event::Heard { map_version, .. }) = (self.pulls, event) {
                        self.set_map(node, map_version.index);
                    }
                }
            }
        }
    }

    fn send(&mut self, node: u32, to: SocketAddr, bytes: &[u8]) {
        assert!(bytes.len() <= super::super::MAX_DATAGRAM);
        self.digest.update(&self.now.as_nanos().to_be_bytes());
        self.digest.update(bytes);
        if let Some(record) = &mut self.record {
            record.push((node, to, bytes.to_vec()));
        }
        let Some(from) = self.machines.get(&node).map(|machine| machine.address) else { return };
        let receiver = self.machines.iter().find(|(_, machine)| machine.address == to);
        let is_cut = receiver.is_some_and(|(receiver, _)| self.cut.contains(&(node, *receiver)));
        let copies = 1 + u32::from(self.rng.random_range(0..1_000) < self.duplicates);
        for _ in 0..copies {
            let delay = ms(self.rng.random_range(0..=self.delay_ms)) + ms(1);
            let lost = self.rng.random_range(0..1_000) < self.loss;
            if !lost && !is_cut {
                self.sent += 1;
                self.flight.insert((self.now + delay, self.sent), (to, (from, bytes.to_vec())));
            }
        }
    }

    pub(crate) fn state(&self, at: u32, of: u32) -> Option<MemberState> {
        self.machines[&at].membership.seen(NodeId(of)).map(|seen| seen.state)
    }

    /// Whether `at` has every machine of the network up, and nobody else.
    pub(crate) fn sees_all_up(&self, at: u32) -> bool {
        let seen: Vec<_> =
            self.machines[&at].membership.view().map(|seen| (seen.node.0, seen.state)).collect();
        let others: Vec<_> = self
            .machines
            .keys()
            .filter(|node| **node != at)
            .map(|node| (*node, MemberState::Up))
            .collect();
        seen == others
    }

    pub(crate) fn all_see_all_up(&self) -> bool {
        self.machines.keys().all(|node| self.sees_all_up(*node))
    }

    pub(crate) fn assert_all_up(&self) {
        for node in self.machines.keys() {
            let view: Vec<_> = self.machines[node].membership.view().collect();
            assert!(self.sees_all_up(*node), "n{node} at {:?} sees {view:#?}", self.now);
        }
    }

    /// How long it takes until `done`, at most `limit`.
    pub(crate) fn until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.now;
        while !done(self) {
            let took = self.now - begun;
            assert!(took < limit, "not within {limit:?}");
            self.run(ms(50));
        }
        self.now - begun
    }

    pub(crate) fn count(&self, wanted: impl Fn(u32, &Event) -> bool) -> usize {
        self.events.iter().filter(|(_, node, event)| wanted(*node, event)).count()
    }
}
