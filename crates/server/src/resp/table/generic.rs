//! Commands on keys of any kind.

use super::argument::{integer, key, one_of, pattern, string, unix_time, word};
use super::entry::{Category, Command, Flag, Group};
use super::id::Id;
use super::keys::{KeySpec, KeyUse};

/// The entries, in the order in which COMMAND lists them.
pub(super) const GENERIC: &[Command] = &[
    Command::new(Id::Del, "del", -2, Group::Generic)
        .summary("Removes keys and tells how many there were.")
        .complexity("O(N) in the number of keys")
        .flags(&[Flag::Write])
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[KeySpec::all(1, &[KeyUse::Remove, KeyUse::Delete])])
        .arguments(&[key("key", 0).multiple()]),
    Command::new(Id::Unlink, "unlink", -2, Group::Generic)
        .since("4.0.0")
        .summary("Removes keys and tells how many there were; the same as DEL here.")
        .complexity("O(N) in the number of keys")
        .flags(&[Flag::Write, Flag::Fast])
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[KeySpec::all(1, &[KeyUse::Remove, KeyUse::Delete])])
        .arguments(&[key("key", 0).multiple()]),
    Command::new(Id::Exists, "exists", -2, Group::Generic)
        .summary("Counts which of the keys are there; one that is named twice counts twice.")
        .differs(
            "The keys are looked at one after another, not as one step; inside `MULTI` they are \
             one.",
        )
        .complexity("O(N) in the number of keys")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[KeySpec::all(1, &[KeyUse::ReadOnly])])
        .arguments(&[key("key", 0).multiple()]),
    Command::new(Id::Touch, "touch", -2, Group::Generic)
        .since("3.2.1")
        .summary("Marks keys as used just now and tells how many there are.")
        .differs(
            "The keys are looked at one after another, not as one step; inside `MULTI` they are \
             one.",
        )
        .complexity("O(N) in the number of keys")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keys(&[KeySpec::all(1, &[KeyUse::ReadOnly])])
        .arguments(&[key("key", 0).multiple()]),
    Command::new(Id::Type, "type", 2, Group::Generic)
        .summary("Tells the type of a key's value.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadOnly])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::Expire, "expire", -3, Group::Generic)
        .summary("Lets a key expire after some seconds.")
        .flags(&[Flag::Write, Flag::Fast])
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Update])])
        .arguments(&[
            key("key", 0),
            integer("seconds"),
            one_of(
                "condition",
                &[word("nx", "NX"), word("xx", "XX"), word("gt", "GT"), word("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ]),
    Command::new(Id::PExpire, "pexpire", -3, Group::Generic)
        .since("2.6.0")
        .summary("Lets a key expire after some milliseconds.")
        .flags(&[Flag::Write, Flag::Fast])
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Update])])
        .arguments(&[
            key("key", 0),
            integer("milliseconds"),
            one_of(
                "condition",
                &[word("nx", "NX"), word("xx", "XX"), word("gt", "GT"), word("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ]),
    Command::new(Id::ExpireAt, "expireat", -3, Group::Generic)
        .since("1.2.0")
        .summary("Lets a key expire at a time, in seconds since the Unix epoch.")
        .flags(&[Flag::Write, Flag::Fast])
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Update])])
        .arguments(&[
            key("key", 0),
            unix_time("unix-time-seconds"),
            one_of(
                "condition",
                &[word("nx", "NX"), word("xx", "XX"), word("gt", "GT"), word("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ]),
    Command::new(Id::PExpireAt, "pexpireat", -3, Group::Generic)
        .since("2.6.0")
        .summary("Lets a key expire at a time, in milliseconds since the Unix epoch.")
        .flags(&[Flag::Write, Flag::Fast])
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Update])])
        .arguments(&[
            key("key", 0),
            unix_time("unix-time-milliseconds"),
            one_of(
                "condition",
                &[word("nx", "NX"), word("xx", "XX"), word("gt", "GT"), word("lt", "LT")],
            )
            .since("7.0.0")
            .optional(),
        ]),
    Command::new(Id::Ttl, "ttl", 2, Group::Generic)
        .summary("Tells in how many seconds a key expires.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadOnly, KeyUse::Access])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::PTtl, "pttl", 2, Group::Generic)
        .since("2.6.0")
        .summary("Tells in how many milliseconds a key expires.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadOnly, KeyUse::Access])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::ExpireTime, "expiretime", 2, Group::Generic)
        .since("7.0.0")
        .summary("Tells when a key expires, in seconds since the Unix epoch.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadOnly, KeyUse::Access])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::PExpireTime, "pexpiretime", 2, Group::Generic)
        .since("7.0.0")
        .summary("Tells when a key expires, in milliseconds since the Unix epoch.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadOnly, KeyUse::Access])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::Persist, "persist", 2, Group::Generic)
        .since("2.2.0")
        .summary("Takes away a key's expiry.")
        .flags(&[Flag::Write, Flag::Fast])
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Update])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::Keys, "keys", 2, Group::Generic)
        .summary("Lists the keys that match a pattern.")
        .differs("Keys come slot by slot.")
        .complexity("O(N) in the number of keys of the keyspace")
        .flags(&[Flag::ReadOnly])
        .categories(&[Category::Keyspace, Category::Dangerous])
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .arguments(&[pattern("pattern")]),
    Command::new(Id::Scan, "scan", -2, Group::Generic)
        .since("2.8.0")
        .summary("Lists the keys of the keyspace a slice at a time.")
        .differs(
            "Keys come slot by slot; the cursor stays good across restarts and no key comes \
             twice while nothing is written.",
        )
        .complexity("O(N) in COUNT for each call")
        .flags(&[Flag::ReadOnly])
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output", "request_policy:special"])
        .arguments(&[
            integer("cursor"),
            pattern("pattern").token("MATCH").optional(),
            integer("count").token("COUNT").optional(),
            string("type").token("TYPE").since("6.0.0").optional(),
        ]),
    Command::new(Id::RandomKey, "randomkey", 1, Group::Generic)
        .summary("Gives a key of the keyspace by chance.")
        .flags(&[Flag::ReadOnly])
        .categories(&[Category::Keyspace])
        .tips(&["request_policy:all_shards", "nondeterministic_output"]),
    Command::new(Id::Rename, "rename", 3, Group::Generic)
        .summary("Moves a value to another key, whatever was there.")
        .flags(&[Flag::Write])
        .categories(&[Category::Keyspace])
        .keys(&[
            KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Delete]),
            KeySpec::one(2, &[KeyUse::Overwrite, KeyUse::Update]),
        ])
        .arguments(&[key("key", 0), key("newkey", 1)]),
    Command::new(Id::RenameNx, "renamenx", 3, Group::Generic)
        .summary("Moves a value to another key that has none.")
        .flags(&[Flag::Write, Flag::Fast])
        .categories(&[Category::Keyspace])
        .keys(&[
            KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Delete]),
            KeySpec::one(2, &[KeyUse::Overwrite, KeyUse::Insert]),
        ])
        .arguments(&[key("key", 0), key("newkey", 1)]),
    Command::new(Id::Copy, "copy", -3, Group::Generic)
        .since("6.2.0")
        .summary("Copies a value to another key.")
        .complexity("O(N) in the length of the value")
        .flags(&[Flag::Write, Flag::DenyOom])
        .categories(&[Category::Keyspace])
        .keys(&[
            KeySpec::one(1, &[KeyUse::ReadOnly, KeyUse::Access]),
            KeySpec::one(2, &[KeyUse::Overwrite, KeyUse::Update]),
        ])
        .arguments(&[
            key("source", 0),
            key("destination", 1),
            integer("destination-db").token("DB").optional(),
            word("replace", "REPLACE").optional(),
        ]),
    Command::new(Id::Move, "move", 3, Group::Generic)
        .summary("Moves a key to another keyspace.")
        .differs("To a keyspace by its number.")
        .flags(&[Flag::Write, Flag::Fast])
        .categories(&[Category::Keyspace])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Update])])
        .arguments(&[key("key", 0), integer("db")]),
    Command::new(Id::Container, "object", -2, Group::Generic)
        .since("2.2.3")
        .summary("Tells how a key is kept.")
        .complexity("As its subcommands")
        .subcommands(OBJECT),
    Command::new(Id::Wait, "wait", 3, Group::Generic)
        .since("3.0.0")
        .summary("Waits until the connection's writes are on other nodes too.")
        .differs(
            "Answers at once: every write waits for its level before it is acknowledged. Counts \
             the other replicas that the level of all writes since the last `WAIT` promises.",
        )
        .flags(&[Flag::NoScript])
        .categories(&[Category::Connection])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .arguments(&[integer("numreplicas"), integer("timeout")]),
];

/// What follows OBJECT.
const OBJECT: &[Command] = &[
    Command::new(Id::ObjectEncoding, "object|encoding", 3, Group::Generic)
        .since("2.2.3")
        .summary("Tells how a value is encoded.")
        .differs(
            "Judged by the bytes alone: what `APPEND` or `SETRANGE` made short is `embstr`, \
             not `raw`.",
        )
        .flags(&[Flag::ReadOnly])
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::one(2, &[KeyUse::ReadOnly])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::ObjectIdleTime, "object|idletime", 3, Group::Generic)
        .since("2.2.3")
        .summary("Tells for how many seconds a key has not been used.")
        .differs("Seconds since the key was written; reads do not count.")
        .flags(&[Flag::ReadOnly])
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::one(2, &[KeyUse::ReadOnly])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::ObjectFreq, "object|freq", 3, Group::Generic)
        .since("4.0.0")
        .summary("Tells how often a key is used, on a logarithmic scale.")
        .differs("Frequencies are not counted, so a key that is there is always refused.")
        .flags(&[Flag::ReadOnly])
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::one(2, &[KeyUse::ReadOnly])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::ObjectRefCount, "object|refcount", 3, Group::Generic)
        .since("2.2.3")
        .summary("Tells how many references a value has.")
        .differs("2147483647 for the integers from 0 to 9999, however they came about, else 1.")
        .flags(&[Flag::ReadOnly])
        .categories(&[Category::Keyspace])
        .tips(&["nondeterministic_output"])
        .keys(&[KeySpec::one(2, &[KeyUse::ReadOnly])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::ObjectHelp, "object|help", 2, Group::Generic)
        .since("6.2.0")
        .summary("Explains the subcommands.")
        .flags(&[Flag::Loading, Flag::Stale])
        .categories(&[Category::Keyspace]),
];
