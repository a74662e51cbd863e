//! What a read-modify-write decides: `shoal_core::update` with the rules of its keyspace.

use shoal_core::quorum::{Decide, Executed, Forwarded};
use shoal_core::record::{OwnedBody, OwnedRecord, PLAIN};
use shoal_core::update::{Change, Outcome, OwnedUpdate, SetExpiry, Update, UpdateError, apply};
use shoal_core::version::Millis;
use shoal_core::{Body, Record, Version};

/// One change, ready to be decided as often as it takes.
#[derive(Debug)]
pub(super) struct Updater {
    pub(super) update: OwnedUpdate,
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
        /// What a reader saw before.
        before: Option<OwnedRecord>,
        /// Whether the key has no value now.
        gone: bool,
    },
    /// It is impossible over what is there.
    Impossible(UpdateError),
}

impl Decide for Updater {
    type Answer = Told;

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
            let before = seen.map(|record| OwnedRecord::from(*record));
            Told::Decided { outcome: outcome.clone(), before, gone }
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
        Executed::Done { answer: Told::Decided { outcome, before, gone }, version } => {
            let kept: Option<Version> = before.as_ref().map(|record| record.version);
            let version = if gone { None } else { version.or(kept) };
            Forwarded::Done { outcome, before, version }
        }
        Executed::Conflict => Forwarded::Conflict,
        Executed::NoQuorum(lack) => Forwarded::NoQuorum(lack),
        Executed::Elsewhere => Forwarded::Elsewhere,
        Executed::Unknown { version } => Forwarded::Unknown { version },
    }
}
