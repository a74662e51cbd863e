//! Standard output and standard error of a command, for people or as JSON.
//!
//! Holds: nothing else prints; a reader that went away (`| head`) ends the command quietly; with
//! `--json` a command prints JSON only, one document (or one per line for streams).
//! Does not know: what the commands mean.

use crate::failure::Failure;
use base64::Engine as _;
use serde_json::{Map, Value, json};
use std::io::{self, IsTerminal as _, Write};

/// Where a command's answer goes.
pub(crate) struct Output {
    /// Print JSON instead of text.
    pub(crate) json: bool,
}

impl Output {
    /// Prints a line of text.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        write_all(&mut out, &[text.as_ref().as_bytes(), b"\n"])
    }

    /// Prints bytes as they are, and a line feed if asked.
    pub(crate) fn bytes(&self, bytes: &[u8], line_feed: bool) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        write_all(&mut out, &[bytes, if line_feed { b"\n" } else { b"" }])?;
        out.flush().or_else(|error| quiet_on_broken_pipe(&error))
    }

    /// Prints one JSON document on one line.
    pub(crate) fn document(&self, value: &Value) -> Result<(), Failure> {
        self.line(value.to_string())
    }

    /// Prints `value` with `--json`, else `text`.
    pub(crate) fn either(&self, value: &Value, text: impl AsRef<str>) -> Result<(), Failure> {
        if self.json { self.document(value) } else { self.line(text) }
    }

    /// Prints a failure to standard error.
    pub(crate) fn failure(&self, failure: &Failure) {
        let text = if self.json {
            let mut error = json!({ "code": failure.code, "message": failure.message });
            if let Some(hint) = &failure.hint {
                error["hint"] = json!(hint);
            }
            json!({ "error": error }).to_string()
        } else {
            format!("error: {failure}")
        };
        // With standard error gone there is nobody left to tell.
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Whether someone sits in front of standard error, where progress is shown.
pub(crate) fn someone_watches() -> bool {
    io::stderr().is_terminal()
}

fn write_all(out: &mut impl Write, parts: &[&[u8]]) -> Result<(), Failure> {
    parts
        .iter()
        .try_for_each(|part| out.write_all(part))
        .or_else(|error| quiet_on_broken_pipe(&error))
}

/// A reader that has seen enough is no error: the command just ends.
fn quiet_on_broken_pipe(error: &io::Error) -> Result<(), Failure> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    Err(Failure::output(error))
}

/// Puts bytes into a JSON object: `name` if they are UTF-8, else `name_b64`.
pub(crate) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), json!(text)),
        Err(_) => object.insert(format!("{name}_b64"), json!(base64(bytes))),
    };
}

/// An object with the key, and the value or null.
pub(crate) fn item(key: &[u8], value: Option<&[u8]>) -> Map<String, Value> {
    let mut object = Map::new();
    put_bytes(&mut object, "key", key);
    match value {
        Some(value) => put_bytes(&mut object, "value", value),
        None => {
            object.insert("value".to_owned(), Value::Null);
        }
    }
    object
}

/// Standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_text_become_base64() {
        let object = item(b"k", Some(&[0xff, 0x00]));
        assert_eq!(Value::Object(object), json!({ "key": "k", "value_b64": "/wA=" }));
        let object = item(&[0xfe], None);
        assert_eq!(Value::Object(object), json!({ "key_b64": "/g==", "value": null }));
    }
}
