//! The checkpoint: a sealed generation of the write buffer becomes part of the sorted store, and
//! the log below it is cut.
//!
//! Holds: values, due index, tallies and the mark go into the store in one atomic ingestion, so
//! the store is always exactly what the log says up to the mark; but on a full disk values are
//! left out that the log has something newer for beyond the mark, so that removals make a
//! checkpoint smaller that found no room. The log is synced up to the mark before, and as far as
//! what was left out needs it, so that a position below a mark is never given to another entry;
//! and it is cut only after. A sealed generation stays readable until the store has it. The due
//! index has an entry for what the store holds and for nothing else, but for values that could not
//! be read or were left out; those are found out of date when their time comes.

use super::buffer::Buffer;
use super::core::{Core, Generations, log_failed};
use super::hash::hash_of;
use super::keys;
use super::shard::NEVER;
use super::sorted::{Sink, Sorted, SortedError};
use super::spaces::Spaces;
use crate::engine::{EngineError, Policy, Tally};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

const MARK_FORMAT: u8 = 1;
/// What an entry takes in a table beside key and value, at most.
const ENTRY_BYTES: usize = 32;

/// What one checkpoint writes.
pub(crate) struct Pending {
    pub(crate) buffer: Arc<Buffer>,
    /// Every log entry below is in the buffer or in the store.
    pub(crate) until: u64,
    /// Entries of the due index to be removed.
    pub(crate) stale: Arc<BTreeSet<Box<[u8]>>>,
}

/// What a checkpoint needs to know of the engine.
pub(crate) struct Surroundings<'c> {
    pub(crate) store: &'c dyn Sorted,
    pub(crate) spaces: &'c Spaces,
    pub(crate) policy: &'c dyn Policy,
    /// The generation that takes the writes meanwhile.
    pub(crate) active: &'c Buffer,
    /// The newest of what the store has, the newest first.
    pub(crate) kept: &'c [Arc<Buffer>],
    /// Keys whose values need not be written: the log has something newer of them beyond the
    /// mark, and has synced it.
    pub(crate) hidden: &'c BTreeSet<Box<[u8]>>,
}

impl Core {
    /// Seals the active generation. `None` where there is nothing to write.
    pub(crate) fn seal(&self) -> Option<Pending> {
        let gate = self.gate.write();
        let generations = self.generations.load_full();
        let mut found = self.stale.lock();
        if found.fresh.is_empty() && generations.active.is_empty() {
            return None;
        }
        let stale = Arc::new(std::mem::take(&mut found.fresh));
        found.leaving = Arc::clone(&stale);
        drop(found);
        let until = self.log.end();
        let buffer = Arc::clone(&generations.active);
        let sealed = Some(Arc::clone(&buffer));
        let kept = generations.kept.clone();
        self.generations.store(Arc::new(Generations { active: Arc::default(), sealed, kept }));
        drop(gate);
        let _work = self.work.lock();
        self.changed.notify_all();
        Some(Pending { buffer, until, stale })
    }

    /// Writes a sealed generation into the store.
    ///
    /// # Errors
    /// The store has nothing of it then; it stays in memory.
    pub(crate) fn write_sealed(&self, pending: &Pending) -> Result<(), SortedError> {
        let hidden = if self.free_space.refusal().is_some() {
            self.hidden(&pending.buffer).0
        } else {
            BTreeSet::new()
        };
        // With it what hides the hidden, as that was found before.
        self.log.sync().map_err(|error| SortedError::Io(error.to_string()))?;
        let generations = self.generations.load_full();
        let around = Surroundings {
            store: self.store.as_ref(),
            spaces: &self.spaces,
            policy: self.policy.as_ref(),
            active: &generations.active,
            kept: &generations.kept,
            hidden: &hidden,
        };
        write_generation(&around, pending)
    }

    /// The keys of a sealed generation whose values were replaced or removed since, and about how
    /// many bytes are to be written of the others.
    pub(crate) fn hidden(&self, sealed: &Buffer) -> (BTreeSet<Box<[u8]>>, u64) {
        let active = Arc::clone(&self.generations.load().active);
        let mut hidden = BTreeSet::new();
        let mut bytes = 0;
        let walked: Result<(), SortedError> = sealed.each(|key, value| {
            let at = keys::decode(key).filter(|at| !self.policy.is_dead(at.space));
            let Some(at) = at else { return Ok(()) };
            match value {
                Some(_) if active.read(at.slot, hash_of(key), key, |_| ()).is_some() => {
                    hidden.insert(key.into());
                }
                // The key once more for an entry that says when it is due.
                value => {
                    let value = value.map_or(0, <[u8]>::len);
                    bytes += (2 * (key.len() + ENTRY_BYTES) + value) as u64;
                }
            }
            Ok(())
        });
        debug_assert_eq!(walked, Ok(()), "nothing in the walk fails");
        (hidden, bytes)
    }

    /// Lets go of a generation that the store has, and of the log below it.
    ///
    /// # Errors
    /// Where the log can not be cut.
    pub(crate) fn settle_sealed(&self, pending: &Pending) -> Result<(), EngineError> {
        let old = self.generations.load_full();
        let active = Arc::clone(&old.active);
        let mut kept = vec![Arc::clone(&pending.buffer)];
        kept.extend(old.kept.iter().cloned());
        let leaving = kept.split_off(kept.len().min(self.options.kept_generations));
        self.generations.store(Arc::new(Generations { active, sealed: None, kept }));
        self.leaving.lock().extend(leaving);
        drop(old);
        self.free_generations();
        self.stale.lock().leaving = Arc::default();
        self.look_at_size();
        let mut work = self.work.lock();
        work.checkpoints += 1;
        work.checkpointed = Some(Instant::now());
        self.changed.notify_all();
        drop(work);
        self.log.cut(pending.until).map_err(log_failed)
    }

    /// Frees the generations that nobody looks at any more.
    fn free_generations(&self) {
        let mut leaving = self.leaving.lock();
        // No new reader can come, as no generation is found that is not in use.
        let gone: Vec<_> =
            leaving.extract_if(.., |buffer| Arc::strong_count(buffer) == 1).collect();
        drop(leaving);
        drop(gone);
    }
}

/// Writes a generation with everything that belongs to it, in one ingestion.
pub(crate) fn write_generation(
    around: &Surroundings<'_>,
    pending: &Pending,
) -> Result<(), SortedError> {
    // Before the store is written, as it is asked.
    let mut stale = outdated(around, &pending.buffer);
    stale.extend(pending.stale.iter().cloned());
    stale.sort_unstable();
    stale.dedup();
    around.store.ingest(&mut |sink| {
        write_values(around, &pending.buffer, sink)?;
        let mut mark = [0; 9];
        mark[0] = MARK_FORMAT;
        mark[1..].copy_from_slice(&pending.until.to_le_bytes());
        sink.put(&keys::mark(), &mark)?;
        write_tallies(around, &pending.buffer, sink)?;
        write_due(around, &pending.buffer, &stale, sink)
    })
}

fn write_values(
    around: &Surroundings<'_>,
    buffer: &Buffer,
    sink: &mut dyn Sink,
) -> Result<(), SortedError> {
    let mut asked = None;
    buffer.each(|key, value| {
        let space = keys::space_of(key);
        let dead = match asked {
            Some((of, dead)) if of == space => dead,
            _ => space.is_none_or(|space| around.policy.is_dead(space)),
        };
        asked = Some((space, dead));
        match value {
            _ if dead => Ok(()),
            Some(_) if around.hidden.contains(key) => Ok(()),
            Some(value) => sink.put(key, value),
            None => sink.remove(key),
        }
    })
}

/// Writes the tallies of the slots that changed, as they were when the generation was sealed.
fn write_tallies(
    around: &Surroundings<'_>,
    buffer: &Buffer,
    sink: &mut dyn Sink,
) -> Result<(), SortedError> {
    for (space_id, slot) in buffer.changed_slots() {
        // A space that was retired meanwhile has none any more.
        let Some(space) = around.spaces.get(space_id) else { continue };
        let tally = around.active.tally_before(&space, space_id, slot);
        let key = keys::tally(space_id, slot);
        if tally == Tally::default() {
            sink.remove(&key)?;
        } else {
            let mut value = [0; 16];
            value[..8].copy_from_slice(&tally.keys.to_le_bytes());
            value[8..].copy_from_slice(&tally.expiring.to_le_bytes());
            sink.put(&key, &value)?;
        }
    }
    Ok(())
}

/// Writes the due index's changes: new entries, and removals of those out of date, unless the
/// same entry is new again.
fn write_due(
    around: &Surroundings<'_>,
    buffer: &Buffer,
    stale: &[Box<[u8]>],
    sink: &mut dyn Sink,
) -> Result<(), SortedError> {
    let mut stale = stale.iter().peekable();
    for entry in buffer.due_entries() {
        while let Some(old) = stale.next_if(|old| ***old < *entry) {
            sink.remove(old)?;
        }
        stale.next_if(|old| ***old == *entry);
        let space = keys::space_of(&entry).filter(|space| !around.policy.is_dead(*space));
        if let Some(space) = space {
            if let Some(space) = around.spaces.get(space) {
                space.index();
            }
            sink.put(&entry, &[])?;
        }
    }
    stale.try_for_each(|old| sink.remove(old))
}

/// The entries of the stored due index whose values this generation replaces or removes. Without
/// this a key that is given a new time again and again would leave an entry behind each time.
fn outdated(around: &Surroundings<'_>, buffer: &Buffer) -> Vec<Box<[u8]>> {
    let mut found = Vec::new();
    for (space_id, slot) in buffer.written_slots() {
        let space = around.spaces.get(space_id);
        if !space.is_some_and(|space| space.is_indexed()) || around.policy.is_dead(space_id) {
            continue;
        }
        for (key, due) in buffer.due_times(space_id, slot) {
            let old = stored_due(around, (space_id, slot), &key);
            if old != NEVER && old != due {
                found.push(keys::due(old, &key));
            }
        }
    }
    found
}

/// When what the store has under a stored key is due.
fn stored_due(around: &Surroundings<'_>, (space, slot): (u32, u16), key: &[u8]) -> u64 {
    let hash = hash_of(key);
    let kept = around.kept.iter().find_map(|kept| kept.read(slot, hash, key, |entry| entry.due));
    if let Some(due) = kept {
        return due;
    }
    let mut due = None;
    let asked = around.store.get(key, &mut |value| {
        due = value.and_then(|value| around.policy.due(space, value));
    });
    if let Err(error) = asked {
        // Its entry is found out of date when its time comes.
        tracing::debug!(%error, "a value that is replaced can not be read");
    }
    due.unwrap_or(NEVER)
}

/// What the store says about itself: the mark, and every slot's tally.
pub(crate) fn load(
    store: &dyn Sorted,
    spaces: &Spaces,
    policy: &dyn Policy,
) -> Result<u64, SortedError> {
    let damaged =
        |what: &str| SortedError::Corrupt { file: "sorted store, table".into(), what: what.into() };
    let mut mark = Ok(0);
    store.get(&keys::mark(), &mut |value| {
        mark = match value.map(|value| value.split_first_chunk::<1>()) {
            None => Ok(0),
            Some(Some(([MARK_FORMAT], until))) => <[u8; 8]>::try_from(until)
                .map(u64::from_le_bytes)
                .map_err(|_| damaged("the mark has the wrong length")),
            Some(_) => Err(damaged("the mark has an unknown format")),
        };
    })?;
    let mark = mark?;
    let (from, to) = keys::due_all();
    store.range(&from, &to, &mut |_, _| {
        spaces.index_all();
        false
    })?;
    let (from, to) = keys::tallies();
    let mut wrong = false;
    store.range(&from, &to, &mut |key, value| {
        let place = keys::decode_tally(key);
        let halves = value.split_first_chunk::<8>();
        let (Some((space, slot)), Some((keys, expiring))) = (place, halves) else {
            wrong = true;
            return false;
        };
        let Ok(expiring) = <[u8; 8]>::try_from(expiring) else {
            wrong = true;
            return false;
        };
        let tally =
            Tally { keys: i64::from_le_bytes(*keys), expiring: i64::from_le_bytes(expiring) };
        if !policy.is_dead(space)
            && let Some(space) = spaces.get_or_make(space)
        {
            space.add(slot, tally);
        }
        true
    })?;
    if wrong { Err(damaged("a tally does not parse")) } else { Ok(mark) }
}
