//! Transactions.

use super::argument::key;
use super::entry::{Category, Command, Flag, Group};
use super::id::Id;
use super::keys::{KeySpec, KeyUse};

/// The entries, in the order in which COMMAND lists them.
pub(super) const TRANSACTIONS: &[Command] = &[
    Command::new(Id::Multi, "multi", 1, Group::Transactions)
        .since("1.2.0")
        .summary("Begins a transaction: what follows waits for EXEC.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy])
        .categories(&[Category::Transaction]),
    Command::new(Id::Exec, "exec", 1, Group::Transactions)
        .since("1.2.0")
        .summary("Runs the transaction, all of it or nothing.")
        .complexity("As the commands of the transaction")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::SkipSlowlog])
        .categories(&[Category::Transaction]),
    Command::new(Id::Discard, "discard", 1, Group::Transactions)
        .since("2.0.0")
        .summary("Drops the transaction.")
        .complexity("O(N) in the commands of the transaction")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy])
        .categories(&[Category::Transaction]),
    Command::new(Id::Watch, "watch", -2, Group::Transactions)
        .since("2.2.0")
        .summary("Lets the next EXEC fail if one of the keys has changed by then.")
        .complexity("O(1) for each key")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy])
        .categories(&[Category::Transaction])
        .keys(&[KeySpec::all(1, &[KeyUse::ReadOnly])])
        .arguments(&[key("key", 0).multiple()]),
    Command::new(Id::Unwatch, "unwatch", 1, Group::Transactions)
        .since("2.2.0")
        .summary("Forgets all watched keys.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy])
        .categories(&[Category::Transaction]),
];
