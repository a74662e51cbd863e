//! Where a server listens: an address and port, or the path of a unix socket.
//!
//! Holds: names are never looked up. What a name resolves to may change after it was judged to
//! be loopback.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket at this path.
    Unix(PathBuf),
}

/// The longest path of a unix socket that every system takes, in bytes.
const MAX_SOCKET_PATH: usize = 103;

impl ListenAddress {
    /// Whether only programs on this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(address) => is_loopback(address.ip()),
            Self::Unix(_) => true,
        }
    }

    /// Whether a web page in a browser on this machine could reach it.
    #[must_use]
    pub(crate) fn is_loopback_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_)) && self.is_loopback()
    }

    /// The socket's path, for a unix socket.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

/// Whether `ip` is this machine's own, IPv4 addresses written as IPv6 included.
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Why a text is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// It is neither `HOST:PORT` nor `unix:PATH`.
    #[error("it is neither an IP address with a port, like 127.0.0.1:7400, nor unix:PATH")]
    Form,
    /// There is no path after `unix:`, or it is too long.
    #[error("the path of a unix socket has 1 to {MAX_SOCKET_PATH} bytes")]
    Path,
}

impl FromStr for ListenAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() || path.len() > MAX_SOCKET_PATH {
                return Err(BadAddress::Path);
            }
            return Ok(Self::Unix(path.into()));
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            let port = port.parse().map_err(|_| BadAddress::Form)?;
            return Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| BadAddress::Form)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_alike() {
        for text in ["127.0.0.1:7400", "[::1]:7400", "0.0.0.0:0", "unix:/run/shoal.sock"] {
            let address: ListenAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
        assert_eq!("localhost:1".parse(), "127.0.0.1:1".parse::<ListenAddress>());
        for text in ["", "7400", "127.0.0.1", "example.org:7400", "unix:", "127.0.0.1:70000"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
        assert!(format!("unix:/{}", "a".repeat(103)).parse::<ListenAddress>().is_err());
    }

    #[test]
    fn loopback_is_told_from_the_world() {
        for (text, loopback) in [
            ("127.0.0.1:1", true),
            ("127.8.9.10:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("unix:/x", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.168.0.1:1", false),
            ("[::ffff:10.0.0.1]:1", false),
        ] {
            let address: ListenAddress = text.parse().expect(text);
            assert_eq!(address.is_loopback(), loopback, "{text}");
        }
    }
}
