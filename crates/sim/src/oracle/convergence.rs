//! In the calm after the faults all owners hold the same, and nothing acknowledged is missing.

use super::order::is_mortal;
use crate::client::Told;
use crate::world::World;
use bytes::Bytes;
use shoal_core::quorum::Level;
use shoal_core::record::Rank;
use shoal_core::version::Version;
use std::collections::BTreeMap;

pub(crate) fn judge(world: &World) -> Result<(), String> {
    let owners = world.map.newest();
    let mut newest: BTreeMap<&Bytes, Rank> = BTreeMap::new();
    let holders =
        world.nodes.iter().filter(|node| owners.replicas.contains(&node.replica.member()));
    for node in holders.clone() {
        for (key, record) in node.shelf.records() {
            let rank = record.borrow().rank();
            let best = newest.entry(key).or_insert(rank);
            *best = rank.max(*best);
        }
    }
    for node in holders {
        for (key, rank) in &newest {
            let held = node.shelf.records().find(|(held, _)| held == key);
            let held = held.map(|(_, record)| record.borrow().rank());
            if held != Some(*rank) {
                return Err(format!(
                    "convergence: {key:?}: {} holds {held:?}, another owner {rank:?}",
                    node.id
                ));
            }
        }
    }
    let mut known: BTreeMap<&Bytes, (Version, bool)> = BTreeMap::new();
    for entry in world.history.iter().filter(|entry| entry.request.level >= Level::Quorum) {
        if let Some((_, Told::Written { version: Some(version) })) = &entry.told {
            let last = known.entry(&entry.request.key).or_insert((*version, is_mortal(entry)));
            *last = (*last).max((*version, is_mortal(entry)));
        }
    }
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

/// Whether the last read of `key`, which was judged by itself, found nothing or something that is
/// purged some day.
fn was_mortal(world: &World, key: &Bytes) -> bool {
    let last = world.history.iter().rev().find(|entry| entry.request.key == *key);
    last.is_some_and(is_mortal)
}
