//! The stored form of a record: a head of at most [`MAX_HEAD`] bytes, then the value.
//!
//! ```text
//! marker   1   low nibble: format version; high bits: TOMBSTONE, EXPIRES, WRITTEN, KIND
//! [crc32c  4]  sealed form only: of all bytes but itself, the key first
//! version      6 wall BE, 2 counter BE, node as LEB128
//! [expires 8]  BE, with EXPIRES
//! [written  ]  like version, with WRITTEN
//! [kind    1]  with KIND
//! value
//! ```
//!
//! The plain form is for memory, the sealed form for anything that meets a disk. The checksum
//! covers the key too, so that a value that turns up under another key is noticed.

use super::CodecError;
use crate::ids::NodeId;
use crate::record::{Body, PLAIN, Record};
use crate::version::Version;

/// The longest head there is.
pub const MAX_HEAD: usize = 1 + 4 + MAX_VERSION + 8 + MAX_VERSION + 1;

const MAX_VERSION: usize = 6 + 2 + 5;
const FORMAT_PLAIN: u8 = 1;
const FORMAT_SEALED: u8 = 2;
const TOMBSTONE: u8 = 0x10;
const EXPIRES: u8 = 0x20;
const WRITTEN: u8 = 0x40;
const KIND: u8 = 0x80;

/// Which form a record is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Without a checksum, for memory.
    Plain,
    /// With a checksum over key and record, for disks.
    Sealed,
}

/// A record's head, built on the stack: together with the value it is the stored form.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; MAX_HEAD],
    len: u8,
}

impl Head {
    /// The head's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "MAX_HEAD is below 256")]
        let added = bytes.len() as u8;
        self.len += added;
    }

    fn push_version(&mut self, version: Version) {
        self.push(&version.wall_ms.to_be_bytes()[2..]);
        self.push(&version.counter.to_be_bytes());
        let mut node = version.node.0;
        loop {
            let low = (node & 0x7F) as u8;
            node >>= 7;
            if node == 0 {
                self.push(&[low]);
                return;
            }
            self.push(&[low | 0x80]);
        }
    }
}

/// The head of `record` as it is stored under `key`; the record's value follows it.
#[must_use]
pub fn head(form: Form, key: &[u8], record: &Record<'_>) -> Head {
    let (kind, value) = match record.body {
        Body::Live { kind, bytes } => (kind, bytes),
        Body::Tombstone => (PLAIN, &[][..]),
    };
    let mut marker = match form {
        Form::Plain => FORMAT_PLAIN,
        Form::Sealed => FORMAT_SEALED,
    };
    for (flag, set) in [
        (TOMBSTONE, record.is_tombstone()),
        (EXPIRES, record.expires_at.is_some()),
        (WRITTEN, record.written != record.version),
        (KIND, kind != PLAIN),
    ] {
        if set {
            marker |= flag;
        }
    }
    let mut head = Head { bytes: [0; MAX_HEAD], len: 0 };
    head.push(&[marker]);
    if form == Form::Sealed {
        head.push(&[0; 4]);
    }
    head.push_version(record.version);
    if let Some(at) = record.expires_at {
        head.push(&at.to_be_bytes());
    }
    if record.written != record.version {
        head.push_version(record.written);
    }
    if kind != PLAIN {
        head.push(&[kind]);
    }
    if form == Form::Sealed {
        let crc = checksum(key, marker, &head.as_bytes()[5..], value);
        head.bytes[1..5].copy_from_slice(&crc.to_be_bytes());
    }
    head
}

/// Reads the record stored under `key`, checking the seal where it has one.
///
/// # Errors
/// [`CodecError`] where the bytes are damaged or of an unknown version.
pub fn decode<'a>(key: &[u8], bytes: &'a [u8]) -> Result<Record<'a>, CodecError> {
    if let [marker, c0, c1, c2, c3, sealed @ ..] = bytes
        && marker & 0x0F == FORMAT_SEALED
        && checksum(key, *marker, sealed, &[]) != u32::from_be_bytes([*c0, *c1, *c2, *c3])
    {
        return Err(CodecError::Checksum);
    }
    peek(bytes)
}

/// Reads a stored record without checking its seal: for looking, not for handing out.
///
/// # Errors
/// [`CodecError`] where the bytes end early or are of an unknown version.
pub fn peek(bytes: &[u8]) -> Result<Record<'_>, CodecError> {
    let mut input = Input { rest: bytes };
    let [marker] = input.take::<1>()?;
    match marker & 0x0F {
        FORMAT_PLAIN => {}
        FORMAT_SEALED => {
            input.take::<4>()?;
        }
        other => return Err(CodecError::UnknownVersion(other)),
    }
    let version = input.version()?;
    let expires_at =
        if marker & EXPIRES == 0 { None } else { Some(u64::from_be_bytes(input.take()?)) };
    let written = if marker & WRITTEN == 0 { version } else { input.version()? };
    let kind = if marker & KIND == 0 { PLAIN } else { input.take::<1>()?[0] };
    let body = if marker & TOMBSTONE == 0 {
        Body::Live { kind, bytes: input.rest }
    } else if input.rest.is_empty() {
        Body::Tombstone
    } else {
        return Err(CodecError::Invalid("a tombstone carries a value"));
    };
    Ok(Record { version, written, expires_at, body })
}

fn checksum(key: &[u8], marker: u8, head: &[u8], value: &[u8]) -> u32 {
    let crc = crc32c::crc32c(key);
    let crc = crc32c::crc32c_append(crc, &[marker]);
    let crc = crc32c::crc32c_append(crc, head);
    crc32c::crc32c_append(crc, value)
}

struct Input<'a> {
    rest: &'a [u8],
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn version(&mut self) -> Result<Version, CodecError> {
        let wall: [u8; 6] = self.take()?;
        let mut wall_ms = [0; 8];
        wall_ms[2..].copy_from_slice(&wall);
        let counter = u16::from_be_bytes(self.take()?);
        let mut node: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take::<1>()?;
            let low = u32::from(byte & 0x7F);
            if shift == 28 && low > 0x0F {
                return Err(CodecError::Invalid("a node id above 32 bits"));
            }
            node |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(Version {
                    wall_ms: u64::from_be_bytes(wall_ms),
                    counter,
                    node: NodeId(node),
                });
            }
        }
        Err(CodecError::Invalid("a node id above 32 bits"))
    }
}

#[cfg(test)]
mod tests;
