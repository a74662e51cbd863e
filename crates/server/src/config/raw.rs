//! What the user wrote: words, with the place they were written in.
//!
//! Holds: nothing is understood here. A number, a truth value and a text are all words until
//! [`resolve`](super::resolve) reads them, so that a file, the environment and the command line
//! follow the same rules.

use super::fields::{FIELDS, Raw};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};

/// What was written for one setting: one word, or several in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl From<&str> for Words {
    fn from(word: &str) -> Self {
        Self(vec![word.to_owned()])
    }
}

impl From<String> for Words {
    fn from(word: String) -> Self {
        Self(vec![word])
    }
}

impl From<Vec<String>> for Words {
    fn from(words: Vec<String>) -> Self {
        Self(words)
    }
}

impl From<bool> for Words {
    fn from(value: bool) -> Self {
        Self(vec![value.to_string()])
    }
}

impl From<u64> for Words {
    fn from(value: u64) -> Self {
        Self(vec![value.to_string()])
    }
}

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [word] => serializer.serialize_str(word),
            words => words.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordsVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number, true, false, or a list of texts")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Words, E> {
        Ok(word.into())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Words, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Words, E> {
        Ok(value.to_string().into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Words, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = list.next_element::<String>()? {
            words.push(word);
        }
        Ok(Words(words))
    }
}

/// Where a setting's value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere.
    Default,
    /// In this file.
    File(PathBuf),
    /// In the environment.
    Environment,
    /// On the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// Something wrong with the settings: a sentence that names the setting, where it was written
/// and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(pub String);

impl Raw {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// A [`Problem`], if the file cannot be read, is no TOML, or has a setting that does not
    /// exist.
    pub fn from_file(path: &Path) -> Result<Self, Problem> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problem(format!(
                "The configuration file {} cannot be read ({error}); give another with --config.",
                path.display()
            ))
        })?;
        Self::from_toml(&text).map_err(|error| {
            Problem(format!(
                "The configuration file {} is wrong: {error} `shoal config show` lists every \
                 setting.",
                path.display()
            ))
        })
    }

    /// Reads the text of a TOML file.
    ///
    /// # Errors
    /// A sentence that says what is wrong and in which line.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| {
                let before = text.get(..span.start).unwrap_or_default();
                before.matches('\n').count() + 1
            });
            let what = error.message();
            match line {
                Some(line) => format!("line {line}: {what}."),
                None => format!("{what}."),
            }
        })
    }

    /// Takes from environment variables what the table names; other variables are none of ours.
    /// A list is written with commas.
    pub fn from_environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut raw = Self::default();
        for (name, value) in variables {
            let Some(field) = FIELDS.iter().find(|field| field.variable == name) else { continue };
            let words = if field.is_list() {
                value.split(',').map(|word| word.trim().to_owned()).collect()
            } else {
                vec![value]
            };
            raw.set(field.name, Words(words));
        }
        raw
    }
}
