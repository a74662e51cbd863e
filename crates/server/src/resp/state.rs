//! What a Redis connection remembers between commands.
//!
//! Holds: RESET brings all of it back to what a new connection has, but for what the client's library
//! said of itself and what counts the connection as such.

use super::levels::Written;
use super::reply::Protocol;
use super::table::Command;
use super::words::{OwnedWords, Span, Words};
use crate::connection::{Budget, Charge, UNCHARGED_BYTES};
use shoal_core::quorum::Level;
use shoal_node::{Scope, Target, Watched};
use std::collections::HashSet;
use std::sync::Arc;

/// Commands that wait for EXEC at most.
pub(crate) const MAX_QUEUED: usize = 1_048_576;
/// Bytes of commands that wait for EXEC at most.
pub(crate) const MAX_QUEUED_BYTES: usize = 64 << 20;

/// What a queued command takes beyond its words' bytes, in bytes, about: its place in the queue,
/// which grows by doubling, and what two allocations cost.
const AROUND_A_COMMAND: usize = 160;
/// What a word takes beyond its bytes.
const AROUND_A_WORD: usize = size_of::<Span>();
/// What a watched key takes beyond its bytes, which are there twice, in bytes, about.
const AROUND_A_WATCHED_KEY: usize = 256;
/// Memory is charged in steps of this many bytes, so that it is not done for every command.
const CHARGE_STEP: usize = UNCHARGED_BYTES;

/// Keys that one connection watches at most.
pub(crate) const MAX_WATCHED: usize = 1_048_576;
/// Bytes of keys that one connection watches at most.
pub(crate) const MAX_WATCHED_BYTES: usize = 32 << 20;

/// The state of one connection.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// CLIENT ID.
    pub(crate) id: u64,
    /// The selected keyspace.
    pub(crate) target: Target,
    /// The level of its requests; `None` for what the keyspace says.
    pub(crate) level: Option<Level>,
    /// Whose keys commands look at that name none.
    pub(crate) scope: Scope,
    /// What is known of its writes.
    pub(crate) written: Written,
    /// The version of the protocol.
    pub(crate) protocol: Protocol,
    /// CLIENT SETNAME.
    pub(crate) name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub(crate) library_name: String,
    /// CLIENT SETINFO LIB-VER.
    pub(crate) library_version: String,
    /// MULTI was given.
    pub(crate) queue: Option<Queue>,
    /// What WATCH watches.
    pub(crate) watching: Watching,
    /// Which replies are sent.
    pub(crate) replies: Replies,
    /// CLIENT NO-EVICT.
    pub(crate) no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub(crate) no_touch: bool,
    /// QUIT was given, or the connection was killed: close after what is there is sent.
    pub(crate) closing: bool,
    /// The last command's name, in lower case.
    pub(crate) last_command: &'static str,
    /// Commands executed.
    pub(crate) commands: u64,
}

/// Commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The commands and their words.
    pub(crate) commands: Vec<(&'static Command, OwnedWords)>,
    /// Bytes of their words.
    bytes: usize,
    /// Bytes that they take in all, about.
    charged: usize,
    /// One of them was refused: EXEC will be too.
    pub(crate) broken: bool,
    /// What they take of the server's memory for input.
    held: Option<Charge>,
}

impl Queue {
    /// Adds a command. In a queue that is broken already nothing more is kept.
    ///
    /// # Errors
    /// The queue would be too large, or memory has no room for it: it is broken and empty.
    pub(crate) fn push(
        &mut self,
        command: &'static Command,
        words: Words<'_>,
        memory: &Arc<Budget>,
    ) -> Result<(), NoRoom> {
        if self.broken {
            return Ok(());
        }
        self.bytes += words.bytes();
        let refused = if self.commands.len() >= MAX_QUEUED || self.bytes > MAX_QUEUED_BYTES {
            Some(NoRoom::TooLarge)
        } else {
            self.charged += AROUND_A_COMMAND + words.bytes() + words.len() * AROUND_A_WORD;
            charge(memory, &mut self.held, self.charged).err()
        };
        if let Some(refused) = refused {
            *self = Self { broken: true, ..Self::default() };
            return Err(refused);
        }
        self.commands.push((command, words.into()));
        Ok(())
    }
}

/// Why there is no room in a queue or a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// It has the size that a connection's may have.
    TooLarge,
    /// All connections together hold as much as they may.
    MemoryFull,
}

fn charge(memory: &Arc<Budget>, held: &mut Option<Charge>, bytes: usize) -> Result<(), NoRoom> {
    let bytes = bytes.next_multiple_of(CHARGE_STEP);
    memory.recharge(held, bytes).map_err(|_| NoRoom::MemoryFull)
}

/// What WATCH watches.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    /// The keys, each as it was when it was first looked at.
    pub(crate) keys: Vec<Watched>,
    /// Which keys these are.
    names: HashSet<(Target, Vec<u8>)>,
    /// Bytes of the keys.
    bytes: usize,
    /// What they take of the server's memory for input.
    held: Option<Charge>,
}

impl Watching {
    /// Whether a key is watched already.
    pub(crate) fn knows(&self, target: &Target, key: &[u8]) -> bool {
        !self.names.is_empty() && self.names.contains(&(target.clone(), key.to_vec()))
    }

    /// Watches what was `seen`, but for keys that were looked at before: watching again must not
    /// hide what happened in between.
    ///
    /// # Errors
    /// There would be too many, or memory has no room for them: none of them is watched.
    pub(crate) fn extend(
        &mut self,
        seen: Vec<Watched>,
        memory: &Arc<Budget>,
    ) -> Result<(), NoRoom> {
        let keys = self.keys.len() + seen.len();
        let bytes = self.bytes + seen.iter().map(|watched| watched.key.len()).sum::<usize>();
        if keys > MAX_WATCHED || bytes > MAX_WATCHED_BYTES {
            return Err(NoRoom::TooLarge);
        }
        charge(memory, &mut self.held, 2 * bytes + keys * AROUND_A_WATCHED_KEY)?;
        for watched in seen {
            if self.names.insert((watched.target.clone(), watched.key.clone())) {
                self.bytes += watched.key.len();
                self.keys.push(watched);
            }
        }
        Ok(())
    }
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Replies {
    /// All are sent.
    #[default]
    On,
    /// None is sent.
    Off,
    /// The reply to the next command is not sent.
    SkipNext,
    /// The reply to this command is not sent.
    Skipping,
}

impl State {
    /// The state of a new connection.
    pub(crate) fn new(id: u64) -> Self {
        Self { id, last_command: "NULL", ..Self::default() }
    }

    /// RESET.
    pub(crate) fn reset(&mut self) {
        let Self { id, commands, last_command, scope, .. } = *self;
        let library_name = std::mem::take(&mut self.library_name);
        let library_version = std::mem::take(&mut self.library_version);
        let new = Self { scope, library_name, library_version, ..Self::new(id) };
        *self = Self { commands, last_command, ..new };
    }
}
