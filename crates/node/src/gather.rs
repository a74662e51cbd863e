//! Walking over and counting the keys of a cluster: each partition at the node that leads it.
//!
//! Holds: a partition that nobody can be asked about is an error, never a shorter answer. Who
//! leads a slot is looked up anew for every page, so that a walk goes on where another node took
//! over. A transaction sees what it has written.
//!
//! Does not know: what is done with the entries.

mod ask;
mod staged;

use crate::access::Access;
use crate::cluster::{Walk, WalkEntry, WalkWhat, Walked};
use crate::keyspace::Keyspace;
use crate::refusal::{Code, Halt, Refusal};
use crate::request::Target;
use crate::rules::read_record;
use crate::scan::Listing;
use crate::scope::Scope;
use ask::{Heard, Passed, rest, unexpected};
use shoal_core::record::OwnedRecord;
use shoal_core::slot::SLOT_COUNT;
use shoal_core::{Record, Slot};
use shoal_storage::{Patience, Tally};
use std::ops::Range;
use std::sync::Arc;

impl Access<'_> {
    /// How many keys there are in `scope`, and how many of them carry an expiry; in a cluster each
    /// counted once.
    ///
    /// # Errors
    /// As [`Access::scan`].
    pub fn count_all(&mut self, target: &Target, scope: Scope) -> Result<Tally, Halt> {
        self.know(target)?;
        let Some(keyspace) = self.routing.find(target).cloned() else {
            return Ok(Tally::default());
        };
        if keyspace.local || scope == Scope::Held {
            return Ok(self.count_in(target, scope));
        }
        if scope == Scope::Led {
            self.no_part_in_transaction()?;
            let slots = self.slots_in(&keyspace, scope);
            return self.look_at_led(
                &keyspace,
                &slots,
                |access| Ok(access.count_in(target, scope)),
            );
        }
        let written = self.written_tally(&keyspace)?;
        Ok(self.count_cluster(&keyspace)?.plus(written))
    }

    fn count_cluster(&mut self, keyspace: &Arc<Keyspace>) -> Result<Tally, Halt> {
        let walk = |slots| Walk { keyspace: keyspace.space(), slots, what: WalkWhat::Count };
        let (runs, me) = (self.runs(keyspace), self.node.id());
        for (ahead, (slots, leader)) in runs.iter().filter(|(_, at)| *at != me).enumerate() {
            self.begin_walk(ahead, *leader, &walk(slots.clone()))?;
        }
        let (mut sum, mut missed) = (Tally::default(), Vec::new());
        for (slots, leader) in runs {
            let mut passed = Passed::default();
            match self.walk(leader, &walk(slots.clone()))? {
                Heard::Walked(walked) => sum = sum.plus(counted(&walked)?),
                Heard::Elsewhere => passed.by(leader, false),
                Heard::Nothing => passed.by(leader, true),
            }
            missed.push((slots, passed));
        }
        for (mut slots, passed) in missed.into_iter().filter(|(_, passed)| passed.is_any()) {
            while !slots.is_empty() {
                let what = &WalkWhat::Count;
                let asked = self.ask_around(keyspace, &slots, what, passed.clone())?;
                sum = sum.plus(counted(&asked.1)?);
                slots.start = asked.0.end;
            }
        }
        Ok(sum)
    }

    /// As [`Access::scan_slots`], of the whole cluster. Records come without their values.
    pub(crate) fn scan_cluster(
        &mut self,
        keyspace: &Arc<Keyspace>,
        (mut slot, mut position): (u16, u64),
        count: usize,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<Option<(u16, u64)>, Halt> {
        let mut left = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        while slot < SLOT_COUNT {
            if left == 0 {
                return Ok(Some((slot, position)));
            }
            let what = WalkWhat::Page { position, count: left };
            let (_, walked) = self.ask_around(keyspace, &rest(slot), &what, Passed::default())?;
            let Walked::Page { entries, slot: next_slot, position: next } = walked else {
                return Err(unexpected(&walked));
            };
            if (next_slot, next) == (slot, position) {
                return Err(Refusal::new(Code::Storage, "a walk came no further").into());
            }
            // What is shown has left the page, so the walk ends behind all of it.
            let mut goes_on = true;
            let mut shown = 0;
            for (key, record) in &entries {
                if !self.has_written(keyspace, key) {
                    goes_on &= visit(key, read_record(key, record)?);
                }
                shown += 1;
            }
            // Of each slot when it is entered.
            let entered = slot + u16::from(position > 0)..next_slot + u16::from(next > 0);
            for (key, record) in self.written_to(keyspace, entered) {
                if let Some(record) = record {
                    goes_on &= visit(&key, record.borrow());
                    shown += 1;
                }
            }
            left = if goes_on { left.saturating_sub(shown) } else { 0 };
            (slot, position) = (next_slot, next);
        }
        Ok(None)
    }

    /// As [`Access::list_slots`], of the whole cluster.
    pub(crate) fn list_cluster(
        &mut self,
        keyspace: &Arc<Keyspace>,
        listing: &Listing<'_>,
        visit: &mut dyn FnMut(&[u8], Record<'_>) -> bool,
    ) -> Result<bool, Halt> {
        let mut slot = listing.after.map_or(0, |key| Slot::of(key).number());
        let mut after = listing.after.map(<[u8]>::to_vec);
        let mut left = listing.limit;
        while slot < SLOT_COUNT && left > 0 {
            let what = WalkWhat::List {
                prefix: listing.prefix.to_vec(),
                after: after.clone(),
                limit: u32::try_from(left).unwrap_or(u32::MAX),
                values: listing.values,
            };
            let asked = self.ask_around(keyspace, &rest(slot), &what, Passed::default())?;
            let Walked::List { entries, until, more } = asked.1 else {
                return Err(unexpected(&asked.1));
            };
            let end = until.min(asked.0.end);
            let last = entries.last().filter(|_| more).map(|(key, _)| key.clone());
            let reach = Reach { slot, after: after.take(), last: last.as_deref(), end };
            let shown = self.join_written(keyspace, listing.prefix, entries.clone(), &reach);
            let is_cut = shown.len() > left;
            let mut last = last;
            for (key, found) in shown.into_iter().take(left) {
                match &found {
                    Found::Sent(record) => visit(&key, read_record(&key, record)?),
                    Found::Written(record) => visit(&key, record.borrow()),
                };
                left -= 1;
                if is_cut {
                    last = Some(key);
                }
            }
            slot = last.as_deref().map_or(end, |key| Slot::of(key).number());
            after = last;
        }
        Ok(slot < SLOT_COUNT)
    }

    /// Puts what the transaction has written into a part of a list that was sent, in its order.
    fn join_written(
        &self,
        keyspace: &Keyspace,
        prefix: &[u8],
        sent: Vec<WalkEntry>,
        reach: &Reach<'_>,
    ) -> Vec<(Vec<u8>, Found)> {
        let sent = sent.into_iter().filter(|(key, _)| !self.has_written(keyspace, key));
        let mut shown: Vec<_> = sent.map(|(key, record)| (key, Found::Sent(record))).collect();
        let written = self.written_to(keyspace, reach.slots());
        let wanted = written.into_iter().filter_map(|(key, record)| {
            let wanted = key.starts_with(prefix) && reach.has(&key);
            record.filter(|_| wanted).map(|record| (key, Found::Written(record)))
        });
        let before = shown.len();
        shown.extend(wanted);
        if shown.len() > before {
            shown.sort_by_cached_key(|(key, _)| (Slot::of(key).number(), key.clone()));
        }
        shown
    }

    /// A live key of the cluster, from a slot drawn at random on.
    pub(crate) fn random_key_afar(
        &mut self,
        keyspace: &Arc<Keyspace>,
    ) -> Result<Option<Vec<u8>>, Halt> {
        const DRAWN: usize = 16;
        if self.patience == Patience::Inline {
            // Run again it would draw another one.
            return Err(Halt::Cold);
        }
        let seed = fastrand::u64(..);
        let first = u16::try_from(seed % u64::from(SLOT_COUNT)).unwrap_or(0);
        for slot in [first, 0] {
            let mut found: Vec<Vec<u8>> = Vec::new();
            let mut at = Some((slot, 0));
            while let Some(from) = at.filter(|_| found.is_empty()) {
                at = self.scan_cluster(keyspace, from, DRAWN, &mut |key, _| {
                    found.push(key.to_vec());
                    found.len() < DRAWN
                })?;
            }
            if !found.is_empty() {
                let nth = usize::try_from(seed >> 32).unwrap_or(0) % found.len();
                return Ok(Some(found.swap_remove(nth)));
            }
        }
        Ok(None)
    }

    /// What this node leads is not shown to a transaction, which would not see what it has written.
    pub(crate) fn no_part_in_transaction(&self) -> Result<(), Halt> {
        if self.overlay.is_none() {
            return Ok(());
        }
        let message = "among several nodes a transaction cannot list or count one node's part";
        Err(Refusal::new(Code::BadRequest, message).into())
    }
}

/// How far a part of a list reaches.
struct Reach<'r> {
    /// The first slot.
    slot: u16,
    /// In it, the key behind which it begins.
    after: Option<Vec<u8>>,
    /// The key with which it ends, where that is not the end of a slot.
    last: Option<&'r [u8]>,
    /// The slot behind its last one.
    end: u16,
}

impl Reach<'_> {
    fn slots(&self) -> Range<u16> {
        self.slot..self.last.map_or(self.end, |last| Slot::of(last).number() + 1)
    }

    /// Whether `key`, of one of its slots, is within it.
    fn has(&self, key: &[u8]) -> bool {
        let slot = Slot::of(key).number();
        let behind = self.after.as_deref().is_none_or(|after| slot > self.slot || key > after);
        let before = |last: &[u8]| slot < Slot::of(last).number() || key <= last;
        behind && self.last.is_none_or(before)
    }
}

/// A record of a list.
enum Found {
    /// In the form in which it was sent.
    Sent(Vec<u8>),
    /// One that the transaction is about to write.
    Written(OwnedRecord),
}

fn counted(walked: &Walked) -> Result<Tally, Halt> {
    match *walked {
        Walked::Count { keys, expiring } => Ok(Tally { keys, expiring }),
        ref other => Err(unexpected(other)),
    }
}

#[cfg(test)]
mod tests;
