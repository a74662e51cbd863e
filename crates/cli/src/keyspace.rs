//! `shoal keyspace …` and `shoal compact`: administration over the node's `/v1` JSON.
//!
//! Holds: what the user did not say is not sent, so that the node's own defaults apply.
//! Does not know: the rules for names and options; the node refuses what is wrong, by name.

use crate::client::ConnectArgs;
use crate::failure::{Failure, Outcome};
use crate::http;
use crate::output::Output;
use crate::table::Table;
use crate::units;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// `shoal keyspace`.
#[derive(Subcommand, Debug)]
pub(crate) enum Keyspace {
    /// Make a keyspace
    Create(Create),
    /// List the keyspaces
    List(List),
    /// Show one keyspace
    Describe(Describe),
    /// Change options of a keyspace
    Alter(Alter),
    /// Remove a keyspace and everything in it
    Drop(Drop),
}

/// Where a keyspace's values live.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Engine {
    /// On disk, larger than memory, durable
    Disk,
    /// In memory, gone when the node ends
    Memory,
}

/// What happens when a keyspace is full.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Eviction {
    /// Refuse writes
    None,
    /// Forget the least recently used of a sample
    Lru,
}

/// How the nodes that hold a keyspace are chosen.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Placement {
    /// By weight, evenly, and moving as little as can be
    Rendezvous,
    /// By jump consistent hashing
    Jump,
    /// By a consistent-hash ring
    Ring,
}

/// How many replicas a request waits for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    /// The first that answers
    One,
    /// More than half
    Quorum,
    /// Every one
    All,
}

/// What zones mean for the replicas of a partition.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Zones {
    /// They stand in as many zones as can be
    Spread,
    /// Nothing
    Ignore,
}

/// A number of replicas, or one on each node.
#[derive(Clone, Debug)]
struct Replication(Value);

impl std::str::FromStr for Replication {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u8>() {
            Ok(count @ 1..=7) => Ok(Self(json!(count))),
            _ if text == "all" => Ok(Self(json!("all"))),
            _ => Err("write a number from 1 to 7, or all".to_owned()),
        }
    }
}

/// The word for a value, as it was typed and as the node takes it.
fn word(value: &impl ValueEnum) -> Value {
    value.to_possible_value().map_or(Value::Null, |possible| json!(possible.get_name()))
}

/// When an acknowledged write is on disk: `always`, `interval:MS` or `os`.
#[derive(Clone, Debug)]
struct Sync(String);

impl std::str::FromStr for Sync {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = match text.split_once(':') {
            None => text == "always" || text == "os",
            Some((word, ms)) => word == "interval" && ms.parse::<u32>().is_ok_and(|ms| ms > 0),
        };
        let form = "write always, os, or interval:MS with a number of milliseconds";
        if good { Ok(Self(text.to_owned())) } else { Err(form.to_owned()) }
    }
}

/// A database number, or none.
#[derive(Clone, Copy, Debug)]
struct Database(Option<u16>);

impl std::str::FromStr for Database {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number @ 16..=1023) => Ok(Self(Some(number))),
            _ if text == "none" => Ok(Self(None)),
            _ => Err("write a number from 16 to 1023, or none".to_owned()),
        }
    }
}

/// `shoal keyspace create`.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Its name
    name: String,
    /// Where its values live [default: disk]
    #[arg(long, value_enum)]
    engine: Option<Engine>,
    /// Into how many partitions it is divided; a power of two [default: 256]
    #[arg(long, value_name = "P")]
    partitions: Option<u32>,
    /// How the nodes that hold it are chosen [default: rendezvous]
    #[arg(long, value_enum, value_name = "STRATEGY")]
    placement: Option<Placement>,
    /// How far back the event times of writes may lie; deletes are remembered for so long once
    /// there are any [default: 7d]
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    event_horizon: Option<Duration>,
    #[command(flatten)]
    options: Options,
}

/// The options that may change later.
#[derive(Args, Debug)]
struct Options {
    /// When an acknowledged write is on disk: always, interval:MS or os
    #[arg(long, value_name = "POLICY")]
    sync: Option<Sync>,
    /// Let keys expire after this time unless a write says otherwise; 0s for never
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    default_ttl: Option<Duration>,
    /// The most memory its keys and values may take, such as 512MiB; 0 for no limit
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    max_memory: Option<u64>,
    /// Bind a database number (16 to 1023), so that `SELECT N` reaches it; `none` takes it back
    #[arg(long, value_name = "N")]
    db: Option<Database>,
    /// What happens at that limit
    #[arg(long, value_enum, value_name = "POLICY")]
    eviction: Option<Eviction>,
    /// How many replicas it is to have once there are nodes enough: 1 to 7, or all for one on each
    #[arg(long, value_name = "N")]
    replication: Option<Replication>,
    /// How many replicas a read asks unless it says so itself
    #[arg(long, value_enum, value_name = "LEVEL")]
    read_level: Option<Level>,
    /// How many replicas a write waits for unless it says so itself
    #[arg(long, value_enum, value_name = "LEVEL")]
    write_level: Option<Level>,
    /// Whether the replicas of a key are spread over the zones
    #[arg(long, value_enum, value_name = "RULE")]
    zones: Option<Zones>,
}

/// `shoal keyspace list`.
#[derive(Args, Debug)]
pub(crate) struct List {}

/// `shoal keyspace describe`.
#[derive(Args, Debug)]
pub(crate) struct Describe {
    /// Its name
    name: String,
}

/// `shoal keyspace alter`.
#[derive(Args, Debug)]
pub(crate) struct Alter {
    /// Its name
    name: String,
    #[command(flatten)]
    options: Options,
}

/// `shoal keyspace drop`.
#[derive(Args, Debug)]
pub(crate) struct Drop {
    /// Its name
    name: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// `shoal compact`.
#[derive(Args, Debug)]
pub(crate) struct Compact {}

impl Keyspace {
    /// Runs the subcommand.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        match self {
            Self::Create(args) => args.run(connect, out),
            Self::List(args) => args.run(connect, out),
            Self::Describe(args) => args.run(connect, out),
            Self::Alter(args) => args.run(connect, out),
            Self::Drop(args) => args.run(connect, out),
        }
        .map(|()| Outcome::Done)
    }
}

impl ConnectArgs {
    fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        http::request(&self.addr, Some(self.timeout), method, path, body).map_err(under_its_flag)
    }
}

/// A refused option under the name of its flag, as whoever typed it knows it.
fn under_its_flag(mut failure: Failure) -> Failure {
    const OPTIONS: [&str; 4] = ["sync", "max_memory", "eviction", "replication"];
    if failure.code == "bad_option"
        && let Some((option, why)) = failure.message.split_once(": ")
        && OPTIONS.contains(&option)
    {
        let flags = |text: &str| text.replace("max_memory", "--max-memory");
        let option = option.replace('_', "-");
        failure.message = format!("--{option}: {}", flags(why));
    }
    failure
}

fn path_of(name: &str) -> String {
    format!("/v1/keyspaces/{}", http::segment(name))
}

impl Options {
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        if let Some(Sync(sync)) = &self.sync {
            body.insert("sync".to_owned(), json!(sync));
        }
        if let Some(ttl) = self.default_ttl {
            let ttl = if ttl.is_zero() { Value::Null } else { json!(units::ms_of(ttl)) };
            body.insert("default_ttl_ms".to_owned(), ttl);
        }
        if let Some(bytes) = self.max_memory {
            let bytes = if bytes == 0 { Value::Null } else { json!(bytes) };
            body.insert("max_memory".to_owned(), bytes);
        }
        if let Some(Database(number)) = self.db {
            body.insert("db".to_owned(), json!(number));
        }
        if let Some(eviction) = self.eviction {
            let word = match eviction {
                Eviction::None => "none",
                Eviction::Lru => "lru",
            };
            body.insert("eviction".to_owned(), json!(word));
        }
        if let Some(Replication(replication)) = &self.replication {
            body.insert("replication".to_owned(), replication.clone());
        }
        let levels = [("read_level", self.read_level), ("write_level", self.write_level)];
        for (field, level) in levels {
            if let Some(level) = level {
                body.insert(field.to_owned(), word(&level));
            }
        }
        if let Some(zones) = self.zones {
            body.insert("zones".to_owned(), word(&zones));
        }
        body
    }
}

impl Create {
    fn body(&self) -> Value {
        let mut body = self.options.body();
        if let Some(engine) = self.engine {
            let word = match engine {
                Engine::Disk => "disk",
                Engine::Memory => "memory",
            };
            body.insert("engine".to_owned(), json!(word));
        }
        if let Some(partitions) = self.partitions {
            body.insert("partitions".to_owned(), json!(partitions));
        }
        if let Some(placement) = self.placement {
            body.insert("placement".to_owned(), word(&placement));
        }
        if let Some(horizon) = self.event_horizon {
            body.insert("event_horizon_ms".to_owned(), json!(units::ms_of(horizon)));
        }
        Value::Object(body)
    }

    fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<(), Failure> {
        let made = connect.admin("PUT", &path_of(&self.name), Some(&self.body()))?;
        if out.json {
            return out.document(&made);
        }
        out.line(format!("created {}", self.name))?;
        match made["note"].as_str() {
            Some(note) => out.line(format!("note: {note}")),
            None => Ok(()),
        }
    }
}

impl List {
    fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<(), Failure> {
        let answer = connect.admin("GET", "/v1/keyspaces", None)?;
        if out.json {
            return out.document(&answer);
        }
        let mut table = Table::new(&[
            "NAME",
            "DB",
            "ENGINE",
            "PARTITIONS",
            "KEYS HERE",
            "SYNC",
            "DEFAULT TTL",
            "MAX MEMORY",
            "EVICTION",
        ]);
        for keyspace in keyspaces(&answer) {
            table.row(
                ["name", "db", "engine", "partitions", "keys", "sync", "default_ttl_ms"]
                    .into_iter()
                    .chain(["max_memory", "eviction"])
                    .map(|field| show(field, &keyspace[field])),
            );
        }
        out.line(table.show())
    }
}

/// The names of the node's keyspaces.
pub(crate) fn names(connect: &ConnectArgs) -> Result<Vec<String>, Failure> {
    let answer = connect.admin("GET", "/v1/keyspaces", None)?;
    let names = keyspaces(&answer).iter().filter_map(|keyspace| keyspace["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

fn keyspaces(answer: &Value) -> &[Value] {
    let list = answer.as_array().or_else(|| answer["keyspaces"].as_array());
    list.map(Vec::as_slice).unwrap_or_default()
}

impl Describe {
    fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<(), Failure> {
        let keyspace = connect.admin("GET", &path_of(&self.name), None)?;
        describe(&keyspace, out)
    }
}

impl Alter {
    fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<(), Failure> {
        let body = self.options.body();
        if body.is_empty() {
            return Err(Failure::usage("nothing to change").hint(
                "give at least one of --sync, --default-ttl, --max-memory, --eviction, --db, \
                 --replication, --read-level, --write-level, --zones",
            ));
        }
        let path = path_of(&self.name);
        let keyspace = connect.admin("PATCH", &path, Some(&Value::Object(body)))?;
        describe(&keyspace, out)
    }
}

impl Drop {
    fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<(), Failure> {
        if !self.yes && !self.agreed()? {
            return Err(
                Failure::new("not_confirmed", "nothing was dropped").hint("answer y, or say --yes")
            );
        }
        let answer = connect.admin("DELETE", &path_of(&self.name), None)?;
        match answer {
            Value::Null => out.either(&json!({ "dropped": self.name }), self.dropped()),
            answer => out.either(&answer, self.dropped()),
        }
    }

    fn dropped(&self) -> String {
        format!("dropped {}", self.name)
    }

    /// Asks whoever sits at the terminal.
    fn agreed(&self) -> Result<bool, Failure> {
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage("dropping a keyspace removes everything in it")
                .hint("say --yes if that is meant"));
        }
        let mut answer = String::new();
        write!(std::io::stderr(), "Drop {} and everything in it? [y/N] ", self.name)
            .and_then(|()| std::io::stderr().flush())
            .and_then(|()| std::io::stdin().read_line(&mut answer))
            .map_err(|error| Failure::output(&error))?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

impl Compact {
    /// Has the node rewrite its files without what was overwritten, deleted or expired.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        // It takes as long as it takes; the node answers when it is done.
        let answer = http::request(&connect.addr, None, "POST", "/v1/compact", None)?;
        let answer = if answer.is_null() { json!({ "compacted": true }) } else { answer };
        out.either(&answer, "compacted")?;
        Ok(Outcome::Done)
    }
}

/// Prints every field that the node sent, known to this version or not.
fn describe(keyspace: &Value, out: &Output) -> Result<(), Failure> {
    if out.json {
        return out.document(keyspace);
    }
    let mut table = Table::pairs();
    for (field, value) in keyspace.as_object().into_iter().flatten() {
        table.row([field.clone(), show(field, value)]);
    }
    out.line(table.show())
}

/// A field's value as people read it.
fn show(field: &str, value: &Value) -> String {
    match (field, value) {
        (_, Value::Null) => "-".to_owned(),
        (_, Value::String(text)) => text.clone(),
        (field, Value::Number(number)) => match number.as_u64() {
            Some(ms) if field.ends_with("_ms") => units::show_ms(ms),
            Some(bytes) if field.contains("memory") || field.ends_with("bytes") => {
                units::show_bytes(bytes)
            }
            _ => number.to_string(),
        },
        (_, other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        keyspace: Keyspace,
    }

    fn created(options: &str) -> Result<Value, String> {
        let words = format!("x create orders {options}");
        match Line::try_parse_from(words.split_whitespace()).map_err(|error| error.to_string())? {
            Line { keyspace: Keyspace::Create(create) } => Ok(create.body()),
            _ => Err("not create".to_owned()),
        }
    }

    #[test]
    fn a_refused_option_has_the_name_of_its_flag() {
        let told = |code: &str, message: &str| under_its_flag(Failure::new(code, message)).message;
        for (message, expected) in [
            ("sync: only a keyspace on disk", "--sync: only a keyspace on disk"),
            ("max_memory: at least 1 byte", "--max-memory: at least 1 byte"),
            ("eviction: it needs max_memory", "--eviction: it needs --max-memory"),
            ("nothing: of ours", "nothing: of ours"),
        ] {
            assert_eq!(told("bad_option", message), expected);
            assert_eq!(told("storage", message), message);
        }
    }

    #[test]
    fn only_what_was_said_is_sent() {
        assert_eq!(created("").unwrap(), json!({}));
        assert_eq!(created("--engine disk").unwrap(), json!({ "engine": "disk" }));
        let all = "--engine memory --partitions 64 --default-ttl 5m --sync interval:100 \
                   --max-memory 1GiB --eviction lru --db 16";
        let expected = json!({
            "engine": "memory", "partitions": 64, "default_ttl_ms": 300_000,
            "sync": "interval:100", "max_memory": 1_073_741_824, "eviction": "lru", "db": 16,
        });
        assert_eq!(created(all).unwrap(), expected);
        let spread = "--replication 5 --placement ring --read-level one --write-level all \
                      --zones ignore --event-horizon 1h";
        let expected = json!({
            "replication": 5, "placement": "ring", "read_level": "one", "write_level": "all",
            "zones": "ignore", "event_horizon_ms": 3_600_000,
        });
        assert_eq!(created(spread).unwrap(), expected);
        assert_eq!(created("--replication all").unwrap(), json!({ "replication": "all" }));
        let taken_back =
            created("--engine disk --default-ttl 0s --max-memory 0 --db none").unwrap();
        assert_eq!(
            taken_back,
            json!({ "engine": "disk", "default_ttl_ms": null, "max_memory": null, "db": null })
        );
    }

    #[test]
    fn bad_options_are_refused_here() {
        for options in [
            "--engine tape",
            "--engine disk --sync sometimes",
            "--engine disk --sync interval:0",
            "--engine disk --db 15",
            "--engine disk --db 1024",
            "--engine disk --max-memory lots",
            "--replication 0",
            "--replication 8",
            "--placement random",
            "--read-level two",
            "--zones no",
        ] {
            assert!(created(options).is_err(), "{options}");
        }
    }

    #[test]
    fn fields_are_shown_in_their_units() {
        assert_eq!(show("default_ttl_ms", &json!(300_000)), "5m");
        assert_eq!(show("max_memory", &json!(1 << 30)), "1GiB");
        assert_eq!(show("partitions", &json!(256)), "256");
        assert_eq!(show("db", &Value::Null), "-");
    }
}
