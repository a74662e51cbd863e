//! Splitting a typed line into words by Redis' quoting rules.
//!
//! Words are separated by blanks. Between double quotes `\n \r \t \b \a` and `\xHH` stand for the
//! usual bytes and any other escaped byte for itself; between single quotes only `\'` is special.
//! A closing quote must be followed by a blank or the end.

use super::words::Span;

/// The line has a quote that is never closed, or one that closes in the middle of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unbalanced quotes")]
pub struct UnbalancedQuotes;

/// What the C library's `isspace` calls a blank.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0B | 0x0C | b'\r')
}

/// Splits `line`, adding the words' bytes to `bytes` and a span for each to `spans`.
///
/// # Errors
/// [`UnbalancedQuotes`]; what was added until then stays.
pub fn split(
    line: &[u8],
    bytes: &mut Vec<u8>,
    spans: &mut Vec<Span>,
) -> Result<(), UnbalancedQuotes> {
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_blank(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = bytes.len();
        rest = word(rest, bytes)?;
        spans.push(Span::new(start, bytes.len()));
    }
}

/// Takes one word off `rest`, which does not begin with a blank.
fn word<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        match rest {
            // Vertical tab and form feed separate words but do not end one, as in Redis.
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', tail @ ..] => return double_quoted(tail, bytes),
            [b'\'', tail @ ..] => return single_quoted(tail, bytes),
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Takes what is left of a double-quoted word, its closing quote included.
fn double_quoted<'a>(
    mut rest: &'a [u8],
    bytes: &mut Vec<u8>,
) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        (rest, _) = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', tail @ ..] => return closed(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (tail, bytes.push(hex(*high) << 4 | hex(*low)))
            }
            [b'\\', escaped, tail @ ..] => (tail, bytes.push(unescape(*escaped))),
            [byte, tail @ ..] => (tail, bytes.push(*byte)),
        };
    }
}

/// Takes what is left of a single-quoted word, its closing quote included.
fn single_quoted<'a>(
    mut rest: &'a [u8],
    bytes: &mut Vec<u8>,
) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        (rest, _) = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\\', b'\'', tail @ ..] => (tail, bytes.push(b'\'')),
            [b'\'', tail @ ..] => return closed(tail),
            [byte, tail @ ..] => (tail, bytes.push(*byte)),
        };
    }
}

/// What follows a closing quote must be a blank or nothing.
fn closed(tail: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match tail.first() {
        Some(byte) if !is_blank(*byte) => Err(UnbalancedQuotes),
        _ => Ok(tail),
    }
}

/// The value of a hexadecimal digit, which the caller has checked to be one.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// What a backslash makes of the byte after it.
const fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::Words;
    use super::*;
    use proptest::prelude::*;

    fn check(line: &str, expected: Result<&[&[u8]], UnbalancedQuotes>) {
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        let result = split(line.as_bytes(), &mut bytes, &mut spans);
        let words: Vec<&[u8]> = Words::new(&bytes, &spans).iter().collect();
        assert_eq!(result.map(|()| words.as_slice()), expected, "{line}");
    }

    #[test]
    fn lines_split_as_redis_splits_them() {
        check("", Ok(&[]));
        check(" \t ", Ok(&[]));
        check("  PING  ", Ok(&[b"PING"]));
        check("set k\tv", Ok(&[b"set", b"k", b"v"]));
        check(r#"set k "a b""#, Ok(&[b"set", b"k", b"a b"]));
        check(r#""\x41\x0a\n\r\t\b\a\q\"" "#, Ok(&[b"A\n\n\r\t\x08\x07q\""]));
        check(r#""\x4" "\xZZ""#, Ok(&[b"x4", b"xZZ"]));
        check(r"'a\'b' 'c\n'", Ok(&[b"a'b", b"c\\n"]));
        check(r#"ab"cd" ef'gh'"#, Ok(&[b"abcd", b"efgh"]));
        check(r#""" ''"#, Ok(&[b"", b""]));
        check("a\x0Bb \x0B c", Ok(&[b"a\x0Bb", b"c"]));
    }

    #[test]
    fn quotes_must_close_at_the_end_of_a_word() {
        for line in [r#""a"#, "'a", r#""a"b"#, "'a'b", r#""a\"#, r#""a\""#, r"'a\'", r#""""x""#] {
            let (mut bytes, mut spans) = (Vec::new(), Vec::new());
            assert_eq!(
                split(line.as_bytes(), &mut bytes, &mut spans),
                Err(UnbalancedQuotes),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn every_word_survives_being_quoted(
            words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6)
        ) {
            let mut line = Vec::new();
            for word in &words {
                line.push(b'"');
                for byte in word {
                    line.extend_from_slice(format!("\\x{byte:02X}").as_bytes());
                }
                line.extend_from_slice(b"\" ");
            }
            let (mut bytes, mut spans) = (Vec::new(), Vec::new());
            split(&line, &mut bytes, &mut spans).expect("quotes are balanced");
            let split: Vec<Vec<u8>> =
                Words::new(&bytes, &spans).iter().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(split, words);
        }
    }
}
