//! How a keyspace and its parts are written, in maps and in commands alike.
//!
//! Format 1 is that of releases in which a cluster had one node. A replica was its node alone
//! there; its life is taken to be as old as the partition's epoch.

use super::CodecError;
use super::frame::{Reader, Writer};
use crate::ids::{Incarnation, MapVersion};
use crate::map::{
    Durability, EngineKind, Eviction, Keyspace, KeyspaceOptions, KeyspaceSpec, MAX_PARTITIONS,
    MAX_PLACES, Partition,
};
use crate::placement::{Replication, Strategy};
use crate::quorum::Level;
use crate::slot::Partitioning;
use owners::{read_partition, read_partition_1, write_partition};
use std::num::NonZeroU64;

pub(super) mod owners;

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
    out.u64(keyspace.salt);
    write_version(out, keyspace.epoch);
    write_partitions(out, &keyspace.partitions);
}

/// What the keyspaces of one map may still have of that of which a map has only so much.
pub(super) struct Room {
    partitions: usize,
    places: usize,
}

impl Room {
    /// The room of an empty map.
    pub(super) const fn new() -> Self {
        Self { partitions: MAX_PARTITIONS, places: MAX_PLACES }
    }

    fn take(&mut self, partitions: usize, places: usize) -> Result<(), CodecError> {
        const FULL: CodecError = CodecError::Invalid("too many partitions or replicas");
        self.partitions = self.partitions.checked_sub(partitions).ok_or(FULL)?;
        self.places = self.places.checked_sub(places).ok_or(FULL)?;
        Ok(())
    }
}

/// Reads a keyspace that takes its share of `room`.
pub(super) fn read_keyspace(
    input: &mut Reader<'_>,
    format: u8,
    room: &mut Room,
) -> Result<Keyspace, CodecError> {
    let name = input.text()?;
    let incarnation = Incarnation(input.u32()?);
    let KeyspaceSpec { engine, partitioning, options } = read_spec(input, format)?;
    let accepts_event_time = input.bool()?;
    let database = input.option(Reader::u16)?;
    let salt = if format == 1 { incarnation.0.into() } else { input.u64()? };
    let epoch = read_version(input)?;
    let wanted = usize::from(partitioning.count());
    room.take(wanted, 0)?;
    Ok(Keyspace {
        name,
        incarnation,
        engine,
        partitioning,
        options,
        accepts_event_time,
        database,
        salt,
        epoch,
        partitions: read_partitions(input, format, wanted, room)?,
    })
}

/// Partitions are written as runs of equal ones: most maps have few different ones.
fn write_partitions(out: &mut Writer, partitions: &[Partition]) {
    let runs = || partitions.chunk_by(|a, b| a == b);
    out.count(runs().count());
    for run in runs() {
        out.count(run.len());
        write_partition(out, &run[0]);
    }
}

fn read_partitions(
    input: &mut Reader<'_>,
    format: u8,
    wanted: usize,
    room: &mut Room,
) -> Result<Vec<Partition>, CodecError> {
    const WRONG: CodecError = CodecError::Invalid("the wrong number of partitions");
    let runs = input.count()?;
    let mut partitions: Vec<Partition> = Vec::new();
    for _ in 0..runs {
        let len = input.u32()? as usize;
        let partition = match format {
            1 => read_partition_1(input)?,
            _ => read_partition(input)?,
        };
        if len == 0 || len > wanted - partitions.len() {
            return Err(WRONG);
        }
        if partitions.last() == Some(&partition) {
            return Err(CodecError::Invalid("two runs of equal partitions"));
        }
        room.take(0, len * partition.places())?;
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
    write_replication(out, options.replication);
    write_strategy(out, options.strategy);
    write_level(out, options.read_level);
    write_level(out, options.write_level);
    out.bool(options.spread_zones);
    out.u64(options.event_horizon_ms);
}

pub(super) fn read_spec(input: &mut Reader<'_>, format: u8) -> Result<KeyspaceSpec, CodecError> {
    let engine = match input.u8()? {
        0 => EngineKind::Memory,
        1 => EngineKind::Disk,
        _ => return Err(CodecError::Invalid("an unknown engine")),
    };
    let partitioning = Partitioning::new(input.u16()?)
        .ok_or(CodecError::Invalid("a number of partitions that is no power of two"))?;
    let mut options = KeyspaceOptions {
        default_ttl_ms: input.option(read_ttl)?,
        durability: read_durability(input)?,
        max_memory: input.option(Reader::u64)?,
        eviction: read_eviction(input)?,
        ..KeyspaceOptions::default()
    };
    if format == 1 {
        options.replication = Replication::Count(input.u8()?);
    } else {
        options.replication = read_replication(input)?;
        options.strategy = read_strategy(input)?;
        options.read_level = read_level(input)?;
        options.write_level = read_level(input)?;
        options.spread_zones = input.bool()?;
    }
    options.event_horizon_ms = input.u64()?;
    Ok(KeyspaceSpec { engine, partitioning, options })
}

pub(super) fn write_replication(out: &mut Writer, replication: Replication) {
    match replication {
        Replication::Count(count) => {
            out.u8(0);
            out.u8(count);
        }
        Replication::All => out.u8(1),
    }
}

pub(super) fn read_replication(input: &mut Reader<'_>) -> Result<Replication, CodecError> {
    match input.u8()? {
        0 => Ok(Replication::Count(input.u8()?)),
        1 => Ok(Replication::All),
        _ => Err(CodecError::Invalid("an unknown number of replicas")),
    }
}

fn write_strategy(out: &mut Writer, strategy: Strategy) {
    out.u8(match strategy {
        Strategy::Rendezvous => 0,
        Strategy::Jump => 1,
        Strategy::Ring => 2,
    });
}

fn read_strategy(input: &mut Reader<'_>) -> Result<Strategy, CodecError> {
    match input.u8()? {
        0 => Ok(Strategy::Rendezvous),
        1 => Ok(Strategy::Jump),
        2 => Ok(Strategy::Ring),
        _ => Err(CodecError::Invalid("an unknown way of placement")),
    }
}

pub(super) fn write_level(out: &mut Writer, level: Level) {
    out.u8(match level {
        Level::One => 0,
        Level::Quorum => 1,
        Level::All => 2,
    });
}

pub(super) fn read_level(input: &mut Reader<'_>) -> Result<Level, CodecError> {
    match input.u8()? {
        0 => Ok(Level::One),
        1 => Ok(Level::Quorum),
        2 => Ok(Level::All),
        _ => Err(CodecError::Invalid("an unknown level")),
    }
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
