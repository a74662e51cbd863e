//! Arguments of the commands about the server.

use super::error::shown;
use super::{ArgumentError, integer, is};
use crate::resp::describe::Filter;
use crate::resp::integer as decimal;
use crate::resp::words::Words;

/// How many entries SLOWLOG GET shows where it is not told.
const DEFAULT_SLOWLOG_COUNT: u64 = 10;

/// Which commands COMMAND LIST names.
///
/// # Errors
/// [`ArgumentError::Syntax`].
pub fn command_list(words: Words<'_>) -> Result<Filter<'_>, ArgumentError> {
    let Some(option) = words.get(2) else { return Ok(Filter::All) };
    if words.len() != 5 || !is(option, "filterby") {
        return Err(ArgumentError::Syntax);
    }
    let (by, what) = (words.word(3), words.word(4));
    if is(by, "module") {
        Ok(Filter::Module)
    } else if is(by, "aclcat") {
        Ok(Filter::Category(what))
    } else if is(by, "pattern") {
        Ok(Filter::Pattern(what))
    } else {
        Err(ArgumentError::Syntax)
    }
}

/// For how many other nodes and how many milliseconds WAIT waits; 0 milliseconds is for ever.
///
/// # Errors
/// [`ArgumentError`].
pub fn wait(words: Words<'_>) -> Result<(i64, u64), ArgumentError> {
    let nodes = integer(words.word(1))?;
    let timeout = decimal::parse(words.word(2)).ok_or(ArgumentError::Timeout)?;
    let timeout = u64::try_from(timeout).map_err(|_| ArgumentError::NegativeTimeout)?;
    Ok((nodes, timeout))
}

/// BGSAVE takes SCHEDULE, which changes nothing here.
///
/// # Errors
/// [`ArgumentError::Syntax`].
pub fn bgsave(words: Words<'_>) -> Result<(), ArgumentError> {
    match words.get(1) {
        None => Ok(()),
        Some(option) if words.len() == 2 && is(option, "schedule") => Ok(()),
        Some(_) => Err(ArgumentError::Syntax),
    }
}

/// MEMORY USAGE takes SAMPLES and a count, which changes nothing for strings.
///
/// # Errors
/// [`ArgumentError`].
pub fn memory_usage(words: Words<'_>) -> Result<(), ArgumentError> {
    let mut rest = words.from(3).iter();
    while let Some(option) = rest.next() {
        let value = rest.next().filter(|_| is(option, "samples"));
        if integer(value.ok_or(ArgumentError::Syntax)?)? < 0 {
            return Err(ArgumentError::Syntax);
        }
    }
    Ok(())
}

/// How many entries SLOWLOG GET shows at most.
///
/// # Errors
/// [`ArgumentError::SlowlogCount`] or [`ArgumentError::SlowlogArity`].
pub fn slowlog_get(words: Words<'_>) -> Result<u64, ArgumentError> {
    match words.get(2) {
        None => Ok(DEFAULT_SLOWLOG_COUNT),
        Some(_) if words.len() > 3 => Err(ArgumentError::SlowlogArity(shown(words.word(1)))),
        Some(count) => match decimal::parse(count) {
            // All of them.
            Some(-1) => Ok(u64::MAX),
            count => {
                count.and_then(|count| u64::try_from(count).ok()).ok_or(ArgumentError::SlowlogCount)
            }
        },
    }
}
