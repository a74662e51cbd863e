//! Reading a segment back: a pure function over its bytes.
//!
//! A segment is good up to the first place where no whole frame is. That place is either where
//! writing stopped (a *tail*), or it is damage. Every frame says up to which position the log
//! was synced when it was written; so a frame behind the place whose mark lies beyond it proves
//! that the place was synced once and is damaged now. Without such a proof the bytes were never
//! promised to anyone, and are cut.
//!
//! Holds: no bytes make it panic, and an entry is handed out only when the checksums of its
//! frame hold and its position is the one that is due.
//!
//! Does not know: files, or that there are other segments.

use super::Replay;
use super::error::LogError;
use super::format::{ALIGN, Entries, Frame, HEAD, PLATE, Purpose};
use std::collections::VecDeque;

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a seal: the next segment begins with this position.
    Sealed(u64),
    /// With nothing but zeros: nothing was ever written there.
    Blank,
    /// With something else, for this reason.
    Ragged(&'static str),
}

/// What is in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// The position after the last entry; `None` where no frame and no expectation tells.
    pub(super) next: Option<u64>,
    /// Where the good frames end.
    pub(super) offset: usize,
    /// Where the frames end that are proven to have been synced.
    pub(super) proven: usize,
    /// What is there.
    pub(super) ending: Ending,
}

/// The position of the first frame, if that is whole.
pub(super) fn first_position(bytes: &[u8], salt: u64) -> Option<u64> {
    Frame::decode(bytes.get(PLATE..)?, salt, PLATE as u64).map(|frame| frame.first)
}

/// Reads the segment called `file` whose bytes are `bytes`, and hands out its entries. `expected`
/// is the position of its first entry, where that is known.
///
/// # Errors
/// [`LogError::Damaged`] where a head that is whole contradicts what is around it, and whatever
/// `visit` answers.
pub(super) fn scan(
    file: &str,
    bytes: &[u8],
    salt: u64,
    expected: Option<u64>,
    visit: &mut Replay<'_>,
) -> Result<Scanned, LogError> {
    let mut found = Scanned { next: expected, offset: PLATE, proven: PLATE, ending: Ending::Blank };
    // Frames not yet proven to be synced: the position and the offset at which each ends.
    let mut unproven = VecDeque::new();
    loop {
        let rest = bytes.get(found.offset..).unwrap_or(&[]);
        let at = found.offset as u64;
        let Some(frame) = Frame::decode(rest, salt, at) else {
            let blank = rest.iter().all(|byte| *byte == 0);
            found.ending =
                if blank { Ending::Blank } else { Ending::Ragged("there is no whole frame") };
            return Ok(found);
        };
        let damaged = |what: &str| Err(LogError::damaged(file, at, what));
        let Some(total) = usize::try_from(frame.total()).ok().filter(|len| *len <= rest.len())
        else {
            return damaged("a frame goes beyond the end of the file: the file is cut short");
        };
        if frame.purpose == Purpose::Seal {
            if found.next.is_some_and(|next| frame.first < next) {
                return damaged("the segment's end names a position already used");
            }
            found.offset += total;
            prove(&mut unproven, frame.synced, &mut found.proven);
            found.ending = Ending::Sealed(frame.first);
            return Ok(found);
        }
        if found.next.is_some_and(|next| frame.first != next) {
            return damaged("positions do not follow each other");
        }
        let body = &rest[HEAD..HEAD + frame.len as usize];
        if crc32c::crc32c(body) != frame.body_crc {
            found.next = Some(frame.first);
            found.ending = Ending::Ragged("a frame's checksum does not match");
            return Ok(found);
        }
        let end = hand_out(&frame, body, visit).map_err(|error| match error {
            HandOut::Damaged(what) => LogError::damaged(file, at, what),
            HandOut::Refused(error) => error,
        })?;
        found.next = Some(end);
        found.offset += total;
        unproven.push_back((end, found.offset));
        prove(&mut unproven, frame.synced, &mut found.proven);
    }
}

/// Moves `proven` behind the frames that `mark` covers.
fn prove(unproven: &mut VecDeque<(u64, usize)>, mark: u64, proven: &mut usize) {
    while let Some((_, offset)) = unproven.pop_front_if(|(end, _)| *end <= mark) {
        *proven = offset;
    }
}

enum HandOut {
    Damaged(&'static str),
    Refused(LogError),
}

/// Hands out a frame's entries and returns the position after them.
fn hand_out(frame: &Frame, body: &[u8], visit: &mut Replay<'_>) -> Result<u64, HandOut> {
    let mut count = 0_u32;
    for entry in Entries::of(body) {
        let entry = entry.map_err(HandOut::Damaged)?;
        let position = frame.first.checked_add(u64::from(count));
        count = count.wrapping_add(1);
        let Some(position) = position.filter(|_| count <= frame.count) else {
            return Err(HandOut::Damaged("a frame has more entries than it says"));
        };
        visit(position, entry).map_err(HandOut::Refused)?;
    }
    if count != frame.count {
        return Err(HandOut::Damaged("a frame has fewer entries than it says"));
    }
    frame
        .first
        .checked_add(u64::from(count))
        .ok_or(HandOut::Damaged("a frame's positions do not fit into 64 bits"))
}

/// What whole frame heads there are at or after a place that is not whole itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behind {
    /// The greatest synced mark of them.
    pub(super) mark: u64,
    /// Where the last of them begins.
    pub(super) last: u64,
}

/// Looks for frame heads in a part of a segment that begins at `offset`, whatever surrounds them.
pub(super) fn behind(part: &[u8], offset: u64, salt: u64) -> Option<Behind> {
    debug_assert!(offset.is_multiple_of(ALIGN as u64), "frames begin at such places only");
    let mut found: Option<Behind> = None;
    let mut rest = part;
    let mut last = offset;
    while rest.len() >= HEAD {
        if let Some(frame) = Frame::decode(rest, salt, last) {
            let mark = found.map_or(frame.synced, |found| found.mark.max(frame.synced));
            found = Some(Behind { mark, last });
        }
        rest = &rest[ALIGN..];
        last += ALIGN as u64;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 77;

    type Entry = (u64, Vec<u8>);

    /// A segment with frames of (first position, synced mark, entries).
    fn segment(frames: &[(u64, u64, &[&[u8]])], len: usize) -> Vec<u8> {
        let mut bytes = vec![0; PLATE];
        for (first, synced, entries) in frames {
            let mut body = Vec::new();
            for entry in *entries {
                body.extend_from_slice(&u32::try_from(entry.len()).expect("short").to_le_bytes());
                body.extend_from_slice(entry);
            }
            let frame = Frame {
                purpose: Purpose::Entries,
                len: u32::try_from(body.len()).expect("short"),
                count: u32::try_from(entries.len()).expect("few"),
                body_crc: crc32c::crc32c(&body),
                first: *first,
                synced: *synced,
            };
            let head = frame.encode(SALT, bytes.len() as u64);
            bytes.extend_from_slice(&head);
            bytes.extend_from_slice(&body);
            bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        }
        assert!(bytes.len() <= len, "the frames fit");
        bytes.resize(len, 0);
        bytes
    }

    fn read(bytes: &[u8], expected: Option<u64>) -> (Result<Scanned, LogError>, Vec<Entry>) {
        let mut entries = Vec::new();
        let found = scan("f", bytes, SALT, expected, &mut |position, entry| {
            entries.push((position, entry.to_vec()));
            Ok(())
        });
        (found, entries)
    }

    #[test]
    fn frames_are_read_in_order_up_to_the_zeros() {
        let bytes = segment(&[(5, 5, &[b"a", b"bc"]), (7, 7, &[b""]), (8, 7, &[b"d"])], 400);
        let (found, entries) = read(&bytes, None);
        let found = found.expect("whole");
        assert_eq!(
            entries,
            [(5, b"a".to_vec()), (6, b"bc".to_vec()), (7, vec![]), (8, b"d".to_vec())]
        );
        assert_eq!(found.next, Some(9));
        assert_eq!(found.ending, Ending::Blank);
        assert_eq!((found.proven, found.offset), (64 + 56, 64 + 56 + 48 + 48));
        assert_eq!(first_position(&bytes, SALT), Some(5));
    }

    #[test]
    fn an_empty_segment_is_blank_and_tells_no_position() {
        let (found, entries) = read(&segment(&[], 200), None);
        let blank = Scanned { next: None, offset: PLATE, proven: PLATE, ending: Ending::Blank };
        assert_eq!(found, Ok(blank));
        assert!(entries.is_empty());
        assert!(read(&[], None).0.is_ok(), "no bytes at all are no reason to panic");
    }

    #[test]
    fn a_seal_ends_the_segment_whatever_follows() {
        let mut bytes = segment(&[(5, 5, &[b"a"])], 300);
        let end = PLATE + 48;
        bytes[end..end + HEAD].copy_from_slice(&Frame::seal(9, 6).encode(SALT, end as u64));
        bytes[end + HEAD..].fill(0xEE);
        let found = read(&bytes, Some(5)).0.expect("whole");
        assert_eq!((found.ending, found.next), (Ending::Sealed(9), Some(6)));
        bytes[end..end + HEAD].copy_from_slice(&Frame::seal(5, 5).encode(SALT, end as u64));
        assert!(matches!(read(&bytes, Some(5)).0, Err(LogError::Damaged { .. })), "5 is used");
    }

    #[test]
    fn a_torn_frame_ends_it_and_a_frame_behind_tells_whether_that_is_damage() {
        for mark in [6, 7] {
            let mut bytes =
                segment(&[(5, 5, &[b"a"]), (6, 6, &[b"torn"]), (7, mark, &[b"c"])], 300);
            bytes[PLATE + 48 + HEAD + 5] ^= 1;
            let (found, entries) = read(&bytes, None);
            let found = found.expect("no contradiction");
            assert_eq!(entries.len(), 1);
            assert_eq!((found.next, found.offset), (Some(6), PLATE + 48));
            assert!(matches!(found.ending, Ending::Ragged(_)));
            let last = (PLATE + 48 + 48) as u64;
            assert_eq!(
                behind(&bytes[found.offset..], found.offset as u64, SALT),
                Some(Behind { mark, last })
            );
        }
    }

    #[test]
    fn whole_heads_that_contradict_are_damage() {
        let gap = segment(&[(5, 5, &[b"a"]), (7, 6, &[b"c"])], 300);
        assert!(read(&gap, None).0.is_err(), "position 6 is missing");
        assert!(read(&gap, Some(4)).0.is_err(), "position 4 is missing");
        let cut = &gap[..PLATE + 44];
        assert!(read(cut, None).0.is_err(), "the file is cut short");
        let far = segment(&[(u64::MAX, 5, &[b"a"])], 300);
        assert!(read(&far, None).0.is_err(), "positions end");
    }

    #[test]
    fn what_the_visitor_refuses_is_passed_on() {
        let bytes = segment(&[(5, 5, &[b"a"])], 200);
        let refused = LogError::Io("no".to_owned());
        let result = scan("f", &bytes, SALT, None, &mut |_, _| Err(refused.clone()));
        assert_eq!(result, Err(refused));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            noise in proptest::collection::vec(0_u8..=255, 0..300),
            at in 0_usize..300,
        ) {
            let mut bytes = segment(&[(5, 5, &[b"a", b"bb"]), (7, 7, &[b"ccc"])], 300);
            for (place, byte) in bytes[at..].iter_mut().zip(&noise) {
                *place = *byte;
            }
            let (_, entries) = read(&bytes, Some(5));
            let all: [Entry; 3] = [(5, b"a".to_vec()), (6, b"bb".to_vec()), (7, b"ccc".to_vec())];
            proptest::prop_assert!(all.starts_with(&entries));
        }
    }
}
