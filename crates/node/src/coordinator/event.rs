//! Plain writes that carry their caller's own time.

use super::job::{Done, WriteJob};
use super::{About, Coordinator, nobody};
use bytes::Bytes;
use shoal_core::Version;
use shoal_core::clock::ClockError;
use shoal_core::quorum::{Item, Restamp, Write, WriteOutcome};
use shoal_core::record::{OwnedBody, OwnedRecord};
use shoal_core::version::Millis;
use std::sync::Arc;

impl Coordinator {
    /// Writes one key without looking at what is there, at a version that is the caller's own time
    /// of the write: it loses to whatever is newer, and is not stamped again.
    ///
    /// # Errors
    /// [`ClockError`] where this node may not stamp now; `done` is not called.
    pub(crate) fn write_event(
        self: &Arc<Self>,
        about: &About,
        key: Bytes,
        body: OwnedBody,
        expires_at: Option<Millis>,
        event: Millis,
        done: Done<WriteOutcome>,
    ) -> Result<(), ClockError> {
        let route = self.routes.find(about.keyspace, about.slot).filter(|_| !self.is_closed());
        let Some((_, owners)) = route else {
            done(WriteOutcome::NoQuorum(nobody()));
            return Ok(());
        };
        let written = self.clock.next()?.version(self.me);
        let version = Version { wall_ms: event, counter: 0, node: self.me };
        let record = OwnedRecord { version, written, expires_at, body };
        let items: Arc<[Item]> = Arc::from([Item { key, record }]);
        let mut out = Vec::new();
        let (me, level, up) = (self.me, about.level, self.up());
        match Write::start(me, items, level, Restamp::Never, owners, up, &mut out) {
            Ok(machine) => {
                let mut job = WriteJob { machine, done: Some(done) };
                let steps = job.steps(out);
                self.begin(about, Box::new(job), steps);
            }
            Err(outcome) => done(outcome),
        }
        Ok(())
    }
}
