//! Links between nodes that can be cut, each way by itself: in networks of their own where those
//! can be made, else through a relay on this machine's. `SHOAL_LINKS=relay` asks for the relay.

use super::networks::{self, Networks};
use super::relay::Relay;
use super::rig::turn;
use crate::settings::say;

/// How links are cut.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Networks,
    Relay,
}

/// Links that can be cut.
pub(super) enum Links {
    Networks(Networks),
    Relay(Relay),
}

/// Runs `test`, whose full name is `name`, where it may cut links.
pub(super) fn inside(name: &str, test: impl FnOnce(Way)) {
    if networks::is_inside() {
        return test(Way::Networks);
    }
    let relay = std::env::var_os("SHOAL_LINKS").is_some_and(|wanted| wanted == "relay");
    match networks::way().filter(|_| !relay) {
        Some(way) => {
            let _one_cluster_at_a_time = turn();
            networks::run_inside(way, name);
        }
        None => {
            say(&format!("{name} goes through a relay: there are no networks of its own for it"));
            test(Way::Relay);
        }
    }
}

impl Links {
    /// Lets nothing through any more that `from` sends to `to`.
    pub(super) fn cut(&mut self, from: usize, to: usize) {
        match self {
            Self::Networks(networks) => networks.cut(from, to),
            Self::Relay(relay) => relay.cut(from, to),
        }
    }

    /// Lets everything through again.
    pub(super) fn heal(&mut self) {
        match self {
            Self::Networks(networks) => networks.heal(),
            Self::Relay(relay) => relay.heal(),
        }
    }
}
