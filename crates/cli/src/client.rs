//! A blocking client of the Redis protocol for one-shot commands and the shell.
//!
//! Holds: one command in flight at a time; after any failure but an error reply the connection
//! is not used again.
//! Does not know: what the commands mean.

use crate::address::{Address, Stream, lost};
use crate::failure::Failure;
use crate::reply::{ReadError, Reply};
use clap::{Arg, Args, Command};
use std::io::{BufReader, Write as _};
use std::time::Duration;

/// The options of every command that talks to a node.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConnectArgs {
    /// Where the node listens: HOST:PORT or unix:PATH
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        env = "SHOAL_ADDR",
        default_value = "127.0.0.1:7400"
    )]
    #[arg(help_heading = "Connection")]
    pub(crate) addr: Address,
    /// The keyspace to work in, by name or database number [default: `default`]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "SHOAL_KEYSPACE",
        help_heading = "Connection"
    )]
    pub(crate) keyspace: Option<String>,
    /// How long to wait for an answer
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        default_value = "30s",
        help_heading = "Connection"
    )]
    #[arg(value_parser = crate::units::positive_duration)]
    pub(crate) timeout: Duration,
    /// How many replicas reads and writes wait for: one, quorum or all [default: the keyspace's]
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "SHOAL_CONSISTENCY",
        help_heading = "Connection"
    )]
    #[arg(value_parser = ["one", "quorum", "all", "default"], hide_possible_values = true)]
    pub(crate) consistency: Option<String>,
}

impl ConnectArgs {
    /// Connects, selects the keyspace and says the level.
    pub(crate) fn open(&self) -> Result<Connection, Failure> {
        let mut connection = Connection::open(&self.addr, Some(self.timeout))?;
        if let Some(level) = &self.consistency {
            connection.ask(&[b"CONSISTENCY", level.as_bytes()])?;
        }
        if let Some(name) = self.keyspace.as_ref().or(self.addr.keyspace.as_ref()) {
            connection.select(name)?;
        }
        Ok(connection)
    }
}

/// Takes the connection's options out of a command that starts or describes a node, and says so
/// to whoever uses them there.
pub(crate) fn without_connection(command: Command) -> Command {
    ["addr", "keyspace", "timeout", "consistency"].into_iter().fold(command, |command, name| {
        let refuse = |_: &str| Err::<String, _>("this command talks to no node; see --listen");
        command.arg(Arg::new(name).long(name).hide(true).value_parser(refuse))
    })
}

/// A connection that speaks the Redis protocol.
pub(crate) struct Connection {
    address: Address,
    stream: BufReader<Stream>,
}

impl Connection {
    /// Connects; `timeout` bounds every wait.
    pub(crate) fn open(address: &Address, timeout: Option<Duration>) -> Result<Self, Failure> {
        let stream = BufReader::with_capacity(64 * 1024, address.connect(timeout)?);
        Ok(Self { address: address.clone(), stream })
    }

    /// Sends a command and reads its reply, which may be an error.
    pub(crate) fn call(&mut self, args: &[&[u8]]) -> Result<Reply, Failure> {
        let mut bytes = Vec::with_capacity(args.iter().map(|arg| arg.len() + 16).sum());
        encode(args, &mut bytes);
        let Err(error) = self.stream.get_mut().write_all(&bytes) else { return self.read() };
        // A server that closes on what is too long says why before.
        match Reply::read(&mut self.stream) {
            Ok(reply @ Reply::Error(_)) => Ok(reply),
            _ => Err(lost(&self.address, &error)),
        }
    }

    /// Sends a command and reads its reply; an error reply is a failure.
    pub(crate) fn ask(&mut self, args: &[&[u8]]) -> Result<Reply, Failure> {
        match self.call(args)? {
            Reply::Error(text) => Err(Failure::from_reply(&text)),
            reply => Ok(reply),
        }
    }

    /// Reads one more reply.
    pub(crate) fn read(&mut self) -> Result<Reply, Failure> {
        Reply::read(&mut self.stream).map_err(|error| match error {
            ReadError::Io(error) => lost(&self.address, &error),
            ReadError::Malformed(what) => {
                let message =
                    format!("{} does not speak the Redis protocol ({what})", self.address);
                Failure::new("protocol", message).hint("check --addr")
            }
        })
    }

    /// Whether the peer has not closed the connection, as far as can be told without asking.
    pub(crate) fn is_open(&self) -> bool {
        self.stream.get_ref().is_open()
    }

    /// Goes to a keyspace.
    pub(crate) fn select(&mut self, name: &str) -> Result<(), Failure> {
        self.ask(&[b"SELECT", name.as_bytes()]).map(|_| ()).map_err(|mut failure| {
            failure.message = format!("cannot select the keyspace {name} ({})", failure.message);
            failure.hint("see `shoal keyspace list`")
        })
    }

    /// The bare stream; replies that were already buffered are gone.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream.into_inner()
    }
}

/// Appends a command as the protocol writes it: an array of strings.
pub(crate) fn encode(args: &[&[u8]], out: &mut Vec<u8>) {
    let head = |kind: u8, n: usize, out: &mut Vec<u8>| {
        out.push(kind);
        out.extend_from_slice(n.to_string().as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    head(b'*', args.len(), out);
    for arg in args {
        head(b'$', arg.len(), out);
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_strings() {
        let mut bytes = Vec::new();
        encode(&[b"SET", b"", b"\r\n"], &mut bytes);
        assert_eq!(bytes, b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n");
    }
}
