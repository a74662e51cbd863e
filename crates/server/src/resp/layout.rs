//! The cluster as clients are shown it that ask each node for its own part: which nodes there are,
//! where they are to be reached, and which slots each of them leads.
//!
//! Holds: every slot belongs to exactly one node, its first owner that is up; runs of slots are as
//! long as they can be. A node's name of 40 digits is the same as long as the cluster and the node
//! are.
//!
//! Does not know: how it is written as a reply, or who is up but by what it is told.

use shoal_core::map::{ClusterMap, NodeState};
use shoal_core::slot::SLOT_COUNT;
use shoal_core::{ClusterId, NodeId};
use std::ops::RangeInclusive;
use xxhash_rust::xxh3::xxh3_128;

/// The name of a node as Redis writes it.
pub(crate) fn node_name(cluster: ClusterId, node: NodeId) -> String {
    let digest = xxh3_128(&cluster.0.to_be_bytes());
    format!("{digest:032x}{:08x}", node.0)
}

/// Where a node is to be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Its host, without brackets; empty where nobody has said it.
    pub(crate) host: String,
    /// Its port; 0 where nobody has said it.
    pub(crate) port: u16,
}

impl Endpoint {
    /// What `host:port` says.
    pub(crate) fn parse(text: &str) -> Self {
        let Some((host, port)) = text.rsplit_once(':') else { return Self::default() };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_owned();
        Self { host, port: port.parse().unwrap_or(0) }
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its name of 40 digits.
    pub(crate) name: String,
    /// Where clients reach it that know the cluster.
    pub(crate) endpoint: Endpoint,
    /// The port at which other nodes reach it.
    pub(crate) bus: u32,
    /// Whether it is the node that answers.
    pub(crate) is_this: bool,
    /// Whether it is up.
    pub(crate) up: bool,
    /// The slots that it leads, in ascending runs.
    pub(crate) runs: Vec<RangeInclusive<u16>>,
}

/// The nodes of a cluster, by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The index of the map's version.
    pub(crate) epoch: u64,
    /// The members.
    pub(crate) places: Vec<Place>,
}

/// What a node sees of its cluster.
pub(crate) struct View<'a> {
    /// The map.
    pub(crate) map: &'a ClusterMap,
    /// The node that answers.
    pub(crate) me: NodeId,
    /// Where it is to be reached as long as it is alone, or where the map does not say.
    pub(crate) own: Endpoint,
    /// Who leads which slots of the keyspace that is shown.
    pub(crate) leaders: &'a [(RangeInclusive<u16>, NodeId)],
}

impl Layout {
    /// What `view` looks like; `up` says who is up.
    pub(crate) fn of(view: &View<'_>, up: impl Fn(NodeId) -> bool) -> Self {
        let is_shown = |node: &NodeId, state: NodeState| {
            state == NodeState::Member || view.leaders.iter().any(|(_, leader)| leader == node)
        };
        let shown = view.map.nodes.iter().filter(|(node, info)| is_shown(node, info.state));
        let shown: Vec<_> = shown.collect();
        let alone = shown.len() == 1;
        let places = shown.into_iter().map(|(node, info)| {
            let is_this = *node == view.me;
            let addresses = &info.addresses;
            let said = addresses.cluster_client.as_ref().or(addresses.client.as_ref());
            let said = said.map(|text| Endpoint::parse(text));
            let endpoint = match said {
                Some(endpoint) if !(alone && is_this) => endpoint,
                _ if is_this => view.own.clone(),
                _ => Endpoint::default(),
            };
            let peer = addresses.peer.as_ref().map(|text| Endpoint::parse(text).port);
            let runs = view.leaders.iter().filter(|(_, leader)| leader == node);
            Place {
                name: node_name(view.map.cluster, *node),
                bus: peer.map_or_else(|| u32::from(endpoint.port) + 1, u32::from),
                endpoint,
                is_this,
                up: is_this || up(*node),
                runs: runs.map(|(run, _)| run.clone()).collect(),
            }
        });
        Self { epoch: view.map.version.index, places: places.collect() }
    }

    /// The runs with their nodes, in ascending order.
    pub(crate) fn runs(&self) -> Vec<(RangeInclusive<u16>, &Place)> {
        let of = |place| move |run: &RangeInclusive<u16>| (run.clone(), place);
        let mut runs: Vec<_> =
            self.places.iter().flat_map(|place| place.runs.iter().map(of(place))).collect();
        runs.sort_by_key(|(run, _)| *run.start());
        runs
    }

    /// The nodes that lead something.
    pub(crate) fn leading(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| !place.runs.is_empty())
    }

    /// How many slots are led by nodes that are up.
    pub(crate) fn live_slots(&self) -> usize {
        let live = self.places.iter().filter(|place| place.up);
        live.flat_map(|place| &place.runs).map(ExactSizeIterator::len).sum()
    }

    /// Whether every slot is led by a node that is up.
    pub(crate) fn is_live(&self) -> bool {
        self.live_slots() == usize::from(SLOT_COUNT)
    }

    /// The lines of CLUSTER NODES.
    pub(crate) fn lines(&self) -> String {
        let mut text = String::new();
        for place in &self.places {
            let Place { name, endpoint: Endpoint { host, port }, bus, is_this, up, runs } = place;
            let myself = if *is_this { "myself," } else { "" };
            let (fail, link) = if *up { ("", "connected") } else { (",fail", "disconnected") };
            let epoch = self.epoch;
            text +=
                &format!("{name} {host}:{port}@{bus} {myself}master{fail} - 0 0 {epoch} {link}");
            for run in runs {
                if run.start() == run.end() {
                    text += &format!(" {}", run.start());
                } else {
                    text += &format!(" {}-{}", run.start(), run.end());
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_core::control::executor;
    use shoal_core::map::{Addresses, Command, EngineKind, KeyspaceSpec, Profile};
    use shoal_core::slot::Partitioning;

    fn profile(node: u32) -> Profile {
        let addresses = Addresses {
            peer: Some(format!("10.0.0.{node}:7401")),
            client: Some(format!("10.0.0.{node}:7400")),
            cluster_client: Some(format!("10.0.0.{node}:7402")),
        };
        Profile { addresses, ..Profile::default() }
    }

    /// A map of as many nodes, with a keyspace of eight partitions.
    fn map(nodes: u32) -> ClusterMap {
        let spec = KeyspaceSpec {
            partitioning: Partitioning::new(8).expect("a power of two"),
            ..KeyspaceSpec::new(EngineKind::Memory)
        };
        let found = Command::Found {
            cluster: ClusterId(7),
            node_name: "n1".to_owned(),
            token: 1,
            hash_seed: 7,
            default: spec,
            profile: profile(1),
        };
        let mut map = ClusterMap::default().apply(&found).expect("it is founded");
        for node in 2..=nodes {
            let (name, token) = (format!("n{node}"), node.into());
            let join = Command::Join { name, token, profile: profile(node), replaces: None };
            map = map.apply(&join).expect("it is let in");
            let start =
                Command::StartNode { node: NodeId(node), presented: token, next: 9, profile: None };
            map = map.apply(&start).expect("it starts");
        }
        let name = "ks".to_owned();
        let create = Command::CreateKeyspace { name, spec, database: Some(16) };
        map.apply(&create).expect("it is made")
    }

    fn layout(map: &ClusterMap, name: &str, up: impl Fn(NodeId) -> bool + Copy) -> Layout {
        let keyspace = map.keyspace(name).expect("it is there");
        let leaders = executor::leaders(keyspace, up);
        let own = Endpoint::parse("127.0.0.1:7400");
        let view = View { map, me: NodeId(1), own, leaders: &leaders };
        Layout::of(&view, up)
    }

    #[test]
    fn every_slot_has_one_node_and_runs_are_merged() {
        let layout = layout(&map(3), "ks", |_| true);
        let mut next = 0;
        let runs = layout.runs();
        for (run, _) in &runs {
            assert_eq!(*run.start(), next, "no gap and no overlap");
            next = run.end() + 1;
        }
        assert_eq!(next, SLOT_COUNT);
        for pair in runs.windows(2) {
            assert_ne!(pair[0].1.name, pair[1].1.name, "neighbours of one node are one run");
        }
        assert!(layout.is_live() && layout.leading().count() > 1);
        let ports: Vec<_> = layout.places.iter().map(|p| (p.endpoint.port, p.bus)).collect();
        assert_eq!(ports, [(7402, 7401); 3], "the listener of those who know the cluster");
    }

    #[test]
    fn who_is_down_leads_nothing_and_is_shown_as_failed() {
        let map = map(3);
        let layout = layout(&map, "ks", |node| node != NodeId(3));
        assert!(layout.is_live());
        let three = &layout.places[2];
        assert!(three.runs.is_empty() && !three.up);
        let lines = layout.lines();
        let line = lines.lines().find(|line| line.contains("10.0.0.3")).expect("it is listed");
        assert!(line.ends_with("master,fail - 0 0 4 disconnected") || line.contains(",fail - "));
        assert!(lines.lines().next().is_some_and(|line| line.contains(" myself,master - ")));
    }

    #[test]
    fn where_nobody_is_up_the_slots_are_not_live() {
        // `default` was made while there was one node.
        let map = map(3);
        let keyspace = map.keyspace("default").expect("it is there");
        let leaders = executor::leaders(keyspace, |_| false);
        let own = Endpoint::default();
        let view = View { map: &map, me: NodeId(2), own, leaders: &leaders };
        let layout = Layout::of(&view, |_| false);
        assert_eq!((layout.live_slots(), layout.runs().len()), (0, 1));
    }

    #[test]
    fn a_node_alone_is_where_it_listens() {
        let layout = layout(&map(1), "default", |_| true);
        assert_eq!(layout.places[0].endpoint, Endpoint::parse("127.0.0.1:7400"));
        let lines = layout.lines();
        assert!(lines.contains(" 127.0.0.1:7400@7401 myself,master - 0 0 "), "{lines}");
        assert!(lines.ends_with(" connected 0-16383\n"), "{lines}");
    }

    #[test]
    fn names_are_stable_and_differ() {
        let name = |cluster, node| node_name(ClusterId(cluster), NodeId(node));
        assert_eq!(name(7, 1).len(), 40);
        assert!(name(7, 1).bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(name(7, 1), name(7, 1));
        assert!(name(7, 1) != name(7, 2) && name(7, 1) != name(8, 1));
    }

    #[test]
    fn endpoints_are_read_with_or_without_brackets() {
        for (text, host, port) in [
            ("10.0.0.1:7400", "10.0.0.1", 7400),
            ("[::1]:7400", "::1", 7400),
            ("a.example:1", "a.example", 1),
            ("nothing", "", 0),
        ] {
            assert_eq!(Endpoint::parse(text), Endpoint { host: host.to_owned(), port }, "{text}");
        }
    }
}
