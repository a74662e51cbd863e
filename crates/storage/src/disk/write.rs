//! The way of a batch: into the log, then into the write buffer.
//!
//! Holds: everything that can refuse a batch does so before the log has taken it.

use super::buffer::{Change, NEVER};
use super::core::{Core, Generations, log_failed};
use super::entry::Heads;
use super::keys::{MAX_KEY, MAX_SPACE};
use super::record::Record;
use super::spaces::{SLOTS, Space};
use crate::engine::{Commit, Durability, EngineError, Op};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most batches are of one op.
type Changes<'s> = SmallVec<[Change<&'s Space>; 1]>;

/// How long a batch waits for room in the write buffer before it is refused. A checkpoint that
/// goes on at all makes room sooner.
const ROOM_WAIT: Duration = Duration::from_secs(30);

impl Core {
    /// Applies `ops` as one batch; the contract is [`crate::engine::Engine::submit`]'s.
    pub(crate) fn submit(&self, ops: &[Op<'_>]) -> Result<Commit, EngineError> {
        if ops.is_empty() {
            return Ok(Commit::DONE);
        }
        let known = self.spaces.known();
        let (changes, durability) = self.changes(&known, ops)?;
        if let Some(error) = self.broken() {
            return Err(error);
        }
        if let Some(error) = self.free_space.refusal()
            && self.puts(&changes)
        {
            return Err(error);
        }
        self.wait_for_room(|| self.puts(&changes), ROOM_WAIT)?;
        let heads = Heads::of(ops);
        let parts = heads.parts(ops);
        let gate = self.gate.read();
        let commit = self.log.append(&parts, durability).map_err(log_failed)?;
        let generations = self.generations.load();
        generations.active.apply(changes, commit);
        let full = generations.active.bytes() >= self.options.generation_bytes;
        drop(generations);
        drop(gate);
        self.touch();
        let written: usize = parts.iter().map(|part| part.len()).sum();
        if full || self.free_space.wrote(written) {
            self.notify();
        }
        Ok(commit)
    }

    /// Whether anything of a batch is more than a removal.
    fn puts(&self, changes: &Changes<'_>) -> bool {
        changes.iter().any(|change| {
            let value = change.record.value();
            value.is_some_and(|value| !self.policy.removes(change.space_id, value))
        })
    }

    /// The ops with their spaces found and their bytes owned, and what the batch waits for.
    fn changes<'s>(
        &self,
        known: &'s BTreeMap<u32, Arc<Space>>,
        ops: &[Op<'_>],
    ) -> Result<(Changes<'s>, Durability), EngineError> {
        let mut durability = None;
        let mut changes = Changes::with_capacity(ops.len());
        for op in ops {
            let space = known.get(&op.at.space).filter(|space| space.is_open());
            let space = space.ok_or(EngineError::NoSpace(op.at.space))?;
            if op.at.slot >= SLOTS || op.at.space > MAX_SPACE || op.at.key.len() > MAX_KEY {
                return Err(EngineError::Io("an address out of bounds".into()));
            }
            durability = Some(stricter(durability, space.durability()));
            let record = Record::new(op.at, op.put);
            let due = record.value().and_then(|value| self.policy.due(op.at.space, value));
            changes.push(Change {
                record,
                space: space.as_ref(),
                space_id: op.at.space,
                slot: op.at.slot,
                due: due.unwrap_or(NEVER),
                tally: op.tally,
            });
        }
        Ok((changes, durability.unwrap_or_default()))
    }

    /// Waits while both generations are full. Batches that only remove may go a quarter beyond,
    /// since they are what makes room on a full disk.
    pub(crate) fn wait_for_room(
        &self,
        puts: impl FnOnce() -> bool,
        patience: Duration,
    ) -> Result<(), EngineError> {
        let bound = self.options.generation_bytes;
        if !self.generations.load().are_full_at(bound) {
            return Ok(());
        }
        let bound = if puts() { bound } else { bound + bound / 4 };
        let has_room = || !self.generations.load().are_full_at(bound);
        if has_room() {
            return Ok(());
        }
        let until = Instant::now() + patience;
        let mut work = self.work.lock();
        loop {
            if has_room() {
                return Ok(());
            }
            if let Some(error) = self.broken().or_else(|| self.free_space.refusal()) {
                return Err(error);
            }
            if work.stopping {
                return Err(EngineError::Io("the engine was closed".into()));
            }
            if self.changed.wait_until(&mut work, until).timed_out() && !has_room() {
                return Err(EngineError::Io(
                    "the write buffer is full: checkpoints do not keep up with the writes; \
                     nothing was changed, try again later"
                        .into(),
                ));
            }
        }
    }

    /// Whether a write that came now would soon have to wait for room. Not where it would be
    /// refused at once.
    pub(crate) fn would_wait(&self, generations: &Generations) -> bool {
        let bound = self.options.generation_bytes;
        generations.are_full_at(bound - bound / 8)
            && self.broken().is_none()
            && self.free_space.refusal().is_none()
    }
}

/// The durability that satisfies both.
fn stricter(a: Option<Durability>, b: Durability) -> Durability {
    match (a, b) {
        (None, b) => b,
        (Some(Durability::Always), _) | (_, Durability::Always) => Durability::Always,
        (Some(Durability::Interval(a)), Durability::Interval(b)) => Durability::Interval(a.min(b)),
        (Some(Durability::Interval(ms)), Durability::Os)
        | (Some(Durability::Os), Durability::Interval(ms)) => Durability::Interval(ms),
        (Some(Durability::Os), Durability::Os) => Durability::Os,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_durability_wins_whatever_the_order() {
        let all =
            [Durability::Always, Durability::Interval(5), Durability::Interval(9), Durability::Os];
        for (strict, a) in all.into_iter().enumerate() {
            for (other, b) in all.into_iter().enumerate() {
                assert_eq!(stricter(Some(a), b), all[strict.min(other)]);
            }
        }
    }
}
