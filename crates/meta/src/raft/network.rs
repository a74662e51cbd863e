//! Raft's own messages over the [`Wire`].
//!
//! Does not know: where the nodes are.

use super::parts::Part;
use super::silence::Silence;
use super::types::{Snapshot, Types, Vote};
use super::wire::{Answer, MessageError, Request, Wire, WireError, decode, encode};
use bytes::Bytes;
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{RPCOption, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, RPCTypes, RaftNetworkFactory};
use shoal_core::ids::NodeId;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Makes the ways to other voters.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) from: NodeId,
    pub(super) silence: Arc<Silence>,
    pub(super) wire: Arc<dyn Wire>,
    /// How many bytes of a snapshot one message carries.
    pub(super) part_bytes: usize,
}

/// How often a part may be sent that brings the snapshot no further before it is given up.
const VAIN_PARTS: usize = 3;

impl RaftNetworkFactory<Types> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Way {
        let (silence, wire) = (Arc::clone(&self.silence), Arc::clone(&self.wire));
        let part_bytes = self.part_bytes;
        Way { from: self.from, to: target, silence, wire, part_bytes }
    }
}

/// The way to one other voter.
pub(super) struct Way {
    from: NodeId,
    to: u64,
    silence: Arc<Silence>,
    wire: Arc<dyn Wire>,
    part_bytes: usize,
}

type Failed = RPCError<Types>;

impl Way {
    /// Asks as a leader, who may have to be silent.
    async fn ask_leading(
        &self,
        vote: Vote,
        request: &Request,
        action: RPCTypes,
        limit: Duration,
    ) -> Result<Answer, Failed> {
        if !self.silence.may_speak(&vote) {
            return Err(unreachable("no majority is heard: others may elect a leader"));
        }
        let sent = Instant::now();
        let answer = self.ask(request, action, limit).await?;
        self.silence.hear(&vote, self.to, sent);
        Ok(answer)
    }

    /// Sends a snapshot, part by part, each when the one before has come.
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: &Snapshot,
        limit: Duration,
    ) -> Result<SnapshotResponse<Types>, Failed> {
        let (mut offset, mut vain) = (0, 0);
        while vain < VAIN_PARTS {
            let part = Part::of(&snapshot.snapshot, offset, self.part_bytes);
            let part = part.ok_or_else(unexpected)?;
            let meta = snapshot.meta.clone();
            let request = Request::Snapshot { vote, meta, part };
            match self.ask_leading(vote, &request, RPCTypes::InstallSnapshot, limit).await? {
                Answer::Snapshot(answer) => return Ok(answer),
                Answer::SnapshotPart { have } => {
                    vain += usize::from(have <= offset);
                    offset = have;
                }
                _ => return Err(unexpected()),
            }
        }
        Err(NetworkError::from_string("it does not take the snapshot's parts").into())
    }

    /// Asks, and waits no longer than `limit`.
    async fn ask(
        &self,
        request: &Request,
        action: RPCTypes,
        limit: Duration,
    ) -> Result<Answer, Failed> {
        let to = u32::try_from(self.to).map(NodeId).map_err(|_| unreachable("no node's id"))?;
        let request = encode(request).map_err(|error| network(&error))?;
        let call = self.wire.call(to, Bytes::from(request));
        let answer = match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(WireError::Unreachable(why))) => return Err(unreachable(&why)),
            Ok(Err(WireError::Lost(why))) => {
                return Err(NetworkError::from_string(why).into());
            }
            Err(_) => {
                let (id, target) = (u64::from(self.from.0), self.to);
                return Err(Timeout { action, id, target, timeout: limit }.into());
            }
        };
        match decode(&answer).map_err(|error| network(&error))? {
            // Asking again soon would not help.
            Answer::NoVoter => Err(unreachable("it does not run Raft")),
            Answer::Failed(why) => Err(unreachable(&why)),
            answer => Ok(answer),
        }
    }
}

impl RaftNetworkV2<Types> for Way {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, Failed> {
        let vote = request.vote;
        let request = Request::Append(request);
        let (action, limit) = (RPCTypes::AppendEntries, option.hard_ttl());
        match self.ask_leading(vote, &request, action, limit).await? {
            Answer::Append(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, Failed> {
        match self.ask(&Request::Vote(request), RPCTypes::Vote, option.hard_ttl()).await? {
            Answer::Vote(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, Failed> {
        match self.ask(&Request::PreVote(request), RPCTypes::Vote, option.hard_ttl()).await? {
            Answer::Vote(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            answer = self.send_snapshot(vote, &snapshot, option.hard_ttl()) => Ok(answer?),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, Failed> {
        let request = Request::Transfer(request);
        match self.ask(&request, RPCTypes::TransferLeader, option.hard_ttl()).await? {
            Answer::Transfer(true) => Ok(Ok(())),
            Answer::Transfer(false) => Err(unreachable("it will not lead now")),
            _ => Err(unexpected()),
        }
    }
}

fn unreachable(why: &str) -> Failed {
    Unreachable::from_string(why).into()
}

fn network(error: &MessageError) -> Failed {
    NetworkError::from_string(error).into()
}

fn unexpected() -> Failed {
    NetworkError::from_string("the answer is to something else").into()
}
