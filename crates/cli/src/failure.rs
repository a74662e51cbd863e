//! Why a command failed, and what its user can do about it.
//!
//! Holds: every failure has a stable code and a sentence, which says what to do or has a hint. The
//! process ends with status 2 for any of them.
//! Does not know: how it is printed (see `output`).

use clap::error::ErrorKind;
use std::fmt;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done; status 0.
    Done,
    /// Nothing there, or the condition did not hold; status 1.
    Absent,
}

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A stable word for programs: the command line's own, or what the server sent.
    pub(crate) code: String,
    /// What happened, without a full stop.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure of the command line itself.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: None }
    }

    /// The same failure with advice.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Options that do not fit together, or a value that makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new("usage", message)
    }

    /// What the reader of the command line found wrong, in one sentence.
    pub(crate) fn of_usage(error: &clap::Error) -> Self {
        let told = error.render().to_string();
        let first = told.split("\n\n").next().unwrap_or_default();
        let words: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
        let message = match error.kind() {
            // It prints all of its help instead of an error.
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing".into(),
            _ => words.join(" "),
        };
        Self::usage(message).hint("see `shoal --help`, also after a command")
    }

    /// An error reply of the Redis protocol: its first word is the code.
    pub(crate) fn from_reply(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let first = text.split(' ').next().unwrap_or_default();
        let is_code = !first.is_empty()
            && first.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        let (code, message) = match (is_code, text.split_once(' ')) {
            (true, Some((code, rest))) => (code, rest),
            (true, None) => (text.as_ref(), text.as_ref()),
            (false, _) => ("ERR", text.as_ref()),
        };
        let failure = Self::new(code, message);
        match code {
            "NOAUTH" | "WRONGPASS" => failure.hint("the server wants a user and a password"),
            "LOADING" | "BUSY" => failure.hint("wait a moment and try again"),
            "TRYAGAIN" => failure.hint("try again"),
            "NOQUORUM" => failure.hint("see `shoal cluster status`, or say --consistency one"),
            "UNKNOWN" => failure.hint("it may have been done, or may yet be"),
            "OOM" => failure.hint("delete keys, or raise the keyspace's max_memory"),
            "DISKFULL" => failure.hint("free disk space or delete keys; then writes go on"),
            "STORAGE" | "CORRUPT" => failure.hint("the node's log says more"),
            "NOKEYSPACE" => failure.hint("see `shoal keyspace list`"),
            "NOPROTO" => failure.hint("is it a Shoal node? check --addr"),
            // The node ends the connection over a length that it does not take.
            _ if text.contains("invalid bulk length") => {
                failure.hint("the value is longer than the node's --max-value")
            }
            _ => failure,
        }
    }

    /// Standard output or another stream could not be written.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        Self::new("output", format!("cannot write the output ({error})"))
            .hint("look where it goes to")
    }
}

impl fmt::Display for Failure {
    /// As people read it: a code that the server sent stands before its sentence, so that it can be
    /// looked up and is the same at every interface.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_the_servers = self.code.bytes().all(|b| !b.is_ascii_lowercase());
        if is_the_servers && self.code != "ERR" && self.code != self.message {
            write!(f, "{} ", self.code)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, ": {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_errors_split_into_code_and_message() {
        for (text, code, message) in [
            ("ERR no such keyspace", "ERR", "no such keyspace"),
            ("WRONGTYPE Operation against", "WRONGTYPE", "Operation against"),
            ("LOADING", "LOADING", "LOADING"),
            ("something odd", "ERR", "something odd"),
            ("", "ERR", ""),
        ] {
            let failure = Failure::from_reply(text.as_bytes());
            assert_eq!((failure.code.as_str(), failure.message.as_str()), (code, message));
        }
    }

    #[test]
    fn people_see_the_code_that_the_server_sent() {
        for (text, shown) in [
            ("WRONGTYPE Operation against", "WRONGTYPE Operation against"),
            ("TRYAGAIN not yet", "TRYAGAIN not yet: try again"),
            ("LOADING", "LOADING: wait a moment and try again"),
            ("ERR no such keyspace", "no such keyspace"),
        ] {
            assert_eq!(Failure::from_reply(text.as_bytes()).to_string(), shown);
        }
        assert_eq!(Failure::usage("what?").to_string(), "what?");
    }
}
