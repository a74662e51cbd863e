//! Nodes that find and lose each other, over datagrams in memory and in virtual time.

use super::*;
use crate::cluster::memory::MemoryPost;
use crate::cluster::rig::{address_of, joining, map_of, until};
use crate::cluster::{Sight, Standing};
use shoal_core::MapVersion;

struct Node {
    liveness: Liveness,
    events: Events,
    follow: Follow,
    maps: watch::Sender<Arc<ClusterMap>>,
    stop: watch::Sender<bool>,
}

/// Some nodes that go by one map.
struct Town {
    post: Arc<MemoryPost>,
    nodes: Vec<Arc<Node>>,
}

impl Town {
    fn new(count: u32, seed: u64) -> Self {
        Self::with(MemoryPost::new(seed), count)
    }

    fn with(post: Arc<MemoryPost>, count: u32) -> Self {
        let mut town = Self { post, nodes: Vec::new() };
        for node in 1..=count {
            town.nodes.push(town.start(node, count, 1, address_of(node)));
        }
        town
    }

    fn start(&self, id: u32, members: u32, start: u64, address: SocketAddr) -> Arc<Node> {
        let node = Arc::new(Node {
            liveness: Liveness::new(NodeId(id)),
            events: Events::default(),
            follow: Follow::default(),
            maps: watch::Sender::new(Arc::new(map_of(members))),
            stop: watch::Sender::new(false),
        });
        let (datagrams, here) = (self.post.open(address), Arc::clone(&node));
        let me = Identity::new(NodeId(id), start, address).unwrap();
        tokio::spawn(async move {
            let talk = Talk {
                liveness: &here.liveness,
                events: &here.events,
                follow: &here.follow,
                datagrams: &*datagrams,
                maps: here.maps.subscribe(),
                stop: here.stop.subscribe(),
            };
            talk.run(me, &ClusterSecret::none(), u64::from(id) + start).await;
        });
        node
    }

    fn at(&self, node: u32) -> &Node {
        &self.nodes[node as usize - 1]
    }

    fn standing(&self, by: u32, of: u32) -> Standing {
        let seen = self.at(by).liveness.seen();
        let sight: &Sight = seen.iter().find(|sight| sight.node == NodeId(of)).unwrap();
        sight.standing
    }

    fn all_see_all(&self) -> bool {
        let nodes = u32::try_from(self.nodes.len()).unwrap();
        let sees = |by: &Arc<Node>| (1..=nodes).all(|of| by.liveness.is_up(NodeId(of)));
        self.nodes.iter().all(sees)
    }

    fn split(&self, these: &[u32], those: &[u32]) {
        for this in these {
            for that in those {
                self.post.cut(address_of(*this), address_of(*that));
                self.post.cut(address_of(*that), address_of(*this));
            }
        }
    }

    fn words(&self, node: u32) -> Vec<&'static str> {
        self.at(node).events.all().iter().map(|event| event.what).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn three_find_each_other_and_miss_one_that_dies() {
    let town = Town::new(3, 1);
    until("all find each other", || town.all_see_all()).await;
    assert_eq!(town.at(1).liveness.seen()[2].address, Some(address_of(3)));
    assert_eq!(town.words(1).iter().filter(|word| **word == what::NODE_UP).count(), 2);
    town.split(&[3], &[1, 2]);
    until("it is down", || [1, 2].iter().all(|by| town.standing(*by, 3) == Standing::Down)).await;
    assert!(town.at(1).liveness.is_up(NodeId(2)));
    assert!(town.at(1).liveness.view().down_since_ms.contains_key(&NodeId(3)));
    assert!(town.words(2).ends_with(&[what::NODE_SUSPECT, what::NODE_DOWN]));
    town.post.mend();
    until("it is back", || town.all_see_all()).await;
    assert!(town.at(2).liveness.view().down_since_ms.is_empty());
}

#[tokio::test(start_paused = true)]
async fn they_find_each_other_though_much_is_lost() {
    let post = MemoryPost::new(2);
    post.lose(300);
    let town = Town::with(post, 3);
    until("all find each other", || town.all_see_all()).await;
}

#[tokio::test(start_paused = true)]
async fn two_halves_that_were_started_apart_find_each_other() {
    let post = MemoryPost::new(3);
    let town = Town { post, nodes: Vec::new() };
    town.split(&[1, 2], &[3, 4]);
    let mut town = town;
    for node in 1..=4 {
        town.nodes.push(town.start(node, 4, 1, address_of(node)));
    }
    let (left, right) = (NodeId(2), NodeId(4));
    until("the halves", || town.at(1).liveness.is_up(left) && town.at(3).liveness.is_up(right))
        .await;
    assert!(!town.at(1).liveness.is_up(right) && !town.at(3).liveness.is_up(left));
    assert_eq!(town.standing(1, 4), Standing::Down, "it is missed");
    town.post.mend();
    until("the whole", || town.all_see_all()).await;
}

#[tokio::test(start_paused = true)]
async fn news_of_a_newer_map_gets_around() {
    let town = Town::new(3, 4);
    until("all find each other", || town.all_see_all()).await;
    let mut map = map_of(3);
    let old = map.version;
    for command in joining(4) {
        map = map.apply(&command).unwrap();
    }
    assert!(map.version > MapVersion { index: old.index + 1, ..old });
    let version = map.version;
    town.at(1).maps.send_replace(Arc::new(map));
    until("the others have heard of it", || {
        [2, 3].iter().all(|node| town.at(*node).follow.newest_heard() == version)
    })
    .await;
    assert_eq!(town.standing(1, 4), Standing::Down);
    assert!(town.words(1).contains(&what::NODE_JOINED));
    assert_eq!(town.at(1).follow.newest_heard(), MapVersion::default());
}

#[tokio::test(start_paused = true)]
async fn who_stops_says_goodbye_and_who_is_forgotten_is_not_spoken_of() {
    let town = Town::new(3, 5);
    until("all find each other", || town.all_see_all()).await;
    town.at(3).stop.send_replace(true);
    until("it left", || [1, 2].iter().all(|by| town.standing(*by, 3) == Standing::Left)).await;
    assert!(!town.at(1).liveness.is_up(NodeId(3)));
    let map = map_of(3).apply(&shoal_core::map::Command::Forget { node: NodeId(3) }).unwrap();
    for node in [1, 2] {
        town.at(node).maps.send_replace(Arc::new(map.clone()));
    }
    until("it is forgotten", || town.at(1).liveness.seen().len() == 2).await;
    assert!(town.words(1).contains(&what::NODE_GONE));
}

#[tokio::test(start_paused = true)]
async fn an_older_process_falls_silent() {
    let town = Town::new(3, 6);
    until("all find each other", || town.all_see_all()).await;
    let newer = town.start(3, 3, 2, address_of(9));
    until("the older one knows", || town.at(3).liveness.superseded()).await;
    assert!(town.words(3).contains(&what::SUPERSEDED));
    until("the newer one is up", || newer.liveness.is_up(NodeId(1))).await;
    assert!(!newer.liveness.superseded());
    until("at its own address", || town.at(1).liveness.seen()[2].address == Some(address_of(9)))
        .await;
}
