//! Questions that wait at a copy, for a map or for the floors of the others.
//!
//! Holds: so many wait at one copy, and so many bytes at all copies of an engine; more are refused. A
//! copy whose keyspace is gone lets nobody wait.

use super::{Asked, PartitionCopy, State, Tell, Waiting};
use parking_lot::MutexGuard;
use shoal_core::clock::Stamp;
use shoal_core::quorum::{Answer, Envelope, Refusal};
use tokio::time::Instant;

/// The most questions that wait for one copy's map; more are refused.
const MOST_WAITING: usize = 1_024;

impl PartitionCopy {
    /// Lets a question wait, where there is room.
    pub(super) fn keep_waiting(
        &self,
        mut state: MutexGuard<'_, State>,
        until: Asked,
        envelope: Envelope,
        clock: Stamp,
        tell: Tell,
    ) -> Asked {
        let refusal = if state.is_void { Refusal::Void } else { Refusal::Unable };
        let room = !state.is_void
            && state.waiting.len() < MOST_WAITING
            && self.place.settled.hold(envelope.ask.bytes());
        if room {
            state.waiting.push((Instant::now(), (envelope, tell)));
            return until;
        }
        let answer = state.refused(&envelope, clock, refusal);
        drop(state);
        tell(Some(answer));
        Asked::Taken
    }

    /// Hands back what waits.
    pub(super) fn waited(&self, state: &mut State) -> Vec<Waiting> {
        let waiting = std::mem::take(&mut state.waiting);
        waiting
            .into_iter()
            .map(|(_, waiting)| {
                self.place.settled.let_go(waiting.0.ask.bytes());
                waiting
            })
            .collect()
    }

    /// Refuses the questions that have waited since before `began`: nobody waits for an answer to
    /// them any more.
    pub(crate) fn give_up(&self, began: Instant, clock: Stamp) {
        let mut state = self.state.lock();
        let since = std::mem::take(&mut state.waiting);
        let (old, rest) = since.into_iter().partition(|(at, _)| *at <= began);
        state.waiting = rest;
        let old: Vec<(Instant, Waiting)> = old;
        let refused: Vec<(Answer, Tell)> = old
            .into_iter()
            .map(|(_, (envelope, tell))| {
                self.place.settled.let_go(envelope.ask.bytes());
                (state.refused(&envelope, clock, Refusal::Unable), tell)
            })
            .collect();
        drop(state);
        for (answer, tell) in refused {
            tell(Some(answer));
        }
    }

    /// How many questions wait here.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// That life of the keyspace is over: nobody waits here from now on. Hands back what did.
    pub(crate) fn end(&self) -> Vec<Waiting> {
        let mut state = self.state.lock();
        state.is_void = true;
        self.waited(&mut state)
    }
}
