//! The keys of a batch, read side by side under one epoch.
//!
//! Holds: each read has rounds of its own. As sent, a round tells which read it is of: rounds are
//! dealt out in turn to the reads, and one of each turn is left over for the batch itself.

use crate::ids::NodeId;
use crate::quorum::{Effect, Event, Found, Level, NoQuorum, Owners, Read, ReadOutcome};
use bytes::Bytes;
use std::sync::Arc;

/// Reads of several keys.
#[derive(Debug)]
pub(super) struct Reads {
    reads: Vec<(Read, Option<Found>)>,
    /// The greatest round of any of them.
    round: u32,
    /// Whether any of them waits for a newer map.
    mapless: bool,
}

/// What came of all of them, once it is known.
type Outcome = Option<Result<Vec<Found>, NoQuorum>>;

/// The number that a round of the read at `index` has when it is sent, of `count` reads; `count`
/// itself is the place of the batch.
pub(super) fn shared_round(round: u32, index: usize, count: usize) -> u32 {
    let number = u64::from(round) * (count as u64 + 1) + index as u64;
    // Too many rounds of too many keys would be told apart no more; the deadline comes long before.
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn own_round(round: u32, count: usize) -> (u32, usize) {
    let turn = u64::from(round) / (count as u64 + 1);
    let index = u64::from(round) % (count as u64 + 1);
    (u32::try_from(turn).unwrap_or(u32::MAX), usize::try_from(index).unwrap_or(usize::MAX))
}

impl Reads {
    /// Begins to read `keys` at quorum, the own copy first, in rounds above `round`.
    pub(super) fn start<'k, O>(
        me: NodeId,
        keys: impl ExactSizeIterator<Item = &'k Bytes>,
        owners: &Arc<Owners>,
        reachable: impl Fn(NodeId) -> bool,
        round: u32,
        out: &mut Vec<Effect<O>>,
    ) -> Result<Self, NoQuorum> {
        let count = keys.len();
        let mut reads = Self { reads: Vec::with_capacity(count), round, mapless: false };
        for (index, key) in keys.enumerate() {
            let mut inner = Vec::new();
            let prefer = |node| u32::from(node != me);
            let (key, owners) = (key.clone(), Arc::clone(owners));
            let read = Read::start_after(
                round,
                key,
                Level::Quorum,
                owners,
                &reachable,
                prefer,
                &mut inner,
            )?;
            reads.reads.push((read, None));
            reads.pass_on(index, count, inner, out);
        }
        Ok(reads)
    }

    /// The greatest round that was used.
    pub(super) const fn round(&self) -> u32 {
        self.round
    }

    pub(super) const fn is_mapless(&self) -> bool {
        self.mapless
    }

    /// Gives the reads what concerns them.
    pub(super) fn on<O>(&mut self, event: Event, out: &mut Vec<Effect<O>>) -> Outcome {
        let count = self.reads.len();
        match event {
            Event::Answered(mut answer) => {
                let (round, index) = own_round(answer.round, count);
                answer.round = round;
                self.tell(index, Event::Answered(answer), out)
            }
            Event::Failed { node, round } => {
                let (round, index) = own_round(round, count);
                self.tell(index, Event::Failed { node, round }, out)
            }
            // Reads of different epochs do not go together: whoever drives this begins again.
            Event::Remapped(_) => None,
            Event::Slow | Event::Deadline => {
                (0..count).find_map(|index| self.tell(index, event.clone(), out))
            }
        }
    }

    fn tell<O>(&mut self, index: usize, event: Event, out: &mut Vec<Effect<O>>) -> Outcome {
        let (read, _) = self.reads.get_mut(index)?;
        let mut inner = Vec::new();
        read.on(event, &mut inner);
        match self.pass_on(index, self.reads.len(), inner, out)? {
            ReadOutcome::NoQuorum(lack) => return Some(Err(lack)),
            ReadOutcome::Found(found) => self.reads[index].1 = Some(found),
        }
        let is_found = |(_, found): &(Read, Option<Found>)| found.is_some();
        if !self.reads.iter().all(is_found) {
            return None;
        }
        Some(Ok(self.reads.iter().filter_map(|(_, found)| found.clone()).collect()))
    }

    fn pass_on<O>(
        &mut self,
        index: usize,
        count: usize,
        inner: Vec<Effect<ReadOutcome>>,
        out: &mut Vec<Effect<O>>,
    ) -> Option<ReadOutcome> {
        let mut outcome = None;
        for effect in inner {
            match effect {
                Effect::Send { to, round, ask } => {
                    self.round = self.round.max(round);
                    out.push(Effect::Send { to, round: shared_round(round, index, count), ask });
                }
                Effect::PullMap { at_least } => {
                    self.mapless = true;
                    out.push(Effect::PullMap { at_least });
                }
                Effect::Hint { to } => out.push(Effect::Hint { to }),
                Effect::Done(done) => outcome = Some(done),
            }
        }
        outcome
    }
}
