//! The way to whoever answers for a key.
//!
//! Holds: whether there is one is looked at where a question is begun, not before: the answer to
//! one that was begun stands, whatever has become of the map since.

use super::{Next, Spot};
use crate::access::Access;
use crate::coordinator::{About, Coordinator};
use crate::errand::{Reply, Ticket};
use crate::node::Node;
use crate::refusal::{Code, Refusal};
use bytes::Bytes;
use shoal_core::quorum::Level;
use shoal_core::update::{OwnedUpdate, Update};
use shoal_core::version::Millis;
use std::sync::Arc;

/// The way to whoever answers for a key, open or not.
pub(crate) struct Way<'n> {
    node: &'n Node,
    coordinator: Option<&'n Arc<Coordinator>>,
    about: About,
}

impl<'n> Access<'n> {
    pub(super) fn to_read(&self, spot: &Spot) -> Way<'n> {
        self.way(spot, spot.keyspace.definition.options.read_level)
    }

    pub(super) fn to_write(&self, spot: &Spot) -> Way<'n> {
        self.way(spot, spot.keyspace.definition.options.write_level)
    }

    fn way(&self, spot: &Spot, usual: Level) -> Way<'n> {
        let (keyspace, slot) = (spot.keyspace.definition.incarnation, spot.slot);
        let about = About { keyspace, slot, level: self.level.unwrap_or(usual) };
        Way { node: self.node, coordinator: self.others(), about }
    }
}

impl<'n> Way<'n> {
    /// Whom to ask, and what about.
    pub(super) fn open(self) -> Result<(&'n Arc<Coordinator>, About), Refusal> {
        self.node.is_latest()?;
        let About { keyspace, slot, .. } = self.about;
        let coordinator = self.coordinator.filter(|c| c.routes().find(keyspace, slot).is_some());
        let message = "the map is not known here yet, or has just changed";
        let coordinator = coordinator.ok_or_else(|| Refusal::new(Code::TryAgain, message))?;
        Ok((coordinator, self.about))
    }

    /// Begins to write a key, whatever is there.
    pub(super) fn write(
        self,
        key: Bytes,
        (body, expires_at): Next,
        event_time: Option<Millis>,
        ticket: Ticket,
    ) -> Result<(), Refusal> {
        let (coordinator, about) = self.open()?;
        let done = Box::new(|told| ticket.tell(Reply::Write(told)));
        let begun = match event_time {
            Some(event) => coordinator.write_event(&about, key, body, expires_at, event, done),
            None => coordinator.write(&about, vec![(key, body, expires_at)], done),
        };
        begun.map_err(|error| Refusal::new(Code::ClockSkewed, error.to_string()))
    }

    /// Begins to change a key; without `look` nobody tells what was there before.
    pub(super) fn update(
        self,
        key: Bytes,
        update: &Update<'_>,
        look: bool,
        ticket: Ticket,
    ) -> Result<(), Refusal> {
        let (coordinator, about) = self.open()?;
        let done = Box::new(|told| ticket.tell(Reply::Update(told)));
        coordinator.update(&about, key, OwnedUpdate::from(update), look, done);
        Ok(())
    }
}
