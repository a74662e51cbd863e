//! Figures for Prometheus: one table, read at each scrape.
//!
//! Holds: no figure carries a key, a value or a client's name, and the number of series does not
//! grow with what is stored, only with the keyspaces and the nodes.

use crate::connection::Shared;
use crate::resp::figures::resident_bytes;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use shoal_core::control::Figures;
use shoal_node::transport::LinkStatus;
use shoal_node::{ClusterShown, KeyspaceInfo, MemberShown, NodeStatus, Presence, REPAIR_FIGURES};
use std::fmt;
use std::sync::atomic::Ordering;

/// What the text is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Metric {
    /// Its name; a counter's is shown with `_total` behind it.
    pub name: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// What it counts, with its unit.
    pub help: &'static str,
    read: fn(&Snapshot) -> u64,
}

/// A figure that each keyspace has.
#[derive(Clone, Copy)]
pub struct KeyspaceMetric {
    /// Its name.
    pub name: &'static str,
    /// What it counts, with its unit.
    pub help: &'static str,
    read: fn(&KeyspaceInfo) -> u64,
}

macro_rules! metrics {
    ($( $kind:ident $name:literal $help:literal $read:expr; )+) => {
        /// Every metric of the node as a whole, in the order of the documentation.
        pub const METRICS: &[Metric] = &[$( Metric {
            name: $name,
            is_counter: metrics!(@ $kind),
            help: $help,
            read: $read,
        } ),+];
    };
    (@ counter) => { true };
    (@ gauge) => { false };
}

metrics! {
    gauge "shoal_uptime_seconds" "Seconds since the start." |s| s.status.uptime_seconds;
    gauge "shoal_map_version" "The index of the cluster map's version." |s| s.status.map.index;
    gauge "shoal_ready" "1 while the node takes reads and writes, as `/_ready` tells, else 0." |s| u64::from(!s.stopping && !s.refusing_writes);
    gauge "shoal_refusing_writes" "1 while a full or failed disk refuses writes, or a half replaced map changes of the catalogue." |s| u64::from(s.refusing_writes);
    gauge "shoal_connections" "Connections." |s| s.connections;
    counter "shoal_connections_accepted" "Connections accepted." |s| s.accepted;
    counter "shoal_connections_refused" "Connections refused because there were too many." |s| s.refused_connections;
    counter "shoal_connections_evicted" "Connections closed because they took nothing while others' replies needed the room." |s| s.evicted_connections;
    counter "shoal_commands" "Commands of the Redis protocol and requests over HTTP." |s| s.commands;
    counter "shoal_received_bytes" "Bytes read from clients." |s| s.bytes_in;
    counter "shoal_sent_bytes" "Bytes sent to clients." |s| s.bytes_out;
    gauge "shoal_waiting_output_bytes" "Bytes of replies that clients have not taken." |s| s.waiting_output;
    gauge "shoal_unfinished_input_bytes" "Bytes of long requests that are still coming in." |s| s.unfinished_input;
    counter "shoal_read_hits" "Reads that found a value." |s| s.hits;
    counter "shoal_read_misses" "Reads that found none." |s| s.misses;
    counter "shoal_writes" "Updates that changed something." |s| s.writes;
    counter "shoal_refusals" "Requests refused, for whatever reason." |s| s.refusals;
    counter "shoal_expired_keys" "Keys removed because their time had passed." |s| s.expired;
    counter "shoal_evicted_keys" "Keys dropped to make room in memory." |s| s.status.memory.evicted;
    counter "shoal_damaged_records" "Damaged records met." |s| s.corrupt;
    gauge "shoal_memory_engine_bytes" "Bytes of keys, values and overhead in memory keyspaces." |s| s.status.memory.memory_bytes;
    gauge "shoal_disk_engine_memory_bytes" "Bytes of memory held by the disk engine." |s| s.status.disk.memory_bytes;
    gauge "shoal_disk_bytes" "Bytes of files." |s| s.status.disk.disk_bytes;
    gauge "shoal_buffered_bytes" "Bytes written but not yet in the sorted store." |s| s.status.disk.buffered_bytes;
    counter "shoal_log_bytes" "Bytes appended to the commit log." |s| s.status.disk.log_bytes;
    counter "shoal_log_syncs" "Syncs of the commit log." |s| s.status.disk.syncs;
    counter "shoal_checkpoints" "Times the write buffer went to the sorted store." |s| s.status.disk.checkpoints;
    gauge "shoal_cluster_members" "Nodes that may own partitions, whether or not they are up." |s| s.cluster.status.members.len() as u64;
    gauge "shoal_cluster_members_down" "Members that do not answer this node." |s| s.cluster.status.down.len() as u64;
    gauge "shoal_cluster_voters" "Nodes that decide the cluster map." |s| s.cluster.voters.len() as u64;
    gauge "shoal_cluster_leads" "1 while this node leads those who decide the cluster map, else 0." |s| u64::from(s.cluster.leader == Some(s.cluster.node));
    gauge "shoal_cluster_leaderless" "1 while nobody is known to lead those who decide the cluster map, else 0." |s| u64::from(s.cluster.leader.is_none());
    gauge "shoal_cluster_term" "The term of the leader, which rises with every election." |s| s.cluster.term;
    gauge "shoal_cluster_health" "How the cluster is: 0 whole, 1 growing, 2 degraded, 3 broken." |s| s.cluster.status.health as u64;
    gauge "shoal_hints_kept" "Records kept here for other nodes that missed them." |s| s.cluster.hints as u64;
    gauge "shoal_copies_taking_in" "Copies of partitions that come in to this node." |s| s.cluster.taking_in as u64;
    gauge "shoal_requests_coordinated" "Requests that this node asks replicas for at this moment." |s| s.cluster.under_way as u64;
    gauge "shoal_resident_memory_bytes" "Resident memory of the process." |s| s.resident;
}

/// Every metric of one keyspace.
pub const KEYSPACE_METRICS: &[KeyspaceMetric] = &[
    KeyspaceMetric {
        name: "shoal_keyspace_keys",
        help: "Keys of the keyspace.",
        read: |info| u64::try_from(info.tally.keys).unwrap_or(0),
    },
    KeyspaceMetric {
        name: "shoal_keyspace_expiring_keys",
        help: "Keys of the keyspace that expire.",
        read: |info| u64::try_from(info.tally.expiring).unwrap_or(0),
    },
    KeyspaceMetric {
        name: "shoal_keyspace_bytes",
        help: "Bytes of the keyspace, as far as its engine can tell them apart.",
        read: |info| info.bytes,
    },
];

/// A figure of the partitions of each keyspace.
#[derive(Clone, Copy)]
pub struct PartitionMetric {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    read: fn(&Figures) -> usize,
}

/// Every metric of the partitions of one keyspace.
pub const PARTITION_METRICS: &[PartitionMetric] = &[
    PartitionMetric {
        name: "shoal_partitions",
        help: "Partitions of the keyspace.",
        read: |figures| figures.partitions,
    },
    PartitionMetric {
        name: "shoal_partitions_below_target",
        help: "Partitions with fewer replicas than they are to have, as far as there are members.",
        read: |figures| figures.below_target,
    },
    PartitionMetric {
        name: "shoal_partitions_moving",
        help: "Partitions that change owners.",
        read: |figures| figures.moving,
    },
    PartitionMetric {
        name: "shoal_partitions_stalled",
        help: "Partitions whose change of owners waits for a node that is down.",
        read: |figures| figures.stalled,
    },
    PartitionMetric {
        name: "shoal_partitions_without_quorum",
        help: "Partitions that answer nothing at quorum.",
        read: |figures| figures.without_quorum,
    },
    PartitionMetric {
        name: "shoal_partitions_awaiting_acceptance",
        help: "Partitions that wait for a loss to be accepted; known to the leader of the map.",
        read: |figures| figures.awaiting_acceptance,
    },
    PartitionMetric {
        name: "shoal_copies_to_make",
        help: "Copies of partitions that changes under way are still to make.",
        read: |figures| figures.copies_to_make,
    },
    PartitionMetric {
        name: "shoal_copies_lost",
        help: "Copies of partitions that do not count any more and are not yet replaced.",
        read: |figures| figures.lost_copies,
    },
];

/// A figure of the link to each other node.
#[derive(Clone, Copy)]
pub struct LinkMetric {
    /// Its name; a counter's is shown with `_total` behind it.
    pub name: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// What it counts, with its unit.
    pub help: &'static str,
    read: fn(&LinkStatus) -> u64,
}

macro_rules! links {
    ($( $kind:ident $name:literal $help:literal $read:expr; )+) => {
        /// Every metric of the link to one other node.
        pub const LINK_METRICS: &[LinkMetric] = &[$( LinkMetric {
            name: $name,
            is_counter: metrics!(@ $kind),
            help: $help,
            read: $read,
        } ),+];
    };
}

links! {
    gauge "shoal_peer_up" "1 while the node can be asked, else 0." |link| u64::from(link.up);
    gauge "shoal_peer_queued_messages" "Messages to the node that wait to be sent." |link| link.queued_messages as u64;
    gauge "shoal_peer_queued_bytes" "Bytes of those messages." |link| link.queued_bytes as u64;
    gauge "shoal_peer_unanswered" "Questions to the node that it has not answered yet." |link| link.unanswered as u64;
    gauge "shoal_peer_round_trip_microseconds" "The time from a ping to its pong, smoothed; 0 before the first." |link| link.round_trip.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    counter "shoal_peer_connects" "Times the link to the node came up." |link| link.connects;
    counter "shoal_peer_asked" "Questions taken for the node." |link| link.asked;
    counter "shoal_peer_answered" "Questions that the node answered." |link| link.answered;
    counter "shoal_peer_refused" "Questions refused at once, here or there." |link| link.refused;
    counter "shoal_peer_failed" "Questions taken for the node that got no answer." |link| link.failed;
    counter "shoal_peer_served" "Questions of the node that this one answered." |link| link.served;
}

/// How the names of what repair counts begin.
pub const REPAIR: &str = "shoal_repair_";

/// How many members are in each state.
pub const STATES: (&str, &str) =
    ("shoal_cluster_nodes", "Nodes of the cluster map by state, as this node sees them.");

/// All figures at one moment.
struct Snapshot {
    status: NodeStatus,
    cluster: ClusterShown,
    members: Vec<MemberShown>,
    keyspaces: Vec<KeyspaceInfo>,
    stopping: bool,
    refusing_writes: bool,
    connections: u64,
    accepted: u64,
    refused_connections: u64,
    evicted_connections: u64,
    commands: u64,
    bytes_in: u64,
    bytes_out: u64,
    waiting_output: u64,
    unfinished_input: u64,
    hits: u64,
    misses: u64,
    writes: u64,
    refusals: u64,
    expired: u64,
    corrupt: u64,
    resident: u64,
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
        for metric in METRICS {
            let value = (metric.read)(self);
            let kind = if metric.is_counter { MetricType::Counter } else { MetricType::Gauge };
            let encoder = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            if metric.is_counter {
                ConstCounter::new(value).encode(encoder)?;
            } else {
                ConstGauge::new(value).encode(encoder)?;
            }
        }
        for metric in KEYSPACE_METRICS {
            let mut encoder =
                encoder.encode_descriptor(metric.name, metric.help, None, MetricType::Gauge)?;
            for info in &self.keyspaces {
                let labels = [("keyspace", info.definition.name.as_str())];
                let encoder = encoder.encode_family(&labels)?;
                ConstGauge::new((metric.read)(info)).encode(encoder)?;
            }
        }
        self.encode_cluster(&mut encoder)
    }
}

impl Snapshot {
    /// What there is of each keyspace's partitions, of each state and of each link.
    fn encode_cluster(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in PARTITION_METRICS {
            let mut encoder =
                encoder.encode_descriptor(metric.name, metric.help, None, MetricType::Gauge)?;
            for (keyspace, figures) in &self.cluster.status.keyspaces {
                let labels = [("keyspace", keyspace.as_str())];
                let encoder = encoder.encode_family(&labels)?;
                ConstGauge::new((metric.read)(figures) as u64).encode(encoder)?;
            }
        }
        for (figure, count) in REPAIR_FIGURES.iter().zip(self.cluster.repair) {
            let name = format!("{REPAIR}{}", figure.name);
            let kind = MetricType::Counter;
            let encoder = encoder.encode_descriptor(&name, figure.help, None, kind)?;
            ConstCounter::new(count).encode(encoder)?;
        }
        let (name, help) = STATES;
        let mut states = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for state in Presence::ALL {
            let count = self.members.iter().filter(|member| member.presence == state).count();
            let labels = [("state", state.name())];
            let encoder = states.encode_family(&labels)?;
            ConstGauge::new(count as u64).encode(encoder)?;
        }
        for metric in LINK_METRICS {
            let kind = if metric.is_counter { MetricType::Counter } else { MetricType::Gauge };
            let mut encoder = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            for link in &self.cluster.links {
                let of = |member: &&MemberShown| member.node == link.node;
                let name = self.members.iter().find(of).map_or("", |member| &member.name);
                let labels = [("node", name)];
                let encoder = encoder.encode_family(&labels)?;
                if metric.is_counter {
                    ConstCounter::new((metric.read)(link)).encode(encoder)?;
                } else {
                    ConstGauge::new((metric.read)(link)).encode(encoder)?;
                }
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_distinct_and_follow_one_form() {
        let mut names = HashSet::new();
        let all = METRICS.iter().map(|metric| (metric.name, metric.help));
        let keyspace = KEYSPACE_METRICS.iter().map(|metric| (metric.name, metric.help));
        let partitions = PARTITION_METRICS.iter().map(|metric| (metric.name, metric.help));
        let links = LINK_METRICS.iter().map(|metric| (metric.name, metric.help));
        let rest = partitions.chain(links).chain([STATES]);
        for (name, help) in all.chain(keyspace).chain(rest) {
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.starts_with("shoal_") && !name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }
}
