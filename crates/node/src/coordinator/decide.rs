//! What a read-modify-write decides: `shoal_core::update` with the rules of its keyspace.

use shoal_core::quorum::{Decide, Executed, Forwarded};
use shoal_core::record::{OwnedBody, OwnedRecord, PLAIN};
use shoal_core::update::{
    Change, Outcome, OwnedUpdate, SetExpiry, Update, UpdateError, When, apply,
};
use shoal_core::version::Millis;
use shoal_core::{Body, Record, Version};

/// One change, ready to be decided as often as it takes.
#[derive(Debug)]
pub(super) struct Updater {
    pub(super) update: OwnedUpdate,
    /// Whether what was there before is to be told.
    pub(super) look: bool,
    /// The longest value, in bytes.
    pub(super) limit: usize,
    /// How long a value lives that is written without an expiry.
    pub(super) default_ttl_ms: Option<Millis>,
}

/// What the asker hears of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It could be decided.
    Decided {
        outcome: Outcome,
        /// What a reader saw before, where that is to be told.
        before: Option<OwnedRecord>,
        /// The version of it, where there was anything.
        seen: Option<Version>,
        /// Whether the key has no value now.
        gone: bool,
    },
    /// It is impossible over what is there.
    Impossible(UpdateError),
}

impl Decide for Updater {
    type Answer = Told;

    fn removes(&self) -> bool {
        matches!(self.update.borrow(), Update::Delete { when: When::Always })
    }

    fn decide(
        &mut self,
        before: Option<&Record<'_>>,
        now_ms: Millis,
    ) -> (Told, Option<(OwnedBody, Option<Millis>)>) {
        let seen = before.filter(|record| record.is_live_at(now_ms));
        let update = self.update.borrow();
        let (outcome, change) = match apply(&update, seen, now_ms, self.limit) {
            Ok(decided) => decided,
            Err(error) => return (Told::Impossible(error), None),
        };
        let told = |gone| {
            let before = seen.filter(|_| self.look).map(|record| OwnedRecord::from(*record));
            let seen = seen.map(|record| record.version);
            Told::Decided { outcome: outcome.clone(), before, seen, gone }
        };
        match change {
            Change::Keep => (told(seen.is_none()), None),
            Change::Delete => (told(true), Some((OwnedBody::Tombstone, None))),
            Change::Put { value, expires_at } => {
                let (fresh, forever) = match update {
                    Update::Set { expiry, .. } => {
                        (expiry == SetExpiry::Never || seen.is_none(), expiry == SetExpiry::Forever)
                    }
                    _ => (seen.is_none(), false),
                };
                let implied = self.default_ttl_ms.filter(|_| fresh && !forever);
                let at = expires_at.or_else(|| implied.map(|ttl| now_ms.saturating_add(ttl)));
                let kind = match seen.map(|record| record.body) {
                    Some(Body::Live { kind, .. }) if !matches!(update, Update::Set { .. }) => kind,
                    _ => PLAIN,
                };
                let bytes = value.into_owned().into();
                (told(false), Some((OwnedBody::Live { kind, bytes }, at)))
            }
        }
    }
}

/// What the asker of a forwarded change hears.
pub(super) fn forwarded(executed: Executed<Told>) -> Forwarded {
    match executed {
        Executed::Done { answer: Told::Impossible(error), .. } => Forwarded::Impossible(error),
        Executed::Done { answer: Told::Decided { outcome, before, seen, gone }, version } => {
            let version = if gone { None } else { version.or(seen) };
            Forwarded::Done { outcome, before, version }
        }
        Executed::Conflict => Forwarded::Conflict,
        Executed::NoQuorum(lack) => Forwarded::NoQuorum(lack),
        Executed::Elsewhere => Forwarded::Elsewhere,
        Executed::Full(full) => Forwarded::Full(full),
        Executed::Unknown { version } => Forwarded::Unknown { version },
    }
}
