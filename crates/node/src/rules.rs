//! What the engines are told about values: which spaces are dead, and when a record is.
//!
//! Holds: a space is in the rules from before its first write until after its keyspace was
//! flushed or dropped. Whatever is not in the rules is dead, but for the spaces beside those of
//! keyspaces, in which the lives of copies and hints are kept.

use crate::replicas::LIVES_SPACE;
use crate::step::counted;
use arc_swap::ArcSwap;
use shoal_core::Record;
use shoal_core::codec::record::{decode, peek};
use shoal_core::map::{ClusterMap, MAX_INCARNATION};
use shoal_core::version::Millis;
use shoal_storage::{Policy, Tally};
use std::collections::HashMap;

/// When the dead records of a space go.
#[derive(Clone, Copy, Debug)]
enum Dies {
    /// Once they are dead.
    AtOnce,
    /// So many milliseconds after their event: the event horizon of a keyspace that takes event
    /// times.
    After(Millis),
    /// Once the owners have agreed on it: never by themselves.
    ByAgreement,
}

/// The rules, swapped as a whole when the map changes.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    spaces: ArcSwap<HashMap<u32, Dies>>,
}

impl Rules {
    /// Takes over what `map` says. Where the node is not alone (`local`), no record is ever due:
    /// the owners of a partition must agree before anything dead goes.
    pub(crate) fn install(&self, map: &ClusterMap, local: bool) {
        let spaces = map.keyspaces.values().map(|keyspace| {
            let dies = match keyspace.accepts_event_time {
                _ if !local => Dies::ByAgreement,
                true => Dies::After(keyspace.options.event_horizon_ms),
                false => Dies::AtOnce,
            };
            (keyspace.incarnation.0, dies)
        });
        self.spaces.store(spaces.collect::<HashMap<_, _>>().into());
    }

    /// Adds what `map` says to what is there: its new spaces may be opened before it holds.
    pub(crate) fn admit(&self, map: &ClusterMap) {
        let mut spaces = HashMap::clone(&self.spaces.load());
        for keyspace in map.keyspaces.values() {
            spaces.entry(keyspace.incarnation.0).or_insert(Dies::ByAgreement);
        }
        self.spaces.store(spaces.into());
    }

    /// Takes in one keyspace's life.
    #[cfg(test)]
    pub(crate) fn know(&self, keyspace: shoal_core::Incarnation) {
        self.spaces.store(HashMap::from([(keyspace.0, Dies::AtOnce)]).into());
    }

    /// From when on a record of a space may be removed for good; `None` for never.
    pub(crate) fn purge_at(&self, space: u32, record: &Record<'_>) -> Option<Millis> {
        // Most records never die, which takes no look at the rules.
        let dead_at = if record.is_tombstone() { 0 } else { record.expires_at? };
        match *self.spaces.load().get(&space)? {
            Dies::AtOnce => Some(dead_at),
            Dies::After(ms) => Some(dead_at.max(record.version.wall_ms.saturating_add(ms))),
            Dies::ByAgreement => None,
        }
    }
}

impl Policy for Rules {
    fn is_dead(&self, space: u32) -> bool {
        space < MAX_INCARNATION && !self.spaces.load().contains_key(&space)
    }

    fn due(&self, space: u32, value: &[u8]) -> Option<u64> {
        // The seal covers the key, which is not at hand here; whoever acts on the answer reads
        // the record again, seal and all.
        let record = peek(value).ok()?;
        self.purge_at(space, &record)
    }

    /// No tombstone is evicted: the other owners would bring back what it stands against.
    fn mark(&self, _: u32, value: &[u8]) -> Option<u128> {
        let record = peek(value).ok().filter(|record| !record.is_tombstone())?;
        Some(record.version.max(record.written).to_bits())
    }

    /// What a keyspace holds, and not what is kept for others. The lives of copies are taken as
    /// well: they are small and few, and without them no map could be taken over that makes room.
    fn removes(&self, space: u32, value: &[u8]) -> bool {
        space == LIVES_SPACE
            || space < MAX_INCARNATION && peek(value).is_ok_and(|record| record.is_tombstone())
    }

    fn counts(&self, _: u32, value: &[u8]) -> Tally {
        counted(peek(value).ok().as_ref())
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

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_core::Version;
    use shoal_core::codec::record::{Form, head};

    #[test]
    fn only_tombstones_of_keyspaces_are_removals() {
        let stored = |record: &Record<'_>, body: &[u8]| {
            [head(Form::Plain, b"k", record).as_bytes(), body].concat()
        };
        let gone = stored(&Record::tombstone(Version::ZERO), b"");
        let live = stored(&Record::live(Version::ZERO, None, b"v"), b"v");
        let empty = stored(&Record::live(Version::ZERO, None, b""), b"");
        let rules = Rules::default();
        assert!(rules.removes(1, &gone));
        assert!(!rules.removes(1, &live) && !rules.removes(1, &empty), "a value, if an empty one");
        assert!(!rules.removes(MAX_INCARNATION + 1, &gone), "a hint frees nothing");
        assert!(rules.removes(LIVES_SPACE, &live), "a map that flushes must find room");
        assert!(!rules.removes(1, b"nonsense"));
    }
}
