//! The names of keyspaces and nodes, and the numbers that Redis clients know keyspaces by.
//!
//! Holds: `default` is database 0 and `db1` to `db15` are databases 1 to 15, always; every other
//! name has a number only if one from 16 to [`MAX_DATABASE`] was bound to it.

use super::{MAX_DATABASE, MapError};

/// The longest name of a keyspace or node, in bytes.
pub const MAX_NAME: usize = 64;
/// The keyspace that every cluster has, database 0.
pub const DEFAULT_KEYSPACE: &str = "default";
/// The last of the databases that have a name of their own.
const LAST_RESERVED: u16 = 15;

/// The name that database `number` has by itself: 0 to 15 have one.
#[must_use]
pub fn database_name(number: u16) -> Option<String> {
    match number {
        0 => Some(DEFAULT_KEYSPACE.to_owned()),
        1..=LAST_RESERVED => Some(format!("db{number}")),
        _ => None,
    }
}

/// The number that `name` has by itself: `default` and `db1` to `db15` have one.
#[must_use]
pub fn number_of(name: &str) -> Option<u16> {
    (0..=LAST_RESERVED).find(|number| database_name(*number).is_some_and(|own| own == name))
}

/// Refuses what cannot be a keyspace's name.
pub(super) fn check_keyspace_name(name: &str) -> Result<(), MapError> {
    let refuse = |why| Err(MapError::InvalidName { name: shown(name), why });
    if name.is_empty() || name.len() > MAX_NAME {
        return refuse("it wants 1 to 64 characters");
    }
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if !name.bytes().all(plain) {
        return refuse("it may have a-z, 0-9, _ and - only");
    }
    if name.starts_with(['-', '_']) {
        return refuse("it must begin with a letter or digit");
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(name) {
        return refuse("a number alone would be mistaken for a database number");
    }
    if name.strip_prefix("db").is_some_and(is_number) && number_of(name).is_none() {
        return refuse("db and a number stands for databases 1 to 15 only");
    }
    Ok(())
}

/// Refuses what cannot be a node's name.
pub(super) fn check_node_name(name: &str) -> Result<(), MapError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
        let why = "it wants 1 to 64 letters, digits, dots, _ and -";
        return Err(MapError::InvalidName { name: shown(name), why });
    }
    Ok(())
}

/// The number that a keyspace called `name` gets when `asked` was asked for.
pub(super) fn binding(name: &str, asked: Option<u16>) -> Result<Option<u16>, MapError> {
    let refuse = |number, why| Err(MapError::InvalidDatabase { number, why });
    match (number_of(name), asked) {
        (own, None) => Ok(own),
        (Some(own), Some(asked)) if own == asked => Ok(asked.into()),
        (Some(_), Some(asked)) => refuse(asked, "default and db1 to db15 have their own numbers"),
        (None, Some(asked)) if asked <= LAST_RESERVED => {
            refuse(asked, "0 to 15 belong to default and db1 to db15")
        }
        (None, Some(asked)) if asked > MAX_DATABASE => {
            refuse(asked, "database numbers end at 1023")
        }
        (None, Some(asked)) => Ok(Some(asked)),
    }
}

/// A refused name as an error may carry it: not longer than a good one.
fn shown(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}
