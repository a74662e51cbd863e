//! In the calm after the faults all owners hold the same, and nothing acknowledged is missing; but
//! where keys are evicted, any owner may hold nothing.

use super::order::is_mortal;
use crate::world::World;
use bytes::Bytes;
use shoal_core::quorum::Level;
use shoal_core::record::Rank;
use shoal_core::version::Version;
use shoal_core::{NodeId, Slot};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn judge(world: &World) -> Result<(), String> {
    let mut newest: BTreeMap<&Bytes, Rank> = BTreeMap::new();
    // Without comparison older values stay beside newer ones, where nobody brings hints.
    let compares = world.options.syncs || !world.options.evicts();
    for partition in (0..world.layout.partitions()).filter(|_| compares) {
        judge_partition(world, partition, &mut newest)?;
    }
    if world.options.evicts() {
        return Ok(());
    }
    let known = acknowledged(world);
    for (key, (version, mortal)) in known {
        // Nothing at all: the last questions were judged by what may have died meanwhile.
        let kept = newest
            .get(key)
            .map_or(mortal || was_mortal(world, key), |rank| rank.version >= version);
        if !kept {
            let held = newest.get(key);
            return Err(format!(
                "loss: {key:?} was acknowledged at {version}, and there is {held:?}"
            ));
        }
    }
    Ok(())
}

/// All owners of a partition hold the same; what they hold is added to `newest`.
fn judge_partition<'w>(
    world: &'w World,
    partition: usize,
    newest: &mut BTreeMap<&'w Bytes, Rank>,
) -> Result<(), String> {
    let owners = world.map.newest(partition);
    let holders = world
        .nodes
        .iter()
        .filter(|node| owners.replicas.contains(&node.copies[partition].replica.member()));
    let mine = |slot: Slot| world.layout.place_of(slot).partition == partition;
    let mut held: Vec<(NodeId, BTreeMap<&Bytes, Rank>)> = Vec::new();
    for node in holders {
        let records = node.shelf.records().filter(|(slot, _, _)| mine(*slot));
        held.push((
            node.id,
            records.map(|(_, key, record)| (key, record.borrow().rank())).collect(),
        ));
    }
    for (key, rank) in held.iter().flat_map(|(_, records)| records) {
        let best = newest.entry(key).or_insert(*rank);
        *best = (*rank).max(*best);
    }
    let keys: BTreeSet<&Bytes> =
        held.iter().flat_map(|(_, records)| records.keys()).copied().collect();
    let evicts = world.options.evicts();
    for (node, records) in &held {
        let differs = keys.iter().find(|key| {
            let (mine, newest) = (records.get(*key), newest.get(*key));
            // Anyone may have evicted a value, but nobody holds an older one; a tombstone stays as
            // long as it is not purged.
            let may_lack = evicts
                && newest.is_some_and(|newest| !newest.tombstone)
                && mine.is_some_and(|mine| mine.tombstone);
            let lacks = evicts && mine.is_none();
            mine != newest && !may_lack && !lacks
        });
        if let Some(key) = differs {
            let (held, newest) = (records.get(key), newest.get(key));
            return Err(format!(
                "convergence: {key:?}: {node} holds {held:?}, another owner {newest:?}"
            ));
        }
    }
    Ok(())
}

/// By key, the greatest version that a client was told was written, and whether what was written
/// may be gone by now.
fn acknowledged(world: &World) -> BTreeMap<&Bytes, (Version, bool)> {
    let mut known: BTreeMap<&Bytes, (Version, bool)> = BTreeMap::new();
    for entry in world.history.iter().filter(|entry| entry.request.level >= Level::Quorum) {
        for key in &entry.request.keys {
            let Some(version) = entry.told_version(key) else { continue };
            let mortal = is_mortal(entry, key);
            let last = known.entry(key).or_insert((version, mortal));
            *last = (*last).max((version, mortal));
        }
    }
    known
}

/// Whether the last read of `key`, which was judged by itself, found nothing or something that is
/// purged some day.
fn was_mortal(world: &World, key: &Bytes) -> bool {
    let last = world.history.iter().rev().find(|entry| entry.touches(key));
    last.is_some_and(|entry| is_mortal(entry, key))
}
