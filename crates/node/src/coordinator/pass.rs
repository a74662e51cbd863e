//! Passing a change on to whoever carries changes of its key out.
//!
//! Holds: another owner is asked only where nothing was done: the one before could not be reached,
//! or said that it does not carry it out. While owners agree on who is up they all ask the same one
//! first.

use super::{About, Coordinator, DEADLINE};
use crate::transport::{Kind, Unreachable};
use bytes::Bytes;
use shoal_core::codec::forward::{read_forwarded, write_forward};
use shoal_core::quorum::{Forward, Forwarded, Header, Level, Owners};
use shoal_core::update::OwnedUpdate;
use shoal_core::{NodeId, PartitionId, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::job::Done;

/// How often every owner is asked. All of them decline together only for moments: while a map is
/// on its way, or a copy comes back.
const PASSES: u32 = 6;
/// How long to wait after the first time; after each further one twice as long.
const PAUSE: Duration = Duration::from_millis(20);

/// A change on its way.
struct Passing {
    about: About,
    key: Bytes,
    update: OwnedUpdate,
    look: bool,
    until: Instant,
    /// Who has declined in this pass.
    declined: Vec<NodeId>,
    passes: u32,
}

impl Coordinator {
    /// Changes a key, at whichever node carries changes of it out; with `look` what was there before
    /// is told.
    pub(crate) fn update(
        self: &Arc<Self>,
        about: &About,
        key: Bytes,
        update: OwnedUpdate,
        look: bool,
        done: Done<Forwarded>,
    ) {
        let done = self.counted(about.level, done);
        let (about, until) = (about.clone(), Instant::now() + DEADLINE);
        let declined = Vec::new();
        self.pass(Passing { about, key, update, look, until, declined, passes: 0 }, done);
    }

    /// Whether changes of keys of a partition are carried out here: the own copy takes them.
    pub(super) fn carries_out(&self, about: &About, partition: PartitionId) -> bool {
        !self.is_closed()
            && self.copies.find(about.keyspace, partition).is_some_and(|copy| copy.takes())
    }

    fn pass(self: &Arc<Self>, mut passing: Passing, done: Done<Forwarded>) {
        let (keyspace, slot) = (passing.about.keyspace, passing.about.slot);
        let Some((partition, owners)) = self.routes.find(keyspace, slot) else {
            return done(Forwarded::Elsewhere);
        };
        let (level, up) = (passing.about.level.max(Level::Quorum), self.up());
        if !owners.reach(level, |member| up(member.node)) {
            let lack = owners.no_quorum(level, |member| up(member.node), |node| !up(node));
            return done(Forwarded::NoQuorum(lack));
        }
        let Some(to) = self.executor(&owners, &passing.declined) else {
            return self.pass_again(passing, done);
        };
        passing.declined.push(to);
        if to != self.me {
            return self.forward(to, &owners, passing, done);
        }
        if !self.carries_out(&passing.about, partition) {
            return self.pass(passing, done);
        }
        let (about, key) = (passing.about.clone(), passing.key.clone());
        let (this, update, look) = (Arc::clone(self), passing.update.clone(), passing.look);
        let next = move |forwarded| match forwarded {
            Forwarded::Elsewhere => this.pass(passing, done),
            forwarded => done(forwarded),
        };
        self.execute(&about, key, update, look, Box::new(next));
    }

    /// The first owner that is up and has not declined.
    fn executor(&self, owners: &Owners, declined: &[NodeId]) -> Option<NodeId> {
        let up = self.up();
        let mut members = owners.replicas.iter().map(|member| member.node);
        members.find(|node| up(*node) && !declined.contains(node))
    }

    fn forward(
        self: &Arc<Self>,
        to: NodeId,
        owners: &Owners,
        passing: Passing,
        done: Done<Forwarded>,
    ) {
        let About { keyspace, slot, level } = passing.about;
        let header = Header { keyspace, slot, epoch: owners.epoch, clock: self.clock.told() };
        let (key, update) = (passing.key.clone(), passing.update.clone());
        let look = passing.look;
        let forward = Forward { header, level, key, update, look, event_time: None };
        let mut body = Vec::new();
        write_forward(&forward, &mut body);
        let (this, version) = (Arc::clone(self), Version::ZERO);
        let patience = passing.until.saturating_duration_since(Instant::now());
        let reply = move |answered: Result<Bytes, Unreachable>| {
            let forwarded = match answered {
                Ok(bytes) => read_forwarded(&bytes).unwrap_or(Forwarded::Unknown { version }),
                Err(why) if why.may_be_done() => Forwarded::Unknown { version },
                Err(_) => Forwarded::Elsewhere,
            };
            match forwarded {
                // Not from within the link that the answer came on.
                Forwarded::Elsewhere => {
                    let runtime = this.blocking.clone();
                    runtime.spawn(async move { this.pass(passing, done) });
                }
                forwarded => done(forwarded),
            }
        };
        self.transport.ask(to, Kind::Forward, body.into(), patience, Box::new(reply));
    }

    /// Every owner has declined: once more, a little later, unless that was often enough.
    fn pass_again(self: &Arc<Self>, mut passing: Passing, done: Done<Forwarded>) {
        passing.passes += 1;
        let pause = PAUSE * (1 << (passing.passes - 1).min(PASSES));
        let late = Instant::now() + pause >= passing.until;
        if passing.passes >= PASSES || late || self.is_closed() {
            return done(Forwarded::Elsewhere);
        }
        passing.declined.clear();
        let this = Arc::clone(self);
        self.blocking.spawn(async move {
            sleep(pause).await;
            this.pass(passing, done);
        });
    }
}

#[cfg(test)]
mod tests;
