//! How a request reaches its key: find the keyspace, take the partition's lock, read, decide,
//! submit.
//!
//! Holds: between reading the old record and submitting the new one the partition's lock is
//! held, so updates of a key happen one after the other. Answers are given at once, but they
//! must not leave the process before [`Access::commit`] is settled.
//!
//! Does not know: who asks, and in which protocol.

use crate::catalogue::Routing;
use crate::keyspace::Keyspace;
use crate::node::Node;
use crate::refusal::{Code, Halt, Refusal};
use crate::request::{Answer as Given, Request, Sink, Target, Updated};
use crate::rules::read_record;
use crate::stats::Tallies;
use crate::transaction::Staged;
use arc_swap::Guard;
use shoal_core::codec::record::head;
use shoal_core::map::{database_name, number_of};
use shoal_core::record::newer;
use shoal_core::update::{Change, Outcome, SetExpiry, Update, When, apply};
use shoal_core::version::Millis;
use shoal_core::{Body, Record, Slot, Version};
use shoal_storage::{Answer, Commit, Op, Parts, Patience, Tally};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 16_384;

/// How far ahead of this node's clock an event time may lie, in milliseconds.
pub const EVENT_SKEW_MS: Millis = 500;

/// One run of requests: a snapshot of the catalogue, one reading of the clock, and what the
/// answers so far depend on.
pub struct Access<'n> {
    pub(crate) node: &'n Node,
    pub(crate) routing: Guard<Arc<Routing>>,
    pub(crate) now: Millis,
    pub(crate) patience: Patience,
    pub(crate) commit: Commit,
    pub(crate) staged: Option<Box<Staged>>,
    pub(crate) counts: Tallies,
}

impl<'n> Access<'n> {
    pub(crate) fn new(node: &'n Node, patience: Patience) -> Self {
        Self {
            node,
            routing: node.catalogue.routing(),
            now: node.clock.now_ms(),
            patience,
            commit: Commit::DONE,
            staged: None,
            counts: Tallies::default(),
        }
    }

    /// The time by which expiry is judged, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn now(&self) -> Millis {
        self.now
    }

    /// Reads the clock and the catalogue again.
    pub fn refresh(&mut self) {
        self.now = self.node.clock.now_ms();
        if self.staged.is_none() {
            self.routing = self.node.catalogue.routing();
        }
    }

    /// What every answer given so far depends on.
    #[must_use]
    pub const fn commit(&self) -> Commit {
        self.commit
    }

    /// The node that is asked.
    #[must_use]
    pub const fn node(&self) -> &'n Node {
        self.node
    }

    /// Whether this runs inside [`Access::transaction`].
    #[must_use]
    pub const fn in_transaction(&self) -> bool {
        self.staged.is_some()
    }

    /// Whether `target` names a keyspace, or a database that its first write would make.
    #[must_use]
    pub fn exists(&self, target: &Target) -> bool {
        self.routing.find(target).is_some() || implied(target).is_some()
    }

    /// Answers `request` into `sink`.
    ///
    /// # Errors
    /// [`Halt::Cold`]: nothing was done, a disk may have to be waited for. [`Halt::Refused`]:
    /// nothing was changed; what `sink` took for this request is void.
    pub fn run(
        &mut self,
        target: &Target,
        request: &Request<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Halt> {
        let answer = match *request {
            _ if !key_is_good(request.key()) => Err(bad_key()),
            Request::Read { key } => self.run_read(target, key, sink),
            Request::Update { key, ref update, event_time } => {
                self.run_update(target, key, update, event_time, sink)
            }
        };
        if matches!(answer, Err(Halt::Refused(_))) {
            self.counts.refused += 1;
        }
        answer
    }

    /// Calls `f` with the live record under `key`, if there is one.
    ///
    /// # Errors
    /// As [`Access::run`].
    pub fn read<R>(
        &mut self,
        target: &Target,
        key: &[u8],
        f: impl FnOnce(Option<Record<'_>>) -> R,
    ) -> Result<R, Halt> {
        let mut f = Some(f);
        let mut result = None;
        self.run(target, &Request::Read { key }, &mut |answer: Given<'_>| {
            if let (Given::Found(record), Some(f)) = (answer, f.take()) {
                result = Some(f(record));
            }
        })?;
        Ok(result.expect("a request that is not refused is answered once"))
    }

    /// Changes `key` and calls `f` with what came of it.
    ///
    /// # Errors
    /// As [`Access::run`].
    pub fn update<R>(
        &mut self,
        target: &Target,
        key: &[u8],
        update: &Update<'_>,
        f: impl FnOnce(Updated<'_>) -> R,
    ) -> Result<R, Halt> {
        self.update_at(target, key, update, None, f)
    }

    /// As [`Access::update`], with the caller's own time of the change.
    ///
    /// # Errors
    /// As [`Access::run`].
    pub fn update_at<R>(
        &mut self,
        target: &Target,
        key: &[u8],
        update: &Update<'_>,
        event_time: Option<Millis>,
        f: impl FnOnce(Updated<'_>) -> R,
    ) -> Result<R, Halt> {
        let mut f = Some(f);
        let mut result = None;
        let request = Request::Update { key, update: *update, event_time };
        self.run(target, &request, &mut |answer: Given<'_>| {
            if let (Given::Updated(updated), Some(f)) = (answer, f.take()) {
                result = Some(f(updated));
            }
        })?;
        Ok(result.expect("a request that is not refused is answered once"))
    }

    fn run_read(&mut self, target: &Target, key: &[u8], sink: &mut dyn Sink) -> Result<(), Halt> {
        let now = self.now;
        loop {
            let Some(keyspace) = self.routing.find(target) else {
                require_implied(target)?;
                self.counts.misses += 1;
                sink.answer(Given::Found(None));
                return Ok(());
            };
            let slot = Slot::of(key);
            let mut outcome = Ok(false);
            let mut show = |stored: Option<&[u8]>| {
                outcome = stored.map(|bytes| read_record(key, bytes)).transpose().map(|record| {
                    let live = record.filter(|record| record.is_live_at(now));
                    sink.answer(Given::Found(live));
                    live.is_some()
                });
            };
            if let Some(entry) = self.staged.as_ref().and_then(|s| s.find(keyspace, slot, key)) {
                show(entry);
            } else {
                match keyspace.engine.read(keyspace.address(slot, key), self.patience, &mut show) {
                    Ok(Answer::Given(commit)) => self.commit = self.commit.join(commit),
                    Ok(Answer::Cold) => return Err(Halt::Cold),
                    Err(shoal_storage::EngineError::NoSpace(_)) if self.reload() => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            if outcome? {
                self.counts.hits += 1;
            } else {
                self.counts.misses += 1;
            }
            return Ok(());
        }
    }

    fn run_update(
        &mut self,
        target: &Target,
        key: &[u8],
        update: &Update<'_>,
        event_time: Option<Millis>,
        sink: &mut dyn Sink,
    ) -> Result<(), Halt> {
        if let Some(event) = event_time {
            self.admit_event(target, event)?;
        }
        let slot = Slot::of(key);
        loop {
            let Some(keyspace) = self.routing.find(target) else {
                if self.answer_absent(target, update, sink)? {
                    return Ok(());
                }
                self.make_implied(target)?;
                continue;
            };
            if self.staged.is_some() {
                let keyspace = Arc::clone(keyspace);
                return self.stage_update(&keyspace, slot, key, update, event_time, sink);
            }
            let step = Step::new(self.node, keyspace, self.now, event_time);
            let commit = &mut self.commit;
            match step.carry_out(slot, key, update, self.patience, commit, sink)? {
                Carried::Retired => {
                    self.reload();
                }
                Carried::Nothing => return Ok(()),
                Carried::Out => {
                    self.counts.writes += 1;
                    return Ok(());
                }
            }
        }
    }

    /// Answers an update of a database that nobody has written yet, if it would not write it
    /// either; whether it was answered.
    fn answer_absent(
        &self,
        target: &Target,
        update: &Update<'_>,
        sink: &mut dyn Sink,
    ) -> Result<bool, Halt> {
        require_implied(target)?;
        let (outcome, change) = apply(update, None, self.now, self.node.config.max_value_bytes)?;
        let absent = !matches!(change, Change::Put { .. });
        if absent {
            sink.answer(Given::Updated(Updated { outcome, before: None, version: None }));
        }
        Ok(absent)
    }

    /// Takes the newest catalogue; whether it differs from the one at hand.
    pub(crate) fn reload(&mut self) -> bool {
        let routing = self.node.catalogue.routing();
        let newer = !Arc::ptr_eq(&*routing, &*self.routing);
        self.routing = routing;
        newer
    }

    /// Makes the database that `target` names, if it is one that its first write makes.
    pub(crate) fn make_implied(&mut self, target: &Target) -> Result<(), Halt> {
        let number = require_implied(target)?;
        if self.patience == Patience::Inline {
            return Err(Halt::Cold);
        }
        if self.staged.is_some() {
            return Err(Refusal::new(
                Code::NoKeyspace,
                "a transaction must name the databases it writes before it begins",
            )
            .into());
        }
        self.node.catalogue.make_database(number)?;
        self.reload();
        Ok(())
    }

    fn admit_event(&mut self, target: &Target, event: Millis) -> Result<(), Halt> {
        if event > self.now.saturating_add(EVENT_SKEW_MS) {
            let message = format!("event time {event} is ahead of the clock at {}", self.now);
            return Err(Refusal::new(Code::TooNew, message).into());
        }
        let Some(keyspace) = self.routing.find(target) else {
            self.make_implied(target)?;
            return self.admit_event(target, event);
        };
        if keyspace.evicts() {
            let message = "a keyspace that evicts takes no event times";
            return Err(Refusal::new(Code::NoEventTime, message).into());
        }
        let horizon = keyspace.definition.options.event_horizon_ms;
        if event < self.now.saturating_sub(horizon) {
            let message = format!("event time {event} is more than {horizon} ms ago");
            return Err(Refusal::new(Code::TooOld, message).into());
        }
        if !keyspace.definition.accepts_event_time {
            if self.staged.is_some() {
                // The change of the map would wait for locks that this transaction holds.
                let message = "a keyspace's first event time cannot be part of a transaction";
                return Err(Refusal::new(Code::BadRequest, message).into());
            }
            if self.patience == Patience::Inline {
                return Err(Halt::Cold);
            }
            let name = Arc::clone(&keyspace.name);
            self.node.catalogue.accept_event_time(&name)?;
            self.reload();
        }
        Ok(())
    }
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        self.node.stats.add(self.counts);
    }
}

pub(crate) fn key_is_good(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY
}

pub(crate) fn bad_key() -> Halt {
    Refusal::new(Code::BadKey, "a key is 1 to 16384 bytes long").into()
}

/// The database that a first write to `target` would make: `default` and `db1` to `db15`.
pub(crate) fn implied(target: &Target) -> Option<u16> {
    let number = match target {
        Target::Database(number) => *number,
        Target::Named(name) => number_of(name)?,
    };
    database_name(number).map(|_| number)
}

fn require_implied(target: &Target) -> Result<u16, Halt> {
    implied(target).ok_or_else(|| no_keyspace(target).into())
}

pub(crate) fn no_keyspace(target: &Target) -> Refusal {
    let message = match target {
        Target::Database(number) => format!("no keyspace is bound to database {number}"),
        Target::Named(name) => format!("there is no keyspace '{name}'"),
    };
    Refusal::new(Code::NoKeyspace, message)
}

/// Decides one update: what the new record is, what the tally becomes, what the asker hears.
pub(crate) struct Step<'a> {
    node: &'a Node,
    keyspace: &'a Keyspace,
    now: Millis,
    event_time: Option<Millis>,
}

/// What became of an update.
enum Carried {
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
    fn carry_out(
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
        let mut planned = None;
        let answer = keyspace.engine.read(at, patience, &mut |stored| {
            planned = Some(self.plan(key, update, stored, sink));
        })?;
        let Answer::Given(seen) = answer else { return Err(Halt::Cold) };
        *commit = commit.join(seen);
        let plan = planned.expect("a read that is given calls its visitor")?;
        let Some(next) = plan.next else { return Ok(Carried::Nothing) };
        let record = next.record();
        let header = record.map(|record| head(keyspace.form, key, &record));
        let put = match (&header, &next.put) {
            (Some(header), Some(put)) => Some(Parts { head: header.as_bytes(), body: put.bytes() }),
            _ => None,
        };
        let op = Op { at, put, tally: plan.tally };
        *commit = commit.join(keyspace.engine.submit(std::slice::from_ref(&op))?);
        lane.touch(key);
        Ok(Carried::Out)
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
            sink.answer(Given::Updated(Updated { outcome, before: seen, version }));
            return Ok(Plan { next: None, tally: Tally::default() });
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
        sink.answer(Given::Updated(Updated { outcome, before: seen, version }));
        // Removing what is not there would only grow the log.
        let idle = next.put.is_none() && stored.is_none();
        Ok(Plan { next: if idle { None } else { Some(next) }, tally })
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

/// The outcome of a plain removal, for callers that only want to know whether something went.
#[must_use]
pub fn removed(updated: &Updated<'_>) -> bool {
    updated.outcome == Outcome::Done && updated.before.is_some()
}
