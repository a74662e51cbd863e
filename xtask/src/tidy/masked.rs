//! Rust source with comments and the insides of literals blanked out, so that a search finds code
//! and nothing else.
//!
//! Holds: the masked text has the bytes of the original at the same places, or spaces; lines are
//! the same.
//!
//! Does not know: Rust's grammar. It knows comments, literals and braces, which is enough for
//! source that compiles.

use super::tested::MARKS;
use std::ops::RangeInclusive;

/// One file, masked.
pub(super) struct Masked {
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
    tests: Vec<RangeInclusive<usize>>,
}

impl Masked {
    /// Masks `source`.
    pub(super) fn new(source: &str) -> Self {
        let text = mask(source);
        let mut lines = vec![0];
        lines.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        let mut masked = Self { text, lines, tests: Vec::new() };
        masked.tests = masked.find_tests();
        masked
    }

    /// The text: code as it is, all else as spaces.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The line of a byte, counted from 1.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.lines.partition_point(|start| *start <= byte)
    }

    /// Whether this line, counted from 1, belongs to an item under `#[cfg(test)]`.
    pub(super) fn is_test_line(&self, line: usize) -> bool {
        self.tests.iter().any(|lines| lines.contains(&line))
    }

    /// The modules declared for tests alone, `mod name;`.
    pub(super) fn test_modules(&self) -> Vec<&str> {
        let declared = self.text.match_indices("mod ").filter_map(|(at, _)| {
            let (name, _) = self.text[at + 4..].split_once(';')?;
            let is_name = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
            (is_name && self.is_test_line(self.line_of(at))).then_some(name)
        });
        declared.collect()
    }

    /// How many lines are not tests.
    pub(super) fn code_lines(&self) -> usize {
        let ended = self.text.ends_with('\n') || self.text.is_empty();
        let all = self.lines.len() - usize::from(ended);
        (1..=all).filter(|line| !self.is_test_line(*line)).count()
    }

    /// The byte after the brace that closes the first one opened at or after `from`; `None` when
    /// a `;` comes first, outside any bracket.
    pub(super) fn end_of_body(&self, from: usize) -> Option<usize> {
        let mut depth = 0_usize;
        let mut brackets = 0_usize;
        for (at, letter) in self.text.bytes().enumerate().skip(from) {
            match letter {
                b'(' | b'[' => brackets += 1,
                b')' | b']' => brackets = brackets.saturating_sub(1),
                b';' if depth == 0 && brackets == 0 => return None,
                b'{' => depth += 1,
                b'}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn find_tests(&self) -> Vec<RangeInclusive<usize>> {
        let mut tests = Vec::new();
        for mark in MARKS {
            for (at, _) in self.text.match_indices(&format!("#[{mark}")) {
                // The item after the attribute: to its closing brace, or to a `;` for `mod x;`.
                let after = at + self.text[at..].find(']').unwrap_or(0) + 1;
                let end = self
                    .end_of_body(after)
                    .unwrap_or_else(|| after + self.text[after..].find(';').unwrap_or(0));
                tests.push(self.line_of(at)..=self.line_of(end.saturating_sub(1)));
            }
        }
        tests
    }
}

/// Blanks comments, and what stands between the quotes of literals.
fn mask(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut masked = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let inside = if rest.starts_with(b"//") {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            Some((at, at + end, at + end))
        } else if rest.starts_with(b"/*") {
            let end = at + block_comment(rest);
            Some((at, end, end))
        } else if let Some(open) = string_opening(bytes, at) {
            let end = open.begin + string_end(&bytes[open.begin..], open.hashes);
            Some((open.begin, end, (end + 1 + open.hashes.unwrap_or(0)).min(bytes.len())))
        } else {
            char_end(rest).map(|end| (at + 1, at + end, at + end + 1))
        };
        let Some((begin, end, next)) = inside else {
            at += 1;
            continue;
        };
        for byte in &mut masked[begin..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = next.max(at + 1);
    }
    // Only whole characters were blanked: comments and literals begin and end at ASCII.
    String::from_utf8_lossy(&masked).into_owned()
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

struct Opening {
    /// The first byte inside the quotes.
    begin: usize,
    /// How many `#` a raw string has; `None` for a plain one, in which `\` escapes.
    hashes: Option<usize>,
}

/// Whether a string literal begins at `at`: `"`, or `r"` and `r#"` with any prefix before them.
fn string_opening(bytes: &[u8], at: usize) -> Option<Opening> {
    match bytes[at] {
        b'"' => Some(Opening { begin: at + 1, hashes: None }),
        b'r' => {
            let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
            let prefixed = matches!(before, b'b' | b'c');
            if !prefixed && (before.is_ascii_alphanumeric() || before == b'_') {
                return None;
            }
            let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
            let quote = at + 1 + hashes;
            (bytes.get(quote) == Some(&b'"'))
                .then_some(Opening { begin: quote + 1, hashes: Some(hashes) })
        }
        _ => None,
    }
}

/// Where the string ends whose inside begins `rest`: the offset of its closing quote.
fn string_end(rest: &[u8], hashes: Option<usize>) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match (rest[at], hashes) {
            (b'\\', None) => at += 1,
            (b'"', None) => return at,
            (b'"', Some(hashes)) => {
                let closing = rest[at + 1..].iter().take_while(|byte| **byte == b'#').count();
                if closing >= hashes {
                    return at;
                }
            }
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

/// The offset of the quote that closes a character literal; `None` for a lifetime.
fn char_end(rest: &[u8]) -> Option<usize> {
    if rest.first() != Some(&b'\'') {
        return None;
    }
    if rest.get(1) == Some(&b'\\') {
        return rest.iter().skip(3).position(|byte| *byte == b'\'').map(|at| at + 3);
    }
    // One character, up to four bytes, then the quote.
    let text = &rest[1..rest.len().min(6)];
    let close = text.iter().position(|byte| *byte == b'\'')?;
    let inside = std::str::from_utf8(&text[..close]).ok()?;
    (inside.chars().count() == 1).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, masked: &str) {
        assert_eq!(Masked::new(source).text(), masked);
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check("a // b\nc", "a     \nc");
        check("a /* b /* c */ d */ e", "a                   e");
        check("f(\"a\\\"b\") g", "f(\"    \") g");
        check("r#\"a\"b\"# c", "r#\"   \"# c");
        check("br\"\\\" c", "br\" \" c");
        check("('{', b'}', '\\'', '\\u{7f}') x", "(' ', b' ', '  ', '      ') x");
        check("fn a<'b>(c: &'b str) {}", "fn a<'b>(c: &'b str) {}");
        check("'ä'.x", "'  '.x");
    }

    #[test]
    fn test_items_are_told_apart() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { \"}\"; }\n}\nfn c() {}\n";
        let masked = Masked::new(source);
        let tests: Vec<usize> = (1..=6).filter(|line| masked.is_test_line(*line)).collect();
        assert_eq!(tests, [2, 3, 4, 5]);
        assert_eq!(masked.code_lines(), 2);
        let declared = Masked::new("#[cfg(test)]\nmod tests;\n\nfn c() {\n}\n");
        assert!(declared.is_test_line(2));
        assert!(!declared.is_test_line(4));
    }
}
