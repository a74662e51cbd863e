//! What other nodes are answered.
//!
//! Holds: every request has an answer, also one that cannot be read. Nothing that a peer sends
//! can stop the node: a proposal that cannot be read never gets into the log.

use super::MAX_COMMAND;
use super::propose::Attempt;
use super::store::RaftStore;
use super::types::{Proposal, Snapshot};
use super::wire::{Answer, Request, decode, encode};
use shoal_core::codec;
use shoal_core::ids::{MapVersion, NodeId};
use tokio::time::Instant;

impl RaftStore {
    /// Answers what `from` sent through its `Wire`.
    pub async fn serve(&self, from: NodeId, request: &[u8]) -> Vec<u8> {
        let answer = match decode::<Request>(request) {
            Ok(request) => self.answer(request).await,
            Err(error) => {
                tracing::warn!(%from, %error, "a peer asked what cannot be read");
                Answer::Failed(error.to_string())
            }
        };
        encode(&answer).unwrap_or_else(|error| {
            let failed = encode(&Answer::Failed(error.to_string()));
            failed.unwrap_or_default()
        })
    }

    async fn answer(&self, request: Request) -> Answer {
        match request {
            Request::WhoLeads => {
                let confirmed = self.leads_now().await;
                let news = self.known.news(self.known.version(), false);
                Answer::Leads { confirmed, news }
            }
            Request::Pull { since, whole } => {
                Answer::News(self.known.news(MapVersion::from(since), whole))
            }
            Request::Propose { proposal, since } => {
                self.take_forwarded(&proposal, since.into()).await
            }
            Request::Invite { index } => match self.take_part(index).await {
                Ok(()) => Answer::Invited,
                Err(error) => Answer::Failed(error.to_string()),
            },
            request => self.answer_for_raft(request).await,
        }
    }

    async fn answer_for_raft(&self, request: Request) -> Answer {
        let Some(raft) = self.raft() else { return Answer::NoVoter };
        let answer = match request {
            Request::Append(entries) => {
                raft.append_entries(entries).await.map(Answer::Append).map_err(|e| e.to_string())
            }
            Request::Vote(vote) => {
                raft.vote(vote).await.map(Answer::Vote).map_err(|e| e.to_string())
            }
            Request::PreVote(vote) => {
                raft.pre_vote(vote).await.map(Answer::Vote).map_err(|e| e.to_string())
            }
            Request::Snapshot { vote, meta, bytes } => {
                let snapshot = Snapshot { meta, snapshot: bytes };
                let installed = raft.install_full_snapshot(vote, snapshot).await;
                installed.map(Answer::Snapshot).map_err(|e| e.to_string())
            }
            Request::Transfer(transfer) => {
                let taken = raft.handle_transfer_leader(transfer).await;
                taken.map(|taken| Answer::Transfer(taken.is_ok())).map_err(|e| e.to_string())
            }
            Request::WhoLeads
            | Request::Pull { .. }
            | Request::Propose { .. }
            | Request::Invite { .. } => Err("it is no message of Raft".to_owned()),
        };
        answer.unwrap_or_else(Answer::Failed)
    }

    async fn take_forwarded(&self, proposal: &Proposal, since: MapVersion) -> Answer {
        if proposal.command.len() > MAX_COMMAND {
            return Answer::Failed("the command is too large".to_owned());
        }
        if let Err(error) = codec::command::decode(&proposal.command) {
            return Answer::Failed(format!("the command cannot be read: {error}"));
        }
        let deadline = Instant::now() + self.options.call_timeout();
        match self.put_in_order(proposal, deadline).await {
            Attempt::Done(outcome) => {
                Answer::Proposed { outcome, news: self.known.news(since, false) }
            }
            Attempt::NotTaken => Answer::NotTaken,
            Attempt::Open => Answer::Open,
        }
    }
}
