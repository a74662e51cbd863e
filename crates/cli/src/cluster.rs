//! `shoal cluster …`, `shoal explain` and `shoal local-keys`: the cluster over the node's JSON.
//!
//! Holds: with `--json` the node's document is printed as it came.
//! Does not know: what the cluster ought to look like; the node says how it is.

use crate::client::ConnectArgs;
use crate::failure::{Failure, Outcome};
use crate::http;
use crate::output::Output;
use crate::secret::Secret;
use crate::table::Table;
use crate::units;
use base64::Engine as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;

/// Keys that one request lists at most.
const PAGE: usize = 10_000;

/// `shoal cluster`.
#[derive(Subcommand, Debug)]
pub(crate) enum Cluster {
    /// Show how the cluster is
    Status(Status),
    /// List its nodes
    Nodes(Nodes),
    /// Show who holds what
    Map(Map),
    /// List what happened lately
    Events(Events),
    /// Say that a node that is down never comes back
    Forget(Forget),
    /// Let partitions that lost too many replicas go on with what is left
    AcceptLoss(AcceptLoss),
    /// Print a fresh secret for the nodes of a cluster
    Secret(Secret),
}

/// `shoal cluster status`.
#[derive(Args, Debug)]
pub(crate) struct Status {}

/// `shoal cluster nodes`.
#[derive(Args, Debug)]
pub(crate) struct Nodes {}

/// `shoal cluster map`.
#[derive(Args, Debug)]
pub(crate) struct Map {}

/// `shoal cluster events`.
#[derive(Args, Debug)]
pub(crate) struct Events {}

/// `shoal cluster forget`.
#[derive(Args, Debug)]
pub(crate) struct Forget {
    /// What the node is called
    name: String,
}

/// `shoal cluster accept-loss`.
#[derive(Args, Debug)]
pub(crate) struct AcceptLoss {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// `shoal explain`.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The key
    key: OsString,
}

/// `shoal local-keys`.
#[derive(Args, Debug)]
pub(crate) struct LocalKeys {
    /// List at most so many keys
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

impl Cluster {
    /// Runs the subcommand.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        match self {
            Self::Status(_) => show(connect, out, "/v1/cluster/status", status),
            Self::Nodes(_) => show(connect, out, "/v1/cluster/nodes", nodes),
            Self::Map(_) => show(connect, out, &map_path(connect)?, map),
            Self::Events(_) => show(connect, out, "/v1/cluster/events", events),
            Self::Forget(args) => args.run(connect, out),
            Self::AcceptLoss(args) => args.run(connect, out),
            Self::Secret(args) => args.run(out),
        }
    }
}

fn ask(connect: &ConnectArgs, method: &str, path: &str) -> Result<Value, Failure> {
    http::request(&connect.addr, Some(connect.timeout), method, path, None)
}

/// Prints what the node has at `path`, for people by `shown`.
fn show(
    connect: &ConnectArgs,
    out: &Output,
    path: &str,
    shown: impl Fn(&Value) -> String,
) -> Result<Outcome, Failure> {
    let document = ask(connect, "GET", path)?;
    out.either(&document, shown(&document))?;
    Ok(Outcome::Done)
}

/// The keyspace that was asked for, by its name.
fn keyspace(connect: &ConnectArgs) -> Result<Option<String>, Failure> {
    let Some(chosen) = connect.keyspace.as_ref().or(connect.addr.keyspace.as_ref()) else {
        return Ok(None);
    };
    let Ok(number) = chosen.parse::<u16>() else { return Ok(Some(chosen.clone())) };
    let answer = ask(connect, "GET", "/v1/keyspaces")?;
    let has_number = |keyspace: &&Value| keyspace["db"] == number;
    let found = list(&answer["keyspaces"]).iter().find(has_number);
    let name = found.and_then(|keyspace| keyspace["name"].as_str()).ok_or_else(|| {
        Failure::new("no_keyspace", format!("no keyspace is bound to database {number}"))
            .hint("see `shoal keyspace list`")
    })?;
    Ok(Some(name.to_owned()))
}

fn map_path(connect: &ConnectArgs) -> Result<String, Failure> {
    let wanted = keyspace(connect)?.map(|name| format!("?keyspace={}", http::segment(&name)));
    Ok(format!("/v1/cluster/map{}", wanted.unwrap_or_default()))
}

impl Forget {
    fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        ask(connect, "POST", &format!("/v1/cluster/forget/{}", http::segment(&self.name)))?;
        let text = format!("forgotten: {}", self.name);
        out.either(&json!({ "forgotten": self.name }), text)?;
        Ok(Outcome::Done)
    }
}

impl AcceptLoss {
    fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        if !self.yes && !agreed()? {
            return Err(
                Failure::new("not_confirmed", "nothing was changed").hint("answer y, or say --yes")
            );
        }
        let wanted = keyspace(connect)?.map(|name| format!("?keyspace={}", http::segment(&name)));
        let path = format!("/v1/cluster/accept-loss{}", wanted.unwrap_or_default());
        let answer = ask(connect, "POST", &path)?;
        let partitions = answer["partitions"].as_u64().unwrap_or_default();
        let text = match partitions {
            0 => "no partition waits for it".to_owned(),
            count => format!("{count} partitions go on with what is left"),
        };
        out.either(&answer, text)?;
        Ok(if partitions == 0 { Outcome::Absent } else { Outcome::Done })
    }
}

/// Asks whoever sits at the terminal.
fn agreed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("what lost replicas alone had is given up by this")
            .hint("say --yes if that is meant"));
    }
    let mut answer = String::new();
    write!(std::io::stderr(), "Give up what only the lost replicas had? [y/N] ")
        .and_then(|()| std::io::stderr().flush())
        .and_then(|()| std::io::stdin().read_line(&mut answer))
        .map_err(|error| Failure::output(&error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

impl Explain {
    /// Shows where a key lives and why.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let keyspace = keyspace(connect)?.unwrap_or_else(|| "default".to_owned());
        let key = http::segment_of(self.key.as_bytes());
        let path = format!("/v1/keyspaces/{}/explain/{key}", http::segment(&keyspace));
        show(connect, out, &path, explanation)
    }
}

impl LocalKeys {
    /// Lists keys that the node holds a copy of.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let keyspace = keyspace(connect)?.unwrap_or_else(|| "default".to_owned());
        let path = format!("/v1/keyspaces/{}/local-keys", http::segment(&keyspace));
        let (mut left, mut after) = (self.limit, String::new());
        let (mut all, mut more) = (Vec::new(), true);
        while more && left > 0 {
            let answer = ask(connect, "GET", &format!("{path}?limit={}{after}", left.min(PAGE)))?;
            let keys = list(&answer["keys"]);
            more = answer["more"].as_bool().unwrap_or_default() && !keys.is_empty();
            left = left.saturating_sub(keys.len());
            if let Some(last) = keys.last() {
                after = format!("&after={}", http::segment_of(&key_of(last)));
            }
            for key in keys {
                if out.json {
                    all.push(key.clone());
                } else {
                    out.bytes(&key_of(key), true)?;
                }
            }
        }
        let any = left < self.limit;
        if out.json {
            out.document(&json!({ "keys": all, "more": more }))?;
        }
        Ok(if any { Outcome::Done } else { Outcome::Absent })
    }
}

/// The bytes of a key in a document.
fn key_of(document: &Value) -> Vec<u8> {
    let base64 = document["key_b64"].as_str();
    match (document["key"].as_str(), base64) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(text)) => {
            base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
        }
        (None, None) => Vec::new(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The words of a code.
fn words(code: &Value) -> String {
    text(code).replace('_', " ")
}

/// Names in one row; a dash where there are none.
fn row(value: &Value) -> String {
    let names: Vec<String> = list(value).iter().map(text).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn status(document: &Value) -> String {
    let count = |field: &str| list(&document[field]).len();
    let fully = document["fully_replicated"].as_bool().unwrap_or_default();
    let mut lines = vec![
        format!("cluster {} is {}", text(&document["cluster"]), text(&document["health"])),
        match fully {
            // Not the words of a cluster that is: somebody looks for these.
            false => "replication is incomplete".to_owned(),
            true if count("down") == 0 => "fully replicated".to_owned(),
            // The map counts what is down: it comes back, or is forgotten.
            true => "fully replicated, counting what is down".to_owned(),
        },
        format!("members: {} ({})", count("members"), row(&document["members"])),
    ];
    if let Some(why) = document["starting"].as_str() {
        lines.push(format!("this node does not serve yet: {why}"));
    }
    for (field, what) in [("down", "down"), ("joining", "joining"), ("gone", "gone for good")] {
        if count(field) > 0 {
            lines.push(format!("{what}: {}", row(&document[field])));
        }
    }
    lines.push(format!(
        "map {}, led by {}, decided by {}",
        text(&document["map_version"]),
        document["leader"].as_str().unwrap_or("nobody"),
        row(&document["voters"])
    ));
    let down = list(&document["down"]);
    let voters_down = list(&document["voters"]).iter().filter(|voter| down.contains(voter)).count();
    if count("voters") > 0 && voters_down * 2 >= count("voters") {
        lines.push("no majority of those that decide is up: the map cannot change now".to_owned());
    }
    for (node, why) in document["refusing_writes"].as_object().into_iter().flatten() {
        lines.push(format!("{node} is refusing writes ({})", words(why)));
    }
    if count("not_heard_of") > 0 {
        lines.push(format!("not heard of since its start: {}", row(&document["not_heard_of"])));
    }
    for (node, copies) in document["receiving"].as_object().into_iter().flatten() {
        lines.push(format!("{node} still has to copy {copies} partitions"));
    }
    if document["hints"].as_u64().unwrap_or_default() > 0 {
        lines.push(format!("hints kept here for others: {}", document["hints"]));
    }
    let columns = [
        ("REPLICATION", "replication"),
        ("PARTITIONS", "partitions"),
        ("BELOW TARGET", "below_target"),
        ("MOVING", "moving"),
        ("TO COPY", "copies_to_make"),
        ("LOST COPIES", "lost_copies"),
        ("WITHOUT QUORUM", "without_quorum"),
        ("AWAIT ACCEPTANCE", "awaiting_acceptance"),
    ];
    let head = std::iter::once("KEYSPACE").chain(columns.iter().map(|(head, _)| *head));
    let mut table = Table::new(&head.collect::<Vec<_>>());
    for (name, figures) in document["keyspaces"].as_object().into_iter().flatten() {
        let cells = columns.iter().map(|(_, field)| text(&figures[field]));
        table.row(std::iter::once(name.clone()).chain(cells));
    }
    lines.push(String::new());
    lines.push(table.show());
    lines.join("\n")
}

fn nodes(document: &Value) -> String {
    let mut table = Table::new(&[
        "NAME",
        "ID",
        "STATE",
        "FOR",
        "ZONE",
        "WEIGHT",
        "PARTITIONS",
        "VOTES",
        "CLIENTS",
        "PEERS",
        "TAGS",
    ]);
    for node in list(&document["nodes"]) {
        let name = text(&node["name"]);
        let votes = match (node["leads"].as_bool(), node["votes"].as_bool()) {
            (Some(true), _) => "leads",
            (_, Some(true)) => "yes",
            _ => "no",
        };
        let tags = node["tags"].as_object().into_iter().flatten();
        let tags: Vec<String> = tags.map(|(tag, value)| format!("{tag}={}", text(value))).collect();
        let mut state = text(&node["state"]);
        if node["refusing_writes"].is_string() {
            state += &format!(", refusing writes ({})", words(&node["refusing_writes"]));
        }
        let this = node["this"].as_bool().unwrap_or_default();
        table.row([
            if this { format!("{name} *") } else { name },
            text(&node["id"]),
            state,
            node["for_ms"].as_u64().map_or_else(|| "-".to_owned(), whole_seconds),
            text(&node["zone"]),
            text(&node["weight"]),
            text(&node["partitions"]),
            votes.to_owned(),
            text(&node["addresses"]["client"]),
            text(&node["addresses"]["peer"]),
            tags.join(" "),
        ]);
    }
    format!("{}\n* answers here", table.show())
}

/// A time without its fractions of a second.
fn whole_seconds(ms: u64) -> String {
    units::show_ms(ms - ms % 1_000)
}

fn map(document: &Value) -> String {
    let mut lines = vec![format!("map {}", text(&document["version"]))];
    for keyspace in list(&document["keyspaces"]) {
        lines.push(format!("\n{} ({})", text(&keyspace["name"]), text(&keyspace["engine"])));
        let mut table = Table::new(&["PARTITION", "SLOTS", "EPOCH", "OWNERS", "TO BE", "LEAVING"]);
        for partition in list(&keyspace["partitions"]) {
            let slots = &partition["slots"];
            table.row([
                text(&partition["partition"]),
                format!("{}-{}", slots[0], slots[1]),
                text(&partition["epoch"]),
                row(&partition["replicas"]),
                row(&partition["next"]),
                row(&partition["outgoing"]),
            ]);
        }
        lines.push(table.show());
    }
    lines.join("\n")
}

fn events(document: &Value) -> String {
    let events = list(&document["events"]);
    if events.is_empty() {
        return "nothing happened since the node started".to_owned();
    }
    let mut table = Table::new(&["AT (MS SINCE 1970)", "WHAT", "TEXT"]);
    for event in events {
        table.row([text(&event["at_ms"]), text(&event["what"]), text(&event["text"])]);
    }
    table.show()
}

fn explanation(document: &Value) -> String {
    let mut lines = vec![
        format!(
            "slot {}, partition {} of {}, epoch {}, led by {}",
            document["slot"],
            document["partition"],
            text(&document["keyspace"]),
            text(&document["epoch"]),
            text(&document["leader"])
        ),
        text(&document["rule"]),
        String::new(),
    ];
    let mut table = Table::new(&["NODE", "IS", "UP", "HOLDS", "VERSION", "WHY"]);
    for replica in list(&document["replicas"]) {
        let is = |field: &str| replica[field].as_bool().unwrap_or_default();
        let part = match (is("owner"), is("to_be")) {
            (true, true) => "owner, stays",
            (true, false) => "owner",
            (false, _) => "owner to be",
        };
        let holds = match replica["reason"].as_str() {
            Some(reason) => format!("? ({reason})"),
            None => text(&replica["holds"]),
        };
        table.row([
            text(&replica["name"]),
            part.to_owned(),
            if is("up") { "yes" } else { "no" }.to_owned(),
            holds,
            text(&replica["version"]),
            text(&replica["why"]),
        ]);
    }
    lines.push(table.show());
    for other in list(&document["others"]) {
        lines.push(format!("not n{}: {}", text(&other["node"]), text(&other["why"])));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_document(fully: bool) -> Value {
        json!({
            "cluster": "00ff", "health": "growing", "fully_replicated": fully,
            "members": ["n1", "n2"], "down": ["n2"], "joining": [], "gone": [],
            "map_version": "0.9", "leader": "n1", "voters": ["n1", "n2"],
            "receiving": { "n2": 7 }, "hints": 3, "refusing_writes": { "n1": "disk_full" },
            "not_heard_of": ["n2"],
            "keyspaces": { "default": {
                "replication": 3, "partitions": 256, "below_target": 7, "moving": 7,
                "copies_to_make": 7, "lost_copies": 0, "without_quorum": 0,
                "awaiting_acceptance": 0,
            }},
        })
    }

    #[test]
    fn a_status_says_whether_all_is_replicated() {
        let shown = status(&status_document(false));
        assert!(shown.contains("\nreplication is incomplete\n"), "{shown}");
        assert!(shown.contains("\ndown: n2\n") && !shown.contains("joining"), "{shown}");
        assert!(shown.contains("map 0.9, led by n1, decided by n1, n2"), "{shown}");
        assert!(shown.contains("n2 still has to copy 7 partitions"), "{shown}");
        assert!(shown.contains("\nn1 is refusing writes (disk full)\n"), "{shown}");
        assert!(shown.contains("\nnot heard of since its start: n2\n"), "{shown}");
        assert!(shown.contains("\nno majority of those that decide is up"), "{shown}");
        let mut document = status_document(true);
        let shown = status(&document);
        assert!(shown.contains("\nfully replicated, counting what is down\n"), "{shown}");
        document["down"] = json!([]);
        let shown = status(&document);
        assert!(shown.contains("\nfully replicated\n") && !shown.contains("majority"), "{shown}");
        assert!(shown.lines().last().is_some_and(|line| line.starts_with("default ")));
    }

    #[test]
    fn nodes_are_listed_with_the_one_that_answers_marked() {
        let shown = nodes(&json!({ "nodes": [
            { "id": 1, "name": "a", "state": "up", "for_ms": null, "zone": null, "weight": 100,
              "tags": {}, "addresses": { "client": "h:1", "peer": null }, "votes": true,
              "leads": true, "this": true, "partitions": 256, "refusing_writes": "disk_full" },
            { "id": 2, "name": "b", "state": "down", "for_ms": 61_500, "zone": "z", "weight": 50,
              "tags": { "rack": "7" }, "addresses": {}, "votes": false, "leads": false,
              "this": false, "partitions": 0 },
        ]}));
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].starts_with("a *") && lines[1].contains("leads"), "{shown}");
        assert!(lines[2].contains("down") && lines[2].ends_with("rack=7"), "{shown}");
        assert!(lines[2].contains("61s"), "{shown}");
        assert!(lines[1].contains("up, refusing writes (disk full)"), "{shown}");
    }

    #[test]
    fn an_explanation_has_a_line_for_every_replica() {
        let shown = explanation(&json!({
            "keyspace": "default", "slot": 5, "partition": 0, "epoch": "0.4", "leader": "a",
            "rule": "some rule",
            "replicas": [
                { "name": "a", "owner": true, "to_be": false, "up": true, "holds": "value",
                  "version": "1.2.3", "why": "it is an owner and stays one" },
                { "name": "b", "owner": false, "to_be": true, "up": false, "holds": "unknown",
                  "reason": "it is down" },
            ],
            "others": [{ "node": 3, "why": "there are owners enough before it" }],
        }));
        assert!(shown.starts_with("slot 5, partition 0 of default, epoch 0.4, led by a\n"));
        assert!(shown.contains("owner to be") && shown.contains("? (it is down)"), "{shown}");
        assert!(shown.ends_with("not n3: there are owners enough before it"), "{shown}");
    }

    #[test]
    fn keys_are_read_in_both_forms() {
        assert_eq!(key_of(&json!({ "key": "a" })), b"a");
        assert_eq!(key_of(&json!({ "key_b64": "/w==" })), [0xff]);
    }
}
