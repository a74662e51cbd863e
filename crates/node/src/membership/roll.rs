//! The roll: what this node believes of every other, and since when.
//!
//! Holds: at most one entry per node, never one of this node; whatever changes in it is told as
//! an [`Event`] once.
//!
//! Does not know: how the belief was come by, datagrams, timers.

use super::Event;
use super::datagram::Gossip;
use super::identity::Identity;
use core::net::SocketAddr;
use foca::{Incarnation, Member, State};
use shoal_core::{MapVersion, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a member is believed to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// It answers.
    Up,
    /// It did not answer lately, and has not objected yet. Still taken as reachable.
    Suspect,
    /// It answers nobody.
    Down,
    /// It said goodbye.
    Left,
}

impl MemberState {
    /// The state as a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        }
    }

    /// Whether it is worth sending to a member in this state.
    #[must_use]
    pub const fn is_reachable(self) -> bool {
        matches!(self, Self::Up | Self::Suspect)
    }

    fn of(member: &Member<Identity>) -> Self {
        match member.state() {
            _ if member.id().is_leaving() => Self::Left,
            State::Alive => Self::Up,
            State::Suspect => Self::Suspect,
            State::Down => Self::Down,
        }
    }
}

/// What this node knows of one other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The node.
    pub node: NodeId,
    /// Which of its starts this is about.
    pub start: u64,
    /// Where it takes datagrams.
    pub address: SocketAddr,
    /// What it is believed to be.
    pub state: MemberState,
    /// Since when, on this node's clock.
    pub since: Duration,
    /// When it was last heard itself in this life; never, if others only told of it.
    pub heard: Option<Duration>,
    /// The newest map version it said it has.
    pub map_version: MapVersion,
    /// How busy it said it is, in thousandths.
    pub load: u16,
}

/// One entry of the roll.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) incarnation: Incarnation,
    pub(super) seen: Seen,
    /// The incarnation in which it is being asked to object, or was.
    asked: Option<Incarnation>,
}

/// What this node believes of all others.
#[derive(Clone, Debug, Default)]
pub(super) struct Roll {
    entries: BTreeMap<NodeId, Entry>,
}

impl Roll {
    pub(super) fn get(&self, node: NodeId) -> Option<&Entry> {
        self.entries.get(&node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        self.entries.remove(&node);
    }

    /// Takes over what foca believes of one member. Gives the entry if it has just become
    /// suspected.
    pub(super) fn learn(
        &mut self,
        member: &Member<Identity>,
        now: Duration,
        mut tell: impl FnMut(Event),
    ) -> Option<Entry> {
        let identity = *member.id();
        let state = MemberState::of(member);
        let (node, address) = (identity.node(), identity.address());
        let start = identity.start();
        let Some(entry) = self.entries.get_mut(&node) else {
            let seen = Seen {
                node,
                start,
                address,
                state,
                since: now,
                heard: None,
                map_version: MapVersion::default(),
                load: 0,
            };
            let entry = Entry { identity, incarnation: member.incarnation(), seen, asked: None };
            self.entries.insert(node, entry);
            if state.is_reachable() {
                tell(Event::Up { node, start, address });
            }
            // That one never known as up is down is no news.
            return (state == MemberState::Suspect).then(|| {
                tell(Event::Suspect { node });
                entry
            });
        };
        entry.incarnation = member.incarnation();
        let before = entry.seen.state;
        let restarted = entry.seen.start != start;
        if entry.identity != identity {
            entry.identity = identity;
            (entry.seen.heard, entry.asked) = (None, None);
            (entry.seen.start, entry.seen.address) = (start, address);
        }
        if restarted {
            // It may have come back with an older map than it had.
            entry.seen.map_version = MapVersion::default();
        }
        if before == state && !restarted {
            return None;
        }
        entry.seen.state = state;
        entry.seen.since = now;
        if restarted && state.is_reachable() {
            tell(Event::Up { node, start, address });
        }
        match state {
            MemberState::Up if restarted => {}
            MemberState::Up => tell(Event::Up { node, start, address }),
            MemberState::Suspect => tell(Event::Suspect { node }),
            MemberState::Down if before.is_reachable() => tell(Event::Down { node }),
            MemberState::Left if before != MemberState::Left => tell(Event::Left { node }),
            MemberState::Down | MemberState::Left => {}
        }
        (state == MemberState::Suspect).then_some(*entry)
    }

    /// Whether this member has not been asked to object in this incarnation before.
    pub(super) fn begin_to_ask(&mut self, identity: &Identity, incarnation: Incarnation) -> bool {
        let entry = self.entries.get_mut(&identity.node());
        let Some(entry) = entry.filter(|entry| entry.identity == *identity) else { return false };
        entry.asked.replace(incarnation) != Some(incarnation)
    }

    /// The member itself was heard, and said this.
    pub(super) fn heard(
        &mut self,
        identity: &Identity,
        gossip: Gossip,
        now: Duration,
        mut tell: impl FnMut(Event),
    ) {
        let Some(entry) = self.entries.get_mut(&identity.node()) else { return };
        if entry.identity != *identity || !entry.seen.state.is_reachable() {
            return;
        }
        entry.seen.heard = Some(now);
        entry.seen.load = gossip.load;
        // Datagrams overtake each other.
        if gossip.map_version > entry.seen.map_version {
            entry.seen.map_version = gossip.map_version;
            tell(Event::Heard { node: identity.node(), map_version: gossip.map_version });
        }
    }
}
