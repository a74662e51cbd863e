//! Of two quorum requests that do not overlap in time, the later one knows of the earlier: a write
//! wins over it, a read sees it or what has won over it. And what was once seen expired is never
//! seen live again.
//!
//! A key whose newest record is dead may be found without any: dead records are purged. Where keys
//! are evicted every key may, but what was written over is never seen again.
//!
//! A write whose outcome is open may be seen, overwritten and seen again; it is not counted until
//! a read at quorum has seen it, which brings it to a quorum.

use crate::client::{Entry, Kind, Next, Told};
use bytes::Bytes;
use shoal_core::quorum::{Condition, Level};
use shoal_core::record::Rank;
use shoal_core::version::Version;
use std::collections::BTreeMap;

/// What a finished request proves about its key.
#[derive(Clone, Copy, Debug)]
struct Seen {
    asked: u64,
    answered: u64,
    /// The newest version that it wrote or saw; none if it saw nothing at all.
    version: Option<Version>,
    wrote: bool,
    /// Whether it wrote at a time of its own, which may be the same as another's.
    event: bool,
    /// Whether that record is, or may have become, one that is purged some day.
    mortal: bool,
}

pub(crate) fn judge(history: &[Entry], clocks_agree: bool, evicts: bool) -> Result<(), String> {
    let mut by_key: BTreeMap<&Bytes, Vec<Seen>> = BTreeMap::new();
    for entry in history.iter().filter(|entry| entry.request.level >= Level::Quorum) {
        let Some((answered, told)) = &entry.told else { continue };
        let (version, wrote) = match told {
            Told::Written { version: Some(version) } => (Some(*version), true),
            // Where keys are evicted any read may miss what there was, and proves nothing then.
            Told::Found { value: None, .. } if evicts => continue,
            Told::Found { rank, .. } => (rank.map(|rank| rank.version), false),
            Told::Swapped { .. } => {
                swapped(entry, *answered, evicts, &mut by_key);
                continue;
            }
            Told::Written { version: None }
            | Told::Unmet
            | Told::Superseded { .. }
            | Told::Refused
            | Told::Unknown => continue,
        };
        for key in &entry.request.keys {
            let mortal = is_mortal(entry, key);
            let event = is_event(entry);
            let (asked, answered) = (entry.asked, *answered);
            let seen = Seen { asked, answered, version, wrote, event, mortal };
            by_key.entry(key).or_default().push(seen);
        }
    }
    for (key, mut all) in by_key {
        let writes = history.iter().filter(|entry| entry.touches(key));
        let deaths: Vec<&Entry> = writes.filter(|entry| writes_mortal(entry, key)).collect();
        judge_key(key, &mut all, &deaths)?;
    }
    if clocks_agree { never_back_to_life(history) } else { Ok(()) }
}

/// A swap has read what it was judged by, and has written.
fn swapped<'h>(
    entry: &'h Entry,
    answered: u64,
    evicts: bool,
    by_key: &mut BTreeMap<&'h Bytes, Vec<Seen>>,
) {
    for key in &entry.request.keys {
        let Some(wish) = entry.wish(key) else { continue };
        let asked = entry.asked;
        let read =
            Seen { asked, answered, version: None, wrote: false, event: false, mortal: true };
        let all = by_key.entry(key).or_default();
        match wish.when {
            Condition::Tag(tag) => {
                let event = tag.version != tag.written;
                all.push(Seen { version: Some(tag.version), event, ..read });
            }
            // Where keys are evicted it may have missed what there was.
            Condition::Absent if !evicts => all.push(read),
            Condition::Absent | Condition::Any | Condition::Present => {}
        }
        let version = entry.told_version(key);
        if version.is_some() {
            let mortal = writes_mortal(entry, key);
            all.push(Seen { version, wrote: true, mortal, ..read });
        }
    }
}

fn judge_key(key: &Bytes, all: &mut [Seen], deaths: &[&Entry]) -> Result<(), String> {
    let mut ended: Vec<Seen> = all.to_vec();
    ended.sort_by_key(|seen| seen.answered);
    all.sort_by_key(|seen| seen.asked);
    let mut ended = ended.into_iter().peekable();
    let mut floor: Option<Version> = None;
    let (mut is_mortal, mut is_event) = (true, false);
    for seen in all.iter() {
        while let Some(before) = ended.next_if(|before| before.answered < seen.asked) {
            if before.version > floor {
                (floor, is_mortal, is_event) = (before.version, before.mortal, before.event);
            } else if before.version == floor {
                // Concurrent writes of one node may be stamped again alike; either may have won.
                is_mortal |= before.mortal;
                is_event |= before.event;
            }
        }
        let holds = match (seen.wrote, seen.version) {
            // An event and another write may have one version; their contents decide then.
            (true, version) if seen.event || is_event => version >= floor,
            (true, version) => version > floor,
            (false, None) => floor.is_none() || is_mortal || may_have_died(deaths, seen, floor),
            (false, version) => version >= floor,
        };
        if !holds {
            return Err(format!(
                "order: {key:?}: a {} of {:?} asked at step {} although {floor:?} was known before",
                if seen.wrote { "write" } else { "read" },
                seen.version,
                seen.asked,
            ));
        }
    }
    Ok(())
}

/// Whether a write that is open, or overlaps the read, or was at a level of its own, may have
/// put something dead over all that was known.
fn may_have_died(deaths: &[&Entry], read: &Seen, known: Option<Version>) -> bool {
    deaths.iter().filter(|death| death.asked < read.answered).any(|death| match &death.told {
        Some((answered, Told::Written { version })) => *answered >= read.asked || *version > known,
        Some((_, Told::Refused | Told::Unmet)) => false,
        Some((answered, Told::Swapped { .. })) => *answered >= read.asked,
        _ => true,
    })
}

/// Whether the version that a request wrote or saw was a time of the client's.
fn is_event(entry: &Entry) -> bool {
    match &entry.told {
        Some((_, Told::Found { rank, .. })) => {
            rank.is_some_and(|rank| rank.version != rank.written)
        }
        _ => matches!(entry.request.kind, Kind::Event { .. }),
    }
}

fn writes_mortal(entry: &Entry, key: &Bytes) -> bool {
    match &entry.request.kind {
        Kind::Delete | Kind::Append | Kind::Put { ttl_ms: Some(_) } => true,
        Kind::Event { deletes, .. } => *deletes,
        Kind::Batch { deletes } => {
            entry.request.keys.iter().zip(deletes).any(|(other, deletes)| other == key && *deletes)
        }
        Kind::Swap { .. } => entry.wish(key).is_some_and(|wish| wish.next == Next::Gone),
        Kind::Put { ttl_ms: None } | Kind::Read | Kind::Add => false,
    }
}

/// Whether the record that a request wrote under `key`, or saw there, is dead, or may die by itself.
pub(super) fn is_mortal(entry: &Entry, key: &Bytes) -> bool {
    match &entry.told {
        Some((_, Told::Found { rank, .. })) => {
            rank.is_none_or(|rank| rank.tombstone || rank.expires_at.is_some())
        }
        // What is appended to may have had an expiry.
        _ => writes_mortal(entry, key),
    }
}

/// A record that a quorum read called expired stays expired, as long as clocks differ by no more
/// than they may: one that is an hour behind follows no other, and where owners change a quorum of
/// such may think the record alive.
fn never_back_to_life(history: &[Entry]) -> Result<(), String> {
    let mut reads: Vec<(&Bytes, Rank, bool, u64, u64)> = Vec::new();
    for entry in history.iter().filter(|entry| entry.request.level >= Level::Quorum) {
        if let Some((answered, Told::Found { rank: Some(rank), value })) = &entry.told
            && rank.expires_at.is_some()
        {
            reads.push((entry.request.key(), *rank, value.is_some(), entry.asked, *answered));
        }
    }
    for (key, rank, live, asked, _) in &reads {
        let dead_before = reads.iter().any(|(other, same, live, _, answered)| {
            other == key && same == rank && !live && answered < asked
        });
        if *live && dead_before {
            return Err(format!("resurrection: {key:?}: {rank:?} was expired and came back"));
        }
    }
    Ok(())
}
