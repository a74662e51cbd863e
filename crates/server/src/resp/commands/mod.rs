//! The commands: each a translation of words into requests of the node and of answers into
//! replies.
//!
//! Holds: a command writes its whole reply or fails; what it wrote before failing is taken back
//! by the session. A command that meets a cold disk has changed nothing and is run again.
//!
//! Does not know: sockets, or when replies are sent.

mod cluster;
mod connection;
mod dispatch;
mod info;
mod keys;
mod levels;
mod server;
mod settings;
mod strings;
mod transactions;

pub(crate) use dispatch::dispatch;
pub(crate) use transactions::enqueue;

use super::arguments::ArgumentError;
use super::reply::Reply;
use super::state::State;
use super::words::Words;
use crate::connection::Shared;
use shoal_core::update::{Outcome, Update};
use shoal_core::{Body, Record};
use shoal_node::{Access, Code, FORESEEN_AFAR, Halt, Refusal, Target, Updated};
use shoal_storage::Patience;
use std::borrow::Cow;

/// What a command works with.
pub(crate) struct Context<'c, 'n> {
    /// The node, for this run of commands.
    pub(crate) access: &'c mut Access<'n>,
    /// Where the reply goes.
    pub(crate) reply: Reply<'c>,
    /// The connection's own state.
    pub(crate) client: &'c mut State,
    /// What all connections share.
    pub(crate) shared: &'c Shared,
    /// Whether the command may wait for a disk.
    pub(crate) patience: Patience,
}

/// Why a command gives no reply of its own.
#[derive(Debug)]
pub(crate) enum Fail {
    /// The node halted it.
    Halt(Halt),
    /// It is answered by this error, prefix and all.
    Text(Cow<'static, str>),
}

/// How a command ends.
pub(crate) type Done = Result<(), Fail>;

impl Fail {
    pub(crate) const fn text(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<Halt> for Fail {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl From<ArgumentError> for Fail {
    fn from(error: ArgumentError) -> Self {
        Self::Text(error.to_string().into())
    }
}

impl From<Refusal> for Fail {
    fn from(refusal: Refusal) -> Self {
        Self::Halt(Halt::Refused(refusal))
    }
}

/// A refusal as Redis shows it: the code's prefix, then the sentence.
pub(crate) fn error_text(refusal: &Refusal) -> String {
    format!("{} {}", refusal.code.row().resp_prefix, refusal.message)
}

/// Redis' answer to a wrong number of words; `name` is in lower case.
pub(crate) fn wrong_arity(name: &str) -> String {
    format!("ERR wrong number of arguments for '{name}' command")
}

/// The value of a live record.
pub(crate) fn bytes_of<'a>(record: &Record<'a>) -> &'a [u8] {
    match record.body {
        Body::Live { bytes, .. } => bytes,
        Body::Tombstone => &[],
    }
}

/// That the reply to a command came out longer than any may be.
pub(crate) fn too_long(shared: &Shared) -> Halt {
    let limit = shared.reply_limit;
    Refusal::new(Code::TooLarge, format!("the reply is longer than {limit} bytes")).into()
}

impl<'n> Context<'_, 'n> {
    /// Fails once the reply is longer than any may be; for commands whose replies grow with what
    /// they are asked.
    pub(crate) fn bounded(&self) -> Done {
        if self.reply.is_too_long() { Err(too_long(self.shared).into()) } else { Ok(()) }
    }

    /// Sees to it that the answers of other nodes for the keys from `index` on come side by side;
    /// to be called before each of them is read.
    pub(crate) fn read_ahead(&mut self, index: usize, keys: Words<'_>) -> Done {
        if index.is_multiple_of(FORESEEN_AFAR) && keys.len() > 1 {
            self.access.ahead(&self.client.target, keys.from(index).iter())?;
        }
        Ok(())
    }

    /// Calls `f` with the live record under `key`.
    pub(crate) fn read<R>(
        &mut self,
        key: &[u8],
        f: impl FnOnce(Option<Record<'_>>) -> R,
    ) -> Result<R, Fail> {
        Ok(self.access.read(&self.client.target, key, f)?)
    }

    /// Changes `key` and calls `f` with what came of it.
    pub(crate) fn update<R>(
        &mut self,
        key: &[u8],
        update: &Update<'_>,
        f: impl FnOnce(Updated<'_>) -> R,
    ) -> Result<R, Fail> {
        Ok(self.access.update(&self.client.target, key, update, f)?)
    }

    /// Changes `key` and replies with what was there before.
    pub(crate) fn update_giving_before(&mut self, key: &[u8], update: &Update<'_>) -> Done {
        let Context { access, reply, client, .. } = self;
        access.exchange(&client.target, key, update, |updated| match updated.before {
            Some(record) => reply.bulk(bytes_of(&record)),
            None => reply.null(),
        })?;
        Ok(())
    }

    /// Changes `key` and replies with the number that came of it.
    pub(crate) fn update_giving_number(&mut self, key: &[u8], update: &Update<'_>) -> Done {
        let number = self.update(key, update, |updated| match updated.outcome {
            Outcome::Integer(number) => number,
            Outcome::Length(length) => i64::try_from(length).unwrap_or(i64::MAX),
            Outcome::Done | Outcome::Unmet | Outcome::Float(_) => 0,
        })?;
        self.reply.integer(number);
        Ok(())
    }

    /// The database of this number, if it may be selected.
    pub(crate) fn database(&self, number: i64) -> Result<Target, Fail> {
        let out_of_range = || Fail::from(ArgumentError::NoDatabase);
        let number = u16::try_from(number).map_err(|_| out_of_range())?;
        let target = Target::Database(number);
        if self.access.exists(&target) { Ok(target) } else { Err(out_of_range()) }
    }

    /// Whether two targets stand for one keyspace.
    pub(crate) fn is_same(&self, one: &Target, other: &Target) -> bool {
        let name = |target| self.access.node().name_of(target).ok();
        one == other || name(one).is_some_and(|name_of_one| name(other) == Some(name_of_one))
    }

    /// Runs a change of the catalogue and replies OK. It waits for the disk.
    pub(crate) fn change_catalogue(
        &mut self,
        change: impl FnOnce(&mut Access<'n>) -> Result<(), Halt>,
    ) -> Done {
        if self.patience == Patience::Inline {
            return Err(Halt::Cold.into());
        }
        change(self.access)?;
        self.reply.ok();
        Ok(())
    }
}
