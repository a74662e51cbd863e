//! Arguments of the commands on strings.

use super::ArgumentError;
use super::time::TimeUnit;
use super::{integer, is};
use crate::resp::words::Words;
use shoal_core::update::{SetExpiry, When};
use shoal_core::version::Millis;

/// What follows the value in SET.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SetOptions {
    /// What becomes of the expiry.
    pub expiry: SetExpiry,
    /// On what the change depends.
    pub when: When<'static>,
    /// Whether the old value is asked for.
    pub get: bool,
}

/// What SET key value is told after these.
///
/// # Errors
/// [`ArgumentError`] in Redis' order: first the options as a whole, then the time.
pub fn set(words: Words<'_>, now: Millis) -> Result<SetOptions, ArgumentError> {
    // The plain form, which is nearly all of them.
    let mut options = SetOptions { expiry: SetExpiry::Never, when: When::Always, get: false };
    if words.len() == 3 {
        return Ok(options);
    }
    let mut rest = words.from(3).iter();
    let mut time: Option<(TimeUnit, &[u8])> = None;
    while let Some(option) = rest.next() {
        if is(option, "nx") && options.when != When::Present {
            options.when = When::Absent;
        } else if is(option, "xx") && options.when != When::Absent {
            options.when = When::Present;
        } else if is(option, "get") {
            options.get = true;
        } else if is(option, "keepttl") && time.is_none() {
            options.expiry = SetExpiry::Keep;
        } else if let Some(unit) = unit_of(option, time)
            && options.expiry != SetExpiry::Keep
        {
            time = Some((unit, rest.next().ok_or(ArgumentError::Syntax)?));
        } else {
            return Err(ArgumentError::Syntax);
        }
    }
    if let Some((unit, word)) = time {
        options.expiry = SetExpiry::At(unit.expiry(word, now, "set")?);
    }
    Ok(options)
}

/// The unit that `option` announces, unless another one was announced before. Redis lets the same
/// one be repeated and takes the last.
fn unit_of(option: &[u8], before: Option<(TimeUnit, &[u8])>) -> Option<TimeUnit> {
    let unit = if is(option, "ex") {
        TimeUnit::Seconds
    } else if is(option, "px") {
        TimeUnit::Millis
    } else if is(option, "exat") {
        TimeUnit::SecondsAt
    } else if is(option, "pxat") {
        TimeUnit::MillisAt
    } else {
        return None;
    };
    before.is_none_or(|(before, _)| before == unit).then_some(unit)
}

/// When the value of SETEX (in seconds) or PSETEX (in milliseconds) expires.
///
/// # Errors
/// [`ArgumentError::NotInteger`] or [`ArgumentError::ExpireTime`].
pub fn setex(words: Words<'_>, unit: TimeUnit, now: Millis) -> Result<Millis, ArgumentError> {
    let command = if unit == TimeUnit::Seconds { "setex" } else { "psetex" };
    unit.expiry(words.word(2), now, command)
}

/// What GETEX does to the expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GetEx {
    /// Nothing.
    Keep,
    /// It takes it away.
    Persist,
    /// The key is to expire then.
    At(Millis),
    /// The time is wrong; Redis says so only if the key is there, and answers nil otherwise.
    Invalid(ArgumentError),
}

/// What GETEX key is told after these.
///
/// # Errors
/// [`ArgumentError::Syntax`].
pub fn getex(words: Words<'_>, now: Millis) -> Result<GetEx, ArgumentError> {
    let mut rest = words.from(2).iter();
    let mut persist = false;
    let mut time: Option<(TimeUnit, &[u8])> = None;
    while let Some(option) = rest.next() {
        if is(option, "persist") && time.is_none() {
            persist = true;
        } else if let Some(unit) = unit_of(option, time)
            && !persist
        {
            time = Some((unit, rest.next().ok_or(ArgumentError::Syntax)?));
        } else {
            return Err(ArgumentError::Syntax);
        }
    }
    Ok(match time {
        Some((unit, word)) => {
            unit.expiry(word, now, "getex").map_or_else(GetEx::Invalid, GetEx::At)
        }
        None if persist => GetEx::Persist,
        None => GetEx::Keep,
    })
}

/// The offset of SETRANGE.
///
/// # Errors
/// [`ArgumentError::NotInteger`] or [`ArgumentError::Offset`].
pub fn offset(word: &[u8]) -> Result<u64, ArgumentError> {
    u64::try_from(integer(word)?).map_err(|_| ArgumentError::Offset)
}

/// What DECRBY adds.
///
/// # Errors
/// [`ArgumentError::NotInteger`] or [`ArgumentError::Decrement`].
pub fn decrement(word: &[u8]) -> Result<i64, ArgumentError> {
    integer(word)?.checked_neg().ok_or(ArgumentError::Decrement)
}

/// The keys and values of MSET and MSETNX, whose name is `command`.
///
/// # Errors
/// [`ArgumentError::Arity`] if a key has no value.
pub fn pairs<'a>(
    words: Words<'a>,
    command: &'static str,
) -> Result<impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a>, ArgumentError> {
    if words.len().is_multiple_of(2) {
        return Err(ArgumentError::Arity(command));
    }
    let pairs = 0..words.len() / 2;
    Ok(pairs.map(move |pair| (words.word(1 + pair * 2), words.word(2 + pair * 2))))
}

/// What LCS is to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LcsOptions {
    /// The length alone.
    pub length: bool,
    /// Where the runs lie.
    pub matches: bool,
    /// Runs shorter than this, in bytes, are left out.
    pub shortest: usize,
    /// Whether each run's length is told.
    pub with_lengths: bool,
}

/// What LCS key1 key2 is told after these.
///
/// # Errors
/// [`ArgumentError`].
pub fn lcs(words: Words<'_>) -> Result<LcsOptions, ArgumentError> {
    let mut options = LcsOptions::default();
    let mut rest = words.from(3).iter();
    while let Some(option) = rest.next() {
        if is(option, "idx") {
            options.matches = true;
        } else if is(option, "len") {
            options.length = true;
        } else if is(option, "withmatchlen") {
            options.with_lengths = true;
        } else if is(option, "minmatchlen") {
            let shortest = integer(rest.next().ok_or(ArgumentError::Syntax)?)?;
            options.shortest = shortest.max(0).try_into().unwrap_or(usize::MAX);
        } else {
            return Err(ArgumentError::Syntax);
        }
    }
    if options.length && options.matches {
        return Err(ArgumentError::LcsLengthAndIndexes);
    }
    Ok(options)
}
