//! A cluster in which nothing happens but what a scenario says.

use crate::client::{Kind, Request, Told};
use crate::layout::Place;
use crate::options::{Family, Faults, Options};
use crate::oracle;
use crate::world::World;
use bytes::Bytes;
use shoal_core::clock::Stamp;
use shoal_core::quorum::{Ask, Envelope, Header, Item, Level, Origin, Reply};
use shoal_core::replica::{Floor, Put, Served, Shelf as _};
use shoal_core::{Incarnation, NodeId, OwnedRecord, Version};
use std::sync::Arc;

/// What writes, in the shortest form.
pub(super) const PUT: Kind = Kind::Put { ttl_ms: None };

pub(super) struct Stage {
    pub(super) world: World,
}

impl Stage {
    /// So many nodes, the first of which own the partition.
    pub(super) fn new(nodes: u32, replicas: usize) -> Self {
        Self::with(nodes, replicas, |_| {})
    }

    pub(super) fn with(nodes: u32, replicas: usize, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            seed: 7,
            family: Family::Ordinary,
            nodes,
            partitions: 1,
            slots: 1,
            replicas,
            clients: 0,
            requests: 0,
            keys: 1,
            loss: 0.0,
            duplicates: 0.0,
            delay_ms: 1,
            stragglers: 0.0,
            skew_ms: 0,
            sync_ms: 0,
            fault_every_ms: 0,
            faults: Faults::NONE,
            memory: false,
            syncs: false,
            purge_delay_ms: u64::MAX,
            updates: 0.0,
            expiries: 0.0,
            other_levels: 0.0,
            batches: 0.0,
            swaps: 0.0,
            events: 0.0,
            event_horizon_ms: 604_800_000,
            evict_every_ms: 0,
            hints: 10_000,
        };
        change(&mut options);
        Self { world: World::new(options) }
    }

    /// Time goes by, and with it whatever is on its way.
    pub(super) fn run(&mut self, ms: u64) {
        let until_ms = self.world.elapsed_ms + ms;
        while self.world.step(until_ms) {}
        self.world.elapsed_ms = until_ms;
        assert_eq!(self.world.broken, None);
    }

    pub(super) fn key(&self, number: u32) -> Bytes {
        self.world.layout.key("key", number)
    }

    pub(super) fn place(&self) -> Place {
        self.world.layout.place(&self.key(0))
    }

    /// Asks a node for something at quorum, and does not wait for it.
    pub(super) fn begin(&mut self, at: u32, keys: Vec<Bytes>, kind: Kind) -> usize {
        self.world.ask_at(0, NodeId(at), &Request { keys, level: Level::Quorum, kind })
    }

    /// What the client of this line of the history was told.
    pub(super) fn told(&mut self, line: usize) -> Told {
        for _ in 0..8_000 {
            if let Some((_, told)) = &self.world.history[line].told {
                return told.clone();
            }
            self.run(1);
        }
        unreachable!("every client loses its patience");
    }

    /// Asks a node for something about the first key, and waits.
    pub(super) fn ask(&mut self, at: u32, kind: Kind) -> Told {
        self.ask_about(at, 0, kind)
    }

    pub(super) fn ask_about(&mut self, at: u32, number: u32, kind: Kind) -> Told {
        let line = self.begin(at, vec![self.key(number)], kind);
        self.told(line)
    }

    /// As [`Self::ask`], for what must succeed: its version.
    pub(super) fn write(&mut self, at: u32, kind: Kind) -> Version {
        self.write_to(at, 0, kind)
    }

    pub(super) fn write_to(&mut self, at: u32, number: u32, kind: Kind) -> Version {
        match self.ask_about(at, number, kind) {
            Told::Written { version: Some(version) } => version,
            told => unreachable!("a write at n{at} came to {told:?}"),
        }
    }

    /// What a read at quorum finds, where it must succeed: the value, if there is one.
    pub(super) fn read(&mut self, at: u32) -> Option<Bytes> {
        match self.ask(at, Kind::Read) {
            Told::Found { value, .. } => value,
            told => unreachable!("a read at n{at} came to {told:?}"),
        }
    }

    /// The value that the newest request wrote.
    pub(super) fn newest_value(&self) -> Bytes {
        Bytes::from((self.world.history.len() - 1).to_string())
    }

    /// What a node has stored under the first key.
    pub(super) fn held(&self, at: u32) -> Option<OwnedRecord> {
        self.held_under(at, 0)
    }

    pub(super) fn held_under(&self, at: u32, number: u32) -> Option<OwnedRecord> {
        let (place, key) = (self.place(), self.key(number));
        self.world.nodes[at as usize - 1].shelf.get(place.slot, &key).cloned()
    }

    /// Links are cut, one way.
    pub(super) fn cut(&mut self, from: u32, to: u32) {
        self.world.network.cut(NodeId(from), NodeId(to));
    }

    /// A node is cut off, both ways.
    pub(super) fn isolate(&mut self, node: u32) {
        for other in (1..=self.world.options.nodes).filter(|other| *other != node) {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    pub(super) fn heal(&mut self) {
        self.world.network.heal();
    }

    /// A node loses its power, and what was not durable, and comes back after a while.
    pub(super) fn restart(&mut self, node: u32) {
        self.world.crash_losing_all(NodeId(node));
        self.world.start(NodeId(node));
    }

    /// An owner begins a round of purge for all that was written by now.
    pub(super) fn purge(&mut self, at: u32) {
        self.run(10);
        self.purge_to(at, Floor(Stamp::start_of(self.world.true_ms() - 1)));
    }

    pub(super) fn purge_to(&mut self, at: u32, floor: Floor) {
        self.world.begin_purge(NodeId(at), 0, floor);
        self.run(100);
    }

    /// An owner compares what it has with another.
    pub(super) fn compare(&mut self, at: u32, peer: u32) {
        let place = self.place();
        self.world.begin_sync(NodeId(at), place, NodeId(peer), u64::MAX);
        self.run(100);
    }

    /// Asks a replica directly, as a peer of its own epoch would; what it says once it is durable.
    pub(super) fn serve(&mut self, at: u32, ask: Ask) -> Reply {
        self.serve_in(Incarnation(1), at, ask)
    }

    /// As [`Self::serve`], in this life of the keyspace.
    pub(super) fn serve_in(&mut self, keyspace: Incarnation, at: u32, ask: Ask) -> Reply {
        let (place, true_ms) = (self.place(), self.world.true_ms());
        let node = self.world.node(NodeId(at));
        let (now, clock) = (node.now(true_ms), node.told_clock(true_ms));
        let replica = &mut node.copies[place.partition].replica;
        let epoch = replica.owners().epoch;
        let header = Header { keyspace, slot: place.slot, epoch, clock };
        let envelope = Envelope { header, round: 0, ask };
        match replica.serve(&envelope, now, &mut node.shelf).expect("this shelf cannot fail") {
            Served::Held(held) => {
                node.shelf.sync(node.shelf.position());
                replica.release(held)
            }
            Served::Refused(refusal) => Reply::Refused(refusal),
            Served::Behind => unreachable!("it is asked under its own epoch"),
        }
    }

    /// Offers a replica a record of the first key.
    pub(super) fn offer(&mut self, at: u32, record: &OwnedRecord, origin: Origin) -> Reply {
        let item = Item { key: self.key(0), record: record.clone() };
        self.serve(at, Ask::Take { items: Arc::from([item]), origin })
    }

    /// Puts a record into a node's store behind everyone's back.
    pub(super) fn plant(&mut self, at: u32, number: u32, record: &OwnedRecord) {
        let (place, key) = (self.place(), self.key(number));
        let shelf = &mut self.world.node(NodeId(at)).shelf;
        let before = shelf.get(place.slot, &key).map(|held| held.borrow().rank());
        let put = shelf.put(place.slot, &[Put::over(before, &key, record.borrow())]);
        let position = put.expect("there is room");
        shelf.sync(position);
    }

    /// All that must hold of what happened so far.
    pub(super) fn judge(&self) {
        assert_eq!(oracle::judge(&self.world), Ok(()));
    }
}

/// A record that was moved, read under no floor.
pub(super) const KEPT: Origin = Origin::Kept { floor: Floor::ZERO };
