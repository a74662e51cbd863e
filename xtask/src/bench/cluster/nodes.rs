//! Three servers on this machine that are one: etcd, Redis with two replicas, or Shoal.
//!
//! Holds: every server listens on loopback ports that were free a moment ago, keeps its data in
//! a folder of its own, and is ended by its process id when its guard goes.

use super::super::client::{Client, Reply};
use super::super::folder::Folder;
use super::super::server::READY_WITHIN;
use super::super::{proc, tool};
use super::grpc::Grpc;
use super::load::Protocol;
use super::proto::Numbers;
use anyhow::{Context as _, Result, bail};
use std::fs::{DirBuilder, File};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many there are.
const NODES: usize = 3;
/// How often nodes that are finding each other are looked at.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// How long they may take for that.
const TOGETHER_WITHIN: Duration = Duration::from_secs(90);
/// How long one answer may take meanwhile.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Whose cluster, and how it keeps data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Etcd,
    Redis,
    ShoalDisk,
    ShoalMemory,
}

/// A running cluster.
#[derive(Debug)]
pub(super) struct Nodes {
    servers: Vec<Server>,
    /// Where clients connect; the first client to the first.
    ports: Vec<u16>,
    protocol: Protocol,
}

impl Nodes {
    /// Starts three nodes in an empty folder and waits until they are one.
    pub(super) fn start(kind: Kind, shoal: &Path, folder: &Folder) -> Result<Self> {
        let ports = free_ports()?;
        match kind {
            Kind::Etcd => etcd(&ports, folder.path()),
            Kind::Redis => redis(&ports, folder.path()),
            Kind::ShoalDisk => shoal_nodes(&ports, shoal, folder.path(), false),
            Kind::ShoalMemory => shoal_nodes(&ports, shoal, folder.path(), true),
        }
    }

    /// Where clients connect.
    pub(super) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// How to speak to them.
    pub(super) const fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// The CPU time that all of them have used.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        self.servers.iter().map(|server| proc::cpu_seconds(server.process.id())).sum()
    }

    /// What they said last, for the one who wants to know why something failed.
    pub(super) fn last_words(&self) -> String {
        let words = self.servers.iter().map(Server::last_words);
        words.filter(|said| !said.is_empty()).collect::<Vec<_>>().join(" || ")
    }
}

/// One process.
#[derive(Debug)]
struct Server {
    process: Child,
    log: PathBuf,
}

impl Server {
    fn start(mut command: Command, folder: &Path, name: &str) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let process =
            command
                .stdin(Stdio::null())
                .stdout(file.try_clone()?)
                .stderr(file)
                .spawn()
                .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { process, log })
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(3)..].join(" | ")
    }

    /// An error when it has ended.
    fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            Some(status) => bail!("a node ended with {status}: {}", self.last_words()),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is all that is wanted.
        let _ended = self.process.kill();
        if let Err(error) = self.process.wait() {
            eprintln!("bench: process {} may still run: {error}", self.process.id());
        }
    }
}

/// Three ports for each node that were free a moment ago, all different.
fn free_ports() -> Result<[[u16; 3]; NODES]> {
    let mut held = Vec::new();
    let mut ports = [[0; 3]; NODES];
    for port in ports.iter_mut().flatten() {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Shoal refuses a folder that is open to others.
fn private(folder: &Path) -> Result<()> {
    let mut private = DirBuilder::new();
    private.recursive(true).mode(0o700);
    private.create(folder).with_context(|| folder.display().to_string())
}

/// Asks until the answer is yes, as long as the servers run.
fn until(
    servers: &mut [Server],
    within: Duration,
    what: &str,
    mut asked: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        for server in &mut *servers {
            server.check()?;
        }
        // Until they listen there is no answer.
        let answer = asked();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let said: Vec<String> = servers.iter().map(Server::last_words).collect();
            let why = answer.err().map_or_else(String::new, |error| format!("{error:#}; "));
            bail!("{what} after {} s: {why}{}", within.as_secs(), said.join(" || "));
        }
        std::thread::sleep(POLL_EVERY);
    }
}

fn answers(port: u16) -> Result<bool> {
    let reply = Client::connect(port, ANSWER_WITHIN)?.call(&["PING"])?;
    Ok(matches!(reply, Reply::Status(_)))
}

fn etcd(ports: &[[u16; 3]; NODES], folder: &Path) -> Result<Nodes> {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let all: Vec<String> =
        (1..).zip(ports).map(|(n, [_, peer, _])| format!("e{n}={}", url(*peer))).collect();
    let mut servers = Vec::new();
    for (n, [client, peer, _]) in (1..).zip(ports) {
        let name = format!("e{n}");
        let mut command = Command::new("etcd");
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(variable);
            }
        }
        let data = folder.join(&name);
        private(&data)?;
        command.args(["--name", &name, "--logger", "zap", "--log-level", "warn"]);
        command.arg("--data-dir").arg(data);
        command.args(["--listen-client-urls", &url(*client)]);
        command.args(["--advertise-client-urls", &url(*client)]);
        command.args(["--listen-peer-urls", &url(*peer)]);
        command.args(["--initial-advertise-peer-urls", &url(*peer)]);
        command.args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"]);
        servers.push(Server::start(command, folder, &name)?);
    }
    let numbers = Arc::new(Numbers::of_etcd()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The leader first: a lone client, which connects there, spares the way to it.
    let mut order = Vec::new();
    until(&mut servers, TOGETHER_WITHIN, "etcd has no leader", || {
        order.clear();
        for [client, ..] in ports {
            let asked = async { Grpc::connect(*client, Arc::clone(&numbers)).await?.leads().await };
            let leads =
                runtime.block_on(async { tokio::time::timeout(ANSWER_WITHIN, asked).await })??;
            let Some(leads) = leads else { return Ok(false) };
            if leads { order.insert(0, *client) } else { order.push(*client) }
        }
        Ok(true)
    })?;
    Ok(Nodes { servers, ports: order, protocol: Protocol::Etcd(numbers) })
}

fn redis(ports: &[[u16; 3]; NODES], folder: &Path) -> Result<Nodes> {
    let [[first, ..], ..] = *ports;
    let mut servers = Vec::new();
    for (n, [port, ..]) in (1..).zip(ports) {
        let name = format!("r{n}");
        let data = folder.join(&name);
        private(&data)?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--loglevel", "warning", "--save", "", "--appendonly", "no"]);
        command.args(["--repl-diskless-sync-delay", "0"]).arg("--dir").arg(data);
        if *port != first {
            command.args(["--replicaof", "127.0.0.1", &first.to_string()]);
        }
        servers.push(Server::start(command, folder, &name)?);
    }
    until(&mut servers, TOGETHER_WITHIN, "Redis has not its replicas", || {
        let reply = Client::connect(first, ANSWER_WITHIN)?.call(&["INFO", "replication"])?;
        let Reply::Bulk(info) = reply else { bail!("INFO answered {reply:?}") };
        let info = String::from_utf8_lossy(&info);
        Ok(info.matches("state=online").count() == NODES - 1)
    })?;
    // Only the first takes writes.
    Ok(Nodes { servers, ports: vec![first], protocol: Protocol::Redis })
}

fn shoal_nodes(
    ports: &[[u16; 3]; NODES],
    program: &Path,
    folder: &Path,
    memory: bool,
) -> Result<Nodes> {
    let at = |port: u16| format!("127.0.0.1:{port}");
    let [[first, first_peer, _], ..] = *ports;
    let mut servers = Vec::new();
    for (n, [client, peer, cluster]) in (1..).zip(ports) {
        let name = format!("n{n}");
        let data = folder.join(&name);
        private(&data)?;
        let mut command = tool::shoal(program);
        command.args(["serve", "--log-level", "warn", "--name", &name, "--data"]).arg(data);
        command.args(["--listen", &at(*client), "--peer-listen", &at(*peer)]);
        command.args(["--cluster-listen", &at(*cluster)]);
        if memory {
            command.arg("--memory");
        }
        if *client != first {
            command.args(["--join", &at(first_peer)]);
        }
        servers.push(Server::start(command, folder, &name)?);
        until(&mut servers, READY_WITHIN, "a node does not answer", || answers(*client))?;
    }
    for [client, ..] in ports {
        until(&mut servers, TOGETHER_WITHIN, "Shoal is not fully replicated", || {
            let mut command = tool::shoal(program);
            command.args(["--addr", &at(*client), "cluster", "status", "--json"]);
            let said = tool::run(&mut command, ANSWER_WITHIN)?;
            is_whole(&said).with_context(|| format!("cluster status answered {said}"))
        })?;
    }
    let ports = ports.iter().map(|[client, ..]| *client).collect();
    Ok(Nodes { servers, ports, protocol: Protocol::Shoal })
}

/// Whether a status tells of all nodes and of all replicas.
fn is_whole(status: &str) -> Result<bool> {
    let status: serde_json::Value = serde_json::from_str(status.trim())?;
    let members = status["members"].as_array().map_or(0, Vec::len);
    let whole = status["fully_replicated"].as_bool().context("nothing of replication")?;
    if members < NODES || !whole {
        bail!("{members} members, fully replicated: {whole}");
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_all_different() {
        let ports = free_ports().unwrap();
        let mut all: Vec<u16> = ports.into_iter().flatten().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3 * NODES);
    }

    #[test]
    fn a_cluster_is_whole_with_all_nodes_and_replicas() {
        let status = |members: &str, whole| {
            is_whole(&format!("{{\"members\": [{members}], \"fully_replicated\": {whole}}}\n"))
        };
        assert!(status("\"a\", \"b\", \"c\"", true).unwrap());
        assert!(status("\"a\", \"b\"", true).is_err());
        assert!(status("\"a\", \"b\", \"c\"", false).is_err());
        assert!(is_whole("no").is_err());
    }
}
