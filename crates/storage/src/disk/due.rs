//! The due index: what is to be offered to the sweep, in the order of its time.
//!
//! Entries stand in the sorted store for values that are there, and in the buffer's due sets for
//! values that are not there yet. The checkpoint that replaces or removes a value takes its entry
//! out. What that misses, as where the value could not be read, is found out of date when its time
//! has come, and goes with the next checkpoint. Where it is the policy that has changed since, the
//! value gets an entry for its new time instead.
//!
//! Holds: one pass offers an entry once; the next pass begins only after a call that found
//! nothing more. An entry whose value can not be read holds up none behind it.

use super::core::Core;
use super::keys;
use super::shard::NEVER;
use crate::engine::{Address, EngineError};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// How many outdated entries may wait before a checkpoint is made for their sake.
const STALE_MAX: usize = 100_000;

impl Core {
    /// The contract is [`crate::engine::Engine::due`]'s.
    pub(crate) fn due(
        &self,
        now_ms: u64,
        limit: usize,
        visit: &mut dyn FnMut(Address<'_>, &[u8]),
    ) -> Result<usize, EngineError> {
        let mut cursor = self.due_cursor.lock();
        let found = self.due_entries(cursor.as_deref(), now_ms, limit.max(1))?;
        if found.is_empty() {
            *cursor = None;
            return Ok(0);
        }
        let looked_at = found.len();
        for entry in found {
            // Before it is offered: one that can not be read would else be met by every call.
            let entry = &**cursor.insert(entry);
            match self.offer(entry, visit) {
                Err(error @ EngineError::Corrupt { .. }) => self.skip_damaged(&error),
                offered => offered?,
            }
        }
        drop(cursor);
        if self.stale.lock().fresh.len() > STALE_MAX {
            self.work.lock().asked += 1;
            self.notify();
        }
        Ok(looked_at)
    }

    /// The first entries after the cursor that are due, from buffer and store together.
    fn due_entries(
        &self,
        cursor: Option<&[u8]>,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<Box<[u8]>>, EngineError> {
        let (first, until) = keys::due_until(now_ms);
        let from = cursor.map_or_else(|| first.to_vec(), keys::successor);
        if from.as_slice() >= until.as_slice() {
            return Ok(Vec::new());
        }
        let mut found = BTreeSet::new();
        for generation in self.generations.load().newest_first() {
            found.extend(generation.due_between(&from, &until, limit));
        }
        found.extend(self.stored_due(from, &until, limit)?);
        Ok(found.into_iter().take(limit).collect())
    }

    /// The first entries of the stored index in `from..until` that are not known to be out of
    /// date.
    fn stored_due(
        &self,
        mut from: Vec<u8>,
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<Box<[u8]>>, EngineError> {
        loop {
            let mut walked: Vec<Box<[u8]>> = Vec::new();
            self.store.range(&from, until, &mut |key, _| {
                walked.push(key.into());
                walked.len() < limit
            })?;
            let end = walked.len() < limit;
            if let Some(last) = walked.last() {
                from = keys::successor(last);
            }
            // Not while the store is asked: a seal waits for this lock.
            let stale = self.stale.lock();
            walked.retain(|key| !stale.fresh.contains(key) && !stale.leaving.contains(key));
            drop(stale);
            if end || !walked.is_empty() {
                return Ok(walked);
            }
        }
    }

    /// Passes over an entry whose value is damaged. Every pass meets it again, so only the first
    /// is told of; whoever reads the key is told each time.
    fn skip_damaged(&self, error: &EngineError) {
        if !self.due_damage_told.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "a value that is due can not be read; it does not expire");
        }
    }

    /// Offers what an entry is about, or notes that it is out of date.
    fn offer(
        &self,
        entry: &[u8],
        visit: &mut dyn FnMut(Address<'_>, &[u8]),
    ) -> Result<(), EngineError> {
        let parsed =
            keys::decode_due(entry).and_then(|(due, key)| Some((due, key, keys::decode(key)?)));
        let mut instead = None;
        if let Some((due, key, at)) = parsed
            && self.spaces.has(at.space)
            && let Some(value) = self.newest(at.slot, key)?
        {
            let now_due = self.policy.due(at.space, &value);
            if now_due == Some(due) {
                visit(at, &value);
                return Ok(());
            }
            // It has an entry of its own if it came later than this one, and none if it is the
            // policy that came later. To add it again does no harm.
            instead = now_due.filter(|due| *due != NEVER).map(|due| keys::due(due, key));
        }
        // Both go with the same generation, so that no crash leaves the one without the other.
        let _gate = self.gate.read();
        if let Some(instead) = instead {
            self.generations.load().active.add_due(instead);
        }
        self.stale.lock().fresh.insert(entry.into());
        Ok(())
    }
}
