//! The table against what Redis 7.0.15 says of the same commands.

use super::*;
use crate::resp::reply::{Protocol, Reply};
use crate::resp::words::OwnedWords;
use crate::resp::{describe, docs};
use redis_protocol::resp2::{decode::decode, types::OwnedFrame};
use serde_json::Value;
use std::collections::BTreeSet;

/// What `write` writes in RESP2, as another implementation reads it.
fn reply(write: impl FnOnce(&mut Reply<'_>)) -> OwnedFrame {
    let mut out = Vec::new();
    write(&mut Reply::new(&mut out, Protocol::Resp2));
    let (frame, taken) = decode(&out).expect("valid").expect("whole");
    assert_eq!(taken, out.len(), "one reply and nothing more");
    frame
}

fn words(line: &str) -> OwnedWords {
    line.split_whitespace().collect()
}

fn text(bytes: Vec<u8>) -> Value {
    Value::String(String::from_utf8(bytes).expect("UTF-8"))
}

fn json(frame: OwnedFrame) -> Value {
    match frame {
        OwnedFrame::SimpleString(bytes) | OwnedFrame::BulkString(bytes) => text(bytes),
        OwnedFrame::Error(line) => Value::String(format!("-{line}")),
        OwnedFrame::Integer(number) => number.into(),
        OwnedFrame::Array(list) => list.into_iter().map(json).collect(),
        OwnedFrame::Null => Value::Null,
    }
}

/// A flat list of names and values as an object.
fn object(list: &Value) -> serde_json::Map<String, Value> {
    let list = list.as_array().expect("a list");
    list.chunks(2)
        .map(|pair| (pair[0].as_str().expect("a name").to_owned(), pair[1].clone()))
        .collect()
}

/// COMMAND INFO's reply in the shape of the fixture: maps as objects, remarks left out,
/// subcommands in order of their names.
fn shaped(mut info: Value, in_redis: &BTreeSet<String>) -> Value {
    for spec in info[8].as_array_mut().expect("key specs") {
        let mut fields = object(spec);
        fields.remove("notes");
        for name in ["begin_search", "find_keys"] {
            let mut half = object(&fields[name]);
            half["spec"] = object(&half["spec"]).into();
            fields[name] = half.into();
        }
        *spec = fields.into();
    }
    let mut subcommands: Vec<Value> = info[9].as_array().expect("subcommands").clone();
    subcommands.retain(|entry| in_redis.contains(entry[0].as_str().expect("a name")));
    subcommands.sort_by_key(|entry| entry[0].to_string());
    info[9] = subcommands.into_iter().map(|entry| shaped(entry, in_redis)).collect();
    info
}

/// Names that Redis 7.0.15 does not have.
const LATER: [&str; 5] = ["client|setinfo", "client|no-touch", "use", "consistency", "at"];

fn names_of_redis() -> BTreeSet<String> {
    everything()
        .map(|command| command.name.to_owned())
        .filter(|name| !LATER.contains(&name.as_str()))
        .collect()
}

/// A recording of COMMAND INFO of Redis 7.0.15, one command a line.
const INFO: &str = include_str!("../../../tests/fixtures/command_info.jsonl");
/// A recording of COMMAND DOCS of Redis 7.0.15 without its sentences, one command a line.
const DOCS: &str = include_str!("../../../tests/fixtures/command_docs.jsonl");

#[test]
fn command_info_is_that_of_redis() {
    let in_redis = names_of_redis();
    let mut seen = 0;
    for line in INFO.lines() {
        let expected: Value = serde_json::from_str(line).expect("JSON");
        let name = expected[0].as_str().expect("a name");
        let found = json(reply(|reply| describe::named(words(name).view(), reply)));
        assert_eq!(shaped(found[0].clone(), &in_redis), expected, "{name}");
        seen += 1 + expected[9].as_array().expect("subcommands").len();
    }
    assert_eq!(seen, in_redis.len(), "every entry has a line");
}

/// COMMAND DOCS's reply in the shape of the fixture.
fn shaped_docs(list: &Value, in_redis: &BTreeSet<String>) -> Value {
    let mut fields = object(list);
    for sentence in ["summary", "complexity"] {
        let text = fields.remove(sentence).expect("a sentence");
        assert!(!text.as_str().expect("text").is_empty());
    }
    fields.remove("replaced_by");
    let subcommands = fields.remove("subcommands").map(|list| object(&list)).unwrap_or_default();
    let subcommands: serde_json::Map<String, Value> = subcommands
        .iter()
        .filter(|(name, _)| in_redis.contains(*name))
        .map(|(name, docs)| (name.clone(), shaped_docs(docs, in_redis)))
        .collect();
    fields.insert("subcommands".to_owned(), subcommands.into());
    if let Some(list) = fields.get_mut("arguments") {
        *list = shaped_arguments(list);
    }
    fields.into()
}

fn shaped_arguments(list: &Value) -> Value {
    let shape = |argument: &Value| {
        let mut fields = object(argument);
        if let Some(parts) = fields.get_mut("arguments") {
            *parts = shaped_arguments(parts);
        }
        Value::from(fields)
    };
    list.as_array().expect("arguments").iter().map(shape).collect()
}

#[test]
fn command_docs_tell_the_facts_that_redis_tells() {
    let in_redis = names_of_redis();
    for line in DOCS.lines() {
        let expected: Value = serde_json::from_str(line).expect("JSON");
        for (name, expected) in expected.as_object().expect("one command") {
            let found = object(&json(reply(|reply| docs::docs(words(name).view(), reply))));
            assert_eq!(&shaped_docs(&found[name], &in_redis), expected, "{name}");
        }
    }
}

#[test]
fn both_versions_of_the_protocol_tell_of_every_command() {
    let all = json(reply(describe::all));
    assert_eq!(all.as_array().expect("a list").len(), COUNT);
    let all = json(reply(|reply| docs::docs(words("").view(), reply)));
    assert_eq!(object(&all).len(), COUNT);
    for write in [describe::all, |reply: &mut Reply<'_>| docs::docs(words("").view(), reply)] {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, Protocol::Resp3));
        assert_eq!(skip(&out), b"", "one reply and nothing more");
    }
}

/// What follows the first reply of `out`. Redis sends sets of maps, which few readers take.
fn skip(out: &[u8]) -> &[u8] {
    let end = out.windows(2).position(|pair| pair == b"\r\n").expect("a line");
    let (line, mut rest) = (&out[..end], &out[end + 2..]);
    let length = || std::str::from_utf8(&line[1..]).expect("digits").parse().expect("a length");
    let parts: usize = match line[0] {
        b'+' | b':' | b'_' => 0,
        b'$' => return &rest[length() + 2..],
        b'*' | b'~' => length(),
        b'%' => length() * 2,
        kind => panic!("not expected here: {kind}"),
    };
    for _ in 0..parts {
        rest = skip(rest);
    }
    rest
}

#[test]
fn in_the_third_version_command_info_is_that_of_redis_byte_for_byte() {
    let mut out = Vec::new();
    describe::named(words("mget nope").view(), &mut Reply::new(&mut out, Protocol::Resp3));
    let recorded = "*2 *10 $4 mget :-2 ~2 +readonly +fast :1 :-1 :1 ~3 +@read +@string +@fast \
        ~1 $26 request_policy:multi_shard ~1 %3 $5 flags ~2 +RO +access $12 begin_search \
        %2 $4 type $5 index $4 spec %1 $5 index :1 $9 find_keys %2 $4 type $5 range $4 spec \
        %3 $7 lastkey :-1 $7 keystep :1 $5 limit :0 ~0 _ ";
    assert_eq!(String::from_utf8(out).expect("UTF-8"), recorded.replace(' ', "\r\n"));
}

#[test]
fn every_id_is_in_the_table_once() {
    let mut seen = BTreeSet::new();
    for command in everything() {
        if command.id == Id::Container {
            assert!(!command.subcommands.is_empty(), "{}", command.name);
        } else {
            assert!(seen.insert(format!("{:?}", command.id)), "{}", command.name);
        }
        let summary = command.summary;
        assert!(summary.ends_with('.') && summary.len() < 100, "{summary}");
    }
    let source = include_str!("id.rs");
    let variants = source.lines().filter(|line| {
        let line = line.trim();
        line.ends_with(',') && !line.starts_with("//") && line != "Container,"
    });
    assert_eq!(variants.count(), seen.len());
}

#[test]
fn names_are_found_in_either_case_and_nothing_else_is() {
    for command in everything() {
        for name in [command.name.to_owned(), command.name.to_ascii_uppercase()] {
            let found = find_full(name.as_bytes()).expect("it is there");
            assert_eq!(found.name, command.name);
        }
    }
    for name in ["", "ge", "gett", "get\0", "\0", "get ", "hset", "client|", "|id", "get|x"] {
        assert!(find_full(name.as_bytes()).is_none(), "{name:?}");
    }
    assert!(find(b"client|id").is_none());
    assert!(find(&[b'a'; 1000]).is_none());
}

fn refusal(words: &OwnedWords) -> String {
    let error = resolve(words.view()).expect_err("no such command");
    let mut out = Vec::new();
    error.write(words.view(), &mut Reply::new(&mut out, Protocol::Resp2));
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn what_is_no_command_is_refused_in_the_words_of_redis() {
    for (line, expected) in [
        ("NOPE", "unknown command 'NOPE', with args beginning with: "),
        ("hset a b", "unknown command 'hset', with args beginning with: 'a' 'b' "),
        ("get|x", "unknown command 'get|x', with args beginning with: "),
        ("GET", "wrong number of arguments for 'get' command"),
        ("get a b", "wrong number of arguments for 'get' command"),
        ("CLIENT", "wrong number of arguments for 'client' command"),
        ("Client Id x", "wrong number of arguments for 'client|id' command"),
        ("client NOPE", "unknown subcommand 'NOPE'. Try CLIENT HELP."),
        ("COMMAND COUNT x", "wrong number of arguments for 'command|count' command"),
    ] {
        assert_eq!(refusal(&words(line)), format!("-ERR {expected}\r\n"), "{line}");
    }
    // What an error repeats is one line, ends at a zero byte, and is bounded.
    let odd: OwnedWords = [&b"\xFF\0b"[..], b"\0z", b"x\ny"].into_iter().collect();
    assert_eq!(
        refusal(&odd),
        "-ERR unknown command '\u{FFFD}', with args beginning with: '' 'x y' \r\n"
    );
    let long: OwnedWords = ["a".repeat(200), "b".repeat(112), "c".repeat(40), "d".to_owned()]
        .iter()
        .map(String::as_bytes)
        .collect();
    let (a, b, c) = ("a".repeat(128), "b".repeat(112), "c".repeat(13));
    let expected =
        format!("-ERR unknown command '{a}', with args beginning with: '{b}' '{c}' \r\n");
    assert_eq!(refusal(&long), expected);
}

#[test]
fn keys_of_a_command_are_found_or_refused() {
    for (line, expected) in [
        ("get a", r#"["a"]"#),
        ("mset a 1 b 2", r#"["a","b"]"#),
        ("rename a b", r#"["a","b"]"#),
        ("OBJECT freq x", r#"["x"]"#),
        ("memory usage k samples 1", r#"["k"]"#),
        ("get a b", r#""-ERR Invalid number of arguments specified for command""#),
        ("object nope k", r#""-ERR Invalid command specified""#),
        ("hget a b", r#""-ERR Invalid command specified""#),
        ("client id", r#""-ERR The command has no key arguments""#),
    ] {
        let found = json(reply(|reply| describe::get_keys(words(line).view(), reply)));
        assert_eq!(found.to_string(), expected, "{line}");
    }
}

#[test]
fn lists_are_filtered() {
    let list = |filter| {
        let Value::Array(names) = json(reply(|reply| describe::list(filter, reply))) else {
            panic!("not a list")
        };
        names.iter().map(|name| name.as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    use describe::Filter;
    assert_eq!(list(Filter::All).len(), everything().count());
    assert!(list(Filter::Module).is_empty());
    let transaction = ["multi", "exec", "discard", "watch", "unwatch"];
    assert_eq!(list(Filter::Category(b"TRANSACTION")), transaction);
    assert!(list(Filter::Category(b"@transaction")).is_empty());
    assert_eq!(list(Filter::Pattern(b"MUL*")), ["multi"]);
    assert_eq!(list(Filter::Pattern(b"object|r*")), ["object|refcount"]);
}

#[test]
fn help_shows_how_each_subcommand_is_called() {
    let object = find(b"object").expect("a command");
    let help = json(reply(|reply| docs::help(object, reply)));
    let lines: Vec<&str> =
        help.as_array().expect("lines").iter().filter_map(Value::as_str).collect();
    assert_eq!(lines.len(), 1 + 2 * object.subcommands.len());
    assert!(lines.contains(&"ENCODING key"));
    let set = docs::usage(find(b"set").expect("a command"));
    assert_eq!(
        set,
        "SET key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|\
         PXAT unix-time-milliseconds|KEEPTTL]"
    );
}
