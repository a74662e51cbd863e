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
        .differs("A transaction holds at most 1,048,576 commands and 64 MiB.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy])
        .categories(&[Category::Transaction]),
    Command::new(Id::Exec, "exec", 1, Group::Transactions)
        .since("1.2.0")
        .summary("Runs the transaction, all of it or nothing.")
        .differs(
            "`FLUSHDB`, `FLUSHALL` and `SWAPDB` divide it: after a crash at that moment what \
             came before them may be there without what comes after. If the storage refuses, \
             nothing is applied and the answer is the error.",
        )
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
        .differs(
            "A key that is not there may be taken for changed when another of its partition \
             was removed: `EXEC` then answers nil though it need not.",
        )
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
