//! Opening: the sorted store, then what the log has beyond it.
//!
//! Holds: ops of dead spaces are dropped. What replay brings back is bounded by the same buffer
//! size as writes are; where the log holds more, the buffer is written to the store on the way.

use super::buffer::{Buffer, Change, NEVER};
use super::checkpoint::{self, Pending, Surroundings, write_generation};
use super::core::{Core, Parts, log_failed};
use super::entry::{self, Logged};
use super::keys::MAX_KEY;
use super::log::{Log, LogError, LogOptions};
use super::options::Resolved;
use super::record::Record;
use super::sorted::Sorted;
use super::space::FreeSpace;
use super::spaces::{SLOTS, Space, Spaces};
use crate::engine::{self, Commit, EngineError, Policy};
use crate::files::Files;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Opens everything but the threads.
pub(crate) fn open(
    files: Arc<dyn Files>,
    dir: &Path,
    options: Resolved,
    store: Box<dyn Sorted>,
    policy: Arc<dyn Policy>,
) -> Result<Core, EngineError> {
    let begun = Instant::now();
    let spaces = Spaces::default();
    let mark = checkpoint::load(store.as_ref(), &spaces, policy.as_ref())?;
    let mut replay = Replay {
        store: store.as_ref(),
        spaces: &spaces,
        policy: policy.as_ref(),
        bound: options.generation_bytes,
        active: Buffer::default(),
        mark,
        ops: 0,
    };
    let log_options = LogOptions {
        segment_bytes: options.segment_bytes,
        max_pending_bytes: options.pending_bytes,
        ..LogOptions::default()
    };
    let log_dir = dir.join("log");
    let (log, _) =
        Log::open(Arc::clone(&files), &log_dir, log_options, mark, &mut |position, bytes| {
            replay.entry(position, bytes)
        })
        .map_err(log_failed)?;
    let (active, mark, ops) = (replay.active, replay.mark, replay.ops);
    tracing::info!(mark, end = log.end(), ops, took = ?begun.elapsed(), "disk engine opened");
    let free_space = FreeSpace::new(files, dir, options.min_free_bytes);
    Ok(Core::new(Parts { options, policy, log, store, spaces, active, free_space }))
}

struct Replay<'r> {
    store: &'r dyn Sorted,
    spaces: &'r Spaces,
    policy: &'r dyn Policy,
    bound: usize,
    active: Buffer,
    mark: u64,
    ops: u64,
}

impl Replay<'_> {
    /// Takes one entry of the log, which begins at `position`.
    fn entry(&mut self, position: u64, bytes: &[u8]) -> Result<(), LogError> {
        if self.active.bytes() >= self.bound {
            self.make_room(position)?;
        }
        let mut changes = Vec::new();
        let mut odd = false;
        let mut ops = 0;
        entry::decode(bytes, &mut |op| {
            ops += 1;
            match self.change(op) {
                Some(change) => changes.push(change),
                None => odd |= op.at.slot >= SLOTS || op.at.key.len() > MAX_KEY,
            }
        })
        .and(if odd { Err("an op on a slot or key that can not be") } else { Ok(()) })
        .map_err(|what| LogError::Damaged {
            file: format!("entry at position {position}"),
            offset: 0,
            what: what.into(),
        })?;
        self.ops += ops;
        // It was read from the disk; nobody has to wait for it.
        self.active.apply(changes, Commit::DONE);
        Ok(())
    }

    fn change(&self, op: Logged<'_>) -> Option<Change<Arc<Space>>> {
        if op.at.slot >= SLOTS || op.at.key.len() > MAX_KEY || self.policy.is_dead(op.at.space) {
            return None;
        }
        let space = self.spaces.get_or_make(op.at.space)?;
        let due = op.put.and_then(|value| self.policy.due(op.at.space, value));
        Some(Change {
            record: Record::new(op.at, op.put.map(|body| engine::Parts { head: &[], body })),
            space,
            space_id: op.at.space,
            slot: op.at.slot,
            due: due.unwrap_or(NEVER),
            tally: op.tally,
        })
    }

    /// Writes what was replayed so far into the store.
    fn make_room(&mut self, until: u64) -> Result<(), LogError> {
        let full = std::mem::take(&mut self.active);
        let pending = Pending { buffer: Arc::new(full), until, stale: Arc::default() };
        let around = Surroundings {
            store: self.store,
            spaces: self.spaces,
            policy: self.policy,
            active: &self.active,
        };
        write_generation(&around, &pending).map_err(|error| LogError::Io(error.to_string()))?;
        self.mark = until;
        Ok(())
    }
}
