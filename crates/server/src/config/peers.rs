//! What the settings say about other nodes: where they meet this one, and how it comes to them.
//!
//! Holds: where nothing was said a node listens for peers only where that opens nothing: on
//! loopback, or where there is a secret. The secret is never shown.

use super::raw::{Origin, Problem};
use super::resolve::{Reader, Resolved, read_address, read_bool, read_name};
use crate::listener::{ListenAddress, is_loopback};
use shoal_core::map::{MAX_TAG_VALUE, MAX_TAGS, MAX_WEIGHT};
use shoal_node::discovery::StaticPeers;
use shoal_node::secret::ClusterSecret;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The environment's other way of giving the secret.
pub(super) const SECRET_VARIABLE: &str = "SHOAL_CLUSTER_SECRET";

/// What stands for a setting that is to have no value.
const NONE: &str = "none";

/// The nodes that a cluster may be founded by together.
const EXPECTED: std::ops::RangeInclusive<u16> = 2..=64;

/// What a node knows of others before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// Where other nodes connect; `None` for a node that is to stay alone.
    pub listen: Option<SocketAddr>,
    /// Whether it was said that there are to be peers, rather than nothing said at all.
    pub asked: bool,
    /// Where others reach it, if not there. Port 0 stands for that of the listener.
    pub advertise: Option<SocketAddr>,
    /// Where clients are told to reach it, if not where it listens. Port 0 stands for that of the
    /// listener.
    pub advertise_client: Option<String>,
    /// The file of the secret.
    pub secret_file: Option<PathBuf>,
    /// The secret, or none.
    pub secret: ClusterSecret,
    /// Nodes of the cluster to join.
    pub join: Vec<String>,
    /// Whether to found a cluster.
    pub bootstrap: bool,
    /// How many nodes are to found one together.
    pub expect: Option<u16>,
    /// The node whose name and places it takes.
    pub replace: Option<String>,
    /// Where it stands.
    pub zone: Option<String>,
    /// How much it takes on.
    pub weight: u16,
    /// What else is to be noted about it.
    pub tags: BTreeMap<String, String>,
}

impl PeerSettings {
    /// Reads them; `listen` is where clients connect.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        listen: &[ListenAddress],
        secret_text: Option<&str>,
    ) -> Self {
        let address = reader.maybe("peer_listen", read_tcp);
        let advertise = reader.maybe("advertise", read_tcp).flatten();
        let advertise_client = reader.maybe("advertise_client", read_reachable).flatten();
        let (secret_file, secret) = read_secret(reader, secret_text);
        let join = reader.some("join", read_seed);
        let bootstrap = reader.one("bootstrap", read_bool);
        let expect = reader.maybe("expect", read_expected).flatten();
        let asked = bootstrap
            || expect.is_some()
            || !join.is_empty()
            || !secret.is_public()
            || advertise.is_some()
            || address.is_some_and(|address| address.is_some());
        let derived = || {
            let near = beside(listen, 1)?;
            (asked || is_loopback(near.ip())).then_some(near)
        };
        let tags = reader.some("tag", read_tag);
        if tags.len() > MAX_TAGS {
            reader
                .note(format!("The setting tag has {} tags; give at most {MAX_TAGS}.", tags.len()));
        }
        Self {
            listen: address.unwrap_or_else(derived),
            asked,
            advertise,
            advertise_client,
            secret_file,
            secret,
            join,
            bootstrap,
            expect,
            replace: reader.maybe("replace", read_name).flatten(),
            zone: reader.maybe("zone", read_name).flatten(),
            weight: reader.one("weight", read_weight),
            tags: tags.into_iter().collect(),
        }
    }

    /// Where clients connect that know the map.
    pub(super) fn read_cluster_listen(
        &self,
        reader: &mut Reader<'_>,
        listen: &[ListenAddress],
    ) -> Option<ListenAddress> {
        let given = reader.maybe("cluster_listen", read_tcp);
        let derived = || self.listen.and_then(|_| beside(listen, 2));
        given.unwrap_or_else(derived).map(ListenAddress::Tcp)
    }

    /// The value of one of these settings, as it could be written; `None` for another's name.
    pub(super) fn value_of(&self, name: &str) -> Option<String> {
        fn shown<T: ToString>(value: Option<&T>) -> String {
            value.map_or_else(|| NONE.to_owned(), ToString::to_string)
        }
        let listed = |words: Vec<String>| {
            if words.is_empty() { NONE.to_owned() } else { words.join(",") }
        };
        Some(match name {
            "peer_listen" => shown(self.listen.as_ref()),
            "advertise" => shown(self.advertise.as_ref()),
            "advertise_client" => shown(self.advertise_client.as_ref()),
            "secret_file" => shown(self.secret_file.as_ref().map(|path| path.display()).as_ref()),
            "join" => listed(self.join.clone()),
            "bootstrap" => self.bootstrap.to_string(),
            "expect" => shown(self.expect.as_ref()),
            "replace" => shown(self.replace.as_ref()),
            "zone" => shown(self.zone.as_ref()),
            "weight" => self.weight.to_string(),
            "tag" => {
                listed(self.tags.iter().map(|(name, value)| format!("{name}={value}")).collect())
            }
            _ => return None,
        })
    }
}

/// What none of the settings about peers can show alone.
pub(super) fn check(resolved: &Resolved, problems: &mut Vec<Problem>) {
    let peers = &resolved.peers;
    let mut refuse = |problem: String| problems.push(Problem(problem));
    check_beginning(resolved, &mut refuse);
    let Some(listen) = peers.listen else {
        if !peers.join.is_empty() || peers.expect.is_some() || peers.bootstrap {
            refuse(
                "There is no address where other nodes could connect, so this one can be in no \
                 cluster with them; give one with --peer-listen HOST:PORT, or leave out join, \
                 expect and bootstrap."
                    .to_owned(),
            );
        }
        return;
    };
    let reached = peers.advertise.unwrap_or(listen);
    if reached.ip().is_unspecified() {
        refuse(format!(
            "Other nodes cannot reach this one at {reached}, which stands for every address; \
             say which one they are to use with --advertise HOST:PORT."
        ));
    }
    if peers.secret.is_public() && !(is_loopback(listen.ip()) && is_loopback(reached.ip())) {
        refuse(format!(
            "Refusing to listen for other nodes on {listen} without a cluster secret: whoever \
             reaches it could join. Make one with `shoal cluster secret` and give it to every \
             node with --secret-file FILE or {SECRET_VARIABLE}, or listen on 127.0.0.1."
        ));
    }
    if peers.advertise_client.is_none()
        && let Some(open) = first_tcp(&resolved.listen).filter(|at| at.ip().is_unspecified())
    {
        refuse(format!(
            "Clients cannot be told to reach this node at {open}, which stands for every \
             address; say which one they are to use with --advertise-client HOST:PORT."
        ));
    }
    if let Some(client) = resolved.cluster_listen.as_ref().filter(|at| !at.is_loopback())
        && !resolved.insecure_open
    {
        refuse(format!(
            "Refusing to listen on {client} (cluster_listen): it can be reached from other \
             machines, and there is neither encryption nor authentication yet. Listen on \
             127.0.0.1, or accept that everyone who reaches the port can read and change \
             everything with --insecure-open."
        ));
    }
}

/// What was said about how the node comes to a cluster, if it contradicts itself.
fn check_beginning(resolved: &Resolved, refuse: &mut impl FnMut(String)) {
    let peers = &resolved.peers;
    if peers.bootstrap && !peers.join.is_empty() {
        refuse(
            "Both bootstrap and join are given, but a node either founds a cluster or joins one; \
             give one of them."
                .to_owned(),
        );
    }
    if peers.expect.is_some() && (peers.bootstrap || peers.join.is_empty()) {
        refuse(
            "With expect, nodes found a cluster together once they have found each other; say \
             where with --join HOST:PORT, and leave out bootstrap."
                .to_owned(),
        );
    }
    if peers.replace.is_some() && (peers.join.is_empty() || peers.expect.is_some()) {
        refuse(
            "With replace, a node takes the place of another in its cluster; say where that is \
             reached with --join HOST:PORT, and leave out expect."
                .to_owned(),
        );
    }
    if let Some(replaced) = &peers.replace
        && *replaced != resolved.name
        && resolved.origin("name") != Origin::Default
    {
        refuse(format!(
            "The node is called {} and is to replace {replaced}, but a node replaces only one of \
             its own name; leave out name, or give the same.",
            resolved.name
        ));
    }
}

/// The first address where clients connect by TCP.
pub(crate) fn first_tcp(listen: &[ListenAddress]) -> Option<SocketAddr> {
    listen.iter().find_map(|address| match address {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    })
}

/// The address that many ports after the first one of clients; any free port where that is any.
fn beside(listen: &[ListenAddress], ports: u16) -> Option<SocketAddr> {
    let first = first_tcp(listen)?;
    let port = if first.port() == 0 { 0 } else { first.port().checked_add(ports)? };
    Some(SocketAddr::new(first.ip(), port))
}

fn read_secret(reader: &mut Reader<'_>, text: Option<&str>) -> (Option<PathBuf>, ClusterSecret) {
    let file = reader.maybe("secret_file", |path| Ok(PathBuf::from(path))).flatten();
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        ClusterSecret::parse(&text).map_err(|error| error.to_string())
    };
    let secret = match (&file, text) {
        (Some(_), Some(_)) => {
            reader.note(format!(
                "The cluster secret is given twice, with secret_file and with {SECRET_VARIABLE}; \
                 give it once."
            ));
            None
        }
        (Some(path), None) => match read(path) {
            Ok(secret) => Some(secret),
            Err(why) => {
                reader.note(format!(
                    "The cluster secret cannot be read from {}: {why}; `shoal cluster secret` \
                     makes one.",
                    path.display()
                ));
                None
            }
        },
        (None, Some(text)) => match ClusterSecret::parse(text) {
            Ok(secret) => Some(secret),
            Err(why) => {
                reader.note(format!(
                    "The variable {SECRET_VARIABLE} is wrong: {why}; `shoal cluster secret` makes \
                     one."
                ));
                None
            }
        },
        (None, None) => None,
    };
    (file, secret.unwrap_or_else(ClusterSecret::none))
}

/// What stands for no value, or the value.
pub(super) fn unless_none<T>(
    text: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text == NONE { Ok(None) } else { read(text).map(Some) }
}

fn read_tcp(text: &str) -> Result<SocketAddr, String> {
    match read_address(text)? {
        ListenAddress::Tcp(address) => Ok(address),
        ListenAddress::Unix(_) => Err("other machines cannot reach a unix socket".to_owned()),
    }
}

fn read_seed(text: &str) -> Result<String, String> {
    match StaticPeers::new([text.to_owned()]) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// An address whose port may be 0.
fn read_reachable(text: &str) -> Result<String, String> {
    let checked = match text.strip_suffix(":0") {
        Some(host) => read_seed(&format!("{host}:1")),
        None => read_seed(text),
    };
    let wildcard = text.parse().is_ok_and(|address: SocketAddr| address.ip().is_unspecified());
    match checked {
        Ok(_) if wildcard => Err("that stands for every address".to_owned()),
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(why),
    }
}

fn read_expected(text: &str) -> Result<u16, String> {
    let count = text.parse().map_err(|_| "that is no whole number".to_owned())?;
    if EXPECTED.contains(&count) { Ok(count) } else { Err("that is out of range".to_owned()) }
}

fn read_weight(text: &str) -> Result<u16, String> {
    let weight = text.replace([',', '_'], "").parse().ok().filter(|weight| *weight <= MAX_WEIGHT);
    weight.ok_or_else(|| "that is no weight".to_owned())
}

fn read_tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no `=`")?;
    read_name(name).map_err(|_| "what stands before `=` is no name")?;
    if value.len() > MAX_TAG_VALUE || value.chars().any(char::is_control) {
        return Err("its value is too long or has control characters".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests;
