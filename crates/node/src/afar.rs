//! Requests whose keys several nodes hold: they go to the coordinator, at a level, and their
//! answers come by way of the [`Errands`](crate::Errands).
//!
//! Holds: what is written once is written once, however often the command runs. Where some keys
//! of a command were written and others were not, the command is answered as one that may have
//! happened.
//!
//! Does not know: who is asked, and how answers travel.

use crate::access::Access;
use crate::coordinator::{About, Coordinator};
use crate::errand::{AT_ONCE, Reply, What};
use crate::keyspace::Keyspace;
use crate::refusal::{Code, Halt, Refusal};
use crate::request::{Answer as Given, Sink, Target, Updated};
use bytes::Bytes;
use shoal_core::quorum::{Forwarded, Found, Level, NoQuorum, ReadOutcome, WriteOutcome};
use shoal_core::record::{OwnedBody, PLAIN};
use shoal_core::update::{Outcome, OwnedUpdate, SetExpiry, Update, When};
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

    /// Begins to read keys that this command is about to read one after the other, so that their
    /// answers come side by side. Where they are at hand anyway it does nothing.
    ///
    /// # Errors
    /// [`Code::TryAgain`]: the command asked for other keys before.
    pub fn ahead<'k>(
        &mut self,
        target: &Target,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<(), Halt> {
        self.begin_reads(target, keys, false)
    }

    /// The same for keys that commands to come will read, each one of them, in this order and with
    /// nothing in between.
    pub fn ahead_of_commands<'k>(&mut self, target: &Target, keys: impl Iterator<Item = &'k [u8]>) {
        // What was begun for a command before is dropped if it does not fit, and asked anew.
        let _ = self.begin_reads(target, keys, true);
    }

    fn begin_reads<'k>(
        &mut self,
        target: &Target,
        keys: impl Iterator<Item = &'k [u8]>,
        later: bool,
    ) -> Result<(), Halt> {
        if self.overlay.is_some() {
            return Ok(());
        }
        let Some(keyspace) = self.routing.find(target).filter(|k| !k.local).map(Arc::clone) else {
            return Ok(());
        };
        for (ahead, key) in keys.take(AT_ONCE).enumerate() {
            if !crate::access::key_is_good(key) {
                break;
            }
            let spot = Spot { keyspace: Arc::clone(&keyspace), slot: Slot::of(key) };
            let (coordinator, about) = self.reading(&spot)?;
            self.errands.foresee(ahead, What::Read, key, later, |key, ticket| {
                coordinator.read(&about, key, Box::new(|told| ticket.tell(Reply::Read(told))));
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Removes keys, all at once, and says how many there were.
    ///
    /// # Errors
    /// As [`Access::run`]; [`Code::Unknown`] where some of them were removed and others not.
    pub fn remove_all<'k>(
        &mut self,
        target: &Target,
        keys: impl Iterator<Item = &'k [u8]> + Clone,
    ) -> Result<i64, Halt> {
        let update = Update::Delete { when: When::Always };
        let Some(keyspace) = self.routing.find(target).map(Arc::clone) else { return Ok(0) };
        let mut keys = keys.peekable();
        let (mut count, mut joined) = (0, Joined::default());
        let mut begun = 0;
        while let Some(key) = keys.peek().copied() {
            let spot = |key| Spot { keyspace: Arc::clone(&keyspace), slot: Slot::of(key) };
            if begun == 0 {
                for (ahead, key) in keys.clone().take(AT_ONCE).enumerate() {
                    self.begin_update(ahead, &spot(key), key, &update)?;
                    begun += 1;
                }
            }
            begun -= 1;
            keys.next();
            let reply = self.consult_update(&spot(key), key, &update)?;
            match self.changed(reply) {
                Ok((Outcome::Done, ..)) => {
                    count += 1;
                    joined.done();
                }
                Ok(_) => joined.done(),
                Err(refusal) => joined.refused(refusal),
            }
        }
        joined.end()?;
        Ok(count)
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
        let (coordinator, about) = self.reading(spot)?;
        let reply = self.consult(What::Read, key, |key, ticket| {
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
            let reply = self.consult_update(spot, key, update)?;
            let (outcome, before, version) = self.changed(reply)?;
            self.counts.writes += u64::from(outcome != Outcome::Unmet);
            let before = before.as_ref().map(|record| record.borrow());
            sink.answer(Given::Updated(Updated { outcome, before, version, blind: false }));
            return Ok(());
        };
        let gone = matches!(next.0, OwnedBody::Tombstone);
        let (coordinator, about) = self.writing(spot)?;
        let reply = self.consult(What::Write, key, |key, ticket| {
            let (body, expires_at) = next;
            let done = Box::new(|told| ticket.tell(Reply::Write(told)));
            let begun = match event_time {
                Some(event) => coordinator.write_event(&about, key, body, expires_at, event, done),
                None => coordinator.write(&about, vec![(key, body, expires_at)], done),
            };
            begun.map_err(|error| Refusal::new(Code::ClockSkewed, error.to_string()))
        })?;
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

    fn begin_update(
        &mut self,
        ahead: usize,
        spot: &Spot,
        key: &[u8],
        update: &Update<'_>,
    ) -> Result<(), Halt> {
        let (coordinator, about) = self.writing(spot)?;
        self.errands.foresee(ahead, What::Update, key, false, |key, ticket| {
            let done = Box::new(|told| ticket.tell(Reply::Update(told)));
            coordinator.update(&about, key, OwnedUpdate::from(update), done);
            Ok(())
        })
    }

    pub(crate) fn consult_update(
        &mut self,
        spot: &Spot,
        key: &[u8],
        update: &Update<'_>,
    ) -> Result<Reply, Halt> {
        let (coordinator, about) = self.writing(spot)?;
        self.consult(What::Update, key, |key, ticket| {
            let done = Box::new(|told| ticket.tell(Reply::Update(told)));
            coordinator.update(&about, key, OwnedUpdate::from(update), done);
            Ok(())
        })
    }

    /// Begins to write records of one slot as one, `ahead` questions from now.
    pub(crate) fn begin_write(
        &mut self,
        ahead: usize,
        spot: &Spot,
        records: Vec<(Bytes, OwnedBody, Option<Millis>)>,
    ) -> Result<(), Halt> {
        let (coordinator, about) = self.writing(spot)?;
        let name = spot.slot.number().to_be_bytes();
        self.errands.foresee(ahead, What::Write, &name, false, |_, ticket| {
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

    /// The answer to the command's next question: here where waiting is allowed, else by leaving.
    pub(crate) fn consult(
        &mut self,
        what: What,
        key: &[u8],
        begin: impl FnOnce(Bytes, crate::errand::Ticket) -> Result<(), Refusal>,
    ) -> Result<Reply, Halt> {
        if let Some(reply) = self.errands.ask(what, key, begin)? {
            return Ok(reply);
        }
        if self.patience == Patience::Inline {
            return Err(Halt::Away);
        }
        self.errands.wait();
        Ok(self.errands.last().unwrap_or(Reply::Lost))
    }

    fn reading(&self, spot: &Spot) -> Result<(&'n Arc<Coordinator>, About), Halt> {
        self.about(spot, spot.keyspace.definition.options.read_level)
    }

    fn writing(&self, spot: &Spot) -> Result<(&'n Arc<Coordinator>, About), Halt> {
        self.about(spot, spot.keyspace.definition.options.write_level)
    }

    fn about(&self, spot: &Spot, usual: Level) -> Result<(&'n Arc<Coordinator>, About), Halt> {
        self.node.is_latest()?;
        let (keyspace, slot) = (spot.keyspace.definition.incarnation, spot.slot);
        let coordinator = self.others();
        let there = coordinator.filter(|c| c.routes().find(keyspace, slot).is_some());
        let Some(coordinator) = there else {
            let message = "the map is not known here yet, or has just changed";
            return Err(Refusal::new(Code::TryAgain, message).into());
        };
        let level = self.level.unwrap_or(usual);
        Ok((coordinator, About { keyspace, slot, level }))
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
            Reply::Update(Forwarded::Elsewhere) => {
                let message = "the node that carries out changes of this key has just changed";
                Err(Refusal::new(Code::TryAgain, message))
            }
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
            match self.routing.map.nodes.get(id) {
                Some(node) => message += &node.name,
                None => message += &id.to_string(),
            }
        }
        Refusal::new(Code::NoQuorum, message)
    }
}

pub(crate) fn unknown() -> Refusal {
    Refusal::new(Code::Unknown, "write may have happened")
}

pub(crate) fn conflict() -> Refusal {
    Refusal::new(Code::Conflict, "others changed it every time; nothing was written")
}

fn unanswered() -> Refusal {
    Refusal::new(Code::TryAgain, "the other nodes did not answer in time")
}

/// What came of writes of several keys, as one.
#[derive(Default)]
pub(crate) struct Joined {
    any_done: bool,
    any_unknown: bool,
    first: Option<Refusal>,
}

impl Joined {
    pub(crate) fn done(&mut self) {
        self.any_done = true;
    }

    pub(crate) fn refused(&mut self, refusal: Refusal) {
        self.any_unknown |= refusal.code.row().may_have_happened;
        self.first.get_or_insert(refusal);
    }

    /// Succeeds where all have. Fails as one that did not happen only where none may have.
    pub(crate) fn end(self) -> Result<(), Refusal> {
        match self.first {
            None => Ok(()),
            Some(refusal) if !self.any_done && !self.any_unknown => Err(refusal),
            Some(_) => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests;
