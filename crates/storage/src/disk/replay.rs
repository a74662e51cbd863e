//! Opening: the sorted store, then what the log has beyond it.
//!
//! Holds: ops of dead spaces are dropped. What replay brings back is bounded by the same buffer
//! size as writes are; where the log holds more, the buffer is written to the store on the way.
//! Where the disk has no room for that, the buffer grows beyond its size: what the log holds
//! beyond the mark was in memory before, so that it finds room there again.

use super::buffer::{Buffer, Change, NEVER};
use super::checkpoint::{self, Pending, Surroundings, write_generation};
use super::core::{Core, Parts, log_failed};
use super::entry::{self, Logged};
use super::keys::MAX_KEY;
use super::log::{Log, LogError, LogOptions};
use super::options::Resolved;
use super::record::Record;
use super::sorted::{Sorted, SortedError};
use super::space::FreeSpace;
use super::spaces::{SLOTS, Space, Spaces};
use crate::engine::{self, Commit, EngineError, Policy};
use crate::files::Files;
use std::collections::BTreeSet;
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
        generation_bytes: options.generation_bytes,
        bound: options.generation_bytes,
        active: Arc::default(),
        mark,
        ops: 0,
        full: None,
    };
    let log_options = LogOptions {
        segment_bytes: options.segment_bytes,
        max_pending_bytes: options.pending_bytes,
        ..LogOptions::default()
    };
    let log_dir = dir.join("log");
    let (log, recovery) =
        Log::open(Arc::clone(&files), &log_dir, log_options, mark, &mut |position, bytes| {
            replay.entry(position, bytes)
        })
        .map_err(log_failed)?;
    let Replay { active, mark, ops, full, .. } = replay;
    tracing::info!(mark, end = log.end(), ops, took = ?begun.elapsed(), "disk engine opened");
    let free_space = FreeSpace::new(files, dir, options.min_free_bytes);
    if full.is_some() {
        free_space.met_full(full);
    }
    let is_whole = recovery.clean || recovery.created;
    Ok(Core::new(Parts { options, policy, log, store, spaces, active, free_space, is_whole }))
}

struct Replay<'r> {
    store: &'r dyn Sorted,
    spaces: &'r Spaces,
    policy: &'r dyn Policy,
    generation_bytes: usize,
    /// How large the buffer may become before it is written to the store.
    bound: usize,
    active: Arc<Buffer>,
    mark: u64,
    ops: u64,
    /// What the store said of a full disk, unless a later write went through.
    full: Option<String>,
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

    /// Writes what was replayed so far into the store, or lets the buffer grow by another
    /// generation where the disk is full.
    fn make_room(&mut self, until: u64) -> Result<(), LogError> {
        let replayed = std::mem::take(&mut self.active);
        let buffer = Arc::clone(&replayed);
        let pending = Pending { buffer, until, stale: Arc::default() };
        let around = Surroundings {
            store: self.store,
            spaces: self.spaces,
            policy: self.policy,
            active: &self.active,
            kept: &[],
            hidden: &BTreeSet::new(),
        };
        match write_generation(&around, &pending) {
            Ok(()) => {
                self.mark = until;
                self.bound = self.generation_bytes;
                self.full = None;
                Ok(())
            }
            Err(SortedError::Full(why)) => {
                tracing::warn!(why, "no room for a checkpoint while the log is replayed");
                self.bound = replayed.bytes().saturating_add(self.generation_bytes);
                self.active = replayed;
                self.full = Some(why);
                // What was half written goes, and the room that it took.
                self.store.reopen().map_err(|error| store_failed(&error))
            }
            Err(error) => Err(store_failed(&error)),
        }
    }
}

fn store_failed(error: &SortedError) -> LogError {
    LogError::Io(error.to_string())
}
