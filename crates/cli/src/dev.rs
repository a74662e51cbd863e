//! `shoal dev`: a whole cluster in one process, to try things out and to develop against.
//!
//! Holds: nothing of the environment or of a settings file reaches its nodes, so that the same
//! call gives the same cluster everywhere. Ctrl-C stops every node in order; a second one does not
//! wait. Without `--keep` nothing is left behind.
//! Does not know: how nodes find each other; they join as those on several machines do.

mod folder;
mod nodes;
mod plan;
mod signals;

use crate::failure::{Failure, Outcome};
use crate::output::{Output, someone_watches};
use crate::table::Table;
use clap::Args;
use folder::Folder;
use nodes::Nodes;
use plan::Plan;
use serde_json::json;
use signals::Signals;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

/// `shoal dev`.
#[derive(Args, Debug)]
#[command(
    after_help = "Node I listens on PORT + 10 * (I - 1) for clients and HTTP. The next port \
    is for other nodes, the one after it for clients that know the cluster."
)]
pub(crate) struct Dev {
    /// How many nodes, 1 to 9 [default: 3, or as many as DIR has]
    #[arg(long, value_name = "COUNT")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: Option<u8>,
    /// Where the first node listens; 0 for free ports [default: 7400, or where it did in DIR]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(..=65_000))]
    port: Option<u16>,
    /// Hold the data in memory; nodes lose it when they stop
    #[arg(long)]
    memory: bool,
    /// Keep the cluster in this directory, or go on with the one that is in it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Which log lines are written, to standard error
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    #[arg(value_parser = ["error", "warn", "info", "debug", "trace"])]
    log_level: String,
}

impl Dev {
    /// Runs the cluster until it is told to stop.
    pub(crate) fn run(&self, out: &Output) -> Result<Outcome, Failure> {
        self.log();
        let mut signals = Signals::new()?;
        let folder = match &self.keep {
            Some(path) => Folder::kept(path),
            None => Folder::temporary(),
        }?;
        let plan = Plan::of(&folder, self.nodes, self.port)?;
        out.either(&folder.document(), folder.to_string())?;
        let (begun, stop) = (Instant::now(), signals.told());
        let (at, memory) = (folder.path().to_owned(), self.memory);
        let starting = move || {
            let nodes = Nodes::start(&at, &plan, memory)?;
            plan.with(&nodes)?.write(&at)?;
            let is_whole = nodes.wait_until_whole(&stop);
            Ok((nodes, is_whole))
        };
        let (nodes, is_whole) = signals.unless_told_twice(starting)?;
        if !signals.was_told() {
            show(&nodes, is_whole, begun.elapsed(), out)?;
            signals.wait();
        }
        signals.unless_told_twice(move || nodes.stop())?;
        Ok(Outcome::Done)
    }

    /// Begins to write log lines.
    fn log(&self) {
        // What libraries say of nodes that start and stop side by side: a compaction that is told
        // to stop is an error to the sorted store, and Raft warns of every voter not yet there.
        const UNHEARD: &str = "lsm_tree::compaction=off,openraft=error";
        let ours = ["shoal_server", "shoal_node", "shoal_meta", "shoal_storage"];
        let ours = ours.map(|name| format!("{name}={}", self.log_level)).join(",");
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(format!("warn,{UNHEARD},{ours}")))
            .with_writer(std::io::stderr)
            .with_ansi(someone_watches())
            .with_target(false)
            .init();
    }
}

/// Says where the nodes are, and that requests are welcome.
fn show(nodes: &Nodes, is_whole: bool, took: Duration, out: &Output) -> Result<(), Failure> {
    let mut table = Table::new(&["NODE", "CLIENTS AND HTTP", "CLUSTER CLIENTS", "NODES"]);
    let shown = nodes.addresses();
    let count = shown.len();
    for at in shown {
        if out.json {
            let (name, client, cluster) = (at.name, at.client, at.cluster);
            let peers = at.peers;
            out.document(&json!({
                "node": name, "client": client, "cluster": cluster, "peers": peers,
            }))?;
        } else {
            table.row([at.name, at.client, at.cluster.unwrap_or_else(|| "?".to_owned()), at.peers]);
        }
    }
    if !out.json {
        out.line(table.show())?;
    }
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let state =
        if is_whole { "fully replicated" } else { "still on the way, see `shoal cluster status`" };
    let document = json!({ "ready": count, "fully_replicated": is_whole, "ms": ms });
    let noun = if count == 1 { "node" } else { "nodes" };
    out.either(&document, format!("ready: {count} {noun}, {state} after {ms} ms; Ctrl-C ends it"))
}
