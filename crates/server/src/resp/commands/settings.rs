//! CONFIG: the settings that Redis' clients and tools ask for.
//!
//! Holds: what CONFIG GET tells is in force. CONFIG SET takes what can be changed while the node
//! runs, refuses the rest by name, and changes nothing unless it can change all.

use super::{Context, Done, Fail, info};
use crate::resp::words::Words;
use shoal_core::glob;
use shoal_core::map::{Changes, DEFAULT_KEYSPACE, Durability, Eviction};
use shoal_node::{Code, Halt, Refusal};
use shoal_storage::Patience;

type Show = fn(&Context<'_, '_>) -> String;

/// The settings, by name.
const SETTINGS: &[(&str, Show)] = &[
    ("appendfsync", appendfsync),
    ("appendonly", |context| yes(info::on_disk(context))),
    ("bind", |context| context.shared.tcp_host()),
    ("cluster-enabled", |_| yes(false)),
    ("databases", |_| (shoal_core::map::MAX_DATABASE + 1).to_string()),
    ("dir", |context| {
        let data = context.shared.node.data();
        std::path::absolute(data).unwrap_or_else(|_| data.to_owned()).display().to_string()
    }),
    ("maxclients", |context| context.shared.client_limit().to_string()),
    ("maxmemory", |context| info::max_memory(context).to_string()),
    ("maxmemory-policy", |context| info::policy(context).to_owned()),
    ("port", |context| context.shared.tcp_port().to_string()),
    ("proto-max-bulk-len", |context| context.shared.config.max_value.to_string()),
    ("save", |_| String::new()),
    ("slowlog-log-slower-than", |_| "-1".to_owned()),
    ("slowlog-max-len", |_| "0".to_owned()),
    ("tcp-keepalive", |_| "60".to_owned()),
    ("timeout", |_| "0".to_owned()),
];

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

fn appendfsync(context: &Context<'_, '_>) -> String {
    let map = context.shared.node.map();
    let durability = map.database(0).map(|keyspace| keyspace.options.durability);
    match durability {
        Some(Durability::Interval(_)) => "everysec",
        Some(Durability::Os) => "no",
        _ => "always",
    }
    .to_owned()
}

/// CONFIG GET pattern [pattern ...]
pub(crate) fn get(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let asked =
        |name: &str| words.from(2).iter().find(|word| glob::matches_nocase(word, name.as_bytes()));
    let found: Vec<_> = SETTINGS
        .iter()
        .filter_map(|(name, show)| Some((*name, asked(name)?, show(context))))
        .collect();
    context.reply.map(found.len());
    for (name, word, value) in found {
        // What was asked for by its name is told under the name that the client used.
        let by_name = name.as_bytes().eq_ignore_ascii_case(word);
        context.reply.bulk(if by_name { word } else { name.as_bytes() });
        context.reply.bulk(value.as_bytes());
    }
    Ok(())
}

/// CONFIG SET name value [name value ...]
pub(crate) fn set(context: &mut Context<'_, '_>, words: Words<'_>) -> Done {
    let pairs = words.from(2);
    if !pairs.len().is_multiple_of(2) {
        return Err(Fail::text("ERR syntax error"));
    }
    for at in (0..pairs.len()).step_by(2) {
        known(pairs.word(at))?;
        let is_again = |other: usize| pairs.word(other).eq_ignore_ascii_case(pairs.word(at));
        if (0..at.min(2 * SETTINGS.len())).step_by(2).any(is_again) {
            let name = String::from_utf8_lossy(pairs.word(at)).into_owned();
            return Err(failed(&name, "duplicate parameter"));
        }
    }
    let mut changes = Changes::default();
    for at in (0..pairs.len()).step_by(2) {
        plan(context, pairs.word(at), pairs.word(at + 1), &mut changes)?;
    }
    if changes != Changes::default() {
        if context.access.in_transaction() {
            return Err(Fail::text("ERR CONFIG SET of this is not possible in a transaction"));
        }
        if context.patience == Patience::Inline {
            return Err(Halt::Cold.into());
        }
        let altered = context.access.node().alter_keyspace(DEFAULT_KEYSPACE, changes);
        altered.map_err(in_names_of_redis)?;
        context.access.refresh();
    }
    context.reply.ok();
    Ok(())
}

/// The setting of this name.
fn known(name: &[u8]) -> Result<&'static (&'static str, Show), Fail> {
    let setting = SETTINGS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
    setting.ok_or_else(|| {
        let name = String::from_utf8_lossy(name);
        let text = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
        Fail::Text(text.into())
    })
}

/// Adds one setting to the changes of the keyspace `default`.
fn plan(
    context: &Context<'_, '_>,
    name: &[u8],
    value: &[u8],
    changes: &mut Changes,
) -> Result<(), Fail> {
    let (name, show) = known(name)?;
    let value = String::from_utf8_lossy(value).to_ascii_lowercase();
    if value == show(context).to_ascii_lowercase() {
        return Ok(());
    }
    match (*name, value.as_str()) {
        // Every negative number says what -1 says: nothing is logged.
        ("slowlog-log-slower-than", value) if value.parse().is_ok_and(i64::is_negative) => {}
        ("appendfsync", "always") => changes.durability = Some(Durability::Always),
        ("appendfsync", "everysec") => changes.durability = Some(Durability::Interval(1_000)),
        ("appendfsync", "no") => changes.durability = Some(Durability::Os),
        ("maxmemory", value) => {
            let bytes = bytes_of(value);
            let bytes = bytes.ok_or_else(|| failed(name, "argument must be a memory value"))?;
            changes.max_memory = Some((bytes > 0).then_some(bytes));
        }
        ("maxmemory-policy", "noeviction") => changes.eviction = Some(Eviction::None),
        ("maxmemory-policy", "allkeys-lru") => changes.eviction = Some(Eviction::Lru),
        _ => return Err(failed(name, "can't set immutable config")),
    }
    Ok(())
}

/// An amount of memory as Redis writes it: `k` is 1,000 bytes and `kb` 1,024.
fn bytes_of(value: &str) -> Option<u64> {
    let end = value.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    let scale: u64 = match unit {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// A refusal under the names that CONFIG has for the options.
fn in_names_of_redis(refusal: Refusal) -> Fail {
    let name = |option| match option {
        "sync" => Some("appendfsync"),
        "max_memory" => Some("maxmemory"),
        "eviction" => Some("maxmemory-policy"),
        _ => None,
    };
    let told = refusal.message.split_once(": ").filter(|_| refusal.code == Code::BadOption);
    match told.and_then(|(option, why)| Some((name(option)?, why))) {
        Some((name, why)) => failed(name, &why.replace("max_memory", "maxmemory")),
        None => Halt::Refused(refusal).into(),
    }
}

fn failed(name: &str, why: &str) -> Fail {
    let text = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
    Fail::Text(text.into())
}

/// CONFIG RESETSTAT
pub(crate) fn reset_stat(context: &mut Context<'_, '_>) -> Done {
    context.shared.figures.reset(info::counts(context));
    context.reply.ok();
    Ok(())
}
