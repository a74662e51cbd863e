//! How a request reaches its key: find the keyspace, read or take a [`Step`], count.
//!
//! Holds: answers are given at once, but they must not leave the process before
//! [`Access::commit`] is settled.
//!
//! Does not know: who asks, and in which protocol.

use crate::afar::{Spot, Wanted};
use crate::catalogue::Routing;
use crate::coordinator::Coordinator;
use crate::errand::{Errands, View};
use crate::node::Node;
use crate::overlay::Overlay;
use crate::refusal::{Code, Halt, Refusal};
use crate::request::{Answer as Given, Request, Sink, Target, Updated};
use crate::rules::read_record;
use crate::stats::Tallies;
use crate::step::{Carried, Step};
use crate::transaction::Staged;
use arc_swap::Guard;
use shoal_core::map::{database_name, number_of};
use shoal_core::quorum::Level;
use shoal_core::update::{Change, Outcome, Update, apply};
use shoal_core::version::Millis;
use shoal_core::{Record, Slot};
use shoal_storage::{Address, Answer, Commit, Patience};
use std::sync::Arc;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 16_384;

/// How far ahead of this node's clock an event time may lie, in milliseconds.
pub const EVENT_SKEW_MS: Millis = 500;

/// How many keys are foreseen at a time.
pub const FORESEEN: usize = 16;

/// One run of requests: a snapshot of the catalogue, one reading of the clock, and what the
/// answers so far depend on.
pub struct Access<'n> {
    pub(crate) node: &'n Node,
    pub(crate) routing: Guard<Arc<Routing>>,
    pub(crate) now: Millis,
    pub(crate) patience: Patience,
    pub(crate) commit: Commit,
    pub(crate) staged: Option<Box<Staged>>,
    /// What a transaction over keys that several nodes hold is about to write.
    pub(crate) overlay: Option<Box<Overlay>>,
    /// What was asked of other nodes.
    pub(crate) errands: Errands,
    /// Whether the command goes by the clock and the catalogue of an earlier run.
    resumed: bool,
    /// The level of requests, where it is not their keyspace's.
    pub(crate) level: Option<Level>,
    pub(crate) counts: Tallies,
    #[cfg(test)]
    pub(crate) others: Option<&'n Arc<Coordinator>>,
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
            overlay: None,
            errands: Errands::default(),
            resumed: false,
            level: None,
            counts: Tallies::default(),
            #[cfg(test)]
            others: None,
        }
    }

    /// Goes on with what a run before has asked other nodes: its last command begins anew, and goes
    /// by the clock and the catalogue that it began with until it is [over](Self::over).
    pub fn resume(&mut self, mut errands: Errands) {
        if let Some(View { now, routing }) = errands.again() {
            (self.now, self.resumed) = (now, true);
            if let Some(routing) = routing {
                self.routing = Guard::from_inner(routing);
            }
        }
        self.errands = errands;
    }

    /// Hands over what was asked of other nodes, for the run that is to go on with it.
    #[must_use]
    pub fn suspend(&mut self) -> Errands {
        let (now, routing) = (self.now, &self.routing);
        self.errands.keep(|| View { now, routing: Some(Arc::clone(routing)) });
        std::mem::take(&mut self.errands)
    }

    /// A command, or a part of one that is not to be run again, is done: what it asked of other
    /// nodes is forgotten.
    pub fn over(&mut self) {
        self.errands.over();
        if std::mem::take(&mut self.resumed) {
            self.refresh();
        }
    }

    /// Requests are carried out at this level from now on, at their keyspace's where it is `None`.
    pub const fn at(&mut self, level: Option<Level>) {
        self.level = level;
    }

    /// What answers for keys that several nodes hold.
    pub(crate) fn others(&self) -> Option<&'n Arc<Coordinator>> {
        #[cfg(test)]
        if self.others.is_some() {
            return self.others;
        }
        self.node.coordinator()
    }

    /// The time by which expiry is judged, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn now(&self) -> Millis {
        self.now
    }

    /// Reads the clock and the catalogue again.
    pub fn refresh(&mut self) {
        self.now = self.node.clock.now_ms();
        if !self.in_transaction() {
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
        self.staged.is_some() || self.overlay.is_some()
    }

    /// Whether `target` names a keyspace, or a database that its first write would make.
    #[must_use]
    pub fn exists(&self, target: &Target) -> bool {
        self.routing.find(target).is_some() || implied(target).is_some()
    }

    /// Whether [`Access::foresee`] is of use for requests about `target`.
    #[must_use]
    pub fn foresees(&self, target: &Target) -> bool {
        self.staged.is_none() && self.routing.find(target).is_some_and(|keyspace| keyspace.local)
    }

    /// Says that requests about these keys come next, so that what they need is fetched for all
    /// of them at once. Changes nothing but how long they take.
    pub fn foresee(&self, target: &Target, keys: &[&[u8]]) {
        let Some(keyspace) = self.routing.find(target) else { return };
        let nowhere = Address { space: keyspace.space(), slot: 0, key: &[] };
        for keys in keys.chunks(FORESEEN) {
            let mut at = [nowhere; FORESEEN];
            for (at, key) in at.iter_mut().zip(keys) {
                *at = keyspace.address(Slot::of(key), key);
            }
            keyspace.engine.foresee(&at[..keys.len()]);
        }
    }

    /// Answers `request` into `sink`.
    ///
    /// # Errors
    /// [`Halt::Cold`]: nothing was done, a disk may have to be waited for. [`Halt::Away`]: other
    /// nodes were asked; ask again, from the command's beginning, when they have answered.
    /// [`Halt::Refused`]: what `sink` took for this request is void; nothing was changed, unless
    /// the refusal's code says that it may have been.
    pub fn run(
        &mut self,
        target: &Target,
        request: &Request<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Halt> {
        let answer = match *request {
            _ if !key_is_good(request.key()) => Err(bad_key()),
            Request::Read { key } => self.run_read(target, key, sink),
            Request::Update { key, ref update, event_time, look } => {
                let wanted = Wanted { key, update, event_time, look };
                self.run_update(target, &wanted, sink)
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

    /// Changes `key` and calls `f` with what came of it. What was there before is told only where
    /// that is known without asking: see [`Updated::blind`].
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
        let request = Request::Update { key, update: *update, event_time: None, look: false };
        self.run_changing(target, &request, f)
    }

    /// As [`Access::update`], but what was there before is always told.
    ///
    /// # Errors
    /// As [`Access::run`].
    pub fn exchange<R>(
        &mut self,
        target: &Target,
        key: &[u8],
        update: &Update<'_>,
        f: impl FnOnce(Updated<'_>) -> R,
    ) -> Result<R, Halt> {
        let request = Request::Update { key, update: *update, event_time: None, look: true };
        self.run_changing(target, &request, f)
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
        let request = Request::Update { key, update: *update, event_time, look: false };
        self.run_changing(target, &request, f)
    }

    fn run_changing<R>(
        &mut self,
        target: &Target,
        request: &Request<'_>,
        f: impl FnOnce(Updated<'_>) -> R,
    ) -> Result<R, Halt> {
        let mut f = Some(f);
        let mut result = None;
        self.run(target, request, &mut |answer: Given<'_>| {
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
                if self.learns_of(target)? {
                    continue;
                }
                require_implied(target)?;
                self.counts.misses += 1;
                sink.answer(Given::Found(None));
                return Ok(());
            };
            let slot = Slot::of(key);
            if !keyspace.local {
                let spot = Spot { keyspace: Arc::clone(keyspace), slot };
                return self.read_afar(&spot, key, sink);
            }
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
        wanted: &Wanted<'_, '_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Halt> {
        let Wanted { key, update, event_time, .. } = *wanted;
        if let Some(event) = event_time {
            self.admit_event(target, event)?;
        }
        let slot = Slot::of(key);
        loop {
            let Some(keyspace) = self.routing.find(target) else {
                if self.learns_of(target)? {
                    continue;
                }
                if self.answer_absent(target, update, sink)? {
                    return Ok(());
                }
                self.make_implied(target)?;
                continue;
            };
            if !keyspace.local {
                let spot = Spot { keyspace: Arc::clone(keyspace), slot };
                return self.update_afar(&spot, wanted, sink);
            }
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
            let blind = false;
            sink.answer(Given::Updated(Updated { outcome, before: None, version: None, blind }));
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
        if self.in_transaction() {
            return Err(Refusal::new(
                Code::NoKeyspace,
                "a transaction must name the databases it writes before it begins",
            )
            .into());
        }
        self.node.catalogue.make_database(number)?;
        self.reload();
        if self.routing.find(target).is_none() {
            // Somebody else made it, and that has not arrived here yet.
            self.errands.read_on();
            self.learns_of(target)?;
        }
        Ok(())
    }

    /// Sees to it that `target` is known here if any node has made it. One of several nodes asks
    /// once for a newer map where it does not know a name.
    ///
    /// # Errors
    /// [`Halt::Away`].
    pub fn know(&mut self, target: &Target) -> Result<(), Halt> {
        if self.routing.find(target).is_none() {
            self.learns_of(target)?;
        }
        Ok(())
    }

    /// Asks for a newer map, which may know `target`, unless this command has; whether it does.
    #[cold]
    pub(crate) fn learns_of(&mut self, target: &Target) -> Result<bool, Halt> {
        self.node.is_latest()?;
        let Some(cluster) = self.node.cluster() else { return Ok(false) };
        let begin = |ticket| cluster.ask_for_news(ticket);
        if !self.errands.has_news(begin) {
            if self.patience == Patience::Inline {
                return Err(Halt::Away);
            }
            self.errands.wait();
            // It is answered now, or given up.
            let _answered = self.errands.has_news(|_| {});
            self.reload();
        }
        Ok(self.routing.find(target).is_some())
    }

    fn admit_event(&mut self, target: &Target, event: Millis) -> Result<(), Halt> {
        if event > self.now.saturating_add(EVENT_SKEW_MS) {
            let message = format!("event time {event} is ahead of the clock at {}", self.now);
            return Err(Refusal::new(Code::TooNew, message).into());
        }
        let Some(keyspace) = self.routing.find(target) else {
            if !self.learns_of(target)? {
                self.make_implied(target)?;
            }
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
            if self.in_transaction() {
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

/// The outcome of a plain removal, for callers that only want to know whether something went.
#[must_use]
pub fn removed(updated: &Updated<'_>) -> bool {
    updated.outcome == Outcome::Done && updated.before.is_some()
}
