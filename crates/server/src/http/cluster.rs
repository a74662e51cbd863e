//! The cluster as administration sees it: how it is, its nodes, its map, what happened; and the
//! two decisions that only people can take.
//!
//! Holds: what is shown is what the node that was asked believes at the moment.

use super::form::Form;
use super::job;
use super::query::Query;
use super::reply::Reply;
use crate::connection::Shared;
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use shoal_core::NodeId;
use shoal_core::control::{Figures, Health};
use shoal_core::map::{Addresses, ClusterMap, EngineKind, NodeState};
use shoal_core::placement::Replication;
use shoal_node::transport::LinkStatus;
use shoal_node::{
    ClusterShown, Code, Explained, HeldAnswer, HeldBy, MemberShown, Node, REPAIR_FIGURES, Refusal,
    Target,
};
use std::sync::Arc;

/// Keys of one answer about local keys unless the caller says otherwise.
const DEFAULT_LIMIT: usize = 100;
/// The most keys of one answer about local keys.
const MAX_LIMIT: usize = 10_000;

/// GET of `/v1/cluster/status` and of `/_cluster_status`.
pub(crate) fn status(node: &Node) -> Reply {
    Reply::json(StatusCode::OK, &status_of(&node.cluster_status(), &node.map()))
}

/// GET of `/v1/cluster/nodes`.
pub(crate) fn nodes(shared: &Shared) -> Reply {
    let nodes: Vec<Value> = members(shared).iter().map(member).collect();
    Reply::json(StatusCode::OK, &json!({ "nodes": nodes }))
}

/// GET of `/v1/cluster/map`.
pub(crate) fn map(node: &Node, query: &Query) -> Result<Reply, Refusal> {
    let (map, wanted) = (node.map(), query.text("keyspace")?);
    if let Some(name) = wanted.filter(|name| map.keyspace(name).is_none()) {
        return Err(Refusal::new(Code::NoKeyspace, format!("there is no keyspace '{name}'")));
    }
    Ok(Reply::json(StatusCode::OK, &map_of(&map, wanted)))
}

/// GET of `/v1/cluster/events`.
pub(crate) fn events(node: &Node) -> Reply {
    let event = |event: shoal_node::cluster::Event| {
        let shoal_node::cluster::Event { at_ms, what, text } = event;
        json!({ "at_ms": at_ms, "what": what, "text": text })
    };
    let events: Vec<Value> = node.events().into_iter().map(event).collect();
    Reply::json(StatusCode::OK, &json!({ "events": events }))
}

/// POST of `/v1/cluster/forget/{name}`.
pub(crate) async fn forget(node: &Arc<Node>, name: String) -> Result<Reply, Refusal> {
    let there = Arc::clone(node);
    job::blocking(move || there.forget(&name)).await??;
    Ok(Reply::status(StatusCode::NO_CONTENT))
}

/// POST of `/v1/cluster/accept-loss`.
pub(crate) async fn accept_loss(node: &Arc<Node>, query: &Query) -> Result<Reply, Refusal> {
    let accepted = node.accept_loss(query.text("keyspace")?).await?;
    Ok(Reply::json(StatusCode::OK, &json!({ "partitions": accepted })))
}

/// GET of `/_nodes_discovery`: who can be asked, as a list.
pub(crate) fn discovery(shared: &Shared) -> Reply {
    let listed = |member: &MemberShown| {
        json!({
            "name": member.name,
            "address": member.addresses.client,
            "cluster_address": member.addresses.cluster_client,
            "state": member.presence.name(),
            "zone": member.zone,
        })
    };
    let nodes: Vec<Value> = members(shared).iter().map(listed).collect();
    Reply::json(StatusCode::OK, &nodes)
}

/// GET of `/_nodes_discovery_plain`: the addresses of those who are up, one a line.
pub(crate) fn discovery_plain(shared: &Shared) -> Reply {
    Reply::text("text/plain; charset=utf-8", addresses_of(&members(shared)))
}

fn addresses_of(members: &[MemberShown]) -> String {
    let up = members.iter().filter(|member| member.presence.is_up());
    let addresses = up.filter_map(|member| member.addresses.client.as_deref());
    addresses.flat_map(|address| [address, "\n"]).collect()
}

/// GET of `/_nodes/{key}`: who holds a key and is to be asked for it, the one that leads it first.
pub(crate) fn key_nodes(shared: &Shared, query: &Query, key: &[u8]) -> Result<Reply, Refusal> {
    let target = query.text("keyspace")?.map_or(Target::DEFAULT, |name| Target::Named(name.into()));
    let node = &shared.node;
    let map = node.map();
    let found = match &target {
        Target::Database(number) => map.database(*number),
        Target::Named(name) => map.keyspace(name),
    };
    let Some(keyspace) = found else {
        return Err(Refusal::new(Code::NoKeyspace, "there is no such keyspace"));
    };
    let slot = shoal_core::Slot::of(key);
    let (partition, owners) = keyspace.partition_of(slot);
    let leader = shoal_core::control::executor::leader(owners, |owner| node.is_up(owner));
    let members = members(shared);
    let held = |owner: NodeId| {
        let member = members.iter().find(|member| member.node == owner);
        json!({
            "name": member.map(|member| &member.name),
            "address": member.and_then(|member| member.addresses.client.as_ref()),
            "up": node.is_up(owner),
            "leads": leader == Some(owner),
        })
    };
    let mut owners: Vec<NodeId> = owners.replicas.iter().map(|member| member.node).collect();
    owners.sort_by_key(|owner| leader != Some(*owner));
    let nodes: Vec<Value> = owners.into_iter().map(held).collect();
    let document = json!({
        "keyspace": keyspace.name, "slot": slot.number(), "partition": partition.0, "nodes": nodes,
    });
    Ok(Reply::json(StatusCode::OK, &document))
}

/// GET of `/v1/keyspaces/{keyspace}/explain/{key}`.
pub(crate) async fn explain(
    node: &Arc<Node>,
    target: &Target,
    key: Vec<u8>,
) -> Result<Reply, Refusal> {
    let explained = node.explain(target, &key).await?;
    Ok(Reply::json(StatusCode::OK, &explanation(&explained, key)))
}

/// GET of `/v1/keyspaces/{keyspace}/local-keys`.
pub(crate) async fn local_keys(
    node: &Arc<Node>,
    target: Target,
    query: &Query,
) -> Result<Reply, Refusal> {
    let limit = query.number("limit")?.map_or(Ok(DEFAULT_LIMIT), |limit| {
        let limit = usize::try_from(limit).ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        let message = format!("`limit` is 1 to {MAX_LIMIT}");
        limit.ok_or_else(|| Refusal::new(Code::BadRequest, message))
    })?;
    let after = query.get("after").map(<[u8]>::to_vec);
    let there = Arc::clone(node);
    let listed = job::blocking(move || there.local_keys(&target, after.as_deref(), limit));
    let listed = listed.await??;
    let keys: Vec<Value> = listed.keys.into_iter().map(|key| Value::Object(named(key))).collect();
    Ok(Reply::json(StatusCode::OK, &json!({ "keys": keys, "more": listed.more })))
}

/// The members, with this server's own address where the map does not say it.
fn members(shared: &Shared) -> Vec<MemberShown> {
    let mut members = shared.node.members();
    for member in members.iter_mut().filter(|member| member.is_this) {
        let here = || {
            let host = shared.tcp_host();
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            format!("{host}:{}", shared.tcp_port())
        };
        if member.addresses.client.is_none() && shared.tcp_port() != 0 {
            member.addresses.client = Some(here());
        }
    }
    members
}

/// A key as a field of its own.
fn named(key: Vec<u8>) -> Map<String, Value> {
    let (text, base64) = Form::of(key).fields();
    let field = if text.is_some() { "key" } else { "key_b64" };
    let mut object = Map::new();
    object.insert(field.to_owned(), json!(text.or(base64)));
    object
}

fn name_of(map: &ClusterMap, node: NodeId) -> String {
    map.nodes.get(&node).map_or_else(|| node.to_string(), |info| info.name.clone())
}

fn names<'n>(map: &ClusterMap, nodes: impl IntoIterator<Item = &'n NodeId>) -> Vec<String> {
    nodes.into_iter().map(|node| name_of(map, *node)).collect()
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Whole => "whole",
        Health::Growing => "growing",
        Health::Degraded => "degraded",
        Health::Broken => "broken",
    }
}

fn figures(figures: &Figures) -> Value {
    json!({
        "partitions": figures.partitions,
        "fully_replicated": figures.is_fully_replicated(),
        "below_target": figures.below_target,
        "lost_copies": figures.lost_copies,
        "moving": figures.moving,
        "stalled": figures.stalled,
        "copies_to_make": figures.copies_to_make,
        "leaving": figures.leaving,
        "without_quorum": figures.without_quorum,
        "awaiting_acceptance": figures.awaiting_acceptance,
    })
}

fn status_of(shown: &ClusterShown, map: &ClusterMap) -> Value {
    let status = &shown.status;
    let keyspaces = status.keyspaces.iter().map(|(name, of)| {
        let target = map.keyspace(name).map(|keyspace| match keyspace.options.replication {
            Replication::Count(count) => json!(count),
            Replication::All => json!("all"),
        });
        let mut document = figures(of);
        document["replication"] = json!(target);
        (name.clone(), document)
    });
    let refusing = shown.conditions.iter().filter_map(|(node, condition)| {
        Some((name_of(map, *node), json!(condition.refusing.as_ref()?)))
    });
    let receiving = status.receiving.iter();
    let receiving = receiving.map(|(node, copies)| (name_of(map, *node), json!(copies)));
    json!({
        "cluster": shown.cluster.to_string(),
        "node": name_of(map, shown.node),
        "health": health(shown.health()),
        "starting": shown.starting,
        "fully_replicated": shown.is_fully_replicated(),
        "not_heard_of": names(map, &shown.unheard().collect::<Vec<_>>()),
        "refusing_writes": refusing.collect::<Map<_, _>>(),
        "map_version": status.version.to_string(),
        "leader": shown.leader.map(|leader| name_of(map, leader)),
        "told_by_leader": shown.leader == Some(shown.node),
        "term": shown.term,
        "voters": names(map, &shown.voters),
        "members": names(map, &status.members),
        "down": names(map, &status.down),
        "joining": names(map, &status.joining),
        "gone": names(map, &status.gone),
        "total": figures(&status.total),
        "keyspaces": keyspaces.collect::<Map<_, _>>(),
        "receiving": receiving.collect::<Map<_, _>>(),
        "hints": shown.hints,
        "requests_under_way": shown.under_way,
        "taking_in": shown.taking_in,
        "repair": REPAIR_FIGURES
            .iter()
            .zip(shown.repair)
            .map(|(figure, count)| (figure.name.to_owned(), json!(count)))
            .collect::<Map<_, _>>(),
        "links": shown.links.iter().map(|status| link(map, status)).collect::<Vec<_>>(),
    })
}

fn link(map: &ClusterMap, link: &LinkStatus) -> Value {
    json!({
        "name": name_of(map, link.node),
        "address": link.address,
        "up": link.up,
        "queued_messages": link.queued_messages,
        "unanswered": link.unanswered,
        "round_trip_us": link.round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        "last_failure": link.last_failure,
    })
}

fn addresses(of: &Addresses) -> Value {
    json!({ "peer": of.peer, "client": of.client, "cluster_client": of.cluster_client })
}

fn member(member: &MemberShown) -> Value {
    json!({
        "id": member.node.0,
        "name": member.name,
        "state": member.presence.name(),
        "for_ms": member.for_ms,
        "zone": member.zone,
        "weight": member.weight,
        "tags": member.tags,
        "addresses": addresses(&member.addresses),
        "votes": member.votes,
        "leads": member.leads,
        "this": member.is_this,
        "partitions": member.partitions,
        "refusing_writes": member.refusing,
    })
}

fn map_of(map: &ClusterMap, wanted: Option<&str>) -> Value {
    let state = |state| match state {
        NodeState::Joining => "joining",
        NodeState::Member => "member",
        NodeState::Gone => "gone",
    };
    let nodes = map.nodes.iter().map(|(node, info)| {
        json!({
            "id": node.0, "name": info.name, "state": state(info.state), "zone": info.zone,
            "weight": info.weight, "tags": info.tags, "addresses": addresses(&info.addresses),
        })
    });
    let chosen = map.keyspaces.values();
    let chosen = chosen.filter(|keyspace| wanted.is_none_or(|wanted| wanted == keyspace.name));
    let keyspaces = chosen.map(|keyspace| {
        let partitions = (0..).zip(&keyspace.partitions).map(|(id, partition)| {
            let slots = keyspace.partitioning.slots_of(shoal_core::PartitionId(id));
            let nodes = |members: &[shoal_core::quorum::Member]| {
                members.iter().map(|member| name_of(map, member.node)).collect::<Vec<_>>()
            };
            json!({
                "partition": id,
                "slots": [slots.start, slots.end - 1],
                "epoch": partition.epoch.to_string(),
                "replicas": nodes(&partition.replicas),
                "next": nodes(&partition.next),
                "outgoing": names(map, &partition.outgoing),
            })
        });
        json!({
            "name": keyspace.name,
            "incarnation": keyspace.incarnation.0,
            "engine": if keyspace.engine == EngineKind::Memory { "memory" } else { "disk" },
            "partitions": partitions.collect::<Vec<_>>(),
        })
    });
    json!({
        "version": map.version.to_string(),
        "cluster": map.cluster.to_string(),
        "nodes": nodes.collect::<Vec<_>>(),
        "keyspaces": keyspaces.collect::<Vec<_>>(),
    })
}

fn explanation(explained: &Explained, key: Vec<u8>) -> Value {
    let name = |node: NodeId| {
        let held = explained.held_by.iter().find(|held| held.node == node);
        held.map_or_else(|| node.to_string(), |held| held.name.clone())
    };
    let why = |node: NodeId| {
        let verdict = explained.candidates.iter().find(|verdict| verdict.node == node);
        verdict.map(|verdict| verdict.why.as_str())
    };
    let replicas = explained.held_by.iter().map(|held| replica(held, why(held.node)));
    let others = explained.candidates.iter();
    let others =
        others.filter(|other| explained.held_by.iter().all(|held| held.node != other.node));
    let others = others.map(|other| json!({ "node": other.node.0, "why": other.why }));
    let mut document = named(key);
    let rest = json!({
        "keyspace": explained.keyspace,
        "slot": explained.slot,
        "partition": explained.partition.0,
        "epoch": explained.epoch.to_string(),
        "leader": explained.leader.map(name),
        "replicas": replicas.collect::<Vec<_>>(),
        "leaving": explained.leaving.iter().map(|node| name(*node)).collect::<Vec<_>>(),
        "rule": explained.rule,
        "others": others.collect::<Vec<_>>(),
    });
    if let Value::Object(rest) = rest {
        document.extend(rest);
    }
    Value::Object(document)
}

fn replica(held: &HeldBy, why: Option<&str>) -> Value {
    let mut document = json!({
        "name": held.name,
        "owner": held.present,
        "to_be": held.next,
        "up": held.up,
        "life": held.incarnation.0,
        "why": why,
    });
    match &held.answer {
        HeldAnswer::Record(rank) => {
            document["holds"] = json!(if rank.tombstone { "tombstone" } else { "value" });
            document["version"] = json!(rank.version.to_string());
            document["written"] = json!(rank.written.to_string());
            document["expires_at"] = json!(rank.expires_at);
        }
        HeldAnswer::Nothing => document["holds"] = json!("nothing"),
        HeldAnswer::Unknown(reason) => {
            document["holds"] = json!("unknown");
            document["reason"] = json!(reason);
        }
    }
    document
}

#[cfg(test)]
mod tests;
