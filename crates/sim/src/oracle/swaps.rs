//! A swap that was done was judged by what was there, and one that was not has left nothing.
//!
//! Pairs of keys that only swaps touch, both at once, keep their sum, and no swap of them is lost:
//! while views of who is up agree. At a change of executor both can happen, as to any
//! read-modify-write; such pairs are counted, not failed. So are those of runs in which owners may
//! go with what they alone had: a swap that nobody acknowledged may be lost in part then.

use super::Counts;
use crate::client::{Entry, Kind, Told};
use crate::world::{PAIR_SUM, World, sum_of};
use bytes::Bytes;
use shoal_core::quorum::{Condition, Level};
use shoal_core::version::Version;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn judge(world: &World) -> Result<(), String> {
    let swaps = world.history.iter().enumerate();
    let swaps = swaps.filter(|(_, entry)| matches!(entry.request.kind, Kind::Swap { .. }));
    for (serial, swap) in swaps {
        match &swap.told {
            Some((_, Told::Swapped { .. })) => nothing_came_between(world, serial, swap)?,
            Some((answered, Told::Unmet | Told::Refused)) => {
                left_nothing(world, serial, *answered)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// No acknowledged plain write of a key lies between what a swap was judged by and what it wrote
/// there: it would have been lost. Where keys are evicted a swap goes above what its slot has lost,
/// so that one which is under way at the same time may lie below it, and be passed over.
fn nothing_came_between(world: &World, serial: usize, swap: &Entry) -> Result<(), String> {
    let history = &world.history;
    for key in &swap.request.keys {
        let wish = swap.wish(key);
        let (Some(Condition::Tag(tag)), Some(version)) =
            (wish.map(|wish| wish.when), swap.told_version(key))
        else {
            continue;
        };
        let lost = history.iter().enumerate().find(|(_, entry)| {
            let plain =
                matches!(entry.request.kind, Kind::Put { .. } | Kind::Delete | Kind::Batch { .. });
            let told = entry.told_version(key).filter(|_| entry.touches(key));
            plain
                && entry.request.level >= Level::Quorum
                && !(world.options.evicts() && at_the_same_time(swap, entry))
                && told.is_some_and(|told| {
                    tag.version < told && told < version && !is_next(tag.version, told)
                })
        });
        if let Some((other, _)) = lost {
            return Err(format!(
                "swap: request {serial} wrote {key:?} at {version} over {tag:?}, and request \
                 {other} was lost"
            ));
        }
    }
    Ok(())
}

/// Whether each of two requests was asked before the other was answered.
fn at_the_same_time(one: &Entry, other: &Entry) -> bool {
    let before = |first: &Entry, second: &Entry| {
        first.told.as_ref().is_some_and(|(answered, _)| *answered < second.asked)
    };
    !before(one, other) && !before(other, one)
}

/// Whether `version` is one of the next that any node can give after `base`: two writes that both follow
/// it may be stamped so, and either may win.
fn is_next(base: Version, version: Version) -> bool {
    base.wall_ms == version.wall_ms && version.counter - base.counter <= 2
}

/// Who was told that nothing was written finds nothing of it afterwards.
fn left_nothing(world: &World, serial: usize, answered: u64) -> Result<(), String> {
    let is_of = |value: &[u8]| {
        let text = String::from_utf8_lossy(value);
        text.split(' ').next() == Some(&serial.to_string())
    };
    let keys = &world.history[serial].request.keys;
    let found = world.history.iter().find(|entry| {
        let is_later = entry.asked > answered && keys.contains(entry.request.key());
        match &entry.told {
            Some((_, Told::Found { value: Some(value), .. })) => is_later && is_of(value),
            _ => false,
        }
    });
    match found {
        Some(found) => Err(format!(
            "swap: request {serial} was told that nothing was written, and {:?} shows it",
            found.request.key()
        )),
        None => Ok(()),
    }
}

/// How pairs fared.
pub(crate) fn count(world: &World, counts: &mut Counts) {
    #[derive(Default)]
    struct Pair<'h> {
        executors: BTreeSet<u32>,
        /// By key: what swaps that were done were judged by.
        judged: BTreeSet<(&'h Bytes, String)>,
        is_lost: bool,
        /// By key: what it ends with.
        ends: BTreeMap<&'h Bytes, Option<Bytes>>,
    }
    let name = |key: &Bytes| {
        let text = String::from_utf8_lossy(key).into_owned();
        ["left", "right"].iter().find_map(|side| text.strip_prefix(side).map(str::to_owned))
    };
    let mut pairs: BTreeMap<String, Pair<'_>> = BTreeMap::new();
    for entry in &world.history {
        let Some(name) = name(entry.request.key()) else { continue };
        let pair = pairs.entry(name).or_default();
        if let (Kind::Read, Some((_, Told::Found { value, .. }))) =
            (&entry.request.kind, &entry.told)
        {
            pair.ends.insert(entry.request.key(), value.clone());
        }
        if let Kind::Swap { wishes } = &entry.request.kind {
            pair.executors.insert(entry.coordinator.0);
            if matches!(entry.told, Some((_, Told::Swapped { .. }))) {
                for (key, wish) in entry.request.keys.iter().zip(wishes) {
                    pair.is_lost |= !pair.judged.insert((key, format!("{:?}", wish.when)));
                }
            }
        }
    }
    for pair in pairs.values().filter(|pair| !pair.executors.is_empty()) {
        let ends: Vec<&Bytes> = pair.ends.values().flatten().collect();
        let first_word =
            |value: &Bytes| String::from_utf8_lossy(value).split(' ').next().map(str::to_owned);
        let is_whole = match ends[..] {
            [] => true,
            [left, right] => {
                let sum = sum_of(left).zip(sum_of(right)).map(|(left, right)| left + right);
                sum == Some(PAIR_SUM) && first_word(left) == first_word(right)
            }
            _ => false,
        };
        let is_wrong = u64::from(!is_whole || pair.is_lost);
        let may_be_lost = world.options.memory || world.options.faults.moves;
        if pair.executors.len() == 1 && !may_be_lost {
            counts.steady_pairs += 1;
            counts.steady_wrong += is_wrong;
        } else {
            counts.moved_pairs += 1;
            counts.moved_pairs_wrong += is_wrong;
        }
    }
}
