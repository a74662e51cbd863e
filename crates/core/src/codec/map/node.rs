//! How a node and what it says about itself are written, in maps and in commands alike.

use crate::codec::CodecError;
use crate::codec::frame::{Reader, Writer};
use crate::map::{Addresses, MAX_TAGS, NodeInfo, NodeState, Profile};
use std::collections::BTreeMap;

pub(super) fn write_node(out: &mut Writer, node: &NodeInfo) {
    out.text(&node.name);
    out.u64(node.token);
    out.u8(match node.state {
        NodeState::Joining => 0,
        NodeState::Member => 1,
        NodeState::Gone => 2,
    });
    write_described(out, node.zone.as_deref(), node.weight, &node.tags, &node.addresses);
}

pub(super) fn read_node(input: &mut Reader<'_>, format: u8) -> Result<NodeInfo, CodecError> {
    let name = input.text()?;
    let token = input.u64()?;
    if format == 1 {
        // One node, and a member: there was nothing else that it could be.
        let (zone, weight) = (input.option(Reader::text)?, input.u16()?);
        let profile = Profile { zone, weight, ..Profile::default() };
        return Ok(NodeInfo::new(name, token, profile, NodeState::Member));
    }
    let state = match input.u8()? {
        0 => NodeState::Joining,
        1 => NodeState::Member,
        2 => NodeState::Gone,
        _ => return Err(CodecError::Invalid("an unknown state of a node")),
    };
    Ok(NodeInfo::new(name, token, read_profile(input)?, state))
}

pub(in crate::codec) fn write_profile(out: &mut Writer, profile: &Profile) {
    let Profile { zone, weight, tags, addresses } = profile;
    write_described(out, zone.as_deref(), *weight, tags, addresses);
}

fn write_described(
    out: &mut Writer,
    zone: Option<&str>,
    weight: u16,
    tags: &BTreeMap<String, String>,
    addresses: &Addresses,
) {
    out.option(zone, Writer::text);
    out.u16(weight);
    out.count(tags.len());
    for (name, value) in tags {
        out.text(name);
        out.text(value);
    }
    let Addresses { peer, client, cluster_client } = addresses;
    for address in [peer, client, cluster_client] {
        out.option(address.as_deref(), Writer::text);
    }
}

pub(in crate::codec) fn read_profile(input: &mut Reader<'_>) -> Result<Profile, CodecError> {
    Ok(Profile {
        zone: input.option(Reader::text)?,
        weight: input.u16()?,
        tags: read_tags(input)?,
        addresses: Addresses {
            peer: input.option(Reader::text)?,
            client: input.option(Reader::text)?,
            cluster_client: input.option(Reader::text)?,
        },
    })
}

fn read_tags(input: &mut Reader<'_>) -> Result<BTreeMap<String, String>, CodecError> {
    let count = input.count()?;
    if count > MAX_TAGS {
        return Err(CodecError::Invalid("too many tags"));
    }
    let mut tags = BTreeMap::new();
    for _ in 0..count {
        let (name, value) = (input.text()?, input.text()?);
        if tags.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(CodecError::Invalid("tags out of order"));
        }
        tags.insert(name, value);
    }
    Ok(tags)
}
