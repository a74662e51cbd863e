//! The sweep: removes records whose time has passed, on a quiet node too, and keeps the clock's
//! ceiling ahead.
//!
//! Holds: nothing is removed that a reader could still see; the record is read again under its
//! partition's lock before it goes. The sweep rests at least three times as long as it works.

use crate::keyspace::Keyspace;
use crate::node::Node;
use crate::rules::read_record;
use crate::step::{counted, minus};
use parking_lot::{Condvar, Mutex};
use shoal_core::{Body, Slot};
use shoal_storage::{Answer, Engine, EngineError, Op, Patience, Tally};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Entries looked at per turn.
const TURN: usize = 512;
/// The rest after a turn that found nothing to do.
const IDLE: Duration = Duration::from_millis(100);
/// The rest among several nodes, where nothing is removed here, and the clock is tended elsewhere.
const AMONG: Duration = Duration::from_secs(1);
/// Rest per unit of work.
const REST_PER_WORK: u32 = 3;

/// The thread that sweeps, until it is stopped.
pub(crate) struct Sweep {
    signal: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Sweep {
    pub(crate) fn start(node: Weak<Node>) -> std::io::Result<Self> {
        let signal: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let stop = Arc::clone(&signal);
        let thread = std::thread::Builder::new()
            .name("shoal-sweep".to_owned())
            .spawn(move || run(&node, &stop))?;
        Ok(Self { signal, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn stop(&self) {
        *self.signal.0.lock() = true;
        self.signal.1.notify_all();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the sweep panicked");
        }
    }
}

fn run(node: &Weak<Node>, stop: &(Mutex<bool>, Condvar)) {
    let mut said = String::new();
    let mut ceiling_said = false;
    loop {
        let rest = {
            let Some(node) = node.upgrade() else { return };
            let started = Instant::now();
            match node.clock.raise(node.clock.now_ms()) {
                Err(refusal) if !ceiling_said => {
                    tracing::error!(%refusal, "the clock's ceiling could not be raised");
                    ceiling_said = true;
                }
                Err(_) => {}
                Ok(()) => ceiling_said = false,
            }
            let looked = turn(&node, &mut said);
            match looked {
                0 if node.cluster().is_some() => AMONG,
                0 => IDLE,
                _ => started.elapsed() * REST_PER_WORK,
            }
        };
        let mut stopped = stop.0.lock();
        if !*stopped {
            stop.1.wait_for(&mut stopped, rest);
        }
        if *stopped {
            return;
        }
    }
}

/// One turn over both engines: how many entries were looked at.
fn turn(node: &Node, said: &mut String) -> usize {
    let mut looked = 0;
    for engine in [&node.catalogue.engines.memory, &node.catalogue.engines.disk] {
        match turn_of(node, engine) {
            Ok(seen) => looked += seen,
            // Said once per kind of trouble, not ten times a second.
            Err(error) => {
                let trouble = error.to_string();
                if *said != trouble {
                    tracing::error!(%error, "the sweep cannot go on here");
                    *said = trouble;
                }
            }
        }
    }
    looked
}

fn turn_of(node: &Node, engine: &Arc<dyn Engine>) -> Result<usize, EngineError> {
    let now = node.clock.now_ms();
    let mut found: Vec<(u32, u16, Vec<u8>)> = Vec::new();
    let looked = engine.due(now, TURN, &mut |at, _| {
        found.push((at.space, at.slot, at.key.to_vec()));
    })?;
    if found.is_empty() {
        return Ok(looked);
    }
    let routing = node.catalogue.routing();
    for (space, slot, key) in found {
        let (Some(keyspace), Some(slot)) = (routing.of_space(space), Slot::new(slot)) else {
            continue;
        };
        match purge(node, keyspace, slot, &key) {
            Ok(()) => {}
            // One damaged record must not keep the others alive.
            Err(EngineError::Corrupt { .. }) => {
                node.stats.corrupt.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(looked)
}

/// Removes the record under `key` if its time has come.
fn purge(node: &Node, keyspace: &Keyspace, slot: Slot, key: &[u8]) -> Result<(), EngineError> {
    let now = node.clock.now_ms();
    let lane = keyspace.lock(slot);
    if lane.retired || !keyspace.local {
        return Ok(());
    }
    let at = keyspace.address(slot, key);
    let mut dead: Option<(Tally, bool)> = None;
    let mut outcome: Result<(), EngineError> = Ok(());
    let answer = keyspace.engine.read(at, Patience::Block, &mut |stored| {
        outcome = stored.map_or(Ok(()), |bytes| {
            let record = read_record(key, bytes)?;
            let purge_at = node.rules.purge_at(keyspace.space(), &record);
            if purge_at.is_some_and(|at| at <= now) {
                let expired = matches!(record.body, Body::Live { .. });
                dead = Some((counted(Some(&record)), expired));
            }
            Ok(())
        });
    })?;
    debug_assert!(matches!(answer, Answer::Given(_)), "a patient read is given");
    outcome?;
    let Some((tally, expired)) = dead else { return Ok(()) };
    let op = Op { at, put: None, tally: minus(Tally::default(), tally) };
    keyspace.engine.submit(&[op])?;
    if expired {
        node.stats.expired.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
