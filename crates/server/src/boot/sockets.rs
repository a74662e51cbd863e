//! The sockets that a server opens before its node: for clients, for clients that know the
//! cluster, and for other nodes.
//!
//! Holds: an address that was asked for is listened on, or the server does not start. One that
//! only follows from another may be taken by somebody else: the server says so and does without.

use super::BootError;
use crate::config::{Origin, PeerSettings, Resolved, first_tcp};
use crate::listener::{BindError, Bound, ListenAddress, bind, bind_for_cluster, is_loopback};
use crate::network::TcpNetwork;
use shoal_core::map::{Addresses, Profile};
use shoal_node::cluster::{First, Network as _, Peers};
use shoal_storage::directory::DataDirectory;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Everything a server listens on.
pub(super) struct Sockets {
    /// For clients, of either kind.
    pub(super) bound: Vec<Bound>,
    /// Where ordinary clients come.
    pub(super) addresses: Vec<ListenAddress>,
    /// For other nodes.
    pub(super) network: Option<Arc<TcpNetwork>>,
    /// Where clients come that know the cluster.
    cluster: Option<SocketAddr>,
}

impl Sockets {
    /// Opens what `config` asks for.
    ///
    /// # Errors
    /// The address that cannot be listened on.
    pub(super) fn open(config: &Resolved) -> Result<Self, BootError> {
        check_beginning(config)?;
        let mut bound: Vec<Bound> = config.listen.iter().map(bind).collect::<Result<_, _>>()?;
        let addresses = bound.iter().map(|bound| bound.address.clone()).collect();
        let network = open_network(config)?.map(Arc::new);
        let mut cluster = None;
        if let Some(listener) = open_for_cluster(config, network.is_some())? {
            if let ListenAddress::Tcp(address) = listener.address {
                cluster = Some(address);
            }
            bound.push(listener);
        }
        Ok(Self { bound, addresses, network, cluster })
    }

    /// How the node meets others.
    pub(super) fn peers(&self, config: &Resolved) -> Option<Peers> {
        let network = Arc::clone(self.network.as_ref()?);
        let PeerSettings { secret, zone, weight, tags, .. } = config.peers.clone();
        let profile = Profile { zone, weight, tags, addresses: self.reachable_at(&config.peers) };
        Some(Peers { network, secret, profile, first: first(&config.peers) })
    }

    /// Where clients reach the node. Where other nodes do, it says itself.
    fn reachable_at(&self, settings: &PeerSettings) -> Addresses {
        let own = first_tcp(&self.addresses);
        let advertised =
            settings.advertise_client.as_ref().map(|text| match text.strip_suffix(":0") {
                Some(host) => format!("{host}:{}", own.map_or(0, |own| own.port())),
                None => text.clone(),
            });
        let host =
            settings.advertise_client.as_ref().and_then(|text| Some(text.rsplit_once(':')?.0));
        let cluster_client = self.cluster.and_then(|address| match host {
            Some(host) => Some(format!("{host}:{}", address.port())),
            None => own_address(address),
        });
        Addresses {
            peer: self.network.as_ref().map(|network| network.address().to_string()),
            // A node that clients reach by a unix socket only is not reached from elsewhere.
            client: own.and_then(|own| advertised.or_else(|| own_address(own))),
            cluster_client,
        }
    }
}

/// The address, unless it stands for every one.
fn own_address(address: SocketAddr) -> Option<String> {
    (!address.ip().is_unspecified()).then(|| address.to_string())
}

/// How a node comes to a cluster whose directory belongs to none.
fn first(settings: &PeerSettings) -> First {
    let seeds = settings.join.clone();
    match settings.expect {
        Some(nodes) => First::Expect { seeds, nodes },
        None if seeds.is_empty() => First::Found,
        None => First::Join { seeds, replace: settings.replace.is_some() },
    }
}

/// A first start that other machines can reach must say what it is. A node whose directory was
/// lost would else found a second cluster, by the command that once founded the first.
fn check_beginning(config: &Resolved) -> Result<(), BootError> {
    let settings = &config.peers;
    let said = settings.bootstrap || settings.expect.is_some() || !settings.join.is_empty();
    match settings.listen {
        Some(listen)
            if !said && !is_loopback(listen.ip()) && !DataDirectory::is_owned(&config.data) =>
        {
            Err(BootError::Beginning { listen })
        }
        _ => Ok(()),
    }
}

fn open_network(config: &Resolved) -> Result<Option<TcpNetwork>, BootError> {
    let settings = &config.peers;
    let Some(listen) = settings.listen else { return Ok(None) };
    match TcpNetwork::bind(listen, settings.advertise, settings.secret.clone()) {
        Ok(network) => Ok(Some(network)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !settings.asked => {
            tracing::warn!(
                %listen,
                "another program listens where other nodes would connect, so this node has no \
                 peers; give it another address with --peer-listen"
            );
            Ok(None)
        }
        Err(error) => Err(BootError::Peers { listen, error }),
    }
}

fn open_for_cluster(config: &Resolved, has_peers: bool) -> Result<Option<Bound>, BootError> {
    let asked = config.origin("cluster_listen") != Origin::Default;
    let wanted = config.cluster_listen.as_ref().filter(|_| asked || has_peers);
    let Some(listen) = wanted else { return Ok(None) };
    match bind_for_cluster(listen) {
        Ok(bound) => Ok(Some(bound)),
        Err(BindError::InUse(_)) if !asked => {
            tracing::warn!(
                %listen,
                "another program listens where clients that know the cluster would connect; give \
                 another address with --cluster-listen"
            );
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Raw, Words, resolve};
    use shoal_node::secret::ClusterSecret;
    use std::path::Path;

    fn settings(data: &Path, more: &[(&str, &str)]) -> Resolved {
        let mut raw = Raw::default();
        let data = data.join("data");
        let given = [("data", data.to_str().expect("a plain path")), ("listen", "127.0.0.1:0")];
        for (name, value) in given.iter().chain(more) {
            let words = value.split(' ').map(str::to_owned).collect::<Vec<_>>();
            assert!(raw.set(name, Words(words)), "there is no setting {name}");
        }
        resolve(&[(Origin::Flag, raw)]).expect("the settings are sound")
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_node_says_where_it_is_reached() {
        let folder = tempfile::tempdir().expect("a folder");
        let config =
            settings(folder.path(), &[("zone", "z1"), ("tag", "a=1 b=2"), ("weight", "7")]);
        let sockets = Sockets::open(&config).expect("ports are free");
        let peers = sockets.peers(&config).expect("it has peers");
        assert_eq!(peers.first, First::Found);
        let Profile { zone, weight, tags, addresses } = peers.profile;
        assert_eq!((zone.as_deref(), weight, tags.len()), (Some("z1"), 7, 2));
        assert_eq!(addresses.peer, Some(peers.network.address().to_string()));
        assert_eq!(addresses.client, Some(sockets.addresses[0].to_string()));
        assert_eq!(addresses.cluster_client, Some(sockets.bound[1].address.to_string()));
        assert!(sockets.bound[1].knows_cluster && !sockets.bound[0].knows_cluster);
        let ports: std::collections::BTreeSet<_> =
            [addresses.peer, addresses.client, addresses.cluster_client].into_iter().collect();
        assert_eq!(ports.len(), 3);
    }

    #[test]
    fn clients_are_told_what_is_advertised_with_real_ports() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = settings(folder.path(), &[("advertise_client", "n1.example.org:0")]);
        let sockets = Sockets::open(&config).expect("ports are free");
        let addresses = sockets.peers(&config).expect("it has peers").profile.addresses;
        let own = first_tcp(&sockets.addresses).expect("it listens").port();
        assert_eq!(addresses.client, Some(format!("n1.example.org:{own}")));
        let cluster = addresses.cluster_client.expect("it listens");
        assert!(cluster.starts_with("n1.example.org:") && !cluster.ends_with(":0"), "{cluster}");
    }

    #[test]
    fn how_it_begins_is_what_was_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let seeds = vec!["127.0.0.1:1".to_owned(), "n2:2".to_owned()];
        for (more, expected) in [
            (&[][..], First::Found),
            (&[("bootstrap", "true")], First::Found),
            (&[("join", "127.0.0.1:1 n2:2")], First::Join { seeds: seeds.clone(), replace: false }),
            (
                &[("join", "127.0.0.1:1 n2:2"), ("replace", "n3")],
                First::Join { seeds: seeds.clone(), replace: true },
            ),
            (&[("join", "127.0.0.1:1 n2:2"), ("expect", "3")], First::Expect { seeds, nodes: 3 }),
        ] {
            assert_eq!(first(&settings(folder.path(), more).peers), expected, "{more:?}");
        }
    }

    #[test]
    fn a_first_start_that_others_reach_must_say_what_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, crate::network::fresh_secret().expect("bytes")).expect("written");
        let open = [
            ("peer_listen", "192.0.2.1:0"),
            ("secret_file", secret.to_str().expect("a plain path")),
        ];
        let config = settings(folder.path(), &open);
        let refused = check_beginning(&config).expect_err("it does not say");
        let text = refused.to_string();
        for word in ["192.0.2.1:0", "--bootstrap", "--join", "--expect"] {
            assert!(text.contains(word), "{text}");
        }
        for said in [("bootstrap", "true"), ("join", "192.0.2.2:1")] {
            let config = settings(folder.path(), &[open[0], open[1], said]);
            assert!(check_beginning(&config).is_ok(), "{said:?}");
        }
        // Once it belongs to somebody it need not say so again.
        drop(DataDirectory::open(&config.data, || (7, 1)).expect("it is made"));
        assert!(check_beginning(&config).is_ok());
    }

    #[test]
    fn a_taken_address_is_refused_where_it_was_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = TcpNetwork::bind(address("127.0.0.1:0"), None, ClusterSecret::none());
        let taken = taken.expect("a port is free");
        let at = taken.bound().to_string();
        let mut config = settings(folder.path(), &[("peer_listen", &at)]);
        match Sockets::open(&config) {
            Err(BootError::Peers { listen, .. }) => assert_eq!(listen.to_string(), at),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it is taken"),
        }
        // The same address, had it only followed from that of the clients.
        config.peers.asked = false;
        let sockets = Sockets::open(&config).expect("it does without");
        assert!(sockets.network.is_none() && sockets.peers(&config).is_none());
        assert_eq!(sockets.bound.len(), 1, "nor are there clients that know the cluster");
    }
}
