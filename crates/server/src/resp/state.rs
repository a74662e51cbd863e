//! What a Redis connection remembers between commands.
//!
//! Holds: RESET brings all of it back to what a new connection has, but for its id.

use super::reply::Protocol;
use super::table::Command;
use super::words::OwnedWords;
use shoal_node::{Target, Watched};

/// Commands that wait for EXEC at most.
pub(crate) const MAX_QUEUED: usize = 1_048_576;
/// Bytes of commands that wait for EXEC at most.
pub(crate) const MAX_QUEUED_BYTES: usize = 64 << 20;

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
    pub(crate) watched: Vec<Watched>,
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
        let commands = self.commands;
        *self = Self { commands, ..Self::new(self.id) };
    }
}
