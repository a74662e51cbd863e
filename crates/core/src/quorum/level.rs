//! Levels: how many replicas must answer before a client is answered.

/// How many replicas of each owner set a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// One. Fast, and promises nothing about what other requests see.
    One,
    /// More than half: quorum reads see quorum writes.
    #[default]
    Quorum,
    /// All of them.
    All,
}

/// How many of `replicas` are more than half.
#[must_use]
pub const fn quorum(replicas: usize) -> usize {
    replicas / 2 + 1
}

impl Level {
    /// How many of `replicas` must answer.
    #[must_use]
    pub const fn of(self, replicas: usize) -> usize {
        match self {
            Self::One => 1,
            Self::Quorum => quorum(replicas),
            Self::All => replicas,
        }
    }
}
