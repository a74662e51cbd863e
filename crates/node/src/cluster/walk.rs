//! Counting and walking over what another node holds: pages of a partition's keys, in the order of
//! its own store.
//!
//! ```text
//! tag      1   0x80, which no change has as its first byte
//! message      a question or an answer, in postcard's form
//! ```
//!
//! Holds: only a copy that was there before any change of owners is walked over, and only what is
//! durable there is shown; where a copy was fenced, emptied or let go while it was read, nothing of
//! what was read is told. A page is bounded in entries and bytes, and carries no value that nobody
//! asked for.
//!
//! Does not know: who leads which slots, what people asked for.

use super::Cluster;
use crate::coordinator::DEADLINE;
use crate::node::Node;
use crate::refusal::Halt;
use crate::replicas::PartitionCopy;
use crate::scan::Listing;
use crate::scope::Slots;
use crate::transport::{Kind, Unreachable};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shoal_core::codec::record::{Form, head};
use shoal_core::ids::Incarnation;
use shoal_core::slot::{SLOT_COUNT, Slot};
use shoal_core::{Body, Epoch, NodeId, PartitionId, Record};
use shoal_storage::Patience;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The first byte.
pub(super) const TAG: u8 = 0x80;
/// A page ends after so many bytes.
const MOST_BYTES: usize = 1 << 20;
/// A page has no more entries.
const MOST_ENTRIES: u32 = 4_096;
/// How long whoever was told to look elsewhere waits for a map that says where.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

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
    /// About so many entries, without their values, from this position of the first slot on.
    Page { position: u64, count: u32 },
    /// So many entries in the order of slots and keys, after `after` in the first slot; with their
    /// values or without.
    List { prefix: Vec<u8>, after: Option<Vec<u8>>, limit: u32, values: bool },
}

/// A key and its record, which may have lost its value on the way.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Walked {
    /// How many keys, and how many of them expire.
    Count { keys: i64, expiring: i64 },
    /// Entries, and where to go on: the slot, which is the end of those that were asked about where
    /// nothing is left, and the position in it.
    Page { entries: Vec<Entry>, slot: u16, position: u64 },
    /// Entries, whether more may follow after the last of them, and the end of the slots that
    /// were looked at.
    List { entries: Vec<Entry>, more: bool, until: u16 },
    /// The first of the slots is not held here, or not well enough, or ceased to be while it was
    /// looked at.
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

    /// How many bytes of entries it holds.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Page { entries, .. } | Self::List { entries, .. } => {
                entries.iter().map(|(key, record)| key.len() + record.len()).sum()
            }
            Self::Count { .. } | Self::Elsewhere | Self::Failed(_) => 0,
        }
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

/// The copies that a walk reads, as they were before it.
pub(crate) struct Footing {
    copies: Vec<(Incarnation, PartitionId, Arc<PartitionCopy>, Epoch)>,
    /// Up to where the slots are held without a gap.
    end: u16,
}

impl Footing {
    /// What a walk over `slots` stands on.
    pub(crate) fn under(cluster: &Cluster, keyspace: Incarnation, slots: &Range<u16>) -> Self {
        let mut footing = Self { copies: Vec::new(), end: slots.start };
        while footing.end < slots.end {
            let Some(slot) = Slot::new(footing.end) else { break };
            let Some((id, _)) = cluster.custody.routes().find(keyspace, slot) else { break };
            let Some(copy) = cluster.custody.copies().find(keyspace, id) else { break };
            // In this order, so that owners which come in between are noticed at the end.
            let epoch = copy.owners().epoch;
            if !copy.is_present() {
                break;
            }
            footing.end = copy.slots().end.min(slots.end);
            footing.copies.push((keyspace, id, copy, epoch));
        }
        footing
    }

    /// Up to where the slots are held without a gap.
    pub(crate) const fn end(&self) -> u16 {
        self.end
    }

    /// Whether all of it is still what it was, so that what was read since is whole.
    pub(crate) fn holds(&self, cluster: &Cluster) -> bool {
        self.copies.iter().all(|(keyspace, id, copy, epoch)| {
            // A copy that goes is not present any more before the first record is removed, and
            // one whose keyspace is over is let go before its space is.
            let known = cluster.custody.copies().find(*keyspace, *id);
            known.is_some_and(|known| Arc::ptr_eq(&known, copy))
                && copy.is_present()
                && copy.owners().epoch == *epoch
        })
    }
}

/// Walks over what this node holds. Blocks.
pub(crate) fn walk_over(node: &Node, cluster: &Cluster, walk: Walk) -> Walked {
    let Walk { keyspace, slots, what } = walk;
    let whole = what == What::Count;
    over_firm_ground(cluster, Incarnation(keyspace), &slots, whole, |slots| match what {
        What::Count => count(node, keyspace, slots),
        What::Page { position, count } => page(node, keyspace, slots, position, count),
        What::List { prefix, after, limit, values } => {
            let from = (&prefix[..], after.as_deref());
            list(node, keyspace, slots, from, limit, values)
        }
    })
}

/// What `read` tells of those of the slots that are held here without a gap, if they still are once
/// it is done; with `whole` that must be all of them.
fn over_firm_ground(
    cluster: &Cluster,
    keyspace: Incarnation,
    slots: &Range<u16>,
    whole: bool,
    read: impl FnOnce(Range<u16>) -> Result<Walked, Halt>,
) -> Walked {
    let footing = Footing::under(cluster, keyspace, slots);
    // Whoever walks goes on behind what was held here; a count is whole or none.
    if footing.end == slots.start || whole && footing.end < slots.end {
        return Walked::Elsewhere;
    }
    let walked = read(slots.start..footing.end);
    if !footing.holds(cluster) {
        return Walked::Elsewhere;
    }
    walked.unwrap_or_else(|halt| match halt {
        Halt::Refused(refusal) => Walked::Failed(refusal.to_string()),
        _ => Walked::Failed("it was not answered".to_owned()),
    })
}

fn count(node: &Node, space: u32, slots: Range<u16>) -> Result<Walked, Halt> {
    let access = node.access(Patience::Block);
    // A space that is not known here is empty, which is not to say that nothing is in it.
    let Some(keyspace) = access.routing.of_space(space) else { return Ok(Walked::Elsewhere) };
    let tally = keyspace.engine.tally(space, slots);
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
        entries.push(entry(key, record, false, &mut bytes));
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
    (prefix, after): (&[u8], Option<&[u8]>),
    limit: u32,
    values: bool,
) -> Result<Walked, Halt> {
    let mut access = node.access(Patience::Block);
    let Some(keyspace) = access.routing.of_space(space).cloned() else {
        return Ok(Walked::Elsewhere);
    };
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let wanted = Slots::run(slots.clone());
    let limit = limit.min(MOST_ENTRIES) as usize;
    let listing = Listing { prefix, after, limit, values };
    let more =
        access.list_slots(&keyspace, &wanted, slots.start, &listing, &mut |key, record| {
            entries.push(entry(key, record, values, &mut bytes));
            bytes < MOST_BYTES
        })?;
    node.wait(access.commit())?;
    Ok(Walked::List { entries, more, until: slots.end })
}

/// A key and its record, `bytes` being how many there are by now. Without its value a record is
/// one whose value is empty.
fn entry(key: &[u8], mut record: Record<'_>, value: bool, bytes: &mut usize) -> Entry {
    if let Body::Live { bytes, .. } = &mut record.body
        && !value
    {
        *bytes = &[];
    }
    let mut stored = head(Form::Sealed, key, &record).as_bytes().to_vec();
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

    /// Calls `then` once another map is in force here, or a moment has passed.
    pub(crate) fn soon(&self, then: impl FnOnce() + Send + 'static) {
        let mut versions = self.custody.versions();
        versions.mark_unchanged();
        self.runtime.spawn(async move {
            let _either_way = timeout(AGAIN_AFTER, versions.changed()).await;
            then();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::rig::until;
    use crate::cluster::tests::{World, is_replicated};
    use shoal_core::map::Command;
    use shoal_meta::MapStore as _;

    #[test]
    fn nothing_is_told_of_copies_that_changed_hands_while_they_were_read() {
        let world = World::new();
        let first = world.start(1, false);
        let mut others = vec![world.start(2, false)];
        world.until(&first, |map| is_replicated(map, 2));
        let read = Walked::Count { keys: 1, expiring: 0 };
        let told = |during: &mut dyn FnMut()| {
            let keyspace = first.map().keyspaces["default"].incarnation;
            let cluster = first.cluster().expect("it is one of several");
            over_firm_ground(cluster, keyspace, &(0..SLOT_COUNT), true, |_| {
                during();
                Ok(read.clone())
            })
        };
        // Copies follow the map a moment later.
        let settled = || {
            let tells = until("it is told of what stays", || told(&mut || ()) == read);
            first.cluster().expect("it is one of several").runtime.block_on(tells);
        };
        settled();
        let joined = told(&mut || {
            others.push(world.start(3, false));
            world.until(&first, |map| is_replicated(map, 3));
            first.adopt(&first.cluster().expect("of several").store.current()).expect("it is");
        });
        assert_eq!(joined, Walked::Elsewhere);
        settled();
        let names = || ["default".to_owned()].into();
        let flush = || {
            // Catalogues are changed on threads of a runtime, which this is none of.
            let _inside = first.cluster().expect("it is one of several").runtime.enter();
            first.catalogue.change(&Command::FlushKeyspaces { names: names() })
        };
        assert_eq!(told(&mut || flush().expect("it is emptied")), Walked::Elsewhere);
        for node in others.into_iter().chain([first]) {
            node.stop().expect("it stops");
        }
    }
}
