//! The stored form of a [`ClusterMap`].
//!
//! Holds: what [`decode`] gives has passed [`ClusterMap::check`]; every map has exactly one
//! form.

use super::CodecError;
use super::frame::{Reader, Writer};
use super::keyspace::{read_keyspace, read_version, write_keyspace, write_version};
use crate::ids::{ClusterId, Incarnation, NodeId};
use crate::map::{ClusterMap, NodeInfo};
use std::collections::BTreeMap;

/// The first four bytes of every stored map.
pub const MAGIC: [u8; 4] = *b"SHMP";
const FORMAT: u8 = 1;

/// The bytes that stand for `map`.
#[must_use]
pub fn encode(map: &ClusterMap) -> Vec<u8> {
    let mut out = Writer::new(MAGIC, FORMAT);
    write_version(&mut out, map.version);
    out.u128(map.cluster.0);
    out.u64(map.hash_seed);
    out.u32(map.next_node.0);
    out.u32(map.next_incarnation.0);
    out.count(map.nodes.len());
    for (id, node) in &map.nodes {
        out.u32(id.0);
        out.text(&node.name);
        out.u64(node.token);
        out.option(node.zone.as_deref(), Writer::text);
        out.u16(node.weight);
    }
    out.count(map.keyspaces.len());
    for keyspace in map.keyspaces.values() {
        write_keyspace(&mut out, keyspace);
    }
    out.seal()
}

/// Reads a map.
///
/// # Errors
/// [`CodecError`] where the bytes are damaged, of an unknown version, or no sound map.
pub fn decode(bytes: &[u8]) -> Result<ClusterMap, CodecError> {
    let (format, mut input) = Reader::open(bytes, MAGIC)?;
    if format != FORMAT {
        return Err(CodecError::UnknownVersion(format));
    }
    let mut map = ClusterMap {
        version: read_version(&mut input)?,
        cluster: ClusterId(input.u128()?),
        hash_seed: input.u64()?,
        next_node: NodeId(input.u32()?),
        next_incarnation: Incarnation(input.u32()?),
        nodes: BTreeMap::new(),
        keyspaces: BTreeMap::new(),
    };
    for _ in 0..input.count()? {
        let id = NodeId(input.u32()?);
        let node = read_node(&mut input)?;
        if map.nodes.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(CodecError::Invalid("nodes out of order"));
        }
        map.nodes.insert(id, node);
    }
    let mut partitions = 0;
    for _ in 0..input.count()? {
        let keyspace = read_keyspace(&mut input, partitions)?;
        partitions += keyspace.partitions.len();
        if map.keyspaces.last_key_value().is_some_and(|(last, _)| *last >= keyspace.name) {
            return Err(CodecError::Invalid("keyspaces out of order"));
        }
        map.keyspaces.insert(keyspace.name.clone(), keyspace);
    }
    input.finished()?;
    map.check().map_err(|_| CodecError::Invalid("the map contradicts itself"))?;
    Ok(map)
}

fn read_node(input: &mut Reader<'_>) -> Result<NodeInfo, CodecError> {
    Ok(NodeInfo {
        name: input.text()?,
        token: input.u64()?,
        zone: input.option(Reader::text)?,
        weight: input.u16()?,
    })
}

#[cfg(test)]
mod tests;
