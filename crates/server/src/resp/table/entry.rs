//! One entry of the command table: everything that is known of a command.
//!
//! Holds: an entry is built in const context, so the table costs nothing at start and a slip in it
//! does not compile; what follows from other fields (categories of access, the old first-last-step
//! triple) is derived and not written twice.

use super::argument::Argument;
use super::id::Id;
use super::keys::KeySpec;

/// How a command behaves. The names are those of Redis' COMMAND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// It may change keys.
    Write,
    /// It reads keys and changes none.
    ReadOnly,
    /// It is refused while memory is short.
    DenyOom,
    /// It is for administrators.
    Admin,
    /// It may not be called from a script.
    NoScript,
    /// It is answered while data is still being loaded.
    Loading,
    /// It is answered by a replica that has lost its source.
    Stale,
    /// It stays out of the slow log.
    SkipSlowlog,
    /// It takes constant or logarithmic time.
    Fast,
    /// It needs no authentication.
    NoAuth,
    /// It is answered while a script runs.
    AllowBusy,
    /// It is refused while data is being loaded in the background.
    NoAsyncLoading,
    /// It may not stand in a transaction.
    NoMulti,
}

impl Flag {
    /// All of them, in the order in which COMMAND lists them.
    pub const ALL: [Self; 13] = [
        Self::Write,
        Self::ReadOnly,
        Self::DenyOom,
        Self::Admin,
        Self::NoScript,
        Self::Loading,
        Self::Stale,
        Self::SkipSlowlog,
        Self::Fast,
        Self::NoAuth,
        Self::AllowBusy,
        Self::NoAsyncLoading,
        Self::NoMulti,
    ];

    /// Its name in COMMAND.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::ReadOnly => "readonly",
            Self::DenyOom => "denyoom",
            Self::Admin => "admin",
            Self::NoScript => "noscript",
            Self::Loading => "loading",
            Self::Stale => "stale",
            Self::SkipSlowlog => "skip_slowlog",
            Self::Fast => "fast",
            Self::NoAuth => "no_auth",
            Self::AllowBusy => "allow_busy",
            Self::NoAsyncLoading => "no_async_loading",
            Self::NoMulti => "no_multi",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A category of access, as users are granted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Keys of any kind.
    Keyspace,
    /// What reads.
    Read,
    /// What writes.
    Write,
    /// Values that are strings.
    String,
    /// Administration.
    Admin,
    /// What is fast.
    Fast,
    /// What is not.
    Slow,
    /// What can hurt others.
    Dangerous,
    /// What concerns the connection alone.
    Connection,
    /// Transactions.
    Transaction,
}

impl Category {
    /// All of them, in the order in which COMMAND lists them.
    pub const ALL: [Self; 10] = [
        Self::Keyspace,
        Self::Read,
        Self::Write,
        Self::String,
        Self::Admin,
        Self::Fast,
        Self::Slow,
        Self::Dangerous,
        Self::Connection,
        Self::Transaction,
    ];

    /// Its name, without the `@` that COMMAND puts before it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keyspace => "keyspace",
            Self::Read => "read",
            Self::Write => "write",
            Self::String => "string",
            Self::Admin => "admin",
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Dangerous => "dangerous",
            Self::Connection => "connection",
            Self::Transaction => "transaction",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Under which heading a command is documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Values that are strings.
    String,
    /// Keys of any kind.
    Generic,
    /// Transactions.
    Transactions,
    /// The connection itself.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
}

impl Group {
    /// Its name in COMMAND DOCS.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Generic => "generic",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }
}

/// Since when a command is out of favour, and what to use instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deprecated {
    /// The version of Redis.
    pub since: &'static str,
    /// What to use instead.
    pub replaced_by: &'static str,
}

/// A command or subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// What runs it.
    pub id: Id,
    /// Its full name in lower case; a subcommand's is `container|name`.
    pub name: &'static str,
    /// How many words it takes, its name included; if negative, at least as many.
    pub arity: i32,
    /// Its heading.
    pub group: Group,
    /// The version of Redis that brought it.
    pub since: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    /// Its flags, one bit each.
    flags: u32,
    /// Its categories beside those that its flags imply, one bit each.
    categories: u32,
    /// Hints for clients that spread commands over a cluster.
    pub tips: &'static [&'static str],
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Whether and why it should no longer be used.
    pub deprecated: Option<Deprecated>,
    /// In what it differs from the command of Redis 7.0.15, in a sentence or two.
    pub differs: Option<&'static str>,
    /// What may follow its name.
    pub arguments: &'static [Argument],
    /// Its subcommands; where there are any, the second word chooses among them.
    pub subcommands: &'static [Self],
}

impl Command {
    /// A command with nothing but a name and a text.
    pub(super) const fn new(id: Id, name: &'static str, arity: i32, group: Group) -> Self {
        Self {
            id,
            name,
            arity,
            group,
            since: "1.0.0",
            summary: "",
            complexity: "O(1)",
            flags: 0,
            categories: 0,
            tips: &[],
            keys: &[],
            deprecated: None,
            differs: None,
            arguments: &[],
            subcommands: &[],
        }
    }

    pub(super) const fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }

    pub(super) const fn summary(mut self, sentence: &'static str) -> Self {
        self.summary = sentence;
        self
    }

    pub(super) const fn complexity(mut self, cost: &'static str) -> Self {
        self.complexity = cost;
        self
    }

    pub(super) const fn flags(mut self, flags: &[Flag]) -> Self {
        let mut index = 0;
        while index < flags.len() {
            self.flags |= flags[index].bit();
            index += 1;
        }
        self
    }

    pub(super) const fn categories(mut self, categories: &[Category]) -> Self {
        let mut index = 0;
        while index < categories.len() {
            self.categories |= categories[index].bit();
            index += 1;
        }
        self
    }

    pub(super) const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    pub(super) const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    pub(super) const fn deprecated(
        mut self,
        since: &'static str,
        replaced_by: &'static str,
    ) -> Self {
        self.deprecated = Some(Deprecated { since, replaced_by });
        self
    }

    pub(super) const fn differs(mut self, sentences: &'static str) -> Self {
        self.differs = Some(sentences);
        self
    }

    pub(super) const fn arguments(mut self, arguments: &'static [Argument]) -> Self {
        self.arguments = arguments;
        self
    }

    pub(super) const fn subcommands(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Whether it has this flag.
    #[inline]
    #[must_use]
    pub const fn has(&self, flag: Flag) -> bool {
        self.flags & flag.bit() != 0
    }

    /// Whether it belongs to this category, by itself or by its flags.
    #[must_use]
    pub const fn is_in(&self, category: Category) -> bool {
        let implied = match category {
            Category::Write => self.has(Flag::Write),
            Category::Read => self.has(Flag::ReadOnly),
            Category::Admin | Category::Dangerous => self.has(Flag::Admin),
            Category::Fast => self.has(Flag::Fast),
            Category::Slow => !self.has(Flag::Fast),
            _ => false,
        };
        implied || self.categories & category.bit() != 0
    }

    /// Whether a command of `words` words, its name included, has as many as it takes.
    #[inline]
    #[must_use]
    pub const fn takes(&self, words: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= wanted } else { words == wanted }
    }

    /// Its name without its container's.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, short)| short)
    }

    /// The first key, the last and the step between them, as COMMAND has told since its first
    /// version: one run that holds the keys of all specs. The last counts from the end where it
    /// is negative.
    #[must_use]
    pub fn key_range(&self) -> (i64, i64, i64) {
        let Some(first) = self.keys.first() else { return (0, 0, 0) };
        let last = self.keys.last().map_or(0, |spec| spec.last_index());
        (i64::from(first.first), last, i64::from(first.step))
    }
}
