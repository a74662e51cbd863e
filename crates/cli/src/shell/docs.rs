//! What the server says about its commands, for `help` and completion.
//!
//! Holds: everything comes from `COMMAND DOCS` of the server one is connected to, so that help
//! never tells of a command that is not there.
//! Does not know: any command by itself.

use crate::client::Connection;
use crate::reply::Reply;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// How deep arguments are shown; more is a mistake of the server.
const MAX_DEPTH: u32 = 8;

/// One command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doc {
    /// Its name in capitals; a subcommand's with a blank: `CLIENT LIST`.
    pub(crate) name: String,
    /// Its arguments.
    syntax: String,
    summary: String,
    group: String,
    since: String,
}

/// The commands of a server, by name.
#[derive(Debug, Default)]
pub(crate) struct Docs {
    /// Sorted by name.
    pub(crate) all: Vec<Doc>,
}

impl Docs {
    /// Asks the server; one without `COMMAND DOCS` has no help.
    pub(crate) fn load(connection: &mut Connection) -> Self {
        match connection.ask(&[b"COMMAND", b"DOCS"]) {
            Ok(reply) => Self::parse(&reply),
            Err(_) => Self::default(),
        }
    }

    /// Commands of these names, of which nothing else is known.
    #[cfg(test)]
    pub(crate) fn named(names: &[&str]) -> Self {
        let doc = |name: &&str| Doc { name: (*name).to_owned(), ..Doc::default() };
        Self { all: names.iter().map(doc).collect() }
    }

    fn parse(reply: &Reply) -> Self {
        let mut all = Vec::new();
        for (name, doc) in pairs(reply) {
            collect(name, doc, &mut all, 0);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Self { all }
    }

    /// The command of this name, and its subcommands.
    pub(crate) fn about(&self, name: &str) -> Vec<&Doc> {
        let name = name.to_ascii_uppercase();
        let within = format!("{name} ");
        let fits = |doc: &&Doc| doc.name == name || doc.name.starts_with(&within);
        self.all.iter().filter(fits).collect()
    }

    /// The arguments of the command that a typed line begins with.
    pub(crate) fn syntax_of(&self, line: &str) -> Option<&str> {
        let mut words = line.split_ascii_whitespace().map(str::to_ascii_uppercase);
        let first = words.next()?;
        let find = |name: &str| self.all.iter().find(|doc| doc.name == name);
        let longer = words.next().and_then(|second| find(&format!("{first} {second}")));
        longer.or_else(|| find(&first)).map(|doc| doc.syntax.as_str())
    }
}

impl Doc {
    /// The same for programs.
    pub(crate) fn document(&self) -> Value {
        let Self { name, syntax, summary, group, since } = self;
        json!({
            "name": name, "syntax": syntax, "summary": summary, "group": group, "since": since,
        })
    }

    /// A few lines for people.
    pub(crate) fn show(&self) -> String {
        let mut shown = format!("  {} {}", self.name, self.syntax).trim_end().to_owned();
        for (label, text) in
            [("summary", &self.summary), ("group", &self.group), ("since", &self.since)]
        {
            if !text.is_empty() {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\n  {label}: {text}");
            }
        }
        shown
    }
}

/// The pairs of a map, or of the flat list that version 2 makes of one.
fn pairs(reply: &Reply) -> Vec<(&Reply, &Reply)> {
    match reply {
        Reply::Map(pairs) => pairs.iter().map(|(key, value)| (key, value)).collect(),
        Reply::Array(flat) => flat.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        _ => Vec::new(),
    }
}

fn word(reply: Option<&Reply>) -> String {
    let text = reply.and_then(Reply::text).unwrap_or_default();
    String::from_utf8_lossy(text).replace(|c: char| c.is_control(), "?")
}

fn collect(name: &Reply, doc: &Reply, all: &mut Vec<Doc>, depth: u32) {
    all.push(Doc {
        name: word(Some(name)).to_ascii_uppercase().replace('|', " "),
        syntax: doc.field("arguments").map(|list| arguments(list, " ", 0)).unwrap_or_default(),
        summary: word(doc.field("summary")),
        group: word(doc.field("group")),
        since: word(doc.field("since")),
    });
    if depth < MAX_DEPTH
        && let Some(inner) = doc.field("subcommands")
    {
        for (name, doc) in pairs(inner) {
            collect(name, doc, all, depth + 1);
        }
    }
}

fn elements(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(all) | Reply::Set(all) => all,
        _ => &[],
    }
}

/// A list of arguments as Redis' documentation writes it.
fn arguments(list: &Reply, between: &str, depth: u32) -> String {
    if depth > MAX_DEPTH {
        return "…".to_owned();
    }
    let shown: Vec<String> =
        elements(list).iter().map(|argument| show_argument(argument, depth)).collect();
    shown.join(between)
}

fn show_argument(argument: &Reply, depth: u32) -> String {
    let token = word(argument.field("token"));
    let flags: Vec<String> = argument
        .field("flags")
        .map(|flags| elements(flags).iter().map(|flag| word(Some(flag))).collect())
        .unwrap_or_default();
    let has = |flag: &str| flags.iter().any(|other| other == flag);
    let inner = argument.field("arguments");
    let mut value = match word(argument.field("type")).as_str() {
        "pure-token" => String::new(),
        "oneof" => {
            let choices = inner.map(|list| arguments(list, "|", depth + 1)).unwrap_or_default();
            if has("optional") { choices } else { format!("<{choices}>") }
        }
        "block" => inner.map(|list| arguments(list, " ", depth + 1)).unwrap_or_default(),
        _ => word(argument.field("name")),
    };
    if has("multiple") {
        value = format!("{value} [{value} ...]");
    }
    let mut shown = match (token.as_str(), value.as_str()) {
        ("", _) => value,
        (_, "") => token,
        _ => format!("{token} {value}"),
    };
    if has("optional") {
        shown = format!("[{shown}]");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    fn map(pairs: Vec<(&str, Reply)>) -> Reply {
        Reply::Map(pairs.into_iter().map(|(key, value)| (text(key), value)).collect())
    }

    /// The same as version 2 writes it.
    fn flat(reply: Reply) -> Reply {
        match reply {
            Reply::Map(pairs) => Reply::Array(
                pairs.into_iter().flat_map(|(key, value)| [flat(key), flat(value)]).collect(),
            ),
            Reply::Array(all) => Reply::Array(all.into_iter().map(flat).collect()),
            Reply::Set(all) => Reply::Array(all.into_iter().map(flat).collect()),
            other => other,
        }
    }

    fn argument(name: &str, kind: &str, more: Vec<(&str, Reply)>) -> Reply {
        let mut fields = vec![("name", text(name)), ("type", text(kind))];
        fields.extend(more);
        map(fields)
    }

    fn sample() -> Reply {
        let flags = |all: &[&str]| Reply::Set(all.iter().map(|flag| text(flag)).collect());
        let choices = Reply::Array(vec![
            argument("seconds", "integer", vec![("token", text("EX"))]),
            argument("keepttl", "pure-token", vec![("token", text("KEEPTTL"))]),
        ]);
        let options = vec![("flags", flags(&["optional"])), ("arguments", choices)];
        let set = map(vec![
            ("summary", text("Stores.")),
            (
                "arguments",
                Reply::Array(vec![
                    argument("key", "key", vec![("flags", flags(&["multiple"]))]),
                    argument("expiration", "oneof", options),
                ]),
            ),
        ]);
        let list = map(vec![("summary", text("Lists."))]);
        let client = map(vec![("subcommands", map(vec![("client|list", list)]))]);
        map(vec![("set", set), ("client", client)])
    }

    #[test]
    fn both_versions_of_the_protocol_read_alike() {
        for reply in [sample(), flat(sample())] {
            let docs = Docs::parse(&reply);
            let names: Vec<&str> = docs.all.iter().map(|doc| doc.name.as_str()).collect();
            assert_eq!(names, ["CLIENT", "CLIENT LIST", "SET"]);
            assert_eq!(docs.syntax_of("set a "), Some("key [key ...] [EX seconds|KEEPTTL]"));
            assert_eq!(docs.about("client").len(), 2);
            assert!(docs.about("cli").is_empty());
            let shown = docs.about("Set")[0].show();
            assert_eq!(shown, "  SET key [key ...] [EX seconds|KEEPTTL]\n  summary: Stores.");
        }
    }
}
