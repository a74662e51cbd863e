//! Keyspaces: listed, made, described, changed, dropped.
//!
//! Holds: a field that is not known is refused, in a request as in a file of settings. `null`
//! takes an option away, a field left out leaves it as it is.

mod spread;

use super::form;
use super::job;
use super::reply::Reply;
use hyper::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use shoal_core::Incarnation;
use shoal_core::map::{Changes, Durability, EngineKind, Eviction, KeyspaceOptions, KeyspaceSpec};
use shoal_core::slot::Partitioning;
use shoal_node::{Code, KeyspaceInfo, Node, Refusal};
use spread::{LevelName, Placement, Zones};
use std::num::NonZeroU64;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateDocument {
    engine: Option<Engine>,
    partitions: Option<u64>,
    placement: Option<Placement>,
    db: Option<u16>,
    #[serde(default, deserialize_with = "given")]
    default_ttl_ms: Option<Option<u64>>,
    sync: Option<String>,
    #[serde(default, deserialize_with = "given")]
    max_memory: Option<Option<u64>>,
    eviction: Option<EvictionName>,
    replication: Option<serde_json::Value>,
    read_level: Option<LevelName>,
    write_level: Option<LevelName>,
    zones: Option<Zones>,
    event_horizon_ms: Option<u64>,
}

/// What may change later. How far back event times may lie may not: a tombstone that was purged
/// because no event could be older any more would be missed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlterDocument {
    #[serde(default, deserialize_with = "given")]
    db: Option<Option<u16>>,
    #[serde(default, deserialize_with = "given")]
    default_ttl_ms: Option<Option<u64>>,
    sync: Option<String>,
    #[serde(default, deserialize_with = "given")]
    max_memory: Option<Option<u64>>,
    eviction: Option<EvictionName>,
    replication: Option<serde_json::Value>,
    read_level: Option<LevelName>,
    write_level: Option<LevelName>,
    zones: Option<Zones>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Engine {
    Memory,
    Disk,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum EvictionName {
    None,
    Lru,
}

/// Tells `null` from a field that is not there.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Serialize)]
struct KeyspaceDocument {
    name: String,
    db: Option<u16>,
    engine: Engine,
    partitions: u16,
    keys: i64,
    expiring: i64,
    bytes: u64,
    sync: String,
    default_ttl_ms: Option<u64>,
    max_memory: Option<u64>,
    eviction: EvictionName,
    replication: serde_json::Value,
    placement: Placement,
    zones: Zones,
    read_level: LevelName,
    write_level: LevelName,
    event_horizon_ms: u64,
    accepts_event_time: bool,
    incarnation: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

impl KeyspaceDocument {
    /// With what whoever chose the options ought to know about them.
    fn noted(self, options: &KeyspaceOptions) -> Self {
        Self { note: spread::note(options), ..self }
    }
}

impl From<KeyspaceInfo> for KeyspaceDocument {
    fn from(info: KeyspaceInfo) -> Self {
        let definition = info.definition;
        let Incarnation(incarnation) = definition.incarnation;
        let options = definition.options;
        Self {
            db: definition.database,
            engine: match definition.engine {
                EngineKind::Memory => Engine::Memory,
                EngineKind::Disk => Engine::Disk,
            },
            partitions: definition.partitioning.count(),
            keys: info.tally.keys,
            expiring: info.tally.expiring,
            bytes: info.bytes,
            sync: match options.durability {
                Durability::Always => "always".to_owned(),
                Durability::Interval(ms) => format!("interval:{ms}"),
                Durability::Os => "os".to_owned(),
            },
            default_ttl_ms: options.default_ttl_ms.map(NonZeroU64::get),
            max_memory: options.max_memory,
            eviction: match options.eviction {
                Eviction::None => EvictionName::None,
                Eviction::Lru => EvictionName::Lru,
            },
            replication: spread::shown(options.replication),
            placement: options.strategy.into(),
            zones: Zones::of(options.spread_zones),
            read_level: options.read_level.into(),
            write_level: options.write_level.into(),
            event_horizon_ms: options.event_horizon_ms,
            accepts_event_time: definition.accepts_event_time,
            incarnation,
            note: None,
            name: definition.name,
        }
    }
}

/// GET of all keyspaces.
pub(crate) fn list(node: &Node) -> Reply {
    #[derive(Serialize)]
    struct Document {
        keyspaces: Vec<KeyspaceDocument>,
    }
    let keyspaces = node.list().into_iter().map(KeyspaceDocument::from).collect();
    Reply::json(StatusCode::OK, &Document { keyspaces })
}

/// GET of one keyspace.
pub(crate) fn describe(node: &Node, name: &str) -> Result<Reply, Refusal> {
    let info = node.describe(name)?;
    Ok(Reply::json(StatusCode::OK, &KeyspaceDocument::from(info)))
}

/// PUT of a keyspace.
pub(crate) async fn create(node: &Arc<Node>, name: String, body: &[u8]) -> Result<Reply, Refusal> {
    let document: CreateDocument =
        if body.is_empty() { form::parse(b"{}") } else { form::parse(body) }?;
    let database = document.db;
    let spec = spec(&document)?;
    let there = Arc::clone(node);
    job::blocking(move || {
        there.create_keyspace(&name, spec, database)?;
        let document = KeyspaceDocument::from(there.describe(&name)?).noted(&spec.options);
        Ok(Reply::json(StatusCode::CREATED, &document))
    })
    .await?
}

/// PATCH of a keyspace.
pub(crate) async fn alter(node: &Arc<Node>, name: String, body: &[u8]) -> Result<Reply, Refusal> {
    let changes = changes(&form::parse(body)?)?;
    let there = Arc::clone(node);
    job::blocking(move || {
        let before = there.describe(&name)?.definition.options.replication;
        there.alter_keyspace(&name, changes)?;
        let info = there.describe(&name)?;
        let chosen = changes.applied_to(&info.definition.options);
        let mut document = KeyspaceDocument::from(info);
        // Only whoever chooses the replication is told about it.
        if let Some(after) = changes.replication {
            let fewer = spread::note_of_fewer(before, after);
            document.note = fewer.or_else(|| spread::note(&chosen));
        }
        Ok(Reply::json(StatusCode::OK, &document))
    })
    .await?
}

/// DELETE of a keyspace.
pub(crate) async fn drop(node: &Arc<Node>, name: String) -> Result<Reply, Refusal> {
    let there = Arc::clone(node);
    job::blocking(move || {
        there.drop_keyspace(&name)?;
        Ok(Reply::status(StatusCode::NO_CONTENT))
    })
    .await?
}

fn spec(document: &CreateDocument) -> Result<KeyspaceSpec, Refusal> {
    let mut spec = KeyspaceSpec::new(match document.engine {
        Some(Engine::Memory) => EngineKind::Memory,
        Some(Engine::Disk) | None => EngineKind::Disk,
    });
    if let Some(count) = document.partitions {
        let count = u16::try_from(count).ok().and_then(Partitioning::new);
        spec.partitioning =
            count.ok_or_else(|| bad("`partitions` is a power of two between 1 and 16384"))?;
    }
    let changes = options(
        document.default_ttl_ms,
        document.sync.as_deref(),
        document.max_memory,
        document.eviction,
    )?;
    let changes = spread_changes(
        changes,
        document.replication.as_ref(),
        [document.read_level, document.write_level],
        document.zones,
    )?;
    let changes = Changes { event_horizon_ms: document.event_horizon_ms, ..changes };
    spec.options = changes.applied_to(&spec.options);
    spec.options.strategy = document.placement.map_or(spec.options.strategy, Into::into);
    Ok(spec)
}

fn changes(document: &AlterDocument) -> Result<Changes, Refusal> {
    let changes = options(
        document.default_ttl_ms,
        document.sync.as_deref(),
        document.max_memory,
        document.eviction,
    )?;
    let changes = spread_changes(
        changes,
        document.replication.as_ref(),
        [document.read_level, document.write_level],
        document.zones,
    )?;
    Ok(Changes { database: document.db, ..changes })
}

/// The same changes, and those of how replicas are spread and asked.
fn spread_changes(
    changes: Changes,
    replication: Option<&serde_json::Value>,
    [read_level, write_level]: [Option<LevelName>; 2],
    zones: Option<Zones>,
) -> Result<Changes, Refusal> {
    Ok(Changes {
        replication: replication.map(spread::replication).transpose()?,
        read_level: read_level.map(Into::into),
        write_level: write_level.map(Into::into),
        spread_zones: zones.map(|zones| zones == Zones::Spread),
        ..changes
    })
}

fn options(
    default_ttl_ms: Option<Option<u64>>,
    sync: Option<&str>,
    max_memory: Option<Option<u64>>,
    eviction: Option<EvictionName>,
) -> Result<Changes, Refusal> {
    let ttl = |ms: Option<u64>| {
        let positive = |ms| {
            NonZeroU64::new(ms)
                .ok_or_else(|| bad("`default_ttl_ms` is at least 1; null takes it away"))
        };
        ms.map(positive).transpose()
    };
    Ok(Changes {
        default_ttl_ms: default_ttl_ms.map(ttl).transpose()?,
        durability: sync.map(durability).transpose()?,
        max_memory,
        eviction: eviction.map(|name| match name {
            EvictionName::None => Eviction::None,
            EvictionName::Lru => Eviction::Lru,
        }),
        ..Changes::default()
    })
}

fn durability(text: &str) -> Result<Durability, Refusal> {
    let interval = || text.strip_prefix("interval:")?.parse().ok().filter(|ms| *ms > 0);
    match text {
        "always" => Ok(Durability::Always),
        "os" => Ok(Durability::Os),
        _ => interval().map(Durability::Interval).ok_or_else(|| {
            bad("`sync` is `always`, `interval:` with milliseconds, like interval:100, or `os`")
        }),
    }
}

fn bad(message: &'static str) -> Refusal {
    Refusal::new(Code::BadOption, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_core::placement::{Replication, Strategy};
    use shoal_core::quorum::Level;

    fn created(body: &str) -> Result<KeyspaceSpec, Refusal> {
        form::parse(body.as_bytes()).and_then(|document| spec(&document))
    }

    fn altered(body: &str) -> Result<Changes, Refusal> {
        form::parse(body.as_bytes()).and_then(|document| changes(&document))
    }

    #[test]
    fn nothing_said_is_the_usual_keyspace() {
        assert_eq!(created("{}"), Ok(KeyspaceSpec::new(EngineKind::Disk)));
    }

    #[test]
    fn what_is_said_is_taken() {
        let spec = created(
            r#"{"engine":"memory","partitions":16,"max_memory":1000,"eviction":"lru","default_ttl_ms":5}"#,
        )
        .expect("it is sound");
        assert_eq!((spec.engine, spec.partitioning.count()), (EngineKind::Memory, 16));
        assert_eq!(spec.options.eviction, Eviction::Lru);
        assert_eq!(spec.options.max_memory, Some(1_000));
        assert_eq!(spec.options.default_ttl_ms, NonZeroU64::new(5));
        let spec = created(r#"{"sync":"interval:100"}"#).expect("it is sound");
        assert_eq!(spec.options.durability, Durability::Interval(100));
        let spec = created(
            r#"{"replication":5,"placement":"jump","read_level":"one","write_level":"all","zones":"ignore"}"#,
        )
        .expect("it is sound");
        let options = spec.options;
        assert_eq!(
            (options.replication, options.strategy),
            (Replication::Count(5), Strategy::Jump)
        );
        assert_eq!((options.read_level, options.write_level), (Level::One, Level::All));
        assert!(!options.spread_zones);
        let all = created(r#"{"replication":"all"}"#).expect("it is sound");
        assert_eq!(all.options.replication, Replication::All);
        let short = created(r#"{"event_horizon_ms":3600000}"#).expect("it is sound");
        assert_eq!(short.options.event_horizon_ms, 3_600_000);
    }

    #[test]
    fn two_replicas_are_remarked_upon() {
        let note = |body: &str| spread::note(&created(body).expect("it is sound").options);
        assert!(note(r#"{"replication":2}"#).is_some_and(|note| note.contains("loss of none")));
        assert_eq!((note("{}"), note(r#"{"replication":1}"#)), (None, None));
    }

    #[test]
    fn null_takes_away_and_silence_leaves() {
        assert_eq!(altered("{}"), Ok(Changes::default()));
        let changes = altered(r#"{"default_ttl_ms":null,"max_memory":5,"db":null}"#);
        let expected = Changes {
            default_ttl_ms: Some(None),
            max_memory: Some(Some(5)),
            database: Some(None),
            ..Changes::default()
        };
        assert_eq!(changes, Ok(expected));
    }

    #[test]
    fn nonsense_is_refused() {
        for body in [
            r#"{"engine":"tape"}"#,
            r#"{"partitions":3}"#,
            r#"{"partitions":0}"#,
            r#"{"partitions":1000000000}"#,
            r#"{"default_ttl_ms":0}"#,
            r#"{"default_ttl_ms":-1}"#,
            r#"{"sync":"sometimes"}"#,
            r#"{"sync":"interval:0"}"#,
            r#"{"sync":"interval:x"}"#,
            r#"{"evicton":"lru"}"#,
            r#"{"replication":0}"#,
            r#"{"replication":8}"#,
            r#"{"replication":"some"}"#,
            r#"{"placement":"random"}"#,
            r#"{"read_level":"two"}"#,
            r#"{"zones":"no"}"#,
            "[]",
        ] {
            assert!(created(body).is_err(), "{body}");
        }
        assert!(altered(r#"{"engine":"disk"}"#).is_err(), "an engine is for life");
        assert!(altered(r#"{"placement":"ring"}"#).is_err(), "so is a placement");
        assert!(altered(r#"{"event_horizon_ms":5}"#).is_err(), "and an event horizon");
    }
}
