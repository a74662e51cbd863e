//! How a question is carried out against the store, and its answer held until it is true.

use super::admit::Verdict;
use super::{Now, Put, Replica, Shelf};
use crate::ids::Epoch;
use crate::planted::{Bug, planted};
use crate::probe::probe;
use crate::quorum::{Ask, Base, Envelope, Guarded, Item, Origin, Refusal, Reply};
use crate::record::{Body, OwnedRecord, Record};
use crate::slot::Slot;
use crate::version::Version;
use bytes::Bytes;

/// How many bytes of keys and values a page holds, give or take its last record: one message, of
/// which a few may be under way to each of many copies.
const PAGE_BYTES: usize = 1 << 20;

/// What came of a question so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every question has an answer, moved once")]
pub enum Served<T> {
    /// An answer that must wait for the store.
    Held(Held<T>),
    /// An answer that may go out now: nothing was done.
    Refused(Refusal),
    /// The sender knows a newer map. Fetch it, adopt it, serve again.
    Behind,
}

/// An answer that must not leave before the store is durable as far as `ticket`; then
/// [`Replica::release`] says what may be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held<T> {
    /// How far the store must be durable.
    pub ticket: T,
    epoch: Epoch,
    reply: Reply,
}

impl Replica {
    /// Carries out `envelope` against `shelf`. Where that raises a floor or the purge mark, the
    /// caller makes the replica's state durable before the answer goes out. The caller holds the partition, so that nobody
    /// changes the records or the owners meanwhile.
    ///
    /// # Errors
    /// The store's; what it says of them is its own.
    pub fn serve<S: Shelf>(
        &mut self,
        envelope: &Envelope,
        now: Now,
        shelf: &mut S,
    ) -> Result<Served<S::Ticket>, S::Error> {
        let header = envelope.header;
        if header.keyspace < self.keyspace {
            return Ok(Served::Refused(Refusal::Void));
        }
        if header.keyspace > self.keyspace {
            return Ok(Served::Behind);
        }
        if header.epoch < self.owners.epoch && !planted(Bug::EpochNotCompared) {
            return Ok(Served::Refused(Refusal::Stale));
        }
        if header.epoch > self.owners.epoch {
            return Ok(Served::Behind);
        }
        if !self.counts() {
            return Ok(Served::Refused(Refusal::NotCounting));
        }
        let (reply, ticket) = match &envelope.ask {
            Ask::Take { items, origin } => self.take(header.slot, items, *origin, now, shelf)?,
            Ask::Batch { parts } => self.take_guarded(header.slot, parts, now, shelf)?,
            Ask::Read { key, whole } => self.read(header.slot, key, *whole, shelf)?,
            Ask::Clock => (Reply::Clock, S::Ticket::default()),
            Ask::Page { .. } | Ask::Floors if !self.is_present() => {
                // Only an owner that was there before can vouch for what there was.
                return Ok(Served::Refused(Refusal::NotCounting));
            }
            Ask::Page { after, limit } => self.page(header.slot, after.as_ref(), *limit, shelf)?,
            Ask::Floors => {
                let (floor, purged) = (self.floor, self.purged);
                (Reply::Floors { floor, purged }, S::Ticket::default())
            }
            Ask::Digest { .. } | Ask::Leaves { .. } | Ask::Copy(_) if !self.takes() => {
                return Ok(Served::Refused(Refusal::NotCounting));
            }
            Ask::Copy(shown) => self.copy(header.slot, shown, now, shelf)?,
            Ask::Prove { round, dead } if self.may_take_part_in_purge() => {
                self.prove(header.slot, *round, dead, shelf)?
            }
            Ask::RaiseFloor { to } if self.takes() => {
                self.raise_floor(*to);
                let (floor, purged) = (self.floor, self.purged);
                (Reply::Floors { floor, purged }, S::Ticket::default())
            }
            Ask::Purge { round, proven } if self.may_purge(*round) => {
                self.purge(header.slot, *round, proven, shelf)?
            }
            Ask::Prove { .. } | Ask::RaiseFloor { .. } | Ask::Purge { .. } => {
                return Ok(Served::Refused(Refusal::NotCounting));
            }
            Ask::Digest { range } => self.digest(header.slot, *range, shelf)?,
            Ask::Leaves { count } => self.leaves(header.slot, *count, shelf)?,
        };
        let ticket = match reply {
            Reply::Accepted if planted(Bug::AnswerBeforeDurable) => S::Ticket::default(),
            _ => ticket,
        };
        Ok(match reply {
            Reply::Refused(refusal) => Served::Refused(refusal),
            reply => Served::Held(Held { ticket, epoch: header.epoch, reply }),
        })
    }

    /// What may be said of `held`, now that the store is durable as far as its ticket: what was
    /// admitted under an epoch that is over is refused, for its sender counts by that epoch.
    #[must_use]
    pub fn release<T>(&self, held: Held<T>) -> Reply {
        let fenced = held.epoch < self.owners.epoch && !planted(Bug::EpochNotCompared);
        if fenced {
            probe("replica: fenced between storing and durable");
            return Reply::Refused(Refusal::Stale);
        }
        held.reply
    }

    fn read<S: Shelf>(
        &self,
        slot: Slot,
        key: &[u8],
        whole: bool,
        shelf: &S,
    ) -> Result<(Reply, S::Ticket), S::Error> {
        let ((rank, record), ticket) = shelf.look(slot, key, |held| {
            let record = held.filter(|_| whole).map(|record| OwnedRecord::from(*record));
            (held.map(Record::rank), record)
        })?;
        let (floor, mark) = (self.floor, self.mark(slot, shelf));
        Ok((Reply::Found { rank, record, floor, mark }, ticket))
    }

    fn page<S: Shelf>(
        &self,
        slot: Slot,
        after: Option<&Bytes>,
        limit: u16,
        shelf: &S,
    ) -> Result<(Reply, S::Ticket), S::Error> {
        let mut items = Vec::new();
        let limit = usize::from(limit.max(1));
        let after = after.map(|key| &key[..]);
        let mut bytes = 0;
        let ticket = shelf.page(slot, after, limit, |key, record| {
            bytes += key.len();
            if let Body::Live { bytes: value, .. } = record.body {
                bytes += value.len();
            }
            let key = Bytes::copy_from_slice(key);
            items.push(Item { key, record: OwnedRecord::from(*record) });
            bytes < PAGE_BYTES
        })?;
        let more = items.len() == limit || bytes >= PAGE_BYTES;
        let (floor, mark) = (self.floor, self.mark(slot, shelf));
        Ok((Reply::Page { items: items.into(), floor, mark, more }, ticket))
    }

    fn take<S: Shelf>(
        &self,
        slot: Slot,
        items: &[Item],
        origin: Origin,
        now: Now,
        shelf: &mut S,
    ) -> Result<(Reply, S::Ticket), S::Error> {
        let mut ticket = S::Ticket::default();
        let mut taken: Vec<Put<'_>> = Vec::with_capacity(items.len());
        let mut newest: Option<Version> = None;
        let mut below = false;
        let mut marked: Option<Version> = None;
        for item in items {
            let (held, durable) = shelf.look(slot, &item.key, |held| held.map(Record::rank))?;
            ticket = ticket.max(durable);
            let mark = self.mark_against(held, slot, None, shelf);
            let put = Put::over(held, &item.key, item.record.borrow());
            match self.admit(&put, origin, now, mark) {
                Verdict::Take => taken.push(put),
                Verdict::Same => {}
                Verdict::Newer(version) => newest = newest.max(Some(version)),
                Verdict::BelowFloor => below = true,
                Verdict::BelowMark(mark) if matches!(origin, Origin::Update { .. }) => {
                    return Ok((Reply::BelowMark(mark), ticket));
                }
                Verdict::BelowMark(mark) => marked = marked.max(Some(mark)),
                Verdict::Refuse(refusal) => return Ok((Reply::Refused(refusal), ticket)),
                Verdict::Conflict => return self.conflict(slot, &item.key, shelf),
            }
        }
        // While its coordinator may stamp it again a batch is refused whole; when it will not,
        // the keys that something newer has passed by are passed over.
        let may_come_again = matches!(origin, Origin::Fresh { last: false, .. });
        if below {
            // Of a batch one key may lie below the floor and another have something newer, above
            // the floor even: who stamps again must stamp above both.
            let newest = newest.filter(|_| may_come_again && !planted(Bug::FloorHidesNewer));
            let above = newest.map(|version| version.max(self.floor.last_version()));
            return Ok((above.map_or(Reply::BelowFloor(self.floor), Reply::Newer), ticket));
        }
        let reply = newest.map(Reply::Newer).or(marked.map(Reply::BelowMark));
        let reply = reply.unwrap_or(Reply::Accepted);
        let is_refused_whole = may_come_again && newest.is_some() && !planted(Bug::BatchInPart);
        if !taken.is_empty() && !is_refused_whole {
            ticket = ticket.max(shelf.put(slot, &taken)?);
        }
        Ok((reply, ticket))
    }

    /// Takes a conditional batch whole, or nothing of it.
    fn take_guarded<S: Shelf>(
        &self,
        slot: Slot,
        parts: &[Guarded],
        now: Now,
        shelf: &mut S,
    ) -> Result<(Reply, S::Ticket), S::Error> {
        let mut ticket = S::Ticket::default();
        let mut taken: Vec<Put<'_>> = Vec::with_capacity(parts.len());
        let (mut newer, mut below) = (Vec::new(), false);
        if !self.takes() {
            return Ok((Reply::Refused(Refusal::NotCounting), ticket));
        }
        for (index, Guarded { key, base, next }) in parts.iter().enumerate() {
            let (held, durable) = shelf.look(slot, key, |held| held.map(Record::rank))?;
            ticket = ticket.max(durable);
            let mark = self.mark_against(held, slot, None, shelf);
            let put = next.as_ref().map(|record| Put::over(held, key, record.borrow()));
            let verdict = match &put {
                Some(put) => self.admit(put, Origin::Update { base: *base }, now, mark),
                None if held.is_some_and(|held| base.is_below(&held)) => Verdict::Conflict,
                // Something newer than the value that was looked at may have been evicted.
                None if matches!(base, Base::Record(base) if base.version < mark) => {
                    Verdict::BelowMark(mark)
                }
                None => Verdict::Same,
            };
            match (verdict, held) {
                (Verdict::Conflict, _) if index > 0 && planted(Bug::FirstBaseOnly) => {
                    taken.extend(put);
                }
                (Verdict::Conflict | Verdict::Newer(_), Some(held)) => {
                    newer.push((key.clone(), held));
                }
                (Verdict::Take, _) => taken.extend(put),
                (Verdict::BelowFloor, _) => below = true,
                (Verdict::BelowMark(mark), _) => return Ok((Reply::BelowMark(mark), ticket)),
                (Verdict::Refuse(refusal), _) => return Ok((Reply::Refused(refusal), ticket)),
                (Verdict::Same | Verdict::Conflict | Verdict::Newer(_), _) => {}
            }
        }
        if !newer.is_empty() {
            return Ok((Reply::Changed(newer), ticket));
        }
        if below {
            return Ok((Reply::BelowFloor(self.floor), ticket));
        }
        if !taken.is_empty() {
            ticket = ticket.max(shelf.put(slot, &taken)?);
        }
        Ok((Reply::Accepted, ticket))
    }

    fn conflict<S: Shelf>(
        &self,
        slot: Slot,
        key: &[u8],
        shelf: &S,
    ) -> Result<(Reply, S::Ticket), S::Error> {
        let (record, ticket) =
            shelf.look(slot, key, |held| held.copied().map(OwnedRecord::from))?;
        let reply = match record {
            Some(record) => Reply::Conflict { record, floor: self.floor },
            None => Reply::BelowMark(self.mark(slot, shelf)),
        };
        Ok((reply, ticket))
    }
}
