//! One name for each command that can be run: what the dispatcher matches on.

/// What runs a command.
///
/// A test walks the table and runs every command, so that none is left without a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Id {
    /// Nothing: a name that only means something with a subcommand after it.
    Container,
    /// GET.
    Get,
    /// SET.
    Set,
    /// SETNX.
    SetNx,
    /// SETEX.
    SetEx,
    /// PSETEX.
    PSetEx,
    /// GETSET.
    GetSet,
    /// GETDEL.
    GetDel,
    /// GETEX.
    GetEx,
    /// MGET.
    MGet,
    /// MSET.
    MSet,
    /// MSETNX.
    MSetNx,
    /// APPEND.
    Append,
    /// STRLEN.
    StrLen,
    /// GETRANGE.
    GetRange,
    /// SUBSTR.
    Substr,
    /// SETRANGE.
    SetRange,
    /// INCR.
    Incr,
    /// DECR.
    Decr,
    /// INCRBY.
    IncrBy,
    /// DECRBY.
    DecrBy,
    /// INCRBYFLOAT.
    IncrByFloat,
    /// LCS.
    Lcs,
    /// DEL.
    Del,
    /// UNLINK.
    Unlink,
    /// EXISTS.
    Exists,
    /// TOUCH.
    Touch,
    /// TYPE.
    Type,
    /// EXPIRE.
    Expire,
    /// PEXPIRE.
    PExpire,
    /// EXPIREAT.
    ExpireAt,
    /// PEXPIREAT.
    PExpireAt,
    /// TTL.
    Ttl,
    /// PTTL.
    PTtl,
    /// EXPIRETIME.
    ExpireTime,
    /// PEXPIRETIME.
    PExpireTime,
    /// PERSIST.
    Persist,
    /// KEYS.
    Keys,
    /// SCAN.
    Scan,
    /// RANDOMKEY.
    RandomKey,
    /// RENAME.
    Rename,
    /// RENAMENX.
    RenameNx,
    /// COPY.
    Copy,
    /// MOVE.
    Move,
    /// OBJECT ENCODING.
    ObjectEncoding,
    /// OBJECT IDLETIME.
    ObjectIdleTime,
    /// OBJECT FREQ.
    ObjectFreq,
    /// OBJECT REFCOUNT.
    ObjectRefCount,
    /// OBJECT HELP.
    ObjectHelp,
    /// WAIT.
    Wait,
    /// DBSIZE.
    DbSize,
    /// FLUSHDB.
    FlushDb,
    /// FLUSHALL.
    FlushAll,
    /// SWAPDB.
    SwapDb,
    /// COMMAND.
    Command,
    /// COMMAND COUNT.
    CommandCount,
    /// COMMAND LIST.
    CommandList,
    /// COMMAND INFO.
    CommandInfo,
    /// COMMAND DOCS.
    CommandDocs,
    /// COMMAND GETKEYS.
    CommandGetKeys,
    /// COMMAND HELP.
    CommandHelp,
    /// INFO.
    Info,
    /// CONFIG GET.
    ConfigGet,
    /// CONFIG SET.
    ConfigSet,
    /// CONFIG RESETSTAT.
    ConfigResetStat,
    /// CONFIG HELP.
    ConfigHelp,
    /// TIME.
    Time,
    /// LASTSAVE.
    LastSave,
    /// SAVE.
    Save,
    /// BGSAVE.
    BgSave,
    /// ROLE.
    Role,
    /// ACL WHOAMI.
    AclWhoAmI,
    /// ACL HELP.
    AclHelp,
    /// MEMORY USAGE.
    MemoryUsage,
    /// MEMORY HELP.
    MemoryHelp,
    /// SLOWLOG GET.
    SlowLogGet,
    /// SLOWLOG LEN.
    SlowLogLen,
    /// SLOWLOG RESET.
    SlowLogReset,
    /// SLOWLOG HELP.
    SlowLogHelp,
    /// LATENCY LATEST.
    LatencyLatest,
    /// LATENCY HISTORY.
    LatencyHistory,
    /// LATENCY RESET.
    LatencyReset,
    /// LATENCY HISTOGRAM.
    LatencyHistogram,
    /// LATENCY GRAPH.
    LatencyGraph,
    /// LATENCY DOCTOR.
    LatencyDoctor,
    /// LATENCY HELP.
    LatencyHelp,
    /// MULTI.
    Multi,
    /// EXEC.
    Exec,
    /// DISCARD.
    Discard,
    /// WATCH.
    Watch,
    /// UNWATCH.
    Unwatch,
    /// PING.
    Ping,
    /// ECHO.
    Echo,
    /// HELLO.
    Hello,
    /// AUTH.
    Auth,
    /// SELECT.
    Select,
    /// USE.
    Use,
    /// RESET.
    Reset,
    /// QUIT.
    Quit,
    /// CLIENT ID.
    ClientId,
    /// CLIENT GETNAME.
    ClientGetName,
    /// CLIENT SETNAME.
    ClientSetName,
    /// CLIENT SETINFO.
    ClientSetInfo,
    /// CLIENT INFO.
    ClientInfo,
    /// CLIENT LIST.
    ClientList,
    /// CLIENT KILL.
    ClientKill,
    /// CLIENT REPLY.
    ClientReply,
    /// CLIENT NO-EVICT.
    ClientNoEvict,
    /// CLIENT NO-TOUCH.
    ClientNoTouch,
    /// CLIENT UNPAUSE.
    ClientUnpause,
    /// CLIENT HELP.
    ClientHelp,
    /// CONSISTENCY.
    Consistency,
    /// AT.
    At,
    /// READONLY.
    ReadOnly,
    /// READWRITE.
    ReadWrite,
    /// ASKING.
    Asking,
    /// CLUSTER INFO.
    ClusterInfo,
    /// CLUSTER MYID.
    ClusterMyId,
    /// CLUSTER KEYSLOT.
    ClusterKeySlot,
    /// CLUSTER SLOTS.
    ClusterSlots,
    /// CLUSTER SHARDS.
    ClusterShards,
    /// CLUSTER NODES.
    ClusterNodes,
    /// CLUSTER COUNTKEYSINSLOT.
    ClusterCountKeysInSlot,
    /// CLUSTER GETKEYSINSLOT.
    ClusterGetKeysInSlot,
    /// CLUSTER HELP.
    ClusterHelp,
}
