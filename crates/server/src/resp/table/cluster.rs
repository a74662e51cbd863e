//! Commands that concern the cluster.

use super::argument::{Argument, integer, one_of, string, word};
use super::entry::{Category, Command, Flag, Group};
use super::id::Id;

/// The entries, in the order in which COMMAND lists them.
pub(super) const CLUSTER: &[Command] = &[
    Command::new(Id::Container, "cluster", -2, Group::Cluster)
        .since("3.0.0")
        .summary("Tells about the cluster.")
        .complexity("As its subcommands")
        .subcommands(SUBCOMMANDS),
    Command::new(Id::Consistency, "consistency", -1, Group::Cluster)
        .since("0.1.0")
        .summary("Chooses how many replicas the connection's requests wait for, or tells it.")
        .differs(
            "Shoal's own. `default` is what the keyspace says; RESET goes back to it. Not inside \
             a transaction, all of which has the level that EXEC finds.",
        )
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoMulti])
        .categories(&[Category::Connection])
        .arguments(&[one_of("level", LEVELS).optional()]),
    Command::new(Id::At, "at", -3, Group::Cluster)
        .since("0.1.0")
        .summary("Carries out one command at a level of its own.")
        .complexity("As the command")
        .differs("Shoal's own. Not inside a transaction, and not for one.")
        .flags(&[Flag::NoScript, Flag::NoMulti])
        .arguments(&[
            one_of("level", LEVELS),
            string("command"),
            string("argument").multiple().optional(),
        ]),
    Command::new(Id::ReadOnly, "readonly", 1, Group::Cluster)
        .since("3.0.0")
        .summary("Lets a connection read from replicas.")
        .differs("Changes nothing: any node serves any key.")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .categories(&[Category::Connection]),
    Command::new(Id::ReadWrite, "readwrite", 1, Group::Cluster)
        .since("3.0.0")
        .summary("Takes `READONLY` back.")
        .differs("Changes nothing: any node serves any key.")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .categories(&[Category::Connection]),
    Command::new(Id::Asking, "asking", 1, Group::Cluster)
        .since("3.0.0")
        .summary("Lets the next command reach a slot that is moving.")
        .differs("Changes nothing: any node serves any key.")
        .flags(&[Flag::Fast])
        .categories(&[Category::Connection]),
];

/// How many replicas a request waits for.
const LEVELS: &[Argument] =
    &[word("one", "ONE"), word("quorum", "QUORUM"), word("all", "ALL"), word("default", "DEFAULT")];

/// What is told of one slot's keys.
const HELD: &str = "Of what this node holds a copy of; nothing where it holds none of the slot.";

/// What is told of who holds slots.
const LED: &str = "Of the selected keyspace. Each slot has one node, its first replica that is \
                   up, flagged `master`, at the address of its `cluster_listen`.";

/// What follows CLUSTER.
const SUBCOMMANDS: &[Command] = &[
    Command::new(Id::ClusterInfo, "cluster|info", 2, Group::Cluster)
        .since("3.0.0")
        .summary("Tells how the cluster is.")
        .differs(
            "Of a node alone it tells as of a cluster of one that holds all slots, though \
             `cluster_enabled` is 0 then.",
        )
        .flags(&[Flag::Stale])
        .tips(&["nondeterministic_output"]),
    Command::new(Id::ClusterMyId, "cluster|myid", 2, Group::Cluster)
        .since("3.0.0")
        .summary("Gives the node's name in the cluster.")
        .flags(&[Flag::Stale]),
    Command::new(Id::ClusterKeySlot, "cluster|keyslot", 3, Group::Cluster)
        .since("3.0.0")
        .summary("Tells the slot of a key.")
        .complexity("O(N) in the length of the key")
        .flags(&[Flag::Stale])
        .arguments(&[string("key")]),
    Command::new(Id::ClusterSlots, "cluster|slots", 2, Group::Cluster)
        .since("3.0.0")
        .summary("Lists runs of slots with their nodes.")
        .differs(LED)
        .complexity("O(N) in the number of nodes")
        .flags(&[Flag::Stale])
        .tips(&["nondeterministic_output"])
        .deprecated("7.0.0", "`CLUSTER SHARDS`"),
    Command::new(Id::ClusterShards, "cluster|shards", 2, Group::Cluster)
        .since("7.0.0")
        .summary("Lists the shards with their slots and nodes.")
        .differs(LED)
        .complexity("O(N) in the number of nodes")
        .flags(&[Flag::Stale])
        .tips(&["nondeterministic_output"]),
    Command::new(Id::ClusterNodes, "cluster|nodes", 2, Group::Cluster)
        .since("3.0.0")
        .summary("Lists the nodes, in lines.")
        .differs(LED)
        .complexity("O(N) in the number of nodes")
        .flags(&[Flag::Stale])
        .tips(&["nondeterministic_output"]),
    Command::new(Id::ClusterCountKeysInSlot, "cluster|countkeysinslot", 3, Group::Cluster)
        .since("3.0.0")
        .summary("Counts the keys of a slot.")
        .differs(HELD)
        .flags(&[Flag::Stale])
        .arguments(&[integer("slot")]),
    Command::new(Id::ClusterGetKeysInSlot, "cluster|getkeysinslot", 4, Group::Cluster)
        .since("3.0.0")
        .summary("Lists keys of a slot.")
        .differs(HELD)
        .complexity("O(N) in the number of keys asked for")
        .flags(&[Flag::Stale])
        .tips(&["nondeterministic_output"])
        .arguments(&[integer("slot"), integer("count")]),
    Command::new(Id::ClusterHelp, "cluster|help", 2, Group::Cluster)
        .since("5.0.0")
        .summary("Explains the subcommands.")
        .flags(&[Flag::Loading, Flag::Stale]),
];
