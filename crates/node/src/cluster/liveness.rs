//! Who is up, as this node believes at the moment.
//!
//! [`Liveness::show`] takes what gossip believes and the map, and makes of both what everybody
//! else asks for; it is called whenever one of them changes. Asking takes no lock: it is done for
//! every request.
//!
//! Holds: the node itself is always up. Nodes that the map does not have, or that are gone, are
//! not spoken of. A member that was never heard of counts as down from the moment on at which this
//! node began to miss it: after all nodes were stopped, one that does not come back is missed too.
//!
//! Does not know: datagrams, the protocol behind them.

use crate::membership::{MemberState, Seen};
use arc_swap::ArcSwap;
use core::net::SocketAddr;
use shoal_core::NodeId;
use shoal_core::control::View;
use shoal_core::map::{ClusterMap, NodeState};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How a node stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It has an id and did not start as a member yet.
    Joining,
    /// It answers.
    Up,
    /// It did not answer lately, and has not objected yet. Still taken as reachable.
    Suspect,
    /// It answers nobody.
    Down,
    /// It said goodbye.
    Left,
}

impl Standing {
    /// Its name, as people see it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        }
    }
}

/// A node of the map as this one sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The node.
    pub node: NodeId,
    /// How it stands.
    pub standing: Standing,
    /// For how long it has stood so, as far as this node knows.
    pub lasted: Duration,
    /// Where it takes datagrams; `None` for this node itself, and while nothing was heard of it.
    pub address: Option<SocketAddr>,
}

/// What this node believes of the others.
pub(crate) struct Liveness {
    me: NodeId,
    begun: Instant,
    shown: ArcSwap<Shown>,
    changes: watch::Sender<u64>,
    superseded: AtomicBool,
}

/// What is believed at one moment.
#[derive(Default)]
struct Shown {
    view: View,
    /// How each node of the map stands, and since when on the clock of [`Liveness::elapsed`].
    standings: BTreeMap<NodeId, (Standing, Duration, Option<SocketAddr>)>,
    /// Since when nodes are missed that were not reachable yet since this node started.
    missed: BTreeMap<NodeId, Duration>,
}

impl Shown {
    fn is_like(&self, other: &Self) -> bool {
        let words = |shown: &Self| -> Vec<_> {
            shown.standings.iter().map(|(node, (standing, ..))| (*node, *standing)).collect()
        };
        self.view.up == other.view.up
            && self.view.down_since_ms == other.view.down_since_ms
            && words(self) == words(other)
    }
}

/// How long it takes at most until a node that has just started has heard of all the others.
const DOUBT: Duration = Duration::from_secs(3);

impl Liveness {
    /// What `me` believes before it has heard anything: that it is up itself.
    pub(crate) fn new(me: NodeId) -> Self {
        let mut shown = Shown::default();
        shown.view.up.insert(me);
        Self {
            me,
            begun: Instant::now(),
            shown: ArcSwap::from_pointee(shown),
            changes: watch::Sender::new(0),
            superseded: AtomicBool::new(false),
        }
    }

    /// The clock by which everything here is measured: the time since this node began to look.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The moment at which [`Liveness::elapsed`] is `elapsed`.
    pub(crate) fn at(&self, elapsed: Duration) -> Instant {
        self.begun + elapsed
    }

    /// Whether `node` is believed to be reachable.
    #[cfg(test)]
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.shown.load().view.is_up(node)
    }

    /// Whether it is worth asking `node`. Who was never heard of is given the benefit of the doubt
    /// for a moment: to ask in vain costs less than to refuse what could be done.
    pub(crate) fn is_worth_asking(&self, node: NodeId) -> bool {
        let shown = self.shown.load();
        let is_heard_of = |(.., address): &(_, _, Option<_>)| address.is_some();
        shown.view.is_up(node)
            || !shown.standings.get(&node).is_some_and(is_heard_of) && self.elapsed() < DOUBT
    }

    /// Who is up, as the planner sees it.
    pub(crate) fn view(&self) -> View {
        View { now_ms: millis(self.elapsed()), ..self.shown.load().view.clone() }
    }

    /// How every node of the map stands, by node id.
    pub(crate) fn seen(&self) -> Vec<Sight> {
        let now = self.elapsed();
        let shown = self.shown.load();
        let sight = |(node, (standing, since, address)): (&NodeId, &(_, Duration, _))| Sight {
            node: *node,
            standing: *standing,
            lasted: now.saturating_sub(*since),
            address: *address,
        };
        shown.standings.iter().map(sight).collect()
    }

    /// Counts the changes.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether a later process was started as this node. This one has fallen silent, refuses
    /// everything and should end.
    pub(crate) fn superseded(&self) -> bool {
        self.superseded.load(Ordering::Acquire)
    }

    /// A later process was started as this node.
    pub(crate) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Believes `roll` of the nodes of `map` from now on. Its times are of [`Liveness::elapsed`].
    /// Never called by two at once.
    pub(crate) fn show<'s>(&self, roll: impl IntoIterator<Item = &'s Seen>, map: &ClusterMap) {
        let now = self.elapsed();
        let before = self.shown.load_full();
        let roll: BTreeMap<NodeId, &Seen> =
            roll.into_iter().map(|seen| (seen.node, seen)).collect();
        let mut shown = Shown::default();
        shown.view.up.insert(self.me);
        for (node, info) in map.nodes.iter().filter(|(_, info)| !info.is_gone()) {
            let seen = roll.get(node).copied();
            let (standing, since) = if *node == self.me {
                (Standing::Up, Duration::ZERO)
            } else {
                shown.believe(&before, *node, seen, now)
            };
            let (standing, since) = if info.state == NodeState::Joining {
                let present = before.standings.get(node);
                let joining = present.filter(|(standing, ..)| *standing == Standing::Joining);
                (Standing::Joining, joining.map_or(now, |(_, since, _)| *since))
            } else {
                (standing, since)
            };
            shown.standings.insert(*node, (standing, since, seen.map(|seen| seen.address)));
        }
        let news = !shown.is_like(&before);
        self.shown.store(shown.into());
        if news {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

impl Shown {
    /// How another node stands, and since when.
    fn believe(
        &mut self,
        before: &Self,
        node: NodeId,
        seen: Option<&Seen>,
        now: Duration,
    ) -> (Standing, Duration) {
        let standing = seen.map_or(Standing::Down, |seen| match seen.state {
            MemberState::Up => Standing::Up,
            MemberState::Suspect => Standing::Suspect,
            MemberState::Down => Standing::Down,
            MemberState::Left => Standing::Left,
        });
        if matches!(standing, Standing::Up | Standing::Suspect) {
            self.view.up.insert(node);
            return (standing, seen.map_or(now, |seen| seen.since));
        }
        let missed = before.missed.get(&node).copied();
        let since = missed.or_else(|| seen.map(|seen| seen.since)).unwrap_or(now);
        if missed.is_some() || seen.is_none() {
            self.missed.insert(node, since);
        }
        self.view.down_since_ms.insert(node, millis(since));
        (standing, since)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::rig::map_of;
    use shoal_core::MapVersion;

    fn seen(node: u32, state: MemberState, since_ms: u64) -> Seen {
        Seen {
            node: NodeId(node),
            start: 1,
            address: SocketAddr::new([127, 0, 0, 1].into(), 7_000),
            state,
            since: Duration::from_millis(since_ms),
            heard: None,
            map_version: MapVersion::default(),
            load: 0,
        }
    }

    fn standings(liveness: &Liveness) -> Vec<(u32, &'static str, u128)> {
        let words = |sight: Sight| (sight.node.0, sight.standing.name(), sight.lasted.as_millis());
        liveness.seen().into_iter().map(words).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_came_is_missed_from_the_first_look() {
        let liveness = Liveness::new(NodeId(1));
        let map = map_of(3);
        assert!(liveness.is_up(NodeId(1)) && !liveness.is_up(NodeId(2)));
        liveness.show([], &map);
        tokio::time::advance(Duration::from_millis(500)).await;
        // Others tell that it is down: it was missed before they did.
        liveness.show(&[seen(2, MemberState::Down, 400), seen(3, MemberState::Up, 300)], &map);
        let view = liveness.view();
        assert!(view.is_down_for(NodeId(2), 500) && !view.is_down_for(NodeId(2), 501));
        assert!(liveness.is_up(NodeId(3)));
        assert_eq!(standings(&liveness), [(1, "up", 500), (2, "down", 500), (3, "up", 200)]);
        // It came, and went again.
        liveness.show(&[seen(2, MemberState::Suspect, 500)], &map);
        assert!(liveness.is_up(NodeId(2)));
        tokio::time::advance(Duration::from_millis(100)).await;
        liveness.show(&[seen(2, MemberState::Left, 550)], &map);
        assert_eq!(standings(&liveness), [(1, "up", 600), (2, "left", 50), (3, "down", 100)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_never_heard_of_is_worth_asking_for_a_moment() {
        let liveness = Liveness::new(NodeId(1));
        let worth = || [1, 2, 3].map(|node| liveness.is_worth_asking(NodeId(node)));
        assert_eq!(worth(), [true; 3]);
        liveness.show(&[seen(2, MemberState::Down, 0)], &map_of(3));
        assert_eq!(worth(), [true, false, true]);
        tokio::time::advance(DOUBT).await;
        assert_eq!(worth(), [true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_changes_are_told() {
        let liveness = Liveness::new(NodeId(1));
        let map = map_of(2);
        let mut changes = liveness.changed();
        liveness.show([], &map);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        tokio::time::advance(Duration::from_millis(100)).await;
        liveness.show([], &map);
        liveness.show(&[seen(9, MemberState::Up, 0)], &map);
        assert!(!changes.has_changed().unwrap(), "a stranger is not spoken of");
        liveness.show(&[seen(2, MemberState::Up, 100)], &map);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(!liveness.superseded());
        liveness.supersede();
        assert!(liveness.superseded() && changes.has_changed().unwrap());
    }
}
