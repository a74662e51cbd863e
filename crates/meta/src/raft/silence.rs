//! When a leader must not speak.
//!
//! A leader whose words arrive but who hears nothing keeps the others from electing another, and
//! nothing can be decided for as long as the network stays so. Once it has missed a majority for
//! the time of a lease it therefore falls silent for long enough that the others can elect; if
//! nobody did, it speaks and is silent by turns.
//!
//! Holds: a leader that hears a majority is never silent; while the voters change, one of those
//! before and one of those after the change, since it takes both to decide anything. Only when
//! messages are sent depends on it, never what may be decided.

use super::options::Options;
use super::types::Vote;
use parking_lot::Mutex;
use shoal_core::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};
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
    /// Held for a few comparisons only.
    heard: Mutex<Heard>,
}

/// Whom the present leader heard.
#[derive(Debug)]
struct Heard {
    /// The sets of voters of each of which a majority counts; two while one takes over from the
    /// other. By the newest log entry about them, decided or not.
    voters: Vec<BTreeSet<u64>>,
    /// The vote under which it leads.
    vote: Option<Vote>,
    /// When it first spoke under that vote.
    began: Instant,
    /// When what was answered last was sent.
    answered: BTreeMap<u64, Instant>,
}

impl Silence {
    pub(super) fn new(node: NodeId, options: &Options) -> Self {
        let lease = options.election_timeout.1;
        let (voters, answered) = (Vec::new(), BTreeMap::new());
        let heard = Heard { voters, vote: None, began: Instant::now(), answered };
        Self { node, lease, turn: lease * 3, heard: Mutex::new(heard) }
    }

    /// Notes of whom a majority counts, in each of the sets.
    pub(super) fn count_on(&self, voters: &[BTreeSet<u64>]) {
        let mut heard = self.heard.lock();
        if heard.voters != voters {
            heard.voters = voters.to_vec();
        }
    }

    /// Whether the leader of `vote` may speak now.
    pub(super) fn may_speak(&self, vote: &Vote) -> bool {
        let now = Instant::now();
        let mut heard = self.heard.lock();
        heard.lead_by(vote, now);
        let me = u64::from(self.node.0);
        let majorities = heard.voters.iter().filter_map(|set| heard.majority(set, me, now));
        let Some(oldest) = majorities.min() else { return true };
        let missed = now.saturating_duration_since(oldest);
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
            self.vote = Some(*vote);
            self.began = now;
            self.answered.clear();
        }
    }

    /// When a majority of `voters` was last heard; `None` where there are no voters.
    fn majority(&self, voters: &BTreeSet<u64>, me: u64, now: Instant) -> Option<Instant> {
        let mut times: Vec<Instant> = voters
            .iter()
            .map(|voter| match self.answered.get(voter) {
                _ if *voter == me => now,
                Some(answered) => *answered,
                None => self.began,
            })
            .collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.get(voters.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn leader_of_three() -> (Silence, Options) {
        let options = Options::default();
        let silence = Silence::new(NodeId(1), &options);
        silence.count_on(&[[1, 2, 3].into()]);
        (silence, options)
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_voters_change_a_majority_of_both_sets_is_needed() {
        let vote = Vote::new_committed(1, 1);
        // Four of five in all are heard, but of the second set only one.
        for (sets, heard, speaks) in [
            (vec![[1, 2, 3].into(), [3, 4, 5].into()], [2, 3], false),
            (vec![[3, 4, 5].into(), [1, 2, 3].into()], [2, 3], false),
            (vec![[1, 2, 3].into(), [3, 4, 5].into()], [3, 5], true),
            (vec![[1].into(), [1, 2, 3].into()], [4, 5], false),
            (vec![[1].into(), [1, 2, 3].into()], [2, 5], true),
            // It leads and is to have no voice any more.
            (vec![[1, 2, 3].into(), [2, 3, 4].into()], [2, 5], false),
            (vec![[1, 2, 3].into(), [2, 3, 4].into()], [2, 4], true),
        ] {
            let (silence, options) = leader_of_three();
            silence.count_on(&sets);
            assert!(silence.may_speak(&vote));
            advance(options.election_timeout.1).await;
            heard.into_iter().for_each(|voter| silence.hear(&vote, voter, Instant::now()));
            assert_eq!(silence.may_speak(&vote), speaks, "{sets:?} {heard:?}");
        }
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
