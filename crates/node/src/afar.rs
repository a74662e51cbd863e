//! Requests whose keys several nodes hold: they go to the coordinator, at a level, and their
//! answers come by way of the [`Errands`](crate::Errands).
//!
//! Holds: what is written once is written once, however often the command runs. Where some keys
//! of a command were written and others were not, the command is answered as one that may have
//! happened.
//!
//! Does not know: who is asked, and how answers travel.

mod many;
mod way;

pub(crate) use many::Joined;

use crate::access::Access;
use crate::errand::{Reply, What};
use crate::keyspace::Keyspace;
use crate::naming::name_of;
use crate::refusal::{Code, Halt, Refusal, unknown};
use crate::request::{Answer as Given, Sink, Target, Updated};
use bytes::Bytes;
use shoal_core::quorum::{
    BatchOutcome, Forwarded, Found, Full, NoQuorum, Part, ReadOutcome, WriteOutcome,
};
use shoal_core::record::{OwnedBody, PLAIN};
use shoal_core::update::{Outcome, SetExpiry, Update, When};
use shoal_core::version::Millis;
use shoal_core::{Slot, Version};
use shoal_storage::Patience;
use std::sync::Arc;

/// What a question is about that has a key: the keyspace and the slot.
#[derive(Clone)]
pub(crate) struct Spot {
    pub(crate) keyspace: Arc<Keyspace>,
    pub(crate) slot: Slot,
}

/// A value, or the mark that there is none, and when it expires.
pub(crate) type Next = (OwnedBody, Option<Millis>);

/// One change of one key.
pub(crate) struct Wanted<'w, 'u> {
    pub(crate) key: &'w [u8],
    pub(crate) update: &'w Update<'u>,
    pub(crate) event_time: Option<Millis>,
    /// Whether the asker wants to know what was there before.
    pub(crate) look: bool,
}

impl<'n> Access<'n> {
    /// Whether the keys of `target` are held by several nodes, each of which answers for others
    /// too. What is done with many keys at once is best begun for all of them at once then.
    #[must_use]
    pub fn is_spread(&self, target: &Target) -> bool {
        self.routing.find(target).is_some_and(|keyspace| !keyspace.local)
    }

    /// Reads a key.
    pub(crate) fn read_afar(
        &mut self,
        spot: &Spot,
        key: &[u8],
        sink: &mut dyn Sink,
    ) -> Result<(), Halt> {
        if let Some(overlay) = &self.overlay
            && let Some(next) = overlay.find(spot, key)
        {
            let record = next.as_record();
            let live = record.as_ref().map(|record| record.borrow());
            let live = live.filter(|record| record.is_live_at(self.now));
            self.count_read(live.is_some());
            sink.answer(Given::Found(live));
            return Ok(());
        }
        let found = self.look(spot, key)?;
        let live = found.live();
        self.count_read(live.is_some());
        sink.answer(Given::Found(live.map(|record| record.borrow())));
        Ok(())
    }

    /// The newest record of a key.
    pub(crate) fn look(&mut self, spot: &Spot, key: &[u8]) -> Result<Found, Halt> {
        let way = self.to_read(spot);
        let reply = self.consult(What::Read, key, |key, ticket| {
            let (coordinator, about) = way.open()?;
            coordinator.read(&about, key, Box::new(|told| ticket.tell(Reply::Read(told))));
            Ok(())
        })?;
        let found = match reply {
            Reply::Read(ReadOutcome::Found(found)) => found,
            Reply::Read(ReadOutcome::NoQuorum(lack)) => return Err(self.lacking(&lack).into()),
            Reply::Refused(refusal) => return Err(refusal.into()),
            _ => return Err(unanswered().into()),
        };
        if let Some(overlay) = &mut self.overlay {
            overlay.saw(spot, key, found.live());
        }
        Ok(found)
    }

    fn count_read(&mut self, there: bool) {
        if there {
            self.counts.hits += 1;
        } else {
            self.counts.misses += 1;
        }
    }

    /// Changes a key.
    pub(crate) fn update_afar(
        &mut self,
        spot: &Spot,
        wanted: &Wanted<'_, '_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Halt> {
        if self.overlay.is_some() {
            return self.stage_afar(spot, wanted, sink);
        }
        let plain = self.plain(&spot.keyspace, wanted)?;
        let Wanted { key, update, event_time, .. } = *wanted;
        let Some(next) = plain else {
            if event_time.is_some() {
                let message = "among several nodes a change that depends on what is there takes \
                               no event time";
                return Err(Refusal::new(Code::BadRequest, message).into());
            }
            let reply = self.consult_update(spot, key, update, true)?;
            let (outcome, before, version) = self.changed(reply)?;
            self.counts.writes += u64::from(outcome != Outcome::Unmet);
            let before = before.as_ref().map(|record| record.borrow());
            sink.answer(Given::Updated(Updated { outcome, before, version, blind: false }));
            return Ok(());
        };
        let gone = matches!(next.0, OwnedBody::Tombstone);
        let way = self.to_write(spot);
        let reply =
            self.consult(What::Write, key, |key, ticket| way.write(key, next, event_time, ticket))?;
        let version = self.written(reply)?;
        self.counts.writes += 1;
        let version = Some(version).filter(|_| !gone);
        let outcome = Outcome::Done;
        sink.answer(Given::Updated(Updated { outcome, before: None, version, blind: true }));
        Ok(())
    }

    /// What a change comes to that asks nothing of what is there; `None` where it does.
    pub(crate) fn plain(
        &self,
        keyspace: &Keyspace,
        wanted: &Wanted<'_, '_>,
    ) -> Result<Option<Next>, Refusal> {
        let limit = self.node.config.max_value_bytes;
        if matches!(wanted.update, Update::Set { value, .. } if value.len() > limit) {
            let message = format!("a value is at most {limit} bytes long");
            return Err(Refusal::new(Code::ValueTooLarge, message));
        }
        if wanted.look {
            return Ok(None);
        }
        Ok(match *wanted.update {
            Update::Set { value, expiry, when: When::Always } => {
                let expires_at = match expiry {
                    SetExpiry::Keep => return Ok(None),
                    SetExpiry::Forever => None,
                    SetExpiry::Never => {
                        keyspace.default_ttl_ms().map(|ttl| self.now.saturating_add(ttl))
                    }
                    SetExpiry::At(at) if at <= self.now => {
                        return Ok(Some((OwnedBody::Tombstone, None)));
                    }
                    SetExpiry::At(at) => Some(at),
                };
                let bytes = Bytes::copy_from_slice(value);
                Some((OwnedBody::Live { kind: PLAIN, bytes }, expires_at))
            }
            // Whether there is something to remove is asked of nobody: an older event may come yet.
            Update::Delete { when: When::Always } if wanted.event_time.is_some() => {
                Some((OwnedBody::Tombstone, None))
            }
            _ => None,
        })
    }

    /// What comes of a change that is carried out where the key's changes are; with `look` what was
    /// there before is told.
    pub(crate) fn consult_update(
        &mut self,
        spot: &Spot,
        key: &[u8],
        update: &Update<'_>,
        look: bool,
    ) -> Result<Reply, Halt> {
        let way = self.to_write(spot);
        self.consult(What::Update, key, |key, ticket| way.update(key, update, look, ticket))
    }

    /// Begins to write records of one slot as one, `ahead` questions from now.
    pub(crate) fn begin_write(
        &mut self,
        ahead: usize,
        spot: &Spot,
        records: Vec<(Bytes, OwnedBody, Option<Millis>)>,
    ) -> Result<(), Halt> {
        let way = self.to_write(spot);
        let name = spot.slot.number().to_be_bytes();
        self.errands.foresee(ahead, What::Write, &name, false, |_, ticket| {
            let (coordinator, about) = way.open()?;
            let done = Box::new(|told| ticket.tell(Reply::Write(told)));
            let begun = coordinator.write(&about, records, done);
            begun.map_err(|error| Refusal::new(Code::ClockSkewed, error.to_string()))
        })
    }

    /// What came of [`Access::begin_write`], which is the next question.
    pub(crate) fn end_write(&mut self, spot: &Spot) -> Result<Result<Version, Refusal>, Halt> {
        let name = spot.slot.number().to_be_bytes();
        let reply = self.consult(What::Write, &name, |_, _| {
            Err(Refusal::new(Code::TryAgain, "the write was not begun; send it again"))
        })?;
        Ok(self.written(reply))
    }

    /// Judges and writes keys of one slot as one, and waits for what comes of it.
    pub(crate) fn consult_batch(
        &mut self,
        spot: &Spot,
        parts: Vec<Part>,
    ) -> Result<Result<(), Refusal>, Halt> {
        let way = self.to_write(spot);
        let name = spot.slot.number().to_be_bytes();
        let reply = self.consult(What::Batch, &name, |_, ticket| {
            let (coordinator, about) = way.open()?;
            coordinator.batch(&about, parts, Box::new(|told| ticket.tell(Reply::Batch(told))));
            Ok(())
        })?;
        Ok(self.batched(reply))
    }

    /// The answer to the command's next question: here where waiting is allowed, else by leaving.
    /// One that is there already is given whatever has become of the map since.
    pub(crate) fn consult(
        &mut self,
        what: What,
        key: &[u8],
        begin: impl FnOnce(Bytes, crate::errand::Ticket) -> Result<(), Refusal>,
    ) -> Result<Reply, Halt> {
        self.errands.bound_by(&self.node.answers);
        let mut reply = self.errands.ask(what, key, begin)?;
        if self.patience == Patience::Inline {
            return reply.ok_or(Halt::Away);
        }
        if reply.is_none() {
            self.errands.wait();
            reply = self.errands.last();
        }
        if matches!(what, What::Read | What::Walk) {
            // Who waits in place does not run again; what came of changes is kept all the same.
            self.errands.let_go();
        }
        Ok(reply.unwrap_or(Reply::Lost))
    }

    /// What came of a plain write.
    pub(crate) fn written(&self, reply: Reply) -> Result<Version, Refusal> {
        match reply {
            Reply::Write(WriteOutcome::Done { version }) => Ok(version),
            Reply::Write(WriteOutcome::Superseded { by }) => {
                let message = format!("version {by} is stored, which is newer");
                Err(Refusal::new(Code::Superseded, message))
            }
            Reply::Write(WriteOutcome::NoQuorum(lack)) => Err(self.lacking(&lack)),
            Reply::Write(WriteOutcome::Full(full)) => Err(without_room(full)),
            Reply::Write(WriteOutcome::Unknown { full: Some(full), .. }) => {
                let Refusal { message, .. } = without_room(full);
                Err(Refusal::new(Code::Unknown, format!("write may have happened: {message}")))
            }
            Reply::Refused(refusal) => Err(refusal),
            _ => Err(unknown()),
        }
    }

    /// What came of a conditional batch.
    fn batched(&self, reply: Reply) -> Result<(), Refusal> {
        match reply {
            Reply::Batch(BatchOutcome::Done { .. }) => Ok(()),
            Reply::Batch(BatchOutcome::Unmet | BatchOutcome::Conflict) => Err(conflict()),
            Reply::Batch(BatchOutcome::NoQuorum(lack)) => Err(self.lacking(&lack)),
            Reply::Batch(BatchOutcome::Elsewhere) => Err(elsewhere()),
            Reply::Batch(BatchOutcome::Full(full)) => Err(without_room(full)),
            Reply::Refused(refusal) => Err(refusal),
            _ => Err(unknown()),
        }
    }

    /// What came of a change: its outcome, what was there before, the version that is there now.
    pub(crate) fn changed(
        &self,
        reply: Reply,
    ) -> Result<(Outcome, Option<shoal_core::record::OwnedRecord>, Option<Version>), Refusal> {
        match reply {
            Reply::Update(Forwarded::Done { outcome, before, version }) => {
                Ok((outcome, before, version))
            }
            Reply::Update(Forwarded::Impossible(error)) => Err(error.into()),
            Reply::Update(Forwarded::Conflict) => Err(conflict()),
            Reply::Update(Forwarded::NoQuorum(lack)) => Err(self.lacking(&lack)),
            Reply::Update(Forwarded::Elsewhere) => Err(elsewhere()),
            Reply::Update(Forwarded::Full(full)) => Err(without_room(full)),
            Reply::Refused(refusal) => Err(refusal),
            _ => Err(unknown()),
        }
    }

    /// Too few answered; who did not is told by name.
    fn lacking(&self, lack: &NoQuorum) -> Refusal {
        let NoQuorum { have, need, unreachable } = lack;
        let mut message = format!("have {have} of {need} needed");
        for (index, id) in unreachable.iter().enumerate() {
            message += if index == 0 { ", unreachable: " } else { ", " };
            message += &name_of(&self.routing.map, *id);
        }
        Refusal::new(Code::NoQuorum, message)
    }
}

pub(crate) fn conflict() -> Refusal {
    Refusal::new(Code::Conflict, "others changed it every time; nothing was written")
}

fn elsewhere() -> Refusal {
    let message = "the node that carries out changes of this key has just changed";
    Refusal::new(Code::TryAgain, message)
}

/// What replicas are short of, under the code that a node alone gives.
fn without_room(full: Full) -> Refusal {
    match full {
        Full::Memory => Refusal::new(Code::MemoryFull, "replicas have met their bound on memory"),
        Full::Disk => Refusal::new(Code::DiskFull, "replicas' disks are down to their reserve"),
    }
}

fn unanswered() -> Refusal {
    Refusal::new(Code::TryAgain, "the other nodes did not answer in time")
}

#[cfg(test)]
mod tests;
