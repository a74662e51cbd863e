//! `docs/commands.md`: the table of commands for people, and what is missing from it on purpose.
//!
//! Holds: the file is what [`markdown`] gives; a test compares them.

use super::docs::usage;
use super::table::{COMMANDS, Command, Group};
use std::fmt::Write;

/// Commands and subcommands of Redis 7.0.15 that are not there, by what they are about.
pub const ABSENT: &[(&str, &[&str])] = &[
    (
        "Hashes",
        &[
            "hdel",
            "hexists",
            "hget",
            "hgetall",
            "hincrby",
            "hincrbyfloat",
            "hkeys",
            "hlen",
            "hmget",
            "hmset",
            "hrandfield",
            "hscan",
            "hset",
            "hsetnx",
            "hstrlen",
            "hvals",
        ],
    ),
    (
        "Lists",
        &[
            "blmove",
            "blmpop",
            "blpop",
            "brpop",
            "brpoplpush",
            "lindex",
            "linsert",
            "llen",
            "lmove",
            "lmpop",
            "lpop",
            "lpos",
            "lpush",
            "lpushx",
            "lrange",
            "lrem",
            "lset",
            "ltrim",
            "rpop",
            "rpoplpush",
            "rpush",
            "rpushx",
        ],
    ),
    (
        "Sets",
        &[
            "sadd",
            "scard",
            "sdiff",
            "sdiffstore",
            "sinter",
            "sintercard",
            "sinterstore",
            "sismember",
            "smembers",
            "smismember",
            "smove",
            "spop",
            "srandmember",
            "srem",
            "sscan",
            "sunion",
            "sunionstore",
        ],
    ),
    (
        "Sorted sets",
        &[
            "bzmpop",
            "bzpopmax",
            "bzpopmin",
            "zadd",
            "zcard",
            "zcount",
            "zdiff",
            "zdiffstore",
            "zincrby",
            "zinter",
            "zintercard",
            "zinterstore",
            "zlexcount",
            "zmpop",
            "zmscore",
            "zpopmax",
            "zpopmin",
            "zrandmember",
            "zrange",
            "zrangebylex",
            "zrangebyscore",
            "zrangestore",
            "zrank",
            "zrem",
            "zremrangebylex",
            "zremrangebyrank",
            "zremrangebyscore",
            "zrevrange",
            "zrevrangebylex",
            "zrevrangebyscore",
            "zrevrank",
            "zscan",
            "zscore",
            "zunion",
            "zunionstore",
        ],
    ),
    (
        "Streams",
        &[
            "xack",
            "xadd",
            "xautoclaim",
            "xclaim",
            "xdel",
            "xgroup",
            "xinfo",
            "xlen",
            "xpending",
            "xrange",
            "xread",
            "xreadgroup",
            "xrevrange",
            "xsetid",
            "xtrim",
        ],
    ),
    ("Bits", &["bitcount", "bitfield", "bitfield_ro", "bitop", "bitpos", "getbit", "setbit"]),
    ("HyperLogLog", &["pfadd", "pfcount", "pfdebug", "pfmerge", "pfselftest"]),
    (
        "Places",
        &[
            "geoadd",
            "geodist",
            "geohash",
            "geopos",
            "georadius",
            "georadius_ro",
            "georadiusbymember",
            "georadiusbymember_ro",
            "geosearch",
            "geosearchstore",
        ],
    ),
    (
        "Publish and subscribe",
        &[
            "psubscribe",
            "publish",
            "pubsub",
            "punsubscribe",
            "spublish",
            "ssubscribe",
            "subscribe",
            "sunsubscribe",
            "unsubscribe",
        ],
    ),
    (
        "Scripts and functions",
        &["eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro", "function", "script"],
    ),
    (
        "Serialised values and sorting",
        &["dump", "migrate", "restore", "restore-asking", "sort", "sort_ro"],
    ),
    (
        "Tracking, pausing and blocked clients",
        &[
            "client|caching",
            "client|getredir",
            "client|pause",
            "client|tracking",
            "client|trackinginfo",
            "client|unblock",
        ],
    ),
    (
        "Users",
        &[
            "acl|cat",
            "acl|deluser",
            "acl|dryrun",
            "acl|genpass",
            "acl|getuser",
            "acl|list",
            "acl|load",
            "acl|log",
            "acl|save",
            "acl|setuser",
            "acl|users",
        ],
    ),
    (
        "Replication and cluster by hand",
        &[
            "cluster|addslots",
            "cluster|addslotsrange",
            "cluster|bumpepoch",
            "cluster|count-failure-reports",
            "cluster|delslots",
            "cluster|delslotsrange",
            "cluster|failover",
            "cluster|flushslots",
            "cluster|forget",
            "cluster|links",
            "cluster|meet",
            "cluster|replicas",
            "cluster|replicate",
            "cluster|reset",
            "cluster|saveconfig",
            "cluster|set-config-epoch",
            "cluster|setslot",
            "cluster|slaves",
            "failover",
            "psync",
            "replconf",
            "replicaof",
            "slaveof",
            "sync",
        ],
    ),
    (
        "The process and its inside",
        &[
            "bgrewriteaof",
            "command|getkeysandflags",
            "config|rewrite",
            "debug",
            "lolwut",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|purge",
            "memory|stats",
            "module",
            "monitor",
            "shutdown",
        ],
    ),
];

const INTRODUCTION: &str = "\
# Commands

<!-- Made from the source by a test; UPDATE_DOCS=1 cargo test -p shoal-server --test resp makes it
again. -->

Shoal speaks versions 2 and 3 of the Redis protocol, inline commands and pipelines. The commands
are those of Redis 7.0.15, with `CLIENT SETINFO` and `CLIENT NO-TOUCH` as Redis 7.2 has them;
replies, error texts and edge cases are Redis' but for what is said here. A key is 1 to 16,384
bytes long (the empty key is refused), a value at most 8 MiB unless configured otherwise. Errors of
Shoal's own begin with the words listed in [errors.md](errors.md). A command that ran but whose
effect could not be made durable is answered by such an error in place of its reply.

*Since* is the version of Redis that brought a command; `USE`, `CONSISTENCY` and `AT` are Shoal's own.
";

/// The headings, in the order of the document.
const HEADINGS: [(Group, &str); 6] = [
    (Group::String, "Strings"),
    (Group::Generic, "Keys"),
    (Group::Transactions, "Transactions"),
    (Group::Connection, "Connection"),
    (Group::Server, "Server"),
    (Group::Cluster, "Cluster"),
];

/// `docs/commands.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for (group, heading) in HEADINGS {
        // Writing to a string does not fail, here and below.
        let _ = write!(
            text,
            "\n## {heading}\n\n| command | what it does | cost | since | differs from Redis |\n\
             | --- | --- | --- | --- | --- |\n"
        );
        for command in COMMANDS.iter().filter(|command| command.group == group) {
            if command.subcommands.is_empty() {
                row(&mut text, command);
            }
            command.subcommands.iter().for_each(|subcommand| row(&mut text, subcommand));
        }
    }
    text.push_str(
        "\n## Not there\n\nThese commands of Redis 7.0.15 are answered as Redis answers an unknown \
         command or subcommand: `ERR unknown command …`. Between `MULTI` and `EXEC` one of them \
         makes `EXEC` fail. `COMMAND` does not list them.\n\n| what | commands |\n| --- | --- |\n",
    );
    for (what, names) in ABSENT {
        let names: Vec<String> = names.iter().map(|name| format!("`{}`", shown(name))).collect();
        let _ = writeln!(text, "| {what} | {} |", names.join(" "));
    }
    text
}

fn row(text: &mut String, command: &Command) {
    let container = command.name.split_once('|').map(|(container, _)| shown(container));
    let prefix = container.map_or_else(String::new, |name| name + " ");
    let usage = format!("{prefix}{}", usage(command)).replace('|', "\\|");
    let mut what = command.summary.to_owned();
    if let Some(deprecated) = command.deprecated {
        let _ = write!(what, " Better: {}.", deprecated.replaced_by.replace('!', ""));
    }
    let (cost, since) = (command.complexity, command.since);
    let differs = command.differs.unwrap_or("");
    let _ = writeln!(text, "| `{usage}` | {what} | {cost} | {since} | {differs} |");
}

/// A name as people write it.
fn shown(name: &str) -> String {
    name.to_ascii_uppercase().replace('|', " ")
}
