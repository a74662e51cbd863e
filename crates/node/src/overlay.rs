//! Several keys as one where several nodes hold them: EXEC, MSET, MSETNX, RENAME, COPY.
//!
//! What a transaction reads is asked at its level, what it writes is kept here until its end.
//! Then the keys of one slot go out as one batch, which each replica takes whole or not at all;
//! slots follow one another in the order in which they were first written to.
//!
//! Holds: the keys of one slot are written only if every key of that slot that the transaction has
//! looked at, watched ones included, is as it was. Nothing is sent of a transaction that is refused
//! before its end.
//!
//! Not held: others may see one slot changed before the next, and what was looked at in a slot that
//! is not written to may have changed since.

mod standing;

pub(crate) use standing::Standing;

use crate::access::Access;
use crate::afar::{Joined, Next, Spot, Wanted, conflict};
use crate::coordinator::{MAX_BATCH_BYTES, bytes_of};
use crate::errand::AT_ONCE;
use crate::refusal::{Code, Halt, Refusal, unknown};
use crate::request::{Answer as Given, Sink, Updated};
use crate::transaction::Footprint;
use bytes::Bytes;
use shoal_core::quorum::{Condition, Part};
use shoal_core::record::{Body, OwnedBody, OwnedRecord, PLAIN};
use shoal_core::update::{Change, Outcome, SetExpiry, Tag, Update, When, apply};
use shoal_core::version::Millis;
use shoal_core::{Record, Version};
use shoal_storage::Patience;
use std::collections::BTreeMap;

/// What a transaction has read and is about to write.
#[derive(Default)]
pub(crate) struct Overlay {
    /// The slots that are written to, in the order in which they first were.
    groups: Vec<Group>,
    /// Where in `groups` a slot's is.
    places: BTreeMap<(u32, u16), usize>,
    /// What was found under the keys that were read: the tag of the value there, if there was one.
    seen: BTreeMap<Name, Option<Tag>>,
}

/// A key in its slot of a keyspace.
type Name = ((u32, u16), Bytes);

/// What is to be written to one slot.
struct Group {
    spot: Spot,
    /// In the order in which they were first written.
    entries: Vec<Entry>,
    /// Where in `entries` a key's is.
    places: BTreeMap<Bytes, usize>,
}

struct Entry {
    key: Bytes,
    next: Pending,
}

/// A value to be, or the mark that there is to be none.
#[derive(Clone)]
pub(crate) struct Pending(Next);

impl Pending {
    /// The record that it will be, but for its version.
    pub(crate) fn as_record(&self) -> Option<OwnedRecord> {
        let (body, expires_at) = &self.0;
        let (version, expires_at) = (Version::ZERO, *expires_at);
        Some(OwnedRecord { version, written: version, expires_at, body: body.clone() })
    }
}

impl Overlay {
    /// What is to be under a key; `None` where the transaction has not written it.
    pub(crate) fn find(&self, spot: &Spot, key: &[u8]) -> Option<&Pending> {
        let place = self.places.get(&place_of(spot))?;
        let group = &self.groups[*place];
        Some(&group.entries[*group.places.get(key)?].next)
    }

    /// Takes note of what is under a key.
    pub(crate) fn saw(&mut self, spot: &Spot, key: &[u8], live: Option<&OwnedRecord>) {
        let tag = live.map(|record| Tag::of(&record.borrow()));
        let name = (place_of(spot), Bytes::copy_from_slice(key));
        self.seen.entry(name).or_insert(tag);
    }

    /// The keys of a slot that were looked at.
    fn seen_in(&self, spot: &Spot) -> impl Iterator<Item = (&Bytes, Option<Tag>)> {
        let place = place_of(spot);
        let first = (place, Bytes::new());
        let rest = self.seen.range(first..).take_while(move |((at, _), _)| *at == place);
        rest.map(|((_, key), tag)| (key, *tag))
    }

    fn put(&mut self, spot: &Spot, key: &[u8], next: Next) {
        let place = place_of(spot);
        let groups = &mut self.groups;
        let at = *self.places.entry(place).or_insert_with(|| {
            let (entries, places) = (Vec::new(), BTreeMap::new());
            groups.push(Group { spot: spot.clone(), entries, places });
            groups.len() - 1
        });
        let group = &mut groups[at];
        if let Some(known) = group.places.get(key) {
            group.entries[*known].next = Pending(next);
            return;
        }
        let key = Bytes::copy_from_slice(key);
        group.places.insert(key.clone(), group.entries.len());
        group.entries.push(Entry { key, next: Pending(next) });
    }
}

impl<'n> Access<'n> {
    /// Whether anything in `footprint` is held by several nodes.
    pub(crate) fn reaches_afar(&self, footprint: &Footprint<'_>) -> bool {
        if self.routing.is_local() {
            return false;
        }
        let keys = footprint.keys.iter().map(|(target, _)| *target);
        keys.chain(footprint.whole.iter().copied()).any(|target| self.is_spread(target))
    }

    /// Runs `f` and then writes what it changed.
    pub(crate) fn transact_afar<R>(
        &mut self,
        footprint: &Footprint<'_>,
        f: impl FnOnce(&mut Self) -> Result<R, Halt>,
    ) -> Result<R, Halt> {
        if footprint.catalogue {
            let message = "among several nodes a transaction cannot flush or swap databases";
            return Err(Refusal::new(Code::BadRequest, message).into());
        }
        self.overlay = Some(Box::default());
        let outcome = f(self);
        let overlay = self.overlay.take().unwrap_or_default();
        let result = outcome.map_err(|halt| match halt {
            // It ran before, came to its end and wrote.
            Halt::Refused(_) if self.errands.may_have_changed() => unknown().into(),
            halt => halt,
        })?;
        if !overlay.groups.iter().all(Group::fits) {
            let message = format!("the keys of one slot take at most {MAX_BATCH_BYTES} bytes");
            return Err(Refusal::new(Code::TooLarge, message).into());
        }
        if footprint.side_by_side {
            self.send_side_by_side(&overlay)?;
        } else {
            self.send_in_order(&overlay)?;
        }
        Ok(result)
    }

    /// Changes a key within the transaction.
    pub(crate) fn stage_afar(
        &mut self,
        spot: &Spot,
        wanted: &Wanted<'_, '_>,
        sink: &mut dyn Sink,
    ) -> Result<(), Halt> {
        if wanted.event_time.is_some() {
            let message = "among several nodes a transaction takes no event times";
            return Err(Refusal::new(Code::BadRequest, message).into());
        }
        if let Some(next) = self.plain(&spot.keyspace, wanted)? {
            self.stage(spot, wanted.key, next);
            let (outcome, before, version) = (Outcome::Done, None, None);
            sink.answer(Given::Updated(Updated { outcome, before, version, blind: true }));
            return Ok(());
        }
        let staged = self.overlay.as_ref().and_then(|overlay| overlay.find(spot, wanted.key));
        let (record, now) = match staged.map(Pending::as_record) {
            Some(record) => (record, self.now),
            None => {
                let found = self.look(spot, wanted.key)?;
                (found.record, found.now_ms)
            }
        };
        let seen = record.as_ref().map(OwnedRecord::borrow).filter(|record| record.is_live_at(now));
        let limit = self.node.config.max_value_bytes;
        let (outcome, change) = apply(wanted.update, seen.as_ref(), now, limit)?;
        let ttl = spot.keyspace.default_ttl_ms();
        let next = next_of(wanted.update, change, seen.as_ref(), ttl, now);
        // What was missed may be found by the next who reads it.
        let removes = matches!(wanted.update, Update::Delete { when: When::Always });
        let missed = || (removes && spot.keyspace.evicts()).then_some((OwnedBody::Tombstone, None));
        if let Some(next) = next.or_else(missed) {
            self.stage(spot, wanted.key, next);
        }
        let version = seen.map(|record| record.version);
        sink.answer(Given::Updated(Updated { outcome, before: seen, version, blind: false }));
        Ok(())
    }

    fn stage(&mut self, spot: &Spot, key: &[u8], next: Next) {
        if let Some(overlay) = &mut self.overlay {
            overlay.put(spot, key, next);
        }
        self.counts.writes += 1;
    }

    /// Writes slot after slot. Where one cannot be written and none was before, nothing was.
    fn send_in_order(&mut self, overlay: &Overlay) -> Result<(), Halt> {
        let mut any_sent = false;
        for group in &overlay.groups {
            let refusal = match self.send(overlay, group)? {
                Ok(sent) => {
                    any_sent |= sent;
                    continue;
                }
                Err(refusal) => refusal,
            };
            if !any_sent && refusal.code == Code::Conflict && self.may_begin_anew() {
                return Err(Halt::Away);
            }
            return Err(if any_sent { unknown() } else { refusal }.into());
        }
        Ok(())
    }

    fn may_begin_anew(&mut self) -> bool {
        // Where it waits in place nobody would run it again.
        self.patience == Patience::Inline && self.errands.retry()
    }

    /// Writes one slot's keys, if those that were looked at there are as they were; whether there
    /// was anything to write.
    fn send(&mut self, overlay: &Overlay, group: &Group) -> Result<Result<bool, Refusal>, Halt> {
        let spot = &group.spot;
        let mut seen = overlay.seen_in(spot);
        let (first, others) = (seen.next(), seen.next());
        match (first, others, &group.entries[..]) {
            (None, _, _) => {
                self.begin_write(0, spot, group.records())?;
                Ok(self.end_write(spot)?.map(|_| true))
            }
            // Of what was missed, if that is all there was, a removal is written all the same.
            (Some((key, tag)), None, [entry])
                if *key == entry.key && (tag.is_some() || !spot.keyspace.evicts()) =>
            {
                self.send_if_unchanged(spot, entry, tag)
            }
            _ => Ok(self.consult_batch(spot, group.parts(overlay))?.map(|()| true)),
        }
    }

    /// Writes one key if it is as it was when it was read; whether there was anything to write.
    fn send_if_unchanged(
        &mut self,
        spot: &Spot,
        entry: &Entry,
        tag: Option<Tag>,
    ) -> Result<Result<bool, Refusal>, Halt> {
        let tags: Vec<Tag> = tag.into_iter().collect();
        let when = if tags.is_empty() { When::Absent } else { When::TagIn(&tags) };
        let Pending((body, expires_at)) = &entry.next;
        let update = match body {
            OwnedBody::Live { bytes, .. } => {
                let expiry = expires_at.map_or(SetExpiry::Forever, SetExpiry::At);
                Update::Set { value: bytes, expiry, when }
            }
            // There was nothing, and there is to be nothing.
            OwnedBody::Tombstone if tags.is_empty() => return Ok(Ok(false)),
            OwnedBody::Tombstone => Update::Delete { when },
        };
        let reply = self.consult_update(spot, &entry.key, &update, false)?;
        Ok(match self.changed(reply) {
            Ok((Outcome::Unmet, ..)) => Err(conflict()),
            Ok(_) => Ok(true),
            Err(refusal) => Err(refusal),
        })
    }

    /// Writes all slots at once: their order says nothing to anybody.
    fn send_side_by_side(&mut self, overlay: &Overlay) -> Result<(), Halt> {
        let mut joined = Joined::default();
        for groups in overlay.groups.chunks(AT_ONCE) {
            for (ahead, group) in groups.iter().enumerate() {
                self.begin_write(ahead, &group.spot, group.records())?;
            }
            for group in groups {
                match self.end_write(&group.spot)? {
                    Ok(_) => joined.done(),
                    Err(refusal) => joined.refused(refusal),
                }
            }
        }
        Ok(joined.end()?)
    }
}

impl Group {
    /// Whether it is one message for everybody who is asked.
    fn fits(&self) -> bool {
        let bodies = self.entries.iter().map(|entry| (&entry.key, &entry.next.0.0));
        bytes_of(bodies) <= MAX_BATCH_BYTES
    }

    /// What is to be written, and what must be as it was.
    fn parts(&self, overlay: &Overlay) -> Vec<Part> {
        let mut seen: BTreeMap<&Bytes, Option<Tag>> = overlay.seen_in(&self.spot).collect();
        let when = |seen| match seen {
            None => Condition::Any,
            Some(None) => Condition::Absent,
            Some(Some(tag)) => Condition::Tag(tag),
        };
        let mut parts: Vec<Part> = Vec::with_capacity(self.entries.len() + seen.len());
        for Entry { key, next } in &self.entries {
            let (key, when) = (key.clone(), when(seen.remove(key)));
            parts.push(Part { key, when, next: Some(next.0.clone()) });
        }
        let looked_at = seen.into_iter().map(|(key, tag)| (key.clone(), when(Some(tag))));
        parts.extend(looked_at.map(|(key, when)| Part { key, when, next: None }));
        parts
    }

    fn records(&self) -> Vec<(Bytes, OwnedBody, Option<Millis>)> {
        let record = |entry: &Entry| {
            let Pending((body, expires_at)) = entry.next.clone();
            (entry.key.clone(), body, expires_at)
        };
        self.entries.iter().map(record).collect()
    }
}

/// What tells a slot of a keyspace from every other.
fn place_of(spot: &Spot) -> (u32, u16) {
    (spot.keyspace.space(), spot.slot.number())
}

/// What a change puts in the place of what was `seen`.
fn next_of(
    update: &Update<'_>,
    change: Change<'_>,
    seen: Option<&Record<'_>>,
    default_ttl_ms: Option<Millis>,
    now: Millis,
) -> Option<Next> {
    match change {
        Change::Keep => None,
        Change::Delete => Some((OwnedBody::Tombstone, None)),
        Change::Put { value, expires_at } => {
            let (fresh, forever) = match update {
                Update::Set { expiry, .. } => {
                    (*expiry == SetExpiry::Never || seen.is_none(), *expiry == SetExpiry::Forever)
                }
                _ => (seen.is_none(), false),
            };
            let implied = default_ttl_ms.filter(|_| fresh && !forever);
            let at = expires_at.or_else(|| implied.map(|ttl| now.saturating_add(ttl)));
            let kind = match seen.map(|record| record.body) {
                Some(Body::Live { kind, .. }) if !matches!(update, Update::Set { .. }) => kind,
                _ => PLAIN,
            };
            let bytes = value.into_owned().into();
            Some((OwnedBody::Live { kind, bytes }, at))
        }
    }
}
