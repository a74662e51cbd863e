//! How a node that is one of several, or may become one, is to run.

use super::Network;
use crate::secret::ClusterSecret;
use shoal_core::map::Profile;
use std::fmt;
use std::sync::Arc;

/// How a node meets others.
#[derive(Clone)]
pub struct Peers {
    /// What carries messages and datagrams.
    pub network: Arc<dyn Network>,
    /// What the members of the cluster share.
    pub secret: ClusterSecret,
    /// What the node says about itself, its addresses among it: that of its peers is filled in.
    pub profile: Profile,
    /// How a directory that belongs to no cluster yet comes to one. Once it does, nothing of this
    /// counts any more.
    pub first: First,
}

/// What a node does whose directory belongs to no cluster yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum First {
    /// It founds a cluster, of itself alone for now.
    #[default]
    Found,
    /// It joins the cluster that any of these belongs to.
    Join {
        /// Where nodes of it may be reached, as `host:port`.
        seeds: Vec<String>,
        /// Whether it takes the place of the node that has its name, which never comes back then.
        replace: bool,
    },
    /// It founds a cluster together with others that belong to none yet, once there are so many.
    Expect {
        /// Where they may be reached.
        seeds: Vec<String>,
        /// How many, itself among them.
        nodes: u16,
    },
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profile, first, .. } = self;
        let mut shown = f.debug_struct("Peers");
        shown.field("profile", profile).field("first", first).finish_non_exhaustive()
    }
}
