//! The wire form of what nodes say to each other about keys.
//!
//! The first byte is the format, the second what the message is; then its fields in the order of
//! their declaration. Numbers are big-endian and of fixed width; keys and values are lengths and
//! bytes, options a byte 0 or 1 and then the value.
//!
//! Holds: every message has exactly one form. Keys and values that were read share the bytes they
//! came in. Nothing is allocated from a count before that many bytes were seen to be there.
//!
//! Does not know: what a message is framed, checked and authenticated by.

pub(super) mod fields;
pub(super) mod input;

use super::CodecError;
use super::batch::is_of_different;
use crate::quorum::{
    Answer, Ask, Base, Envelope, Full, Guarded, Item, Origin, Refusal, Reply, Shown,
};
use crate::repair::{Digest, HashRange, Leaf};
use crate::version::Version;
use bytes::Bytes;
use fields::Output;
use input::Input;
use std::sync::Arc;

const FORMAT: u8 = 1;

/// Appends the bytes that stand for a question.
pub fn write_envelope(envelope: &Envelope, out: &mut Vec<u8>) {
    let mut out = Output(out);
    out.u8(FORMAT);
    out.u8(match &envelope.ask {
        Ask::Take { .. } => 1,
        Ask::Read { .. } => 2,
        Ask::Clock => 3,
        Ask::Page { .. } => 4,
        Ask::Floors => 5,
        Ask::Digest { .. } => 6,
        Ask::Prove { .. } => 7,
        Ask::RaiseFloor { .. } => 8,
        Ask::Purge { .. } => 9,
        Ask::Leaves { .. } => 10,
        Ask::Batch { .. } => 11,
        Ask::Copy(_) => 12,
    });
    out.header(&envelope.header);
    out.u32(envelope.round);
    match &envelope.ask {
        Ask::Take { items, origin } => {
            out.origin(*origin);
            out.items(items);
        }
        Ask::Read { key, whole } => {
            out.bytes(key);
            out.bool(*whole);
        }
        Ask::Clock | Ask::Floors => {}
        Ask::Page { after, limit } => {
            out.option(after.as_ref(), |out, key| out.bytes(key));
            out.u16(*limit);
        }
        Ask::Digest { range } => {
            out.u64(range.prefix);
            out.u8(range.bits);
        }
        Ask::Prove { round, dead: pairs } | Ask::Purge { round, proven: pairs } => {
            out.u64(round.0.0);
            out.pairs(pairs);
        }
        Ask::RaiseFloor { to } => out.u64(to.0.0),
        Ask::Leaves { count } => out.u16(*count),
        Ask::Batch { parts } => out.guarded(parts),
        Ask::Copy(shown) => out.shown(shown),
    }
}

/// Reads a question, all of `bytes`.
///
/// # Errors
/// [`CodecError`] where the bytes are no message, or one of an unknown format.
pub fn read_envelope(bytes: &Bytes) -> Result<Envelope, CodecError> {
    let mut input = Input::open(bytes, FORMAT)?;
    let kind = input.u8()?;
    let header = input.header()?;
    let round = input.u32()?;
    let ask = match kind {
        1 => {
            let origin = input.origin()?;
            Ask::Take { origin, items: input.items()? }
        }
        2 => Ask::Read { key: input.bytes()?, whole: input.bool()? },
        3 => Ask::Clock,
        4 => Ask::Page { after: input.option(Input::bytes)?, limit: input.u16()? },
        5 => Ask::Floors,
        6 => Ask::Digest { range: read_range(&mut input)? },
        7 => Ask::Prove { round: input.floor()?, dead: input.pairs()?.into() },
        8 => Ask::RaiseFloor { to: input.floor()? },
        9 => Ask::Purge { round: input.floor()?, proven: input.pairs()?.into() },
        10 => Ask::Leaves { count: input.u16()? },
        11 => Ask::Batch { parts: input.guarded()? },
        12 => Ask::Copy(Arc::new(input.shown()?)),
        _ => return Err(CodecError::Invalid("an unknown question")),
    };
    input.finished()?;
    Ok(Envelope { header, round, ask })
}

fn read_range(input: &mut Input) -> Result<HashRange, CodecError> {
    let (prefix, bits) = (input.u64()?, input.u8()?);
    let sound =
        bits <= 64 && bits % 4 == 0 && prefix.checked_shl(u32::from(bits)).unwrap_or(0) == 0;
    if sound { Ok(HashRange { prefix, bits }) } else { Err(CodecError::Invalid("no hash range")) }
}

/// Appends the bytes that stand for an answer.
pub fn write_answer(answer: &Answer, out: &mut Vec<u8>) {
    let mut out = Output(out);
    out.u8(FORMAT);
    out.u8(match &answer.reply {
        Reply::Accepted => 1,
        Reply::Newer(_) => 2,
        Reply::BelowFloor(_) => 3,
        Reply::Conflict { .. } => 4,
        Reply::Found { mark: Version::ZERO, .. } => 5,
        Reply::Found { .. } => 16,
        Reply::Clock => 6,
        Reply::Page { mark: Version::ZERO, .. } => 7,
        Reply::Page { .. } => 17,
        Reply::Floors { .. } => 8,
        Reply::Digest(Digest::Keys(_)) => 9,
        Reply::Digest(Digest::Parts(_)) => 10,
        Reply::Proven(_) => 11,
        Reply::Refused(_) => 12,
        Reply::Leaves(_) => 13,
        Reply::Changed(_) => 14,
        Reply::BelowMark(_) => 15,
    });
    out.u32(answer.from.node.0);
    out.u64(answer.from.incarnation.0);
    out.epoch(answer.epoch);
    out.u64(answer.clock.0);
    out.u32(answer.round);
    match &answer.reply {
        Reply::Accepted | Reply::Clock => {}
        Reply::Newer(version) | Reply::BelowMark(version) => out.version(*version),
        Reply::BelowFloor(floor) => out.u64(floor.0.0),
        Reply::Conflict { record, floor } => {
            out.record(record);
            out.u64(floor.0.0);
        }
        Reply::Found { rank, record, floor, mark } => {
            out.option(rank.as_ref(), Output::rank);
            out.option(record.as_ref(), Output::record);
            out.u64(floor.0.0);
            out.mark(*mark);
        }
        Reply::Page { items, floor, mark, more } => {
            out.items(items);
            out.u64(floor.0.0);
            out.bool(*more);
            out.mark(*mark);
        }
        Reply::Floors { floor, purged } => {
            out.u64(floor.0.0);
            out.u64(purged.0.0);
        }
        Reply::Digest(Digest::Keys(keys)) | Reply::Changed(keys) => out.pairs(keys),
        Reply::Digest(Digest::Parts(parts)) => parts.iter().for_each(|leaf| out.leaf(*leaf)),
        Reply::Leaves(leaves) => {
            out.count(leaves.len());
            leaves.iter().for_each(|leaf| out.leaf(*leaf));
        }
        Reply::Proven(covered) => {
            out.count(covered.len());
            for one in covered {
                out.bool(*one);
            }
        }
        Reply::Refused(refusal) => out.refusal(*refusal),
    }
}

/// Reads an answer, all of `bytes`.
///
/// # Errors
/// [`CodecError`] where the bytes are no message, or one of an unknown format.
pub fn read_answer(bytes: &Bytes) -> Result<Answer, CodecError> {
    let mut input = Input::open(bytes, FORMAT)?;
    let kind = input.u8()?;
    let from = input.member()?;
    let (epoch, clock, round) = (input.epoch()?, input.stamp()?, input.u32()?);
    let reply = match kind {
        1 => Reply::Accepted,
        2 => Reply::Newer(input.version()?),
        3 => Reply::BelowFloor(input.floor()?),
        4 => Reply::Conflict { record: input.record()?, floor: input.floor()? },
        5 | 16 => Reply::Found {
            rank: input.option(Input::rank)?,
            record: input.option(Input::record)?,
            floor: input.floor()?,
            mark: if kind == 16 { input.mark()? } else { Version::ZERO },
        },
        6 => Reply::Clock,
        7 | 17 => Reply::Page {
            items: input.items()?,
            floor: input.floor()?,
            more: input.bool()?,
            mark: if kind == 17 { input.mark()? } else { Version::ZERO },
        },
        8 => Reply::Floors { floor: input.floor()?, purged: input.floor()? },
        9 => Reply::Digest(Digest::Keys(input.pairs()?)),
        10 => Reply::Digest(Digest::Parts(read_parts(&mut input)?)),
        11 => {
            let count = input.count()?;
            Reply::Proven((0..count).map(|_| input.bool()).collect::<Result<_, _>>()?)
        }
        12 => Reply::Refused(match input.u8()? {
            1 => Refusal::Stale,
            2 => Refusal::Void,
            3 => Refusal::NotCounting,
            4 => Refusal::Skewed,
            5 => Refusal::Unable,
            6 => Refusal::Full(Full::Memory),
            7 => Refusal::Full(Full::Disk),
            _ => return Err(CodecError::Invalid("an unknown refusal")),
        }),
        13 => {
            let count = input.count()?;
            Reply::Leaves((0..count).map(|_| input.leaf()).collect::<Result<_, _>>()?)
        }
        14 => Reply::Changed(input.pairs()?),
        15 => Reply::BelowMark(input.version()?),
        _ => return Err(CodecError::Invalid("an unknown answer")),
    };
    input.finished()?;
    Ok(Answer { from, epoch, clock, round, reply })
}

fn read_parts(input: &mut Input) -> Result<Box<[Leaf; crate::repair::FANOUT]>, CodecError> {
    let mut parts = Box::new([Leaf::default(); crate::repair::FANOUT]);
    for leaf in parts.iter_mut() {
        *leaf = input.leaf()?;
    }
    Ok(parts)
}

impl Output<'_> {
    fn leaf(&mut self, leaf: Leaf) {
        self.u64(leaf.count);
        self.u128(leaf.sum);
    }

    fn origin(&mut self, origin: Origin) {
        match origin {
            Origin::Fresh { base, last } => {
                self.u8(1);
                self.option(base, Output::version);
                self.bool(last);
            }
            Origin::Update { base: Base::Nothing } => self.u8(2),
            Origin::Update { base: Base::Record(rank) } => {
                self.u8(3);
                self.rank(&rank);
            }
            Origin::Kept { floor } => {
                self.u8(4);
                self.u64(floor.0.0);
            }
            Origin::Update { base: Base::Missed(rank) } => {
                self.u8(5);
                self.rank(&rank);
            }
        }
    }

    fn base(&mut self, base: Base) {
        match base {
            Base::Nothing => self.u8(0),
            Base::Record(rank) => {
                self.u8(1);
                self.rank(&rank);
            }
            Base::Missed(rank) => {
                self.u8(2);
                self.rank(&rank);
            }
        }
    }

    fn guarded(&mut self, parts: &[Guarded]) {
        self.count(parts.len());
        for Guarded { key, base, next } in parts {
            self.bytes(key);
            self.base(*base);
            self.option(next.as_ref(), Output::record);
        }
    }

    fn refusal(&mut self, refusal: Refusal) {
        self.u8(match refusal {
            Refusal::Stale => 1,
            Refusal::Void => 2,
            Refusal::NotCounting => 3,
            Refusal::Skewed => 4,
            Refusal::Unable => 5,
            Refusal::Full(Full::Memory) => 6,
            Refusal::Full(Full::Disk) => 7,
        });
    }

    /// What is zero nearly everywhere has a form of the message without it.
    fn mark(&mut self, mark: Version) {
        if mark != Version::ZERO {
            self.version(mark);
        }
    }

    fn shown(&mut self, shown: &Shown) {
        let Shown { from, after, items, more, floor, mark } = shown;
        self.u32(from.node.0);
        self.u64(from.incarnation.0);
        self.option(after.as_ref(), |out, key| out.bytes(key));
        self.items(items);
        self.bool(*more);
        self.u64(floor.0.0);
        self.version(*mark);
    }

    fn items(&mut self, items: &[Item]) {
        self.count(items.len());
        for item in items {
            self.bytes(&item.key);
            self.record(&item.record);
        }
    }
}

impl Input {
    fn leaf(&mut self) -> Result<Leaf, CodecError> {
        Ok(Leaf { count: self.u64()?, sum: self.u128()? })
    }

    fn origin(&mut self) -> Result<Origin, CodecError> {
        Ok(match self.u8()? {
            1 => Origin::Fresh { base: self.option(Self::version)?, last: self.bool()? },
            2 => Origin::Update { base: Base::Nothing },
            3 => Origin::Update { base: Base::Record(self.rank()?) },
            4 => Origin::Kept { floor: self.floor()? },
            5 => Origin::Update { base: Base::Missed(self.rank()?) },
            _ => return Err(CodecError::Invalid("an unknown origin")),
        })
    }

    fn guarded(&mut self) -> Result<Arc<[Guarded]>, CodecError> {
        let count = self.count()?;
        let part = |_| {
            let key = self.bytes()?;
            let base = match self.u8()? {
                0 => Base::Nothing,
                1 => Base::Record(self.rank()?),
                2 => Base::Missed(self.rank()?),
                _ => return Err(CodecError::Invalid("an unknown base")),
            };
            Ok(Guarded { key, base, next: self.option(Self::record)? })
        };
        let parts: Arc<[Guarded]> = (0..count).map(part).collect::<Result<_, _>>()?;
        is_of_different(parts.iter().map(|part| &part.key))?;
        Ok(parts)
    }

    fn mark(&mut self) -> Result<Version, CodecError> {
        let mark = self.version()?;
        let is_one = mark != Version::ZERO;
        if is_one { Ok(mark) } else { Err(CodecError::Invalid("a mark of nothing")) }
    }

    fn shown(&mut self) -> Result<Shown, CodecError> {
        Ok(Shown {
            from: self.member()?,
            after: self.option(Self::bytes)?,
            items: self.items()?,
            more: self.bool()?,
            floor: self.floor()?,
            mark: self.version()?,
        })
    }

    fn items(&mut self) -> Result<Arc<[Item]>, CodecError> {
        let count = self.count()?;
        (0..count).map(|_| Ok(Item { key: self.bytes()?, record: self.record()? })).collect()
    }
}

#[cfg(test)]
mod tests;
