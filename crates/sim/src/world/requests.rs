//! Clients asking, and being told.

use super::{DEADLINE_MS, Happening, Packet, World};
use crate::client::{Deciding, EVENT_SKEW_MS, Entry, Kind, Request, Task, Told};
use crate::node::{Done, Op, OpId, widen};
use bytes::Bytes;
use shoal_core::quorum::{
    Batch, BatchOutcome, Execute, Executed, Item, Level, Read, ReadOutcome, Restamp, Stamps as _,
    Write, WriteOutcome,
};
use shoal_core::record::OwnedBody;
use shoal_core::version::Version;
use shoal_core::{NodeId, OwnedRecord};
use std::sync::Arc;

/// How long a client waits, in milliseconds.
const PATIENCE_MS: u64 = DEADLINE_MS + 2_000;
/// How long it rests between two requests, at most, in milliseconds.
const REST_MS: u64 = 30;

/// Of how many milliseconds the times of events are multiples.
const EVENT_GRAIN_MS: u64 = 40;

impl World {
    /// A client makes its next request, if there are any left.
    pub(super) fn ask(&mut self, client: usize) {
        if self.history.len() >= self.options.requests {
            return;
        }
        let swaps = self.options.swaps;
        let request = if swaps > 0.0 && self.rng.f64() < swaps {
            self.random_swap()
        } else {
            Request::random(&mut self.rng, &self.options, &self.layout)
        };
        self.ask_for(client, &request);
    }

    /// A client makes this request, of any node that is up.
    pub(crate) fn ask_for(&mut self, client: usize, request: &Request) {
        let up: Vec<NodeId> =
            self.nodes.iter().filter(|node| node.up).map(|node| node.id).collect();
        match self.rng.choice(up) {
            Some(coordinator) => drop(self.ask_at(client, coordinator, request)),
            None => self.after(100, Happening::Ask { client }),
        }
    }

    /// A client makes this request of this node; its line in the history.
    pub(crate) fn ask_at(&mut self, client: usize, at: NodeId, request: &Request) -> usize {
        let line = self.history.len();
        let (serial, asked) = (line as u64, self.steps);
        self.history.push(Entry { request: request.clone(), coordinator: at, asked, told: None });
        self.client_of.insert(serial, client);
        self.after(PATIENCE_MS, Happening::Impatience { client, serial });
        self.begin(at, serial, request);
        line
    }

    pub(super) fn lose_patience(&mut self, client: usize, serial: u64) {
        if self.client_of.get(&serial) == Some(&client) {
            let writes = self.history[index(serial)].request.writes();
            self.tell(serial, if writes { Told::Unknown } else { Told::Refused });
        }
    }

    /// Tells a client what came of its request, unless it was told already.
    pub(super) fn tell(&mut self, serial: u64, told: Told) {
        let Some(client) = self.client_of.remove(&serial) else { return };
        self.learn(serial, &told);
        self.history[index(serial)].told = Some((self.steps, told));
        let rest_ms = self.rng.u64(0..=REST_MS);
        self.after(rest_ms, Happening::Ask { client });
    }

    fn begin(&mut self, at: NodeId, serial: u64, request: &Request) {
        match &request.kind {
            Kind::Read => self.begin_read(at, serial, request),
            Kind::Put { .. } | Kind::Delete | Kind::Batch { .. } | Kind::Event { .. } => {
                self.begin_write(at, serial, request);
            }
            Kind::Add | Kind::Append | Kind::Swap { .. } => {
                let task = if let Kind::Swap { wishes } = &request.kind {
                    let parts = request.keys.iter().zip(wishes);
                    Task::Swap(parts.map(|(key, wish)| wish.part(key.clone(), serial)).collect())
                } else {
                    Task::Update(Deciding { serial, kind: request.kind.clone() })
                };
                let place = self.layout.place(request.key());
                let node = self.node(at);
                let suspects = &node.suspects;
                let members = &node.owners(place.partition).replicas;
                let executor = members.iter().find(|member| !suspects.contains(&member.node));
                let executor = executor.map_or(at, |member| member.node);
                self.send(at, executor, &Packet::Forward { serial, task });
            }
        }
    }

    fn begin_read(&mut self, at: NodeId, serial: u64, request: &Request) {
        let place = self.layout.place(request.key());
        let node = self.node(at);
        let owners = Arc::clone(node.owners(place.partition));
        let mut out = Vec::new();
        let started = Read::start(
            request.key().clone(),
            request.level,
            owners,
            |peer| !node.suspects.contains(&peer),
            |peer| u32::from(peer != at),
            &mut out,
        );
        match started {
            Ok(read) => {
                let id = self.new_op();
                self.serial_of.insert(id, serial);
                self.begin_op(at, id, place, Op::Read(read), widen(out, Done::Read));
            }
            Err(_) => self.tell(serial, Told::Refused),
        }
    }

    fn begin_write(&mut self, at: NodeId, serial: u64, request: &Request) {
        let now = self.true_ms();
        let place = self.layout.place(request.key());
        let horizon_ms = self.options.event_horizon_ms;
        let node = self.node(at);
        let physical_ms = node.physical_ms(now);
        let Ok(stamp) = node.ticker(physical_ms).stamp() else {
            return self.tell(serial, Told::Refused);
        };
        let written = stamp.version(at);
        self.note_stamp(at, written);
        let (version, restamp) = match request.kind {
            Kind::Event { at_ms, .. } => {
                // Coarse, so that events of one time meet.
                let wall_ms =
                    physical_ms.saturating_add_signed(at_ms) / EVENT_GRAIN_MS * EVENT_GRAIN_MS;
                let too_old = wall_ms.saturating_add(horizon_ms) < written.wall_ms;
                if too_old || at_ms > EVENT_SKEW_MS {
                    return self.tell(serial, Told::Refused);
                }
                (Version { wall_ms, counter: 0, node: at }, Restamp::Never)
            }
            _ => (written, Restamp::Once),
        };
        let ttl_ms = if let Kind::Put { ttl_ms } = request.kind { ttl_ms } else { None };
        let expires_at = ttl_ms.map(|ttl| physical_ms + ttl);
        let items = request.keys.iter().zip(request.bodies(serial)).map(|(key, body)| {
            let record = OwnedRecord { version, written, expires_at, body };
            Item { key: key.clone(), record }
        });
        let items: Arc<[Item]> = items.collect();
        let node = self.node(at);
        let owners = Arc::clone(node.owners(place.partition));
        let mut out = Vec::new();
        let reachable = |peer| !node.suspects.contains(&peer);
        let started = Write::start(at, items, request.level, restamp, owners, reachable, &mut out);
        match started {
            Ok(write) => {
                let id = self.new_op();
                self.serial_of.insert(id, serial);
                self.begin_op(at, id, place, Op::Write(write), widen(out, Done::Write));
            }
            Err(_) => self.tell(serial, Told::Refused),
        }
    }

    /// What depends on what is there waits for those before it on any of its keys.
    pub(super) fn take_turn(&mut self, at: NodeId, serial: u64, task: Task) {
        let keys = self.history[index(serial)].request.keys.clone();
        let id = self.new_op();
        self.serial_of.insert(id, serial);
        self.history[index(serial)].coordinator = at;
        let node = self.node(at);
        for key in keys {
            node.turns.entry(key).or_default().push_back(id);
        }
        node.tasks.insert(id, task);
        self.execute_if_first(at, id);
    }

    fn keys_of(&self, id: OpId) -> Vec<Bytes> {
        self.history[index(self.serial_of[&id])].request.keys.clone()
    }

    /// Begins what is first in line for each of its keys, and is not under way.
    fn execute_if_first(&mut self, at: NodeId, id: OpId) {
        let keys = self.keys_of(id);
        let node = self.node(at);
        let is_first = |key| node.turns.get(key).and_then(|turns| turns.front()) == Some(&id);
        if !keys.iter().all(is_first) {
            return;
        }
        let Some(task) = node.tasks.remove(&id) else { return };
        let place = self.layout.place(&keys[0]);
        let node = self.node(at);
        let tried = |key: &Bytes| node.tried.get(key).copied().unwrap_or(Version::ZERO);
        let owners = Arc::clone(node.owners(place.partition));
        let reachable = |peer| !node.suspects.contains(&peer);
        let level = Level::Quorum;
        let begun = match task {
            Task::Update(deciding) => {
                let (key, mut out) = (keys[0].clone(), Vec::new());
                let tried = tried(&key);
                Execute::start(at, key, level, owners, deciding, tried, reachable, &mut out)
                    .map(|execute| (Op::Execute(Box::new(execute)), widen(out, Done::Executed)))
                    .ok()
            }
            Task::Swap(parts) => {
                let mut out = Vec::new();
                Batch::start(at, parts, level, owners, tried, reachable, &mut out)
                    .map(|batch| (Op::Batch(Box::new(batch)), widen(out, Done::Batch)))
                    .ok()
            }
        };
        match begun {
            Some((op, effects)) => self.begin_op(at, id, place, op, effects),
            None => {
                self.answer_for(at, id, Told::Refused);
                self.next_turns(at, id);
            }
        }
    }

    /// A request is over at its node; the next ones for its keys may begin.
    pub(super) fn end_turn(&mut self, at: NodeId, id: OpId, op: &Op) {
        match op {
            Op::Execute(execute) => {
                let key = self.keys_of(id).swap_remove(0);
                self.node(at).tried.insert(key, execute.tried());
            }
            Op::Batch(batch) => {
                let tried = batch.tried().map(|(key, version)| (key.clone(), version));
                self.node(at).tried.extend(tried);
            }
            Op::Write(_) | Op::Read(_) | Op::Hint(_) => return,
        }
        self.next_turns(at, id);
    }

    fn next_turns(&mut self, at: NodeId, id: OpId) {
        let keys = self.keys_of(id);
        let mut next = Vec::new();
        for key in &keys {
            if let Some(turns) = self.node(at).turns.get_mut(key) {
                turns.pop_front();
                next.extend(turns.front());
                if turns.is_empty() {
                    self.node(at).turns.remove(key);
                }
            }
        }
        for id in next {
            self.execute_if_first(at, id);
        }
    }

    /// A machine has an answer for its client.
    pub(super) fn finish(&mut self, at: NodeId, id: OpId, done: Done) {
        let told = match done {
            Done::Write(WriteOutcome::Done { version }) => Told::Written { version: Some(version) },
            Done::Write(WriteOutcome::Superseded { by }) => Told::Superseded { by },
            Done::Write(WriteOutcome::Unknown { .. })
            | Done::Batch(BatchOutcome::Unknown)
            | Done::Executed(Executed::Unknown { .. }) => Told::Unknown,
            Done::Write(WriteOutcome::NoQuorum(_))
            | Done::Write(WriteOutcome::Full(_))
            | Done::Executed(
                Executed::NoQuorum(_)
                | Executed::Conflict
                | Executed::Elsewhere
                | Executed::Full(_),
            )
            | Done::Batch(
                BatchOutcome::NoQuorum(_)
                | BatchOutcome::Conflict
                | BatchOutcome::Elsewhere
                | BatchOutcome::Full(_),
            )
            | Done::Read(ReadOutcome::NoQuorum { .. }) => Told::Refused,
            Done::Batch(BatchOutcome::Unmet) => Told::Unmet,
            Done::Batch(BatchOutcome::Done { versions }) => {
                Told::Swapped { versions: self.swapped(id, versions) }
            }
            Done::Executed(Executed::Done { version, .. }) => Told::Written { version },
            Done::Read(ReadOutcome::Found(found)) => {
                let rank = found.record.as_ref().map(|record| record.borrow().rank());
                let value = found.live().and_then(|record| match &record.body {
                    OwnedBody::Live { bytes, .. } => Some(bytes.clone()),
                    OwnedBody::Tombstone => None,
                });
                Told::Found { rank, value }
            }
        };
        self.answer_for(at, id, told);
    }

    fn answer_for(&mut self, at: NodeId, id: OpId, told: Told) {
        let serial = self.serial_of[&id];
        if matches!(
            self.history[index(serial)].request.kind,
            Kind::Add | Kind::Append | Kind::Swap { .. }
        ) {
            // Its client is kept at the executor: the way back is one hop to itself.
            self.send(at, at, &Packet::Forwarded { serial, told });
        } else {
            self.tell(serial, told);
        }
    }
}

pub(crate) fn index(serial: u64) -> usize {
    usize::try_from(serial).expect("serials count the history's lines")
}
