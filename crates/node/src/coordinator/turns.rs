//! What depends on what is there: at one owner of its keys, one after the other.
//!
//! Holds: whoever comes stands in line for all of its keys at one moment, and is carried out once it
//! is the first in each line. So those that wait for each other wait for who came before, and never
//! in a circle. Nobody waits longer than its time, wherever in line it is.
//!
//! Holds: the versions that were tried for a key are remembered for as long as messages with them
//! may still be under way, and are not tried again.

use super::decide::{Told, Updater, forwarded};
use super::job::{BatchJob, Done, ExecuteJob, Job, Over, Step};
use super::{About, Coordinator, DEADLINE, nobody};
use bytes::Bytes;
use parking_lot::Mutex;
use shoal_core::Version;
use shoal_core::ids::Incarnation;
use shoal_core::quorum::{
    Batch, BatchOutcome, Execute, Executed, Forwarded, NoQuorum, Owners, Part,
};
use shoal_core::update::OwnedUpdate;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;

/// The most changes of one key that wait.
const MOST_WAITING: usize = 1_024;

/// A key of a keyspace.
type Name = (Incarnation, Bytes);

/// The lines, and what was tried lately.
#[derive(Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    /// Of each key who is in line; whoever is first everywhere is under way.
    lines: HashMap<Name, VecDeque<u64>>,
    /// Those that are not under way.
    waiting: HashMap<u64, Turn>,
    next: u64,
    tried: HashMap<Name, Version>,
    /// When what was tried may be forgotten, in that order.
    forget: VecDeque<(Instant, Name, Version)>,
}

/// One in line.
struct Turn {
    id: u64,
    /// When its time is over, whether it has begun or not.
    until: Instant,
    about: About,
    names: Vec<Name>,
    task: Task,
}

/// What is to be done.
enum Task {
    Update(Updater, Done<Executed<Told>>),
    Batch(Vec<Part>, Done<BatchOutcome>),
}

impl Turns {
    /// How many changes wait for those before them.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }
}

impl Coordinator {
    /// Changes a key here until then, after what is under way here with it; with `look` what was
    /// there before is told.
    pub(super) fn execute(
        self: &Arc<Self>,
        until: Instant,
        about: &About,
        key: Bytes,
        update: OwnedUpdate,
        look: bool,
        done: Done<Forwarded>,
    ) {
        let default_ttl_ms = self.around.default_ttl_ms(about.keyspace);
        let updater = Updater { update, look, limit: self.max_value_bytes, default_ttl_ms };
        let done = Box::new(move |executed| done(forwarded(executed)));
        self.stand_in_line(until, about, vec![key], Task::Update(updater, done));
    }

    /// Judges and writes several keys of one slot here until then, after what is under way here with
    /// any of them.
    pub(super) fn execute_batch(
        self: &Arc<Self>,
        until: Instant,
        about: &About,
        parts: Vec<Part>,
        done: Done<BatchOutcome>,
    ) {
        let keys = parts.iter().map(|part| part.key.clone()).collect();
        self.stand_in_line(until, about, keys, Task::Batch(parts, done));
    }

    fn stand_in_line(
        self: &Arc<Self>,
        until: Instant,
        about: &About,
        keys: Vec<Bytes>,
        task: Task,
    ) {
        // Copied: they are kept for a while, and may be cut from a long message.
        let name = |key: Bytes| (about.keyspace, Bytes::copy_from_slice(&key));
        let names: Vec<Name> = keys.into_iter().map(name).collect();
        let mut turn = Turn { id: 0, until, about: about.clone(), names, task };
        let mut state = self.turns.0.lock();
        let is_full = |name| state.lines.get(name).is_some_and(|line| line.len() > MOST_WAITING);
        if turn.names.iter().any(is_full) {
            drop(state);
            return turn.task.refuse(nobody());
        }
        turn.id = state.next;
        state.next += 1;
        for name in &turn.names {
            state.lines.entry(name.clone()).or_default().push_back(turn.id);
        }
        if !state.is_first(&turn) {
            let id = turn.id;
            state.waiting.insert(id, turn);
            drop(state);
            return self.turn_ends.join_until(until, id);
        }
        drop(state);
        self.take_turns(vec![turn]);
    }

    fn take_turns(self: &Arc<Self>, mut ready: Vec<Turn>) {
        while let Some(turn) = ready.pop() {
            let Turn { id, until, about, names, task } = turn;
            let route = self.routes.find(about.keyspace, about.slot);
            let begun = match route.filter(|_| Instant::now() < until) {
                Some((_, owners)) => self.job_of(id, &about, &names, task, owners),
                None => {
                    task.refuse(nobody());
                    None
                }
            };
            match begun {
                Some((job, steps)) => self.begin_until(until, &about, job, steps),
                None => ready.extend(self.next_turns(id, &names, &[])),
            }
        }
    }

    /// The machine of a task, and what it wants done first; nothing where it is answered already.
    fn job_of(
        self: &Arc<Self>,
        id: u64,
        about: &About,
        names: &[Name],
        task: Task,
        owners: Arc<Owners>,
    ) -> Option<(Box<dyn Job>, Vec<Step>)> {
        let tried = |key: &Bytes| {
            let name = (about.keyspace, key.clone());
            self.turns.0.lock().tried.get(&name).copied().unwrap_or(Version::ZERO)
        };
        let (me, level) = (self.me, about.level);
        match task {
            Task::Update(updater, done) => {
                let (key, mut out) = (names[0].1.clone(), Vec::new());
                let (tried, up) = (tried(&key), self.up());
                match Execute::start(me, key, level, owners, updater, tried, up, &mut out) {
                    Ok(machine) => {
                        let end = self.end_of(id, names);
                        let over = move |machine: &Execute<Updater>| end(&[machine.tried()]);
                        let (done, over) = (Some(done), Some(Box::new(over) as Over<_>));
                        let mut job = ExecuteJob { machine, done, over };
                        let steps = job.steps(out);
                        return Some((Box::new(job), steps));
                    }
                    Err(outcome) => done(outcome),
                }
            }
            Task::Batch(parts, done) => {
                let mut out = Vec::new();
                match Batch::start(me, parts, level, owners, tried, self.up(), &mut out) {
                    Ok(machine) => {
                        let end = self.end_of(id, names);
                        let over = move |machine: &Batch| {
                            let tried = machine.tried().map(|(_, version)| version);
                            end(&tried.collect::<Vec<Version>>());
                        };
                        let (done, over) = (Some(done), Some(Box::new(over) as Over<_>));
                        let mut job = BatchJob { machine, done, over };
                        let steps = job.steps(out);
                        return Some((Box::new(job), steps));
                    }
                    Err(outcome) => done(outcome),
                }
            }
        }
        None
    }

    /// Lets those go on that wait for `id`, told what it has tried of its keys.
    fn end_of(self: &Arc<Self>, id: u64, names: &[Name]) -> impl FnOnce(&[Version]) + use<> {
        let (this, names) = (Arc::clone(self), names.to_vec());
        move |tried| {
            let ready = this.next_turns(id, &names, tried);
            if !ready.is_empty() {
                // Not from within the machine that has just ended.
                let runtime = this.blocking.clone();
                runtime.spawn(async move { this.take_turns(ready) });
            }
        }
    }

    /// Ends those of `ids` that still wait: nobody waits for them any more.
    pub(super) fn give_up_turns(self: &Arc<Self>, ids: &[u64]) {
        for id in ids {
            let mut state = self.turns.0.lock();
            let Some(turn) = state.waiting.remove(id) else { continue };
            let ready = state.leave(*id, &turn.names);
            drop(state);
            turn.task.refuse(nobody());
            self.take_turns(ready);
        }
    }

    /// Ends what waits for those before it.
    pub(super) fn end_turns(&self) {
        let mut state = self.turns.0.lock();
        state.lines.clear();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for turn in waiting.into_values() {
            turn.task.refuse(nobody());
        }
    }

    /// `id` is over; those that are first in each of their lines now.
    fn next_turns(&self, id: u64, names: &[Name], tried: &[Version]) -> Vec<Turn> {
        let mut state = self.turns.0.lock();
        let now = Instant::now();
        for (name, tried) in names.iter().zip(tried).filter(|(_, tried)| **tried > Version::ZERO) {
            state.tried.insert(name.clone(), *tried);
            // Twice the deadline, since the last attempt may have been sent at its end.
            state.forget.push_back((now + 2 * DEADLINE, name.clone(), *tried));
        }
        while let Some((_, old, version)) = state.forget.pop_front_if(|(at, _, _)| *at <= now) {
            if state.tried.get(&old) == Some(&version) {
                state.tried.remove(&old);
            }
        }
        state.leave(id, names)
    }
}

impl State {
    /// `id` leaves its lines; those that are first in each of theirs now.
    fn leave(&mut self, id: u64, names: &[Name]) -> Vec<Turn> {
        let mut next = Vec::new();
        for name in names {
            let Some(line) = self.lines.get_mut(name) else { continue };
            if line.pop_front_if(|first| *first == id).is_none() {
                line.retain(|other| *other != id);
            }
            match line.front() {
                Some(first) => next.push(*first),
                None => drop(self.lines.remove(name)),
            }
        }
        let mut ready = Vec::new();
        for id in next {
            let is_ready = self.waiting.get(&id).is_some_and(|turn| self.is_first(turn));
            ready.extend(is_ready.then(|| self.waiting.remove(&id)).flatten());
        }
        ready
    }

    fn is_first(&self, turn: &Turn) -> bool {
        let first = |name| self.lines.get(name).and_then(VecDeque::front);
        turn.names.iter().all(|name| first(name) == Some(&turn.id))
    }
}

impl Task {
    fn refuse(self, lack: NoQuorum) {
        match self {
            Self::Update(_, done) => done(Executed::NoQuorum(lack)),
            Self::Batch(_, done) => done(BatchOutcome::NoQuorum(lack)),
        }
    }
}

#[cfg(test)]
mod tests;
