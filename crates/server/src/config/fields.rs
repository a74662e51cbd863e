//! The table of settings: one row each, from which come the names in the file, in the
//! environment and on the command line, the defaults, `config show` and the documentation.
//!
//! Holds: a setting that is not in the table does not exist, and every row is read by
//! [`resolve`](super::resolve).

use super::raw::Words;
use serde::{Deserialize, Serialize};

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name in a file: `max_value`.
    pub name: &'static str,
    /// The name on the command line: `--max-value`.
    pub flag: &'static str,
    /// The name in the environment: `SHOAL_MAX_VALUE`.
    pub variable: &'static str,
    /// What a value looks like: `SIZE`, `DURATION`, `HOST:PORT`.
    pub unit: &'static str,
    /// Which values it may have, as a sentence fragment.
    pub range: &'static str,
    /// The value without one being given, as it would be written; or how it comes about.
    pub default: DefaultValue,
    /// What it does.
    pub doc: &'static str,
}

impl Field {
    /// Whether it takes several values: a flag may be repeated, and a variable has commas.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.name, "listen" | "join" | "tag")
    }
}

/// What a setting is when nobody set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// This text.
    Text(&'static str),
    /// Something found out at the start, described by these words.
    Found(&'static str),
}

impl DefaultValue {
    /// The text for documentation.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Text(text) | Self::Found(text) => text,
        }
    }
}

macro_rules! settings {
    ($( $name:ident $flag:literal $variable:literal $unit:literal $default:expr, $range:literal, $doc:literal; )+) => {
        /// Every setting there is, in the order of the documentation.
        pub const FIELDS: &[Field] = &[$( Field {
            name: stringify!($name),
            flag: $flag,
            variable: $variable,
            unit: $unit,
            range: $range,
            default: $default,
            doc: $doc,
        } ),+];

        /// What a user wrote in one place (a file, the environment, the command line), not yet
        /// understood.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Raw {
            $( #[doc = $doc] #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<Words>, )+
        }

        impl Raw {
            /// What was written for the setting of this name.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<&Words> {
                match name {
                    $( stringify!($name) => self.$name.as_ref(), )+
                    _ => None,
                }
            }

            /// Writes the setting of this name; `false` if there is none.
            pub fn set(&mut self, name: &str, words: Words) -> bool {
                match name {
                    $( stringify!($name) => self.$name = Some(words), )+
                    _ => return false,
                }
                true
            }
        }
    };
}

use DefaultValue::{Found, Text};

settings! {
    data "--data" "SHOAL_DATA" "DIR" Text("./shoal-data"),
        "a directory that exists or can be made",
        "Where the node keeps its files. Made with mode 0700.";
    listen "--listen" "SHOAL_LISTEN" "HOST:PORT|unix:PATH" Text("127.0.0.1:7400"),
        "one or several; an IP address or `localhost` and a port (0 for any free one), or `unix:` and a path",
        "Where clients connect. Addresses other than loopback need `insecure_open`.";
    memory "--memory" "SHOAL_MEMORY" "BOOL" Text("false"),
        "true or false",
        "Whether the keyspace `default` and the numbered ones, when they are first made, live in memory rather than on disk.";
    memory_limit "--memory-limit" "SHOAL_MEMORY_LIMIT" "SIZE" Found("a quarter of the machine's memory"),
        "64MiB or more",
        "The most memory for caches, buffers, tables and pending writes together.";
    min_free "--min-free" "SHOAL_MIN_FREE" "SIZE" Text("auto"),
        "a size, or `auto` for a share of the file system",
        "Below this much free space in the data directory's file system, beside room for what is still to be written and merged, writes are refused `disk_full`; removals are still taken.";
    max_value "--max-value" "SHOAL_MAX_VALUE" "SIZE" Text("8MiB"),
        "1KiB to 512MiB",
        "The longest value.";
    max_command "--max-command" "SHOAL_MAX_COMMAND" "SIZE" Text("64MiB"),
        "64KiB to 1GiB, and no less than `max_value`",
        "The longest command of the Redis protocol, with all its arguments.";
    max_clients "--max-clients" "SHOAL_MAX_CLIENTS" "COUNT" Text("10000"),
        "1 to 1,000,000",
        "Connections at a time. A tenth of them is kept for administration over HTTP.";
    http_idle "--http-idle" "SHOAL_HTTP_IDLE" "DURATION" Text("5m"),
        "1s to 1d",
        "After how long without a request an HTTP connection is closed. Redis connections may be idle for ever.";
    slow_request "--slow-request" "SHOAL_SLOW_REQUEST" "DURATION" Text("10s"),
        "1s to 10m",
        "A started request that grows slower than 1 KiB a second for this long ends its connection.";
    slow_reader "--slow-reader" "SHOAL_SLOW_READER" "DURATION" Text("60s"),
        "1s to 1h",
        "A client that takes no byte of its replies for this long is disconnected.";
    stop_grace "--stop-grace" "SHOAL_STOP_GRACE" "DURATION" Text("10s"),
        "0s to 10m",
        "How long running requests may take to finish when the server stops.";
    name "--name" "SHOAL_NAME" "NAME" Found("the machine's host name, or what `replace` says"),
        "1 to 64 letters, digits, `.`, `-` or `_`",
        "What the node is called in its cluster, in logs and in INFO. Only a new directory takes it.";
    peer_listen "--peer-listen" "SHOAL_PEER_LISTEN" "HOST:PORT" Found("host and port + 1 of the first TCP address in `listen`; `none` where other machines reach that and there is no secret"),
        "an IP address or `localhost` and a port (0 for any free one), or `none`",
        "Where other nodes connect, by TCP and UDP. Addresses other than loopback need a secret; on the first start they also need `bootstrap`, `join` or `expect`.";
    advertise "--advertise" "SHOAL_ADVERTISE" "HOST:PORT" Found("the peer address itself"),
        "an IP address and a port (0 for that of the peer address), or `none`",
        "Where other nodes reach this one, if not at `peer_listen`. Required where that is a wildcard.";
    advertise_client "--advertise-client" "SHOAL_ADVERTISE_CLIENT" "HOST:PORT" Found("the first TCP address in `listen`"),
        "a host and a port (0 for that of the listener), or `none`",
        "Where clients are told to reach this node, if not at `listen`. Required where that is a wildcard and the node has peers.";
    cluster_listen "--cluster-listen" "SHOAL_CLUSTER_LISTEN" "HOST:PORT" Found("host and port + 2 of the first TCP address in `listen`; `none` for a node without peers"),
        "an IP address or `localhost` and a port (0 for any free one), or `none`",
        "Where clients connect that know the cluster's map. Commands without a key answer for this node's own part there.";
    secret_file "--secret-file" "SHOAL_SECRET_FILE" "FILE" Text("none"),
        "a file that holds what `shoal cluster secret` prints, or `none`",
        "What the nodes of one cluster share. It may stand in the variable SHOAL_CLUSTER_SECRET instead. Without one only nodes on the same machine become peers.";
    join "--join" "SHOAL_JOIN" "HOST:PORT" Text("none"),
        "one or several peer addresses of nodes, or `none`",
        "Joins the cluster that these nodes belong to. Once the data directory belongs to a cluster this no longer counts.";
    bootstrap "--bootstrap" "SHOAL_BOOTSTRAP" "BOOL" Text("false"),
        "true or false, and not beside `join`",
        "Founds a new cluster. Once the data directory belongs to a cluster this no longer counts.";
    expect "--expect" "SHOAL_EXPECT" "COUNT" Text("none"),
        "2 to 64, or `none`",
        "Founds a new cluster as soon as so many nodes that belong to none, this one among them, have found each other through `join`; or joins the one that any of them belongs to.";
    replace "--replace" "SHOAL_REPLACE" "NAME" Text("none"),
        "the name of a node that is down, or `none`",
        "With `join`: takes the name and the places of a node that is down and never comes back.";
    zone "--zone" "SHOAL_ZONE" "NAME" Text("none"),
        "1 to 64 letters, digits, `.`, `-` or `_`, or `none`",
        "Where the node stands: replicas are spread over zones.";
    weight "--weight" "SHOAL_WEIGHT" "COUNT" Text("100"),
        "0 to 10,000",
        "How much the node takes on, compared with others; 0 takes nothing new.";
    tag "--tag" "SHOAL_TAG" "NAME=VALUE" Text("none"),
        "up to 32 names with a value of at most 256 bytes each, or `none`",
        "What else is to be noted about the node.";
    log_format "--log-format" "SHOAL_LOG_FORMAT" "FORMAT" Text("text"),
        "text or json",
        "How log lines look. They never contain values, and keys only as hashes.";
    log_level "--log-level" "SHOAL_LOG_LEVEL" "LEVEL" Text("info"),
        "error, warn, info, debug or trace",
        "Which log lines are written, to standard error.";
    insecure_open "--insecure-open" "SHOAL_INSECURE_OPEN" "BOOL" Text("false"),
        "true or false",
        "Allows addresses other than loopback although there is neither encryption nor authentication: everyone who reaches the port can read and change everything.";
}

/// The setting of this name.
#[must_use]
pub fn field(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_one_rule_in_every_place() {
        for field in FIELDS {
            assert_eq!(field.flag, format!("--{}", field.name.replace('_', "-")));
            assert_eq!(field.variable, format!("SHOAL_{}", field.name.to_ascii_uppercase()));
        }
    }

    #[test]
    fn every_row_can_be_set_and_read() {
        for field in FIELDS {
            let mut raw = Raw::default();
            assert!(raw.set(field.name, Words::from("x")), "{}", field.name);
            assert_eq!(raw.get(field.name), Some(&Words::from("x")));
        }
        assert!(!Raw::default().set("nonsense", Words::from("x")));
    }
}
