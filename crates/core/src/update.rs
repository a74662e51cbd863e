//! Every change of a key, as a closed set of values with one pure [`apply`].
//!
//! Holds: `apply` decides from the update, the record that is there and the time alone, so a
//! coordinator, a replica and the simulator come to the same result. It never stamps a version;
//! that is the caller's, who knows the clock and the floor.

mod owned;

pub use owned::{OwnedUpdate, OwnedWhen};

use crate::float;
use crate::record::{Body, Record};
use crate::version::{Millis, Version};
use std::borrow::Cow;

/// A change asked of one key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update<'a> {
    /// Store `value`, if `when` is met.
    Set {
        /// The new value.
        value: &'a [u8],
        /// What becomes of the expiry.
        expiry: SetExpiry,
        /// The condition.
        when: When<'a>,
    },
    /// Remove the key, if `when` is met. Removing an absent key is [`Outcome::Unmet`].
    Delete {
        /// The condition.
        when: When<'a>,
    },
    /// Add `suffix` to the value's end; an absent key counts as empty.
    Append {
        /// The bytes to add.
        suffix: &'a [u8],
    },
    /// Overwrite from `offset` on, padding with zero bytes; an absent key counts as empty.
    SetRange {
        /// Where to start, in bytes.
        offset: u64,
        /// The bytes to write; none changes nothing.
        bytes: &'a [u8],
    },
    /// Add to a decimal 64-bit integer; an absent key counts as 0.
    Add {
        /// What to add.
        delta: i64,
    },
    /// Add to a decimal number, computed in 80-bit floats as Redis does; absent counts as 0.
    AddFloat {
        /// What to add, as the caller wrote it.
        delta: &'a [u8],
    },
    /// Give a present key an expiry, if `when` is met. A time that has passed removes the key.
    Expire {
        /// The time, in milliseconds since the Unix epoch.
        at: Millis,
        /// The condition.
        when: ExpireWhen,
    },
    /// Take a present key's expiry away.
    Persist,
}

/// What a [`Update::Set`] does to the expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetExpiry {
    /// The new value does not expire, unless its keyspace gives an expiry to what has none.
    Never,
    /// The new value does not expire, whatever its keyspace does.
    Forever,
    /// The expiry stays what it was.
    Keep,
    /// The new value expires at this time; one that has passed removes the key.
    At(Millis),
}

/// On what a change depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When<'a> {
    /// On nothing.
    Always,
    /// The key has no value.
    Absent,
    /// The key has a value.
    Present,
    /// The key has a value with one of these tags.
    TagIn(&'a [Tag]),
    /// The key has no value, or one with another tag.
    TagNotIn(&'a [Tag]),
}

/// What tells one write of a key from every other: its version, and the clock's stamp, as two
/// writes of the same event time share the former. Records with equal tags are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Of the record.
    pub version: Version,
    /// When it was written by the clock; differs from the version only under event time.
    pub written: Version,
}

impl Tag {
    /// Of a record.
    #[must_use]
    pub const fn of(record: &Record<'_>) -> Self {
        Self { version: record.version, written: record.written }
    }

    /// Of a record that was written without an event time.
    #[must_use]
    pub const fn plain(version: Version) -> Self {
        Self { version, written: version }
    }
}

/// On what a change of expiry depends, beside the key being present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpireWhen {
    /// Only if it has no expiry yet.
    pub none: bool,
    /// Only if it has one.
    pub some: bool,
    /// Only if the new one is later; no expiry counts as infinitely late.
    pub later: bool,
    /// Only if the new one is earlier; no expiry counts as infinitely late.
    pub earlier: bool,
}

/// What came of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// Its condition was not met; nothing changed.
    Unmet,
    /// It was done, and the value is now this long, in bytes.
    Length(u64),
    /// It was done, and the value is now this number.
    Integer(i64),
    /// It was done, and the value is now this number, written as Redis writes it.
    Float(String),
}

/// Why an update is impossible; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The value is not a decimal 64-bit integer.
    #[error("value is not an integer or out of range")]
    NotInteger,
    /// The sum would not fit 64 bits.
    #[error("increment or decrement would overflow")]
    Overflow,
    /// Value or increment is not a number.
    #[error("value is not a valid float")]
    NotFloat,
    /// The sum would be NaN or infinite.
    #[error("increment would produce NaN or Infinity")]
    NotFinite,
    /// The value would be longer than the limit.
    #[error("string exceeds maximum allowed size (proto-max-bulk-len)")]
    TooLong,
}

/// What an update makes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Nothing.
    Keep,
    /// A live record of this value.
    Put {
        /// The value.
        value: Cow<'a, [u8]>,
        /// Its expiry.
        expires_at: Option<Millis>,
    },
    /// A tombstone.
    Delete,
}

/// What `update` makes of a key that holds `before`, at `now`.
///
/// A record that is a tombstone or expired counts as none. `limit` is the greatest length that a
/// value may have, in bytes. Numbers, errors and edge cases are those of Redis 7.0.
///
/// # Errors
/// [`UpdateError`]; nothing changed.
pub fn apply<'a>(
    update: &Update<'a>,
    before: Option<&Record<'a>>,
    now: Millis,
    limit: usize,
) -> Result<(Outcome, Change<'a>), UpdateError> {
    let held = before.and_then(|record| Held::at(record, now));
    match *update {
        Update::Set { value, expiry, when } => set(held, value, expiry, when, now, limit),
        Update::Delete { when } => Ok(delete(held, when)),
        Update::Append { suffix } => append(held, suffix, limit),
        Update::SetRange { offset, bytes } => set_range(held, offset, bytes, limit),
        Update::Add { delta } => add(held, delta),
        Update::AddFloat { delta } => add_float(held, delta),
        Update::Expire { at, when } => Ok(expire(held, at, when, now)),
        Update::Persist => Ok(persist(held)),
    }
}

/// What a key holds that can be seen.
#[derive(Clone, Copy)]
struct Held<'a> {
    tag: Tag,
    bytes: &'a [u8],
    expires_at: Option<Millis>,
}

impl<'a> Held<'a> {
    fn at(record: &Record<'a>, now: Millis) -> Option<Self> {
        match record.body {
            Body::Live { bytes, .. } if !record.expired_at(now) => {
                Some(Self { tag: Tag::of(record), bytes, expires_at: record.expires_at })
            }
            Body::Live { .. } | Body::Tombstone => None,
        }
    }
}

impl When<'_> {
    fn is_met(self, held: Option<Held<'_>>) -> bool {
        match (self, held) {
            (When::Always, _) | (When::Absent | When::TagNotIn(_), None) => true,
            (When::Present, held) => held.is_some(),
            (When::Absent, Some(_)) | (When::TagIn(_), None) => false,
            (When::TagIn(tags), Some(held)) => tags.contains(&held.tag),
            (When::TagNotIn(tags), Some(held)) => !tags.contains(&held.tag),
        }
    }
}

impl ExpireWhen {
    /// Whether an expiry of `old` may become `new`.
    fn is_met(self, old: Option<Millis>, new: Millis) -> bool {
        let wrong_presence = (self.none && old.is_some()) || (self.some && old.is_none());
        let wrong_order = (self.later && old.is_none_or(|old| new <= old))
            || (self.earlier && old.is_some_and(|old| new >= old));
        !wrong_presence && !wrong_order
    }
}

fn set<'a>(
    held: Option<Held<'_>>,
    value: &'a [u8],
    expiry: SetExpiry,
    when: When<'_>,
    now: Millis,
    limit: usize,
) -> Result<(Outcome, Change<'a>), UpdateError> {
    if value.len() > limit {
        return Err(UpdateError::TooLong);
    }
    if !when.is_met(held) {
        return Ok((Outcome::Unmet, Change::Keep));
    }
    let expires_at = match expiry {
        SetExpiry::Never | SetExpiry::Forever => None,
        SetExpiry::Keep => held.and_then(|held| held.expires_at),
        SetExpiry::At(at) if at <= now => return Ok((Outcome::Done, Change::Delete)),
        SetExpiry::At(at) => Some(at),
    };
    Ok((Outcome::Done, Change::Put { value: Cow::Borrowed(value), expires_at }))
}

fn delete<'a>(held: Option<Held<'_>>, when: When<'_>) -> (Outcome, Change<'a>) {
    if held.is_some() && when.is_met(held) {
        (Outcome::Done, Change::Delete)
    } else {
        (Outcome::Unmet, Change::Keep)
    }
}

fn append<'a>(
    held: Option<Held<'a>>,
    suffix: &'a [u8],
    limit: usize,
) -> Result<(Outcome, Change<'a>), UpdateError> {
    let Some(held) = held else {
        let value = sized(suffix, limit)?;
        return Ok((length(value), Change::Put { value: Cow::Borrowed(value), expires_at: None }));
    };
    if held.bytes.len().checked_add(suffix.len()).is_none_or(|len| len > limit) {
        return Err(UpdateError::TooLong);
    }
    let value = [held.bytes, suffix].concat();
    let outcome = length(&value);
    Ok((outcome, Change::Put { value: Cow::Owned(value), expires_at: held.expires_at }))
}

fn set_range<'a>(
    held: Option<Held<'a>>,
    offset: u64,
    bytes: &[u8],
    limit: usize,
) -> Result<(Outcome, Change<'a>), UpdateError> {
    let old = held.map_or(&[][..], |held| held.bytes);
    if bytes.is_empty() {
        return Ok((length(old), Change::Keep));
    }
    let start = usize::try_from(offset).map_err(|_| UpdateError::TooLong)?;
    let end =
        start.checked_add(bytes.len()).filter(|end| *end <= limit).ok_or(UpdateError::TooLong)?;
    let mut value = Vec::with_capacity(end.max(old.len()));
    value.extend_from_slice(old);
    value.resize(end.max(old.len()), 0);
    value[start..end].copy_from_slice(bytes);
    let outcome = length(&value);
    let expires_at = held.and_then(|held| held.expires_at);
    Ok((outcome, Change::Put { value: Cow::Owned(value), expires_at }))
}

fn add<'a>(held: Option<Held<'_>>, delta: i64) -> Result<(Outcome, Change<'a>), UpdateError> {
    let old = match held {
        Some(held) => parse_integer(held.bytes).ok_or(UpdateError::NotInteger)?,
        None => 0,
    };
    let sum = old.checked_add(delta).ok_or(UpdateError::Overflow)?;
    let value = Cow::Owned(sum.to_string().into_bytes());
    let expires_at = held.and_then(|held| held.expires_at);
    Ok((Outcome::Integer(sum), Change::Put { value, expires_at }))
}

fn add_float<'a>(
    held: Option<Held<'_>>,
    delta: &[u8],
) -> Result<(Outcome, Change<'a>), UpdateError> {
    let sum = float::add(held.map_or(&b"0"[..], |held| held.bytes), delta)?;
    let value = Cow::Owned(sum.clone().into_bytes());
    let expires_at = held.and_then(|held| held.expires_at);
    Ok((Outcome::Float(sum), Change::Put { value, expires_at }))
}

fn expire<'a>(
    held: Option<Held<'a>>,
    at: Millis,
    when: ExpireWhen,
    now: Millis,
) -> (Outcome, Change<'a>) {
    match held {
        Some(held) if when.is_met(held.expires_at, at) => {
            let change = if at <= now {
                Change::Delete
            } else {
                Change::Put { value: Cow::Borrowed(held.bytes), expires_at: Some(at) }
            };
            (Outcome::Done, change)
        }
        _ => (Outcome::Unmet, Change::Keep),
    }
}

fn persist(held: Option<Held<'_>>) -> (Outcome, Change<'_>) {
    match held {
        Some(Held { bytes, expires_at: Some(_), .. }) => {
            (Outcome::Done, Change::Put { value: Cow::Borrowed(bytes), expires_at: None })
        }
        _ => (Outcome::Unmet, Change::Keep),
    }
}

fn length(value: &[u8]) -> Outcome {
    Outcome::Length(value.len() as u64)
}

fn sized(value: &[u8], limit: usize) -> Result<&[u8], UpdateError> {
    if value.len() > limit { Err(UpdateError::TooLong) } else { Ok(value) }
}

/// A decimal 64-bit integer in its only spelling: no plus, no spaces, no leading zeros, no `-0`.
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        b"0" => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !plain {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
