//! Reads: the buffer's generations first, the newest wins, then the sorted store.
//!
//! Holds: no lock of the write buffer is held while the sorted store is asked.
//!
//! While a write would have to wait for room in the buffer, no read is answered on a thread that
//! may not wait. Whoever writes a key reads it first, so this sends writers to threads that may
//! block, and the threads that serve connections go on. The price is that mere readers go the
//! longer way too for that time, since a read does not say what it is for; and that a write that
//! was already past its read when the buffer became full may still wait where it is, for which
//! the last eighth of a generation is left.

use super::buffer::{Buffer, Entry};
use super::core::{Core, Generations};
use super::keys::{self, MAX_KEY, PREFIX, StoreKey};
use super::paging::position_of;
use crate::engine::{Address, Answer, Commit, EngineError, Patience, Visit};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// How many buffered entries a scan copies at a time.
const SLICE: usize = 512;
/// How many bytes of them, roughly.
const SLICE_BYTES: usize = 1 << 20;

impl Core {
    /// The contract is [`crate::engine::Engine::read`]'s.
    pub(crate) fn read(
        &self,
        at: Address<'_>,
        patience: Patience,
        visit: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<Answer, EngineError> {
        if !self.spaces.has(at.space) || at.key.len() > MAX_KEY {
            visit(None);
            return Ok(Answer::Given(Commit::DONE));
        }
        let key = StoreKey::new(at);
        let generations = self.generations.load();
        if patience == Patience::Inline && self.would_wait(&generations) {
            return Ok(Answer::Cold);
        }
        let found = generations.find(at.slot, key.as_slice(), |entry| {
            visit(entry.record.value());
            entry.commit
        });
        drop(generations);
        if let Some(commit) = found {
            return Ok(Answer::Given(commit));
        }
        if patience == Patience::Inline && !self.inline.load(Ordering::Relaxed) {
            return Ok(Answer::Cold);
        }
        self.store.get(key.as_slice(), visit)?;
        Ok(Answer::Given(Commit::DONE))
    }

    /// The newest value under a stored key, copied.
    pub(crate) fn newest(&self, slot: u16, key: &[u8]) -> Result<Option<Box<[u8]>>, EngineError> {
        let value = |entry: &Entry| entry.record.value().map(Into::into);
        if let Some(value) = self.generations.load().find(slot, key, value) {
            return Ok(value);
        }
        let mut found = None;
        self.store.get(key, &mut |value| found = value.map(Into::into))?;
        Ok(found)
    }

    /// The contract is [`crate::engine::Engine::scan`]'s.
    pub(crate) fn scan(
        &self,
        space: u32,
        slot: u16,
        after: Option<&[u8]>,
        limit: usize,
        visit: &mut Visit<'_>,
    ) -> Result<Commit, EngineError> {
        let mut commit = Commit::DONE;
        if !self.spaces.has(space) {
            return Ok(commit);
        }
        // No key is longer, so nothing is lost by cutting one that is not there.
        let after = after.map(|key| &key[..key.len().min(MAX_KEY)]);
        let mut from = after.map_or_else(
            || keys::slot_prefix(space, slot).to_vec(),
            |key| keys::successor(&keys::encode(Address { space, slot, key })),
        );
        let end = keys::slot_end(space, slot);
        let mut left = limit;
        let mut on = true;
        while on && left > 0 {
            let slice = self.buffered((space, slot), &from, &end, left);
            let mut merge = Merge { buffered: slice.entries, commit, left, on, visit };
            self.store.range(&from, &slice.until, &mut |key, value| merge.stored(key, value))?;
            merge.rest();
            (commit, left, on) = (merge.commit, merge.left, merge.on);
            if slice.until.as_slice() >= end.as_slice() {
                break;
            }
            from = slice.until;
        }
        Ok(commit)
    }

    /// A slice of what the buffer holds from `from` on, the newest entry of each key.
    fn buffered(&self, place: (u32, u16), from: &[u8], end: &[u8], left: usize) -> Slice {
        let generations: arc_swap::Guard<_> = self.generations.load();
        let generations: &Generations = &generations;
        let limit = left.saturating_add(1).min(SLICE);
        let mut until = end.to_vec();
        let mut entries = BTreeMap::new();
        // Oldest first, so that the newer generation's entries replace the older one's.
        let both: [Option<&Buffer>; 2] = [generations.sealed.as_deref(), Some(&generations.active)];
        for generation in both.into_iter().flatten() {
            let mut found = Vec::new();
            let more = generation.collect(place, (from, end), (limit, SLICE_BYTES), &mut found);
            if more && let Some(last) = found.last() {
                until = until.min(keys::successor(&last.key));
            }
            entries.extend(found.into_iter().map(|copy| (copy.key, (copy.value, copy.commit))));
        }
        // Beyond the cut one generation may hold what the other has newer.
        entries.retain(|key, _| key.as_ref() < until.as_slice());
        Slice { entries, until }
    }

    /// The contract is [`crate::engine::Engine::page`]'s.
    pub(crate) fn page(
        &self,
        space: u32,
        slot: u16,
        position: u64,
        count: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(Option<u64>, Commit), EngineError> {
        let after = match position {
            0 => None,
            _ => self.key_at(space, slot, position)?,
        };
        let count = count.max(1);
        let (mut shown, mut last, mut on) = (0_usize, Vec::new(), true);
        let commit = self.scan(space, slot, after.as_deref(), count, &mut |key, value| {
            shown += 1;
            last.clear();
            last.extend_from_slice(key);
            on = visit(key, value);
            on
        })?;
        if shown < count && on {
            return Ok((None, commit));
        }
        Ok((Some(self.pages.lock().put(space, slot, &last)), commit))
    }

    /// The key that a position stands for; `None`, which is the slot's beginning, where no key
    /// has it any more.
    fn key_at(
        &self,
        space: u32,
        slot: u16,
        position: u64,
    ) -> Result<Option<Box<[u8]>>, EngineError> {
        let remembered = self.pages.lock().get(space, slot, position);
        if remembered.is_some() {
            return Ok(remembered);
        }
        let mut found = None;
        self.scan(space, slot, None, usize::MAX, &mut |key, _| {
            if position_of(key) == position {
                found = Some(key.into());
            }
            found.is_none()
        })?;
        Ok(found)
    }
}

type Buffered = BTreeMap<Box<[u8]>, (Option<Box<[u8]>>, Commit)>;

/// Entries of the buffer up to, but not including, `until`.
struct Slice {
    entries: Buffered,
    until: Vec<u8>,
}

/// Shows the entries of buffer and store as one sequence.
struct Merge<'m, 'v> {
    buffered: Buffered,
    commit: Commit,
    left: usize,
    on: bool,
    visit: &'m mut Visit<'v>,
}

impl Merge<'_, '_> {
    /// Takes the store's next entry; returns whether to go on.
    fn stored(&mut self, key: &[u8], value: &[u8]) -> bool {
        while let Some(first) = self.buffered.first_entry() {
            match first.key().as_ref().cmp(key) {
                std::cmp::Ordering::Less => {
                    let (key, (value, commit)) = first.remove_entry();
                    self.show_buffered(&key, value.as_deref(), commit);
                }
                std::cmp::Ordering::Equal => {
                    let (key, (value, commit)) = first.remove_entry();
                    self.show_buffered(&key, value.as_deref(), commit);
                    return self.on && self.left > 0;
                }
                std::cmp::Ordering::Greater => break,
            }
            if !self.on || self.left == 0 {
                return false;
            }
        }
        self.show(key, value);
        self.on && self.left > 0
    }

    /// Shows what the buffer holds after the store's last entry.
    fn rest(&mut self) {
        while self.on
            && self.left > 0
            && let Some((key, (value, commit))) = self.buffered.pop_first()
        {
            self.show_buffered(&key, value.as_deref(), commit);
        }
    }

    fn show_buffered(&mut self, key: &[u8], value: Option<&[u8]>, commit: Commit) {
        // A removal that could be taken back by a crash is an answer, too.
        self.commit = self.commit.join(commit);
        if let Some(value) = value {
            self.show(key, value);
        }
    }

    fn show(&mut self, key: &[u8], value: &[u8]) {
        self.left -= 1;
        self.on = (self.visit)(key.get(PREFIX..).unwrap_or_default(), value);
    }
}
