//! Plain writes.
//!
//! Holds: the records of a batch have one version, and one per key. A clock that may not stamp for
//! a moment, since its node has just restarted, holds its writes up and refuses none.

use super::job::{Done, WriteJob};
use super::{About, Coordinator, nobody};
use crate::transport::MAX_BODY;
use bytes::Bytes;
use shoal_core::clock::{CLUSTER_CEILING_STEP_MS, ClockError, Stamp};
use shoal_core::quorum::{Item, Restamp, Write, WriteOutcome};
use shoal_core::record::{OwnedBody, OwnedRecord};
use shoal_core::version::Millis;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// The most bytes of one batch: with what surrounds it, it is one message.
pub(crate) const MAX_BATCH_BYTES: usize = MAX_BODY - (64 << 10);

/// A key, and what it is to have from now on: a value with its expiry, or nothing.
type Entry = (Bytes, OwnedBody, Option<Millis>);

impl Coordinator {
    /// Writes keys of one slot as one, without looking at what is there; of a key that comes twice
    /// the last. A batch longer than [`MAX_BATCH_BYTES`] finds nobody who takes it.
    ///
    /// # Errors
    /// [`ClockError`] where this node may not stamp for longer than a restart explains; `done` is
    /// not called.
    pub(crate) fn write(
        self: &Arc<Self>,
        about: &About,
        mut records: Vec<Entry>,
        done: Done<WriteOutcome>,
    ) -> Result<(), ClockError> {
        let done = self.counted(about.level, done);
        if bytes_of(records.iter().map(|(key, body, _)| (key, body))) > MAX_BATCH_BYTES {
            done(WriteOutcome::NoQuorum(nobody()));
            return Ok(());
        }
        last_of_each(&mut records);
        match self.clock.next() {
            Ok(stamp) => self.write_stamped(about, records, stamp, done),
            Err(error) => {
                let wait_ms = self.clock.stamps_in_ms();
                if !(1..=CLUSTER_CEILING_STEP_MS).contains(&wait_ms) {
                    return Err(error);
                }
                let (this, about) = (Arc::clone(self), about.clone());
                self.blocking.spawn(async move {
                    // A stamp is the one after the last, which another millisecond may take in.
                    sleep(Duration::from_millis(wait_ms + 1)).await;
                    match this.clock.next() {
                        Ok(stamp) => this.write_stamped(&about, records, stamp, done),
                        Err(_) => done(WriteOutcome::NoQuorum(nobody())),
                    }
                });
            }
        }
        Ok(())
    }

    fn write_stamped(
        self: &Arc<Self>,
        about: &About,
        records: Vec<Entry>,
        stamp: Stamp,
        done: Done<WriteOutcome>,
    ) {
        let route = self.routes.find(about.keyspace, about.slot).filter(|_| !self.is_closed());
        let Some((_, owners)) = route else {
            return done(WriteOutcome::NoQuorum(nobody()));
        };
        let version = stamp.version(self.me);
        let item = |(key, body, expires_at)| {
            let record = OwnedRecord { version, written: version, expires_at, body };
            Item { key, record }
        };
        let items: Arc<[Item]> = records.into_iter().map(item).collect();
        let mut out = Vec::new();
        let (me, level, up) = (self.me, about.level, self.up());
        match Write::start(me, items, level, Restamp::Once, owners, up, &mut out) {
            Ok(machine) => {
                let mut job = WriteJob { machine, done: Some(done) };
                let steps = job.steps(out);
                self.begin(about, Box::new(job), steps);
            }
            Err(outcome) => done(outcome),
        }
    }
}

/// How many bytes a batch takes that writes this under these keys, at most.
pub(crate) fn bytes_of<'r>(records: impl Iterator<Item = (&'r Bytes, &'r OwnedBody)>) -> usize {
    const EACH: usize = 192;
    let bytes = |(key, body): (&Bytes, &OwnedBody)| match body {
        OwnedBody::Live { bytes, .. } => EACH + key.len() + bytes.len(),
        OwnedBody::Tombstone => EACH + key.len(),
    };
    records.map(bytes).sum()
}

/// Leaves the last record of each key: all of a batch have one version, so nothing else could
/// tell which of two is newer.
fn last_of_each(records: &mut Vec<Entry>) {
    if records.len() < 2 {
        return;
    }
    let mut seen = HashSet::with_capacity(records.len());
    records.reverse();
    records.retain(|(key, ..)| seen.insert(key.clone()));
    records.reverse();
}
