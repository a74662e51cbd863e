//! Commands that concern the server.

use super::argument::{block, integer, key, one_of, pattern, string, word};
use super::entry::{Category, Command, Flag, Group};
use super::id::Id;
use super::keys::{KeySpec, KeyUse};

/// The entries, in the order in which COMMAND lists them.
pub(super) const SERVER: &[Command] = &[
    Command::new(Id::DbSize, "dbsize", 1, Group::Server)
        .summary("Counts the keys of the keyspace.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    Command::new(Id::FlushDb, "flushdb", -1, Group::Server)
        .summary("Removes all keys of the keyspace.")
        .differs(
            "ASYNC and SYNC are the same: the keyspace is empty at once, the space comes back \
             later.",
        )
        .flags(&[Flag::Write])
        .categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .arguments(&[one_of(
            "async",
            &[word("async", "ASYNC").since("4.0.0"), word("sync", "SYNC").since("6.2.0")],
        )
        .optional()]),
    Command::new(Id::FlushAll, "flushall", -1, Group::Server)
        .summary("Removes all keys of the numbered keyspaces.")
        .differs(
            "Empties `default` and `db1` to `db15`; a keyspace of another name is emptied by \
             `FLUSHDB` on it.",
        )
        .flags(&[Flag::Write])
        .categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .arguments(&[one_of(
            "async",
            &[word("async", "ASYNC").since("4.0.0"), word("sync", "SYNC").since("6.2.0")],
        )
        .optional()]),
    Command::new(Id::SwapDb, "swapdb", 3, Group::Server)
        .since("4.0.0")
        .summary("Exchanges two numbered keyspaces.")
        .flags(&[Flag::Write, Flag::Fast])
        .categories(&[Category::Keyspace, Category::Dangerous])
        .arguments(&[integer("index1"), integer("index2")]),
    Command::new(Id::Command, "command", -1, Group::Server)
        .since("2.8.13")
        .summary("Describes the commands.")
        .complexity("O(N) in the number of commands")
        .flags(&[Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .subcommands(COMMAND),
    Command::new(Id::Info, "info", -1, Group::Server)
        .summary("Tells about the server, section by section.")
        .differs(
            "Fields without a meaning here have the value of a Redis that does not use them; \
             those that begin with `shoal_` are Shoal's. `maxclients` and `maxmemory` are as in \
             `CONFIG GET`.",
        )
        .flags(&[Flag::Loading, Flag::Stale])
        .categories(&[Category::Dangerous])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .arguments(&[string("section").optional().multiple()]),
    Command::new(Id::Container, "config", -2, Group::Server)
        .since("2.0.0")
        .summary("Reads and changes settings.")
        .complexity("As its subcommands")
        .subcommands(CONFIG),
    Command::new(Id::Time, "time", 1, Group::Server)
        .since("2.6.0")
        .summary("Gives the server's time.")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .tips(&["nondeterministic_output"]),
    Command::new(Id::LastSave, "lastsave", 1, Group::Server)
        .summary("Tells when everything was last safe on disk.")
        .differs("When `SAVE` last answered, or when the server started.")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .categories(&[Category::Admin, Category::Dangerous])
        .tips(&["nondeterministic_output"]),
    Command::new(Id::Save, "save", 1, Group::Server)
        .summary("Waits until everything is safe on disk.")
        .differs("Syncs what is not synced yet; with `sync = always` everything acknowledged is.")
        .complexity("O(N) in what is not yet synced")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::NoAsyncLoading, Flag::NoMulti]),
    Command::new(Id::BgSave, "bgsave", -1, Group::Server)
        .summary("Sees to it that everything is safe on disk.")
        .differs("As `SAVE`: answers OK once everything is synced.")
        .complexity("O(N) in what is not yet synced")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::NoAsyncLoading])
        .arguments(&[word("schedule", "SCHEDULE").since("3.2.2").optional()]),
    Command::new(Id::Role, "role", 1, Group::Server)
        .since("2.8.12")
        .summary("Tells which part the server plays in replication.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast])
        .categories(&[Category::Admin, Category::Dangerous]),
    Command::new(Id::Container, "acl", -2, Group::Server)
        .since("6.0.0")
        .summary("Tells about users.")
        .complexity("As its subcommands")
        .subcommands(ACL),
    Command::new(Id::Container, "memory", -2, Group::Server)
        .since("4.0.0")
        .summary("Tells about memory.")
        .complexity("As its subcommands")
        .subcommands(MEMORY),
    Command::new(Id::Container, "slowlog", -2, Group::Server)
        .since("2.2.12")
        .summary("Tells about commands that took long.")
        .complexity("As its subcommands")
        .subcommands(SLOWLOG),
    Command::new(Id::Container, "latency", -2, Group::Server)
        .since("2.8.13")
        .summary("Tells about delays.")
        .complexity("As its subcommands")
        .subcommands(LATENCY),
];

/// What follows COMMAND.
const COMMAND: &[Command] = &[
    Command::new(Id::CommandCount, "command|count", 2, Group::Server)
        .since("2.8.13")
        .summary("Counts the commands.")
        .flags(&[Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection]),
    Command::new(Id::CommandList, "command|list", -2, Group::Server)
        .since("7.0.0")
        .summary("Names the commands.")
        .complexity("O(N) in the number of commands")
        .flags(&[Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .arguments(&[one_of(
            "filterby",
            &[
                string("module-name").token("MODULE"),
                string("category").token("ACLCAT"),
                pattern("pattern").token("PATTERN"),
            ],
        )
        .token("FILTERBY")
        .optional()]),
    Command::new(Id::CommandInfo, "command|info", -2, Group::Server)
        .since("2.8.13")
        .summary("Describes some of the commands.")
        .complexity("O(N) in the number of commands asked for")
        .flags(&[Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .arguments(&[string("command-name").optional().multiple()]),
    Command::new(Id::CommandDocs, "command|docs", -2, Group::Server)
        .since("7.0.0")
        .summary("Documents the commands.")
        .differs("The sentences are Shoal's own.")
        .complexity("O(N) in the number of commands asked for")
        .flags(&[Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .tips(&["nondeterministic_output_order"])
        .arguments(&[string("command-name").optional().multiple()]),
    Command::new(Id::CommandGetKeys, "command|getkeys", -4, Group::Server)
        .since("2.8.13")
        .summary("Finds the keys in a command.")
        .complexity("O(N) in the number of its words")
        .flags(&[Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection]),
    Command::new(Id::CommandHelp, "command|help", 2, Group::Server)
        .since("5.0.0")
        .summary("Explains the subcommands.")
        .flags(&[Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection]),
];

/// What follows CONFIG.
const CONFIG: &[Command] = &[
    Command::new(Id::ConfigGet, "config|get", -3, Group::Server)
        .since("2.0.0")
        .summary("Gives the settings whose names match.")
        .differs(
            "Knows the settings that clients and tools ask for; the others are in \
             [config.md](config.md). `maxclients` is how many clients may be connected before they \
             are refused, nine tenths of `max_clients`; `maxmemory` is the bound of `default`, or \
             where it has none the node's `memory_limit`, which is there for caches and buffers \
             too.",
        )
        .complexity("O(N) in the number of patterns")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .arguments(&[block("parameter", &[string("parameter")]).multiple()]),
    Command::new(Id::ConfigSet, "config|set", -4, Group::Server)
        .since("2.0.0")
        .summary("Changes settings, all of them or none.")
        .differs(
            "Changes `appendfsync` of `default`, or if it is in memory its `maxmemory` and \
             `maxmemory-policy` (`noeviction`, or `allkeys-lru`, which needs the former); any \
             other setting only to the value it has.",
        )
        .complexity("O(N) in the number of settings")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .arguments(&[block("parameter_value", &[string("parameter"), string("value")]).multiple()]),
    Command::new(Id::ConfigResetStat, "config|resetstat", 2, Group::Server)
        .since("2.0.0")
        .summary("Sets the counters of INFO back to nought.")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale]),
    Command::new(Id::ConfigHelp, "config|help", 2, Group::Server)
        .since("5.0.0")
        .summary("Explains the subcommands.")
        .flags(&[Flag::Loading, Flag::Stale]),
];

/// What follows ACL.
const ACL: &[Command] = &[
    Command::new(Id::AclWhoAmI, "acl|whoami", 2, Group::Server)
        .since("6.0.0")
        .summary("Gives the connection's user.")
        .differs("Always `default`: there are no users yet.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale]),
    Command::new(Id::AclHelp, "acl|help", 2, Group::Server)
        .since("6.0.0")
        .summary("Explains the subcommands.")
        .flags(&[Flag::Loading, Flag::Stale]),
];

/// What follows MEMORY.
const MEMORY: &[Command] = &[
    Command::new(Id::MemoryUsage, "memory|usage", -3, Group::Server)
        .since("4.0.0")
        .summary("Tells how many bytes a key and its value take.")
        .differs("An estimate; SAMPLES changes nothing.")
        .flags(&[Flag::ReadOnly])
        .keys(&[KeySpec::one(2, &[KeyUse::ReadOnly])])
        .arguments(&[key("key", 0), integer("count").token("SAMPLES").optional()]),
    Command::new(Id::MemoryHelp, "memory|help", 2, Group::Server)
        .since("4.0.0")
        .summary("Explains the subcommands.")
        .flags(&[Flag::Loading, Flag::Stale]),
];

/// What follows SLOWLOG.
const SLOWLOG: &[Command] = &[
    Command::new(Id::SlowLogGet, "slowlog|get", -2, Group::Server)
        .since("2.2.12")
        .summary("Lists the slowest commands of late.")
        .differs("Always empty.")
        .complexity("O(N) in the number of entries asked for")
        .flags(&[Flag::Admin, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .arguments(&[integer("count").optional()]),
    Command::new(Id::SlowLogLen, "slowlog|len", 2, Group::Server)
        .since("2.2.12")
        .summary("Counts the entries of the slow log.")
        .differs("Always 0.")
        .flags(&[Flag::Admin, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]),
    Command::new(Id::SlowLogReset, "slowlog|reset", 2, Group::Server)
        .since("2.2.12")
        .summary("Empties the slow log.")
        .differs("Has nothing to do.")
        .complexity("O(N) in the number of entries")
        .flags(&[Flag::Admin, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    Command::new(Id::SlowLogHelp, "slowlog|help", 2, Group::Server)
        .since("6.2.0")
        .summary("Explains the subcommands.")
        .flags(&[Flag::Loading, Flag::Stale]),
];

/// What follows LATENCY.
const LATENCY: &[Command] = &[
    Command::new(Id::LatencyLatest, "latency|latest", 2, Group::Server)
        .since("2.8.13")
        .summary("Lists the last delay of each event.")
        .differs("Always empty.")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    Command::new(Id::LatencyHistory, "latency|history", 3, Group::Server)
        .since("2.8.13")
        .summary("Lists the delays of an event.")
        .differs("Always empty.")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .arguments(&[string("event")]),
    Command::new(Id::LatencyReset, "latency|reset", -2, Group::Server)
        .since("2.8.13")
        .summary("Forgets the delays of events.")
        .differs("Always 0.")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .arguments(&[string("event").optional().multiple()]),
    Command::new(Id::LatencyHistogram, "latency|histogram", -2, Group::Server)
        .since("7.0.0")
        .summary("Tells how the delays of commands are spread.")
        .differs("Always empty.")
        .complexity("O(N) in the number of commands asked for")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .arguments(&[string("command").optional().multiple()]),
    Command::new(Id::LatencyGraph, "latency|graph", 3, Group::Server)
        .since("2.8.13")
        .summary("Draws the delays of an event.")
        .differs("There are no samples of any event.")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .arguments(&[string("event")]),
    Command::new(Id::LatencyDoctor, "latency|doctor", 2, Group::Server)
        .since("2.8.13")
        .summary("Judges the delays in words.")
        .differs("Has nothing to judge.")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    Command::new(Id::LatencyHelp, "latency|help", 2, Group::Server)
        .since("2.8.13")
        .summary("Explains the subcommands.")
        .flags(&[Flag::Loading, Flag::Stale]),
];
