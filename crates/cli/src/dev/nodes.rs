//! The nodes of `shoal dev`: started, waited for, stopped.
//!
//! Holds: nodes that were in a cluster before start side by side, since each of them waits for
//! others; new ones join once there is somebody to let them in. If one does not start, the reason is
//! told at once, whoever else still waits.
//! Does not know: what a node does inside.

use super::plan::{Plan, Ports};
use crate::failure::Failure;
use shoal_server::config::{Origin, Raw, Resolved, resolve};
use shoal_server::listener::ListenAddress;
use shoal_server::{BootError, Running, Server};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long nodes that were in a cluster before may take to find each other.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long the copies may take until it is said that they are still being made.
const WHOLE_WITHIN: Duration = Duration::from_secs(20);
/// How often is looked whether they are made.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What every node gets at least, however many share the machine, and at most: caches, buffers and
/// the log's files are sized by it, and to write those in full is most of what a first start does.
const MEMORY: (u64, u64) = (64 << 20, 256 << 20);

/// Running nodes, in the order of their names.
pub(super) struct Nodes(Vec<Running>);

/// Where one is reached.
pub(super) struct Addresses {
    /// What it is called.
    pub(super) name: String,
    /// By clients and HTTP.
    pub(super) client: String,
    /// By clients that know the cluster; unknown of a node alone that took any free port.
    pub(super) cluster: Option<String>,
    /// By other nodes.
    pub(super) peers: String,
}

/// What the node at this place is called, counted from 0.
pub(super) fn name(index: usize) -> String {
    format!("n{}", index + 1)
}

impl Nodes {
    /// Starts them. Blocks until all of them serve.
    pub(super) fn start(data: &Path, plan: &Plan, memory: bool) -> Result<Self, Failure> {
        let share = plan.nodes.len();
        let prepare = |index: usize, seed: Option<&str>| {
            settings(data, index, plan.nodes[index], memory, seed).map(|mut settings| {
                settings.memory_limit =
                    (settings.memory_limit / share as u64).clamp(MEMORY.0, MEMORY.1);
                settings
            })
        };
        // Somebody has to be there before others can join.
        let first = plan.old.max(1);
        let old = (0..first).map(|index| prepare(index, None)).collect::<Result<_, _>>()?;
        let mut nodes = start_together(old)?;
        let seed = nodes[0].peers().map(|address| address.to_string());
        let new = (first..share).map(|index| prepare(index, seed.as_deref()));
        nodes.extend(start_together(new.collect::<Result<_, _>>()?)?);
        Ok(Self(nodes))
    }

    /// Waits until every node sees all of them up and every partition with all its replicas, until
    /// `stop`, or until it takes too long; says whether it came to that.
    pub(super) fn wait_until_whole(&self, stop: &AtomicBool) -> bool {
        let begun = Instant::now();
        while !self.is_whole() {
            if stop.load(Ordering::Relaxed) || begun.elapsed() >= WHOLE_WITHIN {
                return false;
            }
            thread::sleep(LOOK_AGAIN);
        }
        true
    }

    fn is_whole(&self) -> bool {
        self.0.iter().all(|running| {
            let shown = running.node().cluster_status();
            shown.status.members.len() == self.0.len()
                && shown.status.down.is_empty()
                && shown.is_fully_replicated()
        })
    }

    /// Where they are reached.
    pub(super) fn addresses(&self) -> Vec<Addresses> {
        let node = |(index, running): (usize, &Running)| {
            let own = running.node().members().into_iter().find(|member| member.is_this);
            // The map knows it of nodes that have others; a node alone has what it was told.
            let told = || running.shared().config.cluster_listen.as_ref().map(ToString::to_string);
            let cluster = own.and_then(|own| own.addresses.cluster_client).or_else(told);
            Addresses {
                name: name(index),
                client: running
                    .addresses()
                    .first()
                    .map(ListenAddress::to_string)
                    .unwrap_or_default(),
                cluster: cluster.filter(|address| !address.ends_with(":0")),
                peers: running.peers().map(|address| address.to_string()).unwrap_or_default(),
            }
        };
        self.0.iter().enumerate().map(node).collect()
    }

    /// Their ports.
    pub(super) fn ports(&self) -> Result<Vec<Ports>, Failure> {
        let port = |address: &str| {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            port.ok_or_else(|| Failure::new("dev", "a node does not say where it listens"))
        };
        let node = |at: &Addresses| {
            let (client, peers) = (port(&at.client)?, port(&at.peers)?);
            Ok(Ports { client, peers, cluster: at.cluster.as_deref().map_or(Ok(0), port)? })
        };
        self.addresses().iter().map(node).collect()
    }

    /// Stops them side by side: running requests finish, everything is synced and closed.
    pub(super) fn stop(self) -> Result<(), Failure> {
        let outcomes: Vec<_> = thread::scope(|scope| {
            let stop = |running: Running| scope.spawn(|| running.shutdown());
            let stopping: Vec<_> = self.0.into_iter().map(stop).collect();
            stopping.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        for outcome in outcomes {
            match outcome {
                Ok(outcome) => outcome.map_err(|error| failed(&error))?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    }
}

/// The settings of one node; nothing of them comes from the environment.
fn settings(
    data: &Path,
    index: usize,
    ports: Ports,
    memory: bool,
    seed: Option<&str>,
) -> Result<Resolved, Failure> {
    let at = |port: u16| Some(format!("127.0.0.1:{port}").into());
    let raw = Raw {
        data: Some(data.join(name(index)).to_string_lossy().into_owned().into()),
        listen: at(ports.client),
        peer_listen: at(ports.peers),
        cluster_listen: at(ports.cluster),
        name: Some(name(index).into()),
        memory: Some(memory.into()),
        join: seed.map(|seed| seed.to_owned().into()),
        ..Raw::default()
    };
    resolve(&[(Origin::Flag, raw)]).map_err(|problems| {
        let sentences: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new("dev", sentences.join("\n       "))
    })
}

/// Starts nodes that may need each other.
fn start_together(settings: Vec<Resolved>) -> Result<Vec<Running>, Failure> {
    let count = settings.len();
    let (tell, started) = mpsc::channel();
    for (index, settings) in settings.into_iter().enumerate() {
        let tell = tell.clone();
        // Not waited for: where another fails, this one may wait for it for ever, until the
        // process ends. Its outcome is dropped then, which stops it.
        let start = move || drop(tell.send((index, Server::start(settings))));
        let thread = thread::Builder::new().name("shoal-start".to_owned()).spawn(start);
        thread.map_err(|error| failed(&BootError::Thread(error)))?;
    }
    drop(tell);
    let mut nodes = Vec::with_capacity(count);
    let deadline = Instant::now() + START_WITHIN;
    while nodes.len() < count {
        match started.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((index, Ok(running))) => nodes.push((index, running)),
            Ok((_, Err(error))) => return Err(failed(&error)),
            Err(_) => {
                let message = format!("only {} of {count} nodes have started", nodes.len());
                return Err(
                    Failure::new("dev", message).hint("see what they log, with --log-level")
                );
            }
        }
    }
    nodes.sort_by_key(|(index, _)| *index);
    Ok(nodes.into_iter().map(|(_, running)| running).collect())
}

fn failed(error: &BootError) -> Failure {
    Failure::new("dev", error.to_string())
}
