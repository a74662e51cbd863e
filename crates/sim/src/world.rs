//! The world of one run: the nodes, what is on its way between them, and true time.
//!
//! Holds: events happen one at a time, in the order of their time and then of their making, so
//! that a run is a function of its options.

mod faults;
mod moves;
mod purges;
mod requests;
mod serving;
mod syncs;

use crate::client::{Deciding, Entry, Told};
use crate::map_log::MapLog;
use crate::network::Network;
use crate::node::{Done, KEYSPACE, Op, OpId, SimNode, Ticker};
use crate::options::Options;
use fastrand::Rng;
use shoal_core::quorum::{
    Answer, Ask, Effect, Envelope, Event, Header, Item, Member, Owners, Refusal, Reply,
};
use shoal_core::{Epoch, NodeId, Slot, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// True time at the start, in milliseconds since the Unix epoch.
const START_MS: u64 = 1_800_000_000_000;
/// How long a request may take, in milliseconds.
pub(crate) const DEADLINE_MS: u64 = 5_000;
/// When a read asks one more, in milliseconds.
const SLOW_MS: u64 = 60;
/// How often a node looks after its hints, in milliseconds.
const TEND_MS: u64 = 400;

/// What may happen next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every happening is an arrival")]
pub(crate) enum Happening {
    Arrives { to: NodeId, from: NodeId, packet: Packet },
    Synced { node: NodeId, life: u64, position: u64 },
    Failed { node: NodeId, life: u64, op: OpId, peer: NodeId },
    Deadline { node: NodeId, life: u64, op: OpId },
    Slow { node: NodeId, life: u64, op: OpId },
    Map { node: NodeId, life: u64, owners: Arc<Owners> },
    Tend { node: NodeId, life: u64 },
    Suspicion { node: NodeId, life: u64, about: NodeId, down: bool },
    Start { node: NodeId },
    Heal,
    Fault,
    Ask { client: usize },
    Impatience { client: usize, serial: u64 },
}

/// What travels between nodes.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Ask { op: OpId, envelope: Envelope },
    Answer { op: OpId, answer: Answer },
    Forward { serial: u64, deciding: Deciding },
    Forwarded { serial: u64, told: Told },
}

/// A whole cluster with its clients.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) rng: Rng,
    pub(crate) nodes: Vec<SimNode>,
    pub(crate) network: Network,
    pub(crate) map: MapLog,
    pub(crate) history: Vec<Entry>,
    pub(crate) broken: Option<String>,
    queue: BTreeMap<(u64, u64), Happening>,
    made: u64,
    /// Milliseconds of true time since the start.
    pub(crate) elapsed_ms: u64,
    pub(crate) steps: u64,
    pub(crate) is_calm: bool,
    next_op: OpId,
    /// The history's line, and the client, that a request is for.
    pub(crate) serial_of: BTreeMap<OpId, u64>,
    pub(crate) client_of: BTreeMap<u64, usize>,
    /// Who has proven itself for the newest intent.
    pub(crate) proven: BTreeSet<Member>,
    /// How many changes of owners were finished.
    pub(crate) cut_overs: u64,
    /// How many records were purged everywhere.
    pub(crate) purged: u64,
    /// The last stamp of each node's clock, kept outside of the nodes.
    pub(crate) last_stamps: BTreeMap<NodeId, Version>,
    trace: Xxh3,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let map = MapLog::new(options.replicas);
        let skew = i64::try_from(options.skew_ms).unwrap_or(0);
        let nodes = (1..=options.nodes)
            .map(|id| SimNode::new(NodeId(id), map.newest(), rng.i64(-skew..=skew)))
            .collect();
        let mut world = Self {
            network: Network::new(&options),
            options,
            rng,
            nodes,
            map,
            history: Vec::new(),
            broken: None,
            queue: BTreeMap::new(),
            made: 0,
            elapsed_ms: 0,
            steps: 0,
            is_calm: false,
            next_op: 1,
            serial_of: BTreeMap::new(),
            client_of: BTreeMap::new(),
            proven: BTreeSet::new(),
            cut_overs: 0,
            purged: 0,
            last_stamps: BTreeMap::new(),
            trace: Xxh3::new(),
        };
        for id in 1..=world.options.nodes {
            let node = NodeId(id);
            world.after(u64::from(id), Happening::Tend { node, life: 1 });
            let now = world.true_ms();
            world.node(node).tend_clock(now);
        }
        for client in 0..world.options.clients {
            world.after(0, Happening::Ask { client });
        }
        world.plan_fault();
        world
    }

    pub(crate) const fn true_ms(&self) -> u64 {
        START_MS + self.elapsed_ms
    }

    pub(crate) fn node(&mut self, id: NodeId) -> &mut SimNode {
        &mut self.nodes[id.0 as usize - 1]
    }

    pub(crate) fn after(&mut self, delay_ms: u64, happening: Happening) {
        self.made += 1;
        self.queue.insert((self.elapsed_ms + delay_ms, self.made), happening);
    }

    pub(crate) fn new_op(&mut self) -> OpId {
        self.next_op += 1;
        self.next_op
    }

    /// A digest of everything that happened so far.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.digest()
    }

    /// Lets the next thing happen, if it does so before `until_ms` of the run.
    pub(crate) fn step(&mut self, until_ms: u64) -> bool {
        let Some((&(at, made), _)) = self.queue.first_key_value() else { return false };
        if at > until_ms || self.broken.is_some() {
            return false;
        }
        let happening = self.queue.remove(&(at, made)).expect("it was the first");
        self.elapsed_ms = at;
        self.steps += 1;
        self.trace.update(format!("{at} {happening:?}").as_bytes());
        self.happen(happening);
        true
    }

    fn is_current(&mut self, node: NodeId, life: u64) -> bool {
        let node = self.node(node);
        node.up && node.life == life
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { to, from, packet } => self.arrives(to, from, packet),
            Happening::Synced { node, life, position } if self.is_current(node, life) => {
                self.node(node).shelf.sync(position);
                self.release(node);
            }
            Happening::Failed { node, life, op, peer } if self.is_current(node, life) => {
                self.op_event(node, op, Event::Failed(peer));
            }
            Happening::Deadline { node, life, op } if self.is_current(node, life) => {
                self.op_event(node, op, Event::Deadline);
            }
            Happening::Slow { node, life, op } if self.is_current(node, life) => {
                self.op_event(node, op, Event::Slow);
            }
            Happening::Map { node, life, owners } if self.is_current(node, life) => {
                self.adopt(node, &owners);
            }
            Happening::Tend { node, life } if self.is_current(node, life) => {
                self.after(TEND_MS, Happening::Tend { node, life });
                self.tend(node);
            }
            Happening::Suspicion { node, life, about, down } if self.is_current(node, life) => {
                let suspects = &mut self.node(node).suspects;
                if down {
                    suspects.insert(about)
                } else {
                    suspects.remove(&about)
                };
            }
            Happening::Start { node } => self.start(node),
            Happening::Heal => self.network.heal(),
            Happening::Fault => self.fault(),
            Happening::Ask { client } => self.ask(client),
            Happening::Impatience { client, serial } => self.lose_patience(client, serial),
            _ => {}
        }
    }

    fn arrives(&mut self, to: NodeId, from: NodeId, packet: Packet) {
        if !self.node(to).up {
            if let Packet::Ask { op, .. } = packet {
                self.tell_failed(from, op, to);
            }
            return;
        }
        let now = self.true_ms();
        match packet {
            Packet::Ask { op, envelope } => {
                self.node(to).hear(envelope.header.clock, now);
                self.serve(to, from, op, envelope);
            }
            Packet::Answer { op, answer } => {
                self.node(to).hear(answer.clock, now);
                self.op_event(to, op, Event::Answered(answer));
            }
            Packet::Forward { serial, deciding } => self.take_turn(to, serial, deciding),
            Packet::Forwarded { serial, told } => self.tell(serial, told),
        }
    }

    pub(crate) fn send(&mut self, from: NodeId, to: NodeId, packet: &Packet) {
        let arrivals = self.network.carry(from, to, &mut self.rng);
        if arrivals.is_empty()
            && let Packet::Ask { op, .. } = packet
            && self.rng.bool()
        {
            self.tell_failed(from, *op, to);
        }
        // A request is handed on over a connection, which repeats nothing by itself.
        let once = matches!(packet, Packet::Forward { .. });
        let copies = if once { 1 } else { arrivals.len() };
        for delay_ms in arrivals.into_iter().take(copies) {
            self.after(delay_ms, Happening::Arrives { to, from, packet: packet.clone() });
        }
    }

    /// A connection ends sooner or later when nothing comes through.
    fn tell_failed(&mut self, node: NodeId, op: OpId, peer: NodeId) {
        let life = self.node(node).life;
        let delay_ms = self.rng.u64(0..1_000);
        self.after(delay_ms, Happening::Failed { node, life, op, peer });
    }

    /// Gives an event to the machine of a request, and carries out what it asks for.
    pub(crate) fn op_event(&mut self, at: NodeId, id: OpId, event: Event) {
        let now = self.true_ms();
        let node = self.node(at);
        if node.intake.as_ref().is_some_and(|(intake, _)| *intake == id) {
            return self.intake_event(at, &event);
        }
        if node.sync.as_ref().is_some_and(|(sync, _, _)| *sync == id) {
            return self.sync_event(at, &event);
        }
        if node.purge.as_ref().is_some_and(|(purge, _, _)| *purge == id) {
            return self.purge_event(at, &event);
        }
        let Some(mut op) = node.ops.remove(&id) else { return };
        if let Op::Hint(delivery) = op {
            return self.hint_event(at, &delivery, &event);
        }
        let physical_ms = node.physical_ms(now);
        let mut ticker = Ticker { clock: &mut node.clock, physical_ms };
        let effects = op.on(event, &mut ticker);
        self.carry_out(at, id, op, effects);
    }

    fn hint_event(&mut self, at: NodeId, delivery: &shoal_core::repair::Delivery, event: &Event) {
        let Event::Answered(answer) = event else { return };
        let node = self.node(at);
        let owners = Arc::clone(node.replica.owners());
        node.hints.answered(delivery, answer.from, &answer.reply, &owners);
        if answer.reply == Reply::Refused(Refusal::Stale) {
            self.pull_map(at);
        }
    }

    pub(crate) fn carry_out(&mut self, at: NodeId, id: OpId, op: Op, effects: Vec<Effect<Done>>) {
        let epoch = op.owners().map(|owners| owners.epoch);
        let mut remapped = None;
        for effect in effects {
            match effect {
                Effect::Send { to, round, ask } => {
                    let epoch = epoch.expect("a machine that sends knows owners");
                    self.ask_replica(at, to, id, round, ask, epoch);
                }
                Effect::PullMap { above } => {
                    let known = Arc::clone(self.node(at).replica.owners());
                    if known.epoch > above {
                        remapped = Some(known);
                    } else {
                        self.pull_map(at);
                    }
                }
                Effect::Done(done) => self.finish(at, id, done),
                Effect::Hint { to } => {
                    for item in items_of(&op) {
                        self.node(at).hints.keep(to, &item);
                    }
                }
            }
        }
        if op.is_over() {
            self.end_turn(at, id, &op);
        } else {
            self.node(at).ops.insert(id, op);
        }
        if let Some(owners) = remapped {
            self.op_event(at, id, Event::Remapped(owners));
        }
    }

    pub(crate) fn ask_replica(
        &mut self,
        at: NodeId,
        to: NodeId,
        op: OpId,
        round: u32,
        ask: Ask,
        epoch: Epoch,
    ) {
        let now = self.true_ms();
        let clock = self.node(at).told_clock(now);
        let slot = Slot::new(0).expect("the first slot");
        let header = Header { keyspace: KEYSPACE, slot, epoch, clock };
        self.send(at, to, &Packet::Ask { op, envelope: Envelope { header, round, ask } });
    }

    /// Begins the timers of a request.
    pub(crate) fn time(&mut self, at: NodeId, op: OpId) {
        let life = self.node(at).life;
        self.after(DEADLINE_MS, Happening::Deadline { node: at, life, op });
        self.after(SLOW_MS, Happening::Slow { node: at, life, op });
    }

    /// What a node does by itself now and then.
    fn tend(&mut self, at: NodeId) {
        let now = self.true_ms();
        let node = self.node(at);
        node.tend_clock(now);
        let owners = Arc::clone(node.replica.owners());
        let suspects = node.suspects.clone();
        let deliveries = node.hints.deliveries(&owners, |peer| !suspects.contains(&peer), 8);
        for delivery in deliveries {
            let id = self.new_op();
            let (to, ask) = (delivery.to, delivery.ask.clone());
            self.node(at).ops.insert(id, Op::Hint(delivery));
            self.ask_replica(at, to, id, 0, ask, owners.epoch);
        }
        self.tend_intake(at);
        self.tend_sync(at);
        self.tend_purge(at);
        self.readmit();
        // Gossip says that a newer map exists.
        if self.map.newest().epoch > owners.epoch && (self.is_calm || self.rng.u32(0..4) == 0) {
            self.pull_map(at);
        }
    }
}

fn items_of(op: &Op) -> Vec<Item> {
    match op {
        Op::Write(write) => write.items().to_vec(),
        Op::Execute(execute) => execute.kept().cloned().into_iter().collect(),
        Op::Read(_) | Op::Hint(_) => Vec::new(),
    }
}
