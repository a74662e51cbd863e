//! From the words of a command to its entry in the table.

use super::{COMMANDS, COUNT, Command};
use crate::resp::reply::Reply;
use crate::resp::words::Words;

/// How many places the index has: four a name, so that names rarely meet.
const PLACES: usize = (COUNT * 4).next_power_of_two();
/// The longest name that the index can hold, in bytes.
const MAX_NAME_BYTES: usize = 15;
/// How much of a client's words an error repeats, in bytes.
const MAX_QUOTED_BYTES: usize = 128;

/// A place of the index.
#[derive(Clone, Copy)]
struct Place {
    /// The folded name; zero in an empty place.
    name: u128,
    /// Its entry.
    command: Option<&'static Command>,
}

/// Names by their hash; where two meet, the second is in the next free place.
static INDEX: [Place; PLACES] = {
    let mut places = [Place { name: 0, command: None }; PLACES];
    let mut index = 0;
    while index < COUNT {
        let name = COMMANDS[index].name.as_bytes();
        assert!(name.len() <= MAX_NAME_BYTES, "the name is too long for the index");
        let name = fold(name);
        let mut place = place_of(name);
        while places[place].name != 0 {
            assert!(places[place].name != name, "two commands have the same name");
            place = (place + 1) % PLACES;
        }
        places[place] = Place { name, command: Some(COMMANDS[index]) };
        index += 1;
    }
    places
};

/// A name of at most [`MAX_NAME_BYTES`] in lower case and its length, as one number that is never
/// zero for a name that is not empty.
#[inline]
const fn fold(name: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    bytes.split_at_mut(name.len()).0.copy_from_slice(name);
    bytes.make_ascii_lowercase();
    // The length keeps `get` and `get\0` apart.
    u128::from_le_bytes(bytes) | (name.len() as u128) << 120
}

/// Where a folded name belongs: its two halves mixed by a multiplication, whose top bits depend on
/// all bits below them.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "halves of the number, then fewer bits yet")]
const fn place_of(name: u128) -> usize {
    let halves = (name as u64) ^ ((name >> 64) as u64).rotate_left(29);
    let mixed = halves.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> (u64::BITS - PLACES.trailing_zeros())) as usize
}

/// The command of this name, in either case.
#[inline]
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Command> {
    if name.len() > MAX_NAME_BYTES || name.is_empty() {
        return None;
    }
    let name = fold(name);
    let mut place = place_of(name);
    loop {
        let Place { name: there, command } = INDEX[place];
        if there == name {
            return command;
        }
        if there == 0 {
            return None;
        }
        place = (place + 1) % PLACES;
    }
}

/// The subcommand of `command` of this name, in either case.
fn find_subcommand(command: &Command, name: &[u8]) -> Option<&'static Command> {
    let is_it = |entry: &&Command| entry.short_name().as_bytes().eq_ignore_ascii_case(name);
    command.subcommands.iter().find(is_it)
}

/// The command or, as `container|name`, subcommand of this full name.
#[must_use]
pub fn find_full(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|byte| *byte == b'|') {
        None => find(name),
        Some(bar) => find_subcommand(find(&name[..bar])?, &name[bar + 1..]),
    }
}

/// The command or subcommand that `words` begin with, whether or not their number is right.
///
/// # Errors
/// [`Unresolved::Command`] or [`Unresolved::Subcommand`].
pub fn find_words(words: Words<'_>) -> Result<&'static Command, Unresolved> {
    let command = find(words.word(0)).ok_or(Unresolved::Command)?;
    match words.get(1) {
        Some(second) if !command.subcommands.is_empty() => {
            find_subcommand(command, second).ok_or(Unresolved::Subcommand)
        }
        _ => Ok(command),
    }
}

/// The command or subcommand that `words` call, if it is there and takes as many.
///
/// # Errors
/// [`Unresolved`], which has Redis' words for it.
#[inline]
pub fn resolve(words: Words<'_>) -> Result<&'static Command, Unresolved> {
    let command = find_words(words)?;
    if command.takes(words.len()) { Ok(command) } else { Err(Unresolved::Arity(command)) }
}

/// Why words are no command.
#[derive(Clone, Copy, Debug)]
pub enum Unresolved {
    /// There is none of this name.
    Command,
    /// The command has no such subcommand.
    Subcommand,
    /// The command takes another number of words.
    Arity(&'static Command),
}

impl Unresolved {
    /// Says so, as Redis does.
    pub fn write(self, words: Words<'_>, reply: &mut Reply<'_>) {
        let mut text = Vec::new();
        match self {
            Self::Command => {
                text.extend_from_slice(b"ERR unknown command '");
                text.extend_from_slice(quoted(words.word(0), MAX_QUOTED_BYTES));
                text.extend_from_slice(b"', with args beginning with: ");
                let start = text.len();
                for word in words.from(1).iter() {
                    let taken = text.len() - start;
                    if taken >= MAX_QUOTED_BYTES {
                        break;
                    }
                    text.push(b'\'');
                    text.extend_from_slice(quoted(word, MAX_QUOTED_BYTES - taken));
                    text.extend_from_slice(b"' ");
                }
            }
            Self::Subcommand => {
                text.extend_from_slice(b"ERR unknown subcommand '");
                text.extend_from_slice(quoted(words.word(1), MAX_QUOTED_BYTES));
                text.extend_from_slice(b"'. Try ");
                text.extend_from_slice(&words.word(0).to_ascii_uppercase());
                text.extend_from_slice(b" HELP.");
            }
            Self::Arity(command) => {
                let name = command.name;
                return reply.error(format!("ERR wrong number of arguments for '{name}' command"));
            }
        }
        reply.error(text);
    }
}

/// What of a word an error repeats: what a C string shows of it, up to `limit` bytes.
fn quoted(word: &[u8], limit: usize) -> &[u8] {
    let end = word.iter().take(limit).position(|byte| *byte == 0);
    &word[..end.unwrap_or(word.len().min(limit))]
}
