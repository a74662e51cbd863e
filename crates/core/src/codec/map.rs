//! The stored form of a [`ClusterMap`].
//!
//! Format 1, of releases in which a cluster had one node, is still read: see the modules of the
//! parts for what it did not say.
//!
//! Holds: what [`decode`] gives has passed [`ClusterMap::check`]; every map has exactly one
//! form in format 2, which is the one that is written.

use super::CodecError;
use super::frame::{Reader, Writer};
use super::keyspace::owners::{read_nodes, write_nodes};
use super::keyspace::{Room, read_keyspace, read_version, write_keyspace, write_version};
use crate::ids::{ClusterId, Incarnation, NodeId};
use crate::map::ClusterMap;
use node::{read_node, write_node};
use std::collections::BTreeMap;

pub(super) mod node;

/// The first four bytes of every stored map.
pub const MAGIC: [u8; 4] = *b"SHMP";
const FORMAT: u8 = 2;

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
        write_node(&mut out, node);
    }
    write_nodes(&mut out, &map.seats);
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
    if !(1..=FORMAT).contains(&format) {
        return Err(CodecError::UnknownVersion(format));
    }
    let mut map = ClusterMap {
        version: read_version(&mut input)?,
        cluster: ClusterId(input.u128()?),
        hash_seed: input.u64()?,
        next_node: NodeId(input.u32()?),
        next_incarnation: Incarnation(input.u32()?),
        nodes: BTreeMap::new(),
        seats: Vec::new(),
        keyspaces: BTreeMap::new(),
    };
    for _ in 0..input.count()? {
        let id = NodeId(input.u32()?);
        let node = read_node(&mut input, format)?;
        if map.nodes.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err(CodecError::Invalid("nodes out of order"));
        }
        map.nodes.insert(id, node);
    }
    map.seats = match format {
        1 => map.nodes.keys().copied().collect(),
        _ => read_nodes(&mut input)?,
    };
    let mut room = Room::new();
    for _ in 0..input.count()? {
        let keyspace = read_keyspace(&mut input, format, &mut room)?;
        if map.keyspaces.last_key_value().is_some_and(|(last, _)| *last >= keyspace.name) {
            return Err(CodecError::Invalid("keyspaces out of order"));
        }
        map.keyspaces.insert(keyspace.name.clone(), keyspace);
    }
    input.finished()?;
    map.check().map_err(|_| CodecError::Invalid("the map contradicts itself"))?;
    Ok(map)
}

#[cfg(test)]
mod tests;
