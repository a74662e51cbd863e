//! Many keys at once: questions that are begun side by side, and what came of changes as one.

use super::{Spot, Wanted};
use crate::access::{Access, bad_key, key_is_good};
use crate::errand::{AT_ONCE, Reply, What};
use crate::refusal::{Halt, Refusal, unknown};
use crate::request::Target;
use shoal_core::Slot;
use shoal_core::update::{Outcome, SetExpiry, Update, When};
use std::sync::Arc;

impl Access<'_> {
    /// Begins to read keys that this command is about to read one after the other, so that their
    /// answers come side by side. Where they are at hand anyway it does nothing.
    ///
    /// # Errors
    /// [`Code::TryAgain`](crate::Code::TryAgain): the command asked for other keys before.
    pub fn ahead<'k>(
        &mut self,
        target: &Target,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<(), Halt> {
        self.begin_reads(target, keys, false)
    }

    /// The same for keys that commands to come will read, each one of them, in this order and with
    /// nothing in between. Where nothing comes of it they ask in their turn.
    pub fn ahead_of_commands<'k>(&mut self, target: &Target, keys: impl Iterator<Item = &'k [u8]>) {
        // What was begun for a command before is dropped if it does not fit, and asked anew.
        let _ = self.begin_reads(target, keys, true);
    }

    /// Begins the plain writes of commands to come: each of them is about to be made, in this order,
    /// with nothing in between, and each is of another key. One that cannot be begun is made in its
    /// turn, whether those after it are begun or not. What was begun is not begun anew there: the
    /// answer to a write holds no value, so none is dropped for want of room.
    pub fn write_ahead_of_commands<'k>(
        &mut self,
        target: &Target,
        pairs: impl Iterator<Item = (&'k [u8], &'k [u8])>,
    ) {
        if self.overlay.is_some() {
            return;
        }
        let Some(keyspace) = self.routing.find(target).filter(|k| !k.local).map(Arc::clone) else {
            return;
        };
        self.errands.bound_by(&self.node.answers);
        for (ahead, (key, value)) in pairs.take(AT_ONCE).enumerate() {
            if self.errands.is_begun(ahead, What::Write, key) {
                continue;
            }
            let update = Update::Set { value, expiry: SetExpiry::Never, when: When::Always };
            let wanted = Wanted { key, update: &update, event_time: None, look: false };
            if !key_is_good(key) {
                return;
            }
            let Ok(Some(next)) = self.plain(&keyspace, &wanted) else { return };
            let way = self.to_write(&Spot { keyspace: Arc::clone(&keyspace), slot: Slot::of(key) });
            let begun = self.errands.foresee(ahead, What::Write, key, true, |key, ticket| {
                way.write(key, next, None, ticket)
            });
            if begun.is_err() {
                return;
            }
        }
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
        self.errands.bound_by(&self.node.answers);
        for (ahead, key) in keys.take(AT_ONCE).enumerate() {
            if !key_is_good(key) {
                break;
            }
            let way = self.to_read(&Spot { keyspace: Arc::clone(&keyspace), slot: Slot::of(key) });
            self.errands.foresee(ahead, What::Read, key, later, |key, ticket| {
                let (coordinator, about) = way.open()?;
                coordinator.read(&about, key, Box::new(|told| ticket.tell(Reply::Read(told))));
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Removes keys, all at once, and says how many there were.
    ///
    /// # Errors
    /// As [`Access::run`], and then nothing is removed where a key is none;
    /// [`Code::Unknown`](crate::Code::Unknown) where some of them were removed and others not.
    pub fn remove_all<'k>(
        &mut self,
        target: &Target,
        keys: impl Iterator<Item = &'k [u8]> + Clone,
    ) -> Result<i64, Halt> {
        let update = Update::Delete { when: When::Always };
        self.know(target)?;
        if !keys.clone().all(key_is_good) {
            return Err(bad_key());
        }
        let Some(keyspace) = self.routing.find(target).map(Arc::clone) else { return Ok(0) };
        let spot = |key| Spot { keyspace: Arc::clone(&keyspace), slot: Slot::of(key) };
        let mut keys = keys.peekable();
        let (mut count, mut joined) = (0, Joined::default());
        let mut begun = 0;
        self.errands.bound_by(&self.node.answers);
        while let Some(key) = keys.peek().copied() {
            if begun == 0 {
                for (ahead, key) in keys.clone().take(AT_ONCE).enumerate() {
                    let way = self.to_write(&spot(key));
                    self.errands.foresee(ahead, What::Update, key, false, |key, ticket| {
                        way.update(key, &update, false, ticket)
                    })?;
                    begun += 1;
                }
            }
            begun -= 1;
            keys.next();
            let reply = self.consult_update(&spot(key), key, &update, false)?;
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
