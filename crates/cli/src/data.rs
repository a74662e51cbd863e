//! The one-shot data commands: each opens a connection, asks, prints and ends.
//!
//! Holds: status 0 means done, 1 that there is nothing there (or a condition did not hold), 2 a
//! failure; keys and values are any bytes.
//! Does not know: how the node keeps them.

use crate::client::{ConnectArgs, Connection};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, item, put_bytes};
use crate::reply::Reply;
use crate::units;
use clap::Args;
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

/// `shoal get`.
#[derive(Args, Debug)]
pub(crate) struct Get {
    /// The key
    key: OsString,
    /// Print the value's bytes alone, without a line feed after them
    #[arg(long)]
    raw: bool,
}

/// `shoal set`.
#[derive(Args, Debug)]
pub(crate) struct Set {
    /// The key
    key: OsString,
    /// The value; `-` reads it from standard input
    value: OsString,
    /// Let the key expire after this time
    #[arg(long, value_name = "DURATION", value_parser = units::positive_duration)]
    ttl: Option<Duration>,
    /// Only if there is no such key
    #[arg(long, conflicts_with = "if_present")]
    if_absent: bool,
    /// Only if there is such a key
    #[arg(long)]
    if_present: bool,
}

/// `shoal del`, `exists`, `mget`: one or more keys.
#[derive(Args, Debug)]
pub(crate) struct Keys {
    /// The keys
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<OsString>,
}

/// `shoal expire`.
#[derive(Args, Debug)]
pub(crate) struct Expire {
    /// The key
    key: OsString,
    /// How long it has left: 1500ms, 10s, 5m, 2h, 7d
    #[arg(value_name = "DURATION", value_parser = units::positive_duration)]
    ttl: Duration,
}

/// `shoal ttl`.
#[derive(Args, Debug)]
pub(crate) struct Ttl {
    /// The key
    key: OsString,
}

/// `shoal mset`.
#[derive(Args, Debug)]
pub(crate) struct Mset {
    /// Keys and values by turns
    #[arg(required = true, value_name = "KEY VALUE")]
    pairs: Vec<OsString>,
}

/// `shoal incr`.
#[derive(Args, Debug)]
pub(crate) struct Incr {
    /// The key
    key: OsString,
    /// What to add; may be negative
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    by: i64,
}

/// `shoal info`.
#[derive(Args, Debug)]
pub(crate) struct Info {
    /// Only these sections, such as server, memory, keyspace
    sections: Vec<String>,
}

impl Get {
    /// Prints the value of a key.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let key = self.key.as_bytes();
        let value = match connect.open()?.ask(&[b"GET", key])? {
            Reply::Nil => None,
            Reply::Bulk(value) => Some(value),
            other => return unexpected(&other),
        };
        if out.json {
            out.document(&Value::Object(item(key, value.as_deref())))?;
        } else if let Some(value) = &value {
            out.bytes(value, !self.raw)?;
        }
        Ok(if value.is_some() { Outcome::Done } else { Outcome::Absent })
    }
}

impl Set {
    /// Stores a value.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let key = self.key.as_bytes();
        let value = self.value()?;
        let ttl_ms = self.ttl.map(|ttl| units::ms_of(ttl).to_string());
        let mut args: Vec<&[u8]> = vec![b"SET", key, &value];
        if let Some(ttl_ms) = &ttl_ms {
            args.extend([&b"PX"[..], ttl_ms.as_bytes()]);
        }
        if self.if_absent {
            args.push(b"NX");
        }
        if self.if_present {
            args.push(b"XX");
        }
        let stored = match connect.open()?.ask(&args)? {
            Reply::Nil => false,
            Reply::Status(_) => true,
            other => return unexpected(&other),
        };
        let mut object = key_object(key);
        object.insert("stored".to_owned(), json!(stored));
        let text = match stored {
            true => "stored",
            false if self.if_absent => "not stored: the key is there already",
            false => "not stored: there is no such key",
        };
        out.either(&Value::Object(object), text)?;
        Ok(if stored { Outcome::Done } else { Outcome::Absent })
    }

    fn value(&self) -> Result<Vec<u8>, Failure> {
        if self.value != "-" {
            return Ok(self.value.clone().into_vec());
        }
        let mut value = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut value);
        match read {
            Ok(_) => Ok(value),
            Err(error) => {
                let message = format!("cannot read standard input ({error})");
                Err(Failure::new("input", message).hint("pipe the value in, or write it after KEY"))
            }
        }
    }
}

impl Keys {
    /// Deletes keys and prints how many were there.
    pub(crate) fn run_del(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        self.run_count(b"DEL", "deleted", connect, out)
    }

    /// Counts the keys that are there; a key given twice counts twice.
    pub(crate) fn run_exists(
        &self,
        connect: &ConnectArgs,
        out: &Output,
    ) -> Result<Outcome, Failure> {
        self.run_count(b"EXISTS", "exist", connect, out)
    }

    fn run_count(
        &self,
        command: &[u8],
        name: &str,
        connect: &ConnectArgs,
        out: &Output,
    ) -> Result<Outcome, Failure> {
        let count = integer(connect.open()?.ask(&self.command(command))?)?;
        out.either(&json!({ name: count, "of": self.keys.len() }), count.to_string())?;
        Ok(if count == 0 { Outcome::Absent } else { Outcome::Done })
    }

    /// Prints the value of each key.
    pub(crate) fn run_mget(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let values = elements(connect.open()?.ask(&self.command(b"MGET"))?)?;
        let mut items = Vec::new();
        for (key, value) in self.keys.iter().zip(&values) {
            if out.json {
                items.push(Value::Object(item(key.as_bytes(), value.text())));
            } else {
                out.bytes(value.text().unwrap_or(b"(absent)"), true)?;
            }
        }
        if out.json {
            out.document(&json!({ "items": items }))?;
        }
        let any = values.iter().any(|value| value.text().is_some());
        Ok(if any { Outcome::Done } else { Outcome::Absent })
    }

    fn command<'a>(&'a self, name: &'a [u8]) -> Vec<&'a [u8]> {
        std::iter::once(name).chain(self.keys.iter().map(|key| key.as_bytes())).collect()
    }
}

impl Expire {
    /// Sets how long a key has left.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let ttl_ms = units::ms_of(self.ttl).to_string();
        let key = self.key.as_bytes();
        let set = integer(connect.open()?.ask(&[b"PEXPIRE", key, ttl_ms.as_bytes()])?)? == 1;
        let mut object = key_object(key);
        object.insert("set".to_owned(), json!(set));
        out.either(&Value::Object(object), if set { "set" } else { "there is no such key" })?;
        Ok(if set { Outcome::Done } else { Outcome::Absent })
    }
}

impl Ttl {
    /// Prints how long a key has left.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let key = self.key.as_bytes();
        let left_ms = integer(connect.open()?.ask(&[b"PTTL", key])?)?;
        let mut object = key_object(key);
        object.insert("exists".to_owned(), json!(left_ms != -2));
        object.insert("ttl_ms".to_owned(), if left_ms < 0 { Value::Null } else { json!(left_ms) });
        let text = match u64::try_from(left_ms) {
            Ok(ms) => units::show_ms(ms),
            Err(_) if left_ms == -1 => "never expires".to_owned(),
            Err(_) => "there is no such key".to_owned(),
        };
        out.either(&Value::Object(object), text)?;
        Ok(if left_ms == -2 { Outcome::Absent } else { Outcome::Done })
    }
}

impl Mset {
    /// Stores several values at once.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        if !self.pairs.len().is_multiple_of(2) {
            let last = self.pairs.last().map(|key| key.to_string_lossy()).unwrap_or_default();
            return Err(Failure::usage(format!("the key {last} has no value"))
                .hint("give keys and values by turns: shoal mset a 1 b 2"));
        }
        let words = self.pairs.iter().map(|word| word.as_bytes());
        let args: Vec<&[u8]> = std::iter::once(&b"MSET"[..]).chain(words).collect();
        connect.open()?.ask(&args)?;
        let stored = self.pairs.len() / 2;
        out.either(&json!({ "stored": stored }), format!("stored {stored}"))?;
        Ok(Outcome::Done)
    }
}

impl Incr {
    /// Adds to a number.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let by = self.by.to_string();
        let key = self.key.as_bytes();
        let reply = connect.open()?.ask(&[b"INCRBY", key, by.as_bytes()]).map_err(|failure| {
            let about_the_value = failure.code == "ERR" && !key.is_empty();
            if about_the_value { failure.hint("look at it with `shoal get`") } else { failure }
        })?;
        let now = integer(reply)?;
        let mut object = key_object(key);
        object.insert("value".to_owned(), json!(now));
        out.either(&Value::Object(object), now.to_string())?;
        Ok(Outcome::Done)
    }
}

impl Info {
    /// Prints what the node says about itself.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let sections = self.sections.iter().map(|section| section.as_bytes());
        let args: Vec<&[u8]> = std::iter::once(&b"INFO"[..]).chain(sections).collect();
        let reply = connect.open()?.ask(&args)?;
        let Some(text) = reply.text() else { return unexpected(&reply) };
        let text = String::from_utf8_lossy(text);
        if out.json {
            out.document(&info_document(&text))?;
        } else {
            out.line(text.replace("\r\n", "\n").trim_end())?;
        }
        Ok(Outcome::Done)
    }
}

/// INFO's sections as objects; numbers stay numbers.
fn info_document(text: &str) -> Value {
    let mut document = Map::new();
    let mut section = "server".to_owned();
    for line in text.lines().map(str::trim_end) {
        if let Some(name) = line.strip_prefix("# ") {
            section = name.to_ascii_lowercase();
        } else if let Some((name, value)) = line.split_once(':') {
            let value = match value.parse::<i64>() {
                Ok(number) => json!(number),
                Err(_) => json!(value),
            };
            document.entry(section.clone()).or_insert_with(|| json!({}))[name] = value;
        }
    }
    Value::Object(document)
}

/// The key of an answer.
fn key_object(key: &[u8]) -> Map<String, Value> {
    let mut object = Map::new();
    put_bytes(&mut object, "key", key);
    object
}

/// The number of an integer reply.
pub(crate) fn integer(reply: Reply) -> Result<i64, Failure> {
    match reply {
        Reply::Integer(number) => Ok(number),
        other => unexpected(&other),
    }
}

/// The elements of a list reply.
pub(crate) fn elements(reply: Reply) -> Result<Vec<Reply>, Failure> {
    reply.elements().ok_or_else(|| {
        Failure::new("protocol", "the node sent no list where one was due").hint("check --addr")
    })
}

/// A reply of a kind that the command never has.
pub(crate) fn unexpected<T>(reply: &Reply) -> Result<T, Failure> {
    let message = format!("the node sent a reply that does not fit the command: {reply:?}");
    Err(Failure::new("protocol", message).hint("check --addr"))
}

/// The keys of one slice of a scan, and the cursor of the next; `None` after the last.
pub(crate) type Slice = (Vec<Vec<u8>>, Option<Vec<u8>>);

/// Reads one slice of a scan.
pub(crate) fn scan_slice(
    connection: &mut Connection,
    cursor: &[u8],
    options: &[&[u8]],
) -> Result<Slice, Failure> {
    let args: Vec<&[u8]> =
        [&b"SCAN"[..], cursor].into_iter().chain(options.iter().copied()).collect();
    let mut parts = elements(connection.ask(&args)?)?.into_iter();
    let (Some(next), Some(keys)) = (parts.next(), parts.next()) else {
        return Err(Failure::new("protocol", "the node's scan reply has no cursor and keys")
            .hint("check --addr"));
    };
    let next = next.text().unwrap_or(b"0").to_vec();
    let keys = elements(keys)?.into_iter().filter_map(|key| key.text().map(<[u8]>::to_vec));
    Ok((keys.collect(), (next != b"0").then_some(next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_becomes_sections() {
        let text = "# Server\r\nredis_version:7.0.15\r\ntcp_port:7400\r\n\r\n# Keyspace\r\ndb0:keys=1,expires=0\r\n";
        let expected = json!({
            "server": { "redis_version": "7.0.15", "tcp_port": 7400 },
            "keyspace": { "db0": "keys=1,expires=0" },
        });
        assert_eq!(info_document(text), expected);
    }
}
