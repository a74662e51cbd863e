//! Replies as people read them, in the manner of redis-cli, and as JSON.
//!
//! Holds: what is shown on a terminal has no control characters: strings are quoted and escaped.
//! Does not know: which command a reply answers.

use crate::output::base64;
use crate::reply::Reply;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// A reply as lines of text, without the last line feed.
pub(crate) fn text(reply: &Reply) -> String {
    let mut shown = String::new();
    write_value(reply, 0, &mut shown);
    shown
}

fn write_value(reply: &Reply, indent: usize, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match reply {
        Reply::Status(text) => write!(out, "{}", printable(text)),
        Reply::Error(text) => write!(out, "(error) {}", printable(text)),
        Reply::Integer(number) => write!(out, "(integer) {number}"),
        Reply::Bulk(bytes) => write!(out, "{}", quoted(bytes)),
        Reply::Nil => write!(out, "(nil)"),
        Reply::Double(text) => write!(out, "(double) {}", printable(text)),
        Reply::Boolean(yes) => write!(out, "({yes})"),
        Reply::BigNumber(text) => write!(out, "(big number) {}", printable(text)),
        Reply::Array(all) => return write_list(all, ')', "(empty array)", indent, out),
        Reply::Set(all) => return write_list(all, '~', "(empty set)", indent, out),
        Reply::Push(all) => return write_list(all, '>', "(empty push)", indent, out),
        Reply::Map(pairs) => return write_map(pairs, indent, out),
    };
}

fn write_list(all: &[Reply], mark: char, empty: &str, indent: usize, out: &mut String) {
    if all.is_empty() {
        out.push_str(empty);
    }
    for (at, value) in all.iter().enumerate() {
        let inner = start_element(at, all.len(), mark, indent, out);
        write_value(value, inner, out);
    }
}

fn write_map(pairs: &[(Reply, Reply)], indent: usize, out: &mut String) {
    if pairs.is_empty() {
        out.push_str("(empty hash)");
    }
    for (at, (key, value)) in pairs.iter().enumerate() {
        let inner = start_element(at, pairs.len(), '#', indent, out);
        write_value(key, inner, out);
        out.push_str(" => ");
        // What a key leads to is shown below it if it has elements of its own.
        if matches!(value, Reply::Array(all) if !all.is_empty()) || matches!(value, Reply::Map(_)) {
            let _ = write!(out, "\n{:inner$}", "");
        }
        write_value(value, inner, out);
    }
}

/// Writes the number of an element, on a new line but for the first; returns where it begins.
fn start_element(at: usize, of: usize, mark: char, indent: usize, out: &mut String) -> usize {
    let width = of.to_string().len();
    if at > 0 {
        let _ = write!(out, "\n{:indent$}", "");
    }
    let _ = write!(out, "{:>width$}{mark} ", at + 1);
    indent + width + 2
}

/// A string in double quotes, with everything but printable ASCII escaped.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len() + 2);
    shown.push('"');
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                shown.push('\\');
                shown.push(char::from(*byte));
            }
            b'\n' => shown.push_str("\\n"),
            b'\r' => shown.push_str("\\r"),
            b'\t' => shown.push_str("\\t"),
            8 => shown.push_str("\\b"),
            7 => shown.push_str("\\a"),
            b' '..=b'~' => shown.push(char::from(*byte)),
            other => {
                let _ = write!(shown, "\\x{other:02x}");
            }
        }
    }
    shown.push('"');
    shown
}

/// Text of a server with anything that could steer the terminal taken out.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(|c: char| c.is_control(), "?")
}

/// A reply as JSON; strings that are not UTF-8 become `{"b64": …}`.
pub(crate) fn document(reply: &Reply) -> Value {
    match reply {
        Reply::Status(text) | Reply::Bulk(text) => string(text),
        Reply::Error(text) => json!({ "error": String::from_utf8_lossy(text) }),
        Reply::Integer(number) => json!(number),
        Reply::Nil => Value::Null,
        Reply::Double(text) | Reply::BigNumber(text) => {
            let text = String::from_utf8_lossy(text);
            // Infinities and what is longer than a float stay text.
            match text.parse::<f64>() {
                Ok(number) if number.is_finite() && matches!(reply, Reply::Double(_)) => {
                    json!(number)
                }
                _ => json!(text),
            }
        }
        Reply::Boolean(yes) => json!(yes),
        Reply::Array(all) | Reply::Set(all) | Reply::Push(all) => {
            Value::Array(all.iter().map(document).collect())
        }
        Reply::Map(pairs) => {
            let entry = |(key, value): &(Reply, Reply)| {
                let key = key.text().map(|text| String::from_utf8_lossy(text).into_owned());
                (key.unwrap_or_else(|| "?".to_owned()), document(value))
            };
            Value::Object(pairs.iter().map(entry).collect::<Map<_, _>>())
        }
    }
}

fn string(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "b64": base64(bytes) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn replies_look_as_in_redis_cli() {
        let nested = Reply::Array(vec![
            bulk("0"),
            Reply::Array(vec![bulk("a"), Reply::Nil, Reply::Integer(3)]),
            Reply::Array(vec![]),
        ]);
        let expected = "1) \"0\"\n2) 1) \"a\"\n   2) (nil)\n   3) (integer) 3\n3) (empty array)";
        assert_eq!(text(&nested), expected);
        assert_eq!(text(&Reply::Status(b"OK".to_vec())), "OK");
        assert_eq!(text(&Reply::Error(b"ERR no".to_vec())), "(error) ERR no");
        let map = Reply::Map(vec![(bulk("a"), Reply::Integer(1)), (bulk("b"), Reply::Nil)]);
        assert_eq!(text(&map), "1# \"a\" => (integer) 1\n2# \"b\" => (nil)");
    }

    #[test]
    fn long_lists_line_up() {
        let list = Reply::Array((0..10).map(Reply::Integer).collect());
        assert!(text(&list).starts_with(" 1) (integer) 0\n"));
        assert!(text(&list).ends_with("\n10) (integer) 9"));
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let hostile = b"\x1b[2J\x07\xff".to_vec();
        assert_eq!(text(&Reply::Bulk(hostile.clone())), r#""\x1b[2J\a\xff""#);
        assert!(!text(&Reply::Status(hostile.clone())).contains('\x1b'));
        assert!(!text(&Reply::Error(hostile)).contains('\x1b'));
    }

    #[test]
    fn replies_become_json() {
        let reply = Reply::Array(vec![
            bulk("a"),
            Reply::Bulk(vec![0xff]),
            Reply::Nil,
            Reply::Double(b"1.5".to_vec()),
            Reply::Double(b"inf".to_vec()),
            Reply::Map(vec![(bulk("k"), Reply::Boolean(true))]),
        ]);
        let expected = json!(["a", { "b64": "/w==" }, null, 1.5, "inf", { "k": true }]);
        assert_eq!(document(&reply), expected);
    }
}
