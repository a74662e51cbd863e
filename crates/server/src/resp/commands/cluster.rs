//! CLUSTER: the cluster as clients see it that ask each node for its own part.
//!
//! Holds: each slot of the connection's keyspace has one node, flagged `master`; a node alone leads
//! all slots under one address, the one its first listener has.

use super::keys::Found;
use super::{Context, Done, Fail};
use crate::resp::arguments;
use crate::resp::layout::{Endpoint, Layout, Place, View, node_name};
use crate::resp::words::Words;
use shoal_core::Slot;
use shoal_core::slot::SLOT_COUNT;
use shoal_node::Target;
use std::ops::RangeInclusive;

/// The cluster by the map and by who is up, for the keyspace that the connection has selected.
fn layout(context: &Context<'_, '_>) -> Layout {
    let node = &context.shared.node;
    let map = node.map();
    let selected = match &context.client.target {
        Target::Database(number) => map.database(*number),
        Target::Named(name) => map.keyspace(name),
    };
    // A database that nobody has written to yet will be spread like the first one.
    let Some(keyspace) = selected.or_else(|| map.database(0)) else {
        return Layout { epoch: map.version.index, places: Vec::new() };
    };
    let own = Endpoint { host: context.shared.tcp_host(), port: context.shared.tcp_port() };
    let leaders = node.leaders(keyspace);
    let view = View { map: &map, me: node.id(), own, leaders: &leaders };
    Layout::of(&view, |other| node.is_up(other))
}

/// CLUSTER INFO
pub(crate) fn info(context: &mut Context<'_, '_>) -> Done {
    let layout = layout(context);
    let (live, epoch) = (layout.live_slots(), layout.epoch);
    let state = if layout.is_live() { "ok" } else { "fail" };
    let failed = usize::from(SLOT_COUNT).saturating_sub(live);
    let (known, size) = (layout.places.len(), layout.leading().count());
    context.reply.verbatim(&format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{SLOT_COUNT}\r\n\
         cluster_slots_ok:{live}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:{failed}\r\n\
         cluster_known_nodes:{known}\r\ncluster_size:{size}\r\ncluster_current_epoch:{epoch}\r\n\
         cluster_my_epoch:{epoch}\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n"
    ));
    Ok(())
}

/// CLUSTER MYID
pub(crate) fn my_id(context: &mut Context<'_, '_>) -> Done {
    let status = context.shared.node.status();
    context.reply.bulk(node_name(status.cluster, status.node).as_bytes());
    Ok(())
}

/// CLUSTER KEYSLOT key
pub(crate) fn key_slot(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    context.reply.integer(Slot::of(words.word(2)).number().into());
    Ok(())
}

/// CLUSTER SLOTS
pub(crate) fn slots(context: &mut Context<'_, '_>) -> Done {
    let layout = layout(context);
    let runs = layout.runs();
    let reply = &mut context.reply;
    reply.array(runs.len());
    for (run, place) in runs {
        reply.array(3);
        reply.integer((*run.start()).into());
        reply.integer((*run.end()).into());
        reply.array(4);
        reply.bulk(place.endpoint.host.as_bytes());
        reply.integer(place.endpoint.port.into());
        reply.bulk(place.name.as_bytes());
        reply.map(0);
    }
    context.bounded()
}

/// CLUSTER SHARDS
pub(crate) fn shards(context: &mut Context<'_, '_>) -> Done {
    let layout = layout(context);
    context.reply.array(layout.leading().count());
    for place in layout.leading() {
        shard(context, place);
    }
    context.bounded()
}

fn shard(context: &mut Context<'_, '_>, place: &Place) {
    let Place { name, endpoint: Endpoint { host, port }, up, runs, .. } = place;
    let reply = &mut context.reply;
    reply.map(2);
    reply.bulk(b"slots");
    reply.array(runs.len() * 2);
    for bound in runs.iter().flat_map(|run: &RangeInclusive<u16>| [*run.start(), *run.end()]) {
        reply.integer(bound.into());
    }
    reply.bulk(b"nodes");
    reply.array(1);
    reply.map(7);
    reply.bulk(b"id");
    reply.bulk(name.as_bytes());
    reply.bulk(b"port");
    reply.integer((*port).into());
    for (field, value) in [("ip", &**host), ("endpoint", &**host), ("role", "master")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"replication-offset");
    reply.integer(0);
    reply.bulk(b"health");
    reply.bulk(if *up { b"online" } else { b"failed" });
}

/// CLUSTER NODES
pub(crate) fn nodes(context: &mut Context<'_, '_>) -> Done {
    let lines = layout(context).lines();
    context.reply.verbatim(&lines);
    Ok(())
}

/// READONLY, READWRITE, ASKING: any node serves any key, so that there is nothing to be asked for
pub(crate) fn granted(context: &mut Context<'_, '_>) -> Done {
    context.reply.ok();
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
