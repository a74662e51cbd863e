//! The world of one run: the nodes, what is on its way between them, and true time.
//!
//! Holds: events happen one at a time, in the order of their time and then of their making, so
//! that a run is a function of its options.

mod evictions;
mod faults;
mod hints;
mod moves;
mod purges;
mod requests;
mod serving;
mod swaps;
mod syncs;
mod trace;
mod watch;

use crate::client::{Entry, Task, Told};
use crate::copy::{Job, SimCopy};
use crate::layout::{Layout, Place};
use crate::map_log::MapLog;
use crate::network::Network;
use crate::node::{Done, KEYSPACE, Op, OpId, Running, SimNode};
use crate::options::Options;
use bytes::Bytes;
use fastrand::Rng;
use shoal_core::quorum::{Answer, Ask, Effect, Envelope, Event, Header, Member, Owners};
use shoal_core::{Epoch, NodeId, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use swaps::Known;
pub(crate) use swaps::{PAIR_SUM, sum_of};
use trace::Trace;
use watch::Watch;

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
    Failed { node: NodeId, life: u64, op: OpId, peer: NodeId, round: u32 },
    Deadline { node: NodeId, life: u64, op: OpId },
    Slow { node: NodeId, life: u64, op: OpId },
    Map { node: NodeId, life: u64, owners: Vec<Arc<Owners>> },
    Tend { node: NodeId, life: u64 },
    Suspicion { node: NodeId, life: u64, about: NodeId, down: bool },
    Start { node: NodeId },
    Heal,
    HasRoom { node: NodeId },
    Fault,
    Evict,
    Ask { client: usize },
    Impatience { client: usize, serial: u64 },
}

/// What travels between nodes.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Ask { op: OpId, envelope: Envelope },
    Answer { op: OpId, answer: Answer },
    Forward { serial: u64, task: Task },
    Forwarded { serial: u64, told: Told },
}

/// A whole cluster with its clients.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) rng: Rng,
    pub(crate) nodes: Vec<SimNode>,
    pub(crate) network: Network,
    pub(crate) map: MapLog,
    pub(crate) layout: Layout,
    pub(crate) history: Vec<Entry>,
    /// What clients know of keys that they may swap.
    known: Known,
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
    /// Who has proven itself for the newest intent of each partition, and in which slots.
    pub(crate) proven: Vec<BTreeMap<Member, BTreeSet<Slot>>>,
    /// How many changes of owners were finished.
    pub(crate) cut_overs: u64,
    /// How many records were purged everywhere.
    pub(crate) purged: u64,
    /// How many records comparisons moved.
    pub(crate) moved: u64,
    /// By node and key, when the key was last seen to go by itself, in milliseconds of the run.
    pub(crate) gone_ms: BTreeMap<(NodeId, Bytes), u64>,
    pub(crate) watch: Watch,
    trace: Trace,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let map = MapLog::new(&options);
        let layout = Layout::new(options.partitions, options.slots);
        let skew = i64::try_from(options.skew_ms).unwrap_or(0);
        let nodes = (1..=options.nodes).map(NodeId).map(|id| {
            let copies = map.all();
            let copies = copies.iter().map(|owners| SimCopy::new(id, owners, &options)).collect();
            SimNode::new(id, copies, rng.i64(-skew..=skew))
        });
        let mut world = Self {
            nodes: nodes.collect(),
            network: Network::new(&options),
            proven: vec![BTreeMap::new(); layout.partitions()],
            options,
            rng,
            map,
            layout,
            history: Vec::new(),
            known: Known::default(),
            broken: None,
            queue: BTreeMap::new(),
            made: 0,
            elapsed_ms: 0,
            steps: 0,
            is_calm: false,
            next_op: 1,
            serial_of: BTreeMap::new(),
            client_of: BTreeMap::new(),
            cut_overs: 0,
            purged: 0,
            moved: 0,
            gone_ms: BTreeMap::new(),
            watch: Watch::default(),
            trace: Trace::default(),
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
        world.plan_eviction();
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
        self.trace.note(at, &happening);
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
            Happening::Failed { node, life, op, peer, round } if self.is_current(node, life) => {
                self.op_event(node, op, Event::Failed { node: peer, round });
            }
            Happening::Deadline { node, life, op } if self.is_current(node, life) => {
                self.op_event(node, op, Event::Deadline);
            }
            Happening::Slow { node, life, op } if self.is_current(node, life) => {
                self.op_event(node, op, Event::Slow);
                if self.node(node).ops.contains_key(&op) {
                    self.after(SLOW_MS, Happening::Slow { node, life, op });
                }
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
            Happening::HasRoom { node } => self.node(node).shelf.full = false,
            Happening::Fault => self.fault(),
            Happening::Evict => self.evict(),
            Happening::Ask { client } => self.ask(client),
            Happening::Impatience { client, serial } => self.lose_patience(client, serial),
            _ => {}
        }
    }

    fn arrives(&mut self, to: NodeId, from: NodeId, packet: Packet) {
        if !self.node(to).up {
            if let Packet::Ask { op, envelope } = packet {
                self.tell_failed(from, op, to, envelope.round);
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
            Packet::Forward { serial, task } => self.take_turn(to, serial, task),
            Packet::Forwarded { serial, told } => self.tell(serial, told),
        }
    }

    pub(crate) fn send(&mut self, from: NodeId, to: NodeId, packet: &Packet) {
        let arrivals = self.network.carry(from, to, &mut self.rng);
        if arrivals.is_empty()
            && let Packet::Ask { op, envelope } = packet
            && self.rng.bool()
        {
            self.tell_failed(from, *op, to, envelope.round);
        }
        // A request is handed on over a connection, which repeats nothing by itself.
        let once = matches!(packet, Packet::Forward { .. });
        let copies = if once { 1 } else { arrivals.len() };
        for delay_ms in arrivals.into_iter().take(copies) {
            self.after(delay_ms, Happening::Arrives { to, from, packet: packet.clone() });
        }
    }

    /// A connection ends sooner or later when nothing comes through.
    fn tell_failed(&mut self, node: NodeId, op: OpId, peer: NodeId, round: u32) {
        let life = self.node(node).life;
        let delay_ms = self.rng.u64(0..1_000);
        self.after(delay_ms, Happening::Failed { node, life, op, peer, round });
    }

    /// Gives an event to the machine of a request, and carries out what it asks for.
    pub(crate) fn op_event(&mut self, at: NodeId, id: OpId, event: Event) {
        let now = self.true_ms();
        let node = self.node(at);
        if let Some((partition, job)) = node.job(id) {
            let Event::Answered(answer) = event else { return };
            return match job {
                Job::Intake(slot) => self.intake_event(at, Place { partition, slot }, &answer),
                Job::Sync => self.sync_event(at, partition, &answer),
                Job::Purge => self.purge_event(at, partition, &answer),
            };
        }
        let Some(mut running) = node.ops.remove(&id) else { return };
        if let Op::Hint(delivery) = &running.op {
            return self.hint_event(at, running.place, delivery, &event);
        }
        if let Event::Answered(answer) = &event {
            self.watch.heard(id, answer);
        }
        let node = self.node(at);
        let physical_ms = node.physical_ms(now);
        let mut ticker = node.ticker(physical_ms);
        let effects = running.op.on(event, &mut ticker);
        self.carry_out(at, id, running, effects);
    }

    /// Begins a request, of whose machine these are the first effects.
    pub(crate) fn begin_op(
        &mut self,
        at: NodeId,
        id: OpId,
        place: Place,
        op: Op,
        effects: Vec<Effect<Done>>,
    ) {
        let life = self.node(at).life;
        self.after(DEADLINE_MS, Happening::Deadline { node: at, life, op: id });
        self.after(SLOW_MS, Happening::Slow { node: at, life, op: id });
        let running = Running { op, place, began_ms: self.elapsed_ms };
        self.carry_out(at, id, running, effects);
    }

    fn carry_out(&mut self, at: NodeId, id: OpId, running: Running, effects: Vec<Effect<Done>>) {
        let place = running.place;
        let epoch = running.op.owners().map(|owners| owners.epoch);
        let mut remapped = None;
        for effect in effects {
            match effect {
                Effect::Send { to, round, ask } => {
                    let epoch = epoch.expect("a machine that sends knows owners");
                    self.watch.sent(id, round);
                    self.ask_replica((at, to), place.slot, id, round, ask, epoch);
                }
                Effect::PullMap { at_least } => {
                    let known = Arc::clone(self.node(at).owners(place.partition));
                    if known.epoch >= at_least {
                        remapped = Some(known);
                    } else {
                        self.pull_map(at);
                    }
                }
                Effect::Done(done) => {
                    self.judge_acknowledgement(id, &running.op, &done);
                    self.finish(at, id, done);
                }
                Effect::Hint { to } => self.keep_hints(at, place, to, &running.op),
            }
        }
        if running.op.is_over() {
            self.watch.forget(id);
            self.end_turn(at, id, &running.op);
        } else {
            self.node(at).ops.insert(id, running);
        }
        if let Some(owners) = remapped {
            self.op_event(at, id, Event::Remapped(owners));
        }
    }

    pub(crate) fn ask_replica(
        &mut self,
        (at, to): (NodeId, NodeId),
        slot: Slot,
        op: OpId,
        round: u32,
        ask: Ask,
        epoch: Epoch,
    ) {
        let now = self.true_ms();
        let clock = self.node(at).told_clock(now);
        let header = Header { keyspace: KEYSPACE, slot, epoch, clock };
        self.send(at, to, &Packet::Ask { op, envelope: Envelope { header, round, ask } });
    }

    /// What a node does by itself now and then.
    fn tend(&mut self, at: NodeId) {
        let now = self.true_ms();
        self.node(at).tend_clock(now);
        self.watch_node(at);
        let mut is_behind = false;
        for partition in 0..self.layout.partitions() {
            self.deliver_hints(at, partition);
            self.tend_intakes(at, partition);
            self.tend_sync(at, partition);
            self.tend_purge(at, partition);
            self.readmit(partition);
            let known = self.node(at).owners(partition).epoch;
            is_behind |= self.map.newest(partition).epoch > known;
        }
        // Gossip says that a newer map exists.
        if is_behind && (self.is_calm || self.rng.u32(0..4) == 0) {
            self.pull_map(at);
        }
    }
}
