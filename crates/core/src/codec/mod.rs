//! Bytes that outlive the process or leave it: records, maps, commands and messages, each with a
//! version marker.
//!
//! Holds: what is stored is decoded for ever, held by fixtures under `fixtures/`. Damaged
//! bytes give a [`CodecError`], never a panic and never a wrong value.

pub mod batch;
pub mod command;
pub mod forward;
mod frame;
mod keyspace;
pub mod map;
pub mod message;
pub mod record;

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end before what they announce.
    #[error("the bytes end early")]
    Truncated,
    /// The checksum does not match: the bytes were damaged.
    #[error("the checksum does not match")]
    Checksum,
    /// Written by a newer Shoal, or not by Shoal at all.
    #[error("format version {0} is not known to this version of Shoal")]
    UnknownVersion(u8),
    /// The bytes are whole but say something impossible.
    #[error("{0}")]
    Invalid(&'static str),
}
