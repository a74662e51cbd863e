//! INFO: what Redis' tools expect to read, told of this node.
//!
//! Holds: the sections and their order are Redis'; a field that has no meaning here has the value
//! of a Redis that does not use it.

use super::connection::REDIS_VERSION;
use super::{Context, Done};
use crate::resp::figures::{Counts, cpu_seconds, resident_bytes, unix_time};
use crate::resp::state::State;
use crate::resp::words::Words;
use shoal_core::map::Eviction;
use shoal_node::Scope;
use std::fmt::Write;
use std::sync::atomic::Ordering;

type Section = (&'static str, fn(&Context<'_, '_>, &mut String));

const SECTIONS: &[Section] = &[
    ("server", server),
    ("clients", clients),
    ("memory", memory),
    ("persistence", persistence),
    ("stats", stats),
    ("replication", replication),
    ("cpu", cpu),
    ("modules", |_, _| {}),
    ("errorstats", |_, _| {}),
    ("cluster", cluster),
    ("keyspace", keyspace),
];

/// INFO [section ...]
pub(crate) fn info(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let asked = words.from(1);
    let all = ["default", "all", "everything"];
    let everything = asked.is_empty()
        || asked.iter().any(|name| all.iter().any(|a| name.eq_ignore_ascii_case(a.as_bytes())));
    let mut text = String::new();
    for (name, write) in SECTIONS {
        if !everything && !asked.iter().any(|asked| asked.eq_ignore_ascii_case(name.as_bytes())) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let (first, rest) = name.split_at(if *name == "cpu" { 3 } else { 1 });
        let _infallible = write!(text, "# {}{rest}\r\n", first.to_ascii_uppercase());
        write(context, &mut text);
    }
    context.reply.verbatim(&text);
    Ok(())
}

fn field(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _infallible = write!(text, "{name}:{value}\r\n");
}

fn server(context: &Context<'_, '_>, text: &mut String) {
    let shared = context.shared;
    let uptime = shared.started.elapsed().as_secs();
    let now = unix_time();
    field(text, "redis_version", REDIS_VERSION);
    field(text, "shoal_version", env!("CARGO_PKG_VERSION"));
    field(text, "redis_git_sha1", "00000000");
    field(text, "redis_git_dirty", 0);
    field(text, "redis_build_id", "0");
    field(text, "redis_mode", mode(context.client));
    let uname = rustix::system::uname();
    let os = [uname.sysname(), uname.release(), uname.machine()];
    field(text, "os", os.map(|part| part.to_string_lossy().into_owned()).join(" "));
    field(text, "arch_bits", usize::BITS);
    field(text, "process_id", std::process::id());
    field(text, "run_id", &shared.figures.run_id);
    field(text, "tcp_port", shared.tcp_port());
    field(text, "server_time_usec", now.as_micros());
    field(text, "uptime_in_seconds", uptime);
    field(text, "uptime_in_days", uptime / 86_400);
    field(text, "hz", 10);
    field(text, "configured_hz", 10);
    field(text, "executable", "shoal");
    field(text, "config_file", "");
}

fn clients(context: &Context<'_, '_>, text: &mut String) {
    let registry = &context.shared.registry;
    field(text, "connected_clients", registry.count());
    field(text, "cluster_connections", 0);
    field(text, "maxclients", context.shared.client_limit());
    field(text, "blocked_clients", 0);
    field(text, "tracking_clients", 0);
    field(text, "clients_in_timeout_table", 0);
}

fn memory(context: &Context<'_, '_>, text: &mut String) {
    let status = context.shared.node.status();
    let used = status.memory.memory_bytes + status.disk.memory_bytes;
    let resident = resident_bytes();
    let peak = context.shared.figures.peak(used);
    let limit = max_memory(context);
    for (name, bytes) in [
        ("used_memory", used),
        ("used_memory_rss", resident),
        ("used_memory_peak", peak),
        ("used_memory_dataset", status.memory.memory_bytes),
        ("maxmemory", limit),
    ] {
        field(text, name, bytes);
        if name != "used_memory_dataset" {
            field(text, &format!("{name}_human"), human(bytes));
        }
    }
    field(text, "maxmemory_policy", policy(context));
    field(text, "mem_allocator", if cfg!(target_env = "musl") { "musl" } else { "jemalloc" });
}

/// The bound of the keyspace `default`, or else that of the process.
pub(super) fn max_memory(context: &Context<'_, '_>) -> u64 {
    let map = context.shared.node.map();
    let bound = map.database(0).and_then(|keyspace| keyspace.options.max_memory);
    bound.unwrap_or(context.shared.config.memory_limit)
}

/// The eviction of the keyspace `default`, by Redis' name for it.
pub(super) fn policy(context: &Context<'_, '_>) -> &'static str {
    let map = context.shared.node.map();
    let eviction = map.database(0).map_or(Eviction::None, |keyspace| keyspace.options.eviction);
    match eviction {
        Eviction::None => "noeviction",
        Eviction::Lru => "allkeys-lru",
    }
}

fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes}B") } else { format!("{value:.2}{}", UNITS[unit]) }
}

fn persistence(context: &Context<'_, '_>, text: &mut String) {
    let disk = context.shared.node.status().disk;
    let refusing = context.shared.node.refusing_writes();
    let fine = if refusing.is_none() { "ok" } else { "err" };
    field(text, "loading", 0);
    field(text, "async_loading", 0);
    field(text, "rdb_changes_since_last_save", 0);
    field(text, "rdb_bgsave_in_progress", 0);
    field(text, "rdb_last_save_time", context.shared.figures.last_save());
    field(text, "rdb_last_bgsave_status", fine);
    field(text, "rdb_last_bgsave_time_sec", 0);
    field(text, "rdb_current_bgsave_time_sec", -1);
    field(text, "aof_enabled", u8::from(on_disk(context)));
    field(text, "aof_rewrite_in_progress", 0);
    field(text, "aof_rewrite_scheduled", 0);
    field(text, "aof_last_bgrewrite_status", fine);
    field(text, "aof_last_write_status", fine);
    let why = refusing.map_or("none", |refusal| refusal.code.row().code);
    field(text, "shoal_refusing_writes", why);
    field(text, "shoal_log_bytes", disk.log_bytes);
    field(text, "shoal_log_syncs", disk.syncs);
    field(text, "shoal_buffered_bytes", disk.buffered_bytes);
    field(text, "shoal_checkpoints", disk.checkpoints);
    field(text, "shoal_disk_bytes", disk.disk_bytes);
}

/// Whether the keyspace `default` is on disk.
pub(super) fn on_disk(context: &Context<'_, '_>) -> bool {
    let map = context.shared.node.map();
    map.database(0).is_some_and(|k| k.engine == shoal_core::map::EngineKind::Disk)
}

/// The counts that CONFIG RESETSTAT starts anew, since the start.
pub(super) fn counts(context: &Context<'_, '_>) -> Counts {
    let shared = context.shared;
    let node = shared.node.stats();
    let traffic = shared.counters.sum();
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Counts {
        connections: shared.registry.accepted(),
        // The command that asks is counted only at the end of its run.
        commands: traffic.commands + 1,
        bytes_in: traffic.bytes_in,
        bytes_out: traffic.bytes_out,
        refused_connections: shared.registry.refused(),
        hits: load(&node.hits),
        misses: load(&node.misses),
        expired: load(&node.expired),
        evicted: shared.node.status().memory.evicted,
        refused: load(&node.refused),
    }
}

fn stats(context: &Context<'_, '_>, text: &mut String) {
    let figures = &context.shared.figures;
    let all = counts(context);
    let since = all.since(figures.base());
    field(text, "total_connections_received", since.connections);
    field(text, "total_commands_processed", since.commands);
    field(text, "instantaneous_ops_per_sec", figures.rate(all.commands));
    field(text, "total_net_input_bytes", since.bytes_in);
    field(text, "total_net_output_bytes", since.bytes_out);
    field(text, "rejected_connections", since.refused_connections);
    field(text, "sync_full", 0);
    field(text, "sync_partial_ok", 0);
    field(text, "sync_partial_err", 0);
    field(text, "expired_keys", since.expired);
    field(text, "evicted_keys", since.evicted);
    field(text, "evicted_clients", context.shared.output.evicted());
    field(text, "keyspace_hits", since.hits);
    field(text, "keyspace_misses", since.misses);
    field(text, "pubsub_channels", 0);
    field(text, "pubsub_patterns", 0);
    field(text, "latest_fork_usec", 0);
    field(text, "total_error_replies", since.refused);
}

/// What the connection talks to: on the listener for clients that know the cluster, a cluster.
pub(super) const fn mode(client: &State) -> &'static str {
    match client.scope {
        Scope::Led => "cluster",
        Scope::Cluster | Scope::Held => "standalone",
    }
}

/// Tools that look here want to know whether CLUSTER is of use.
fn cluster(context: &Context<'_, '_>, text: &mut String) {
    let map = context.shared.node.map();
    let several = map.seats.len() > 1;
    let enabled = several || context.client.scope == Scope::Led;
    field(text, "cluster_enabled", u8::from(enabled));
    field(text, "shoal_members", map.seats.len());
    field(text, "shoal_map_version", map.version);
}

/// Every node takes writes, so that each is a master; the others are no replicas of it as a whole.
fn replication(_: &Context<'_, '_>, text: &mut String) {
    field(text, "role", "master");
    field(text, "connected_slaves", 0);
    field(text, "master_failover_state", "no-failover");
    field(text, "master_replid", "0".repeat(40));
    field(text, "master_repl_offset", 0);
    field(text, "repl_backlog_active", 0);
}

fn cpu(_: &Context<'_, '_>, text: &mut String) {
    let (user, system) = cpu_seconds();
    field(text, "used_cpu_sys", format_args!("{system:.6}"));
    field(text, "used_cpu_user", format_args!("{user:.6}"));
}

fn keyspace(context: &Context<'_, '_>, text: &mut String) {
    let mut numbered: Vec<_> = context
        .shared
        .node
        .list()
        .into_iter()
        .filter_map(|keyspace| Some((keyspace.definition.database?, keyspace.tally)))
        .filter(|(_, tally)| tally.keys > 0)
        .collect();
    numbered.sort_by_key(|(number, _)| *number);
    for (number, tally) in numbered {
        let counts = format!("keys={},expires={},avg_ttl=0", tally.keys, tally.expiring);
        field(text, &format!("db{number}"), counts);
    }
}
