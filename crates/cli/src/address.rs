//! Where a node listens, and how to get a blocking connection to it.
//!
//! Holds: an address that parsed can be shown and parsed again; every failed connection says
//! what to do.
//! Does not know: what is spoken over the connection.

use crate::failure::Failure;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The port a node listens on unless told otherwise.
pub(crate) const DEFAULT_PORT: u16 = 7400;

/// A node's client address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The socket.
    pub(crate) endpoint: Endpoint,
    /// What a `/name` after the port selects.
    pub(crate) keyspace: Option<String>,
}

/// A socket to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A host (name or address, without brackets) and a port.
    Tcp(String, u16),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    /// Accepts `HOST`, `HOST:PORT`, `[V6]:PORT`, `redis://HOST:PORT/DB` and `unix:PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("`unix:` wants a path, as in unix:/run/shoal.sock".to_owned());
            }
            return Ok(Self { endpoint: Endpoint::Unix(path.into()), keyspace: None });
        }
        let (rest, default_port) = match text.split_once("://") {
            Some(("redis", rest)) => (rest, 6379),
            Some(("shoal", rest)) => (rest, DEFAULT_PORT),
            Some((scheme, _)) => return Err(format!("`{scheme}://` is not supported")),
            None => (text, DEFAULT_PORT),
        };
        if rest.contains('@') {
            return Err("users and passwords in an address are not supported".to_owned());
        }
        let (socket, keyspace) = match rest.split_once('/') {
            Some((socket, "")) => (socket, None),
            Some((socket, name)) => (socket, Some(name.to_owned())),
            None => (rest, None),
        };
        let (host, port) = host_and_port(socket, default_port)
            .ok_or_else(|| format!("`{text}` is not HOST:PORT or unix:PATH"))?;
        Ok(Self { endpoint: Endpoint::Tcp(host, port), keyspace })
    }
}

fn host_and_port(socket: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = if let Some(bracketed) = socket.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']')?;
        match after {
            "" => (host, None),
            _ => (host, Some(after.strip_prefix(':')?)),
        }
    } else {
        match socket.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            // Two colons without brackets: an IPv6 address without a port.
            _ => (socket, None),
        }
    };
    let port = match port {
        None => default_port,
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let good = host.bytes().all(|b| b.is_ascii_graphic() && !b"/[]@".contains(&b));
    good.then(|| (host.to_owned(), port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}")?,
            Endpoint::Tcp(host, port) => write!(f, "{host}:{port}")?,
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display())?,
        }
        match &self.keyspace {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

impl Address {
    /// Opens a blocking connection; `timeout` bounds the connecting and every wait after it.
    pub(crate) fn connect(&self, timeout: Option<Duration>) -> Result<Stream, Failure> {
        let stream = match &self.endpoint {
            Endpoint::Tcp(host, port) => self.connect_tcp(host, *port, timeout).map(Stream::Tcp),
            Endpoint::Unix(path) => {
                UnixStream::connect(path).map(Stream::Unix).map_err(|error| self.refused(&error))
            }
        }?;
        stream.set_timeouts(timeout).map_err(|error| self.refused(&error))?;
        Ok(stream)
    }

    fn connect_tcp(
        &self,
        host: &str,
        port: u16,
        timeout: Option<Duration>,
    ) -> Result<TcpStream, Failure> {
        let found = (host, port).to_socket_addrs().map_err(|error| {
            Failure::new("unreachable", format!("cannot find the host {host} ({error})"))
                .hint("check --addr")
        })?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no addresses");
        for socket in found {
            let tried = match timeout {
                Some(timeout) => TcpStream::connect_timeout(&socket, timeout),
                None => TcpStream::connect(socket),
            };
            match tried.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(self.refused(&last))
    }

    fn refused(&self, error: &io::Error) -> Failure {
        let message = match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                format!("nothing listens on {self}")
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                format!("{self} does not answer")
            }
            _ => format!("cannot connect to {self} ({error})"),
        };
        Failure::new("unreachable", message).hint("start a node with `shoal serve`, or pass --addr")
    }
}

/// A blocking connection of either kind.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Over TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Whether the peer has not closed the connection. A closed unix socket shows only when it
    /// is used.
    pub(crate) fn is_open(&self) -> bool {
        let Self::Tcp(stream) = self else { return true };
        if stream.set_nonblocking(true).is_err() {
            return false;
        }
        let open = match stream.peek(&mut [0]) {
            Ok(got) => got > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        stream.set_nonblocking(false).is_ok() && open
    }

    /// Bounds every later wait for the peer.
    fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            Self::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buf),
            Self::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a broken conversation with `address` is called.
pub(crate) fn lost(address: &Address, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Failure::new("timeout", format!("{address} took too long to answer"))
                .hint("wait longer with --timeout; a change may or may not have been made")
        }
        _ => Failure::new("connection_lost", format!("{address} closed the connection ({error})"))
            .hint("look at the node's log; a change may or may not have been made"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, keyspace: Option<&str>) -> Address {
        Address {
            endpoint: Endpoint::Tcp(host.to_owned(), port),
            keyspace: keyspace.map(str::to_owned),
        }
    }

    #[test]
    fn addresses_parse() {
        for (text, address) in [
            ("127.0.0.1:7400", tcp("127.0.0.1", 7400, None)),
            ("db.example", tcp("db.example", 7400, None)),
            (":6000", tcp("127.0.0.1", 6000, None)),
            ("[::1]:6000", tcp("::1", 6000, None)),
            ("[::1]", tcp("::1", 7400, None)),
            ("::1", tcp("::1", 7400, None)),
            ("redis://h", tcp("h", 6379, None)),
            ("redis://h:1/2", tcp("h", 1, Some("2"))),
            ("shoal://h/orders", tcp("h", 7400, Some("orders"))),
        ] {
            assert_eq!(text.parse(), Ok(address.clone()), "{text}");
            assert_eq!(address.to_string().parse(), Ok(address), "{text}");
        }
        let unix = Address { endpoint: Endpoint::Unix("/run/s.sock".into()), keyspace: None };
        assert_eq!("unix:/run/s.sock".parse(), Ok(unix));
    }

    #[test]
    fn addresses_refused() {
        for text in ["h:0", "h:70000", "h:x", "unix:", "http://h", "redis://u:p@h", "[::1", "a b"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
