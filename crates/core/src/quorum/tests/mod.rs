//! The machines of a coordinator, each given one event after the other, and the exact list of
//! what it wants done.

mod batch;
mod evict;
mod execute;
mod owners;
mod read;
mod write;

use super::*;
use crate::clock::{ClockError, Stamp};
use crate::ids::{Epoch, NodeId, ReplicaIncarnation};
use crate::record::{OwnedBody, OwnedRecord, PLAIN};
use crate::replica::Floor;
use crate::version::{Millis, Version};
use bytes::Bytes;
use std::sync::Arc;

/// The coordinator, which owns a copy too.
const ME: NodeId = NodeId(1);
/// What the clocks of all replicas say, unless a test says otherwise.
const NOW_MS: Millis = 1_000;

const fn node(id: u32) -> NodeId {
    NodeId(id)
}

/// The copy of a node in a given life.
const fn copy(id: u32, life: u64) -> Member {
    Member { node: NodeId(id), incarnation: ReplicaIncarnation(life) }
}

/// The copy of a node in its first life.
const fn member(id: u32) -> Member {
    copy(id, 1)
}

const fn epoch(index: u64) -> Epoch {
    Epoch { generation: 1, index }
}

fn owners(index: u64, replicas: &[u32], next: &[u32]) -> Arc<Owners> {
    let members = |ids: &[u32]| ids.iter().map(|id| member(*id)).collect();
    Arc::new(Owners { epoch: epoch(index), replicas: members(replicas), next: members(next) })
}

const fn version(wall_ms: Millis, counter: u16, node: u32) -> Version {
    Version { wall_ms, counter, node: NodeId(node) }
}

fn key(name: &'static str) -> Bytes {
    Bytes::from_static(name.as_bytes())
}

fn live(version: Version, text: &'static str) -> OwnedRecord {
    let body = OwnedBody::Live { kind: PLAIN, bytes: key(text) };
    OwnedRecord { version, written: version, expires_at: None, body }
}

fn expiring(version: Version, text: &'static str, at: Millis) -> OwnedRecord {
    OwnedRecord { expires_at: Some(at), ..live(version, text) }
}

fn tombstone(version: Version) -> OwnedRecord {
    OwnedRecord { version, written: version, expires_at: None, body: OwnedBody::Tombstone }
}

fn floor(wall_ms: Millis) -> Floor {
    Floor(Stamp::start_of(wall_ms))
}

fn item(name: &'static str, record: &OwnedRecord) -> Item {
    Item { key: key(name), record: record.clone() }
}

/// An answer of a node's first copy under the first epoch.
fn answer(from: u32, round: u32, reply: Reply) -> Answer {
    Answer { from: member(from), epoch: epoch(1), round, clock: Stamp::start_of(NOW_MS), reply }
}

const fn failed(id: u32, round: u32) -> Event {
    Event::Failed { node: node(id), round }
}

fn stale(from: u32, round: u32) -> Event {
    Event::Answered(Answer {
        epoch: epoch(2),
        ..answer(from, round, Reply::Refused(Refusal::Stale))
    })
}

fn found(record: Option<&OwnedRecord>, whole: bool, floor: Floor) -> Reply {
    let rank = record.map(|record| record.borrow().rank());
    Reply::Found { rank, record: record.filter(|_| whole).cloned(), floor, mark: Version::ZERO }
}

fn take<O>(to: u32, round: u32, items: &[Item], origin: Origin) -> Effect<O> {
    Effect::Send { to: node(to), round, ask: Ask::Take { items: items.into(), origin } }
}

fn kept<O>(to: u32, round: u32, record: &OwnedRecord, floor: Floor) -> Effect<O> {
    take(to, round, &[item("k", record)], Origin::Kept { floor })
}

fn read<O>(to: u32, round: u32, whole: bool) -> Effect<O> {
    Effect::Send { to: node(to), round, ask: Ask::Read { key: key("k"), whole } }
}

fn hint<O>(to: u32) -> Effect<O> {
    Effect::Hint { to: node(to) }
}

const fn pull<O>() -> Effect<O> {
    Effect::PullMap { at_least: epoch(2) }
}

/// A clock that stands where it is put, and moves on with each stamp; at zero it gives none.
struct Ticks(Millis);

impl Stamps for Ticks {
    fn stamp(&mut self) -> Result<Stamp, ClockError> {
        if self.0 == 0 {
            return Err(ClockError::Ceiling { wall_ms: 0, ceiling_ms: 0 });
        }
        self.0 += 1;
        Ok(Stamp::start_of(self.0 - 1))
    }
}
