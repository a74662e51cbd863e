//! What the engines are told about values: which spaces are dead, and when a record is.
//!
//! Holds: a space is in the rules from before its first write until after its keyspace was
//! flushed or dropped. Whatever is not in the rules is dead, but for the space in which the lives
//! of copies are kept.

use crate::replicas::LIVES_SPACE;
use arc_swap::ArcSwap;
use shoal_core::Record;
use shoal_core::codec::record::decode;
use shoal_core::map::ClusterMap;
use shoal_core::version::Millis;
use shoal_storage::Policy;
use std::collections::HashMap;

/// How long the records of a space stay after they are dead: the event horizon, where the
/// keyspace takes event times; else not at all.
type Horizon = Option<Millis>;

/// The rules, swapped as a whole when the map changes.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    spaces: ArcSwap<HashMap<u32, Horizon>>,
}

impl Rules {
    /// Takes over what `map` says.
    pub(crate) fn install(&self, map: &ClusterMap) {
        let spaces = map.keyspaces.values().map(|keyspace| {
            let horizon = keyspace.accepts_event_time.then_some(keyspace.options.event_horizon_ms);
            (keyspace.incarnation.0, horizon)
        });
        self.spaces.store(spaces.collect::<HashMap<_, _>>().into());
    }

    /// Adds what `map` says to what is there: its new spaces may be opened before it holds.
    pub(crate) fn admit(&self, map: &ClusterMap) {
        let mut spaces = HashMap::clone(&self.spaces.load());
        for keyspace in map.keyspaces.values() {
            spaces.entry(keyspace.incarnation.0).or_insert(None);
        }
        self.spaces.store(spaces.into());
    }

    /// Takes in one keyspace's life.
    #[cfg(test)]
    pub(crate) fn know(&self, keyspace: shoal_core::Incarnation) {
        self.spaces.store(HashMap::from([(keyspace.0, None)]).into());
    }

    /// From when on a record of a space may be removed for good; `None` for never.
    pub(crate) fn purge_at(&self, space: u32, record: &Record<'_>) -> Option<Millis> {
        // Most records never die, which takes no look at the rules.
        let dead_at = if record.is_tombstone() { 0 } else { record.expires_at? };
        let horizon = *self.spaces.load().get(&space)?;
        Some(dead_at.max(horizon.map_or(0, |ms| record.version.wall_ms.saturating_add(ms))))
    }
}

impl Policy for Rules {
    fn is_dead(&self, space: u32) -> bool {
        space != LIVES_SPACE && !self.spaces.load().contains_key(&space)
    }

    fn due(&self, space: u32, value: &[u8]) -> Option<u64> {
        // The seal covers the key, which is not at hand here; whoever acts on the answer reads
        // the record again, seal and all.
        let record = shoal_core::codec::record::peek(value).ok()?;
        self.purge_at(space, &record)
    }
}

/// Reads a stored record, saying where it was if it is damaged.
pub(crate) fn read_record<'a>(
    key: &[u8],
    bytes: &'a [u8],
) -> Result<Record<'a>, shoal_storage::EngineError> {
    decode(key, bytes).map_err(|error| shoal_storage::EngineError::Corrupt {
        file: "a stored record".to_owned(),
        what: error.to_string(),
    })
}
