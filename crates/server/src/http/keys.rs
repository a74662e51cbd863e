//! One key: read, store, remove.

use super::conditions::{Conditions, Verdict};
use super::job;
use super::query::Query;
use super::reply::Reply;
use bytes::Bytes;
use hyper::StatusCode;
use shoal_core::Record;
use shoal_core::quorum::Level;
use shoal_core::record::Body;
use shoal_core::update::{Outcome, SetExpiry, Tag, Update};
use shoal_core::version::Millis;
use shoal_node::Node;
use shoal_node::Target;
use shoal_node::{Code, Refusal};
use std::sync::Arc;

/// Where a key is.
pub(crate) struct Place {
    pub(crate) target: Target,
    pub(crate) key: Vec<u8>,
    /// How many of its replicas are waited for; `None` for what the keyspace says.
    pub(crate) level: Option<Level>,
}

/// What a read found.
enum Read {
    Absent,
    Judged(Verdict, Option<Tag>),
    Value(Found, Bytes),
}

struct Found {
    tag: Tag,
    expires_at: Option<Millis>,
    length: usize,
}

/// GET and, without the value, HEAD.
pub(crate) async fn get(
    node: &Arc<Node>,
    place: Place,
    conditions: Conditions,
    with_value: bool,
) -> Result<Reply, Refusal> {
    let read = job::run(node, move |access| {
        access.at(place.level);
        access.read(&place.target, &place.key, |record| look(record, &conditions, with_value))
    });
    Ok(match read.await? {
        Read::Absent => return Err(absent()),
        Read::Judged(Verdict::NotModified, tag) => {
            Reply::status(StatusCode::NOT_MODIFIED).about(tag, None)
        }
        Read::Judged(..) => return Err(unmet()),
        Read::Value(found, value) => {
            let reply = if with_value { Reply::bytes(value) } else { Reply::head(found.length) };
            reply.about(Some(found.tag), found.expires_at)
        }
    })
}

fn look(record: Option<Record<'_>>, conditions: &Conditions, with_value: bool) -> Read {
    let live = record.and_then(|record| match record.body {
        Body::Live { bytes, .. } => Some((record, bytes)),
        Body::Tombstone => None,
    });
    let tag = live.map(|(record, _)| Tag::of(&record));
    match conditions.judge(tag) {
        Verdict::Go => {}
        verdict => return Read::Judged(verdict, tag),
    }
    let Some((record, bytes)) = live else { return Read::Absent };
    let found = Found { tag: Tag::of(&record), expires_at: record.expires_at, length: bytes.len() };
    // The value is borrowed from the table; this is its one copy on the way to the socket.
    let value = if with_value { Bytes::copy_from_slice(bytes) } else { Bytes::new() };
    Read::Value(found, value)
}

/// PUT and POST.
pub(crate) async fn put(
    node: &Arc<Node>,
    place: Place,
    conditions: Conditions,
    query: &Query,
    value: Bytes,
) -> Result<Reply, Refusal> {
    conditions.when()?;
    let ttl_ms = query.ttl_ms()?;
    let event_time = query.event_time()?;
    let stored = job::run(node, move |access| {
        access.at(place.level);
        let expires_at = ttl_ms.map(|ttl| access.now() + ttl);
        let expiry = expires_at.map_or(SetExpiry::Never, SetExpiry::At);
        let update = Update::Set { value: &value, expiry, when: conditions.when()? };
        access.update_at(&place.target, &place.key, &update, event_time, |updated| {
            let done = updated.outcome != Outcome::Unmet;
            // What was not looked at is not called new.
            let fresh = updated.before.is_none() && !updated.blind;
            (done, fresh, updated.version, expires_at)
        })
    });
    let (done, fresh, version, expires_at) = stored.await?;
    if !done {
        return Err(unmet());
    }
    let status = if fresh { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    // Under event time the version alone is no tag; whoever wants one reads.
    let tag = version.filter(|_| event_time.is_none()).map(Tag::plain);
    Ok(Reply::status(status).about(tag, expires_at))
}

/// DELETE.
pub(crate) async fn delete(
    node: &Arc<Node>,
    place: Place,
    conditions: Conditions,
    query: &Query,
) -> Result<Reply, Refusal> {
    conditions.when()?;
    let event_time = query.event_time()?;
    let conditional = !conditions.is_empty();
    let removed = job::run(node, move |access| {
        access.at(place.level);
        let update = Update::Delete { when: conditions.when()? };
        access.update_at(&place.target, &place.key, &update, event_time, |updated| {
            updated.outcome != Outcome::Unmet
        })
    });
    match removed.await? {
        true => Ok(Reply::status(StatusCode::NO_CONTENT)),
        false if conditional => Err(unmet()),
        false => Err(absent()),
    }
}

pub(crate) fn absent() -> Refusal {
    Refusal::new(Code::NotFound, "the key has no value")
}

fn unmet() -> Refusal {
    Refusal::new(Code::ConditionFailed, "the condition of If-Match or If-None-Match is not met")
}
