//! The table of commands: one list from which dispatch, COMMAND, help and the documentation come.
//!
//! Facts (names, arities, flags, keys, arguments) are those of Redis 7.0.15, so that clients which
//! ask COMMAND behave towards Shoal as towards Redis; CLIENT SETINFO and CLIENT NO-TOUCH are those
//! of 7.2, USE, CONSISTENCY and AT are Shoal's own. What is not here does not exist: it gets Redis' answer to an unknown
//! command.
//!
//! Holds: the table and the index over its names are made by the compiler; looking up a name
//! allocates nothing and compares one number in the usual case.

pub mod argument;
mod cluster;
mod connection;
pub mod entry;
mod generic;
pub mod id;
pub mod keys;
mod lookup;
mod server;
mod strings;
mod transactions;

pub use entry::{Category, Command, Flag, Group};
pub use id::Id;
pub use lookup::{Unresolved, find, find_full, find_words, resolve};

/// The table in parts, one a heading.
const GROUPS: [&[Command]; 6] = [
    strings::STRINGS,
    generic::GENERIC,
    transactions::TRANSACTIONS,
    connection::CONNECTION,
    server::SERVER,
    cluster::CLUSTER,
];

/// How many commands there are, subcommands not counted.
pub const COUNT: usize = {
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

/// All commands, by heading.
pub static COMMANDS: [&Command; COUNT] = {
    let mut all = [&GROUPS[0][0]; COUNT];
    let (mut next, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut index = 0;
        while index < GROUPS[group].len() {
            all[next] = &GROUPS[group][index];
            next += 1;
            index += 1;
        }
        group += 1;
    }
    all
};

/// All commands and subcommands, each command followed by its own.
pub fn everything() -> impl Iterator<Item = &'static Command> {
    COMMANDS
        .iter()
        .copied()
        .flat_map(|command| std::iter::once(command).chain(command.subcommands.iter()))
}

#[cfg(test)]
mod tests;
