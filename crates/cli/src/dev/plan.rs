//! Which nodes `shoal dev` starts, and at which ports. A kept directory remembers it in
//! `dev.json`: nodes that start together find each other only where they were before.
//!
//! Holds: what is remembered is not changed by the next call, only extended by more nodes. The file
//! is written once all nodes are in the cluster; a directory with anything in it, and without the
//! file, is refused.

use super::folder::Folder;
use super::nodes::Nodes;
use crate::failure::Failure;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::Path;

/// The file's name.
const FILE: &str = "dev.json";
/// How many nodes there are where nothing is said: the fewest of which one may be lost.
const NODES: u8 = 3;
/// Where the first node listens where nothing is said.
const PORT: u16 = 7400;
/// How far the nodes' ports are from each other.
const STEP: u16 = 10;

/// The ports of one node, all on loopback; 0 for any free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// For clients and HTTP.
    pub(super) client: u16,
    /// For other nodes.
    pub(super) peers: u16,
    /// For clients that know the cluster.
    pub(super) cluster: u16,
}

/// Which nodes there are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Where the first node was told to listen.
    port: u16,
    /// Their ports, in the order of their names.
    pub(super) nodes: Vec<Ports>,
    /// How many of them there have been before.
    pub(super) old: usize,
}

impl Plan {
    /// What was asked for, with what the folder remembers.
    pub(super) fn of(
        folder: &Folder,
        nodes: Option<u8>,
        port: Option<u16>,
    ) -> Result<Self, Failure> {
        let file = folder.path().join(FILE);
        let kept = match fs::read_to_string(&file) {
            Ok(text) => {
                let plan = serde_json::from_str(&text).ok().and_then(|value| Self::read(&value));
                Some(plan.ok_or_else(|| damaged(&file))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", &file, &error)),
        };
        if kept.is_none() && folder.path().join(super::nodes::name(0)).exists() {
            let message = format!(
                "{} has nodes, but no {FILE}: their first start was cut short",
                folder.path().display()
            );
            return Err(Failure::new("dev", message).hint("remove it, or choose another directory"));
        }
        let is_empty = |path| fs::read_dir(path).map(|mut inside| inside.next().is_none());
        if kept.is_none() && !is_empty(folder.path()).unwrap_or(true) {
            let message = format!("{} has something else in it", folder.path().display());
            return Err(Failure::new("dev", message).hint("choose another directory"));
        }
        Self::joined(kept, nodes, port)
    }

    fn joined(kept: Option<Self>, nodes: Option<u8>, port: Option<u16>) -> Result<Self, Failure> {
        let is_new = kept.is_none();
        let mut plan =
            kept.unwrap_or_else(|| Self { port: port.unwrap_or(PORT), nodes: Vec::new(), old: 0 });
        let wanted = match nodes {
            Some(nodes) => usize::from(nodes),
            None if is_new => usize::from(NODES),
            None => plan.old,
        };
        if wanted < plan.old {
            let message = format!("the cluster in the directory has {} nodes", plan.old);
            return Err(Failure::usage(message).hint("leave out --nodes, or say at least as many"));
        }
        if port.is_some_and(|port| port != plan.port) {
            let message =
                format!("the cluster in the directory was started with --port {}", plan.port);
            return Err(Failure::usage(message).hint("leave out --port"));
        }
        let port = plan.port;
        plan.nodes.extend((plan.old..wanted).map(|index| Ports::of(port, index)));
        Ok(plan)
    }

    /// The same with the ports at which the nodes really are.
    pub(super) fn with(mut self, nodes: &Nodes) -> Result<Self, Failure> {
        self.nodes = nodes.ports()?;
        Ok(self)
    }

    /// Has the folder remember it.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Failure> {
        let node = |ports: &Ports| json!({ "client": ports.client, "peers": ports.peers, "cluster": ports.cluster });
        let nodes: Vec<Value> = self.nodes.iter().map(node).collect();
        let text = json!({ "port": self.port, "nodes": nodes }).to_string();
        let (file, fresh) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
        let written = fs::write(&fresh, text + "\n").and_then(|()| fs::rename(&fresh, &file));
        written.map_err(|error| failed("write", &file, &error))
    }

    fn read(value: &Value) -> Option<Self> {
        let port = |value: &Value, name: &str| u16::try_from(value.get(name)?.as_u64()?).ok();
        let node = |value: &Value| {
            let client = port(value, "client")?;
            Some(Ports { client, peers: port(value, "peers")?, cluster: port(value, "cluster")? })
        };
        let nodes = value.get("nodes")?.as_array()?.iter().map(node);
        let nodes = nodes.collect::<Option<Vec<_>>>().filter(|nodes| !nodes.is_empty())?;
        Some(Self { port: port(value, "port")?, old: nodes.len(), nodes })
    }
}

impl Ports {
    /// The node at this place, counted from 0, where the first one listens on `port`.
    fn of(port: u16, index: usize) -> Self {
        let before = u16::try_from(index).unwrap_or(u16::MAX);
        let client = port.saturating_add(STEP.saturating_mul(before));
        let beside = |ports: u16| client.saturating_add(ports);
        match port {
            0 => Self { client: 0, peers: 0, cluster: 0 },
            _ => Self { client, peers: beside(1), cluster: beside(2) },
        }
    }
}

fn damaged(file: &Path) -> Failure {
    Failure::new("dev", format!("{} is damaged", file.display()))
        .hint("remove the directory, or choose another one")
}

fn failed(what: &str, file: &Path, error: &io::Error) -> Failure {
    Failure::new("dev", format!("cannot {what} {} ({error})", file.display()))
        .hint("choose another directory with --keep DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(client: u16) -> Ports {
        Ports { client, peers: client + 1, cluster: client + 2 }
    }

    #[test]
    fn a_new_cluster_is_what_was_asked_for() {
        let plan = Plan::joined(None, None, None).unwrap();
        assert_eq!((plan.nodes, plan.old), (vec![at(7400), at(7410), at(7420)], 0));
        let plan = Plan::joined(None, Some(9), Some(65_000)).unwrap();
        assert_eq!(plan.nodes.last(), Some(&at(65_080)));
        let plan = Plan::joined(None, Some(1), Some(0)).unwrap();
        assert_eq!(plan.nodes, [Ports { client: 0, peers: 0, cluster: 0 }]);
    }

    #[test]
    fn a_kept_cluster_stays_where_it_was_and_may_grow() {
        let folder = Folder::temporary().unwrap();
        let nodes = vec![at(500), at(700)];
        let written = Plan { port: 0, nodes: nodes.clone(), old: 0 };
        written.write(folder.path()).unwrap();
        let kept = |nodes, port| Plan::of(&folder, nodes, port);
        assert_eq!(kept(None, None).unwrap(), Plan { old: 2, ..written });
        let grown = kept(Some(3), Some(0)).unwrap();
        assert_eq!((grown.nodes.len(), grown.old, &grown.nodes[..2]), (3, 2, &nodes[..]));
        assert!(kept(Some(1), None).unwrap_err().to_string().contains("2 nodes"));
        assert!(kept(None, Some(7400)).unwrap_err().to_string().contains("--port 0"));
    }

    #[test]
    fn what_nobody_can_go_on_with_is_refused() {
        let folder = Folder::temporary().unwrap();
        fs::write(folder.path().join(FILE), "{\"port\":1,\"nodes\":[{\"client\":70000}]}").unwrap();
        assert!(Plan::of(&folder, None, None).unwrap_err().to_string().contains("damaged"));
        fs::remove_file(folder.path().join(FILE)).unwrap();
        fs::create_dir(folder.path().join("n1")).unwrap();
        assert!(Plan::of(&folder, None, None).unwrap_err().to_string().contains("cut short"));
        fs::rename(folder.path().join("n1"), folder.path().join("data")).unwrap();
        let refused = Plan::of(&folder, None, None).unwrap_err().to_string();
        assert!(refused.contains("something else"), "{refused}");
    }
}
