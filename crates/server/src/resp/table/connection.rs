//! Commands that concern the connection.

use super::argument::{block, integer, one_of, string, word};
use super::entry::{Category, Command, Flag, Group};
use super::id::Id;

/// The entries, in the order in which COMMAND lists them.
pub(super) const CONNECTION: &[Command] = &[
    Command::new(Id::Ping, "ping", -1, Group::Connection)
        .summary("Answers, and so shows that the server does.")
        .flags(&[Flag::Fast])
        .categories(&[Category::Connection])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .arguments(&[string("message").optional()]),
    Command::new(Id::Echo, "echo", 2, Group::Connection)
        .summary("Gives its argument back.")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .categories(&[Category::Connection])
        .arguments(&[string("message")]),
    Command::new(Id::Hello, "hello", -1, Group::Connection)
        .since("6.0.0")
        .summary("Chooses the protocol and introduces both sides.")
        .flags(&[
            Flag::NoScript,
            Flag::Loading,
            Flag::Stale,
            Flag::Fast,
            Flag::NoAuth,
            Flag::AllowBusy,
        ])
        .categories(&[Category::Connection])
        .arguments(&[block(
            "arguments",
            &[
                integer("protover"),
                block("username_password", &[string("username"), string("password")])
                    .token("AUTH")
                    .optional(),
                string("clientname").token("SETNAME").optional(),
            ],
        )
        .optional()]),
    Command::new(Id::Auth, "auth", -2, Group::Connection)
        .summary("Authenticates the connection.")
        .differs("There are no users yet: `default` is let in with any password.")
        .flags(&[
            Flag::NoScript,
            Flag::Loading,
            Flag::Stale,
            Flag::Fast,
            Flag::NoAuth,
            Flag::AllowBusy,
        ])
        .categories(&[Category::Connection])
        .arguments(&[string("username").since("6.0.0").optional(), string("password")]),
    Command::new(Id::Select, "select", 2, Group::Connection)
        .summary("Chooses the connection's keyspace by its number.")
        .differs(
            "Takes the name of a keyspace too. 0 is `default`, 1 to 15 are `db1` to `db15`, \
             higher numbers are those that keyspaces were made with.",
        )
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .categories(&[Category::Connection])
        .arguments(&[integer("index")]),
    Command::new(Id::Use, "use", 2, Group::Connection)
        .since("0.1.0")
        .summary("Chooses the connection's keyspace by its name.")
        .differs("Shoal's own.")
        .flags(&[Flag::Loading, Flag::Stale, Flag::Fast])
        .categories(&[Category::Connection])
        .arguments(&[string("keyspace")]),
    Command::new(Id::Reset, "reset", 1, Group::Connection)
        .since("6.2.0")
        .summary("Puts the connection back to how it began.")
        .flags(&[
            Flag::NoScript,
            Flag::Loading,
            Flag::Stale,
            Flag::Fast,
            Flag::NoAuth,
            Flag::AllowBusy,
        ])
        .categories(&[Category::Connection]),
    Command::new(Id::Quit, "quit", -1, Group::Connection)
        .summary("Closes the connection.")
        .flags(&[
            Flag::NoScript,
            Flag::Loading,
            Flag::Stale,
            Flag::Fast,
            Flag::NoAuth,
            Flag::AllowBusy,
        ])
        .categories(&[Category::Connection]),
    Command::new(Id::Container, "client", -2, Group::Connection)
        .since("2.4.0")
        .summary("Looks after connections.")
        .complexity("As its subcommands")
        .subcommands(CLIENT),
];

/// What follows CLIENT.
const CLIENT: &[Command] = &[
    Command::new(Id::ClientId, "client|id", 2, Group::Connection)
        .since("5.0.0")
        .summary("Gives the connection's number.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection]),
    Command::new(Id::ClientGetName, "client|getname", 2, Group::Connection)
        .since("2.6.9")
        .summary("Gives the connection's name.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection]),
    Command::new(Id::ClientSetName, "client|setname", 3, Group::Connection)
        .since("2.6.9")
        .summary("Names the connection.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .arguments(&[string("connection-name")]),
    Command::new(Id::ClientSetInfo, "client|setinfo", 4, Group::Connection)
        .since("7.2.0")
        .summary("Tells the server which library the client uses.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .arguments(&[one_of(
            "attr",
            &[string("libname").token("LIB-NAME"), string("libver").token("LIB-VER")],
        )]),
    Command::new(Id::ClientInfo, "client|info", 2, Group::Connection)
        .since("6.2.0")
        .summary("Describes the connection.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .tips(&["nondeterministic_output"]),
    Command::new(Id::ClientList, "client|list", -2, Group::Connection)
        .since("2.4.0")
        .summary("Describes the connections.")
        .differs("The file descriptor and sizes of inner buffers are not told.")
        .complexity("O(N) in the number of connections")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .tips(&["nondeterministic_output"])
        .arguments(&[
            one_of(
                "normal_master_replica_pubsub",
                &[
                    word("normal", "NORMAL"),
                    word("master", "MASTER"),
                    word("replica", "REPLICA"),
                    word("pubsub", "PUBSUB"),
                ],
            )
            .token("TYPE")
            .since("5.0.0")
            .optional(),
            block("id", &[integer("client-id").multiple()]).token("ID").since("6.2.0").optional(),
        ]),
    Command::new(Id::ClientKill, "client|kill", -3, Group::Connection)
        .since("2.4.0")
        .summary("Closes connections.")
        .complexity("O(N) in the number of connections")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .arguments(&[one_of(
            "filter",
            &[
                string("ip:port").deprecated("2.8.12"),
                one_of(
                    "new-format",
                    &[
                        integer("client-id").token("ID").since("2.8.12").optional(),
                        one_of(
                            "normal_master_slave_pubsub",
                            &[
                                word("normal", "NORMAL"),
                                word("master", "MASTER").since("3.2.0"),
                                word("slave", "SLAVE"),
                                word("replica", "REPLICA").since("5.0.0"),
                                word("pubsub", "PUBSUB"),
                            ],
                        )
                        .token("TYPE")
                        .since("2.8.12")
                        .optional(),
                        string("username").token("USER").optional(),
                        string("ip:port").token("ADDR").optional(),
                        string("ip:port").token("LADDR").since("6.2.0").optional(),
                        string("yes/no").token("SKIPME").optional(),
                    ],
                )
                .multiple(),
            ],
        )]),
    Command::new(Id::ClientReply, "client|reply", 3, Group::Connection)
        .since("3.2.0")
        .summary("Chooses whether the connection is answered.")
        .differs(
            "Inside a transaction a command that replies nothing has nil in the array of \
             `EXEC`.",
        )
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .arguments(&[one_of(
            "on_off_skip",
            &[word("on", "ON"), word("off", "OFF"), word("skip", "SKIP")],
        )]),
    Command::new(Id::ClientNoEvict, "client|no-evict", 3, Group::Connection)
        .since("7.0.0")
        .summary("Spares the connection when memory is short.")
        .differs(
            "Closed last, not never, where clients that take no replies are closed to make room.",
        )
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .arguments(&[one_of("enabled", &[word("on", "ON"), word("off", "OFF")])]),
    Command::new(Id::ClientNoTouch, "client|no-touch", 3, Group::Connection)
        .since("7.2.0")
        .summary("Chooses whether the connection's reads count as use of a key.")
        .differs("Remembered and shown; reads in a keyspace that evicts count as use all the same.")
        .flags(&[Flag::NoScript, Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection])
        .arguments(&[one_of("enabled", &[word("on", "ON"), word("off", "OFF")])]),
    Command::new(Id::ClientUnpause, "client|unpause", 2, Group::Connection)
        .since("6.2.0")
        .summary("Lets clients go on that were made to wait.")
        .differs("Has nothing to do: nobody is made to wait.")
        .flags(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection]),
    Command::new(Id::ClientHelp, "client|help", 2, Group::Connection)
        .since("5.0.0")
        .summary("Explains the subcommands.")
        .flags(&[Flag::Loading, Flag::Stale])
        .categories(&[Category::Connection]),
];
