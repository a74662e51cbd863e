//! Why a command failed, and what its user can do about it.
//!
//! Holds: every failure has a stable code and a sentence; nearly all have a hint. The process
//! ends with status 2 for any of them.
//! Does not know: how it is printed (see `output`).

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
            "OOM" => failure.hint("delete keys, or raise the keyspace's max_memory"),
            _ => failure,
        }
    }

    /// Standard output or another stream could not be written.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        Self::new("output", format!("cannot write the output: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
}
