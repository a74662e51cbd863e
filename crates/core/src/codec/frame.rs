//! The frame around anything that is kept or sent whole, and the bytes inside.
//!
//! ```text
//! magic    4   what it is
//! version  1   of the format of the payload
//! length   4   of the payload, BE
//! payload
//! crc32c   4   BE, of all bytes before
//! ```
//!
//! Numbers are big-endian and of fixed width, options a byte 0 or 1 and then the value, texts
//! and lists a length and then their items.
//!
//! Holds: nothing is allocated from a length before that many bytes were seen to be there.

use super::CodecError;

const HEAD: usize = 4 + 1 + 4;
const TAIL: usize = 4;

/// Writes a frame.
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins a frame.
    pub(super) fn new(magic: [u8; 4], version: u8) -> Self {
        let mut bytes = magic.to_vec();
        bytes.push(version);
        bytes.extend([0; 4]);
        Self { bytes }
    }

    /// Ends the frame.
    pub(super) fn seal(mut self) -> Vec<u8> {
        let length = length(self.bytes.len() - HEAD);
        self.bytes[5..HEAD].copy_from_slice(&length);
        let crc = crc32c::crc32c(&self.bytes);
        self.bytes.extend(crc.to_be_bytes());
        self.bytes
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn u128(&mut self, value: u128) {
        self.bytes.extend(value.to_be_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub(super) fn count(&mut self, count: usize) {
        self.bytes.extend(length(count));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes.extend(text.as_bytes());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// A length as it is written. What is written is bounded far below 4 GiB.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("maps and commands are bounded far below 4 GiB").to_be_bytes()
}

/// Reads what is inside a frame.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Opens a frame: the payload's format version, and the payload, undamaged.
    pub(super) fn open(bytes: &'a [u8], magic: [u8; 4]) -> Result<(u8, Self), CodecError> {
        let mut head = Self { rest: bytes };
        if head.array::<4>()? != magic {
            return Err(CodecError::Invalid("these bytes are something else"));
        }
        let version = head.u8()?;
        if version == 0 {
            return Err(CodecError::UnknownVersion(0));
        }
        let length = head.u32()? as usize;
        let present = head.rest.len().checked_sub(TAIL).ok_or(CodecError::Truncated)?;
        match length.cmp(&present) {
            std::cmp::Ordering::Greater => return Err(CodecError::Truncated),
            std::cmp::Ordering::Less => return Err(CodecError::Invalid("bytes follow the end")),
            std::cmp::Ordering::Equal => {}
        }
        let (payload, crc) = head.rest.split_at(length);
        let covered = &bytes[..HEAD + length];
        if crc32c::crc32c(covered).to_be_bytes() != *crc {
            return Err(CodecError::Checksum);
        }
        Ok((version, Self { rest: payload }))
    }

    /// Ends the payload, which must have been read whole.
    pub(super) fn finished(&self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CodecError::Invalid("bytes follow the end")) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, CodecError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn u128(&mut self) -> Result<u128, CodecError> {
        self.array().map(u128::from_be_bytes)
    }

    pub(super) fn bool(&mut self) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Invalid("neither yes nor no")),
        }
    }

    /// A number of items, of at least one byte each: more than bytes are left is refused.
    pub(super) fn count(&mut self) -> Result<usize, CodecError> {
        let count = self.u32()? as usize;
        if count > self.rest.len() { Err(CodecError::Truncated) } else { Ok(count) }
    }

    pub(super) fn text(&mut self) -> Result<String, CodecError> {
        let len = self.count()?;
        let (text, rest) = self.rest.split_at(len);
        self.rest = rest;
        let text = std::str::from_utf8(text);
        text.map(str::to_owned).map_err(|_| CodecError::Invalid("a text that is not UTF-8"))
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }
}
