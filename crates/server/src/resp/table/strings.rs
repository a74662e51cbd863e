//! Commands on strings.

use super::argument::{block, double, integer, key, one_of, string, unix_time, word};
use super::entry::{Category, Command, Flag, Group};
use super::id::Id;
use super::keys::{KeySpec, KeyUse};

/// The entries, in the order in which COMMAND lists them.
pub(super) const STRINGS: &[Command] = &[
    Command::new(Id::Get, "get", 2, Group::String)
        .summary("Gives the value of a key.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadOnly, KeyUse::Access])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::Set, "set", -3, Group::String)
        .summary("Stores a value under a key, whatever was there, and says when it expires.")
        .flags(&[Flag::Write, Flag::DenyOom])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(
            1,
            &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Update, KeyUse::Variable],
        )
        .notes("It reads the old value too when `GET` is given.")])
        .arguments(&[
            key("key", 0),
            string("value"),
            one_of("condition", &[word("nx", "NX"), word("xx", "XX")]).since("2.6.12").optional(),
            word("get", "GET").since("6.2.0").optional(),
            one_of(
                "expiration",
                &[
                    integer("seconds").token("EX").since("2.6.12"),
                    integer("milliseconds").token("PX").since("2.6.12"),
                    unix_time("unix-time-seconds").token("EXAT").since("6.2.0"),
                    unix_time("unix-time-milliseconds").token("PXAT").since("6.2.0"),
                    word("keepttl", "KEEPTTL").since("6.0.0"),
                ],
            )
            .optional(),
        ]),
    Command::new(Id::SetNx, "setnx", 3, Group::String)
        .summary("Stores a value under a key that has none.")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::Overwrite, KeyUse::Insert])])
        .arguments(&[key("key", 0), string("value")]),
    Command::new(Id::SetEx, "setex", 4, Group::String)
        .since("2.0.0")
        .summary("Stores a value that expires after some seconds.")
        .flags(&[Flag::Write, Flag::DenyOom])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::Overwrite, KeyUse::Update])])
        .arguments(&[key("key", 0), integer("seconds"), string("value")]),
    Command::new(Id::PSetEx, "psetex", 4, Group::String)
        .since("2.6.0")
        .summary("Stores a value that expires after some milliseconds.")
        .flags(&[Flag::Write, Flag::DenyOom])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::Overwrite, KeyUse::Update])])
        .arguments(&[key("key", 0), integer("milliseconds"), string("value")]),
    Command::new(Id::GetSet, "getset", 3, Group::String)
        .summary("Stores a value and gives the one that it replaces.")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Update])])
        .deprecated("6.2.0", "`SET` with the `!GET` argument")
        .arguments(&[key("key", 0), string("value")]),
    Command::new(Id::GetDel, "getdel", 2, Group::String)
        .since("6.2.0")
        .summary("Gives the value of a key and removes the key.")
        .flags(&[Flag::Write, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Delete])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::GetEx, "getex", -2, Group::String)
        .since("6.2.0")
        .summary("Gives the value of a key and changes when it expires.")
        .flags(&[Flag::Write, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Update])
            .notes("It writes the expiry.")])
        .arguments(&[
            key("key", 0),
            one_of(
                "expiration",
                &[
                    integer("seconds").token("EX"),
                    integer("milliseconds").token("PX"),
                    unix_time("unix-time-seconds").token("EXAT"),
                    unix_time("unix-time-milliseconds").token("PXAT"),
                    word("persist", "PERSIST"),
                ],
            )
            .optional(),
        ]),
    Command::new(Id::MGet, "mget", -2, Group::String)
        .summary("Gives the values of several keys.")
        .differs(
            "The keys are read one after another, not as one step; inside `MULTI` they are one.",
        )
        .complexity("O(N) in the number of keys")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .categories(&[Category::String])
        .tips(&["request_policy:multi_shard"])
        .keys(&[KeySpec::all(1, &[KeyUse::ReadOnly, KeyUse::Access])])
        .arguments(&[key("key", 0).multiple()]),
    Command::new(Id::MSet, "mset", -3, Group::String)
        .since("1.0.1")
        .summary("Stores several values at once, all of them or none.")
        .complexity("O(N) in the number of keys")
        .flags(&[Flag::Write, Flag::DenyOom])
        .categories(&[Category::String])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .keys(&[KeySpec::all(2, &[KeyUse::Overwrite, KeyUse::Update])])
        .arguments(&[block("key_value", &[key("key", 0), string("value")]).multiple()]),
    Command::new(Id::MSetNx, "msetnx", -3, Group::String)
        .since("1.0.1")
        .summary("Stores several values at once if none of the keys has one.")
        .complexity("O(N) in the number of keys")
        .flags(&[Flag::Write, Flag::DenyOom])
        .categories(&[Category::String])
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .keys(&[KeySpec::all(2, &[KeyUse::Overwrite, KeyUse::Insert])])
        .arguments(&[block("key_value", &[key("key", 0), string("value")]).multiple()]),
    Command::new(Id::Append, "append", 3, Group::String)
        .since("2.0.0")
        .summary("Adds bytes to the end of a value.")
        .complexity("O(N) in the length of the new value")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Insert])])
        .arguments(&[key("key", 0), string("value")]),
    Command::new(Id::StrLen, "strlen", 2, Group::String)
        .since("2.2.0")
        .summary("Gives the length of a value in bytes.")
        .flags(&[Flag::ReadOnly, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadOnly])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::GetRange, "getrange", 4, Group::String)
        .since("2.4.0")
        .summary("Gives the bytes of a value between two offsets.")
        .complexity("O(N) in the length of the answer")
        .flags(&[Flag::ReadOnly])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadOnly, KeyUse::Access])])
        .arguments(&[key("key", 0), integer("start"), integer("end")]),
    Command::new(Id::Substr, "substr", 4, Group::String)
        .summary("Gives the bytes of a value between two offsets, under its old name.")
        .complexity("O(N) in the length of the answer")
        .flags(&[Flag::ReadOnly])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadOnly, KeyUse::Access])])
        .deprecated("2.0.0", "`GETRANGE`")
        .arguments(&[key("key", 0), integer("start"), integer("end")]),
    Command::new(Id::SetRange, "setrange", 4, Group::String)
        .since("2.2.0")
        .summary(
            "Overwrites a value from an offset on, with zero bytes up to it where it is shorter.",
        )
        .complexity("O(N) in the length of the new value")
        .flags(&[Flag::Write, Flag::DenyOom])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Update])])
        .arguments(&[key("key", 0), integer("offset"), string("value")]),
    Command::new(Id::Incr, "incr", 2, Group::String)
        .summary("Adds one to an integer.")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Update])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::Decr, "decr", 2, Group::String)
        .summary("Takes one from an integer.")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Update])])
        .arguments(&[key("key", 0)]),
    Command::new(Id::IncrBy, "incrby", 3, Group::String)
        .summary("Adds to an integer.")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Update])])
        .arguments(&[key("key", 0), integer("increment")]),
    Command::new(Id::DecrBy, "decrby", 3, Group::String)
        .summary("Takes from an integer.")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Update])])
        .arguments(&[key("key", 0), integer("decrement")]),
    Command::new(Id::IncrByFloat, "incrbyfloat", 3, Group::String)
        .since("2.6.0")
        .summary("Adds to a number with a fraction.")
        .flags(&[Flag::Write, Flag::DenyOom, Flag::Fast])
        .categories(&[Category::String])
        .keys(&[KeySpec::one(1, &[KeyUse::ReadWrite, KeyUse::Access, KeyUse::Update])])
        .arguments(&[key("key", 0), double("increment")]),
    Command::new(Id::Lcs, "lcs", -3, Group::String)
        .since("7.0.0")
        .summary("Finds the longest subsequence that two values have in common.")
        .differs(
            "Refused where the lengths multiplied exceed about 17 million; Redis takes 8 times \
             that. The keys are read one after another, not as one step; inside `MULTI` they are \
             one.",
        )
        .complexity("O(N*M) in the lengths of the two values")
        .flags(&[Flag::ReadOnly])
        .categories(&[Category::String])
        .keys(&[KeySpec::pair(&[KeyUse::ReadOnly, KeyUse::Access])])
        .arguments(&[
            key("key1", 0),
            key("key2", 0),
            word("len", "LEN").optional(),
            word("idx", "IDX").optional(),
            integer("len").token("MINMATCHLEN").optional(),
            word("withmatchlen", "WITHMATCHLEN").optional(),
        ]),
];
