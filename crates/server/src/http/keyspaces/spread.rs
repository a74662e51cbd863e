//! How many replicas a keyspace has, where they stand and how many of them are asked, as
//! documents say it.

use super::bad;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shoal_core::map::KeyspaceOptions;
use shoal_core::placement::{MAX_REPLICAS, Replication, Strategy};
use shoal_core::quorum::Level;
use shoal_node::Refusal;

/// How nodes are chosen.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Placement {
    Rendezvous,
    Jump,
    Ring,
}

/// How many replicas are asked.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LevelName {
    One,
    Quorum,
    All,
}

/// What zones mean for the replicas of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Zones {
    Spread,
    Ignore,
}

impl From<Placement> for Strategy {
    fn from(placement: Placement) -> Self {
        match placement {
            Placement::Rendezvous => Self::Rendezvous,
            Placement::Jump => Self::Jump,
            Placement::Ring => Self::Ring,
        }
    }
}

impl From<Strategy> for Placement {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Rendezvous => Self::Rendezvous,
            Strategy::Jump => Self::Jump,
            Strategy::Ring => Self::Ring,
        }
    }
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::One => Self::One,
            LevelName::Quorum => Self::Quorum,
            LevelName::All => Self::All,
        }
    }
}

impl From<Level> for LevelName {
    fn from(level: Level) -> Self {
        match level {
            Level::One => Self::One,
            Level::Quorum => Self::Quorum,
            Level::All => Self::All,
        }
    }
}

impl Zones {
    /// What keyspaces with or without `spread_zones` say.
    pub(super) const fn of(spread_zones: bool) -> Self {
        if spread_zones { Self::Spread } else { Self::Ignore }
    }
}

/// A number of replicas as a document has it.
pub(super) fn replication(value: &Value) -> Result<Replication, Refusal> {
    let count = value.as_u64().and_then(|count| u8::try_from(count).ok());
    match count {
        Some(count @ 1..=MAX_REPLICAS) => Ok(Replication::Count(count)),
        _ if value == "all" => Ok(Replication::All),
        _ => Err(bad("`replication` is a number from 1 to 7, or \"all\"")),
    }
}

/// A number of replicas as a document shows it.
pub(super) fn shown(replication: Replication) -> Value {
    match replication {
        Replication::Count(count) => json!(count),
        Replication::All => json!("all"),
    }
}

/// What whoever lowered the replication from `before` ought to know.
pub(super) fn note_of_fewer(before: Replication, after: Replication) -> Option<&'static str> {
    let is_fewer = match (before, after) {
        (Replication::Count(before), Replication::Count(after)) => after < before,
        (Replication::All, Replication::Count(_)) => true,
        (_, Replication::All) => false,
    };
    is_fewer.then_some(
        "no replica is removed yet: every partition keeps those that it has, and their quorum",
    )
}

/// What whoever chose `options` ought to know about them.
pub(super) fn note(options: &KeyspaceOptions) -> Option<&'static str> {
    (options.replication == Replication::Count(2)).then_some(
        "a quorum of 2 replicas is both of them, so it tolerates the loss of none; 3 tolerate \
         the loss of one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_fewer_replicas_is_told_that_none_goes() {
        let [two, three] = [2, 3].map(Replication::Count);
        assert!(note_of_fewer(three, two).is_some());
        assert!(note_of_fewer(Replication::All, three).is_some());
        for (before, after) in [(two, three), (three, three), (three, Replication::All)] {
            assert_eq!(note_of_fewer(before, after), None);
        }
    }
}
