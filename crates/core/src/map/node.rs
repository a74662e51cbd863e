//! One node, as the map knows it.
//!
//! Holds: what people choose about a node is bounded, so that a map stays small whatever is asked.

use super::MapError;
use super::name::check_node_name;
use std::collections::BTreeMap;

/// The most nodes that a map may name, gone ones among them.
pub const MAX_NODES: usize = 1_000;
/// The most that a node may take on, where 100 is the usual.
pub const MAX_WEIGHT: u16 = 10_000;
/// The most tags of one node.
pub const MAX_TAGS: usize = 32;
/// The longest value of a tag, in bytes. Its name is bounded like that of a node.
pub const MAX_TAG_VALUE: usize = 256;
/// The longest address, in bytes: a host name of 255, a colon and a port.
pub const MAX_ADDRESS: usize = 261;
/// A node's weight unless said otherwise.
const USUAL_WEIGHT: u16 = 100;

/// One node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// What people call it; unique among the nodes that are not gone.
    pub name: String,
    /// Names the node's present start. Swapped for a new one at every start, so that of two
    /// copies of a data directory only one is ever let in.
    pub token: u64,
    /// Where it stands: replicas are spread over zones.
    pub zone: Option<String>,
    /// How much it takes on, compared with the others; 100 is the usual, 0 takes nothing new.
    pub weight: u16,
    /// What else people note about it, by name.
    pub tags: BTreeMap<String, String>,
    /// Where it is to be reached.
    pub addresses: Addresses,
    /// How far it has come.
    pub state: NodeState,
}

/// Where a node is to be reached, each as `host:port` as others reach it; `None` while nobody
/// has said so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// By the other nodes.
    pub peer: Option<String>,
    /// By clients.
    pub client: Option<String>,
    /// By clients that know the map and ask each node for its own part.
    pub cluster_client: Option<String>,
}

/// How far a node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// It has an id, but did not start as a member yet: it owns nothing.
    Joining,
    /// It may own partitions, whether or not it is up.
    Member,
    /// It never comes back; its places are being taken by others.
    Gone,
}

/// What a node says about itself when it joins and when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// See [`NodeInfo::zone`].
    pub zone: Option<String>,
    /// See [`NodeInfo::weight`].
    pub weight: u16,
    /// See [`NodeInfo::tags`].
    pub tags: BTreeMap<String, String>,
    /// See [`NodeInfo::addresses`].
    pub addresses: Addresses,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            zone: None,
            weight: USUAL_WEIGHT,
            tags: BTreeMap::new(),
            addresses: Addresses::default(),
        }
    }
}

impl NodeInfo {
    /// The node that `profile` describes.
    #[must_use]
    pub fn new(name: String, token: u64, profile: Profile, state: NodeState) -> Self {
        let Profile { zone, weight, tags, addresses } = profile;
        Self { name, token, zone, weight, tags, addresses, state }
    }

    /// What the node says about itself.
    #[must_use]
    pub fn profile(&self) -> Profile {
        Profile {
            zone: self.zone.clone(),
            weight: self.weight,
            tags: self.tags.clone(),
            addresses: self.addresses.clone(),
        }
    }

    /// Puts what the node says about itself now in the place of what it said before.
    pub(super) fn describe(&mut self, profile: Profile) {
        let Profile { zone, weight, tags, addresses } = profile;
        (self.zone, self.weight, self.tags, self.addresses) = (zone, weight, tags, addresses);
    }

    /// Whether it may own partitions.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.state == NodeState::Member
    }

    /// Whether it never comes back.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.state == NodeState::Gone
    }
}

impl Profile {
    /// Refuses what is longer than the bounds or not of the form it should have.
    pub(super) fn check(&self) -> Result<(), MapError> {
        let refuse = |field, why| Err(MapError::InvalidProfile { field, why });
        if self.zone.as_ref().is_some_and(|zone| check_node_name(zone).is_err()) {
            return refuse("zone", "it wants 1 to 64 letters, digits, dots, _ and -");
        }
        if self.weight > MAX_WEIGHT {
            return refuse("weight", "it goes from 0 to 10000; 100 is the usual");
        }
        if self.tags.len() > MAX_TAGS {
            return refuse("tags", "a node has at most 32");
        }
        for (name, value) in &self.tags {
            if check_node_name(name).is_err() {
                return refuse("tags", "a name wants 1 to 64 letters, digits, dots, _ and -");
            }
            if value.len() > MAX_TAG_VALUE || value.chars().any(char::is_control) {
                return refuse("tags", "a value has at most 256 bytes and no control characters");
            }
        }
        let Addresses { peer, client, cluster_client } = &self.addresses;
        let addresses = [("peer", peer), ("client", client), ("cluster_client", cluster_client)];
        for (field, address) in addresses {
            if address.as_ref().is_some_and(|address| !is_address(address)) {
                return refuse(field, "an address is host:port, in at most 261 bytes");
            }
        }
        Ok(())
    }
}

/// Whether others may try to connect to this: a host, a colon and a port.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0);
    text.len() <= MAX_ADDRESS
        && !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_graphic())
        && is_port
}
