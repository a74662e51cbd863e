//! What the line editor offers while one types: completion and a hint of the arguments.
//!
//! Holds: a question to the node about keyspaces is short and its failure unseen.
//! Does not know: how lines are run.

use super::docs::Docs;
use crate::client::ConnectArgs;
use crate::keyspace;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper, Result};
use std::borrow::Cow;
use std::time::Duration;

/// Words the shell itself understands.
pub(crate) const OWN_WORDS: [&str; 3] = ["help", "exit", "quit"];
/// How long completion waits for the names of the keyspaces.
const PATIENCE: Duration = Duration::from_millis(500);

/// The editor's helper.
pub(crate) struct ShellHelper {
    /// The commands of the server.
    pub(crate) docs: Docs,
    connect: ConnectArgs,
}

impl ShellHelper {
    /// A helper that knows no commands yet.
    pub(crate) fn new(connect: &ConnectArgs) -> Self {
        let connect = ConnectArgs { timeout: connect.timeout.min(PATIENCE), ..connect.clone() };
        Self { docs: Docs::default(), connect }
    }

    /// Where the word at the end of `line` begins, and what it may become.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let (before, typed) = line.split_at(start);
        let before: Vec<String> =
            before.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
        let found = match before.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => self.commands(typed, OWN_WORDS.map(str::to_owned).to_vec()),
            ["help"] => self.commands(typed, Vec::new()),
            ["use" | "select"] => keyspace::names(&self.connect)
                .unwrap_or_default()
                .into_iter()
                .filter(|name| name.starts_with(typed))
                .collect(),
            [container] => self.subcommands(container, typed),
            _ => Vec::new(),
        };
        (start, found)
    }

    fn commands(&self, typed: &str, mut names: Vec<String>) -> Vec<String> {
        names.extend(self.docs.all.iter().map(|doc| doc.name.clone()));
        names.retain(|name| !name.contains(' '));
        fitting(names, typed)
    }

    fn subcommands(&self, container: &str, typed: &str) -> Vec<String> {
        let container = format!("{} ", container.to_ascii_uppercase());
        let names = self.docs.all.iter().filter_map(|doc| doc.name.strip_prefix(&container));
        fitting(names.map(str::to_owned).collect(), typed)
    }
}

/// The names that begin as typed, in the case in which it is typed.
fn fitting(mut names: Vec<String>, typed: &str) -> Vec<String> {
    let upper = typed.chars().any(|c| c.is_ascii_uppercase());
    for name in &mut names {
        if upper { name.make_ascii_uppercase() } else { name.make_ascii_lowercase() }
    }
    names.retain(|name| name.to_ascii_lowercase().starts_with(&typed.to_ascii_lowercase()));
    names.sort();
    names.dedup();
    names
}

impl Completer for ShellHelper {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> Result<(usize, Vec<String>)> {
        let (start, mut found) = self.candidates(line.get(..at).unwrap_or(line));
        // What is certain is followed by the next word.
        if let [only] = found.as_mut_slice() {
            only.push(' ');
        }
        Ok((start, found))
    }
}

impl Hinter for ShellHelper {
    type Hint = String;

    /// Shows the arguments once the command is typed, until the first of them is.
    fn hint(&self, line: &str, at: usize, _: &Context<'_>) -> Option<String> {
        if at != line.len() || !line.ends_with(' ') {
            return None;
        }
        let words = line.split_ascii_whitespace().count();
        let syntax = self.docs.syntax_of(line)?;
        (words <= 2 && !syntax.is_empty() && !self.is_argument(line)).then(|| syntax.to_owned())
    }
}

impl ShellHelper {
    /// Whether the second word is an argument already, not a subcommand.
    fn is_argument(&self, line: &str) -> bool {
        let mut words = line.split_ascii_whitespace().map(str::to_ascii_uppercase);
        match (words.next(), words.next()) {
            (Some(first), Some(second)) => {
                let name = format!("{first} {second}");
                self.docs.all.iter().all(|doc| doc.name != name)
            }
            _ => false,
        }
    }
}

impl Highlighter for ShellHelper {
    /// Shows a hint in grey, so that it is not taken for what was typed.
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[90m{hint}\x1b[m"))
    }
}
impl Validator for ShellHelper {}
impl Helper for ShellHelper {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_complete_by_their_place() {
        let connect = ConnectArgs {
            addr: "127.0.0.1:1".parse().unwrap(),
            keyspace: None,
            timeout: PATIENCE,
            consistency: None,
        };
        let mut helper = ShellHelper::new(&connect);
        helper.docs = Docs::named(&["CLIENT", "CLIENT LIST", "CLIENT KILL", "GET", "GETEX"]);
        for (line, start, found) in [
            ("ge", 0, &["get", "getex"][..]),
            ("he", 0, &["help"]),
            ("CLIENT ", 7, &["kill", "list"]),
            ("client LI", 7, &["LIST"]),
            ("help g", 5, &["get", "getex"]),
            // Nothing listens there: no names, and no error.
            ("use ", 4, &[]),
            ("get k", 4, &[]),
        ] {
            let found: Vec<String> = found.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(helper.candidates(line), (start, found), "{line}");
        }
    }

    #[test]
    fn names_follow_the_case_typed() {
        let names = || vec!["GET".to_owned(), "GETEX".to_owned(), "SET".to_owned()];
        assert_eq!(fitting(names(), "ge"), ["get", "getex"]);
        assert_eq!(fitting(names(), "GE"), ["GET", "GETEX"]);
        assert_eq!(fitting(names(), ""), ["get", "getex", "set"]);
        assert!(fitting(names(), "x").is_empty());
    }
}
