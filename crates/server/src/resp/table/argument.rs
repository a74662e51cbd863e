//! What may follow a command's name, as a tree: what COMMAND DOCS tells, and what help is made of.

use std::fmt;

/// What stands at a place among the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any bytes.
    String,
    /// An integer.
    Integer,
    /// A number with a fraction.
    Double,
    /// A key, found by the key spec of this index.
    Key(u8),
    /// A glob pattern.
    Pattern,
    /// A time since the Unix epoch.
    UnixTime,
    /// The token itself and nothing else.
    PureToken,
    /// One of several arguments.
    OneOf(&'static [Argument]),
    /// Several arguments in a row.
    Block(&'static [Argument]),
}

impl Kind {
    /// Its name in COMMAND DOCS.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key(_) => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf(_) => "oneof",
            Self::Block(_) => "block",
        }
    }
}

/// One argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The word that stands before it, or that it is.
    pub token: Option<&'static str>,
    /// The version of Redis that brought it, where later than its command.
    pub since: Option<&'static str>,
    /// The version of Redis that deprecated it.
    pub deprecated_since: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
}

impl Argument {
    /// An argument of this name and kind that must stand exactly once.
    pub(super) const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            token: None,
            since: None,
            deprecated_since: None,
            optional: false,
            multiple: false,
        }
    }

    pub(super) const fn token(mut self, token: &'static str) -> Self {
        self.token = Some(token);
        self
    }

    pub(super) const fn since(mut self, version: &'static str) -> Self {
        self.since = Some(version);
        self
    }

    pub(super) const fn deprecated(mut self, version: &'static str) -> Self {
        self.deprecated_since = Some(version);
        self
    }

    pub(super) const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub(super) const fn multiple(mut self) -> Self {
        self.multiple = true;
        self
    }

    /// The arguments that it is made of.
    #[must_use]
    pub const fn parts(&self) -> &'static [Self] {
        match self.kind {
            Kind::OneOf(parts) | Kind::Block(parts) => parts,
            _ => &[],
        }
    }
}

/// A key, found by the key spec of index `spec`.
pub(super) const fn key(name: &'static str, spec: u8) -> Argument {
    Argument::new(name, Kind::Key(spec))
}

pub(super) const fn string(name: &'static str) -> Argument {
    Argument::new(name, Kind::String)
}

pub(super) const fn integer(name: &'static str) -> Argument {
    Argument::new(name, Kind::Integer)
}

pub(super) const fn double(name: &'static str) -> Argument {
    Argument::new(name, Kind::Double)
}

pub(super) const fn pattern(name: &'static str) -> Argument {
    Argument::new(name, Kind::Pattern)
}

pub(super) const fn unix_time(name: &'static str) -> Argument {
    Argument::new(name, Kind::UnixTime)
}

/// A word that stands for itself.
pub(super) const fn word(name: &'static str, token: &'static str) -> Argument {
    Argument::new(name, Kind::PureToken).token(token)
}

pub(super) const fn one_of(name: &'static str, parts: &'static [Argument]) -> Argument {
    Argument::new(name, Kind::OneOf(parts))
}

pub(super) const fn block(name: &'static str, parts: &'static [Argument]) -> Argument {
    Argument::new(name, Kind::Block(parts))
}

/// Writes it as usage texts do: `[EX seconds|PX milliseconds]`, `key [key ...]`.
impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.optional {
            f.write_str("[")?;
        }
        self.write_once(f)?;
        if self.multiple {
            f.write_str(" [")?;
            self.write_once(f)?;
            f.write_str(" ...]")?;
        }
        if self.optional {
            f.write_str("]")?;
        }
        Ok(())
    }
}

impl Argument {
    fn write_once(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(token) = self.token {
            f.write_str(token)?;
            if self.kind == Kind::PureToken {
                return Ok(());
            }
            f.write_str(" ")?;
        }
        let (parts, between) = match self.kind {
            Kind::OneOf(parts) => (parts, "|"),
            Kind::Block(parts) => (parts, " "),
            _ => return f.write_str(self.name),
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                f.write_str(between)?;
            }
            write!(f, "{part}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_reads_as_in_the_manual() {
        const EXPIRY: &[Argument] =
            &[integer("seconds").token("EX"), word("keepttl", "KEEPTTL").since("6.0.0")];
        const PAIR: &[Argument] = &[key("key", 0), string("value")];
        for (argument, expected) in [
            (one_of("expiration", EXPIRY).optional(), "[EX seconds|KEEPTTL]"),
            (block("data", PAIR).multiple(), "key value [key value ...]"),
            (key("key", 0).multiple().optional(), "[key [key ...]]"),
            (string("type").token("TYPE").optional(), "[TYPE type]"),
        ] {
            assert_eq!(argument.to_string(), expected);
        }
    }
}
