//! A replica, asked one question at a time of a store whose durability the tests hold in hand.

mod admitting;
mod batches;
mod lives;
mod showing;

use super::admit::Verdict;
use super::*;
use crate::ids::Epoch;
use crate::quorum::{Ask, Base, Envelope, Guarded, Header, Item, Origin, Refusal, Reply};
use crate::record::{OwnedBody, OwnedRecord, PLAIN, Rank, Record};
use crate::repair::{HashRange, Leaf, Tree};
use crate::slot::{SLOT_COUNT, Slot};
use crate::version::Version;
use bytes::Bytes;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;

const KEYSPACE: Incarnation = Incarnation(4);
const NOW: Now = Now { clock: Stamp::start_of(1_000), physical_ms: 900 };
const LIMITS: Limits = Limits { max_skew_ms: 500, event_horizon_ms: 10_000, secret: TreeSecret(7) };

/// A store of which each put is durable at the ticket that it returns.
struct Store {
    kept: BTreeMap<Vec<u8>, (OwnedRecord, u64)>,
    position: u64,
    tree: RefCell<Tree>,
    /// How many pages of it were looked at.
    pages: Cell<u32>,
}

impl Default for Store {
    fn default() -> Self {
        let tree = RefCell::new(Tree::new(LIMITS.secret, 0..SLOT_COUNT));
        Self { kept: BTreeMap::new(), position: 0, tree, pages: Cell::new(0) }
    }
}

impl Store {
    fn with(records: &[(&str, &OwnedRecord)]) -> Self {
        let mut store = Self::default();
        for (key, record) in records {
            store.position += 1;
            store.kept.insert(key.as_bytes().into(), ((*record).clone(), store.position));
        }
        store
    }

    fn get(&self, key: &str) -> Option<&OwnedRecord> {
        self.kept.get(key.as_bytes()).map(|(record, _)| record)
    }
}

impl Shelf for Store {
    type Ticket = u64;
    type Error = Infallible;

    fn look<R>(
        &self,
        _: Slot,
        key: &[u8],
        f: impl FnOnce(Option<&Record<'_>>) -> R,
    ) -> Result<(R, u64), Infallible> {
        let held = self.kept.get(key);
        let record = held.map(|(record, _)| record.borrow());
        Ok((f(record.as_ref()), held.map_or(0, |(_, at)| *at)))
    }

    fn page(
        &self,
        _: Slot,
        after: Option<&[u8]>,
        limit: usize,
        mut f: impl FnMut(&[u8], &Record<'_>) -> bool,
    ) -> Result<u64, Infallible> {
        self.pages.set(self.pages.get() + 1);
        let mut ticket = 0;
        let rest = self.kept.iter().filter(|(key, _)| after.is_none_or(|after| &key[..] > after));
        for (key, (record, at)) in rest.take(limit) {
            ticket = ticket.max(*at);
            if !f(key, &record.borrow()) {
                break;
            }
        }
        Ok(ticket)
    }

    fn put(&mut self, slot: Slot, records: &[Put<'_>]) -> Result<u64, Infallible> {
        self.position += 1;
        for Put { key, record, rank, before } in records {
            self.kept.insert(key.to_vec(), (OwnedRecord::from(*record), self.position));
            self.tree.get_mut().changed(slot, key, before.as_ref(), Some(rank));
        }
        Ok(self.position)
    }

    fn remove(&mut self, slot: Slot, keys: &[(&[u8], Rank)]) -> Result<u64, Infallible> {
        self.position += 1;
        for (key, before) in keys {
            self.kept.remove(*key);
            self.tree.get_mut().changed(slot, key, Some(before), None);
        }
        Ok(self.position)
    }

    fn tree<R>(&self, f: impl FnOnce(&mut Tree) -> R) -> R {
        f(&mut self.tree.borrow_mut())
    }
}

const fn epoch(index: u64) -> Epoch {
    Epoch { generation: 1, index }
}

const fn copy(id: u32, life: u64) -> Member {
    Member { node: NodeId(id), incarnation: ReplicaIncarnation(life) }
}

fn owners(index: u64, replicas: &[Member], next: &[Member]) -> Arc<Owners> {
    Arc::new(Owners { epoch: epoch(index), replicas: replicas.into(), next: next.into() })
}

/// The first of three owners, in its first life, at epoch 5.
fn replica() -> Replica {
    let set = owners(5, &[copy(1, 1), copy(2, 1), copy(3, 1)], &[]);
    Replica::new(NodeId(1), KEYSPACE, set, ReplicaIncarnation(1), LIMITS)
}

/// A copy that was named in the owners to be, and is empty.
fn incoming() -> Replica {
    let set = owners(5, &[copy(2, 1), copy(3, 1)], &[copy(1, 5), copy(2, 1)]);
    Replica::new(NodeId(1), KEYSPACE, set, ReplicaIncarnation(5), LIMITS)
}

fn floor(wall_ms: Millis) -> Floor {
    Floor(Stamp::start_of(wall_ms))
}

const fn version(wall_ms: Millis, counter: u16) -> Version {
    Version { wall_ms, counter, node: NodeId(2) }
}

fn live(wall_ms: Millis, text: &'static str) -> OwnedRecord {
    let body = OwnedBody::Live { kind: PLAIN, bytes: Bytes::from_static(text.as_bytes()) };
    OwnedRecord {
        version: version(wall_ms, 0),
        written: version(wall_ms, 0),
        expires_at: None,
        body,
    }
}

fn rank(record: &OwnedRecord) -> Rank {
    record.borrow().rank()
}

const FIRST: Origin = Origin::Fresh { base: None, last: false };
const LAST: Origin = Origin::Fresh { base: None, last: true };
const HINT: Origin = Origin::Kept { floor: Floor::ZERO };

/// The slot of everything.
const SLOT: Slot = Slot::new(3).unwrap();

fn at(index: u64, ask: Ask) -> Envelope {
    let header = Header { keyspace: KEYSPACE, slot: SLOT, epoch: epoch(index), clock: NOW.clock };
    Envelope { header, round: 1, ask }
}

fn take(records: &[(&'static str, &OwnedRecord)], origin: Origin) -> Ask {
    let item = |(key, record): &(&'static str, &OwnedRecord)| Item {
        key: Bytes::from_static(key.as_bytes()),
        record: (*record).clone(),
    };
    Ask::Take { items: records.iter().map(item).collect(), origin }
}

fn read(whole: bool) -> Ask {
    Ask::Read { key: Bytes::from_static(b"k"), whole }
}

/// Asks, and tells the answer with the ticket that it waits for.
fn ask(replica: &mut Replica, store: &mut Store, ask: Ask) -> (Reply, u64) {
    match replica.serve(&at(5, ask), NOW, store).unwrap() {
        Served::Held(held) => {
            let ticket = held.ticket;
            (replica.release(held), ticket)
        }
        Served::Refused(refusal) => (Reply::Refused(refusal), 0),
        Served::Behind => panic!("the epochs are the same"),
    }
}

/// Where a record stands to the one that is held.
#[derive(Clone, Copy, Debug)]
enum Stored {
    Nothing,
    Older,
    Same,
    Newer,
}
