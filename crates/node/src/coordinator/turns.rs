//! Read-modify-writes: at one owner of their key, one after the other.
//!
//! Holds: the versions that were tried for a key are remembered for as long as messages with them
//! may still be under way, and are not tried again.

use super::decide::{Told, Updater, forwarded};
use super::job::{Done, ExecuteJob};
use super::{About, Coordinator, DEADLINE};
use bytes::Bytes;
use parking_lot::Mutex;
use shoal_core::Version;
use shoal_core::ids::Incarnation;
use shoal_core::quorum::{Execute, Executed, Forwarded};
use shoal_core::update::OwnedUpdate;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;

/// The most changes of one key that wait.
const MOST_WAITING: usize = 1_024;

/// A key of a keyspace.
type Name = (Incarnation, Bytes);

/// The changes that wait for those before them on their key, and what was tried lately.
#[derive(Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: HashMap<Name, VecDeque<Turn>>,
    tried: HashMap<Name, Version>,
    /// When what was tried may be forgotten, in that order.
    forget: VecDeque<(Instant, Name, Version)>,
}

/// One change in line.
struct Turn {
    /// When it is too late to begin: its asker has given up.
    until: Instant,
    about: About,
    updater: Updater,
    done: Done<Executed<Told>>,
}

impl Turns {
    /// How many changes wait for those before them.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().waiting.values().map(VecDeque::len).sum()
    }
}

impl Coordinator {
    /// Changes a key here, after the changes of it that are under way here; with `look` what was
    /// there before is told.
    pub(super) fn execute(
        self: &Arc<Self>,
        about: &About,
        key: Bytes,
        update: OwnedUpdate,
        look: bool,
        done: Done<Forwarded>,
    ) {
        let default_ttl_ms = self.around.default_ttl_ms(about.keyspace);
        let updater = Updater { update, look, limit: self.max_value_bytes, default_ttl_ms };
        let done = Box::new(move |executed| done(forwarded(executed)));
        let turn = Turn { until: Instant::now() + DEADLINE, about: about.clone(), updater, done };
        let name = (about.keyspace, key);
        let mut state = self.turns.0.lock();
        if let Some(waiting) = state.waiting.get_mut(&name) {
            if waiting.len() < MOST_WAITING {
                return waiting.push_back(turn);
            }
            drop(state);
            return (turn.done)(Executed::NoQuorum(super::nobody()));
        }
        state.waiting.insert(name.clone(), VecDeque::new());
        drop(state);
        self.take_turn(&name, turn);
    }

    fn take_turn(self: &Arc<Self>, name: &Name, turn: Turn) {
        let mut next = Some(turn);
        while let Some(Turn { until, about, updater, done }) = next.take() {
            let route = self.routes.find(about.keyspace, about.slot);
            let Some((_, owners)) = route.filter(|_| Instant::now() < until) else {
                done(Executed::NoQuorum(super::nobody()));
                next = self.next_turn(name, None);
                continue;
            };
            let tried = self.turns.0.lock().tried.get(name).copied().unwrap_or(Version::ZERO);
            let mut out = Vec::new();
            let (key, level) = (name.1.clone(), about.level);
            let started =
                Execute::start(self.me, key, level, owners, updater, tried, self.up(), &mut out);
            match started {
                Ok(machine) => {
                    let (this, name) = (Arc::clone(self), name.clone());
                    let over = move |machine: &Execute<Updater>| {
                        let tried = machine.tried();
                        let Some(turn) = this.next_turn(&name, Some(tried)) else { return };
                        // Not from within the machine that has just ended.
                        let runtime = this.blocking.clone();
                        runtime.spawn(async move { this.take_turn(&name, turn) });
                    };
                    let mut job =
                        ExecuteJob { machine, done: Some(done), over: Some(Box::new(over)) };
                    let steps = job.steps(out);
                    self.begin(&about, Box::new(job), steps);
                }
                Err(outcome) => {
                    done(outcome);
                    next = self.next_turn(name, None);
                }
            }
        }
    }

    /// Ends the changes that wait for those before them.
    pub(super) fn end_turns(&self) {
        let waiting = std::mem::take(&mut self.turns.0.lock().waiting);
        for turn in waiting.into_values().flatten() {
            (turn.done)(Executed::NoQuorum(super::nobody()));
        }
    }

    /// The change of this key before is over; the next one in line, if there is one.
    fn next_turn(&self, name: &Name, tried: Option<Version>) -> Option<Turn> {
        let mut state = self.turns.0.lock();
        let now = Instant::now();
        if let Some(tried) = tried.filter(|tried| *tried > Version::ZERO) {
            state.tried.insert(name.clone(), tried);
            // Twice the deadline, since the last attempt may have been sent at its end.
            state.forget.push_back((now + 2 * DEADLINE, name.clone(), tried));
        }
        while let Some((_, old, version)) = state.forget.pop_front_if(|(at, _, _)| *at <= now) {
            if state.tried.get(&old) == Some(&version) {
                state.tried.remove(&old);
            }
        }
        let next = state.waiting.get_mut(name).and_then(VecDeque::pop_front);
        if next.is_none() {
            state.waiting.remove(name);
        }
        next
    }
}
