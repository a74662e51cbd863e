//! The parser of Redis requests: bytes in, commands out, as ranges into the bytes.
//!
//! A request is an array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`) or an inline line
//! (`GET k\r\n`). What is accepted and what is refused, and with which words, follows Redis
//! 7.0.15: empty lines and arrays of no elements are passed over, a bare line feed ends an inline
//! line, the two bytes after a bulk string are not looked at.
//!
//! Holds:
//! - the same bytes give the same commands however they are cut into reads;
//! - no byte is looked at more than a constant number of times, however slowly they arrive;
//! - nothing is allocated because a header promised it: memory follows bytes that have come;
//! - once warm, a command allocates nothing;
//! - after an error every further call returns that error.
//!
//! Does not know: sockets, what a command means, how replies look.

use super::inline;
use super::integer;
use super::words::{Span, Words};

/// The longest inline line and the longest header line, in bytes.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// The most words a command may have.
pub const MAX_WORDS: u32 = 1_048_576;
/// The longest word, in bytes, unless configured: the longest value.
pub const DEFAULT_MAX_BULK_BYTES: u32 = 8 * 1024 * 1024;
/// The longest command, in bytes, unless configured.
pub const DEFAULT_MAX_COMMAND_BYTES: u32 = 64 * 1024 * 1024;
/// Room for this many words is kept between commands; what a rare giant took is given back.
const KEPT_WORDS: usize = 1024;
/// Room for this many unquoted bytes of inline lines is kept between commands.
const KEPT_UNQUOTED_BYTES: usize = 1024;

/// What a connection may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest word, in bytes (`proto-max-bulk-len`).
    pub bulk_bytes: u32,
    /// The most words of a command.
    pub words: u32,
    /// The longest command with its headers, in bytes.
    pub command_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bulk_bytes: DEFAULT_MAX_BULK_BYTES,
            words: MAX_WORDS,
            command_bytes: DEFAULT_MAX_COMMAND_BYTES,
        }
    }
}

/// What the parser made of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command is whole: [`Parser::words`] has it until the next call, which wants the bytes
    /// after the first `consumed`.
    Command {
        /// How many bytes it took.
        consumed: usize,
    },
    /// Bytes that ask for nothing, such as an empty line; the next call wants what follows them.
    Blank {
        /// How many bytes they were.
        consumed: usize,
    },
    /// The command is not whole yet. The next call wants the same bytes and more.
    More {
        /// How many more are needed at least; greater than 1 only where a bulk string is coming.
        at_least: usize,
    },
}

/// The bytes are not a request; the connection is to be closed once the error is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// An inline line is longer than 64 KiB.
    #[error("ERR Protocol error: too big inline request")]
    LongInline,
    /// An inline line has an odd quote.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The line that counts the words is longer than 64 KiB.
    #[error("ERR Protocol error: too big mbulk count string")]
    LongCountLine,
    /// The line that counts a word's bytes is longer than 64 KiB.
    #[error("ERR Protocol error: too big bulk count string")]
    LongBulkLine,
    /// The count of words is not a number or above the limit.
    #[error("ERR Protocol error: invalid multibulk length")]
    BadCount,
    /// The count of a word's bytes is not a number, negative or above the limit.
    #[error("ERR Protocol error: invalid bulk length")]
    BadLength,
    /// Something other than a bulk string stands in the array.
    #[error("ERR Protocol error: expected '$', got '{}'", printable(*.0))]
    NotBulk(u8),
    /// The command as a whole is longer than the limit.
    #[error("ERR Protocol error: too big request")]
    LongCommand,
}

/// `byte` as it may stand in an error line, which breaks off at a line break. Bytes that are not
/// ASCII are shown as a question mark, since error texts are UTF-8.
const fn printable(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        0..=0x7F => byte as char,
        _ => '?',
    }
}

/// Where in a command the parser stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before its first byte.
    Start,
    /// In an inline line.
    Inline,
    /// In the line that counts the words.
    Count,
    /// In the line that counts a word's bytes.
    Header,
    /// In a word of this many bytes.
    Bulk(usize),
    /// Nowhere: the bytes are not a request.
    Failed(ProtocolError),
}

/// A parser of one connection's requests.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    stage: Stage,
    /// Everything of the command before this position has been understood.
    at: usize,
    /// How many bytes from `at` on are known not to end the line.
    searched: usize,
    /// How many words are still to come.
    left: u32,
    /// The words of the command so far.
    spans: Vec<Span>,
    /// The words of an inline line, without quotes. Spans point here where it is an inline line.
    unquoted: Vec<u8>,
    /// Whether the last command was an inline line.
    inline: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Parser {
    /// A parser at the beginning of a connection.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            stage: Stage::Start,
            at: 0,
            searched: 0,
            left: 0,
            spans: Vec::new(),
            unquoted: Vec::new(),
            inline: false,
        }
    }

    /// The command that the last call of `next` found in `buf`, its name first.
    #[inline]
    #[must_use]
    pub fn words<'a>(&'a self, buf: &'a [u8]) -> Words<'a> {
        Words::new(if self.inline { &self.unquoted } else { buf }, &self.spans)
    }

    /// Goes on in `buf`, which begins with the first byte that no earlier step consumed.
    ///
    /// # Errors
    /// [`ProtocolError`], and the same one ever after.
    pub fn next(&mut self, buf: &[u8]) -> Result<Step, ProtocolError> {
        let step = self.advance(buf);
        if let Err(error) = step {
            self.stage = Stage::Failed(error);
        }
        step
    }

    fn advance(&mut self, buf: &[u8]) -> Result<Step, ProtocolError> {
        loop {
            match self.stage {
                Stage::Start => {
                    let Some(first) = buf.first() else { return Ok(Step::More { at_least: 1 }) };
                    self.begin(*first == b'*');
                }
                Stage::Inline => return self.inline_line(buf),
                Stage::Count => match self.count(buf)? {
                    Line::Partial => return Ok(Step::More { at_least: 1 }),
                    Line::Number { value: 0, next } => return Ok(self.end_blank(next)),
                    Line::Number { value, next } => {
                        self.left = value;
                        self.enter(Stage::Header, next);
                    }
                },
                Stage::Header => match self.bulk_header(buf)? {
                    Line::Partial => return Ok(Step::More { at_least: 1 }),
                    Line::Number { value, next } => self.enter(Stage::Bulk(value as usize), next),
                },
                Stage::Bulk(length) => {
                    let end = self.at + length;
                    // The two bytes after it are counted but not looked at, as in Redis.
                    if buf.len() < end + 2 {
                        return Ok(Step::More { at_least: end + 2 - buf.len() });
                    }
                    self.spans.push(Span::new(self.at, end));
                    self.left -= 1;
                    if self.left == 0 {
                        self.stage = Stage::Start;
                        return Ok(Step::Command { consumed: end + 2 });
                    }
                    self.enter(Stage::Header, end + 2);
                }
                Stage::Failed(error) => return Err(error),
            }
        }
    }

    /// Forgets the last command and begins one.
    fn begin(&mut self, array: bool) {
        self.spans.clear();
        self.spans.shrink_to(KEPT_WORDS);
        self.inline = !array;
        if !array {
            self.unquoted.clear();
            self.unquoted.shrink_to(KEPT_UNQUOTED_BYTES);
        }
        self.enter(if array { Stage::Count } else { Stage::Inline }, 0);
    }

    fn enter(&mut self, stage: Stage, at: usize) {
        self.stage = stage;
        self.at = at;
        self.searched = 0;
    }

    fn end_blank(&mut self, consumed: usize) -> Step {
        self.stage = Stage::Start;
        self.spans.clear();
        Step::Blank { consumed }
    }

    /// The whole of an inline line, if it has come.
    fn inline_line(&mut self, buf: &[u8]) -> Result<Step, ProtocolError> {
        let Some(end) = self.find(buf, b'\n') else {
            return if self.line_is_long() {
                Err(ProtocolError::LongInline)
            } else {
                Ok(Step::More { at_least: 1 })
            };
        };
        let line = &buf[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        inline::split(line, &mut self.unquoted, &mut self.spans)
            .map_err(|_| ProtocolError::UnbalancedQuotes)?;
        if self.spans.is_empty() {
            return Ok(self.end_blank(end + 1));
        }
        self.stage = Stage::Start;
        Ok(Step::Command { consumed: end + 1 })
    }

    /// The line that counts the words; none or fewer is nought.
    fn count(&mut self, buf: &[u8]) -> Result<Line, ProtocolError> {
        let (number, next) = match plain_number(buf, self.at) {
            Some((value, next)) => (Some(i64::from(value)), next),
            None => match self.line(buf) {
                Some((line, next)) => (integer::parse(line), next),
                None if self.line_is_long() => return Err(ProtocolError::LongCountLine),
                None => return Ok(Line::Partial),
            },
        };
        let count = number.ok_or(ProtocolError::BadCount)?.max(0);
        match u32::try_from(count) {
            Ok(count) if count > self.limits.words => Err(ProtocolError::BadCount),
            Ok(value) => Ok(Line::Number { value, next }),
            Err(_) => Err(ProtocolError::BadCount),
        }
    }

    /// The line that counts a word's bytes.
    fn bulk_header(&mut self, buf: &[u8]) -> Result<Line, ProtocolError> {
        let (number, next) = match plain_number(buf, self.at) {
            Some((value, next)) if buf[self.at] == b'$' => (Some(i64::from(value)), next),
            _ => match self.line(buf) {
                Some((line, next)) if buf[self.at] == b'$' => (integer::parse(line), next),
                Some(_) => return Err(ProtocolError::NotBulk(buf[self.at])),
                None if self.line_is_long() => return Err(ProtocolError::LongBulkLine),
                None => return Ok(Line::Partial),
            },
        };
        let length = number.and_then(|number| u32::try_from(number).ok());
        match length {
            Some(value) if value <= self.limits.bulk_bytes => {
                if next + value as usize + 2 > self.limits.command_bytes as usize {
                    Err(ProtocolError::LongCommand)
                } else {
                    Ok(Line::Number { value, next })
                }
            }
            _ => Err(ProtocolError::BadLength),
        }
    }

    /// What stands between the first byte of the line at hand and its carriage return, and where
    /// the next line begins, once the byte after the carriage return has come too.
    fn line<'a>(&mut self, buf: &'a [u8]) -> Option<(&'a [u8], usize)> {
        let end = self.find(buf, b'\r')?;
        // The carriage return may come first of all; the line is then the empty one.
        (end + 1 < buf.len()).then(|| (buf.get(self.at + 1..end).unwrap_or_default(), end + 2))
    }

    /// Whether the search for the end of the line at hand has come further than a line may be long.
    const fn line_is_long(&self) -> bool {
        self.searched > MAX_LINE_BYTES
    }

    /// Where the first `end` from `at` on is, within the longest line. Bytes searched once are not
    /// searched again.
    fn find(&mut self, buf: &[u8], end: u8) -> Option<usize> {
        let limit = buf.len().min(self.at + MAX_LINE_BYTES + 1);
        let from = self.at + self.searched;
        let found = buf.get(from..limit)?.iter().position(|byte| *byte == end);
        self.searched = found.map_or(limit, |found| from + found) - self.at;
        found.map(|found| from + found)
    }
}

/// What became of a header line.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// It has not come whole.
    Partial,
    /// It said this, and the next byte after it is at `next`.
    Number { value: u32, next: usize },
}

/// The number of a header as every client writes it: up to eight digits right after the byte at
/// `at`, a carriage return, and one more byte. Anything else goes the careful way.
#[inline]
fn plain_number(buf: &[u8], at: usize) -> Option<(u32, usize)> {
    let line = buf.get(at + 1..)?;
    let first = line.first()?.wrapping_sub(b'0');
    if first > 9 || (first == 0 && line.get(1) != Some(&b'\r')) {
        return None;
    }
    let mut value = u32::from(first);
    for (index, byte) in line.iter().enumerate().skip(1).take(8) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let whole = *byte == b'\r' && index + 1 < line.len();
            return whole.then_some((value, at + 1 + index + 2));
        }
        value = value * 10 + u32::from(digit);
    }
    None
}

#[cfg(test)]
mod tests;
