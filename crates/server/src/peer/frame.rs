//! Frames: what goes over a link once both sides know each other.
//!
//! A head of 40 bytes, numbers big-endian, and a body:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | the format, 1 |
//! | 1 | 1 question, 2 answer, 3 ping, 4 pong, 5 goodbye, 6 alive |
//! | 1 | a question's kind, an answer's outcome, else 0 |
//! | 1 | 0 |
//! | 4 | length of the body |
//! | 8 | which question, ping or reason |
//! | 4 | CRC32C of the body |
//! | 4 | CRC32C of the 20 bytes before |
//! | 16 | keyed tag over the frame's number in its direction (8 bytes), the 24 bytes before, and the body |
//!
//! The key belongs to one direction of one connection and the number is not sent, so a frame
//! that is repeated, left out, moved, turned round or taken from another connection has a wrong
//! tag. The checksums tell damage from forgery, and a damaged length before it is waited for.
//!
//! Holds: bodies are slices of what was read, never copied; nothing is taken from a stream after
//! its first bad frame; memory grows with the bytes that came, not with the length they claim.
//!
//! Does not know: sockets, what bodies mean.

use super::ending::Ending;
use bytes::{Bytes, BytesMut};
use shoal_node::secret::Key;
use shoal_node::transport::Kind;

/// The bytes before a body.
pub(super) const HEAD: usize = 40;

const FORMAT: u8 = 1;

/// How far the checksum of the head reaches, and the tag's part of the head.
const CHECKED: usize = 20;
const TAGGED: usize = 24;

/// The least that is read at once.
const READ: usize = 64 << 10;

/// How a question ended at the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The body is the answer.
    Answered,
    /// It was taken, and there is no answer.
    Failed,
    /// It was not taken: too much of its kind is being served.
    Busy,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Question(Kind),
    Answer(Outcome),
    Ping,
    Pong,
    /// The last frame: why the link ends.
    Goodbye,
    /// Nothing but that the answering side is there.
    Alive,
}

impl What {
    const fn codes(self) -> (u8, u8) {
        match self {
            Self::Question(Kind::Control) => (1, 1),
            Self::Question(Kind::Meta) => (1, 2),
            Self::Question(Kind::Data) => (1, 3),
            Self::Question(Kind::Forward) => (1, 4),
            Self::Answer(Outcome::Answered) => (2, 1),
            Self::Answer(Outcome::Failed) => (2, 2),
            Self::Answer(Outcome::Busy) => (2, 3),
            Self::Ping => (3, 0),
            Self::Pong => (4, 0),
            Self::Goodbye => (5, 0),
            Self::Alive => (6, 0),
        }
    }

    const fn coded(what: u8, detail: u8) -> Option<Self> {
        Some(match (what, detail) {
            (1, 1) => Self::Question(Kind::Control),
            (1, 2) => Self::Question(Kind::Meta),
            (1, 3) => Self::Question(Kind::Data),
            (1, 4) => Self::Question(Kind::Forward),
            (2, 1) => Self::Answer(Outcome::Answered),
            (2, 2) => Self::Answer(Outcome::Failed),
            (2, 3) => Self::Answer(Outcome::Busy),
            (3, 0) => Self::Ping,
            (4, 0) => Self::Pong,
            (5, 0) => Self::Goodbye,
            (6, 0) => Self::Alive,
            _ => return None,
        })
    }

    /// Whether it may have a body.
    const fn has_body(self) -> bool {
        matches!(self, Self::Question(_) | Self::Answer(Outcome::Answered))
    }
}

/// One message of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) what: What,
    pub(super) id: u64,
    pub(super) body: Bytes,
}

/// Makes the frames of one direction of one connection.
#[derive(Debug)]
pub(super) struct Sealer {
    key: Key,
    sent: u64,
}

impl Sealer {
    pub(super) const fn new(key: Key) -> Self {
        Self { key, sent: 0 }
    }

    /// The head of the next frame. The body follows it. Bodies are bounded far below 4 GiB.
    pub(super) fn head(&mut self, what: What, id: u64, body: &[u8]) -> [u8; HEAD] {
        let length = u32::try_from(body.len()).expect("bodies are at most 16 MiB");
        let (code, detail) = what.codes();
        let mut head = [0; HEAD];
        head[0] = FORMAT;
        head[1] = code;
        head[2] = detail;
        head[4..8].copy_from_slice(&length.to_be_bytes());
        head[8..16].copy_from_slice(&id.to_be_bytes());
        head[16..CHECKED].copy_from_slice(&crc32c::crc32c(body).to_be_bytes());
        let crc = crc32c::crc32c(&head[..CHECKED]);
        head[CHECKED..TAGGED].copy_from_slice(&crc.to_be_bytes());
        let tag = self.key.tag(&[&self.sent.to_be_bytes(), &head[..TAGGED], body]);
        head[TAGGED..].copy_from_slice(&tag);
        self.sent += 1;
        head
    }
}

/// A head whose checksum held.
#[derive(Clone, Copy, Debug)]
struct Head {
    what: What,
    length: usize,
    id: u64,
    body_crc: u32,
}

/// Reads the frames of one direction of one connection.
#[derive(Debug)]
pub(super) struct Opener {
    key: Key,
    taken: u64,
    longest: usize,
    buffer: BytesMut,
    head: Option<Head>,
    failed: Option<Ending>,
}

impl Opener {
    /// Reads bodies of at most `longest` bytes; `first` is what was read already.
    pub(super) const fn new(key: Key, longest: usize, first: BytesMut) -> Self {
        Self { key, taken: 0, longest, buffer: first, head: None, failed: None }
    }

    /// Where to read more bytes to, with room for some. The room grows with what is there, so
    /// that a length alone takes no memory.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        let have = self.buffer.len();
        let missing = self.head.map_or(0, |head| (HEAD + head.length).saturating_sub(have));
        if self.buffer.capacity() - have < READ / 4 {
            self.buffer.reserve(missing.min(have).max(READ));
        }
        &mut self.buffer
    }

    /// The next frame, if it is there whole.
    ///
    /// # Errors
    /// What is wrong with it; from then on the same again.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Ending> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let next = self.try_next();
        if let Err(failed) = next {
            self.failed = Some(failed);
            self.buffer = BytesMut::new();
        }
        next
    }

    fn try_next(&mut self) -> Result<Option<Frame>, Ending> {
        let head = match self.head {
            Some(head) => head,
            None => {
                let Some(bytes) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
                let head = read_head(bytes, self.longest)?;
                *self.head.insert(head)
            }
        };
        if self.buffer.len() < HEAD + head.length {
            return Ok(None);
        }
        self.head = None;
        let start = self.buffer.split_to(HEAD);
        let body = self.buffer.split_to(head.length).freeze();
        if crc32c::crc32c(&body) != head.body_crc {
            return Err(Ending::BadChecksum);
        }
        let (tagged, tag) = start.split_at(TAGGED);
        if !self.key.verify(&[&self.taken.to_be_bytes(), tagged, &body], tag) {
            return Err(Ending::Forged);
        }
        self.taken += 1;
        Ok(Some(Frame { what: head.what, id: head.id, body }))
    }
}

fn read_head(bytes: &[u8; HEAD], longest: usize) -> Result<Head, Ending> {
    if bytes[0] != FORMAT {
        return Err(Ending::BadFormat);
    }
    let crc = |at: usize| bytes[at..].first_chunk().map_or(0, |crc| u32::from_be_bytes(*crc));
    if crc32c::crc32c(&bytes[..CHECKED]) != crc(CHECKED) {
        return Err(Ending::BadChecksum);
    }
    let what = What::coded(bytes[1], bytes[2]).filter(|_| bytes[3] == 0);
    let what = what.ok_or(Ending::BadFrame)?;
    let length = crc(4) as usize;
    if length > longest {
        return Err(Ending::TooLong);
    }
    if length > 0 && !what.has_body() {
        return Err(Ending::BadFrame);
    }
    let id = bytes[8..].first_chunk().map_or(0, |id| u64::from_be_bytes(*id));
    Ok(Head { what, length, id, body_crc: crc(16) })
}

#[cfg(test)]
mod tests;
