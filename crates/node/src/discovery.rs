//! Where a node that knows nobody yet may find the others.
//!
//! What a provider names is a hint and proves nothing: whoever is asked there must still show
//! that it belongs to the cluster. Once a node has the cluster's map it goes by the map.
//!
//! Does not know: sockets, names of hosts (whoever dials resolves them), who is a member.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;

/// The answer of a [`Discovery`]: ready at once for a fixed list, later for one that asks.
pub type Peers<'a> = Pin<Box<dyn Future<Output = Result<Vec<String>, DiscoveryError>> + Send + 'a>>;

/// Why a provider names nobody. Asking again later may help, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// An address is not of the form `host:port`. Asking again does not help.
    #[error("{0:?} is not an address of the form host:port")]
    Address(String),
    /// The source of addresses gave none, with its reason.
    #[error("{provider} names no peers: {reason}")]
    Unavailable {
        /// The provider's name.
        provider: &'static str,
        /// Its reason, for people.
        reason: String,
    },
}

/// Names addresses at which members of the cluster may be found.
///
/// To ensure that a node finds its cluster: `peers` may be called again and again, at any time
/// and from several tasks; every address has the form `host:port` (IPv6 in brackets) and is the
/// address that peers listen on; the node's own address may be among them; the order means
/// nothing. An empty list says that there is nobody yet.
pub trait Discovery: fmt::Debug + Send + Sync {
    /// The provider's name, for logs.
    fn name(&self) -> &'static str;

    /// The addresses to try now.
    fn peers(&self) -> Peers<'_>;
}

/// Names what it was given, as by `--join`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticPeers {
    addresses: Vec<String>,
}

impl StaticPeers {
    /// A provider that always names these, each once.
    ///
    /// # Errors
    ///
    /// If one of them is not of the form `host:port`.
    pub fn new(addresses: impl IntoIterator<Item = String>) -> Result<Self, DiscoveryError> {
        let mut kept = Vec::new();
        for address in addresses {
            let address = address.trim();
            if !is_host_and_port(address) {
                return Err(DiscoveryError::Address(address.to_owned()));
            }
            if !kept.iter().any(|known| known == address) {
                kept.push(address.to_owned());
            }
        }
        Ok(Self { addresses: kept })
    }
}

impl Discovery for StaticPeers {
    fn name(&self) -> &'static str {
        "static"
    }

    fn peers(&self) -> Peers<'_> {
        Box::pin(ready(Ok(self.addresses.clone())))
    }
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host = match host.strip_prefix('[') {
        Some(rest) => match rest.strip_suffix(']') {
            Some(inner) if inner.parse::<core::net::Ipv6Addr>().is_ok() => inner,
            _ => return false,
        },
        None if host.contains(':') => return false,
        None => host,
    };
    let named = !host.is_empty() && !host.chars().any(|letter| " /@[]".contains(letter));
    // `parse` would take a sign.
    let digits = port.bytes().all(|digit| digit.is_ascii_digit());
    named && digits && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    fn given(addresses: &[&str]) -> Result<StaticPeers, DiscoveryError> {
        StaticPeers::new(addresses.iter().map(|address| (*address).to_owned()))
    }

    #[test]
    fn it_names_what_it_was_given_each_once() {
        let provider = given(&["n1:7001", " 10.0.0.2:7001", "[fe80::1]:7001", "n1:7001"]).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(peers) = provider.peers().as_mut().poll(&mut context) else {
            panic!("a fixed list is ready at once");
        };
        assert_eq!(peers.unwrap(), ["n1:7001", "10.0.0.2:7001", "[fe80::1]:7001"]);
        assert_eq!(provider.name(), "static");
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for address in [
            "",
            "n1",
            ":7001",
            "n1:",
            "n1:0",
            "n1:65536",
            "n1:+80",
            "fe80::1:7001",
            "[n1]:7001",
            "a b:1",
        ] {
            let error = given(&["n1:7001", address]).unwrap_err();
            assert_eq!(error, DiscoveryError::Address(address.to_owned()));
        }
    }
}
