//! The stored form of a map [`Command`].
//!
//! Holds: every command has exactly one form. Whether a command makes sense is for
//! [`ClusterMap::apply`](crate::ClusterMap::apply) to say.

use super::CodecError;
use super::frame::{Reader, Writer};
use super::keyspace::{
    read_durability, read_eviction, read_spec, read_ttl, write_durability, write_eviction,
    write_spec, write_ttl,
};
use crate::ids::{ClusterId, NodeId};
use crate::map::{Changes, Command};
use std::collections::BTreeSet;

/// The first four bytes of every stored command.
pub const MAGIC: [u8; 4] = *b"SHCM";
const FORMAT: u8 = 1;

const FOUND: u8 = 1;
const START_NODE: u8 = 2;
const CREATE_KEYSPACE: u8 = 3;
const CREATE_DATABASE: u8 = 4;
const ALTER_KEYSPACE: u8 = 5;
const DROP_KEYSPACE: u8 = 6;
const FLUSH_KEYSPACES: u8 = 7;
const SWAP_DATABASES: u8 = 8;
const ACCEPT_EVENT_TIME: u8 = 9;

/// The bytes that stand for `command`.
#[must_use]
pub fn encode(command: &Command) -> Vec<u8> {
    let mut out = Writer::new(MAGIC, FORMAT);
    match command {
        Command::Found { cluster, node_name, token, hash_seed, default } => {
            out.u8(FOUND);
            out.u128(cluster.0);
            out.text(node_name);
            out.u64(*token);
            out.u64(*hash_seed);
            write_spec(&mut out, default);
        }
        Command::StartNode { node, presented, next } => {
            out.u8(START_NODE);
            out.u32(node.0);
            out.u64(*presented);
            out.u64(*next);
        }
        Command::CreateKeyspace { name, spec, database } => {
            out.u8(CREATE_KEYSPACE);
            out.text(name);
            write_spec(&mut out, spec);
            out.option(*database, Writer::u16);
        }
        Command::CreateDatabase { number } => {
            out.u8(CREATE_DATABASE);
            out.u16(*number);
        }
        Command::AlterKeyspace { name, changes } => {
            out.u8(ALTER_KEYSPACE);
            out.text(name);
            write_changes(&mut out, changes);
        }
        Command::DropKeyspace { name } => {
            out.u8(DROP_KEYSPACE);
            out.text(name);
        }
        Command::FlushKeyspaces { names } => {
            out.u8(FLUSH_KEYSPACES);
            out.count(names.len());
            for name in names {
                out.text(name);
            }
        }
        Command::SwapDatabases { a, b } => {
            out.u8(SWAP_DATABASES);
            out.u16(*a);
            out.u16(*b);
        }
        Command::AcceptEventTime { name } => {
            out.u8(ACCEPT_EVENT_TIME);
            out.text(name);
        }
    }
    out.seal()
}

/// Reads a command.
///
/// # Errors
/// [`CodecError`] where the bytes are damaged or of an unknown version.
pub fn decode(bytes: &[u8]) -> Result<Command, CodecError> {
    let (format, mut input) = Reader::open(bytes, MAGIC)?;
    if format != FORMAT {
        return Err(CodecError::UnknownVersion(format));
    }
    let input = &mut input;
    let command = match input.u8()? {
        FOUND => Command::Found {
            cluster: ClusterId(input.u128()?),
            node_name: input.text()?,
            token: input.u64()?,
            hash_seed: input.u64()?,
            default: read_spec(input)?,
        },
        START_NODE => Command::StartNode {
            node: NodeId(input.u32()?),
            presented: input.u64()?,
            next: input.u64()?,
        },
        CREATE_KEYSPACE => Command::CreateKeyspace {
            name: input.text()?,
            spec: read_spec(input)?,
            database: input.option(Reader::u16)?,
        },
        CREATE_DATABASE => Command::CreateDatabase { number: input.u16()? },
        ALTER_KEYSPACE => {
            Command::AlterKeyspace { name: input.text()?, changes: read_changes(input)? }
        }
        DROP_KEYSPACE => Command::DropKeyspace { name: input.text()? },
        FLUSH_KEYSPACES => Command::FlushKeyspaces { names: read_names(input)? },
        SWAP_DATABASES => Command::SwapDatabases { a: input.u16()?, b: input.u16()? },
        ACCEPT_EVENT_TIME => Command::AcceptEventTime { name: input.text()? },
        _ => return Err(CodecError::Invalid("an unknown command")),
    };
    input.finished()?;
    Ok(command)
}

fn write_changes(out: &mut Writer, changes: &Changes) {
    out.option(changes.default_ttl_ms, |out, ttl| out.option(ttl, write_ttl));
    out.option(changes.durability, write_durability);
    out.option(changes.max_memory, |out, bytes| out.option(bytes, Writer::u64));
    out.option(changes.eviction, write_eviction);
    out.option(changes.replication_target, Writer::u8);
    out.option(changes.event_horizon_ms, Writer::u64);
    out.option(changes.database, |out, number| out.option(number, Writer::u16));
}

fn read_changes(input: &mut Reader<'_>) -> Result<Changes, CodecError> {
    Ok(Changes {
        default_ttl_ms: input.option(|input| input.option(read_ttl))?,
        durability: input.option(read_durability)?,
        max_memory: input.option(|input| input.option(Reader::u64))?,
        eviction: input.option(read_eviction)?,
        replication_target: input.option(Reader::u8)?,
        event_horizon_ms: input.option(Reader::u64)?,
        database: input.option(|input| input.option(Reader::u16))?,
    })
}

fn read_names(input: &mut Reader<'_>) -> Result<BTreeSet<String>, CodecError> {
    let mut names = BTreeSet::new();
    for _ in 0..input.count()? {
        let name = input.text()?;
        if names.last().is_some_and(|last| *last >= name) {
            return Err(CodecError::Invalid("names out of order"));
        }
        names.insert(name);
    }
    Ok(names)
}
