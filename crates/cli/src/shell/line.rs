//! A typed line cut into arguments, with quotes as redis-cli has them.
//!
//! Holds: in double quotes `\n \r \t \b \a \xHH` and `\` before anything else are read as
//! escapes, in single quotes only `\'`; a closing quote is followed by a blank or the end.
//! Does not know: commands.

/// Cuts a line into arguments.
pub(crate) fn split(line: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut rest = line.as_bytes();
    let mut words = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, after) = word(rest)?;
        words.push(word);
        rest = after;
    }
}

/// The first argument of what does not begin with a blank, and what follows it.
fn word(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Ok((word, rest)),
            [blank, ..] if blank.is_ascii_whitespace() => return Ok((word, rest)),
            [b'"', inside @ ..] => {
                rest = quoted(inside, &mut word)?;
                return end_of_word(word, rest);
            }
            [b'\'', inside @ ..] => {
                rest = single_quoted(inside, &mut word)?;
                return end_of_word(word, rest);
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn end_of_word(word: Vec<u8>, rest: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    match rest.first() {
        Some(byte) if !byte.is_ascii_whitespace() => {
            Err("a blank is missing after a closing quote")
        }
        _ => Ok((word, rest)),
    }
}

fn quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], &'static str> {
    loop {
        match rest {
            [] => return Err("a closing \" is missing"),
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], &'static str> {
    loop {
        match rest {
            [] => return Err("a closing ' is missing"),
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_and_quotes() {
        for (line, words) in [
            ("", &[][..]),
            ("  get  a ", &[&b"get"[..], b"a"]),
            (r#"set a "x y""#, &[b"set", b"a", b"x y"]),
            (r#"set a "\x00\xfF\n\"\\q""#, &[b"set", b"a", b"\x00\xff\n\"\\q"]),
            (r"set 'it\'s' '\n'", &[b"set", b"it's", b"\\n"]),
            (r#"set a """#, &[b"set", b"a", b""]),
            (r#""\xg1""#, &[b"xg1"]),
        ] {
            let split = split(line).unwrap();
            assert_eq!(split, words, "{line}");
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in ["\"", "set a 'b", "\"a\"b", "'a'b", "\"\\"] {
            assert!(split(line).is_err(), "{line}");
        }
    }

    proptest! {
        /// Any bytes can be typed.
        #[test]
        fn escaped_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let typed: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            prop_assert_eq!(split(&format!("\"{typed}\"")).unwrap(), [bytes]);
        }

        #[test]
        fn no_line_panics(line in any::<String>()) {
            let _ = split(&line);
        }
    }
}
