//! The bytes of the log's files.
//!
//! Every file opens with a *plate* of 64 bytes; a segment goes on with *frames*, each beginning
//! at a multiple of eight bytes. All numbers are little-endian.
//!
//! ```text
//! plate                          frame                        entry, inside a frame
//!  0  magic      8               0  magic          4          0  length     4
//!  8  version    4               4  head's CRC32C  4          4  bytes
//! 12  CRC32C     4               8  body's CRC32C  4
//! 16  log id     8              12  body's length  4
//! 24  number     8              16  entries        4
//! 32  salt       8              20  kind           4
//! 40  capacity   8              24  first position 8
//! 48  position   8              32  synced mark    8
//! 56  zeros      8              40  body, then zeros up to a multiple of eight
//! ```
//!
//! Holds: a head's checksum also covers the segment's salt and the frame's place in the file, so
//! that neither what a file held in an earlier life, nor a copy of a frame inside somebody's
//! value, is ever taken for a frame. The head covers the body's checksum.
//!
//! Does not know: files, or what follows from a frame being there.

use super::error::LogError;

/// The version of everything here.
pub(super) const VERSION: u32 = 1;
/// Bytes of a plate.
pub(super) const PLATE: usize = 64;
/// Bytes of a frame before its body.
pub(super) const HEAD: usize = 40;
/// Bytes of an entry before its own.
pub(super) const ENTRY: u32 = 4;
/// Frames begin at multiples of this.
pub(super) const ALIGN: usize = 8;

const FRAME_MAGIC: [u8; 4] = *b"SHfr";

/// What kind of file a plate is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A segment.
    Segment,
    /// The file that says that there is a log, and which.
    Identity,
    /// The mark of a clean close.
    Clean,
}

impl Kind {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Segment => *b"SHOALseg",
            Self::Identity => *b"SHOALlog",
            Self::Clean => *b"SHOALend",
        }
    }
}

/// What a file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plate {
    /// What kind of file it is.
    pub(super) kind: Kind,
    /// Which log it belongs to.
    pub(super) log_id: u64,
    /// The segment's number; on a clean mark, that of the last segment.
    pub(super) number: u64,
    /// What this life of the segment's file is told apart by.
    pub(super) salt: u64,
    /// The least length of the segment's file while it is not sealed.
    pub(super) capacity: u64,
    /// On a clean mark, the position after the last entry.
    pub(super) position: u64,
}

impl Plate {
    /// The plate's bytes.
    pub(super) fn encode(&self) -> [u8; PLATE] {
        let mut bytes = [0; PLATE];
        bytes[..8].copy_from_slice(&self.kind.magic());
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let fields = [self.log_id, self.number, self.salt, self.capacity, self.position];
        for (place, field) in bytes[16..].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let crc = Self::checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the plate that `bytes`, those of the file called `file`, begin with.
    pub(super) fn decode(kind: Kind, file: &str, bytes: &[u8]) -> Result<Self, LogError> {
        let Some(bytes) = bytes.first_chunk::<PLATE>() else {
            return Err(LogError::damaged(file, bytes.len() as u64, "the file is cut short"));
        };
        if bytes[..8] != kind.magic() {
            return Err(LogError::damaged(file, 0, "this is not a file of the log"));
        }
        let version = word(&bytes[8..]);
        if word(&bytes[12..]) != Self::checksum(bytes) {
            // A later version may place its checksum elsewhere; a flipped bit may look like one.
            let what = format!("the file's head is damaged (format {version})");
            return Err(LogError::damaged(file, 8, what));
        }
        if version != VERSION {
            let file = file.to_owned();
            return Err(LogError::UnknownVersion { file, found: version, known: VERSION });
        }
        Ok(Self {
            kind,
            log_id: long(&bytes[16..]),
            number: long(&bytes[24..]),
            salt: long(&bytes[32..]),
            capacity: long(&bytes[40..]),
            position: long(&bytes[48..]),
        })
    }

    fn checksum(bytes: &[u8; PLATE]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
    }
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It holds entries.
    Entries,
    /// It ends its segment; the next segment begins with the position it names.
    Seal,
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// What it is for.
    pub(super) purpose: Purpose,
    /// The body's length in bytes.
    pub(super) len: u32,
    /// How many entries the body has.
    pub(super) count: u32,
    /// The body's checksum.
    pub(super) body_crc: u32,
    /// The first entry's position; in a seal, that of the next segment's first entry.
    pub(super) first: u64,
    /// Everything below this position was known to be synced when the frame was written.
    pub(super) synced: u64,
}

impl Frame {
    /// A seal after which the log goes on with position `next`.
    pub(super) fn seal(next: u64, synced: u64) -> Self {
        let body_crc = crc32c::crc32c(&[]);
        Self { purpose: Purpose::Seal, len: 0, count: 0, body_crc, first: next, synced }
    }

    /// The head's bytes, for a frame at `offset` of a segment with `salt`.
    pub(super) fn encode(&self, salt: u64, offset: u64) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[8..12].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.len.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        let kind: u32 = match self.purpose {
            Purpose::Entries => 1,
            Purpose::Seal => 2,
        };
        bytes[20..24].copy_from_slice(&kind.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.synced.to_le_bytes());
        let crc = Self::checksum(&bytes, salt, offset);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The head of the frame at `offset` of a segment, if there is a whole one. `bytes` begin
    /// at `offset`.
    pub(super) fn decode(bytes: &[u8], salt: u64, offset: u64) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEAD>()?;
        if bytes[..4] != FRAME_MAGIC || word(&bytes[4..]) != Self::checksum(bytes, salt, offset) {
            return None;
        }
        Some(Self {
            purpose: match word(&bytes[20..]) {
                1 => Purpose::Entries,
                2 => Purpose::Seal,
                _ => return None,
            },
            len: word(&bytes[12..]),
            count: word(&bytes[16..]),
            body_crc: word(&bytes[8..]),
            first: long(&bytes[24..]),
            synced: long(&bytes[32..]),
        })
    }

    /// Bytes of the whole frame with its padding.
    pub(super) fn total(&self) -> u64 {
        padded(HEAD as u64 + u64::from(self.len))
    }

    fn checksum(bytes: &[u8; HEAD], salt: u64, offset: u64) -> u32 {
        let crc = crc32c::crc32c(&salt.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
        crc32c::crc32c_append(crc, &bytes[8..])
    }
}

/// `len` rounded up to where the next frame may begin.
pub(super) const fn padded(len: u64) -> u64 {
    len.next_multiple_of(ALIGN as u64)
}

/// The entries of a frame's body, each without its length; an error where they do not add up.
pub(super) struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// The entries of `body`.
    pub(super) const fn of(body: &'a [u8]) -> Self {
        Self { rest: body }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<&'a [u8], &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.rest.split_at_checked(ENTRY as usize).and_then(|(len, rest)| {
            rest.split_at_checked(usize::try_from(word(len)).unwrap_or(usize::MAX))
        });
        let Some((entry, rest)) = entry else {
            self.rest = &[];
            return Some(Err("a frame's entries do not add up"));
        };
        self.rest = rest;
        Some(Ok(entry))
    }
}

/// The number in the first four bytes; callers pass that many.
fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The number in the first eight bytes; callers pass that many.
fn long(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame {
        purpose: Purpose::Entries,
        len: 11,
        count: 2,
        body_crc: 7,
        first: 300,
        synced: 299,
    };

    fn plate() -> Plate {
        Plate {
            kind: Kind::Segment,
            log_id: 0x0102,
            number: 3,
            salt: 0x0405,
            capacity: 4096,
            position: 0,
        }
    }

    #[test]
    fn a_plate_of_version_1_stays_as_it_is() {
        let hex: String = plate().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "53484f414c736567010000000606e99f020100000000000003000000000000000504000000000000\
             001000000000000000000000000000000000000000000000"
        );
    }

    #[test]
    fn a_frame_of_version_1_stays_as_it_is() {
        let hex: String = FRAME.encode(5, 64).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "53486672c224f421070000000b00000002000000010000002c010000000000002b01000000000000"
        );
    }

    #[test]
    fn every_flip_in_a_plate_is_noticed() {
        let good = plate().encode();
        assert_eq!(Plate::decode(Kind::Segment, "f", &good), Ok(plate()));
        assert!(Plate::decode(Kind::Clean, "f", &good).is_err());
        for bit in 0..PLATE * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Plate::decode(Kind::Segment, "f", &bytes).is_err(), "bit {bit}");
        }
        for len in 0..PLATE {
            assert!(Plate::decode(Kind::Segment, "f", &good[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let mut bytes = plate().encode();
        bytes[8] = 9;
        let crc = Plate::checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(
            Plate::decode(Kind::Segment, "f", &bytes),
            Err(LogError::UnknownVersion { file: "f".to_owned(), found: 9, known: VERSION })
        );
    }

    #[test]
    fn a_frame_counts_only_where_it_was_written() {
        let bytes = FRAME.encode(5, 64);
        assert_eq!(Frame::decode(&bytes, 5, 64), Some(FRAME));
        assert_eq!(Frame::decode(&bytes, 6, 64), None, "another life of the file");
        assert_eq!(Frame::decode(&bytes, 5, 72), None, "another place");
        for bit in 0..HEAD * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&flipped, 5, 64), None, "bit {bit}");
        }
    }

    #[test]
    fn entries_that_do_not_add_up_are_an_error_and_not_a_panic() {
        let body = [2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0];
        let entries: Vec<_> = Entries::of(&body).collect();
        assert_eq!(entries, [Ok(&b"ab"[..]), Ok(&b""[..])]);
        for bad in [&[1][..], &[2, 0, 0, 0, b'a'], &[255; 9]] {
            assert!(Entries::of(bad).any(|entry| entry.is_err()), "{bad:?}");
        }
    }
}
