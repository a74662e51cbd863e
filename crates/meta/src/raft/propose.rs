//! How a change of the map gets to the leader and its outcome back.
//!
//! The proposer first asks the voters who leads. The leader says so only once a majority has
//! confirmed it at that moment; then the proposal is sent. A proposer without a majority within
//! reach has therefore sent nothing, and says so instead of "unknown".
//!
//! Holds: a proposal is sent again, under the same id, until its outcome is known or the
//! deadline is over; the state takes it once. Nobody waits beyond the deadline.

use super::store::RaftStore;
use super::types::{Outcome, Proposal};
use super::wire::{Answer, Request, WireError, decode, encode};
use super::{MAX_COMMAND, MAX_MESSAGE};
use crate::{MapStore, MetaError};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use openraft::ReadPolicy;
use openraft::errors::{ClientWriteError, RaftError};
use shoal_core::codec;
use shoal_core::ids::{MapVersion, NodeId};
use shoal_core::map::{ClusterMap, Command, MapError};
use std::sync::Arc;
use std::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// How many nodes are asked at once who leads; there are at most five voters, but a node that
/// does not know them asks members.
const ASKED: usize = 16;

/// The part of a heartbeat after which a proposal is tried a second time: a link that is just being
/// made takes no longer. Every further pause is twice as long, up to a heartbeat.
const FIRST_PAUSE: u32 = 16;

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The log has it, and this came of it.
    Done(Outcome),
    /// It was not taken up.
    NotTaken,
    /// It may have been taken up.
    Open,
    /// It was not taken up, and never will be by that node: why.
    Unfit(NodeId, String),
}

impl RaftStore {
    /// Applies `command` at the voters and gives the map with it, or a newer one.
    ///
    /// # Errors
    /// [`MetaError::Refused`] where the map does not allow it. [`MetaError::NoMajority`] where
    /// nobody could put it in order within the deadline: nothing changed.
    /// [`MetaError::Unknown`] where it was sent and not confirmed within the deadline.
    /// [`MetaError::InDoubt`] where the node cannot take part until it is restarted, and
    /// [`MetaError::File`] where the command is too large: nothing was sent. [`MetaError::Peer`]
    /// where the leader runs a version of Shoal that does not know the command: nothing changed.
    pub async fn propose_async(&self, command: &Command) -> Result<Arc<ClusterMap>, MetaError> {
        let deadline = Instant::now() + self.options.proposal_deadline;
        let bytes = codec::command::encode(command);
        if bytes.len() > MAX_COMMAND {
            let what = format!(
                "a change of {} bytes is too large, it may have {MAX_COMMAND}",
                bytes.len()
            );
            return Err(MetaError::File { file: self.file.path().display().to_string(), what });
        }
        loop {
            let proposal = Proposal {
                id: self.name_proposal(),
                base: self.known.version().index,
                command: bytes.clone(),
            };
            let (outcome, open) = self.settle(&proposal, deadline).await?;
            match outcome {
                Outcome::Applied(at) => return self.reach(at.into(), deadline).await,
                Outcome::Refused(at) => {
                    self.reach(at.into(), deadline).await?;
                    if let Some(why) = self.refusal(&proposal, command) {
                        return Err(why.into());
                    }
                }
                // An earlier copy may have been taken and forgotten since.
                Outcome::Late if open => return Err(self.unknown()),
                Outcome::Late | Outcome::Nothing => {}
            }
            // The map has moved on since: the refusal is not true any more, or this node's map
            // was far behind. It is a new proposal then.
            if Instant::now() >= deadline {
                return Err(self.no_majority());
            }
            self.catch_up(deadline).await;
        }
    }

    /// Sends the proposal until its outcome is known. Also, whether a copy was lost on the way.
    async fn settle(
        &self,
        proposal: &Proposal,
        deadline: Instant,
    ) -> Result<(Outcome, bool), MetaError> {
        let (mut open, mut pause) = (false, self.options.heartbeat / FIRST_PAUSE);
        loop {
            if let Some(doubt) = self.in_doubt() {
                return Err(if open { self.unknown() } else { doubt });
            }
            let attempt = match timeout_at(deadline, self.find_leader()).await {
                Ok(Some(leader)) if leader == self.node => {
                    self.put_in_order(proposal, deadline).await
                }
                Ok(Some(leader)) => self.forward(leader, proposal, deadline).await,
                Ok(None) | Err(_) => Attempt::NotTaken,
            };
            match attempt {
                Attempt::Done(outcome) => return Ok((outcome, open)),
                Attempt::Open => open = true,
                Attempt::NotTaken => {}
                Attempt::Unfit(..) if open => return Err(self.unknown()),
                Attempt::Unfit(node, what) => return Err(MetaError::Peer { node, what }),
            }
            let again = Instant::now() + pause;
            pause = (pause * 2).min(self.options.heartbeat);
            if again >= deadline {
                sleep_until(deadline).await;
                return Err(if open { self.unknown() } else { self.no_majority() });
            }
            sleep_until(again).await;
        }
    }

    /// The node that leads, confirmed by a majority just now; none where no majority is in reach.
    pub async fn find_leader(&self) -> Option<NodeId> {
        if self.leads_now().await {
            return Some(self.node);
        }
        let mut asked: Vec<_> = self.known.candidates().into_iter().collect();
        // Where the voters are not known the members are many; not always the same are asked.
        fastrand::shuffle(&mut asked);
        asked.retain(|node| *node != self.node);
        asked.truncate(ASKED);
        if let Some(leader) = self.known.leadership().borrow().leader
            && leader != self.node
            && !asked.contains(&leader)
        {
            asked.push(leader);
        }
        let mut answers: FuturesUnordered<_> =
            asked.into_iter().map(|node| self.ask_whether_it_leads(node)).collect();
        while let Some(answer) = answers.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    async fn ask_whether_it_leads(&self, node: NodeId) -> Option<NodeId> {
        match self.ask(node, &Request::WhoLeads).await {
            Ok(Answer::Leads { confirmed, news }) => {
                // It says who the voters are too.
                let _its_map_is_pulled_elsewhere = self.adopt(node, news);
                confirmed.then_some(node)
            }
            _ => None,
        }
    }

    /// Whether this node leads and a majority follows it at this moment.
    pub(super) async fn leads_now(&self) -> bool {
        let Some(raft) = self.raft() else { return false };
        if self.status().role != super::Role::Leader {
            return false;
        }
        let confirm = raft.get_read_log_id(ReadPolicy::ReadIndex);
        matches!(timeout(self.options.call_timeout(), confirm).await, Ok(Ok(_)))
    }

    /// Puts the proposal into the log, as the leader.
    pub(super) async fn put_in_order(&self, proposal: &Proposal, deadline: Instant) -> Attempt {
        let Some(raft) = self.raft() else { return Attempt::NotTaken };
        match timeout_at(deadline, raft.client_write(proposal.clone())).await {
            Ok(Ok(written)) => Attempt::Done(written.data),
            Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => Attempt::Open,
            Ok(Err(RaftError::APIError(_))) => Attempt::NotTaken,
            Ok(Err(RaftError::Fatal(_))) | Err(_) => Attempt::Open,
        }
    }

    async fn forward(&self, leader: NodeId, proposal: &Proposal, deadline: Instant) -> Attempt {
        let since = self.known.version().into();
        let request = Request::Propose { proposal: proposal.clone(), since };
        let Ok(answer) = timeout_at(deadline, self.ask(leader, &request)).await else {
            return Attempt::Open;
        };
        match answer {
            Ok(Answer::Proposed { outcome, news }) => {
                if self.adopt(leader, news).is_err() || self.behind(outcome) {
                    self.catch_up_from(leader, deadline).await;
                }
                Attempt::Done(outcome)
            }
            Ok(Answer::NotTaken) | Err(Unanswered::NotSent(_)) => Attempt::NotTaken,
            Ok(Answer::Unfit(why)) => Attempt::Unfit(leader, why),
            // Only what says so did not happen: it may have failed after it was taken up.
            Ok(_) | Err(Unanswered::Lost(_)) => Attempt::Open,
        }
    }

    fn behind(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Applied(at) | Outcome::Refused(at) => {
                self.known.version() < MapVersion::from(at)
            }
            Outcome::Late => true,
            Outcome::Nothing => false,
        }
    }

    /// Why `command` was refused, as long as it would still be.
    fn refusal(&self, proposal: &Proposal, command: &Command) -> Option<MapError> {
        let remembered = self.known.refusal(proposal.id);
        remembered.or_else(|| self.known.map().apply(command).err())
    }

    /// Waits until the map of `version` is here.
    async fn reach(
        &self,
        version: MapVersion,
        deadline: Instant,
    ) -> Result<Arc<ClusterMap>, MetaError> {
        let mut maps = self.known.maps();
        match timeout_at(deadline, maps.wait_for(|map| map.version >= version)).await {
            Ok(Ok(map)) => Ok(Arc::clone(&map)),
            _ => Err(self.unknown()),
        }
    }

    /// Asks `node` and waits for its answer, for as long as one question may take.
    pub(super) async fn ask(&self, node: NodeId, request: &Request) -> Result<Answer, Unanswered> {
        let limit = self.options.call_timeout();
        let request = encode(request).map_err(|error| Unanswered::NotSent(error.to_string()))?;
        debug_assert!(request.len() <= MAX_MESSAGE, "encode refuses what is larger");
        let answer = match timeout(limit, self.wire.call(node, Bytes::from(request))).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(WireError::Unreachable(why))) => return Err(Unanswered::NotSent(why)),
            Ok(Err(WireError::Lost(why))) => return Err(Unanswered::Lost(why)),
            Err(_) => return Err(Unanswered::Lost(format!("no answer within {limit:?}"))),
        };
        decode(&answer).map_err(|error| Unanswered::Lost(error.to_string()))
    }

    fn no_majority(&self) -> MetaError {
        MetaError::NoMajority { voters: self.known.candidates().into_iter().collect() }
    }

    fn unknown(&self) -> MetaError {
        MetaError::Unknown { voters: self.known.candidates().into_iter().collect() }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Nothing arrived.
    NotSent(String),
    /// The request may have arrived.
    Lost(String),
}

impl MapStore for RaftStore {
    fn current(&self) -> Arc<ClusterMap> {
        self.known.map()
    }

    fn in_doubt(&self) -> Option<MetaError> {
        let file = || self.file.path().display().to_string();
        self.known.failure().map(|what| MetaError::InDoubt { file: file(), what })
    }

    /// Must not be called on a thread of the runtime that the store was opened on.
    fn propose(&self, command: &Command) -> Result<Arc<ClusterMap>, MetaError> {
        let Some(store) = self.this.upgrade() else { return Err(self.no_majority()) };
        let (sender, receiver) = mpsc::sync_channel(1);
        let command = command.clone();
        self.runtime.spawn(async move {
            // The receiver waits longer than this takes, unless its thread is gone.
            let _nobody_waits_any_more = sender.send(store.propose_async(&command).await);
        });
        // Twice, since only the runtime keeps the deadline exactly; and then it is stuck.
        match receiver.recv_timeout(self.options.proposal_deadline * 2) {
            Ok(outcome) => outcome,
            Err(_) => Err(self.unknown()),
        }
    }
}
