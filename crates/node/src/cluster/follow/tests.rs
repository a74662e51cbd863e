//! Real stores that pull from each other, in virtual time.

use super::*;
use crate::cluster::rig::{Stores, address_of, map_of, until};
use crate::transport::memory::MemoryNetwork;
use crate::transport::{Admission, Answerer, Denied, Identity, Kind, Serve};
use bytes::Bytes;
use shoal_core::ClusterId;
use shoal_core::map::Command;
use tokio::runtime::Handle;

struct Node {
    store: Arc<RaftStore>,
    liveness: Liveness,
    follow: Follow,
}

fn start(stores: &Stores, node: u32) -> Arc<Node> {
    let node = Arc::new(Node {
        store: Arc::clone(stores.at(node)),
        liveness: Liveness::new(NodeId(node)),
        follow: Follow::default(),
    });
    let here = Arc::clone(&node);
    tokio::spawn(async move {
        let Node { store, liveness, follow } = &*here;
        Pupil { me: store.node(), store, liveness, follow }.keep_current().await;
    });
    node
}

async fn change(stores: &Stores) -> MapVersion {
    let change = Command::CreateDatabase { number: 3 };
    stores.at(1).propose_async(&change).await.expect("a good command").version
}

#[tokio::test(start_paused = true)]
async fn what_was_heard_of_is_pulled_at_once() {
    let stores = Stores::new(3).await;
    let version = change(&stores).await;
    let node = start(&stores, 2);
    let began = Instant::now();
    node.follow.heard(NodeId(1), version);
    node.store.subscribe().wait_for(|map| map.version >= version).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn whoever_told_may_be_gone() {
    let stores = Stores::new(3).await;
    let version = change(&stores).await;
    stores.hide(3);
    let node = start(&stores, 2);
    node.follow.heard(NodeId(3), version);
    node.store.subscribe().wait_for(|map| map.version >= version).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_reason_it_looks_now_and_then() {
    let stores = Stores::new(2).await;
    let version = change(&stores).await;
    let node = start(&stores, 2);
    let began = Instant::now();
    node.store.subscribe().wait_for(|map| map.version >= version).await.unwrap();
    assert!(began.elapsed() >= LOOK_PERIOD && began.elapsed() < LOOK_PERIOD * 2);
    assert_eq!(node.store.leadership().borrow().leader, Some(NodeId(1)));
}

#[tokio::test(start_paused = true)]
async fn a_need_is_served_though_the_version_is_no_news() {
    let stores = Stores::new(2).await;
    let node = start(&stores, 2);
    // The node has a map of this version, and yet a partition's epoch is not what it should be.
    let epoch = Epoch { index: 1, ..Epoch::default() };
    let version = change(&stores).await;
    node.follow.need(epoch);
    let began = Instant::now();
    node.store.subscribe().wait_for(|map| map.version >= version).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn needs_cost_few_questions_where_there_is_nothing_new() {
    let stores = Stores::new(2).await;
    let node = start(&stores, 2);
    let epoch = Epoch { index: 1, ..Epoch::default() };
    until("it knows who leads", || node.store.leadership().borrow().leader.is_some()).await;
    let before = stores.asked(1);
    for _ in 0..1_000 {
        node.follow.need(epoch);
    }
    sleep(LOOK_PERIOD / 2).await;
    assert!((1..=2).contains(&(stores.asked(1) - before)), "{}", stores.asked(1) - before);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_is_asked_for_more_and_more_slowly() {
    let stores = Stores::new(2).await;
    let node = start(&stores, 2);
    let before = stores.asked(1);
    let far = MapVersion { index: 1_000_000, ..MapVersion::default() };
    node.follow.heard(NodeId(1), far);
    sleep(Duration::from_secs(60)).await;
    let asked = stores.asked(1) - before;
    assert!((20..=45).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_keeps_nobody_from_what_there_is() {
    let stores = Stores::new(2).await;
    let node = start(&stores, 2);
    until("it knows who leads", || node.store.leadership().borrow().leader.is_some()).await;
    let present = node.store.current().version;
    // Nobody ever made that many changes: it is not even asked for.
    let absurd = MapVersion { index: u64::MAX, ..MapVersion::default() };
    node.follow.heard(NodeId(1), absurd);
    node.follow.need(absurd);
    assert!(node.follow.newest_heard() <= present);
    // That could be, and is not.
    let far = MapVersion { index: present.index + 1_000, ..present };
    node.follow.heard(NodeId(1), far);
    sleep(LOOK_PERIOD).await;
    assert_eq!(node.follow.newest_heard(), present, "it is forgotten");
    let version = change(&stores).await;
    node.follow.heard(NodeId(1), version);
    let began = Instant::now();
    node.store.subscribe().wait_for(|map| map.version >= version).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "news are pulled at once again");
}

struct Quiet;

impl Serve for Quiet {
    fn serve(&self, _: NodeId, _: Kind, _: Bytes, _: Answerer) {}

    fn admit(&self, _: Identity) -> Result<Admission, Denied> {
        Ok(Admission::Whole)
    }
}

#[tokio::test(start_paused = true)]
async fn links_are_kept_to_whom_the_map_names() {
    let network = MemoryNetwork::new(Handle::current(), 1);
    let identity = Identity { cluster: ClusterId(7), node: NodeId(1), token: 1 };
    let transport = network.open(&address_of(1).to_string(), identity, Arc::new(Quiet));
    let known = || -> Vec<_> {
        let links = transport.links().into_iter();
        links.map(|link| (link.node.0, link.address)).collect()
    };
    let at = |node| (node, address_of(node).to_string());
    let mut links = Links::default();
    let map = map_of(3);
    links.adopt(&transport, NodeId(1), &map);
    assert_eq!(known(), [at(2), at(3)]);
    // It was started elsewhere; the other is not to come back.
    let moved = Command::StartNode {
        node: NodeId(2),
        presented: 2,
        next: 3,
        profile: Some(crate::cluster::rig::profile_of(9)),
    };
    let map = map.apply(&moved).unwrap();
    let map = map.apply(&Command::Forget { node: NodeId(3) }).unwrap();
    links.adopt(&transport, NodeId(1), &map);
    assert_eq!(known(), [(2, address_of(9).to_string())]);
    // It said that it was elsewhere; but it is started anew, where the map has it.
    transport.know(NodeId(2), &address_of(5).to_string());
    let again = Command::StartNode { node: NodeId(2), presented: 3, next: 4, profile: None };
    links.adopt(&transport, NodeId(1), &map.apply(&again).unwrap());
    assert_eq!(known(), [(2, address_of(9).to_string())]);
}
