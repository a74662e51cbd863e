//! One update of one key: what the new record is, what the tally becomes, what the asker hears.
//!
//! Holds: between reading the old record and submitting the new one the partition's lock is
//! held, so updates of a key happen one after the other. What an answer depends on joins the
//! caller's commit, be the answer a refusal.
//!
//! Does not know: how the keyspace was found, who asks, and in which protocol.

use crate::keyspace::Keyspace;
use crate::node::Node;
use crate::refusal::{Code, Halt, Refusal};
use crate::request::{Answer as Given, Sink, Updated};
use crate::rules::read_record;
use shoal_core::codec::record::{Head, head};
use shoal_core::record::newer;
use shoal_core::update::{Change, SetExpiry, Update, When, apply};
use shoal_core::version::Millis;
use shoal_core::{Body, Record, Slot, Version};
use shoal_storage::{Commit, Decide, Parts, Patience, Tally, Turn};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Decides one update: what the new record is, what the tally becomes, what the asker hears.
pub(crate) struct Step<'a> {
    node: &'a Node,
    keyspace: &'a Keyspace,
    now: Millis,
    event_time: Option<Millis>,
}

/// What became of an update.
pub(crate) enum Carried {
    /// The keyspace was retired; nothing was done.
    Retired,
    /// There was nothing to write.
    Nothing,
    /// It was written.
    Out,
}

/// What an update comes to.
pub(crate) struct Plan<'u> {
    /// What to store; `None` where nothing changes.
    pub(crate) next: Option<Next<'u>>,
    /// The key came and went in one: nothing is stored, but whoever watches it hears of it.
    pub(crate) fleeting: bool,
    /// What the change adds to the slot's tally.
    pub(crate) tally: Tally,
}

/// What is stored next under a key.
pub(crate) struct Next<'u> {
    version: Version,
    written: Version,
    /// `None` removes the key for good.
    pub(crate) put: Option<Put<'u>>,
}

/// A record to store, without its versions.
pub(crate) enum Put<'u> {
    /// A value, and when it expires.
    Live(Cow<'u, [u8]>, Option<Millis>),
    /// The mark that there is none.
    Tombstone,
}

impl Put<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Live(value, _) => value,
            Self::Tombstone => &[],
        }
    }
}

impl Next<'_> {
    /// The record to store, if one is.
    pub(crate) fn record(&self) -> Option<Record<'_>> {
        let (expires_at, body) = match self.put.as_ref()? {
            Put::Live(value, at) => {
                (*at, Body::Live { kind: shoal_core::record::PLAIN, bytes: value })
            }
            Put::Tombstone => (None, Body::Tombstone),
        };
        Some(Record { version: self.version, written: self.written, expires_at, body })
    }
}

impl<'a> Step<'a> {
    pub(crate) const fn new(
        node: &'a Node,
        keyspace: &'a Keyspace,
        now: Millis,
        event_time: Option<Millis>,
    ) -> Self {
        Self { node, keyspace, now, event_time }
    }

    /// Carries `update` out under the partition's lock. What the answer depends on joins
    /// `commit`, be the answer a refusal: that, too, speaks of what was seen.
    pub(crate) fn carry_out(
        &self,
        slot: Slot,
        key: &[u8],
        update: &Update<'_>,
        patience: Patience,
        commit: &mut Commit,
        sink: &mut dyn Sink,
    ) -> Result<Carried, Halt> {
        let keyspace = self.keyspace;
        let lane = keyspace.lock(slot);
        if lane.retired {
            return Ok(Carried::Retired);
        }
        if self.event_time.is_some() && !keyspace.definition.accepts_event_time {
            // Flushed or altered since the event was admitted.
            let message = "the keyspace was changed meanwhile; send it again";
            return Err(Refusal::new(Code::TryAgain, message).into());
        }
        let at = keyspace.address(slot, key);
        let mut decision = Decision { step: self, key, update, sink, plan: None, header: None };
        match keyspace.engine.update(at, patience, commit, &mut decision)? {
            Turn::Taken => {}
            Turn::Cold => return Err(Halt::Cold),
        }
        let plan = decision.plan.expect("an update that is taken was decided")?;
        if plan.next.is_some() || plan.fleeting {
            lane.touch(key);
        }
        Ok(if plan.next.is_some() { Carried::Out } else { Carried::Nothing })
    }

    /// Plans `update` over what is `stored`, and answers into `sink`.
    pub(crate) fn plan<'u>(
        &self,
        key: &[u8],
        update: &Update<'u>,
        stored: Option<&[u8]>,
        sink: &mut dyn Sink,
    ) -> Result<Plan<'u>, Halt> {
        let before = stored.map(|bytes| read_record(key, bytes)).transpose()?;
        let seen = before.filter(|record| record.is_live_at(self.now));
        let limit = self.node.config.max_value_bytes;
        if matches!(update, Update::Set { value, .. } if value.len() > limit) {
            let message = format!("a value is at most {limit} bytes long");
            return Err(Refusal::new(Code::ValueTooLarge, message).into());
        }
        let (outcome, change) = apply(update, seen.as_ref(), self.now, limit)?;
        // A delete that came with its own time is remembered even where there is nothing to
        // delete: an older event may be on its way.
        let early = self.event_time.is_some() && *update == Update::Delete { when: When::Always };
        let change = if early && change == Change::Keep { Change::Delete } else { change };
        let put = self.put_of(update, change, seen.is_some());
        let Some(put) = put else {
            let version = seen.map(|record| record.version);
            sink.answer(Given::Updated(Updated { outcome, before: seen, version, blind: false }));
            return Ok(Plan { next: None, fleeting: false, tally: Tally::default() });
        };
        let mut next = self.stamp(before.as_ref(), put)?;
        if let (Some(record), Some(before)) = (next.record(), before.as_ref())
            && self.event_time.is_some()
            && newer(&record, before) == Ordering::Less
        {
            let message = format!("version {} is stored, which is newer", before.version);
            return Err(Refusal::new(Code::Superseded, message).into());
        }
        let dead = matches!(next.put, Some(Put::Tombstone));
        if dead && self.keyspace.purges_at_once() {
            next.put = None;
        }
        let tally = minus(counted(next.record().as_ref()), counted(before.as_ref()));
        let version = if dead { None } else { Some(next.version) };
        sink.answer(Given::Updated(Updated { outcome, before: seen, version, blind: false }));
        // Removing what is not there would only grow the log.
        let fleeting = next.put.is_none() && stored.is_none();
        Ok(Plan { next: if fleeting { None } else { Some(next) }, fleeting, tally })
    }

    fn put_of<'u>(
        &self,
        update: &Update<'u>,
        change: Change<'_>,
        was_there: bool,
    ) -> Option<Put<'u>> {
        match change {
            Change::Keep => None,
            Change::Delete => Some(Put::Tombstone),
            Change::Put { value, expires_at } => {
                // A value that was handed in is stored as it is, without a copy.
                let (value, fresh) = match update {
                    Update::Set { value, expiry, .. } => {
                        (Cow::Borrowed(*value), *expiry == SetExpiry::Never || !was_there)
                    }
                    _ => (Cow::Owned(value.into_owned()), !was_there),
                };
                let forever = matches!(update, Update::Set { expiry: SetExpiry::Forever, .. });
                let implied = self.keyspace.default_ttl_ms().filter(|_| fresh && !forever);
                let at = expires_at.or_else(|| implied.map(|ttl| self.now.saturating_add(ttl)));
                Some(Put::Live(value, at))
            }
        }
    }

    fn stamp<'u>(&self, before: Option<&Record<'_>>, put: Put<'u>) -> Result<Next<'u>, Halt> {
        let written = self.node.clock.stamp(self.now)?;
        if let Some(event) = self.event_time {
            let version = Version { wall_ms: event, counter: 0, node: self.node.id() };
            return Ok(Next { version, written, put: Some(put) });
        }
        let version = match before {
            // Over a future event time a write takes the version after it, and the clock stays.
            Some(before) if before.version >= written => before.version.successor(self.node.id()),
            _ => written,
        };
        Ok(Next { version, written: version, put: Some(put) })
    }
}

/// A step while the engine carries it out.
struct Decision<'d, 'a, 'u> {
    step: &'d Step<'a>,
    key: &'d [u8],
    update: &'d Update<'u>,
    sink: &'d mut dyn Sink,
    /// What was planned, once the engine has shown what is there.
    plan: Option<Result<Plan<'u>, Halt>>,
    /// The head of the record to store, if one is.
    header: Option<Head>,
}

impl<'u> Decision<'_, '_, 'u> {
    fn next(&self) -> Option<&Next<'u>> {
        self.plan.as_ref()?.as_ref().ok()?.next.as_ref()
    }
}

impl Decide for Decision<'_, '_, '_> {
    fn decide(&mut self, stored: Option<&[u8]>) -> bool {
        self.plan = Some(self.step.plan(self.key, self.update, stored, self.sink));
        let record = self.next().and_then(Next::record);
        self.header = record.map(|record| head(self.step.keyspace.form, self.key, &record));
        self.next().is_some()
    }

    fn change(&self) -> (Option<Parts<'_>>, Tally) {
        let put = self.next().and_then(|next| next.put.as_ref()).zip(self.header.as_ref());
        let parts = put.map(|(put, head)| Parts { head: head.as_bytes(), body: put.bytes() });
        let tally = self.plan.as_ref().and_then(|plan| plan.as_ref().ok()).map(|plan| plan.tally);
        (parts, tally.unwrap_or_default())
    }
}

/// What a stored record counts for in its slot's tally. An expired record counts until it is
/// swept, as in Redis.
pub(crate) fn counted(record: Option<&Record<'_>>) -> Tally {
    match record {
        Some(record) if !record.is_tombstone() => {
            Tally { keys: 1, expiring: i64::from(record.expires_at.is_some()) }
        }
        _ => Tally::default(),
    }
}

pub(crate) const fn minus(a: Tally, b: Tally) -> Tally {
    Tally { keys: a.keys - b.keys, expiring: a.expiring - b.expiring }
}
