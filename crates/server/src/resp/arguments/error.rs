//! Everything that can be wrong with a command's arguments, in Redis' words.

/// Why arguments are refused. Nothing has been done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A word stands where it cannot, or one is missing.
    #[error("ERR syntax error")]
    Syntax,
    /// The number of words is wrong in a way that the table does not tell.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(&'static str),
    /// Not a decimal 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// An integer that does not fit 32 bits.
    #[error("ERR value is out of range, value must between -2147483648 and 2147483647")]
    NotInt,
    /// A database that is not there.
    #[error("ERR DB index is out of range")]
    NoDatabase,
    /// A time that is not positive, or too late to be written down.
    #[error("ERR invalid expire time in '{0}' command")]
    ExpireTime(&'static str),
    /// An option that EXPIRE does not have.
    #[error("ERR Unsupported option {0}")]
    UnsupportedOption(String),
    /// NX beside another condition.
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    NxAndOthers,
    /// GT beside LT.
    #[error("ERR GT and LT options at the same time are not compatible")]
    GtAndLt,
    /// A negative offset.
    #[error("ERR offset is out of range")]
    Offset,
    /// The smallest integer, which has no opposite.
    #[error("ERR decrement would overflow")]
    Decrement,
    /// LEN beside IDX.
    #[error("ERR If you want both the length and indexes, please just use IDX.")]
    LcsLengthAndIndexes,
    /// Not a cursor.
    #[error("ERR invalid cursor")]
    Cursor,
    /// The first database of SWAPDB is not a number.
    #[error("ERR invalid first DB index")]
    FirstDatabase,
    /// The second database of SWAPDB is not a number.
    #[error("ERR invalid second DB index")]
    SecondDatabase,
    /// A client's number that is none.
    #[error("ERR client-id should be greater than 0")]
    ClientId,
    /// A client's number that is none, in CLIENT LIST.
    #[error("ERR Invalid client ID")]
    ListedClientId,
    /// A kind of client that there is not.
    #[error("ERR Unknown client type '{0}'")]
    ClientType(String),
    /// A name of a client that would break the lines of CLIENT LIST.
    #[error("ERR Client names cannot contain spaces, newlines or special characters.")]
    ClientName,
    /// A library's name or version that would do so.
    #[error("ERR {0} cannot contain spaces, newlines or special characters.")]
    ClientInfo(String),
    /// Something CLIENT SETINFO cannot set.
    #[error("ERR Unrecognized option '{0}'")]
    ClientInfoOption(String),
    /// There is no such user, or the password is another.
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPassword,
    /// HELLO's version is not a number.
    #[error("ERR Protocol version is not an integer or out of range")]
    ProtocolVersion,
    /// HELLO's version is neither 2 nor 3.
    #[error("NOPROTO unsupported protocol version")]
    UnsupportedProtocol,
    /// A word that HELLO does not take.
    #[error("ERR Syntax error in HELLO option '{0}'")]
    HelloOption(String),
    /// A timeout that is not an integer.
    #[error("ERR timeout is not an integer or out of range")]
    Timeout,
    /// A timeout below zero.
    #[error("ERR timeout is negative")]
    NegativeTimeout,
    /// A length of the slow log below -1.
    #[error("ERR count should be greater than or equal to -1")]
    SlowlogCount,
    /// Too many words after a subcommand that checks their number by itself.
    #[error("ERR unknown subcommand or wrong number of arguments for '{0}'. Try SLOWLOG HELP.")]
    SlowlogArity(String),
}

/// What an error repeats of a word: all that a C string holds, broken bytes replaced.
pub(super) fn shown(word: &[u8]) -> String {
    let end = word.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&word[..end.unwrap_or(word.len())]).into_owned()
}
