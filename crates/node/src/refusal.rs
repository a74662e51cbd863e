//! The table of errors: every reason a node gives for not doing what it was asked.
//!
//! Holds: a code never changes its meaning. Each row says how the Redis protocol and HTTP show
//! it, whether the request may have taken effect all the same, and whether asking again helps.
//! The documentation and a test of completeness come from [`Code::ALL`].

use shoal_core::map::MapError;
use shoal_core::update::UpdateError;
use shoal_storage::EngineError;
use std::borrow::Cow;

/// Why a request was refused, with what a person needs to know about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// A sentence for a person, without the code.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with a message of its own.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }
}

macro_rules! codes {
    ($( $variant:ident $text:literal $prefix:literal $status:literal $happened:literal $retry:literal $meaning:literal ),+ $(,)?) => {
        /// The stable code of a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $( #[doc = $meaning] $variant, )+
        }

        impl Code {
            /// Every code there is, in the order of the documentation.
            pub const ALL: &[Self] = &[$( Self::$variant ),+];

            /// The row of the table that describes this code.
            #[must_use]
            pub const fn row(self) -> Row {
                match self {
                    $( Self::$variant => Row {
                        code: $text,
                        resp_prefix: $prefix,
                        http_status: $status,
                        may_have_happened: $happened,
                        retry_helps: $retry,
                        meaning: $meaning,
                    }, )+
                }
            }
        }
    };
}

/// One row of the table of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The code, as JSON shows it.
    pub code: &'static str,
    /// The first word of a Redis error.
    pub resp_prefix: &'static str,
    /// The HTTP status.
    pub http_status: u16,
    /// Whether the request may have taken effect.
    pub may_have_happened: bool,
    /// Whether the same request may succeed later.
    pub retry_helps: bool,
    /// What it means.
    pub meaning: &'static str,
}

codes! {
    // variant         code                 RESP        HTTP happened retry
    BadRequest        "bad_request"         "ERR"        400 false false "The request could not be understood.",
    BadKey            "bad_key"             "ERR"        400 false false "The key is empty or longer than 16,384 bytes.",
    ValueTooLarge     "value_too_large"     "ERR"        413 false false "The value is longer than the limit.",
    TooLarge          "too_large"           "ERR"        413 false false "The message is larger than the limit.",
    HeadTooLarge      "head_too_large"      "ERR"        431 false false "The head of the HTTP request, its target included, is larger than the limit.",
    BadName           "bad_name"            "ERR"        400 false false "A keyspace cannot have this name.",
    BadOption         "bad_option"          "ERR"        400 false false "An option has a value that it cannot have.",
    NotInteger        "not_integer"         "ERR"        409 false false "The value is not a decimal 64-bit integer.",
    NotFloat          "not_float"           "ERR"        409 false false "The value is not a number.",
    Overflow          "overflow"            "ERR"        409 false false "The result would not fit 64 bits.",
    NotFound          "not_found"           "ERR"        404 false false "The key has no value.",
    NoRoute           "no_route"            "ERR"        404 false false "There is nothing at this path.",
    MethodNotAllowed  "method_not_allowed"  "ERR"        405 false false "This path does not take this method.",
    NoKeyspace        "no_keyspace"         "NOKEYSPACE" 404 false false "There is no keyspace of this name or number.",
    KeyspaceExists    "keyspace_exists"     "EXISTS"     409 false false "A keyspace of this name or number exists already.",
    ConditionFailed   "condition_failed"    "ERR"        412 false false "If-Match or If-None-Match was not met.",
    Superseded        "superseded"          "SUPERSEDED" 409 false false "What is stored is newer than the given event time.",
    TooOld            "too_old"             "ERR"        409 false false "The event time is older than the keyspace's event horizon.",
    TooNew            "too_new"             "ERR"        409 false true  "The event time is further ahead than clocks may differ.",
    TryAgain          "try_again"           "TRYAGAIN"   503 false true  "The keyspace or its owners changed meanwhile, or are not known yet; the same request may succeed now.",
    NoEventTime       "no_event_time"       "ERR"        409 false false "A keyspace that evicts takes no event times.",
    ClockSkewed       "clock_skewed"        "ERR"        503 false true  "This node's clock is out of bounds; it takes no writes until it is right.",
    MemoryFull        "memory_full"         "OOM"        507 false true  "The memory limit is met; remove something or raise the limit.",
    DiskFull          "disk_full"           "DISKFULL"   507 false true  "The disk is down to its reserve; removals are still taken.",
    StorageStopped    "storage_stopped"     "STORAGE"    503 true  false "A write or sync failed; the node must be restarted.",
    Corrupt           "corrupt"             "CORRUPT"    500 false false "Stored bytes are damaged and are not handed out.",
    Storage           "storage"             "STORAGE"    500 false true  "The operating system refused a read or a file.",
    StaleDirectory    "stale_directory"     "ERR"        503 false false "The data directory is an old copy: another one was started since.",
    MapInDoubt        "map_in_doubt"        "STORAGE"    503 true  false "The catalogue's file was half replaced, or a map half taken over; the node must be restarted.",
    NoMajority        "no_majority"         "NOMAJORITY" 503 false true  "The voters that decide the map are not reachable; reads and writes go on.",
    NoQuorum          "no_quorum"           "NOQUORUM"   503 false true  "Too few of the key's replicas could be reached for the level; nothing was written.",
    Conflict          "conflict"            "CONFLICT"   409 false true  "Other changes of the key came between every time; nothing was written.",
    CrossSlot         "cross_slot"          "CROSSSLOT"  400 false false "Among several nodes these keys must share a slot.",
    Unknown           "unknown"             "UNKNOWN"    503 true  false "It was sent and not confirmed in time; it may have happened, or may yet.",
    NameInUse         "name_in_use"         "ERR"        409 false false "A node of this name is in the cluster; take another name, or replace that node.",
    LastReplica       "last_replica"        "ERR"        409 false false "A partition would lose the last replica that may come back.",
    UnknownNode       "unknown_node"        "ERR"        404 false false "The cluster has no such node.",
    NodeGone          "node_gone"           "ERR"        409 false false "The node is gone for good already.",
    NodeInPlace       "node_in_place"       "ERR"        409 false true  "The node is not gone, or partitions still name it.",
    NobodyTakes       "nobody_takes"        "ERR"        409 false true  "No node takes anything new; add one or give one a weight.",
    BadProfile        "bad_profile"         "ERR"        400 false false "What a node says about itself is out of bounds or has the wrong form.",
    TooMany           "too_many"            "ERR"        409 false false "A bound on what one cluster may have is met.",
    ForeignOrigin     "foreign_origin"      "ERR"        403 false false "A web page of another site asked; a loopback listener serves local callers only.",
    TooManyClients    "too_many_clients"    "ERR"        503 false true  "The limit of connections is reached.",
    Timeout           "timeout"             "ERR"        408 false true  "The request came too slowly.",
}

/// What is answered where something was sent and no more is known.
pub(crate) fn unknown() -> Refusal {
    Refusal::new(Code::Unknown, "write may have happened")
}

impl From<UpdateError> for Refusal {
    fn from(error: UpdateError) -> Self {
        let code = match error {
            UpdateError::NotInteger => Code::NotInteger,
            UpdateError::Overflow | UpdateError::NotFinite => Code::Overflow,
            UpdateError::NotFloat => Code::NotFloat,
            UpdateError::TooLong => Code::ValueTooLarge,
        };
        Self::new(code, error.to_string())
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::MemoryFull => {
                Self::new(Code::MemoryFull, "command not allowed when used memory > 'maxmemory'.")
            }
            EngineError::DiskFull { .. } => Self::new(Code::DiskFull, error.to_string()),
            EngineError::Poisoned(_) => Self::new(Code::StorageStopped, error.to_string()),
            EngineError::Corrupt { .. } => Self::new(Code::Corrupt, error.to_string()),
            EngineError::Io(_) => Self::new(Code::Storage, error.to_string()),
            EngineError::NoSpace(_) => Self::new(Code::NoKeyspace, "the keyspace is gone"),
        }
    }
}

impl From<MapError> for Refusal {
    fn from(error: MapError) -> Self {
        let code = match error {
            MapError::UnknownKeyspace { .. } | MapError::UnknownDatabase { .. } => Code::NoKeyspace,
            MapError::KeyspaceExists { .. } | MapError::DatabaseTaken { .. } => {
                Code::KeyspaceExists
            }
            MapError::InvalidName { .. } => Code::BadName,
            MapError::StaleDirectory { .. } => Code::StaleDirectory,
            MapError::NameInUse { .. } | MapError::WrongReplacement { .. } => Code::NameInUse,
            MapError::LastReplica { .. } => Code::LastReplica,
            MapError::UnknownNode { .. } => Code::UnknownNode,
            MapError::NodeGone { .. } => Code::NodeGone,
            MapError::NotGone { .. } | MapError::StillNamed { .. } => Code::NodeInPlace,
            MapError::NobodyTakes => Code::NobodyTakes,
            MapError::InvalidProfile { .. } => Code::BadProfile,
            MapError::TooMany { .. } | MapError::Exhausted { .. } => Code::TooMany,
            // The partition has changed since, or there is no map yet.
            MapError::StaleEpoch { .. }
            | MapError::InvalidOwners { .. }
            | MapError::Pointless { .. }
            | MapError::NoIntent { .. }
            | MapError::NotOutgoing { .. }
            | MapError::NotFounded => Code::TryAgain,
            MapError::AlreadyFounded | MapError::ZeroId => Code::BadRequest,
            MapError::DefaultStays
            | MapError::InvalidDatabase { .. }
            | MapError::InvalidOption { .. }
            | MapError::EventTimeAndEviction { .. } => Code::BadOption,
        };
        Self::new(code, error.to_string())
    }
}

/// Why a request was not carried out here and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// A disk may have to be waited for; nothing was done. Ask again where waiting is allowed.
    Cold,
    /// Answers from other nodes are waited for. Run the command again, from its beginning, once
    /// its [`Errands`](crate::Errands) are answered.
    Away,
    /// The request is refused.
    Refused(Refusal),
}

impl<E: Into<Refusal>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}
