//! The form of a map [`Command`] in logs and between nodes.
//!
//! Format 1, of releases in which a cluster had one node, is still read.
//!
//! Holds: every command has exactly one form in format 2, which is the one that is written. Whether a command makes sense is for
//! [`ClusterMap::apply`](crate::ClusterMap::apply) to say.

use super::CodecError;
use super::frame::{Reader, Writer};
use super::keyspace::owners::{read_nodes, write_nodes};
use super::keyspace::{
    read_durability, read_eviction, read_level, read_replication, read_spec, read_ttl,
    read_version, write_durability, write_eviction, write_level, write_replication, write_spec,
    write_ttl, write_version,
};
use super::map::node::{read_profile, write_profile};
use crate::ids::{ClusterId, Incarnation, NodeId, PartitionId};
use crate::map::{Changes, Command, Intent, MAX_PARTITIONS, Place, Profile};
use crate::placement::Replication;
use std::collections::BTreeSet;

/// The first four bytes of every stored command.
pub const MAGIC: [u8; 4] = *b"SHCM";
const FORMAT: u8 = 2;

const FOUND: u8 = 1;
const START_NODE: u8 = 2;
const CREATE_KEYSPACE: u8 = 3;
const CREATE_DATABASE: u8 = 4;
const ALTER_KEYSPACE: u8 = 5;
const DROP_KEYSPACE: u8 = 6;
const FLUSH_KEYSPACES: u8 = 7;
const SWAP_DATABASES: u8 = 8;
const ACCEPT_EVENT_TIME: u8 = 9;
const JOIN: u8 = 10;
const FORGET: u8 = 11;
const REMOVE_NODE: u8 = 12;
const INTEND: u8 = 13;
const CUT_OVER: u8 = 14;
const FORGOTTEN: u8 = 15;
const RESEAT: u8 = 16;

/// The bytes that stand for `command`.
#[must_use]
pub fn encode(command: &Command) -> Vec<u8> {
    let mut out = Writer::new(MAGIC, FORMAT);
    out.u8(kind(command));
    match command {
        Command::Found { cluster, node_name, token, hash_seed, default, profile } => {
            out.u128(cluster.0);
            out.text(node_name);
            out.u64(*token);
            out.u64(*hash_seed);
            write_spec(&mut out, default);
            write_profile(&mut out, profile);
        }
        Command::Join { name, token, profile, replaces } => {
            out.text(name);
            out.u64(*token);
            write_profile(&mut out, profile);
            out.option(*replaces, |out, node| out.u32(node.0));
        }
        Command::StartNode { node, presented, next, profile } => {
            out.u32(node.0);
            out.u64(*presented);
            out.u64(*next);
            out.option(profile.as_ref(), write_profile);
        }
        Command::Forget { node } | Command::RemoveNode { node } => out.u32(node.0),
        Command::Intend { intents } => write_intents(&mut out, intents),
        Command::CutOver { partitions } => write_places(&mut out, partitions),
        Command::Forgotten { node, partitions } => {
            out.u32(node.0);
            write_places(&mut out, partitions);
        }
        Command::Reseat { place, members } => {
            write_place(&mut out, *place);
            write_nodes(&mut out, members);
        }
        Command::CreateKeyspace { name, spec, database } => {
            out.text(name);
            write_spec(&mut out, spec);
            out.option(*database, Writer::u16);
        }
        Command::CreateDatabase { number } => out.u16(*number),
        Command::AlterKeyspace { name, changes } => {
            out.text(name);
            write_changes(&mut out, changes);
        }
        Command::DropKeyspace { name } | Command::AcceptEventTime { name } => out.text(name),
        Command::FlushKeyspaces { names } => write_names(&mut out, names),
        Command::SwapDatabases { a, b } => {
            out.u16(*a);
            out.u16(*b);
        }
    }
    out.seal()
}

/// The byte that says which command follows.
const fn kind(command: &Command) -> u8 {
    match command {
        Command::Found { .. } => FOUND,
        Command::Join { .. } => JOIN,
        Command::StartNode { .. } => START_NODE,
        Command::Forget { .. } => FORGET,
        Command::RemoveNode { .. } => REMOVE_NODE,
        Command::Intend { .. } => INTEND,
        Command::CutOver { .. } => CUT_OVER,
        Command::Forgotten { .. } => FORGOTTEN,
        Command::Reseat { .. } => RESEAT,
        Command::CreateKeyspace { .. } => CREATE_KEYSPACE,
        Command::CreateDatabase { .. } => CREATE_DATABASE,
        Command::AlterKeyspace { .. } => ALTER_KEYSPACE,
        Command::DropKeyspace { .. } => DROP_KEYSPACE,
        Command::FlushKeyspaces { .. } => FLUSH_KEYSPACES,
        Command::SwapDatabases { .. } => SWAP_DATABASES,
        Command::AcceptEventTime { .. } => ACCEPT_EVENT_TIME,
    }
}

/// Reads a command.
///
/// # Errors
/// [`CodecError`] where the bytes are damaged or of an unknown version.
pub fn decode(bytes: &[u8]) -> Result<Command, CodecError> {
    let (format, mut input) = Reader::open(bytes, MAGIC)?;
    if !(1..=FORMAT).contains(&format) {
        return Err(CodecError::UnknownVersion(format));
    }
    let input = &mut input;
    let kind = input.u8()?;
    if format == 1 && kind > ACCEPT_EVENT_TIME {
        return Err(CodecError::Invalid("an unknown command"));
    }
    let command = match kind {
        FOUND => Command::Found {
            cluster: ClusterId(input.u128()?),
            node_name: input.text()?,
            token: input.u64()?,
            hash_seed: input.u64()?,
            default: read_spec(input, format)?,
            profile: if format == 1 { Profile::default() } else { read_profile(input)? },
        },
        JOIN => Command::Join {
            name: input.text()?,
            token: input.u64()?,
            profile: read_profile(input)?,
            replaces: input.option(read_node)?,
        },
        START_NODE => Command::StartNode {
            node: read_node(input)?,
            presented: input.u64()?,
            next: input.u64()?,
            profile: if format == 1 { None } else { input.option(read_profile)? },
        },
        FORGET => Command::Forget { node: read_node(input)? },
        REMOVE_NODE => Command::RemoveNode { node: read_node(input)? },
        INTEND => Command::Intend { intents: read_list(input, read_intent)? },
        CUT_OVER => Command::CutOver { partitions: read_list(input, read_place)? },
        FORGOTTEN => Command::Forgotten {
            node: read_node(input)?,
            partitions: read_list(input, read_place)?,
        },
        RESEAT => Command::Reseat { place: read_place(input)?, members: read_nodes(input)? },
        CREATE_KEYSPACE => Command::CreateKeyspace {
            name: input.text()?,
            spec: read_spec(input, format)?,
            database: input.option(Reader::u16)?,
        },
        CREATE_DATABASE => Command::CreateDatabase { number: input.u16()? },
        ALTER_KEYSPACE => {
            Command::AlterKeyspace { name: input.text()?, changes: read_changes(input, format)? }
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

fn read_node(input: &mut Reader<'_>) -> Result<NodeId, CodecError> {
    input.u32().map(NodeId)
}

fn write_place(out: &mut Writer, place: Place) {
    out.u32(place.keyspace.0);
    out.u16(place.partition.0);
    write_version(out, place.epoch);
}

fn read_place(input: &mut Reader<'_>) -> Result<Place, CodecError> {
    Ok(Place {
        keyspace: Incarnation(input.u32()?),
        partition: PartitionId(input.u16()?),
        epoch: read_version(input)?,
    })
}

fn write_places(out: &mut Writer, places: &[Place]) {
    out.count(places.len());
    for place in places {
        write_place(out, *place);
    }
}

fn write_intents(out: &mut Writer, intents: &[Intent]) {
    out.count(intents.len());
    for intent in intents {
        write_place(out, intent.place());
        write_nodes(out, &intent.next);
        write_nodes(out, &intent.renewed);
    }
}

fn read_intent(input: &mut Reader<'_>) -> Result<Intent, CodecError> {
    let Place { keyspace, partition, epoch } = read_place(input)?;
    let (next, renewed) = (read_nodes(input)?, read_nodes(input)?);
    Ok(Intent { keyspace, partition, epoch, next, renewed })
}

/// Reads a list of things about partitions: no command can say more than one of each.
fn read_list<T>(
    input: &mut Reader<'_>,
    read: fn(&mut Reader<'_>) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    let count = input.count()?;
    if count > MAX_PARTITIONS {
        return Err(CodecError::Invalid("too many partitions"));
    }
    (0..count).map(|_| read(input)).collect()
}

fn write_changes(out: &mut Writer, changes: &Changes) {
    out.option(changes.default_ttl_ms, |out, ttl| out.option(ttl, write_ttl));
    out.option(changes.durability, write_durability);
    out.option(changes.max_memory, |out, bytes| out.option(bytes, Writer::u64));
    out.option(changes.eviction, write_eviction);
    out.option(changes.replication, write_replication);
    out.option(changes.read_level, write_level);
    out.option(changes.write_level, write_level);
    out.option(changes.spread_zones, Writer::bool);
    out.option(changes.event_horizon_ms, Writer::u64);
    out.option(changes.database, |out, number| out.option(number, Writer::u16));
}

fn read_changes(input: &mut Reader<'_>, format: u8) -> Result<Changes, CodecError> {
    let mut changes = Changes {
        default_ttl_ms: input.option(|input| input.option(read_ttl))?,
        durability: input.option(read_durability)?,
        max_memory: input.option(|input| input.option(Reader::u64))?,
        eviction: input.option(read_eviction)?,
        ..Changes::default()
    };
    if format == 1 {
        changes.replication = input.option(Reader::u8)?.map(Replication::Count);
    } else {
        changes.replication = input.option(read_replication)?;
        changes.read_level = input.option(read_level)?;
        changes.write_level = input.option(read_level)?;
        changes.spread_zones = input.option(Reader::bool)?;
    }
    changes.event_horizon_ms = input.option(Reader::u64)?;
    changes.database = input.option(|input| input.option(Reader::u16))?;
    Ok(changes)
}

fn write_names(out: &mut Writer, names: &BTreeSet<String>) {
    out.count(names.len());
    for name in names {
        out.text(name);
    }
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
