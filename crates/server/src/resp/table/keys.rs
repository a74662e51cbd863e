//! Where a command's keys are among its words, and what is done to them.

use crate::resp::words::Words;

/// What a command does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// Reads the value or something of it, changes nothing.
    ReadOnly,
    /// Reads the value and changes it.
    ReadWrite,
    /// Replaces the value, whatever it was.
    Overwrite,
    /// Removes the key.
    Remove,
    /// The client learns of the value.
    Access,
    /// The value is changed.
    Update,
    /// Something is added to it, nothing of it changed.
    Insert,
    /// Something of it is removed.
    Delete,
    /// Which of these holds depends on the other words.
    Variable,
}

impl KeyUse {
    /// Its name in COMMAND.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "RO",
            Self::ReadWrite => "RW",
            Self::Overwrite => "OW",
            Self::Remove => "RM",
            Self::Access => "access",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::Delete => "delete",
            Self::Variable => "variable_flags",
        }
    }
}

/// A run of keys among a command's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// What is done to them.
    pub uses: &'static [KeyUse],
    /// The index of the first, the command's name being 0.
    pub first: u8,
    /// How many words after the first the last one is; if negative, counted from the last word,
    /// which is -1.
    pub last: i8,
    /// From one key to the next.
    pub step: u8,
    /// A remark on the uses, if one is due.
    pub notes: Option<&'static str>,
}

impl KeySpec {
    /// One key at index `first`.
    pub(super) const fn one(first: u8, uses: &'static [KeyUse]) -> Self {
        Self { uses, first, last: 0, step: 1, notes: None }
    }

    /// Two keys, the first at index 1.
    pub(super) const fn pair(uses: &'static [KeyUse]) -> Self {
        Self { uses, first: 1, last: 1, step: 1, notes: None }
    }

    /// Every `step`th word from index 1 to the end.
    pub(super) const fn all(step: u8, uses: &'static [KeyUse]) -> Self {
        Self { uses, first: 1, last: -1, step, notes: None }
    }

    pub(super) const fn notes(mut self, sentence: &'static str) -> Self {
        self.notes = Some(sentence);
        self
    }

    /// The index of the last key, counted from the end where it is negative.
    #[must_use]
    pub fn last_index(&self) -> i64 {
        if self.last < 0 {
            i64::from(self.last)
        } else {
            i64::from(self.first) + i64::from(self.last)
        }
    }

    /// The keys that it finds in `words`.
    pub fn find<'a>(&self, words: Words<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let first = usize::from(self.first);
        let end = if self.last < 0 {
            words.len().saturating_sub(usize::from(self.last.unsigned_abs()) - 1)
        } else {
            words.len().min(first + usize::from(self.last.unsigned_abs()) + 1)
        };
        (first..end).step_by(usize::from(self.step)).filter_map(move |index| words.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::words::OwnedWords;

    #[test]
    fn keys_are_found_where_the_spec_says() {
        let check = |spec: KeySpec, line: &str, expected: &[&str]| {
            let words: OwnedWords = line.split(' ').collect();
            let keys: Vec<&[u8]> = spec.find(words.view()).collect();
            let expected: Vec<&[u8]> = expected.iter().map(|key| key.as_bytes()).collect();
            assert_eq!(keys, expected, "{line}");
        };
        check(KeySpec::one(1, &[]), "get a", &["a"]);
        check(KeySpec::one(2, &[]), "object freq a", &["a"]);
        check(KeySpec::pair(&[]), "lcs a b idx", &["a", "b"]);
        check(KeySpec::all(1, &[]), "del a b c", &["a", "b", "c"]);
        check(KeySpec::all(2, &[]), "mset a 1 b 2", &["a", "b"]);
        check(KeySpec::all(2, &[]), "mset a 1 b", &["a", "b"]);
        check(KeySpec::all(1, &[]), "del", &[]);
        check(KeySpec::pair(&[]), "lcs a", &["a"]);
    }
}
