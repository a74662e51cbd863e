//! A leader over a real store, in virtual time; who is up and what copies report is made up.

use super::*;
use crate::cluster::rig::{Stores, address_of, until};
use crate::membership::{MemberState, Seen};
use shoal_core::control::Health;
use shoal_core::map::Place;
use shoal_core::{MapVersion, PartitionId};

struct Node {
    me: NodeId,
    store: Arc<RaftStore>,
    liveness: Liveness,
    events: Events,
    lead: Lead,
    reports: Mutex<Vec<Report>>,
    heard: Mutex<Vec<Report>>,
}

impl Node {
    fn start(stores: &Stores, node: u32) -> Arc<Self> {
        let node = Arc::new(Self {
            me: NodeId(node),
            store: Arc::clone(stores.at(node)),
            liveness: Liveness::new(NodeId(node)),
            events: Events::default(),
            lead: Lead::default(),
            reports: Mutex::default(),
            heard: Mutex::default(),
        });
        let here = Arc::clone(&node);
        tokio::spawn(async move {
            let chair = here.chair();
            tokio::join!(chair.plan_always(), chair.choose_voters_always(), chair.tell_who_leads())
        });
        node
    }

    fn chair(&self) -> Chair<'_> {
        let Self { me, store, liveness, events, lead, reports, heard } = self;
        Chair { me: *me, store, liveness, events, lead, reports, heard }
    }

    fn words(&self) -> Vec<&'static str> {
        self.events.all().iter().map(|event| event.what).collect()
    }

    /// Believes these nodes to be up, and no others.
    fn sees(&self, nodes: &[u32]) {
        let since = self.liveness.elapsed();
        let seen = |node: &u32| Seen {
            node: NodeId(*node),
            start: 1,
            address: address_of(*node),
            state: MemberState::Up,
            since,
            heard: None,
            map_version: MapVersion::default(),
            load: 0,
        };
        let seen: Vec<_> = nodes.iter().map(seen).collect();
        self.liveness.show(&seen, &self.store.current());
    }

    /// The place of every partition of `default`, as it stands now.
    fn places(&self) -> Vec<Place> {
        let map = self.store.current();
        let keyspace = map.keyspace("default").unwrap();
        let partitions = (0..).map(PartitionId).zip(&keyspace.partitions);
        let place = |(partition, held): (PartitionId, &shoal_core::map::Partition)| Place {
            keyspace: keyspace.incarnation,
            partition,
            epoch: held.epoch,
        };
        partitions.map(place).collect()
    }

    fn all_partitions(&self, hold: impl Fn(&shoal_core::map::Partition) -> bool) -> bool {
        self.store.current().keyspace("default").unwrap().partitions.iter().all(hold)
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_grow_as_soon_as_others_are_up_and_have_proven_themselves() {
    let stores = Stores::new(3).await;
    let node = Node::start(&stores, 1);
    node.sees(&[]);
    until("it leads", || node.lead.control.lock().is_some()).await;
    assert_eq!(node.chair().status().health, Health::Degraded);
    tokio::time::sleep(PERIOD * 3).await;
    assert!(node.all_partitions(|partition| !partition.is_moving()), "nobody is up");
    node.sees(&[2, 3]);
    until("it intends", || node.all_partitions(|partition| partition.next.len() == 3)).await;
    assert_eq!(node.chair().status().total.moving, 4);
    let proven =
        |node: u32| move |place: &Place| Report::Proven { node: NodeId(node), place: *place };
    let places = node.places();
    node.heard.lock().extend(places.iter().map(proven(2)));
    *node.reports.lock() = places.iter().map(proven(1)).collect();
    tokio::time::sleep(PERIOD * 3).await;
    assert!(node.all_partitions(|partition| partition.is_moving()), "one has not proven it");
    node.heard.lock().extend(places.iter().map(proven(3)));
    node.lead.wake();
    until("it is over", || node.all_partitions(|partition| partition.replicas.len() == 3)).await;
    assert!(node.chair().status().is_fully_replicated());
    let words = node.words();
    for word in [what::LEADER, what::MOVING, what::MOVED] {
        assert!(words.contains(&word), "{word} of {words:?}");
    }
    assert!(node.events.all().iter().any(|event| event.text.starts_with("4 partitions of")));
}

#[tokio::test(start_paused = true)]
async fn members_that_are_up_are_given_a_voice() {
    let stores = Stores::new(3).await;
    let node = Node::start(&stores, 1);
    node.sees(&[2, 3]);
    let all = [1, 2, 3].map(NodeId).into();
    until("three vote", || node.store.status().voters == all).await;
    assert!(node.words().contains(&what::VOTERS));
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_accepted_at_the_leader_only() {
    let stores = Stores::new(2).await;
    let (node, other) = (Node::start(&stores, 1), Node::start(&stores, 2));
    node.sees(&[]);
    until("it leads", || node.lead.control.lock().is_some()).await;
    assert_eq!(node.chair().accept_loss(None).await.unwrap(), 0, "nothing is lost");
    let lost = |place| Report::Lost { node: NodeId(1), place };
    *node.reports.lock() = node.places().into_iter().map(lost).collect();
    node.lead.wake();
    until("it is told", || node.words().contains(&what::AWAITING_ACCEPTANCE)).await;
    assert_eq!(node.chair().status().total.awaiting_acceptance, 4);
    assert_eq!(node.chair().accept_loss(Some("other")).await.unwrap(), 0);
    assert!(matches!(
        other.chair().accept_loss(None).await,
        Err(MetaError::NotLeader { leader: None | Some(NodeId(1)) })
    ));
    assert_eq!(node.chair().accept_loss(Some("default")).await.unwrap(), 4);
    assert_eq!(node.chair().status().total.awaiting_acceptance, 0);
    assert!(node.words().contains(&what::DATA_LOST));
}

#[tokio::test(start_paused = true)]
async fn what_is_about_a_later_map_is_not_planned_with() {
    let stores = Stores::new(1).await;
    let node = Node::start(&stores, 1);
    until("it leads", || node.lead.control.lock().is_some()).await;
    let later = |mut place: Place| {
        place.epoch.index += 100;
        Report::Lost { node: NodeId(1), place }
    };
    let now = |place| Report::Lost { node: NodeId(1), place };
    let places = node.places();
    let later = places.iter().copied().map(later);
    *node.reports.lock() = later.chain(places.iter().copied().map(now)).collect();
    node.lead.wake();
    until("it is told", || node.words().contains(&what::AWAITING_ACCEPTANCE)).await;
}
