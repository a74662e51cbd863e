//! `shoal shell`: commands typed one after the other, with history, completion and help.
//!
//! Holds: a lost connection is told once and opened again for the next command; a command is
//! never sent twice.
//! Does not know: what the commands mean, but for the few after which the prompt changes.

mod docs;
mod helper;
mod line;
mod show;

use crate::client::{ConnectArgs, Connection};
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::reply::Reply;
use clap::Args;
use docs::Docs;
use helper::ShellHelper;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use serde_json::json;
use std::io::IsTerminal as _;
use std::path::PathBuf;

/// How many lines the history keeps.
const HISTORY_LINES: usize = 10_000;

/// `shoal shell`.
#[derive(Args, Debug)]
pub(crate) struct Shell {
    /// Keep no history
    #[arg(long)]
    no_history: bool,
}

impl Shell {
    /// Reads and runs lines until the end of input.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let failed = |error: ReadlineError| {
            Failure::new("shell", format!("cannot read a line ({error})"))
                .hint("try another terminal, or pipe the commands in")
        };
        let config = Config::builder()
            .max_history_size(HISTORY_LINES)
            .and_then(|builder| builder.history_ignore_dups(true))
            .map_err(failed)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor: Editor<ShellHelper, FileHistory> =
            Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(ShellHelper::new(connect)));
        let history = if self.no_history { None } else { history_file() };
        if let Some(path) = &history {
            // A first start has no history yet.
            let _ = editor.load_history(path);
        }
        let interactive = std::io::stdin().is_terminal();
        let mut session = Session::new(connect, out);
        session.connect(&mut editor)?;
        if interactive && !out.json {
            out.line("`help COMMAND` explains a command, `exit` or Ctrl-D ends the shell.")?;
        }
        let mut outcome = Ok(Outcome::Done);
        loop {
            let prompt = if interactive { session.prompt() } else { String::new() };
            let line = match editor.readline(&prompt) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(error) => {
                    outcome = Err(failed(error));
                    break;
                }
            };
            if interactive && !line.trim().is_empty() {
                // What cannot be remembered is still run.
                let _ = editor.add_history_entry(&line);
            }
            if !session.run_line(&line, &mut editor)? {
                break;
            }
        }
        if let Some(path) = &history
            && let Err(error) = editor.append_history(path)
        {
            out.failure(
                &Failure::new("history", format!("cannot keep the history ({error})"))
                    .hint("free its place, or say --no-history"),
            );
        }
        outcome
    }
}

/// The history's place, with its directory made; none without a home.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    let directory = state.join("shoal");
    std::fs::create_dir_all(&directory).ok()?;
    Some(directory.join("history"))
}

/// A conversation with a node.
struct Session<'a> {
    connect: &'a ConnectArgs,
    out: &'a Output,
    connection: Option<Connection>,
    /// The keyspace gone to, by number or name.
    keyspace: Option<String>,
}

type ShellEditor = Editor<ShellHelper, FileHistory>;

impl<'a> Session<'a> {
    fn new(connect: &'a ConnectArgs, out: &'a Output) -> Self {
        let keyspace = connect.keyspace.clone().or_else(|| connect.addr.keyspace.clone());
        Self { connect, out, connection: None, keyspace }
    }

    /// Connects anew, into the keyspace that was gone to, and learns the node's commands.
    fn connect(&mut self, editor: &mut ShellEditor) -> Result<(), Failure> {
        let address = &self.connect.addr;
        let mut connection = Connection::open(address, Some(self.connect.timeout))?;
        if let Some(level) = &self.connect.consistency {
            connection.ask(&[b"CONSISTENCY", level.as_bytes()])?;
        }
        if let Some(name) = &self.keyspace {
            connection.select(name)?;
        }
        if let Some(helper) = editor.helper_mut() {
            helper.docs = Docs::load(&mut connection);
        }
        self.connection = Some(connection);
        Ok(())
    }

    fn prompt(&self) -> String {
        let address = &self.connect.addr;
        match (&self.connection, &self.keyspace) {
            (None, _) => "not connected> ".to_owned(),
            (Some(_), Some(name)) if address.keyspace.is_none() => format!("{address}[{name}]> "),
            (Some(_), _) => format!("{address}> "),
        }
    }

    /// Runs a line; false ends the shell. Only output that cannot be written is a failure.
    fn run_line(&mut self, line: &str, editor: &mut ShellEditor) -> Result<bool, Failure> {
        let words = match line::split(line) {
            Ok(words) => words,
            Err(what) => {
                self.out.failure(&Failure::usage(what).hint("the line was not sent"));
                return Ok(true);
            }
        };
        let Some(first) = words.first() else { return Ok(true) };
        match first.to_ascii_lowercase().as_slice() {
            b"exit" | b"quit" => return Ok(false),
            b"help" | b"?" => return self.help(&words, editor).map(|()| true),
            _ => {}
        }
        if is_silent(&words) {
            let failure = Failure::usage("the shell waits for a reply to every command");
            self.out.failure(&failure.hint("CLIENT REPLY is for programs"));
            return Ok(true);
        }
        if let Err(failure) = self.send(&words, editor) {
            if failure.code == "output" {
                return Err(failure);
            }
            self.connection = None;
            self.out.failure(&failure);
        }
        Ok(true)
    }

    fn send(&mut self, words: &[Vec<u8>], editor: &mut ShellEditor) -> Result<(), Failure> {
        if !self.connection.as_ref().is_some_and(Connection::is_open) {
            self.connect(editor)?;
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut reply = connection.call(&args)?;
        while matches!(reply, Reply::Push(_)) {
            self.print(&reply)?;
            let Some(connection) = &mut self.connection else { return Ok(()) };
            reply = connection.read()?;
        }
        self.note_keyspace(words, &reply);
        self.print(&reply)
    }

    fn print(&self, reply: &Reply) -> Result<(), Failure> {
        if self.out.json {
            return self.out.document(&show::document(reply));
        }
        // INFO and its like send a text of many lines, which is not for quoting.
        match reply {
            Reply::Bulk(text) if is_long_text(text) => {
                self.out.line(String::from_utf8_lossy(text).replace('\r', "").trim_end())
            }
            reply => self.out.line(show::text(reply)),
        }
    }

    /// Remembers where a successful SELECT, USE or RESET has led.
    fn note_keyspace(&mut self, words: &[Vec<u8>], reply: &Reply) {
        let [command, rest @ ..] = words else { return };
        match (command.to_ascii_lowercase().as_slice(), rest) {
            (b"select" | b"use", [name]) if matches!(reply, Reply::Status(_)) => {
                let name = String::from_utf8_lossy(name).into_owned();
                self.keyspace = (name != "0").then_some(name);
            }
            (b"reset", []) if !reply.is_error() => self.keyspace = None,
            _ => {}
        }
    }

    fn help(&self, words: &[Vec<u8>], editor: &ShellEditor) -> Result<(), Failure> {
        let Some(docs) = editor.helper().map(|helper| &helper.docs) else { return Ok(()) };
        let wanted: Vec<_> = words[1..].iter().map(|word| String::from_utf8_lossy(word)).collect();
        if wanted.is_empty() {
            let mut names: Vec<String> = Vec::new();
            names.extend(docs.all.iter().map(|doc| doc.name.clone()));
            names.retain(|name| !name.contains(' '));
            if self.out.json {
                return self.out.document(&json!({ "commands": names }));
            }
            self.out.line("`help COMMAND` explains one of:")?;
            return self.out.line(columns(&names));
        }
        let found = docs.about(&wanted.join(" "));
        if found.is_empty() {
            let failure = Failure::usage(format!("there is no command {}", wanted.join(" ")));
            self.out.failure(&failure.hint("`help` lists the commands"));
        }
        for doc in found {
            self.out.either(&doc.document(), doc.show())?;
        }
        Ok(())
    }
}

/// Whether the node would not answer.
fn is_silent(words: &[Vec<u8>]) -> bool {
    let is = |at: usize, text: &[u8]| words.get(at).is_some_and(|w| w.eq_ignore_ascii_case(text));
    is(0, b"client") && is(1, b"reply") && (is(2, b"off") || is(2, b"skip"))
}

/// Whether a string is a report of printable lines rather than a value.
fn is_long_text(text: &[u8]) -> bool {
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t');
    text.starts_with(b"# ")
        && text.windows(2).any(|two| two == b"\r\n")
        && text.iter().all(printable)
}

/// Names in lines of about 80 characters.
fn columns(names: &[String]) -> String {
    let mut lines = vec![String::new()];
    for name in names {
        match lines.last_mut() {
            Some(line) if line.len() + name.len() < 78 => {
                line.push_str("  ");
                line.push_str(name);
            }
            _ => lines.push(format!("  {name}")),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_not_quoted_and_values_are() {
        assert!(is_long_text(b"# Server\r\nredis_version:7.0.15\r\n"));
        for value in [&b"hello"[..], b"# no line end", b"# \x1b[2J\r\n", b"a\r\nb"] {
            assert!(!is_long_text(value));
        }
    }

    #[test]
    fn commands_without_a_reply_are_known() {
        let words = |line: &str| line::split(line).unwrap();
        assert!(is_silent(&words("client REPLY off")));
        assert!(is_silent(&words("CLIENT reply SKIP")));
        assert!(!is_silent(&words("client reply on")));
        assert!(!is_silent(&words("client list")));
    }

    #[test]
    fn names_fill_lines() {
        let names: Vec<String> = (0..30).map(|n| format!("NAME{n:02}")).collect();
        let shown = columns(&names);
        assert!(shown.lines().all(|line| line.len() < 80));
        assert_eq!(shown.split_whitespace().count(), 30);
    }
}
