//! What a Redis connection remembers between commands.
//!
//! Holds: RESET brings all of it back to what a new connection has, but for what the client's library
//! said of itself and what counts the connection as such.

use super::reply::Protocol;
use super::table::Command;
use super::words::OwnedWords;
use shoal_node::{Target, Watched};
use std::collections::HashSet;

/// Commands that wait for EXEC at most.
pub(crate) const MAX_QUEUED: usize = 1_048_576;
/// Bytes of commands that wait for EXEC at most.
pub(crate) const MAX_QUEUED_BYTES: usize = 64 << 20;

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
    pub(crate) bytes: usize,
    /// One of them was refused: EXEC will be too.
    pub(crate) broken: bool,
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
}

impl Watching {
    /// Whether a key is watched already.
    pub(crate) fn knows(&self, target: &Target, key: &[u8]) -> bool {
        !self.names.is_empty() && self.names.contains(&(target.clone(), key.to_vec()))
    }

    /// Whether `seen` may be watched too.
    pub(crate) fn has_room_for(&self, seen: &[Watched]) -> bool {
        let bytes: usize = seen.iter().map(|watched| watched.key.len()).sum();
        self.keys.len() + seen.len() <= MAX_WATCHED && self.bytes + bytes <= MAX_WATCHED_BYTES
    }

    /// Watches what was `seen`, but for keys that were looked at before: watching again must not
    /// hide what happened in between.
    pub(crate) fn extend(&mut self, seen: Vec<Watched>) {
        for watched in seen {
            if self.names.insert((watched.target.clone(), watched.key.clone())) {
                self.bytes += watched.key.len();
                self.keys.push(watched);
            }
        }
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
        let Self { id, commands, last_command, .. } = *self;
        let library_name = std::mem::take(&mut self.library_name);
        let library_version = std::mem::take(&mut self.library_version);
        *self = Self { commands, last_command, library_name, library_version, ..Self::new(id) };
    }
}
