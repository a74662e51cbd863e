//! Raft's state machine: applies the log to the state and shows the maps.
//!
//! Holds: the state in memory is the newest snapshot plus the entries since, which are durable
//! and known to be committed before they are applied; a restart leads to the same state again.
//! The kept snapshot only goes forward. An entry that cannot be followed ends Raft here, by name,
//! and the state stays what it was before it.
//!
//! Does not know: who proposed what.

use super::file::{RaftFile, fact};
use super::known::Known;
use super::state::{ReadCommand, State, StateError};
use super::types::{LogId, Outcome, Proposal, Snapshot, SnapshotMeta, StoredMembership, Types};
use super::wire::Members;
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use std::io;
use std::sync::Arc;

/// The state machine of one voter.
#[derive(Debug)]
pub(super) struct Machine {
    file: Arc<RaftFile>,
    known: Arc<Known>,
    applied: Option<LogId>,
    membership: StoredMembership,
    state: State,
    read: ReadCommand,
}

/// A snapshot as it is kept: what it covers, and the state's bytes.
type Kept = (SnapshotMeta, Vec<u8>);

impl Machine {
    /// The state as of the newest snapshot; Raft applies the rest.
    ///
    /// # Errors
    /// Where the snapshot is damaged.
    pub(super) fn open(
        file: Arc<RaftFile>,
        known: Arc<Known>,
        read: ReadCommand,
    ) -> io::Result<Self> {
        let kept: Option<Kept> = file.get(fact::SNAPSHOT)?;
        let (meta, state) = match kept {
            Some((meta, bytes)) => (meta, State::decode(&bytes).map_err(broken)?),
            None => (SnapshotMeta::default(), State::default()),
        };
        let applied = meta.last_log_id;
        let membership = meta.last_membership;
        let machine = Self { file, known, applied, membership, state, read };
        machine.show(None);
        Ok(machine)
    }

    fn show(&self, command: Option<&[u8]>) {
        self.known.show(self.state.map(), command);
        self.known.hear_members(&Members::of(&self.membership));
    }

    fn take(&mut self, proposal: &Proposal) -> io::Result<Outcome> {
        let effect = self.state.take(proposal, self.read).map_err(|error| {
            // Raft only says that it has ended.
            self.known.fail(&error.to_string());
            broken(error)
        })?;
        if let Some(refusal) = effect.refusal {
            self.known.note_refusal(proposal.id, refusal);
        }
        if effect.changed {
            self.known.show(self.state.map(), Some(&proposal.command));
        }
        Ok(effect.outcome)
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let outcome = match entry.payload {
                EntryPayload::Blank => Outcome::Nothing,
                EntryPayload::Normal(proposal) => self.take(&proposal)?,
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    self.known.hear_members(&Members::of(&self.membership));
                    Outcome::Nothing
                }
            };
            self.applied = Some(entry.log_id);
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta =
            SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Builder { file: Arc::clone(&self.file), meta, state: self.state.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, bytes: Vec<u8>) -> io::Result<()> {
        let state = State::decode(&bytes).map_err(broken)?;
        self.file.put(fact::SNAPSHOT, &(meta, bytes))?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.state = state;
        self.show(None);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let kept: Option<Kept> = self.file.get(fact::SNAPSHOT)?;
        Ok(kept.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Writes a snapshot of the moment at which it was made.
#[derive(Debug)]
pub(super) struct Builder {
    file: Arc<RaftFile>,
    meta: SnapshotMeta,
    state: State,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let snapshot = self.state.encode().map_err(broken)?;
        self.file.change(|change| {
            // One that came from the leader in the meantime may be ahead.
            let kept: Option<Kept> = change.get(fact::SNAPSHOT)?;
            if let Some((meta, snapshot)) = kept
                && meta.last_log_id > self.meta.last_log_id
            {
                return Ok(Snapshot { meta, snapshot });
            }
            change.put(fact::SNAPSHOT, &(&self.meta, &snapshot))?;
            Ok(Snapshot { meta: self.meta.clone(), snapshot })
        })
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn broken(error: StateError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::vote::{RaftLeaderIdExt, leader_id_adv::LeaderId};
    use shoal_core::codec;
    use std::thread;

    fn meta(index: u64) -> SnapshotMeta {
        let last_log_id = Some(LogId::new(LeaderId::new_committed(1, 1), index));
        SnapshotMeta { last_log_id, ..SnapshotMeta::default() }
    }

    /// A snapshot is installed while an older one is being built: the older one is not kept.
    #[test]
    fn a_snapshot_that_comes_while_one_is_built_stays() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = RaftFile::create(&directory.path().join("map.raft"), |_| Ok(()));
        let file = Arc::new(file.expect("a new file"));
        let known = Arc::new(Known::new(Arc::default(), Members::default(), 1 << 20));
        let mut machine = Machine::open(Arc::clone(&file), known, codec::command::decode);
        let machine = machine.as_mut().expect("an empty one");
        machine.applied = meta(1).last_log_id;
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.build().expect("a runtime")
        };
        let mut builder = runtime().block_on(machine.get_snapshot_builder());
        let newer = State::default().encode().expect("it has a form");
        let building = file
            .change(|change| {
                let built = thread::spawn(move || runtime().block_on(builder.build_snapshot()));
                // Whether or not it has looked by now what is there.
                (0..10_000).for_each(|_| thread::yield_now());
                change.put(fact::SNAPSHOT, &(meta(5), newer))?;
                Ok(built)
            })
            .expect("it can be written");
        let built = building.join().expect("no panic").expect("it can be written");
        assert_eq!(built.meta, meta(5), "the newer one is what there is");
        let kept: Option<Kept> = file.get(fact::SNAPSHOT).expect("it can be read");
        assert_eq!(kept.expect("there is one").0, meta(5));
    }
}
