//! The one-shot commands that list keys: `scan` in slices, `keys` in one answer.
//!
//! Holds: `scan` prints keys as they come and holds one slice at a time.
//! Does not know: the order of keys; a key that changes while it is scanned may come twice.

use crate::client::ConnectArgs;
use crate::data::{elements, scan_slice};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, put_bytes};
use crate::reply::Reply;
use clap::Args;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

/// `shoal scan`.
#[derive(Args, Debug)]
pub(crate) struct Scan {
    /// Only keys that match this glob, such as `user:*`
    #[arg(value_name = "PATTERN")]
    pattern: Option<OsString>,
    /// Stop after this many keys
    #[arg(long, value_name = "N", value_parser = crate::units::count)]
    limit: Option<u64>,
    /// About how many keys to ask for at a time
    #[arg(long, value_name = "N", default_value = "1000", value_parser = crate::units::count)]
    slice: u64,
}

/// `shoal keys`.
#[derive(Args, Debug)]
pub(crate) struct Keys {
    /// The glob, such as `user:*`
    #[arg(value_name = "PATTERN", default_value = "*")]
    pattern: OsString,
}

impl Scan {
    /// Prints keys slice by slice; with `--json` one object per line.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let slice = self.slice.to_string();
        let mut options: Vec<&[u8]> = vec![b"COUNT", slice.as_bytes()];
        if let Some(pattern) = &self.pattern {
            options.extend([&b"MATCH"[..], pattern.as_bytes()]);
        }
        let mut connection = connect.open()?;
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut cursor = b"0".to_vec();
        loop {
            let (keys, next) = scan_slice(&mut connection, &cursor, &options)?;
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(keys.len());
            print_keys(keys.iter().take(wanted).map(Vec::as_slice), out)?;
            left -= wanted as u64;
            match next {
                Some(next) if left > 0 => cursor = next,
                _ => return Ok(Outcome::Done),
            }
        }
    }
}

impl Keys {
    /// Prints every key that matches.
    pub(crate) fn run(&self, connect: &ConnectArgs, out: &Output) -> Result<Outcome, Failure> {
        let reply = connect.open()?.ask(&[b"KEYS", self.pattern.as_bytes()])?;
        print_keys(elements(reply)?.iter().filter_map(Reply::text), out)?;
        Ok(Outcome::Done)
    }
}

/// Prints one key per line, in one piece.
fn print_keys<'a>(keys: impl Iterator<Item = &'a [u8]>, out: &Output) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for key in keys {
        if out.json {
            let mut object = Map::new();
            put_bytes(&mut object, "key", key);
            lines.extend_from_slice(Value::Object(object).to_string().as_bytes());
        } else {
            lines.extend_from_slice(key);
        }
        lines.push(b'\n');
    }
    out.bytes(&lines, false)
}
