//! How the owners of a partition are written.
//!
//! Members are a count and, as most are named together, whether their copies began their lives
//! together: then that life and the nodes, else each node with its own.

use super::read_version;
use crate::codec::CodecError;
use crate::codec::frame::{Reader, Writer};
use crate::ids::{NodeId, ReplicaIncarnation};
use crate::map::{MAX_NODES, Partition};
use crate::quorum::Member;

pub(super) fn write_partition(out: &mut Writer, partition: &Partition) {
    super::write_version(out, partition.epoch);
    write_members(out, &partition.replicas);
    write_members(out, &partition.next);
    write_nodes(out, &partition.outgoing);
}

pub(super) fn read_partition(input: &mut Reader<'_>) -> Result<Partition, CodecError> {
    Ok(Partition {
        epoch: read_version(input)?,
        replicas: read_members(input)?,
        next: read_members(input)?,
        outgoing: read_nodes(input)?,
    })
}

/// Reads a partition of format 1, which had one node.
pub(super) fn read_partition_1(input: &mut Reader<'_>) -> Result<Partition, CodecError> {
    let epoch = read_version(input)?;
    let incarnation = ReplicaIncarnation(epoch.index);
    let nodes = input.count()?;
    check_count(nodes)?;
    let member = |_| Ok(Member { node: NodeId(input.u32()?), incarnation });
    let replicas = (0..nodes).map(member).collect::<Result<_, _>>()?;
    Ok(Partition { epoch, replicas, next: Vec::new(), outgoing: Vec::new() })
}

fn write_members(out: &mut Writer, members: &[Member]) {
    write_count(out, members.len());
    let Some(first) = members.first() else { return };
    let together = are_together(members);
    out.bool(together);
    if together {
        out.u64(first.incarnation.0);
    }
    for member in members {
        out.u32(member.node.0);
        if !together {
            out.u64(member.incarnation.0);
        }
    }
}

fn read_members(input: &mut Reader<'_>) -> Result<Vec<Member>, CodecError> {
    let count = read_count(input)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let shared = input.option(Reader::u64)?;
    let mut members = Vec::new();
    for _ in 0..count {
        let node = NodeId(input.u32()?);
        let incarnation = shared.map_or_else(|| input.u64(), Ok)?;
        members.push(Member { node, incarnation: ReplicaIncarnation(incarnation) });
    }
    if shared.is_none() && are_together(&members) {
        return Err(CodecError::Invalid("one life written several times"));
    }
    Ok(members)
}

/// Whether the copies of all began their lives together.
fn are_together(members: &[Member]) -> bool {
    members.windows(2).all(|pair| pair[0].incarnation == pair[1].incarnation)
}

pub(in crate::codec) fn write_nodes(out: &mut Writer, nodes: &[NodeId]) {
    write_count(out, nodes.len());
    for node in nodes {
        out.u32(node.0);
    }
}

pub(in crate::codec) fn read_nodes(input: &mut Reader<'_>) -> Result<Vec<NodeId>, CodecError> {
    let count = read_count(input)?;
    (0..count).map(|_| input.u32().map(NodeId)).collect()
}

/// A number of nodes, as it is written.
fn write_count(out: &mut Writer, count: usize) {
    out.u16(u16::try_from(count).expect("a map has at most 1,000 nodes"));
}

fn read_count(input: &mut Reader<'_>) -> Result<usize, CodecError> {
    let count = usize::from(input.u16()?);
    check_count(count)?;
    Ok(count)
}

fn check_count(count: usize) -> Result<(), CodecError> {
    if count > MAX_NODES { Err(CodecError::Invalid("too many nodes")) } else { Ok(()) }
}
