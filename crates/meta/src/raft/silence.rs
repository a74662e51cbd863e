//! When a leader must not speak.
//!
//! A leader whose words arrive but who hears nothing keeps the others from electing another, and
//! nothing can be decided for as long as the network stays so. Once it has missed a majority for
//! the time of a lease it therefore falls silent for long enough that the others can elect; if
//! nobody did, it speaks and is silent by turns.
//!
//! Holds: a leader that hears a majority is never silent. Only when messages are sent depends on
//! it, never what may be decided.

use super::known::Known;
use super::options::Options;
use super::types::Vote;
use parking_lot::Mutex;
use shoal_core::ids::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Decides whether the node may speak as a leader.
#[derive(Debug)]
pub(super) struct Silence {
    node: NodeId,
    /// How long a leader goes on without hearing a majority.
    lease: Duration,
    /// How long it is silent, and then speaks, by turns: the others' lease and an election.
    turn: Duration,
    known: Arc<Known>,
    /// Held for a few comparisons only.
    heard: Mutex<Heard>,
}

/// Whom the present leader heard.
#[derive(Debug)]
struct Heard {
    /// The vote under which it leads.
    vote: Option<Vote>,
    /// When it first spoke under that vote.
    began: Instant,
    /// When what was answered last was sent.
    answered: BTreeMap<u64, Instant>,
}

impl Silence {
    pub(super) fn new(node: NodeId, options: &Options, known: Arc<Known>) -> Self {
        let lease = options.election_timeout.1;
        let heard = Heard { vote: None, began: Instant::now(), answered: BTreeMap::new() };
        Self { node, lease, turn: lease * 3, known, heard: Mutex::new(heard) }
    }

    /// Whether the leader of `vote` may speak now.
    pub(super) fn may_speak(&self, vote: &Vote) -> bool {
        let voters = self.known.members().voters;
        let now = Instant::now();
        let mut heard = self.heard.lock();
        heard.lead_by(vote, now);
        let mut times: Vec<Instant> = voters
            .iter()
            .map(|voter| match heard.answered.get(&u64::from(*voter)) {
                _ if *voter == self.node.0 => now,
                Some(answered) => *answered,
                None => heard.began,
            })
            .collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        // The time at which a majority was last heard.
        let Some(majority) = times.get(voters.len() / 2) else { return true };
        let missed = now.saturating_duration_since(*majority);
        match missed.checked_sub(self.lease) {
            None => true,
            Some(beyond) => (beyond.as_nanos() / self.turn.as_nanos().max(1)) % 2 == 1,
        }
    }

    /// Notes that `from` has answered what the leader of `vote` sent it at `sent`.
    pub(super) fn hear(&self, vote: &Vote, from: u64, sent: Instant) {
        let mut heard = self.heard.lock();
        if heard.vote.as_ref() == Some(vote) {
            let newest = heard.answered.entry(from).or_insert(sent);
            *newest = sent.max(*newest);
        }
    }
}

impl Heard {
    fn lead_by(&mut self, vote: &Vote, now: Instant) {
        if self.vote.as_ref() != Some(vote) {
            *self = Self { vote: Some(*vote), began: now, answered: BTreeMap::new() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::wire::Members;
    use tokio::time::advance;

    fn leader_of_three() -> (Silence, Options) {
        let options = Options::default();
        let members = Members { index: 1, voters: [1, 2, 3].into(), learners: [4].into() };
        let known = Arc::new(Known::new(Arc::default(), members));
        (Silence::new(NodeId(1), &options, known), options)
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_of_two_is_enough_and_a_learners_is_none() {
        let (silence, options) = leader_of_three();
        let vote = Vote::new_committed(1, 1);
        for _ in 0..100 {
            assert!(silence.may_speak(&vote));
            silence.hear(&vote, 3, Instant::now());
            advance(options.heartbeat).await;
        }
        for _ in 0..11 {
            silence.hear(&vote, 4, Instant::now());
            advance(options.heartbeat).await;
        }
        assert!(!silence.may_speak(&vote));
        silence.hear(&vote, 2, Instant::now());
        assert!(silence.may_speak(&vote));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_silent_for_an_election_and_speaks_again_by_turns() {
        let (silence, options) = leader_of_three();
        let vote = Vote::new_committed(1, 1);
        assert!(silence.may_speak(&vote));
        let lease = options.election_timeout.1;
        advance(lease).await;
        assert!(!silence.may_speak(&vote));
        // The others' lease, and the longest election timeout.
        advance(lease * 2).await;
        assert!(!silence.may_speak(&vote));
        advance(lease).await;
        assert!(silence.may_speak(&vote));
        advance(lease * 3).await;
        assert!(!silence.may_speak(&vote));
        // Elected anew, it begins anew; what was answered to the old one does not count.
        let next = Vote::new_committed(2, 1);
        assert!(silence.may_speak(&next));
        silence.hear(&vote, 2, Instant::now());
        advance(lease).await;
        assert!(!silence.may_speak(&next));
    }
}
