//! The wire form of a conditional batch that is carried out at another node, and of what came of
//! it.
//!
//! The first byte is the format, and tells it from a single [`forward`](super::forward); then the
//! fields in the order of their declaration, as in [`message`](super::message).
//!
//! Holds: every message has exactly one form; a damaged one is refused or means something else,
//! but is never read beyond its end.

use super::CodecError;
use super::forward::{read_lack, read_level, write_lack, write_level};
use super::message::fields::Output;
use super::message::input::Input;
use crate::quorum::{BatchOutcome, Condition, ForwardBatch, Full, Part};
use crate::record::{OwnedBody, OwnedRecord};
use crate::update::Tag;
use crate::version::Version;
use bytes::Bytes;
use std::collections::HashSet;

/// The first byte of a batch that is passed on.
pub const FORMAT: u8 = 2;

/// Appends the bytes that stand for a question.
pub fn write_batch(batch: &ForwardBatch, out: &mut Vec<u8>) {
    let mut out = Output(out);
    out.u8(FORMAT);
    out.header(&batch.header);
    write_level(&mut out, batch.level);
    out.count(batch.parts.len());
    for Part { key, when, next } in &batch.parts {
        out.bytes(key);
        match when {
            Condition::Any => out.u8(1),
            Condition::Absent => out.u8(2),
            Condition::Present => out.u8(3),
            Condition::Tag(tag) => {
                out.u8(4);
                out.version(tag.version);
                out.version(tag.written);
            }
        }
        out.option(next.as_ref(), |out, (body, expires_at)| {
            let (version, body) = (Version::ZERO, body.clone());
            let expires_at = *expires_at;
            out.record(&OwnedRecord { version, written: version, expires_at, body });
        });
    }
}

/// Reads a question, all of `bytes`.
///
/// # Errors
/// [`CodecError`] where the bytes are none, or one of an unknown format, or of no key, or of one
/// twice.
pub fn read_batch(bytes: &Bytes) -> Result<ForwardBatch, CodecError> {
    let mut input = Input::open(bytes, FORMAT)?;
    let header = input.header()?;
    let level = read_level(&mut input)?;
    let count = input.count()?;
    let parts: Result<Vec<Part>, CodecError> = (0..count).map(|_| read_part(&mut input)).collect();
    let parts = parts?;
    input.finished()?;
    is_of_different(parts.iter().map(|part| &part.key))?;
    Ok(ForwardBatch { header, level, parts })
}

/// Refuses a batch of nothing, and one that has a key twice.
pub(super) fn is_of_different<'k>(keys: impl Iterator<Item = &'k Bytes>) -> Result<(), CodecError> {
    let mut known = HashSet::new();
    let (mut count, mut all) = (0_usize, true);
    for key in keys {
        count += 1;
        all &= known.insert(key);
    }
    if count > 0 && all { Ok(()) } else { Err(CodecError::Invalid("no key, or one twice")) }
}

fn read_part(input: &mut Input) -> Result<Part, CodecError> {
    let key = input.bytes()?;
    let when = match input.u8()? {
        1 => Condition::Any,
        2 => Condition::Absent,
        3 => Condition::Present,
        4 => Condition::Tag(Tag { version: input.version()?, written: input.version()? }),
        _ => return Err(CodecError::Invalid("an unknown condition")),
    };
    let next = match input.option(Input::record)? {
        Some(OwnedRecord { version, written, expires_at, body }) => {
            if (version, written) != (Version::ZERO, Version::ZERO) {
                return Err(CodecError::Invalid("a version for what has none yet"));
            }
            if body == OwnedBody::Tombstone && expires_at.is_some() {
                return Err(CodecError::Invalid("a tombstone that expires"));
            }
            Some((body, expires_at))
        }
        None => None,
    };
    Ok(Part { key, when, next })
}

/// Appends the bytes that stand for what came of it.
pub fn write_outcome(outcome: &BatchOutcome, out: &mut Vec<u8>) {
    let mut out = Output(out);
    out.u8(FORMAT);
    match outcome {
        BatchOutcome::Done { versions } => {
            out.u8(1);
            out.count(versions.len());
            for version in versions {
                out.version(*version);
            }
        }
        BatchOutcome::Unmet => out.u8(2),
        BatchOutcome::Conflict => out.u8(3),
        BatchOutcome::NoQuorum(lack) => {
            out.u8(4);
            write_lack(&mut out, lack);
        }
        BatchOutcome::Elsewhere => out.u8(5),
        BatchOutcome::Unknown => out.u8(6),
        BatchOutcome::Full(Full::Memory) => out.u8(7),
        BatchOutcome::Full(Full::Disk) => out.u8(8),
    }
}

/// Reads what came of it, all of `bytes`.
///
/// # Errors
/// [`CodecError`] where the bytes are none, or one of an unknown format.
pub fn read_outcome(bytes: &Bytes) -> Result<BatchOutcome, CodecError> {
    let mut input = Input::open(bytes, FORMAT)?;
    let outcome = match input.u8()? {
        1 => {
            let count = input.count()?;
            let versions: Result<Vec<Version>, CodecError> =
                (0..count).map(|_| input.version()).collect();
            BatchOutcome::Done { versions: versions? }
        }
        2 => BatchOutcome::Unmet,
        3 => BatchOutcome::Conflict,
        4 => BatchOutcome::NoQuorum(read_lack(&mut input)?),
        5 => BatchOutcome::Elsewhere,
        6 => BatchOutcome::Unknown,
        7 => BatchOutcome::Full(Full::Memory),
        8 => BatchOutcome::Full(Full::Disk),
        _ => return Err(CodecError::Invalid("an unknown end")),
    };
    input.finished()?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::ids::{Incarnation, MapVersion, NodeId};
    use crate::quorum::{Header, Level, NoQuorum};
    use crate::slot::Slot;
    use crate::version::MAX_WALL_MS;
    use proptest::prelude::*;

    fn version() -> impl Strategy<Value = Version> {
        (0..=MAX_WALL_MS, any::<u16>(), any::<u32>()).prop_map(|(wall_ms, counter, node)| Version {
            wall_ms,
            counter,
            node: NodeId(node),
        })
    }

    fn part() -> impl Strategy<Value = Part> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        let tag = (version(), version()).prop_map(|(version, written)| Tag { version, written });
        let when = prop_oneof![
            Just(Condition::Any),
            Just(Condition::Absent),
            Just(Condition::Present),
            tag.prop_map(Condition::Tag),
        ];
        let next = prop_oneof![
            Just(None),
            Just(Some((OwnedBody::Tombstone, None))),
            (any::<u8>(), bytes(), any::<Option<u64>>()).prop_map(|(kind, bytes, expires_at)| {
                Some((OwnedBody::Live { kind, bytes }, expires_at))
            }),
        ];
        (bytes(), when, next).prop_map(|(key, when, next)| Part { key, when, next })
    }

    fn batch() -> impl Strategy<Value = ForwardBatch> {
        let header = (any::<u32>(), 0..16_384_u16, any::<(u32, u64, u64)>()).prop_map(
            |(keyspace, slot, (generation, index, clock))| Header {
                keyspace: Incarnation(keyspace),
                slot: Slot::new(slot).expect("below the count"),
                epoch: MapVersion { generation, index },
                clock: Stamp(clock),
            },
        );
        let level = prop_oneof![Just(Level::One), Just(Level::Quorum), Just(Level::All)];
        let parts = prop::collection::vec(part(), 1..5).prop_filter("each key once", |parts| {
            is_of_different(parts.iter().map(|part| &part.key)).is_ok()
        });
        (header, level, parts).prop_map(|(header, level, parts)| ForwardBatch {
            header,
            level,
            parts,
        })
    }

    fn outcome() -> impl Strategy<Value = BatchOutcome> {
        let nodes = prop::collection::vec(any::<u32>().prop_map(NodeId), 0..7);
        prop_oneof![
            prop::collection::vec(version(), 0..5)
                .prop_map(|versions| BatchOutcome::Done { versions }),
            Just(BatchOutcome::Unmet),
            Just(BatchOutcome::Conflict),
            (0..9_usize, 0..9_usize, nodes).prop_map(|(have, need, unreachable)| {
                BatchOutcome::NoQuorum(NoQuorum { have, need, unreachable })
            }),
            Just(BatchOutcome::Elsewhere),
            Just(BatchOutcome::Full(Full::Memory)),
            Just(BatchOutcome::Full(Full::Disk)),
            Just(BatchOutcome::Unknown),
        ]
    }

    #[test]
    fn a_batch_of_nothing_and_one_with_a_key_twice_are_refused() {
        let header = Header {
            keyspace: Incarnation(1),
            slot: Slot::of(b"k"),
            epoch: MapVersion::default(),
            clock: Stamp(1),
        };
        let part = Part { key: Bytes::from_static(b"k"), when: Condition::Any, next: None };
        for (parts, is_good) in
            [(vec![], false), (vec![part.clone()], true), (vec![part.clone(), part], false)]
        {
            let mut out = Vec::new();
            write_batch(&ForwardBatch { header, level: Level::Quorum, parts }, &mut out);
            assert_eq!(read_batch(&out.into()).is_ok(), is_good);
        }
    }

    proptest! {
        #[test]
        fn questions_round_trip_and_no_cut_of_one_is_another(batch in batch()) {
            let mut out = Vec::new();
            write_batch(&batch, &mut out);
            let bytes = Bytes::from(out);
            prop_assert_eq!(read_batch(&bytes), Ok(batch));
            for end in 0..bytes.len() {
                prop_assert!(read_batch(&bytes.slice(..end)).is_err(), "cut at {}", end);
            }
        }

        #[test]
        fn answers_round_trip_and_no_cut_of_one_is_another(outcome in outcome()) {
            let mut out = Vec::new();
            write_outcome(&outcome, &mut out);
            let bytes = Bytes::from(out);
            prop_assert_eq!(read_outcome(&bytes), Ok(outcome));
            for end in 0..bytes.len() {
                prop_assert!(read_outcome(&bytes.slice(..end)).is_err(), "cut at {}", end);
            }
        }

        #[test]
        fn a_flipped_bit_is_another_message_or_none(
            batch in batch(), bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            write_batch(&batch, &mut bytes);
            let bit = bit.index(8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            let bytes = Bytes::from(bytes);
            if let Ok(read) = read_batch(&bytes) {
                let mut out = Vec::new();
                write_batch(&read, &mut out);
                prop_assert_eq!(Bytes::from(out), bytes);
            }
        }
    }
}
