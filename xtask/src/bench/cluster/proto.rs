//! Protocol buffers as far as etcd's three calls need them: a field's number out of the `.proto`
//! beside this file, and the bytes of a message.
//!
//! Holds: no number of a field stands in the code; what the `.proto` does not name cannot be
//! written or read. A message that is cut short is an error, not a guess.

use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;

/// The committed part of etcd's interface.
const ETCD: &str = include_str!("etcd.proto");

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED_32: u64 = 5;

/// The numbers of all fields, by message and name.
#[derive(Clone, Debug)]
struct Schema {
    numbers: BTreeMap<(String, String), u64>,
    /// The path of each call, by its name.
    calls: BTreeMap<String, String>,
}

impl Schema {
    /// Reads the lines of a `.proto` that has one declaration to a line.
    fn parse(text: &str) -> Self {
        let mut schema = Self { numbers: BTreeMap::new(), calls: BTreeMap::new() };
        let (mut package, mut inside) = ("", "");
        for line in text.lines() {
            let words: Vec<&str> = line.trim_end_matches([';', ' ']).split_whitespace().collect();
            match words.as_slice() {
                ["package", name] => package = name,
                ["message" | "service", name, "{"] => inside = name,
                ["rpc", call, ..] => {
                    let call = call.split('(').next().unwrap_or_default();
                    schema.calls.insert(call.to_owned(), format!("/{package}.{inside}/{call}"));
                }
                [.., name, "=", number] => {
                    if let Ok(number) = number.parse() {
                        schema.numbers.insert((inside.to_owned(), (*name).to_owned()), number);
                    }
                }
                _ => {}
            }
        }
        schema
    }

    fn number(&self, message: &str, field: &str) -> Result<u64> {
        let name = (message.to_owned(), field.to_owned());
        let number = self.numbers.get(&name);
        number.copied().with_context(|| format!("etcd.proto has no {message}.{field}"))
    }

    fn call(&self, name: &str) -> Result<String> {
        self.calls.get(name).cloned().with_context(|| format!("etcd.proto has no call {name}"))
    }
}

/// What of the schema the client uses, looked up once.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub(super) put: String,
    pub(super) range: String,
    pub(super) status: String,
    put_key: u64,
    put_value: u64,
    range_key: u64,
    range_kvs: u64,
    kv_value: u64,
    status_header: u64,
    status_leader: u64,
    header_member: u64,
}

impl Numbers {
    /// Those of the committed `.proto`.
    pub(super) fn of_etcd() -> Result<Self> {
        let schema = Schema::parse(ETCD);
        Ok(Self {
            put: schema.call("Put")?,
            range: schema.call("Range")?,
            status: schema.call("Status")?,
            put_key: schema.number("PutRequest", "key")?,
            put_value: schema.number("PutRequest", "value")?,
            range_key: schema.number("RangeRequest", "key")?,
            range_kvs: schema.number("RangeResponse", "kvs")?,
            kv_value: schema.number("KeyValue", "value")?,
            status_header: schema.number("StatusResponse", "header")?,
            status_leader: schema.number("StatusResponse", "leader")?,
            header_member: schema.number("ResponseHeader", "member_id")?,
        })
    }

    /// A `PutRequest`.
    pub(super) fn put_request(&self, key: &[u8], value: &[u8], into: &mut Vec<u8>) {
        write_bytes(self.put_key, key, into);
        write_bytes(self.put_value, value, into);
    }

    /// A `RangeRequest` for one key.
    pub(super) fn range_request(&self, key: &[u8], into: &mut Vec<u8>) {
        write_bytes(self.range_key, key, into);
    }

    /// The length of the first value in a `RangeResponse`; `None` when the key is not there.
    pub(super) fn found(&self, response: &[u8]) -> Result<Option<usize>> {
        let Some(Field::Bytes(kv)) = find(response, self.range_kvs)? else { return Ok(None) };
        match find(kv, self.kv_value)? {
            Some(Field::Bytes(value)) => Ok(Some(value.len())),
            // What is empty is left out.
            _ => Ok(Some(0)),
        }
    }

    /// Out of a `StatusResponse`: whether its node leads, or `None` while nobody does.
    pub(super) fn leads(&self, response: &[u8]) -> Result<Option<bool>> {
        let Some(Field::Number(leader)) = find(response, self.status_leader)? else {
            return Ok(None);
        };
        let Some(Field::Bytes(header)) = find(response, self.status_header)? else {
            bail!("a status without a header");
        };
        match find(header, self.header_member)? {
            Some(Field::Number(member)) if leader != 0 => Ok(Some(member == leader)),
            _ => Ok(None),
        }
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The first field of this number in a message.
fn find(mut message: &[u8], wanted: u64) -> Result<Option<Field<'_>>> {
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let field = match tag & 7 {
            VARINT => Field::Number(take_varint(&mut message)?),
            FIXED_64 => Field::Bytes(take(&mut message, 8)?),
            LENGTH => {
                let length = take_varint(&mut message)?;
                Field::Bytes(take(&mut message, length)?)
            }
            FIXED_32 => Field::Bytes(take(&mut message, 4)?),
            other => bail!("a field of kind {other}"),
        };
        if tag >> 3 == wanted {
            return Ok(Some(field));
        }
    }
    Ok(None)
}

fn take<'a>(from: &mut &'a [u8], length: u64) -> Result<&'a [u8]> {
    let length = usize::try_from(length).context("a length")?;
    let (taken, rest) = from.split_at_checked(length).context("a message that is cut short")?;
    *from = rest;
    Ok(taken)
}

fn take_varint(from: &mut &[u8]) -> Result<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(from, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    bail!("a number that does not end")
}

fn write_bytes(number: u64, bytes: &[u8], into: &mut Vec<u8>) {
    write_varint(number << 3 | LENGTH, into);
    write_varint(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
}

fn write_varint(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push((number & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_interface_has_all_that_is_used() {
        let numbers = Numbers::of_etcd().unwrap();
        assert_eq!(numbers.put, "/etcdserverpb.KV/Put");
        assert_eq!(numbers.range, "/etcdserverpb.KV/Range");
        assert_eq!(numbers.status, "/etcdserverpb.Maintenance/Status");
        assert_eq!((numbers.put_key, numbers.put_value, numbers.kv_value), (1, 2, 5));
    }

    #[test]
    fn a_request_is_written_as_on_the_wire() {
        let numbers = Numbers::of_etcd().unwrap();
        let mut bytes = Vec::new();
        numbers.put_request(b"k", &[b'v'; 200], &mut bytes);
        assert_eq!(&bytes[..6], [0x0a, 1, b'k', 0x12, 0xc8, 0x01]);
        assert_eq!(bytes.len(), 206);
        bytes.clear();
        numbers.range_request(b"k", &mut bytes);
        assert_eq!(bytes, [0x0a, 1, b'k']);
    }

    #[test]
    fn a_value_is_found_behind_what_is_not_known() {
        let numbers = Numbers::of_etcd().unwrap();
        // A header, then a pair of key, create_revision, version and value, then a count.
        let response =
            [0x0a, 2, 0x18, 7, 0x12, 10, 0x0a, 1, b'k', 0x10, 3, 0x20, 1, 0x2a, 1, b'v', 0x20, 1];
        assert_eq!(numbers.found(&response).unwrap(), Some(1));
        assert_eq!(numbers.found(&response[..4]).unwrap(), None);
        assert!(numbers.found(&response[..12]).is_err());
        assert!(numbers.found(&[0x0f]).is_err());
    }

    #[test]
    fn the_leader_is_told_from_the_others() {
        let numbers = Numbers::of_etcd().unwrap();
        let status = |leader| [0x0a, 2, 0x10, 9, 0x20, leader];
        assert_eq!(numbers.leads(&status(9)).unwrap(), Some(true));
        assert_eq!(numbers.leads(&status(8)).unwrap(), Some(false));
        assert_eq!(numbers.leads(&status(0)).unwrap(), None);
        assert_eq!(numbers.leads(&[]).unwrap(), None);
    }
}
