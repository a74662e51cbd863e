//! The engine's background threads: one makes checkpoints, one compacts and tidies, one watches
//! the free space.
//!
//! Holds: only the checkpoint thread exchanges generations. A full disk is waited for and then
//! recovered from in place; any other failure to write stops the engine for writes until a
//! restart, and no sync is ever tried again. Damage found by a compaction stops compactions, not
//! the engine, until too much has piled up.

use super::checkpoint::Pending;
use super::core::{Core, Work};
use super::keys;
use super::sorted::SortedError;
use crate::engine::EngineError;
use parking_lot::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the threads look around when nothing wakes them.
const TICK: Duration = Duration::from_secs(1);
/// How long a checkpoint that failed rests before it is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How many unsorted runs the store may have before checkpoints wait for compaction.
const RUNS_WAIT: usize = 24;
/// How many it may have at all; the store's format ends at 255.
const RUNS_MAX: usize = 128;
/// How long compaction rests after it failed.
const COMPACTION_REST: Duration = Duration::from_secs(60);
/// How often what was removed is written out while puts are refused.
const RELIEF_EVERY: Duration = Duration::from_secs(2);
/// How long compaction rests at least after it found no room, and how often that is doubled when
/// it goes on finding none: each attempt writes as much as there is room for. Not longer than that,
/// since whoever deletes more may be waiting.
const RELIEF_REST: Duration = Duration::from_secs(10);
const RELIEF_DOUBLED: u32 = 3;
/// An attempt that frees less than this part of what there was is as good as one that found no room.
const RELIEF_GAIN: u64 = 16;
/// Stores up to this size are rewritten on a quiet node for any removed entry.
const SMALL_STORE: u64 = 64 << 20;
/// Stores up to this size are rewritten on a quiet node for what a retired space left behind.
const MEDIUM_STORE: u64 = 4 << 30;

/// The threads of an engine.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    /// Starts them.
    ///
    /// # Errors
    /// Where the system gives no thread; those started end when the engine is stopped.
    pub(crate) fn start(&self, core: &Arc<Core>) -> io::Result<()> {
        self.spawn(core, "checkpoint", checkpoints)?;
        self.spawn(core, "compaction", compactions)?;
        self.spawn(core, "free-space", watch)
    }

    fn spawn(&self, core: &Arc<Core>, name: &'static str, job: fn(&Core)) -> io::Result<()> {
        let core = Arc::clone(core);
        let thread =
            std::thread::Builder::new().name(format!("shoal-{name}")).spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| job(&core))).is_err() {
                    core.break_with(EngineError::Poisoned(format!("the {name} thread panicked")));
                }
            })?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Ends them and waits until they have.
    pub(crate) fn stop(&self, core: &Core) {
        core.work.lock().stopping = true;
        core.store.interrupt(true);
        core.notify();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a storage thread ended in a panic");
            }
        }
    }
}

/// Looks at the free space once in a while.
fn watch(core: &Core) {
    let mut work = core.work.lock();
    while !work.stopping {
        parking_lot::MutexGuard::unlocked(&mut work, || {
            let refused = core.free_space.refusal().is_some();
            if core.look_at_room() == refused {
                core.notify();
            }
        });
        if !work.stopping {
            core.changed.wait_for(&mut work, TICK);
        }
    }
}

/// Makes checkpoints as they are needed.
fn checkpoints(core: &Core) {
    let mut pending: Option<Pending> = None;
    while let Some(ticket) = next_checkpoint(core, pending.as_ref()) {
        if pending.is_none() {
            pending = core.seal();
        }
        let done = match &pending {
            None => {
                // What there was no room for is gone.
                core.free_space.met_full(None);
                Ok(())
            }
            Some(sealed) => write(core, sealed),
        };
        match done {
            Ok(()) => {
                pending = None;
                core.work.lock().served = ticket;
                core.notify();
            }
            Err(SortedError::Full(why)) => {
                if !core.free_space.has_met_full() {
                    tracing::warn!(why, "a checkpoint met a full disk");
                }
                core.free_space.met_full(Some(why));
                // What was half written goes, and the room that it took.
                if let Err(error) = reopen(core) {
                    tracing::warn!(%error, "the sorted store could not be opened again");
                }
            }
            Err(SortedError::Interrupted) => {}
            Err(error) => {
                core.break_with(EngineError::Poisoned(format!("a checkpoint failed: {error}")));
                return;
            }
        }
    }
}

/// Waits until a checkpoint is due, or there is room for the one that found none, and returns the
/// last request it will serve; `None` to end.
fn next_checkpoint(core: &Core, retry: Option<&Pending>) -> Option<u64> {
    let mut looked: Option<Instant> = None;
    let mut work = core.work.lock();
    if retry.is_some() && !work.stopping {
        core.changed.wait_for(&mut work, TRY_AGAIN);
    }
    loop {
        if work.stopping || core.broken().is_some() {
            return None;
        }
        let wanted = match retry {
            // Every write wakes this thread, and a look walks through all that is sealed.
            Some(_) if looked.is_some_and(|at| at.elapsed() < TRY_AGAIN) => false,
            Some(sealed) => {
                looked = Some(Instant::now());
                parking_lot::MutexGuard::unlocked(&mut work, || has_room_for(core, sealed))
            }
            None => work.asked > work.served || is_due(core, &work),
        };
        if work.stopping {
            return None;
        }
        if wanted {
            return Some(work.asked);
        }
        core.changed.wait_for(&mut work, TICK);
    }
}

/// Whether what is left to be written of a sealed generation has room. It becomes less with what
/// is removed.
fn has_room_for(core: &Core, sealed: &Pending) -> bool {
    core.look_at_room();
    core.free_space.fits(core.hidden(&sealed.buffer).1)
}

fn is_due(core: &Core, work: &Work) -> bool {
    let active = Arc::clone(&core.generations.load().active);
    let relieves = core.free_space.refusal().is_some()
        && work.checkpointed.is_none_or(|made| made.elapsed() >= RELIEF_EVERY)
        && core.free_space.fits(active.bytes() as u64)
        // Each adds a run, which is merged only while there is room for that.
        && core.store.figures().runs < RUNS_WAIT;
    active.bytes() >= core.options.generation_bytes
        // Met while the log was replayed: puts are refused until a checkpoint went through.
        || core.free_space.has_met_full()
        || core.log.status().needed_bytes >= core.options.log_bytes && !active.is_empty()
        // What was removed makes room only once the store has it.
        || relieves && !active.is_empty()
        || core.is_quiet() && (!active.is_empty() || !core.stale.lock().fresh.is_empty())
}

/// Writes a sealed generation; after a full disk into a store that was opened anew.
fn write(core: &Core, sealed: &Pending) -> Result<(), SortedError> {
    let was_full = core.free_space.has_met_full();
    if was_full {
        reopen(core)?;
    }
    wait_for_compaction(core)?;
    let begun = Instant::now();
    core.write_sealed(sealed)?;
    if was_full {
        core.free_space.met_full(None);
    }
    if let Err(error) = core.settle_sealed(sealed) {
        core.break_with(error);
    }
    tracing::debug!(until = sealed.until, took = ?begun.elapsed(), "checkpoint");
    Ok(())
}

/// Opens the store anew, which a compaction has to end for.
fn reopen(core: &Core) -> Result<(), SortedError> {
    core.store.interrupt(true);
    let reopened = core.store.reopen();
    resume_compaction(core);
    reopened
}

/// Lets compactions run again that were interrupted, unless the engine is ending.
fn resume_compaction(core: &Core) {
    let work = core.work.lock();
    if !work.stopping {
        core.store.interrupt(false);
    }
}

/// Waits while compaction is behind, so that reads do not become slow; not while it is not
/// running at all, and not beyond what the store can take.
fn wait_for_compaction(core: &Core) -> Result<(), SortedError> {
    let mut work = core.work.lock();
    loop {
        let runs = core.store.figures().runs;
        let failed = work.compaction_failed.clone();
        let unchecked = failed.is_some() || work.compactions_asked > work.compactions_done;
        // Where it found no room it goes on once there is some; that is waited for here.
        if runs >= RUNS_MAX
            && let Some(error) = failed.filter(|error| !matches!(error, SortedError::Full(_)))
        {
            return Err(SortedError::Io(format!("compaction does not go on: {error}")));
        }
        if work.stopping || runs < RUNS_WAIT || unchecked && runs < RUNS_MAX {
            return Ok(());
        }
        if work.tidying {
            // Nobody asked for it; the node is not quiet any more.
            core.store.interrupt(true);
        }
        core.changed.wait_for(&mut work, TICK);
    }
}

/// Compacts as needed, sweeps retired spaces and tidies up on a quiet node.
fn compactions(core: &Core) {
    let mut seen = 0;
    loop {
        let mut work = core.work.lock();
        while !work.stopping
            && work.retired.is_empty()
            && work.compactions_asked == work.compactions_done
            && work.checkpoints == seen
        {
            if core.changed.wait_for(&mut work, TICK).timed_out() {
                break;
            }
        }
        if work.stopping {
            return;
        }
        seen = work.checkpoints;
        let retired = std::mem::take(&mut work.retired);
        let (asked, done) = (work.compactions_asked, work.compactions_done);
        drop(work);
        let (result, left) = round(core, retired, asked > done);
        let was_full = matches!(result, Err(SortedError::Full(_)));
        let kept = left.len();
        core.work.lock().retired.splice(0..0, left);
        if finish_round(core, asked, result) {
            rest(core, was_full.then_some(seen), kept);
        }
    }
}

/// Rests after a failed round; less where it found no room, `full` checkpoints had been made, and
/// another has come since, as what was removed meanwhile may change that; and only until more
/// spaces are retired than the `kept` that could not be dropped.
fn rest(core: &Core, full: Option<u64>, kept: usize) {
    let begun = Instant::now();
    let mut work = core.work.lock();
    while !work.stopping
        && work.compactions_asked == work.compactions_done
        // A space that was retired makes room without any.
        && (full.is_none() || work.retired.len() <= kept)
    {
        let eased = full.is_some_and(|seen| work.checkpoints != seen);
        let until = begun + if eased { RELIEF_REST } else { COMPACTION_REST };
        if core.changed.wait_until(&mut work, until).timed_out() {
            break;
        }
    }
}

/// Notes how a round went. Returns whether it failed, so that a rest is in order.
fn finish_round(core: &Core, asked: u64, result: Result<(), SortedError>) -> bool {
    let failed = match &result {
        Ok(()) | Err(SortedError::Interrupted) => false,
        Err(error) => {
            if matches!(error, SortedError::Full(_)) {
                tracing::warn!(%error, "compaction found no room");
            } else {
                tracing::error!(%error, "compaction failed");
            }
            // What it had written so far goes, and with it the room it took.
            if let Err(error) = core.store.reopen() {
                tracing::error!(%error, "the sorted store could not be opened again");
            }
            core.look_at_room();
            true
        }
    };
    core.look_at_size();
    resume_compaction(core);
    let mut work = core.work.lock();
    work.compaction_failed = if failed { result.clone().err() } else { None };
    if work.compactions_done < asked {
        work.compactions_done = asked;
        work.compaction_result = result.map_err(EngineError::from);
    }
    work.tidying = false;
    core.changed.notify_all();
    failed
}

/// Does what is to be done, and gives back the retired spaces that could not be dropped.
fn round(core: &Core, mut retired: Vec<u32>, full: bool) -> (Result<(), SortedError>, Vec<u32>) {
    while let Some(space) = retired.first() {
        core.generations.load().active.forget(*space);
        let (from, to) = (space.to_be_bytes(), (space + 1).to_be_bytes());
        if let Err(error) = core.store.drop_range(&from, &to) {
            return (Err(error), retired);
        }
        core.dead_bytes.store(true, Ordering::Release);
        retired.remove(0);
    }
    (compact(core, full), retired)
}

fn compact(core: &Core, full: bool) -> Result<(), SortedError> {
    while core.store.compact_step(core.free_space.floor())? {
        core.notify();
        if core.work.lock().stopping {
            return Ok(());
        }
    }
    if full {
        return rewrite(core);
    }
    if core.free_space.refusal().is_some() {
        relieve(core)?;
    }
    if core.is_quiet() && core.generations.load().active.is_empty() && is_untidy(core)? {
        tracing::info!("rewriting the sorted store without what was removed");
        core.work.lock().tidying = true;
        return rewrite(core);
    }
    Ok(())
}

/// Merges everything while puts are refused: what was removed may lie under marks too few to be
/// merged for their own sake. Nobody knows before how much is left; where that finds no room, the
/// next attempt waits for another checkpoint, and longer each time.
fn relieve(core: &Core) -> Result<(), SortedError> {
    let floor = core.free_space.floor();
    let work = core.work.lock();
    let made = work.checkpoints;
    let pause = RELIEF_REST * 2_u32.pow(work.relief.failures.min(RELIEF_DOUBLED));
    let last = work.relief.last;
    if floor == 0 || last.is_some_and(|(at, then)| then == made || at.elapsed() < pause) {
        return Ok(());
    }
    drop(work);
    tracing::info!("merging the sorted store, as the disk is nearly full");
    let before = core.store.figures().bytes;
    let done = core.store.compact_fully(floor);
    let freed = before.saturating_sub(core.store.figures().bytes);
    let mut work = core.work.lock();
    if done != Err(SortedError::Interrupted) {
        let was_in_vain = done.is_err() || freed < before / RELIEF_GAIN;
        let failures = work.relief.failures.saturating_add(1);
        work.relief.failures = if was_in_vain { failures } else { 0 };
        work.relief.last = Some((Instant::now(), made));
    }
    drop(work);
    match done {
        // What it had written so far goes, and with it the room it took.
        Err(SortedError::Full(_)) => core.store.reopen(),
        done => done,
    }
}

/// Rewrites the whole store, only if there is room for a second copy of it. Where puts are refused
/// already it is tried nevertheless: what is left may be far less, and it ends by itself before it
/// takes what others need.
fn rewrite(core: &Core) -> Result<(), SortedError> {
    let figures = core.store.figures();
    let floor = core.free_space.floor();
    let is_tried = floor > 0 && core.free_space.refusal().is_some();
    if !is_tried && !core.free_space.has_room_for(figures.bytes) {
        return Err(SortedError::Io(format!(
            "rewriting the sorted store needs {} bytes of free space",
            figures.bytes
        )));
    }
    core.store.compact_fully(floor)
}

/// Whether the store holds so much of what was removed that rewriting it is worth the while.
fn is_untidy(core: &Core) -> Result<bool, SortedError> {
    let figures = core.store.figures();
    if figures.removed > 0 && (figures.removed >= figures.items / 8 || figures.bytes < SMALL_STORE)
    {
        return Ok(core.free_space.has_room_for(figures.bytes));
    }
    if figures.bytes > MEDIUM_STORE || !core.dead_bytes.swap(false, Ordering::AcqRel) {
        return Ok(false);
    }
    Ok(has_dead(core)? && core.free_space.has_room_for(figures.bytes))
}

/// Whether the store holds values of a dead space. One look per space.
fn has_dead(core: &Core) -> Result<bool, SortedError> {
    let mut from = vec![0];
    loop {
        let mut found = None;
        core.store.range(&from, &keys::mark(), &mut |key, _| {
            found = keys::space_of(key);
            false
        })?;
        match found {
            None => return Ok(false),
            Some(space) if core.policy.is_dead(space) => return Ok(true),
            Some(space) => from = (space + 1).to_be_bytes().to_vec(),
        }
    }
}
