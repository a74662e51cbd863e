//! One Redis connection without its socket: bytes in, bytes out.
//!
//! Holds: replies stand in the output in the order of their commands. Nothing in the output may
//! be sent before [`Session::commit`] is settled; if it fails to settle, every reply from the
//! first that depended on it is replaced by an error. A command that meets a cold disk leaves
//! no trace and is run again on a thread that may wait; one whose answer other nodes have leaves
//! none but its questions, and is run again when they are answered.
//!
//! Does not know: sockets, timers, threads.

use super::ahead::{KeysAhead, gets_ahead, sets_ahead};
use super::commands::{self, Context, Fail, error_text};
use super::frame::{Limits, Parser, ProtocolError, Step};
use super::reply::Reply;
use super::state::{Replies, State, Watching};
use super::table::{self, Command, Flag, Id, Unresolved};
use super::words::Words;
use crate::connection::{Client, Shared};
use shoal_core::version::Millis;
use shoal_node::{Access, Errands, FORESEEN, Halt, Node, Refusal};
use shoal_storage::{Commit, Patience};
use std::sync::Arc;

/// Commands that one run executes at most, so that one connection does not hold its thread.
const COMMANDS_PER_RUN: u64 = 1_024;
/// Bytes of output after which a run ends, so that big replies leave in slices.
const OUTPUT_PER_RUN: usize = 1 << 20;
/// The clock is read again after so many commands.
const COMMANDS_PER_TIME: u64 = 64;
/// Commands of a pipeline that are begun together where other nodes answer them.
const BEGUN_AHEAD: usize = 64;
/// Buffers keep at most this capacity between runs.
const KEPT_CAPACITY: usize = 64 * 1024;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Everything read was executed; more input is needed.
    Idle,
    /// A disk may have to be waited for: run again, on a thread that may block.
    Cold,
    /// Other nodes were asked: send what is there, and run again when they have answered.
    Away,
    /// Send what is there, then run again.
    Yield,
    /// Send what is there, then close.
    Close,
}

/// A Redis connection's parser, state and buffers.
#[derive(Debug)]
pub(crate) struct Session {
    /// Bytes read and not yet executed.
    pub(crate) input: Vec<u8>,
    /// Replies not yet sent.
    pub(crate) output: Vec<u8>,
    parser: Parser,
    state: State,
    shared: Arc<Shared>,
    client: Arc<Client>,
    consumed: usize,
    commit: Commit,
    /// Where the first reply that depends on `commit` starts, and how many replies follow.
    unsettled: Option<(usize, usize)>,
    /// What the command that is to run again has asked other nodes.
    errands: Errands,
    /// Bytes that the last run wrote and took back.
    taken_back: usize,
}

impl Session {
    /// The session of `client`.
    #[must_use]
    pub(crate) fn new(shared: Arc<Shared>, client: Arc<Client>) -> Self {
        let scope = client.scope();
        Self {
            input: Vec::new(),
            output: Vec::new(),
            parser: Parser::new(limits_of(&shared)),
            state: State { scope, ..State::new(client.id) },
            shared,
            client,
            consumed: 0,
            commit: Commit::DONE,
            unsettled: None,
            errands: Errands::default(),
            taken_back: 0,
        }
    }

    /// What must be settled before the output is sent.
    #[must_use]
    pub(crate) const fn commit(&self) -> Commit {
        self.commit
    }

    /// What has to be answered before it goes on after [`Run::Away`].
    #[must_use]
    pub(crate) const fn errands(&self) -> &Errands {
        &self.errands
    }

    /// How many bytes of replies the last run wrote, whatever became of them.
    #[must_use]
    pub(crate) const fn written(&self) -> usize {
        self.output.len().saturating_add(self.taken_back)
    }

    /// Executes what was read, as far as `patience` allows.
    pub(crate) fn run(&mut self, node: &Node, patience: Patience) -> Run {
        let mut access = node.access(patience);
        access.resume(std::mem::take(&mut self.errands));
        self.taken_back = 0;
        let first = self.state.commands;
        let mut foreseen = 0;
        let run = loop {
            let executed = self.state.commands - first;
            if executed >= COMMANDS_PER_RUN || self.output.len() >= OUTPUT_PER_RUN {
                break Run::Yield;
            }
            if executed % COMMANDS_PER_TIME == COMMANDS_PER_TIME - 1 {
                access.refresh();
            }
            if self.consumed >= foreseen {
                foreseen = self.foresee(&mut access);
            }
            match self.parser.next(&self.input[self.consumed..]) {
                Ok(Step::More { .. }) => break Run::Idle,
                Ok(Step::Blank { consumed }) => self.consumed += consumed,
                Ok(Step::Command { consumed }) => {
                    if let Some(run) = self.execute(&mut access, patience) {
                        // The same command is parsed again by the next run.
                        break run;
                    }
                    self.consumed += consumed;
                    if self.state.closing {
                        break Run::Close;
                    }
                }
                Err(error) => {
                    self.refuse(error);
                    break Run::Close;
                }
            }
        };
        // The run's own time will do, and costs nothing.
        let now = access.now();
        self.errands = access.suspend();
        if run == Run::Idle {
            self.errands.read_on();
        }
        drop(access);
        self.trim(run);
        self.show(self.state.commands - first, now);
        run
    }

    /// Tells the node which keys the next commands will ask for, where there are several; returns
    /// up to where in the input that was looked for.
    fn foresee(&self, access: &mut Access<'_>) -> usize {
        let target = &self.state.target;
        if self.state.queue.is_some() {
            return self.input.len();
        }
        if access.is_spread(target) {
            return self.begin_ahead(access);
        }
        if !access.foresees(target) {
            return self.input.len();
        }
        let mut ahead = KeysAhead::new(&self.input[self.consumed..]);
        let mut keys: [&[u8]; FORESEEN] = [&[]; FORESEEN];
        let mut count = 0;
        for key in ahead.by_ref().take(FORESEEN) {
            keys[count] = key;
            count += usize::from(!key.is_empty());
        }
        if count > 1 {
            access.foresee(target, &keys[..count]);
        }
        self.input.len() - ahead.left()
    }

    /// Begins what the next commands ask of other nodes, where they only read, or only write
    /// different keys: whoever reads must not miss a write before it, and of two writes of one key
    /// the later must win. Returns up to where in the input that was looked for.
    fn begin_ahead(&self, access: &mut Access<'_>) -> usize {
        let (target, input) = (&self.state.target, &self.input[self.consumed..]);
        let (keys, reads, mut length) = gets_ahead::<BEGUN_AHEAD>(input);
        access.at(self.state.level);
        if reads > 1 {
            access.ahead_of_commands(target, keys.into_iter().take(reads));
        } else if reads == 0 {
            let (pairs, writes, written) =
                sets_ahead::<BEGUN_AHEAD>(input, limits_of(&self.shared));
            length = written;
            if writes > 1 {
                access.write_ahead_of_commands(target, pairs.into_iter().take(writes));
            }
        }
        self.consumed + length.max(1)
    }

    /// Brings up to date what CLIENT LIST shows.
    fn show(&self, executed: u64, now: Millis) {
        if executed == 0 {
            return;
        }
        self.shared.counters.add_commands(executed);
        let state = &self.state;
        self.client.update(|shown| {
            shown.command = state.last_command;
            shown.commands = state.commands;
            shown.queued = state.queue.as_ref().map(|queue| queue.commands.len());
            shown.watched = state.watching.keys.len();
            shown.input_bytes = self.input.len();
            shown.input_capacity = self.input.capacity();
            shown.output_bytes = self.output.len();
            shown.last_active_ms = now;
        });
    }

    /// Executes the command that was just parsed; if it cannot be done now, where to go instead.
    fn execute(&mut self, access: &mut Access<'_>, patience: Patience) -> Option<Run> {
        let start = self.output.len();
        let before = access.commit();
        access.at(self.state.level);
        let words = self.parser.words(&self.input[self.consumed..]);
        let protocol = self.state.protocol;
        let mut context = Context {
            access,
            reply: Reply::new(&mut self.output, protocol).within(self.shared.reply_limit),
            client: &mut self.state,
            shared: &self.shared,
            patience,
        };
        let done = run_command(&mut context, words);
        let after = context.access.commit();
        match done {
            Ok(()) => {}
            Err(Fail::Halt(Halt::Cold)) => {
                debug_assert_eq!(patience, Patience::Inline, "a patient run is never cold");
                self.take_back(start);
                return Some(Run::Cold);
            }
            Err(Fail::Halt(Halt::Away)) => {
                debug_assert_eq!(patience, Patience::Inline, "a patient run waits in place");
                self.take_back(start);
                return Some(Run::Away);
            }
            Err(Fail::Halt(Halt::Refused(refusal))) => {
                self.output.truncate(start);
                Reply::new(&mut self.output, protocol).error(error_text(&refusal));
            }
            Err(Fail::Text(text)) => {
                self.output.truncate(start);
                Reply::new(&mut self.output, protocol).error(text.as_bytes());
            }
        }
        access.over();
        self.state.commands += 1;
        match self.state.replies {
            Replies::On => {}
            Replies::Off | Replies::Skipping => self.output.truncate(start),
            Replies::SkipNext => {}
        }
        self.state.replies = match self.state.replies {
            Replies::SkipNext => Replies::Skipping,
            Replies::Skipping => Replies::On,
            other => other,
        };
        if after != before {
            self.commit = self.commit.join(after);
            self.unsettled.get_or_insert((start, 0));
        }
        if self.output.len() > start
            && let Some((_, replies)) = &mut self.unsettled
        {
            *replies += 1;
        }
        None
    }

    /// Takes back what a command wrote that is to run again, and the room for it if that is much:
    /// nobody counts it while the command waits for a disk or for other nodes.
    fn take_back(&mut self, start: usize) {
        self.taken_back = self.output.len().saturating_sub(start);
        self.output.truncate(start);
        if self.taken_back > KEPT_CAPACITY {
            self.output.shrink_to(KEPT_CAPACITY);
        }
    }

    /// Says why the bytes are no request, unless the client wants no replies.
    fn refuse(&mut self, error: ProtocolError) {
        if matches!(self.state.replies, Replies::Off | Replies::Skipping) {
            return;
        }
        Reply::new(&mut self.output, self.state.protocol).error(error.to_string());
        if let Some((_, replies)) = &mut self.unsettled {
            *replies += 1;
        }
    }

    /// Tells the session that its commit is settled and its output was sent.
    pub(crate) fn sent(&mut self) {
        self.output.clear();
        self.output.shrink_to(KEPT_CAPACITY);
        self.commit = Commit::DONE;
        self.unsettled = None;
    }

    /// Replaces every reply that depended on the commit by an error: it failed to settle.
    pub(crate) fn fail_unsettled(&mut self, refusal: &Refusal) {
        if let Some((start, replies)) = self.unsettled.take() {
            self.output.truncate(start);
            let text = error_text(refusal);
            for _ in 0..replies {
                Reply::new(&mut self.output, self.state.protocol).error(&text);
            }
        }
        self.commit = Commit::DONE;
    }

    fn trim(&mut self, run: Run) {
        if self.consumed == self.input.len() {
            self.input.clear();
        } else if self.consumed > 0 {
            self.input.drain(..self.consumed);
        }
        self.consumed = 0;
        if run == Run::Idle && self.input.len() < KEPT_CAPACITY {
            self.input.shrink_to(KEPT_CAPACITY);
        }
    }
}

fn limits_of(shared: &Shared) -> Limits {
    let config = &shared.config;
    Limits {
        bulk_bytes: u32::try_from(config.max_value).unwrap_or(u32::MAX),
        command_bytes: u32::try_from(config.max_command).unwrap_or(u32::MAX),
        ..Limits::default()
    }
}

/// Looks a command up and runs it, or queues it.
fn run_command(context: &mut Context<'_, '_>, words: Words<'_>) -> Result<(), Fail> {
    let command = match table::resolve(words) {
        Ok(command) => command,
        Err(unresolved) => {
            if is_of_http(words.word(0)) {
                context.client.closing = true;
                return Ok(());
            }
            if let Some(queue) = &mut context.client.queue {
                queue.broken = true;
            }
            if let Unresolved::Arity(Command { id: Id::Exec, .. }) = unresolved {
                context.client.queue = None;
                context.client.watching = Watching::default();
                return Err(Fail::text(
                    "EXECABORT Transaction discarded because of: wrong number of arguments for \
                     'exec' command",
                ));
            }
            unresolved.write(words, &mut context.reply);
            return Ok(());
        }
    };
    context.client.last_command = command.name;
    if let Some(queue) = &mut context.client.queue {
        if command.has(Flag::NoMulti) {
            queue.broken = true;
            return Err(Fail::text("ERR Command not allowed inside a transaction"));
        }
        if !runs_inside_multi(command) {
            return commands::enqueue(queue, command, words, context.shared, &mut context.reply);
        }
    }
    commands::dispatch(context, command, words)
}

/// Words that a browser sends which was made to talk to this port, and no client ever does. The
/// connection is closed without a word, as in Redis, so that what follows is not executed.
fn is_of_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Commands that are carried out between MULTI and EXEC, not queued.
const fn runs_inside_multi(command: &Command) -> bool {
    matches!(command.id, Id::Multi | Id::Exec | Id::Discard | Id::Watch | Id::Quit | Id::Reset)
}
