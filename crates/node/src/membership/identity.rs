//! Who a member is, and which of two that claim one node id is the later one.
//!
//! Holds: of two different identities of one node exactly one wins, the same on every node: the
//! one of the later start, and within one start the one that has come back more often.
//!
//! Does not know: bytes, time, what state a member is in.

use core::net::{IpAddr, SocketAddr};
use shoal_core::NodeId;

/// Why nobody can be a member under this identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Node ids begin at 1; the map gives them.
    #[error("a member needs a node id of the map, and 0 is none")]
    NoNode,
    /// Nobody could send to it.
    #[error("{0} is no address that other members can send to")]
    Unreachable(SocketAddr),
}

/// One life of a node as the others see it.
///
/// The fields stand in the order in which two identities of one node are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    start: u64,
    renewals: u32,
    leaving: bool,
    node: NodeId,
    address: SocketAddr,
}

impl Identity {
    /// `node` as it was started for the `start`th time, which takes datagrams at `address`.
    ///
    /// The number must rise with every start, or an earlier process of the node cannot be told
    /// from this one: it is the count of incarnations that the node's data directory keeps, which
    /// is raised durably before anything is said under it. A node whose directory was replaced has
    /// another id, and may begin with 1 again.
    ///
    /// # Errors
    ///
    /// If the node is 0, or the address is a wildcard or has port 0.
    pub fn new(node: NodeId, start: u64, address: SocketAddr) -> Result<Self, IdentityError> {
        if node == NodeId::default() {
            return Err(IdentityError::NoNode);
        }
        if address.ip().is_unspecified() || address.port() == 0 {
            return Err(IdentityError::Unreachable(address));
        }
        // Zones and flow labels mean nothing on another machine.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Ok(Self { start, renewals: 0, leaving: false, node, address })
    }

    /// The same node, come back for the `renewals`th time within one start.
    pub(super) const fn renewed(self, renewals: u32) -> Self {
        Self { renewals, ..self }
    }

    /// The same node as it says goodbye.
    pub(super) const fn leaving(self) -> Self {
        Self { leaving: true, ..self }
    }

    /// The node's id in the map.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Which start of the node this is, as its data directory counts them; of two, the greater is
    /// the later.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Where it takes datagrams.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) const fn renewals(&self) -> u32 {
        self.renewals
    }

    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Whether only processes of this machine can send from or to `address`.
    pub(super) fn is_local(address: IpAddr) -> bool {
        address.to_canonical().is_loopback()
    }
}

impl foca::Identity for Identity {
    type Addr = NodeId;

    /// Declared down while alive: the node comes back under the next number, at once. Its id is
    /// never given to another node, so nobody else can be meant by it.
    fn renew(&self) -> Option<Self> {
        if self.leaving {
            return None;
        }
        self.renewals.checked_add(1).map(|renewals| self.renewed(renewals))
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self > adversary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Identity as _;

    fn identity(start: u64) -> Identity {
        Identity::new(NodeId(3), start, "10.0.0.3:7001".parse().unwrap()).unwrap()
    }

    #[test]
    fn the_later_life_wins() {
        let lives = [
            identity(1),
            identity(1).renew().unwrap(),
            identity(1).renew().unwrap().leaving(),
            identity(1).renewed(2),
            identity(2),
        ];
        for (at, earlier) in lives.iter().enumerate() {
            for later in &lives[at + 1..] {
                assert!(later.win_addr_conflict(earlier), "{later:?}");
                assert!(!earlier.win_addr_conflict(later), "{earlier:?}");
            }
        }
        assert_eq!(identity(1).leaving().renew(), None);
    }

    #[test]
    fn who_cannot_be_reached_is_no_member() {
        for address in ["0.0.0.0:7001", "[::]:7001", "10.0.0.1:0"] {
            let address = address.parse().unwrap();
            let error = Identity::new(NodeId(1), 1, address).unwrap_err();
            assert_eq!(error, IdentityError::Unreachable(address));
        }
        let address = "10.0.0.1:1".parse().unwrap();
        assert_eq!(Identity::new(NodeId(0), 1, address), Err(IdentityError::NoNode));
        let mapped = Identity::new(NodeId(1), 1, "[::ffff:127.0.0.1]:9".parse().unwrap()).unwrap();
        assert_eq!(mapped.address(), "127.0.0.1:9".parse().unwrap());
    }
}
