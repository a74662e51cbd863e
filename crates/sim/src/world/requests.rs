//! Clients asking, and being told.

use super::{DEADLINE_MS, Happening, Packet, World};
use crate::client::{Deciding, EVENT_SKEW_MS, Entry, Kind, Request, Told};
use crate::node::{Done, Op, OpId, widen};
use bytes::Bytes;
use shoal_core::quorum::{
    Execute, Executed, Item, Level, Read, ReadOutcome, Restamp, Stamps as _, Write, WriteOutcome,
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
        let request = Request::random(&mut self.rng, &self.options, &self.layout);
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
            Kind::Add | Kind::Append => {
                let deciding = Deciding { serial, kind: request.kind.clone() };
                let place = self.layout.place(request.key());
                let node = self.node(at);
                let suspects = &node.suspects;
                let members = &node.owners(place.partition).replicas;
                let executor = members.iter().find(|member| !suspects.contains(&member.node));
                let executor = executor.map_or(at, |member| member.node);
                self.send(at, executor, &Packet::Forward { serial, deciding });
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

    /// A read-modify-write waits for those before it on its key.
    pub(super) fn take_turn(&mut self, at: NodeId, serial: u64, deciding: Deciding) {
        let key = self.history[index(serial)].request.key().clone();
        let id = self.new_op();
        self.serial_of.insert(id, serial);
        self.history[index(serial)].coordinator = at;
        let turns = self.node(at).turns.entry(key.clone()).or_default();
        turns.push_back((id, deciding));
        if turns.len() == 1 {
            self.execute(at, &key);
        }
    }

    /// Begins the first of the read-modify-writes that wait for `key`.
    fn execute(&mut self, at: NodeId, key: &Bytes) {
        let place = self.layout.place(key);
        let node = self.node(at);
        let Some((id, deciding)) = node.turns.get(key).and_then(|turns| turns.front()).cloned()
        else {
            return;
        };
        let tried = node.tried.get(key).copied().unwrap_or(Version::ZERO);
        let owners = Arc::clone(node.owners(place.partition));
        let mut out = Vec::new();
        let reachable = |peer| !node.suspects.contains(&peer);
        let level = Level::Quorum;
        let key = key.clone();
        let started =
            Execute::start(at, key.clone(), level, owners, deciding, tried, reachable, &mut out);
        match started {
            Ok(execute) => {
                let op = Op::Execute(Box::new(execute));
                self.begin_op(at, id, place, op, widen(out, Done::Executed));
            }
            Err(_) => {
                self.answer_for(at, id, Told::Refused);
                self.next_turn(at, &key);
            }
        }
    }

    /// A request is over at its node; the next one for its key may begin.
    pub(super) fn end_turn(&mut self, at: NodeId, id: OpId, op: &Op) {
        let Op::Execute(execute) = op else { return };
        let serial = self.serial_of[&id];
        let key = self.history[index(serial)].request.key().clone();
        self.node(at).tried.insert(key.clone(), execute.tried());
        self.next_turn(at, &key);
    }

    fn next_turn(&mut self, at: NodeId, key: &Bytes) {
        if let Some(turns) = self.node(at).turns.get_mut(key) {
            turns.pop_front();
            if turns.is_empty() {
                self.node(at).turns.remove(key);
            } else {
                self.execute(at, key);
            }
        }
    }

    /// A machine has an answer for its client.
    pub(super) fn finish(&mut self, at: NodeId, id: OpId, done: Done) {
        let told = match done {
            Done::Write(WriteOutcome::Done { version }) => Told::Written { version: Some(version) },
            Done::Write(WriteOutcome::Superseded { by }) => Told::Superseded { by },
            Done::Write(WriteOutcome::Unknown { .. })
            | Done::Executed(Executed::Unknown { .. }) => Told::Unknown,
            Done::Write(WriteOutcome::NoQuorum(_))
            | Done::Executed(Executed::NoQuorum(_) | Executed::Conflict | Executed::Elsewhere)
            | Done::Read(ReadOutcome::NoQuorum { .. }) => Told::Refused,
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
        if matches!(self.history[index(serial)].request.kind, Kind::Add | Kind::Append) {
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
