//! The wire form of a change that is carried out at another node, and of what came of it.
//!
//! The first byte is the format; then the fields in the order of their declaration, as in
//! [`message`](super::message).
//!
//! Holds: every message has exactly one form; a damaged one is refused or means something else,
//! but is never read beyond its end.

use super::CodecError;
use super::message::fields::Output;
use super::message::input::Input;
use crate::ids::NodeId;
use crate::quorum::{Forward, Forwarded, Full, Level, NoQuorum};
use crate::update::{ExpireWhen, Outcome, OwnedUpdate, OwnedWhen, SetExpiry, Tag, UpdateError};
use bytes::Bytes;

const FORMAT: u8 = 1;
/// More nodes than a partition ever has.
const MOST_UNREACHABLE: usize = 64;

/// Appends the bytes that stand for a question.
pub fn write_forward(forward: &Forward, out: &mut Vec<u8>) {
    let mut out = Output(out);
    out.u8(FORMAT);
    out.header(&forward.header);
    write_level(&mut out, forward.level);
    out.bytes(&forward.key);
    write_update(&mut out, &forward.update);
    out.bool(forward.look);
    out.option(forward.event_time, Output::u64);
}

/// Reads a question, all of `bytes`.
///
/// # Errors
/// [`CodecError`] where the bytes are none, or one of an unknown format.
pub fn read_forward(bytes: &Bytes) -> Result<Forward, CodecError> {
    let mut input = Input::open(bytes, FORMAT)?;
    let header = input.header()?;
    let level = read_level(&mut input)?;
    let key = input.bytes()?;
    let update = read_update(&mut input)?;
    let look = input.bool()?;
    let event_time = input.option(Input::u64)?;
    input.finished()?;
    Ok(Forward { header, level, key, update, look, event_time })
}

pub(super) fn write_level(out: &mut Output<'_>, level: Level) {
    out.u8(match level {
        Level::One => 1,
        Level::Quorum => 2,
        Level::All => 3,
    });
}

pub(super) fn read_level(input: &mut Input) -> Result<Level, CodecError> {
    Ok(match input.u8()? {
        1 => Level::One,
        2 => Level::Quorum,
        3 => Level::All,
        _ => return Err(CodecError::Invalid("an unknown level")),
    })
}

fn write_update(out: &mut Output<'_>, update: &OwnedUpdate) {
    match update {
        OwnedUpdate::Set { value, expiry, when } => {
            out.u8(1);
            out.bytes(value);
            match expiry {
                SetExpiry::Never => out.u8(1),
                SetExpiry::Forever => out.u8(2),
                SetExpiry::Keep => out.u8(3),
                SetExpiry::At(at) => {
                    out.u8(4);
                    out.u64(*at);
                }
            }
            write_when(out, when);
        }
        OwnedUpdate::Delete { when } => {
            out.u8(2);
            write_when(out, when);
        }
        OwnedUpdate::Append { suffix } => {
            out.u8(3);
            out.bytes(suffix);
        }
        OwnedUpdate::SetRange { offset, bytes } => {
            out.u8(4);
            out.u64(*offset);
            out.bytes(bytes);
        }
        OwnedUpdate::Add { delta } => {
            out.u8(5);
            out.u64(delta.cast_unsigned());
        }
        OwnedUpdate::AddFloat { delta } => {
            out.u8(6);
            out.bytes(delta);
        }
        OwnedUpdate::Expire { at, when } => {
            out.u8(7);
            out.u64(*at);
            for condition in [when.none, when.some, when.later, when.earlier] {
                out.bool(condition);
            }
        }
        OwnedUpdate::Persist => out.u8(8),
    }
}

fn read_update(input: &mut Input) -> Result<OwnedUpdate, CodecError> {
    Ok(match input.u8()? {
        1 => OwnedUpdate::Set {
            value: input.bytes()?,
            expiry: match input.u8()? {
                1 => SetExpiry::Never,
                2 => SetExpiry::Forever,
                3 => SetExpiry::Keep,
                4 => SetExpiry::At(input.u64()?),
                _ => return Err(CodecError::Invalid("an unknown expiry")),
            },
            when: read_when(input)?,
        },
        2 => OwnedUpdate::Delete { when: read_when(input)? },
        3 => OwnedUpdate::Append { suffix: input.bytes()? },
        4 => OwnedUpdate::SetRange { offset: input.u64()?, bytes: input.bytes()? },
        5 => OwnedUpdate::Add { delta: input.u64()?.cast_signed() },
        6 => OwnedUpdate::AddFloat { delta: input.bytes()? },
        7 => OwnedUpdate::Expire {
            at: input.u64()?,
            when: ExpireWhen {
                none: input.bool()?,
                some: input.bool()?,
                later: input.bool()?,
                earlier: input.bool()?,
            },
        },
        8 => OwnedUpdate::Persist,
        _ => return Err(CodecError::Invalid("an unknown change")),
    })
}

fn write_when(out: &mut Output<'_>, when: &OwnedWhen) {
    let mut tagged = |kind, tags: &[Tag]| {
        out.u8(kind);
        out.count(tags.len());
        for tag in tags {
            out.version(tag.version);
            out.version(tag.written);
        }
    };
    match when {
        OwnedWhen::Always => out.u8(1),
        OwnedWhen::Absent => out.u8(2),
        OwnedWhen::Present => out.u8(3),
        OwnedWhen::TagIn(tags) => tagged(4, tags),
        OwnedWhen::TagNotIn(tags) => tagged(5, tags),
    }
}

fn read_when(input: &mut Input) -> Result<OwnedWhen, CodecError> {
    let tags = |input: &mut Input| {
        let count = input.count()?;
        let tag = |_| Ok(Tag { version: input.version()?, written: input.version()? });
        (0..count).map(tag).collect::<Result<Vec<Tag>, CodecError>>()
    };
    Ok(match input.u8()? {
        1 => OwnedWhen::Always,
        2 => OwnedWhen::Absent,
        3 => OwnedWhen::Present,
        4 => OwnedWhen::TagIn(tags(input)?),
        5 => OwnedWhen::TagNotIn(tags(input)?),
        _ => return Err(CodecError::Invalid("an unknown condition")),
    })
}

/// Appends the bytes that stand for what came of it.
pub fn write_forwarded(forwarded: &Forwarded, out: &mut Vec<u8>) {
    let mut out = Output(out);
    out.u8(FORMAT);
    match forwarded {
        Forwarded::Done { outcome, before, version } => {
            out.u8(1);
            write_outcome(&mut out, outcome);
            out.option(before.as_ref(), Output::record);
            out.option(*version, Output::version);
        }
        Forwarded::Impossible(error) => {
            out.u8(2);
            out.u8(match error {
                UpdateError::NotInteger => 1,
                UpdateError::Overflow => 2,
                UpdateError::NotFloat => 3,
                UpdateError::NotFinite => 4,
                UpdateError::TooLong => 5,
            });
        }
        Forwarded::Conflict => out.u8(3),
        Forwarded::NoQuorum(lack) => {
            out.u8(4);
            write_lack(&mut out, lack);
        }
        Forwarded::Unknown { version } => {
            out.u8(5);
            out.version(*version);
        }
        Forwarded::Elsewhere => out.u8(6),
        Forwarded::Full(Full::Memory) => out.u8(7),
        Forwarded::Full(Full::Disk) => out.u8(8),
    }
}

/// Reads what came of it, all of `bytes`.
///
/// # Errors
/// [`CodecError`] where the bytes are none, or one of an unknown format.
pub fn read_forwarded(bytes: &Bytes) -> Result<Forwarded, CodecError> {
    let mut input = Input::open(bytes, FORMAT)?;
    let forwarded = match input.u8()? {
        1 => Forwarded::Done {
            outcome: read_outcome(&mut input)?,
            before: input.option(Input::record)?,
            version: input.option(Input::version)?,
        },
        2 => Forwarded::Impossible(match input.u8()? {
            1 => UpdateError::NotInteger,
            2 => UpdateError::Overflow,
            3 => UpdateError::NotFloat,
            4 => UpdateError::NotFinite,
            5 => UpdateError::TooLong,
            _ => return Err(CodecError::Invalid("an unknown reason")),
        }),
        3 => Forwarded::Conflict,
        4 => Forwarded::NoQuorum(read_lack(&mut input)?),
        5 => Forwarded::Unknown { version: input.version()? },
        6 => Forwarded::Elsewhere,
        7 => Forwarded::Full(Full::Memory),
        8 => Forwarded::Full(Full::Disk),
        _ => return Err(CodecError::Invalid("an unknown end")),
    };
    input.finished()?;
    Ok(forwarded)
}

pub(super) fn write_lack(out: &mut Output<'_>, lack: &NoQuorum) {
    let NoQuorum { have, need, unreachable } = lack;
    out.count(*have);
    out.count(*need);
    out.count(unreachable.len());
    for node in unreachable {
        out.u32(node.0);
    }
}

pub(super) fn read_lack(input: &mut Input) -> Result<NoQuorum, CodecError> {
    let (have, need) = (input.u32()? as usize, input.u32()? as usize);
    let count = input.count()?;
    if count > MOST_UNREACHABLE {
        return Err(CodecError::Invalid("more nodes than a partition has"));
    }
    let unreachable: Result<Vec<NodeId>, CodecError> =
        (0..count).map(|_| input.u32().map(NodeId)).collect();
    Ok(NoQuorum { have, need, unreachable: unreachable? })
}

fn write_outcome(out: &mut Output<'_>, outcome: &Outcome) {
    match outcome {
        Outcome::Done => out.u8(1),
        Outcome::Unmet => out.u8(2),
        Outcome::Length(length) => {
            out.u8(3);
            out.u64(*length);
        }
        Outcome::Integer(number) => {
            out.u8(4);
            out.u64(number.cast_unsigned());
        }
        Outcome::Float(text) => {
            out.u8(5);
            out.bytes(text.as_bytes());
        }
    }
}

fn read_outcome(input: &mut Input) -> Result<Outcome, CodecError> {
    Ok(match input.u8()? {
        1 => Outcome::Done,
        2 => Outcome::Unmet,
        3 => Outcome::Length(input.u64()?),
        4 => Outcome::Integer(input.u64()?.cast_signed()),
        5 => {
            let text = String::from_utf8(input.bytes()?.into());
            Outcome::Float(text.map_err(|_| CodecError::Invalid("a number that is no text"))?)
        }
        _ => return Err(CodecError::Invalid("an unknown outcome")),
    })
}

#[cfg(test)]
mod tests;
