//! CLUSTER: how a cluster of one looks to clients that ask.
//!
//! Holds: the node leads all slots under one address, the one its first listener has.

use super::keys::Found;
use super::{Context, Done, Fail};
use crate::resp::arguments;
use crate::resp::words::Words;
use shoal_core::Slot;
use shoal_core::slot::SLOT_COUNT;
use xxhash_rust::xxh3::xxh3_128;

/// The node's id as Redis writes it: 40 hexadecimal digits, the same as long as the cluster and
/// the node are.
pub(crate) fn node_id(context: &Context<'_, '_>) -> String {
    let status = context.shared.node.status();
    let digest = xxh3_128(&status.cluster.0.to_be_bytes());
    format!("{digest:032x}{:08x}", status.node.0)
}

fn address(context: &Context<'_, '_>) -> (String, u16) {
    let port = context.shared.tcp_port();
    (context.shared.tcp_host(), port)
}

/// CLUSTER INFO
pub(crate) fn info(context: &mut Context<'_, '_>) -> Done {
    let epoch = context.shared.node.map().version.index;
    context.reply.verbatim(&format!(
        "cluster_state:ok\r\ncluster_slots_assigned:{SLOT_COUNT}\r\n\
         cluster_slots_ok:{SLOT_COUNT}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n\
         cluster_known_nodes:1\r\ncluster_size:1\r\ncluster_current_epoch:{epoch}\r\n\
         cluster_my_epoch:{epoch}\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n"
    ));
    Ok(())
}

/// CLUSTER MYID
pub(crate) fn my_id(context: &mut Context<'_, '_>) -> Done {
    let id = node_id(context);
    context.reply.bulk(id.as_bytes());
    Ok(())
}

/// CLUSTER KEYSLOT key
pub(crate) fn key_slot(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    context.reply.integer(Slot::of(words.word(2)).number().into());
    Ok(())
}

/// CLUSTER SLOTS
pub(crate) fn slots(context: &mut Context<'_, '_>) -> Done {
    let (host, port) = address(context);
    let id = node_id(context);
    let reply = &mut context.reply;
    reply.array(1);
    reply.array(3);
    reply.integer(0);
    reply.integer((SLOT_COUNT - 1).into());
    reply.array(4);
    reply.bulk(host.as_bytes());
    reply.integer(port.into());
    reply.bulk(id.as_bytes());
    reply.map(0);
    Ok(())
}

/// CLUSTER SHARDS
pub(crate) fn shards(context: &mut Context<'_, '_>) -> Done {
    let (host, port) = address(context);
    let id = node_id(context);
    let reply = &mut context.reply;
    reply.array(1);
    reply.map(2);
    reply.bulk(b"slots");
    reply.array(2);
    reply.integer(0);
    reply.integer((SLOT_COUNT - 1).into());
    reply.bulk(b"nodes");
    reply.array(1);
    reply.map(7);
    reply.bulk(b"id");
    reply.bulk(id.as_bytes());
    reply.bulk(b"port");
    reply.integer(port.into());
    for (field, value) in [("ip", &*host), ("endpoint", &*host), ("role", "master")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"replication-offset");
    reply.integer(0);
    reply.bulk(b"health");
    reply.bulk(b"online");
    Ok(())
}

/// CLUSTER NODES
pub(crate) fn nodes(context: &mut Context<'_, '_>) -> Done {
    let (host, port) = address(context);
    let id = node_id(context);
    let bus = u32::from(port) + 1;
    let epoch = context.shared.node.map().version.index;
    let last = SLOT_COUNT - 1;
    context.reply.verbatim(&format!(
        "{id} {host}:{port}@{bus} myself,master - 0 0 {epoch} connected 0-{last}\n"
    ));
    Ok(())
}

/// CLUSTER COUNTKEYSINSLOT slot
pub(crate) fn count_keys_in_slot(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let slot = slot_of(arguments::integer(words.word(2))?);
    let slot = slot.ok_or(Fail::text("ERR Invalid slot"))?;
    let count = context.access.count_slot(&context.client.target, slot).keys;
    context.reply.integer(count);
    Ok(())
}

/// CLUSTER GETKEYSINSLOT slot count
pub(crate) fn get_keys_in_slot(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let number = arguments::integer(words.word(2))?;
    let limit = arguments::integer(words.word(3))?;
    let (Some(slot), Ok(limit)) = (slot_of(number), usize::try_from(limit)) else {
        return Err(Fail::text("ERR Invalid slot or number of keys"));
    };
    let mut found = Found::default();
    let Context { access, reply, client, .. } = context;
    if limit > 0 {
        access.keys_of_slot(&client.target, slot, limit, &mut |key| {
            if found.fits(reply) {
                found.push(key);
            }
        })?;
    }
    found.reply(context)
}

fn slot_of(number: i64) -> Option<Slot> {
    u16::try_from(number).ok().and_then(Slot::new)
}
