//! Listing keys: pages in the order of slot, then key.
//!
//! Holds: a cursor is the last key of the page before, or the slot it ended at, so it stays good
//! through restarts, growth and removals; a key present throughout is listed exactly once. A page
//! has a bound in keys and in bytes, and in memory in what is looked at for it. On disk, where
//! keys lie in order, a thread that may wait lists them.

mod walk;

use super::form::Form;
use super::job;
use super::query::Query;
use super::reply::Reply;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::StatusCode;
use serde::Serialize;
use shoal_core::map::EngineKind;
use shoal_core::quorum::Level;
use shoal_core::record::Body;
use shoal_core::slot::SLOT_COUNT;
use shoal_core::version::Millis;
use shoal_core::{Record, Version};
use shoal_node::{Access, Code, Halt, Listing, Node, Refusal, Target};
use std::sync::Arc;

/// Keys of a page unless the caller says otherwise.
const DEFAULT_LIMIT: usize = 100;

/// The most keys of a page.
const MAX_LIMIT: usize = 1_024;

/// A page ends once it holds this many bytes of keys and values.
const MAX_PAGE_BYTES: usize = 16 << 20;

/// How many entries with their values are asked for at once, since each may be long.
const VALUES_AT_ONCE: usize = 16;

/// Tells our cursors from other texts, and this form of them from later ones: the last key
/// listed, and the slot to begin with.
const KEY_MARK: &str = "k1.";
const SLOT_MARK: &str = "s1.";

/// What to list.
struct Ask {
    prefix: Vec<u8>,
    from: Begin,
    limit: usize,
    values: bool,
    level: Option<Level>,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Begin {
    Start,
    /// After this key.
    After(Vec<u8>),
    /// With this slot.
    Slot(u16),
}

/// What was listed, and where the next page begins if there may be more.
struct Page {
    items: Vec<Item>,
    next: Option<Begin>,
}

/// One listed key.
struct Item {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    version: Version,
    expires_at: Option<Millis>,
}

#[derive(Serialize)]
struct ItemDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_b64: Option<String>,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Millis>,
}

#[derive(Serialize)]
struct PageDocument {
    order: &'static str,
    keys: Vec<ItemDocument>,
    cursor: Option<String>,
}

/// GET of a keyspace's keys.
pub(crate) async fn run(node: &Arc<Node>, target: Target, query: &Query) -> Result<Reply, Refusal> {
    let ask = read(query)?;
    let page = if is_in_memory(node, &target) {
        walk::page(node, &target, &ask).await?
    } else {
        let listed = job::run(node, move |access| {
            access.at(ask.level);
            access.know(&target)?;
            if !access.exists(&target) {
                return Err(unknown(&target).into());
            }
            list(access, &target, &ask)
        });
        listed.await?
    };
    let cursor = page.next.as_ref().map(write_cursor);
    let keys = page.items.into_iter().map(document).collect();
    Ok(Reply::json(StatusCode::OK, &PageDocument { order: "slot, then key", keys, cursor }))
}

fn is_in_memory(node: &Node, target: &Target) -> bool {
    let map = node.map();
    let keyspace = match target {
        Target::Named(name) => map.keyspace(name),
        Target::Database(number) => map.database(*number),
    };
    keyspace.is_some_and(|keyspace| keyspace.engine == EngineKind::Memory)
}

fn read(query: &Query) -> Result<Ask, Refusal> {
    let limit = match query.number("limit")? {
        None => DEFAULT_LIMIT,
        Some(limit) => match usize::try_from(limit) {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => limit,
            _ => {
                let message = format!("the parameter `limit` is 1 to {MAX_LIMIT}");
                return Err(Refusal::new(Code::BadOption, message));
            }
        },
    };
    Ok(Ask {
        prefix: query.get("prefix").unwrap_or_default().to_vec(),
        from: query.text("cursor")?.map_or(Ok(Begin::Start), read_cursor)?,
        limit,
        values: query.flag("values")?,
        level: query.level()?,
    })
}

/// Collects a page where keys lie in order.
fn list(access: &mut Access<'_>, target: &Target, ask: &Ask) -> Result<Page, Halt> {
    let from = match &ask.from {
        Begin::Start => None,
        Begin::After(key) => Some(key.as_slice()),
        Begin::Slot(_) => return Err(bad_cursor().into()),
    };
    let mut items: Vec<Item> = Vec::new();
    let mut bytes = 0;
    let at_once = if ask.values { VALUES_AT_ONCE } else { ask.limit };
    while items.len() < ask.limit && bytes < MAX_PAGE_BYTES {
        let after = items.last().map(|item| item.key.clone());
        let listing = Listing {
            prefix: &ask.prefix,
            after: after.as_deref().or(from),
            limit: at_once.min(ask.limit - items.len()),
            values: ask.values,
        };
        let mut full = false;
        let more = access.list(target, &listing, &mut |key, record| {
            full |= bytes >= MAX_PAGE_BYTES;
            if !full {
                let item = take(key, &record, ask.values);
                bytes += item.key.len() + item.value.as_ref().map_or(0, Vec::len);
                items.push(item);
            }
        })?;
        if !more && !full {
            return Ok(Page { items, next: None });
        }
    }
    let next = items.last().map(|item| Begin::After(item.key.clone()));
    Ok(Page { items, next })
}

fn take(key: &[u8], record: &Record<'_>, with_value: bool) -> Item {
    let value = match record.body {
        Body::Live { bytes, .. } if with_value => Some(bytes.to_vec()),
        _ => None,
    };
    Item { key: key.to_vec(), value, version: record.version, expires_at: record.expires_at }
}

fn document(item: Item) -> ItemDocument {
    let (key, key_b64) = Form::of(item.key).fields();
    let (value, value_b64) = item.value.map_or((None, None), |value| Form::of(value).fields());
    ItemDocument {
        key,
        key_b64,
        value,
        value_b64,
        version: item.version.to_string(),
        expires_at: item.expires_at,
    }
}

fn write_cursor(from: &Begin) -> String {
    match from {
        Begin::Start => String::new(),
        Begin::After(key) => format!("{KEY_MARK}{}", URL_SAFE_NO_PAD.encode(key)),
        Begin::Slot(slot) => format!("{SLOT_MARK}{slot}"),
    }
}

fn read_cursor(text: &str) -> Result<Begin, Refusal> {
    if let Some(text) = text.strip_prefix(SLOT_MARK) {
        let slot = text.parse().ok().filter(|slot| *slot < SLOT_COUNT);
        return slot.map(Begin::Slot).ok_or_else(bad_cursor);
    }
    let key = text.strip_prefix(KEY_MARK).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let good = |key: &Vec<u8>| !key.is_empty() && key.len() <= shoal_node::MAX_KEY;
    key.filter(good).map(Begin::After).ok_or_else(bad_cursor)
}

fn bad_cursor() -> Refusal {
    Refusal::new(Code::BadOption, "the cursor is none that an earlier page gave")
}

fn unknown(target: &Target) -> Refusal {
    let name = match target {
        Target::Named(name) => name.to_string(),
        Target::Database(number) => number.to_string(),
    };
    Refusal::new(Code::NoKeyspace, format!("there is no keyspace '{name}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_key_survives_a_cursor(key in proptest::collection::vec(any::<u8>(), 1..100)) {
            let from = Begin::After(key);
            prop_assert_eq!(read_cursor(&write_cursor(&from)), Ok(from));
        }

        #[test]
        fn any_slot_survives_a_cursor(slot in 0..SLOT_COUNT) {
            let from = Begin::Slot(slot);
            prop_assert_eq!(read_cursor(&write_cursor(&from)), Ok(from));
        }
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for text in ["", "0", "k1.", "k1.!", "k2.YQ", "YQ", "s1.", "s1.16384", "s1.-1"] {
            assert_eq!(read_cursor(text).expect_err(text).code, Code::BadOption, "{text}");
        }
    }
}
