//! How a keyspace and its parts are written, in maps and in commands alike.

use super::CodecError;
use super::frame::{Reader, Writer};
use crate::ids::{Incarnation, MapVersion, NodeId};
use crate::map::{
    Durability, EngineKind, Eviction, Keyspace, KeyspaceOptions, KeyspaceSpec, MAX_PARTITIONS,
    Partition,
};
use crate::slot::Partitioning;
use std::num::NonZeroU64;

pub(super) fn write_version(out: &mut Writer, version: MapVersion) {
    out.u32(version.generation);
    out.u64(version.index);
}

pub(super) fn read_version(input: &mut Reader<'_>) -> Result<MapVersion, CodecError> {
    Ok(MapVersion { generation: input.u32()?, index: input.u64()? })
}

pub(super) fn write_keyspace(out: &mut Writer, keyspace: &Keyspace) {
    out.text(&keyspace.name);
    out.u32(keyspace.incarnation.0);
    write_spec(out, &keyspace.spec());
    out.bool(keyspace.accepts_event_time);
    out.option(keyspace.database, Writer::u16);
    write_version(out, keyspace.epoch);
    write_partitions(out, &keyspace.partitions);
}

/// Reads a keyspace whose partitions, with the `taken` ones of those before it, stay within what
/// a map may have.
pub(super) fn read_keyspace(input: &mut Reader<'_>, taken: usize) -> Result<Keyspace, CodecError> {
    let name = input.text()?;
    let incarnation = Incarnation(input.u32()?);
    let KeyspaceSpec { engine, partitioning, options } = read_spec(input)?;
    let accepts_event_time = input.bool()?;
    let database = input.option(Reader::u16)?;
    let epoch = read_version(input)?;
    let wanted = usize::from(partitioning.count());
    if taken + wanted > MAX_PARTITIONS {
        return Err(CodecError::Invalid("too many partitions"));
    }
    Ok(Keyspace {
        name,
        incarnation,
        engine,
        partitioning,
        options,
        accepts_event_time,
        database,
        epoch,
        partitions: read_partitions(input, wanted)?,
    })
}

/// Partitions are written as runs of equal ones: most maps have few different ones.
fn write_partitions(out: &mut Writer, partitions: &[Partition]) {
    let runs = || partitions.chunk_by(|a, b| a == b);
    out.count(runs().count());
    for run in runs() {
        out.count(run.len());
        write_version(out, run[0].epoch);
        out.count(run[0].replicas.len());
        for node in &run[0].replicas {
            out.u32(node.0);
        }
    }
}

fn read_partitions(input: &mut Reader<'_>, wanted: usize) -> Result<Vec<Partition>, CodecError> {
    const WRONG: CodecError = CodecError::Invalid("the wrong number of partitions");
    let runs = input.count()?;
    let mut partitions: Vec<Partition> = Vec::new();
    for _ in 0..runs {
        let len = input.u32()? as usize;
        let epoch = read_version(input)?;
        let replicas = input.count()?;
        let replicas =
            (0..replicas).map(|_| input.u32().map(NodeId)).collect::<Result<Vec<_>, _>>()?;
        let partition = Partition { epoch, replicas };
        if len == 0 || len > wanted - partitions.len() {
            return Err(WRONG);
        }
        if partitions.last() == Some(&partition) {
            return Err(CodecError::Invalid("two runs of equal partitions"));
        }
        partitions.resize(partitions.len() + len, partition);
    }
    if partitions.len() == wanted { Ok(partitions) } else { Err(WRONG) }
}

pub(super) fn write_spec(out: &mut Writer, spec: &KeyspaceSpec) {
    out.u8(match spec.engine {
        EngineKind::Memory => 0,
        EngineKind::Disk => 1,
    });
    out.u16(spec.partitioning.count());
    let options = &spec.options;
    out.option(options.default_ttl_ms, write_ttl);
    write_durability(out, options.durability);
    out.option(options.max_memory, Writer::u64);
    write_eviction(out, options.eviction);
    out.u8(options.replication_target);
    out.u64(options.event_horizon_ms);
}

pub(super) fn read_spec(input: &mut Reader<'_>) -> Result<KeyspaceSpec, CodecError> {
    let engine = match input.u8()? {
        0 => EngineKind::Memory,
        1 => EngineKind::Disk,
        _ => return Err(CodecError::Invalid("an unknown engine")),
    };
    let partitioning = Partitioning::new(input.u16()?)
        .ok_or(CodecError::Invalid("a number of partitions that is no power of two"))?;
    let options = KeyspaceOptions {
        default_ttl_ms: input.option(read_ttl)?,
        durability: read_durability(input)?,
        max_memory: input.option(Reader::u64)?,
        eviction: read_eviction(input)?,
        replication_target: input.u8()?,
        event_horizon_ms: input.u64()?,
    };
    Ok(KeyspaceSpec { engine, partitioning, options })
}

pub(super) fn write_ttl(out: &mut Writer, ttl: NonZeroU64) {
    out.u64(ttl.get());
}

pub(super) fn read_ttl(input: &mut Reader<'_>) -> Result<NonZeroU64, CodecError> {
    NonZeroU64::new(input.u64()?).ok_or(CodecError::Invalid("an expiry of zero"))
}

pub(super) fn write_durability(out: &mut Writer, durability: Durability) {
    match durability {
        Durability::Always => out.u8(0),
        Durability::Interval(ms) => {
            out.u8(1);
            out.u32(ms);
        }
        Durability::Os => out.u8(2),
    }
}

pub(super) fn read_durability(input: &mut Reader<'_>) -> Result<Durability, CodecError> {
    match input.u8()? {
        0 => Ok(Durability::Always),
        1 => Ok(Durability::Interval(input.u32()?)),
        2 => Ok(Durability::Os),
        _ => Err(CodecError::Invalid("an unknown durability")),
    }
}

pub(super) fn write_eviction(out: &mut Writer, eviction: Eviction) {
    out.u8(match eviction {
        Eviction::None => 0,
        Eviction::Lru => 1,
    });
}

pub(super) fn read_eviction(input: &mut Reader<'_>) -> Result<Eviction, CodecError> {
    match input.u8()? {
        0 => Ok(Eviction::None),
        1 => Ok(Eviction::Lru),
        _ => Err(CodecError::Invalid("an unknown eviction")),
    }
}
