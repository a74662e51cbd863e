//! What the write buffer keeps under a key.

use super::keys;
use crate::engine::{Address, Parts};

/// Bytes that come into a processor's cache together.
const LINE: usize = 64;
/// How many of them a read of a short record needs.
const LINES: usize = 3;

/// A stored key and what is to be kept under it, in one piece of memory.
#[derive(Debug)]
pub(crate) struct Record {
    bytes: Box<[u8]>,
    key_len: u16,
    removed: bool,
}

impl Record {
    /// The record of an op: its stored key, and the value if it has one.
    pub(crate) fn new(at: Address<'_>, put: Option<Parts<'_>>) -> Self {
        let key_len = keys::PREFIX + at.key.len();
        let mut bytes = Vec::with_capacity(key_len + put.map_or(0, |put| put.len()));
        bytes.extend_from_slice(&keys::slot_prefix(at.space, at.slot));
        bytes.extend_from_slice(at.key);
        if let Some(put) = put {
            bytes.extend_from_slice(put.head);
            bytes.extend_from_slice(put.body);
        }
        // Callers have seen to it that no key is longer.
        let key_len = u16::try_from(key_len).unwrap_or(u16::MAX);
        Self { bytes: bytes.into_boxed_slice(), key_len, removed: put.is_none() }
    }

    /// The stored key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..usize::from(self.key_len)]
    }

    /// The value; `None` means that the key was removed.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        (!self.removed).then(|| &self.bytes[usize::from(self.key_len)..])
    }

    /// Reads a byte of each of the first few cache lines, and makes something of them.
    pub(crate) fn touch(&self) -> u8 {
        self.bytes.iter().step_by(LINE).take(LINES).fold(0, |sum, byte| sum ^ byte)
    }

    /// The length of key and value together, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}
