//! All figures at one moment, and how they are written.
//!
//! Does not know: which figures there are; the tables say so.

use super::{
    KEYSPACE_METRICS, LINK_METRICS, METRICS, Metric, PARTITION_METRICS, REPAIR, REQUESTS, STATES,
};
use crate::connection::Shared;
use crate::resp::figures::resident_bytes;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use shoal_node::{
    ClusterShown, KeyspaceInfo, MemberShown, NodeStatus, Presence, REPAIR_FIGURES, RequestFigure,
};
use std::fmt;
use std::sync::atomic::Ordering;

/// All figures at one moment.
pub struct Snapshot {
    pub(super) status: NodeStatus,
    pub(super) cluster: ClusterShown,
    pub(super) members: Vec<MemberShown>,
    pub(super) keyspaces: Vec<KeyspaceInfo>,
    pub(super) stopping: bool,
    pub(super) refusing_writes: bool,
    pub(super) connections: u64,
    pub(super) accepted: u64,
    pub(super) refused_connections: u64,
    pub(super) evicted_connections: u64,
    pub(super) commands: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) waiting_output: u64,
    pub(super) unfinished_input: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) writes: u64,
    pub(super) refusals: u64,
    pub(super) expired: u64,
    pub(super) corrupt: u64,
    pub(super) resident: u64,
}

impl Snapshot {
    fn take(shared: &Shared) -> Self {
        let stats = shared.node.stats();
        let traffic = shared.counters.sum();
        Self {
            status: shared.node.status(),
            cluster: shared.node.cluster_status(),
            members: shared.node.members(),
            keyspaces: shared.node.list(),
            stopping: shared.is_stopping(),
            refusing_writes: shared.node.refusing_writes().is_some(),
            connections: shared.registry.count() as u64,
            accepted: shared.registry.accepted(),
            refused_connections: shared.registry.refused(),
            evicted_connections: shared.output.evicted(),
            commands: traffic.commands,
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            waiting_output: shared.output.used(),
            unfinished_input: shared.input.used(),
            hits: stats.hits.load(Ordering::Relaxed),
            misses: stats.misses.load(Ordering::Relaxed),
            writes: stats.writes.load(Ordering::Relaxed),
            refusals: stats.refused.load(Ordering::Relaxed),
            expired: stats.expired.load(Ordering::Relaxed),
            corrupt: stats.corrupt.load(Ordering::Relaxed),
            resident: resident_bytes(),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let out = &mut encoder;
        for metric in METRICS {
            let value = (metric.read)(self);
            let encoder = out.encode_descriptor(metric.name, metric.help, None, metric.kind())?;
            value_of(metric.is_counter, value, encoder)?;
        }
        let (name, help) = REQUESTS;
        let mut requests = out.encode_descriptor(name, help, None, MetricType::Counter)?;
        for RequestFigure { level, kind, outcome, count } in &self.cluster.requests {
            let labels = [("level", *level), ("kind", *kind), ("outcome", *outcome)];
            value_of(true, *count, requests.encode_family(&labels)?)?;
        }
        let keyspaces = self.keyspaces.iter().map(|info| (&*info.definition.name, info));
        family(out, KEYSPACE_METRICS, "keyspace", &keyspaces)?;
        let keyspaces = self.cluster.status.keyspaces.iter();
        let partitions = keyspaces.map(|(name, figures)| (&**name, figures));
        family(out, PARTITION_METRICS, "keyspace", &partitions)?;
        for (figure, count) in REPAIR_FIGURES.iter().zip(self.cluster.repair) {
            let name = format!("{REPAIR}{}", figure.name);
            let kind = MetricType::Counter;
            value_of(true, count, out.encode_descriptor(&name, figure.help, None, kind)?)?;
        }
        let (name, help) = STATES;
        let mut states = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for state in Presence::ALL {
            let count = self.members.iter().filter(|member| member.presence == state).count();
            let labels = [("state", state.name())];
            value_of(false, count as u64, states.encode_family(&labels)?)?;
        }
        let links = self.cluster.links.iter().map(|link| {
            let of = |member: &&MemberShown| member.node == link.node;
            (self.members.iter().find(of).map_or("", |member| &member.name), link)
        });
        family(out, LINK_METRICS, "node", &links)
    }
}

impl<T> Metric<T> {
    const fn kind(&self) -> MetricType {
        if self.is_counter { MetricType::Counter } else { MetricType::Gauge }
    }
}

/// Every metric of a table, for each of those that have one, told apart by `label`.
fn family<'f, T>(
    out: &mut DescriptorEncoder<'_>,
    table: &[Metric<T>],
    label: &str,
    all: &(impl Iterator<Item = (&'f str, &'f T)> + Clone),
) -> Result<(), fmt::Error> {
    for metric in table {
        let mut of = out.encode_descriptor(metric.name, metric.help, None, metric.kind())?;
        for (name, figures) in all.clone() {
            let labels = [(label, name)];
            let encoder = of.encode_family(&labels)?;
            value_of(metric.is_counter, (metric.read)(figures), encoder)?;
        }
    }
    Ok(())
}

fn value_of(is_counter: bool, value: u64, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
    if is_counter {
        ConstCounter::new(value).encode(encoder)
    } else {
        ConstGauge::new(value).encode(encoder)
    }
}

/// All figures as text.
#[must_use]
pub fn render(shared: &Shared) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot::take(shared)));
    let mut text = String::new();
    if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &registry) {
        tracing::error!(%error, "the metrics could not be written");
    }
    text
}
