//! A store that can be cut off from its power: what is put is seen at once, and durable later, in
//! order.

use bytes::Bytes;
use shoal_core::replica::Shelf;
use shoal_core::{OwnedRecord, Record, Slot};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// A key, and its new record; none removes it.
type Change = (Bytes, Option<OwnedRecord>);

/// The records of one copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimShelf {
    live: BTreeMap<Bytes, (OwnedRecord, u64)>,
    durable: BTreeMap<Bytes, (OwnedRecord, u64)>,
    /// What is not durable yet, in the order in which it was put.
    pending: Vec<(u64, Vec<Change>)>,
    position: u64,
    synced: u64,
}

impl SimShelf {
    /// The newest position; a sync that begins now covers it.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Up to where everything is durable.
    pub(crate) const fn synced(&self) -> u64 {
        self.synced
    }

    /// What was put up to `position` is durable from now on.
    pub(crate) fn sync(&mut self, position: u64) {
        self.synced = self.synced.max(position);
        let rest = self.pending.iter().position(|(at, _)| *at > position);
        let rest = rest.unwrap_or(self.pending.len());
        for (at, records) in self.pending.drain(..rest) {
            for (key, record) in records {
                match record {
                    Some(record) => drop(self.durable.insert(key, (record, at))),
                    None => drop(self.durable.remove(&key)),
                }
            }
        }
    }

    /// The power goes: of what was not durable, the first `kept` puts happen to be.
    pub(crate) fn crash(&mut self, kept: usize) {
        let upto = kept.checked_sub(1).and_then(|last| self.pending.get(last)).map(|(at, _)| *at);
        if let Some(upto) = upto {
            self.sync(upto);
        }
        self.pending.clear();
        self.live = self.durable.clone();
        self.synced = self.position;
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Everything is gone, durably.
    pub(crate) fn wipe(&mut self) {
        *self = Self { position: self.position, synced: self.position, ..Self::default() };
    }

    /// What is stored now, durable or not.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&Bytes, &OwnedRecord)> {
        self.live.iter().map(|(key, (record, _))| (key, record))
    }
}

impl Shelf for SimShelf {
    type Ticket = u64;
    type Error = Infallible;

    fn look<R>(
        &self,
        _: Slot,
        key: &[u8],
        f: impl FnOnce(Option<&Record<'_>>) -> R,
    ) -> Result<(R, u64), Infallible> {
        let held = self.live.get(key);
        let record = held.map(|(record, _)| record.borrow());
        Ok((f(record.as_ref()), held.map_or(0, |(_, at)| *at)))
    }

    fn page(
        &self,
        _: Slot,
        after: Option<&[u8]>,
        limit: usize,
        mut f: impl FnMut(&[u8], &Record<'_>),
    ) -> Result<u64, Infallible> {
        let mut ticket = 0;
        let rest = self.live.iter().filter(|(key, _)| after.is_none_or(|after| &key[..] > after));
        for (key, (record, at)) in rest.take(limit) {
            ticket = ticket.max(*at);
            f(key, &record.borrow());
        }
        Ok(ticket)
    }

    fn put(&mut self, _: Slot, records: &[(&[u8], Record<'_>)]) -> Result<u64, Infallible> {
        self.position += 1;
        let at = self.position;
        let mut owned = Vec::new();
        for (key, record) in records {
            let (key, record) = (Bytes::copy_from_slice(key), OwnedRecord::from(*record));
            self.live.insert(key.clone(), (record.clone(), at));
            owned.push((key, Some(record)));
        }
        self.pending.push((at, owned));
        Ok(at)
    }

    fn remove(&mut self, _: Slot, keys: &[&[u8]]) -> Result<u64, Infallible> {
        self.position += 1;
        let at = self.position;
        let mut gone = Vec::new();
        for key in keys {
            self.live.remove(*key);
            gone.push((Bytes::copy_from_slice(key), None));
        }
        self.pending.push((at, gone));
        Ok(at)
    }
}
