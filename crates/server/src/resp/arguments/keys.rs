//! Arguments of the commands on keys of any kind.

use super::ArgumentError;
use super::error::shown;
use super::time::TimeUnit;
use super::{integer, is};
use crate::resp::words::Words;
use shoal_core::update::ExpireWhen;
use shoal_core::version::Millis;

/// How many keys SCAN looks at where it is not told.
const DEFAULT_SCAN_COUNT: u64 = 10;

/// When and on what condition EXPIRE, PEXPIRE, EXPIREAT or PEXPIREAT lets a key expire.
///
/// # Errors
/// [`ArgumentError`] in Redis' order: first the conditions, then the time.
pub fn expire(
    words: Words<'_>,
    unit: TimeUnit,
    now: Millis,
) -> Result<(Millis, ExpireWhen), ArgumentError> {
    let mut when = ExpireWhen::default();
    for option in words.from(3).iter() {
        let condition = if is(option, "nx") {
            &mut when.none
        } else if is(option, "xx") {
            &mut when.some
        } else if is(option, "gt") {
            &mut when.later
        } else if is(option, "lt") {
            &mut when.earlier
        } else {
            return Err(ArgumentError::UnsupportedOption(shown(option)));
        };
        *condition = true;
    }
    if when.none && (when.some || when.later || when.earlier) {
        return Err(ArgumentError::NxAndOthers);
    }
    if when.later && when.earlier {
        return Err(ArgumentError::GtAndLt);
    }
    let command = match unit {
        TimeUnit::Seconds => "expire",
        TimeUnit::Millis => "pexpire",
        TimeUnit::SecondsAt => "expireat",
        TimeUnit::MillisAt => "pexpireat",
    };
    Ok((unit.new_expiry(words.word(2), now, command)?, when))
}

/// What SCAN is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanOptions<'a> {
    /// Where to go on; 0 at the start.
    pub cursor: u64,
    /// About how many keys to look at, at least 1.
    pub count: u64,
    /// The pattern that keys are to match; `None` where all do.
    pub pattern: Option<&'a [u8]>,
    /// The type that values are to have, as the client wrote it.
    pub kind: Option<&'a [u8]>,
}

/// What SCAN is told.
///
/// # Errors
/// [`ArgumentError`] in Redis' order: first the cursor, then the options.
pub fn scan(words: Words<'_>) -> Result<ScanOptions<'_>, ArgumentError> {
    let cursor = cursor(words.word(1)).ok_or(ArgumentError::Cursor)?;
    let mut options = ScanOptions { cursor, count: DEFAULT_SCAN_COUNT, pattern: None, kind: None };
    let mut rest = words.from(2).iter();
    while let Some(option) = rest.next() {
        let value = rest.next().ok_or(ArgumentError::Syntax)?;
        if is(option, "count") {
            let count = integer(value)?;
            options.count = match u64::try_from(count) {
                Ok(count @ 1..) => count,
                _ => return Err(ArgumentError::Syntax),
            };
        } else if is(option, "match") {
            options.pattern = (value != b"*").then_some(value);
        } else if is(option, "type") {
            options.kind = Some(value);
        } else {
            return Err(ArgumentError::Syntax);
        }
    }
    Ok(options)
}

/// A cursor as C's `strtoul` reads it, which Redis uses: a sign is allowed and a minus wraps
/// around, nothing at all is nought, and a zero byte ends it.
fn cursor(word: &[u8]) -> Option<u64> {
    let end = word.iter().position(|byte| *byte == 0).unwrap_or(word.len());
    let (negative, digits) = match &word[..end] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        // A sign alone is no number, and then `strtoul` stops before it.
        return (end == 0).then_some(0);
    }
    let mut value: u64 = 0;
    for byte in digits {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    Some(if negative { value.wrapping_neg() } else { value })
}

/// What COPY is told after its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// The database to copy to, if one was named.
    pub database: Option<i64>,
    /// Whether a value that is there may be replaced.
    pub replace: bool,
}

/// What COPY source destination is told after these. Whether a database of some number is there is
/// for `is_there` to say, since Redis asks before it reads on.
///
/// # Errors
/// [`ArgumentError`].
pub fn copy(
    words: Words<'_>,
    is_there: impl Fn(i64) -> bool,
) -> Result<CopyOptions, ArgumentError> {
    let mut options = CopyOptions::default();
    let mut rest = words.from(3).iter();
    while let Some(option) = rest.next() {
        if is(option, "replace") {
            options.replace = true;
        } else if is(option, "db") {
            let number = database(rest.next().ok_or(ArgumentError::Syntax)?)?;
            if !is_there(number) {
                return Err(ArgumentError::NoDatabase);
            }
            options.database = Some(number);
        } else {
            return Err(ArgumentError::Syntax);
        }
    }
    Ok(options)
}

/// The number of a database; whether there is one is for the caller to say.
///
/// # Errors
/// [`ArgumentError::NotInteger`], or [`ArgumentError::NotInt`] beyond 32 bits.
pub fn database(word: &[u8]) -> Result<i64, ArgumentError> {
    let number = integer(word)?;
    i32::try_from(number).map(i64::from).map_err(|_| ArgumentError::NotInt)
}

/// The two databases of SWAPDB; whether there are such is for the caller to say.
///
/// # Errors
/// [`ArgumentError::FirstDatabase`] or [`ArgumentError::SecondDatabase`].
pub fn swapdb(words: Words<'_>) -> Result<(i64, i64), ArgumentError> {
    let first = database(words.word(1)).map_err(|_| ArgumentError::FirstDatabase)?;
    let second = database(words.word(2)).map_err(|_| ArgumentError::SecondDatabase)?;
    Ok((first, second))
}

/// FLUSHDB and FLUSHALL take ASYNC or SYNC, which mean the same here.
///
/// # Errors
/// [`ArgumentError::Syntax`].
pub fn flush(words: Words<'_>) -> Result<(), ArgumentError> {
    match words.get(1) {
        None => Ok(()),
        Some(how) if words.len() == 2 && (is(how, "async") || is(how, "sync")) => Ok(()),
        Some(_) => Err(ArgumentError::Syntax),
    }
}
