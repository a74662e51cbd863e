//! What other nodes are answered.
//!
//! Holds: every request has an answer, also one that cannot be read. Nothing that a peer sends
//! can stop the node: a proposal that cannot be read never gets into the log. A message that
//! claims to be another node's than the one it came from is not followed, and counted.

use super::MAX_COMMAND;
use super::parts::{Assembly, Part};
use super::propose::Attempt;
use super::store::RaftStore;
use super::types::{Proposal, Snapshot, SnapshotMeta, Vote};
use super::wire::{Answer, Request, decode, encode};
use shoal_core::ids::{MapVersion, NodeId};
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// A snapshot on its way in. One at a time: there is one leader.
#[derive(Debug)]
pub(super) struct Incoming {
    vote: Vote,
    meta: SnapshotMeta,
    parts: Assembly,
}

impl RaftStore {
    /// Answers what `from` sent through its `Wire`. May be called on any runtime.
    pub async fn serve(&self, from: NodeId, request: &[u8]) -> Vec<u8> {
        let answer = match decode::<Request>(request) {
            Ok(request) if !is_from(from, &request) => {
                self.disowned.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%from, "a peer sent a message in another's name; it is dropped");
                Answer::Failed("it is not the sender's own".to_owned())
            }
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
            Request::MapPart { since, of, offset } => {
                match self.known.map_part(since.into(), of.map(MapVersion::from), offset) {
                    Some((version, part)) => Answer::MapPart { version: version.into(), part },
                    None => Answer::MapGone,
                }
            }
            Request::Propose { proposal, since } => {
                self.take_forwarded(&proposal, since.into()).await
            }
            Request::Invite { index } => self.accept_invitation(index).await,
            request => self.answer_for_raft(request).await,
        }
    }

    async fn answer_for_raft(&self, request: Request) -> Answer {
        let Some(raft) = self.raft() else { return Answer::NoVoter };
        let answer = match request {
            Request::Append(entries) => {
                self.drop_incoming_unless(&entries.vote);
                raft.append_entries(entries).await.map(Answer::Append).map_err(|e| e.to_string())
            }
            Request::Vote(vote) => {
                raft.vote(vote).await.map(Answer::Vote).map_err(|e| e.to_string())
            }
            Request::PreVote(vote) => {
                raft.pre_vote(vote).await.map(Answer::Vote).map_err(|e| e.to_string())
            }
            Request::Snapshot { vote, meta, part } => {
                let bytes = match self.assemble(vote, &meta, &part) {
                    Assembled::Whole(bytes) => bytes,
                    Assembled::Part { have } => return Answer::SnapshotPart { have },
                    Assembled::TooLarge => return Answer::Failed("it is too large".to_owned()),
                };
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
            | Request::MapPart { .. }
            | Request::Propose { .. }
            | Request::Invite { .. } => Err("it is no message of Raft".to_owned()),
        };
        answer.unwrap_or_else(Answer::Failed)
    }

    /// Begins to take part in Raft, on the runtime on which it is to run.
    async fn accept_invitation(&self, index: u64) -> Answer {
        let Some(store) = self.this.upgrade() else {
            return Answer::Failed("it is being closed".to_owned());
        };
        let taking = self.runtime.spawn(async move { store.take_part(index).await });
        match taking.await {
            Ok(Ok(())) => Answer::Invited,
            Ok(Err(error)) => Answer::Failed(error.to_string()),
            Err(error) => Answer::Failed(error.to_string()),
        }
    }

    /// Puts a part of a snapshot to those that have come. The first part begins anew.
    fn assemble(&self, vote: Vote, meta: &SnapshotMeta, part: &Part) -> Assembled {
        let mut slot = self.incoming.lock();
        if part.offset == 0 {
            *slot = None;
            let Some(parts) = Assembly::of(part.total) else { return Assembled::TooLarge };
            *slot = Some(Incoming { vote, meta: meta.clone(), parts });
        }
        let is_of_it = |held: &&mut Incoming| held.vote == vote && held.meta == *meta;
        let Some(held) = slot.as_mut().filter(is_of_it) else {
            return Assembled::Part { have: 0 };
        };
        held.parts.add(part);
        if !held.parts.is_whole() {
            return Assembled::Part { have: held.parts.have() };
        }
        let whole = slot.take().map(|held| held.parts.into_bytes());
        whole.map_or(Assembled::Part { have: 0 }, Assembled::Whole)
    }

    /// What another leader had begun to send is not going to be finished.
    fn drop_incoming_unless(&self, vote: &Vote) {
        let mut slot = self.incoming.lock();
        if slot.as_ref().is_some_and(|held| held.vote != *vote) {
            *slot = None;
        }
    }

    async fn take_forwarded(&self, proposal: &Proposal, since: MapVersion) -> Answer {
        if proposal.command.len() > MAX_COMMAND {
            return Answer::Unfit("the change is too large".to_owned());
        }
        // What gets into the log has to be read by everyone, so it is read before.
        if let Err(error) = (self.read)(&proposal.command) {
            return Answer::Unfit(format!(
                "this version of Shoal does not know the change: {error}"
            ));
        }
        let deadline = Instant::now() + self.options.call_timeout();
        match self.put_in_order(proposal, deadline).await {
            Attempt::Done(outcome) => {
                Answer::Proposed { outcome, news: self.known.news(since, false) }
            }
            Attempt::NotTaken => Answer::NotTaken,
            Attempt::Open => Answer::Open,
            Attempt::Unfit(_, why) => Answer::Unfit(why),
        }
    }
}

/// What has become of a snapshot with one more part.
enum Assembled {
    Whole(Vec<u8>),
    Part { have: u64 },
    TooLarge,
}

/// Whether `request`, where it says whose it is, is `from`'s.
fn is_from(from: NodeId, request: &Request) -> bool {
    let speaker = |vote: &Vote| vote.leader_id().node_id;
    let whose = match request {
        Request::Append(entries) => speaker(&entries.vote),
        Request::Vote(vote) | Request::PreVote(vote) => speaker(&vote.vote),
        Request::Snapshot { vote, .. } => speaker(vote),
        Request::Transfer(transfer) => speaker(transfer.from_leader()),
        Request::Propose { proposal, .. } => return proposal.proposer() == Some(from),
        Request::WhoLeads
        | Request::Pull { .. }
        | Request::MapPart { .. }
        | Request::Invite { .. } => return true,
    };
    whose == u64::from(from.0)
}
