//! How the set of voters changes.
//!
//! Holds: one change at a time. A new voter runs Raft and has caught up as a learner before it
//! gets a voice, so that a change never makes a majority harder to find than it must. One that
//! does not catch up in time is sent away again.
//!
//! Does not know: who should be a voter; the planner chooses.

use super::propose::Unanswered;
use super::store::{Raft, RaftStore};
use super::types::Types;
use super::wire::{Answer, Request};
use crate::MetaError;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::{ChangeMembers, EmptyNode};
use shoal_core::ids::NodeId;
use shoal_core::map::NodeState;
use std::collections::BTreeSet;
use tokio::time::{Instant, timeout_at};

/// The most voters there may be: more make every change slower and no cluster safer.
pub const MAX_VOTERS: usize = 5;

type Changed = Result<ClientWriteResponse<Types>, RaftError<Types, ClientWriteError<Types>>>;

impl RaftStore {
    /// Makes `wanted` the voters. Only at the leader; a repetition does no harm.
    ///
    /// # Errors
    /// [`MetaError::NotLeader`] where another node leads, or none: nothing changed.
    /// [`MetaError::Voters`] where the set is not possible, another change is being made, or a
    /// new voter cannot be reached or does not catch up: the voters are as they were, or, after
    /// a majority was lost meanwhile, on their way.
    pub async fn set_voters(&self, wanted: BTreeSet<NodeId>) -> Result<(), MetaError> {
        let Ok(_changing) = self.changing.try_lock() else {
            return Err(refused("another change of the voters is being made"));
        };
        if !self.leads_now().await {
            return Err(self.not_leader());
        }
        self.check_voters(&wanted)?;
        let Some(raft) = self.raft() else { return Err(self.not_leader()) };
        let deadline = Instant::now() + self.options.catch_up_deadline;
        let present: BTreeSet<NodeId> = ids(raft.voter_ids());
        for node in wanted.difference(&present) {
            self.bring_in(&raft, *node, deadline).await?;
        }
        let ids = wanted.iter().map(|node| u64::from(node.0)).collect::<BTreeSet<u64>>();
        let change = raft.change_membership(ids, false);
        self.changed(timeout_at(deadline, change).await.ok(), "the voters did not agree in time")?;
        // Whoever an earlier change left half-way is no part of this one.
        for node in ids_of_learners(&raft) {
            self.send_away(&raft, node, deadline).await;
        }
        Ok(())
    }

    fn check_voters(&self, wanted: &BTreeSet<NodeId>) -> Result<(), MetaError> {
        if wanted.is_empty() || wanted.len() > MAX_VOTERS {
            return Err(refused(&format!("there must be 1 to {MAX_VOTERS} of them")));
        }
        let map = self.known.map();
        let is_member =
            |node: &NodeId| map.nodes.get(node).is_some_and(|info| info.state == NodeState::Member);
        match wanted.iter().find(|node| !is_member(node)) {
            Some(node) => Err(refused(&format!("{node} is no member of the cluster"))),
            None => Ok(()),
        }
    }

    /// Makes `node` a learner that has caught up.
    async fn bring_in(
        &self,
        raft: &Raft,
        node: NodeId,
        deadline: Instant,
    ) -> Result<(), MetaError> {
        let index = raft.metrics().borrow_watched().last_log_index.unwrap_or(0);
        match self.ask(node, &Request::Invite { index }).await {
            Ok(Answer::Invited) => {}
            Ok(Answer::Failed(why)) => return Err(refused(&format!("{node}: {why}"))),
            Ok(_) => return Err(refused(&format!("{node} does not know what was asked"))),
            Err(Unanswered::NotSent(why) | Unanswered::Lost(why)) => {
                return Err(refused(&format!("{node} does not answer: {why}")));
            }
        }
        let learn = raft.add_learner(u64::from(node.0), EmptyNode::new(), true);
        let learned = timeout_at(deadline, learn).await;
        let late = learned.is_err();
        let learned = self.changed(learned.ok(), &format!("{node} did not catch up in time"));
        if late {
            let soon = Instant::now() + self.options.call_timeout();
            self.send_away(raft, node, soon).await;
        }
        learned
    }

    /// Makes `node` no learner any more; where that fails the next change does it.
    async fn send_away(&self, raft: &Raft, node: NodeId, deadline: Instant) {
        let gone = ChangeMembers::RemoveNodes(BTreeSet::from([u64::from(node.0)]));
        let change = timeout_at(deadline, raft.change_membership(gone, false)).await;
        if let Err(error) = self.changed(change.ok(), "the voters did not agree in time") {
            tracing::warn!(%node, %error, "a learner is left over");
        }
    }

    fn changed(&self, changed: Option<Changed>, late: &str) -> Result<(), MetaError> {
        match changed {
            Some(Ok(_)) => Ok(()),
            None => Err(refused(late)),
            Some(Err(RaftError::APIError(
                ClientWriteError::ForwardToLeader(_) | ClientWriteError::LogEntryDiscarded(_),
            ))) => Err(self.not_leader()),
            Some(Err(error)) => Err(refused(&error.to_string())),
        }
    }

    fn not_leader(&self) -> MetaError {
        let leader = self.known.leadership().borrow().leader;
        MetaError::NotLeader { leader: leader.filter(|leader| *leader != self.node) }
    }
}

fn ids(of: impl Iterator<Item = u64>) -> BTreeSet<NodeId> {
    of.filter_map(|id| u32::try_from(id).ok()).map(NodeId).collect()
}

fn ids_of_learners(raft: &Raft) -> BTreeSet<NodeId> {
    ids(raft.learner_ids())
}

fn refused(why: &str) -> MetaError {
    MetaError::Voters { why: why.to_owned() }
}
