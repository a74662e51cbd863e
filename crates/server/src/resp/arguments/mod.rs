//! What the words after a command's name mean: options, times, numbers.
//!
//! Pure functions from words to values, with Redis' words for everything that is wrong with them
//! and in Redis' order where several things are. The words include the command's name, and their
//! number is that of the table.
//!
//! Does not know: keys and values that are stored, connections, replies.

mod clients;
mod error;
mod keys;
mod server;
mod strings;
mod time;

pub use clients::{
    ClientFilter, ClientInfoField, ClientKill, ClientKind, Hello, client_kill, client_list,
    client_name, client_setinfo, hello,
};
pub use error::ArgumentError;
pub use keys::{CopyOptions, ScanOptions, copy, database, expire, flush, scan, swapdb};
pub use server::{bgsave, command_list, memory_usage, slowlog_get, wait};
pub use strings::{
    GetEx, LcsOptions, SetOptions, decrement, getex, lcs, offset, pairs, set, setex,
};
pub use time::TimeUnit;

use super::integer as decimal;

/// A decimal 64-bit integer.
///
/// # Errors
/// [`ArgumentError::NotInteger`].
#[inline]
pub fn integer(word: &[u8]) -> Result<i64, ArgumentError> {
    decimal::parse(word).ok_or(ArgumentError::NotInteger)
}

/// ON or OFF.
///
/// # Errors
/// [`ArgumentError::Syntax`].
pub fn on_or_off(word: &[u8]) -> Result<bool, ArgumentError> {
    if is(word, "on") {
        Ok(true)
    } else if is(word, "off") {
        Ok(false)
    } else {
        Err(ArgumentError::Syntax)
    }
}

/// Whether `word` is this token, in either case.
#[inline]
fn is(word: &[u8], token: &str) -> bool {
    word.eq_ignore_ascii_case(token.as_bytes())
}

#[cfg(test)]
mod tests;
