//! Commands that concern the cluster.

use super::argument::{integer, string};
use super::entry::{Command, Flag, Group};
use super::id::Id;

/// The entries, in the order in which COMMAND lists them.
pub(super) const CLUSTER: &[Command] =
    &[Command::new(Id::Container, "cluster", -2, Group::Cluster)
        .since("3.0.0")
        .summary("Tells about the cluster.")
        .complexity("As its subcommands")
        .subcommands(SUBCOMMANDS)];

/// What follows CLUSTER.
const SUBCOMMANDS: &[Command] = &[
    Command::new(Id::ClusterInfo, "cluster|info", 2, Group::Cluster)
        .since("3.0.0")
        .summary("Tells how the cluster is.")
        .differs(
            "Tells of a cluster of one node that holds all slots, though `cluster_enabled` is \
             0.",
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
        .differs("One node holds all slots.")
        .complexity("O(N) in the number of nodes")
        .flags(&[Flag::Stale])
        .tips(&["nondeterministic_output"])
        .deprecated("7.0.0", "`CLUSTER SHARDS`"),
    Command::new(Id::ClusterShards, "cluster|shards", 2, Group::Cluster)
        .since("7.0.0")
        .summary("Lists the shards with their slots and nodes.")
        .differs("One node holds all slots.")
        .complexity("O(N) in the number of nodes")
        .flags(&[Flag::Stale])
        .tips(&["nondeterministic_output"]),
    Command::new(Id::ClusterNodes, "cluster|nodes", 2, Group::Cluster)
        .since("3.0.0")
        .summary("Lists the nodes, in lines.")
        .differs("One node holds all slots.")
        .complexity("O(N) in the number of nodes")
        .flags(&[Flag::Stale])
        .tips(&["nondeterministic_output"]),
    Command::new(Id::ClusterCountKeysInSlot, "cluster|countkeysinslot", 3, Group::Cluster)
        .since("3.0.0")
        .summary("Counts the keys of a slot.")
        .flags(&[Flag::Stale])
        .arguments(&[integer("slot")]),
    Command::new(Id::ClusterGetKeysInSlot, "cluster|getkeysinslot", 4, Group::Cluster)
        .since("3.0.0")
        .summary("Lists keys of a slot.")
        .complexity("O(N) in the number of keys asked for")
        .flags(&[Flag::Stale])
        .tips(&["nondeterministic_output"])
        .arguments(&[integer("slot"), integer("count")]),
    Command::new(Id::ClusterHelp, "cluster|help", 2, Group::Cluster)
        .since("5.0.0")
        .summary("Explains the subcommands.")
        .flags(&[Flag::Loading, Flag::Stale]),
];
