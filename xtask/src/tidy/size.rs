//! The size of files and functions.
//!
//! A file stops at 1,000 lines of code that is not a test and is named from 600 on. A function
//! stops at 70 lines; those that were longer when the rule came stand in a ratchet with their
//! length, and may only shrink.

use super::masked::Masked;
use super::tested::TestFiles;
use crate::root::SourceFile;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const FILE_LINES: usize = 1_000;
const FILE_LINES_NAMED: usize = 600;
const FUNCTION_LINES: usize = 70;

/// Files over the limit; those on their way to it go to the notes.
pub(super) fn check_files(files: &[SourceFile], notes: &mut Vec<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for file in code(files) {
        let lines = Masked::new(&file.text).code_lines();
        if lines > FILE_LINES {
            problems.push(format!("{}: {lines} lines; divide it below {FILE_LINES}", file.path));
        } else if lines > FILE_LINES_NAMED {
            notes.push(format!("{}: {lines} lines", file.path));
        }
    }
    problems
}

/// Every function longer than allowed, outside tests, as `path::name` with its length. Of two
/// with one name in one file the longer counts.
pub(super) fn long_functions(files: &[SourceFile]) -> BTreeMap<String, usize> {
    let mut long = BTreeMap::new();
    for file in code(files) {
        let masked = Masked::new(&file.text);
        for (name, lines) in functions(&masked) {
            if lines > FUNCTION_LINES {
                let longest = long.entry(format!("{}::{name}", file.path)).or_insert(0);
                *longest = lines.max(*longest);
            }
        }
    }
    long
}

/// The source files that are not tests as a whole.
fn code(files: &[SourceFile]) -> impl Iterator<Item = &SourceFile> {
    let tests = TestFiles::of(files);
    files.iter().filter(move |file| file.path.ends_with(".rs") && !tests.contains(&file.path))
}

/// The functions outside tests that have a body, with the lines from `fn` to the closing brace.
fn functions(masked: &Masked) -> Vec<(&str, usize)> {
    let text = masked.text();
    let mut functions = Vec::new();
    for (at, _) in text.match_indices("fn ") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let name = &text[at + 3..];
        let end = name.find(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
        let name = &name[..end.unwrap_or(name.len())];
        let line = masked.line_of(at);
        if name.is_empty() || masked.is_test_line(line) {
            continue;
        }
        if let Some(end) = masked.end_of_body(at) {
            functions.push((name, masked.line_of(end - 1) - line + 1));
        }
    }
    functions
}

/// The functions that may be longer, and how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ratchet {
    allowed: BTreeMap<String, usize>,
}

impl Ratchet {
    /// Reads `"path::name" = lines`, one to a line, after a heading and comments.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut allowed = BTreeMap::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') || line == "[functions]" {
                continue;
            }
            let entry = line.split_once('=').and_then(|(name, lines)| {
                let name = name.trim().strip_prefix('"')?.strip_suffix('"')?;
                Some((name.to_owned(), lines.trim().parse().ok()?))
            });
            let Some((name, lines)) = entry else {
                bail!("the ratchet has no meaning for: {line}")
            };
            allowed.insert(name, lines);
        }
        Ok(Self { allowed })
    }

    /// What is longer than allowed, and what the ratchet no longer needs.
    pub(super) fn check(&self, long: &BTreeMap<String, usize>) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, lines) in long {
            let allowed = self.allowed.get(name).copied().unwrap_or(FUNCTION_LINES);
            if *lines > allowed {
                problems.push(format!("{name}: {lines} lines, {allowed} allowed"));
            }
        }
        for name in self.allowed.keys().filter(|name| !long.contains_key(*name)) {
            problems.push(format!("{name}: no longer too long; `cargo xtask fix` forgets it"));
        }
        problems
    }

    /// The same with what has shrunk at its new length.
    pub(super) fn tightened(&self, long: &BTreeMap<String, usize>) -> Self {
        let still = self.allowed.iter().filter_map(|(name, allowed)| {
            long.get(name).map(|lines| (name.clone(), (*lines).min(*allowed)))
        });
        Self { allowed: still.collect() }
    }

    /// Whether nothing is allowed to be longer.
    pub(super) fn is_empty(&self) -> bool {
        self.allowed.is_empty()
    }

    /// The file's text.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::from(
            "# Functions longer than 70 lines. An entry may shrink or go, never grow or come.\n\
             [functions]\n",
        );
        for (name, lines) in &self.allowed {
            let _infallible = writeln!(text, "\"{name}\" = {lines}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: String) -> SourceFile {
        SourceFile { path: "crates/a/src/b.rs".to_owned(), text }
    }

    #[test]
    fn files_stop_at_a_thousand_lines_of_code() {
        let mut notes = Vec::new();
        let of = |lines: usize| [file("// line\n".repeat(lines))];
        assert_eq!(check_files(&of(1_001), &mut notes).len(), 1);
        assert!(notes.is_empty());
        assert!(check_files(&of(601), &mut notes).is_empty());
        assert_eq!(notes.len(), 1);
        let mut tests = "#[cfg(test)]\nmod tests {\n".to_owned();
        tests.push_str(&"// line\n".repeat(1_100));
        tests.push_str("}\n");
        assert!(check_files(&[file(tests)], &mut notes).is_empty());
        assert_eq!(notes.len(), 1);
    }

    #[test]
    fn a_function_ends_at_its_own_brace() {
        let source = "fn a() {\n    if b { c() }\n}\ntrait D { fn e(&self, f: [u8; 4]); }\n\
                      const fn g() -> [u8; 2]\nwhere\n{\n    [1, 2]\n}\ntype H = fn (u8);\n";
        let masked = Masked::new(source);
        assert_eq!(functions(&masked), [("a", 3), ("g", 5)]);
    }

    #[test]
    fn the_ratchet_only_tightens() {
        let body = |lines: usize| format!("fn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2));
        let long = long_functions(&[file(body(80))]);
        let name = "crates/a/src/b.rs::long";
        assert_eq!(long.get(name), Some(&80));
        assert_eq!(Ratchet::default().check(&long), [format!("{name}: 80 lines, 70 allowed")]);
        let ratchet = Ratchet::parse(&format!("# Why.\n[functions]\n\"{name}\" = 90\n")).unwrap();
        assert!(ratchet.check(&long).is_empty());
        let tightened = ratchet.tightened(&long);
        assert_eq!(Ratchet::parse(&tightened.to_text()).unwrap(), tightened);
        let grown = long_functions(&[file(body(81))]);
        assert_eq!(tightened.check(&grown), [format!("{name}: 81 lines, 80 allowed")]);
        let short = long_functions(&[file(body(70))]);
        assert_eq!(tightened.check(&short).len(), 1);
        assert!(tightened.tightened(&short).is_empty());
        assert!(Ratchet::parse("nonsense").is_err());
    }
}
