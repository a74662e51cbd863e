//! Figures for Prometheus: tables, read at each scrape.
//!
//! Holds: no figure carries a key, a value or a client's name, and the number of series does not
//! grow with what is stored, only with the keyspaces and the nodes.

mod snapshot;

pub use snapshot::{Snapshot, render};

use shoal_core::control::Figures;
use shoal_node::transport::LinkStatus;
use shoal_node::{KeyspaceInfo, REPAIR_FIGURES};

/// What the text is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One row of a table: a figure of `T`.
pub struct Metric<T: 'static> {
    /// Its name; a counter's is shown with `_total` behind it.
    pub name: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// What it counts, with its unit.
    pub help: &'static str,
    read: fn(&T) -> u64,
}

macro_rules! tables {
    ($(
        $(#[doc = $doc:literal])+
        $table:ident: $of:ty {
            $( $kind:ident $name:literal $help:literal $read:expr; )+
        }
    )+) => {$(
        $(#[doc = $doc])+
        pub const $table: &[Metric<$of>] = &[$( Metric {
            name: $name,
            is_counter: tables!(@ $kind),
            help: $help,
            read: $read,
        } ),+];
    )+};
    (@ counter) => { true };
    (@ gauge) => { false };
}

tables! {
    /// Every metric of the node as a whole, in the order of the documentation.
    METRICS: Snapshot {
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
        gauge "shoal_cluster_health" "How the cluster is: 0 whole, 1 growing, 2 degraded, 3 broken." |s| s.cluster.health() as u64;
        gauge "shoal_hints_kept" "Records kept here for other nodes that missed them." |s| s.cluster.hints as u64;
        gauge "shoal_copies_taking_in" "Copies of partitions that come in to this node." |s| s.cluster.taking_in as u64;
        gauge "shoal_requests_coordinated" "Requests that this node asks replicas for at this moment." |s| s.cluster.under_way as u64;
        gauge "shoal_queued_turns" "Changes of keys that wait for those before them on their key." |s| s.cluster.queues.turns as u64;
        gauge "shoal_queued_cold_questions" "Questions to copies of this node that wait for their turn to wait for the disk." |s| s.cluster.queues.cold as u64;
        gauge "shoal_queued_unplaced_questions" "Questions about partitions that a map to come may place here." |s| s.cluster.queues.homeless as u64;
        gauge "shoal_queued_for_map" "Requests that wait for a newer map." |s| s.cluster.queues.mapless as u64;
        gauge "shoal_queued_settling" "Answers of copies of this node that wait until what they speak of is durable." |s| s.cluster.queues.settling as u64;
        gauge "shoal_resident_memory_bytes" "Resident memory of the process." |s| s.resident;
    }

    /// Every metric of one keyspace.
    KEYSPACE_METRICS: KeyspaceInfo {
        gauge "shoal_keyspace_keys" "Keys of the keyspace that this node holds." |info| u64::try_from(info.tally.keys).unwrap_or(0);
        gauge "shoal_keyspace_expiring_keys" "Those of them that expire." |info| u64::try_from(info.tally.expiring).unwrap_or(0);
        gauge "shoal_keyspace_bytes" "Bytes of the keyspace that this node holds, as far as its engine can tell them apart." |info| info.bytes;
    }

    /// Every metric of the partitions of one keyspace.
    PARTITION_METRICS: Figures {
        gauge "shoal_partitions" "Partitions of the keyspace." |of| of.partitions as u64;
        gauge "shoal_partitions_below_target" "Partitions with fewer replicas than they are to have, as far as there are members." |of| of.below_target as u64;
        gauge "shoal_partitions_moving" "Partitions that change owners." |of| of.moving as u64;
        gauge "shoal_partitions_stalled" "Partitions whose change of owners waits for a node that is down." |of| of.stalled as u64;
        gauge "shoal_partitions_without_quorum" "Partitions that answer nothing at quorum." |of| of.without_quorum as u64;
        gauge "shoal_partitions_awaiting_acceptance" "Partitions that wait for a loss to be accepted; known to the leader of the map." |of| of.awaiting_acceptance as u64;
        gauge "shoal_copies_to_make" "Copies of partitions that changes under way are still to make." |of| of.copies_to_make as u64;
        gauge "shoal_copies_lost" "Copies of partitions that do not count any more and are not yet replaced." |of| of.lost_copies as u64;
    }

    /// Every metric of the link to one other node.
    LINK_METRICS: LinkStatus {
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
}

/// How the names of what repair counts begin.
pub const REPAIR: &str = "shoal_repair_";

/// How many members are in each state.
pub const STATES: (&str, &str) =
    ("shoal_cluster_nodes", "Nodes of the cluster map by state, as this node sees them.");

/// What came of requests.
pub const REQUESTS: (&str, &str) = (
    "shoal_requests",
    "Requests that this node asked replicas for, by level, by whether they only read, and by what \
     they came to.",
);

/// A metric as it is documented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What tells its series apart, empty where it has one.
    pub labels: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// What it counts, with its unit.
    pub help: &'static str,
}

/// Every metric there is, in the order of the documentation.
#[must_use]
pub fn listed() -> Vec<Listed> {
    fn rows<T>(table: &[Metric<T>], labels: &'static str) -> impl Iterator<Item = Listed> {
        table.iter().map(move |metric| {
            let Metric { name, is_counter, help, .. } = *metric;
            Listed { name: name.to_owned(), labels, is_counter, help }
        })
    }
    let family = |(name, help): (&str, &'static str), labels, is_counter| Listed {
        name: name.to_owned(),
        labels,
        is_counter,
        help,
    };
    let repair = REPAIR_FIGURES.iter().map(|figure| Listed {
        name: format!("{REPAIR}{}", figure.name),
        labels: "",
        is_counter: true,
        help: figure.help,
    });
    rows(METRICS, "")
        .chain([family(REQUESTS, "level,kind,outcome", true)])
        .chain(rows(KEYSPACE_METRICS, "keyspace"))
        .chain(rows(PARTITION_METRICS, "keyspace"))
        .chain(repair)
        .chain([family(STATES, "state", false)])
        .chain(rows(LINK_METRICS, "node"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_distinct_and_follow_one_form() {
        let mut names = HashSet::new();
        for Listed { name, help, .. } in listed() {
            assert!(name.starts_with("shoal_") && !name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
            assert!(names.insert(name.clone()), "{name} is there twice");
        }
    }
}
