//! Frames: what goes over a link once both sides know each other.
//!
//! A head of 40 bytes, numbers big-endian, and a body:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | the format, 2 |
//! | 1 | 1 question, 2 answer, 3 ping, 4 pong, 5 goodbye, 6 alive, 7 token |
//! | 1 | a question's kind, an answer's outcome, else 0 |
//! | 1 | 1 if more of the same message follows, else 0 |
//! | 4 | length of the body, at most 64 KiB |
//! | 8 | which question or ping; the reason or token |
//! | 4 | CRC32C of the body |
//! | 4 | CRC32C of the 20 bytes before |
//! | 16 | keyed tag over the frame's number in its direction (8 bytes), the 24 bytes before, and the body |
//!
//! A longer message is cut into frames that are alike but for the bodies; between them come frames
//! of other messages. `assembly` puts it together again.
//!
//! The key belongs to one direction of one connection and the number is not sent, so a frame
//! that is repeated, left out, moved, turned round or taken from another connection has a wrong
//! tag. The checksums tell damage from forgery, and a damaged length before it is waited for.
//!
//! Holds: bodies are slices of what was read, but short ones are copied, so that keeping one does
//! not keep the buffer; nothing is taken from a stream after
//! its first bad frame; memory grows with the bytes that came, not with the length they claim.
//!
//! Does not know: sockets, what bodies mean.

use super::ending::Ending;
use bytes::{Bytes, BytesMut};
use shoal_node::secret::Key;
use shoal_node::transport::Kind;

/// The bytes before a body.
pub(super) const HEAD: usize = 40;

const FORMAT: u8 = 2;

/// How far the checksum of the head reaches, and the tag's part of the head.
const CHECKED: usize = 20;
const TAGGED: usize = 24;

/// The longest body of a frame. Whatever is urgent waits for one such body of each other kind.
pub(super) const PIECE: usize = 64 << 10;

/// The least that is read at once.
const READ: usize = 64 << 10;

/// Bodies below this length are copied out of what was read: one that is kept for long, a key or
/// a small record, would else keep the whole buffer.
const SHORT: usize = 4 << 10;

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
    /// The token that whoever sends it has from now on.
    Token,
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
            Self::Token => (7, 0),
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
            (7, 0) => Self::Token,
            _ => return None,
        })
    }

    /// Whether it may have a body.
    const fn has_body(self) -> bool {
        matches!(self, Self::Question(_) | Self::Answer(Outcome::Answered))
    }
}

/// One message of a link, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) what: What,
    pub(super) id: u64,
    /// Whether the message goes on in another frame.
    pub(super) more: bool,
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

    /// The head of the next frame. The body follows it.
    pub(super) fn head(&mut self, frame: &Frame) -> [u8; HEAD] {
        let Frame { what, id, more, body } = frame;
        let length = u32::try_from(body.len()).expect("bodies are at most 64 KiB");
        let (code, detail) = what.codes();
        let mut head = [0; HEAD];
        head[0] = FORMAT;
        head[1] = code;
        head[2] = detail;
        head[3] = u8::from(*more);
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
    more: bool,
    body_crc: u32,
}

/// Reads the frames of one direction of one connection.
#[derive(Debug)]
pub(super) struct Opener {
    key: Key,
    taken: u64,
    buffer: BytesMut,
    head: Option<Head>,
    failed: Option<Ending>,
}

impl Opener {
    /// `first` is what was read already.
    pub(super) const fn new(key: Key, first: BytesMut) -> Self {
        Self { key, taken: 0, buffer: first, head: None, failed: None }
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
                let head = read_head(bytes)?;
                *self.head.insert(head)
            }
        };
        if self.buffer.len() < HEAD + head.length {
            return Ok(None);
        }
        self.head = None;
        let start = self.buffer.split_to(HEAD);
        let body = self.buffer.split_to(head.length);
        let body = if body.len() < SHORT { Bytes::copy_from_slice(&body) } else { body.freeze() };
        if crc32c::crc32c(&body) != head.body_crc {
            return Err(Ending::BadChecksum);
        }
        let (tagged, tag) = start.split_at(TAGGED);
        if !self.key.verify(&[&self.taken.to_be_bytes(), tagged, &body], tag) {
            return Err(Ending::Forged);
        }
        self.taken += 1;
        Ok(Some(Frame { what: head.what, id: head.id, more: head.more, body }))
    }
}

fn read_head(bytes: &[u8; HEAD]) -> Result<Head, Ending> {
    if bytes[0] != FORMAT {
        return Err(Ending::BadFormat);
    }
    let crc = |at: usize| bytes[at..].first_chunk().map_or(0, |crc| u32::from_be_bytes(*crc));
    if crc32c::crc32c(&bytes[..CHECKED]) != crc(CHECKED) {
        return Err(Ending::BadChecksum);
    }
    let what = What::coded(bytes[1], bytes[2]).filter(|_| bytes[3] <= 1);
    let what = what.ok_or(Ending::BadFrame)?;
    let length = crc(4) as usize;
    if length > PIECE {
        return Err(Ending::TooLong);
    }
    let more = bytes[3] == 1;
    // A piece brings something: else a message could go on for ever at no cost.
    if length > 0 && !what.has_body() || more && length == 0 {
        return Err(Ending::BadFrame);
    }
    let id = bytes[8..].first_chunk().map_or(0, |id| u64::from_be_bytes(*id));
    Ok(Head { what, length, id, more, body_crc: crc(16) })
}

#[cfg(test)]
mod tests;
