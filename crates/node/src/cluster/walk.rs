//! Counting and walking over what another node holds: pages of a partition's keys, in the order of
//! its own store.
//!
//! ```text
//! tag      1   0x80, which no change has as its first byte
//! message      a question or an answer, in postcard's form
//! ```
//!
//! Holds: only a copy that was there before any change of owners is walked over, and only what is
//! durable there is shown. A page is bounded in entries and bytes.
//!
//! Does not know: who leads which slots, what people asked for.

use super::Cluster;
use crate::coordinator::DEADLINE;
use crate::node::Node;
use crate::refusal::Halt;
use crate::scope::Slots;
use crate::transport::{Kind, Unreachable};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shoal_core::codec::record::{Form, head};
use shoal_core::ids::Incarnation;
use shoal_core::slot::{SLOT_COUNT, Slot};
use shoal_core::{Body, NodeId, Record};
use shoal_storage::{Patience, Tally};
use std::ops::Range;

/// The first byte.
pub(super) const TAG: u8 = 0x80;
/// A page ends after so many bytes.
const MOST_BYTES: usize = 1 << 20;
/// A page has no more entries.
const MOST_ENTRIES: u32 = 4_096;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Walk {
    /// The life of the keyspace.
    pub(crate) keyspace: u32,
    /// Which of its slots.
    pub(crate) slots: Range<u16>,
    /// What of them.
    pub(crate) what: What,
}

/// What is wanted of the slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// How many keys there are.
    Count,
    /// About so many entries, from this position of the first slot on.
    Page { position: u64, count: u32 },
    /// So many entries in the order of slots and keys, after `after` in the first slot.
    List { prefix: Vec<u8>, after: Option<Vec<u8>>, limit: u32 },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Walked {
    /// How many keys, and how many of them expire.
    Count { keys: i64, expiring: i64 },
    /// Entries, each a key and its record, and where to go on: the slot, which is the end of those
    /// that were asked about where nothing is left, and the position in it.
    Page { entries: Vec<(Vec<u8>, Vec<u8>)>, slot: u16, position: u64 },
    /// Entries, whether more may follow after the last of them, and the end of the slots that
    /// were looked at.
    List { entries: Vec<(Vec<u8>, Vec<u8>)>, more: bool, until: u16 },
    /// The first of the slots is not held here, or not well enough.
    Elsewhere,
    /// It could not be read.
    Failed(String),
}

impl Walk {
    /// The bytes that stand for it.
    pub(crate) fn encode(&self) -> Bytes {
        encoded(self)
    }
}

impl Walked {
    /// The answer that `bytes` are.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (walked, rest) = postcard::take_from_bytes(bytes.strip_prefix(&[TAG])?).ok()?;
        rest.is_empty().then_some(walked)
    }
}

fn encoded(message: &impl Serialize) -> Bytes {
    postcard::to_extend(message, vec![TAG])
        .expect("memory takes any bytes, and all lengths are known")
        .into()
}

/// Answers a question about what this node holds. Blocks.
pub(crate) fn answer(node: &Node, cluster: &Cluster, body: &[u8]) -> Bytes {
    let read = || postcard::take_from_bytes::<Walk>(body.strip_prefix(&[TAG])?).ok();
    let walked = match read() {
        Some((walk, [])) if walk.slots.start < walk.slots.end && walk.slots.end <= SLOT_COUNT => {
            walk_over(node, cluster, walk)
        }
        _ => Walked::Failed("the question cannot be read".to_owned()),
    };
    encoded(&walked)
}

/// Walks over what this node holds. Blocks.
pub(crate) fn walk_over(node: &Node, cluster: &Cluster, walk: Walk) -> Walked {
    let Walk { keyspace, mut slots, what } = walk;
    let wanted = slots.end;
    slots.end = held_from(cluster, Incarnation(keyspace), &slots);
    // Whoever walks goes on behind what was held here; a count is whole or none.
    if slots.is_empty() || what == What::Count && slots.end < wanted {
        return Walked::Elsewhere;
    }
    let walked = match what {
        What::Count => count(node, keyspace, slots),
        What::Page { position, count } => page(node, keyspace, slots, position, count),
        What::List { prefix, after, limit } => {
            list(node, keyspace, slots, &prefix, after.as_deref(), limit)
        }
    };
    walked.unwrap_or_else(|halt| match halt {
        Halt::Refused(refusal) => Walked::Failed(refusal.to_string()),
        _ => Walked::Failed("it was not answered".to_owned()),
    })
}

/// Up to where the slots are held here without a gap.
fn held_from(cluster: &Cluster, keyspace: Incarnation, slots: &Range<u16>) -> u16 {
    let mut end = slots.start;
    while end < slots.end {
        let Some(slot) = Slot::new(end) else { break };
        let Some((partition, _)) = cluster.custody.routes().find(keyspace, slot) else { break };
        let copy = cluster.custody.copies().find(keyspace, partition);
        let Some(copy) = copy.filter(|copy| copy.is_present()) else { break };
        end = copy.slots().end.min(slots.end);
    }
    end
}

fn count(node: &Node, space: u32, slots: Range<u16>) -> Result<Walked, Halt> {
    let access = node.access(Patience::Block);
    let tally = access
        .routing
        .of_space(space)
        .map_or_else(Tally::default, |keyspace| keyspace.engine.tally(space, slots));
    Ok(Walked::Count { keys: tally.keys, expiring: tally.expiring })
}

fn page(
    node: &Node,
    space: u32,
    slots: Range<u16>,
    position: u64,
    count: u32,
) -> Result<Walked, Halt> {
    let mut access = node.access(Patience::Block);
    let Some(keyspace) = access.routing.of_space(space).cloned() else {
        return Ok(Walked::Elsewhere);
    };
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let wanted = Slots::run(slots.clone());
    let count = count.min(MOST_ENTRIES) as usize;
    let from = (slots.start, position);
    let next = access.scan_slots(&keyspace, &wanted, from, count, &mut |key, record| {
        entries.push(entry(key, &record, &mut bytes));
        bytes < MOST_BYTES
    })?;
    node.wait(access.commit())?;
    let (slot, position) = next.unwrap_or((slots.end, 0));
    Ok(Walked::Page { entries, slot, position })
}

fn list(
    node: &Node,
    space: u32,
    slots: Range<u16>,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: u32,
) -> Result<Walked, Halt> {
    let mut access = node.access(Patience::Block);
    let Some(keyspace) = access.routing.of_space(space).cloned() else {
        return Ok(Walked::Elsewhere);
    };
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let wanted = Slots::run(slots.clone());
    let limit = limit.min(MOST_ENTRIES) as usize;
    let more = access.list_slots(
        &keyspace,
        &wanted,
        slots.start,
        prefix,
        after,
        limit,
        &mut |key, record| {
            entries.push(entry(key, &record, &mut bytes));
            bytes < MOST_BYTES
        },
    )?;
    node.wait(access.commit())?;
    Ok(Walked::List { entries, more, until: slots.end })
}

/// A key and its record, and how many bytes there are by now.
fn entry(key: &[u8], record: &Record<'_>, bytes: &mut usize) -> (Vec<u8>, Vec<u8>) {
    let mut stored = head(Form::Sealed, key, record).as_bytes().to_vec();
    if let Body::Live { bytes, .. } = record.body {
        stored.extend_from_slice(bytes);
    }
    *bytes += key.len() + stored.len();
    (key.to_vec(), stored)
}

impl Cluster {
    /// Asks `node` to walk over what it holds; `tell` hears nothing where it does not answer.
    pub(crate) fn ask_to_walk(
        &self,
        node: NodeId,
        walk: Bytes,
        tell: impl FnOnce(Option<Walked>) + Send + 'static,
    ) {
        let reply = move |answered: Result<Bytes, Unreachable>| {
            tell(answered.ok().and_then(|bytes| Walked::decode(&bytes)));
        };
        self.transport.ask(node, Kind::Forward, walk, DEADLINE, Box::new(reply));
    }
}
