//! Joining over the network in memory: who is let in, and by which name others are not.

use super::*;
use crate::cluster::message::Homeless;
use crate::transport::memory::{MemoryNetwork, MemoryTransport};
use crate::transport::{Admission, Answerer, Identity, Kind, Serve};
use parking_lot::Mutex;
use shoal_core::map::{EngineKind, KeyspaceSpec};
use tokio::runtime::Handle;

const CLUSTER: ClusterId = ClusterId(0xc1);
const SEED: &str = "n1:7401";

/// A member that keeps the map itself.
struct Member {
    map: Mutex<Arc<ClusterMap>>,
    sights: Mutex<BTreeMap<NodeId, Standing>>,
    /// For how long every node has stood as it does.
    lasted: Mutex<Duration>,
    denies: Option<Denied>,
    /// How many questions it answers "not now".
    busy: Mutex<usize>,
    asked: Mutex<usize>,
}

impl Member {
    fn new() -> Self {
        let found = Command::Found {
            cluster: CLUSTER,
            node_name: "n1".to_owned(),
            token: 1,
            hash_seed: 1,
            default: KeyspaceSpec::new(EngineKind::Memory),
            profile: Profile::default(),
        };
        let map = ClusterMap::default().apply(&found).expect("it is founded");
        Self {
            map: Mutex::new(Arc::new(map)),
            sights: Mutex::default(),
            lasted: Mutex::new(Duration::from_secs(300)),
            denies: None,
            busy: Mutex::new(0),
            asked: Mutex::new(0),
        }
    }

    fn see(&self, node: u32, standing: Standing) {
        self.sights.lock().insert(NodeId(node), standing);
    }

    fn apply(&self, command: &Command) -> Result<Arc<ClusterMap>, MapError> {
        let mut map = self.map.lock();
        let next = Arc::new(map.apply(command)?);
        *map = Arc::clone(&next);
        Ok(next)
    }
}

impl Register for Member {
    fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.map.lock())
    }

    fn propose<'a>(&'a self, command: &'a Command) -> Proposed<'a> {
        let outcome = self.apply(command).map_err(MetaError::from);
        Box::pin(std::future::ready(outcome))
    }

    fn sight(&self, node: NodeId) -> Option<Sight> {
        let standing = *self.sights.lock().get(&node)?;
        let lasted = *self.lasted.lock();
        Some(Sight { node, standing, lasted, address: None })
    }

    fn may_replace(&self, node: NodeId) -> Judged<'_> {
        Box::pin(std::future::ready(may_replace(self, node)))
    }
}

/// The member as others ask it.
struct Door(Arc<Member>);

impl Serve for Door {
    fn serve(&self, from: NodeId, kind: Kind, body: Bytes, answer: Answerer) {
        assert_eq!((from, kind), (NodeId::default(), Kind::Control));
        let member = Arc::clone(&self.0);
        *member.asked.lock() += 1;
        Handle::current().spawn(async move {
            let is_busy = {
                let mut busy = member.busy.lock();
                *busy = busy.saturating_sub(1);
                *busy > 0
            };
            let request = Request::decode(&body).expect("it is understood");
            let given = match request {
                _ if is_busy => busy("no cluster yet".to_owned()),
                Request::Join(join) => answer_join(&*member, join).await,
                _ => Answer::Heard,
            };
            answer.send(given.encode());
        });
    }

    fn admit(&self, _: Identity) -> Result<Admission, Denied> {
        self.0.denies.map_or(Ok(Admission::ControlOnly), Err)
    }
}

struct Nobody;

impl Serve for Nobody {
    fn serve(&self, _: NodeId, _: Kind, _: Bytes, _: Answerer) {}

    fn admit(&self, _: Identity) -> Result<Admission, Denied> {
        Err(Denied::UnknownNode)
    }
}

/// A member at [`SEED`], and one that would join.
struct Scene {
    member: Arc<Member>,
    newcomer: MemoryTransport,
    _member: MemoryTransport,
}

fn scene(member: Member) -> Scene {
    let network = MemoryNetwork::new(Handle::current(), 1);
    let member = Arc::new(member);
    let identity = Identity { cluster: CLUSTER, node: NodeId(1), token: 1 };
    let door = network.open(SEED, identity, Arc::new(Door(Arc::clone(&member))));
    let newcomer = network.open("n2:7401", Identity::default(), Arc::new(Nobody));
    Scene { member, newcomer, _member: door }
}

impl Scene {
    async fn join(&self, name: &str, token: u64, replace: bool) -> Result<Admitted, JoinError> {
        let seeds = ["n9:7401".to_owned(), SEED.to_owned()];
        ask_in(&self.newcomer, &seeds, name, token, &profile(), replace).await
    }

    /// Lets a node in under `name`, and starts it.
    async fn with(&self, name: &str, token: u64) -> NodeId {
        let node = self.join(name, token, false).await.expect("it is let in").node;
        let start = Command::StartNode { node, presented: token, next: token + 1, profile: None };
        self.member.apply(&start).expect("it starts");
        node
    }
}

fn profile() -> Profile {
    Profile { zone: Some("z".to_owned()), ..Profile::default() }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_let_in_and_asking_again_gives_the_same_id() {
    let scene = scene(Member::new());
    let admitted = scene.join("n2", 20, false).await.expect("it is let in");
    assert_eq!((admitted.cluster, admitted.node), (CLUSTER, NodeId(2)));
    assert_eq!(admitted.map.nodes[&NodeId(2)].profile(), profile());
    assert_eq!(admitted.map, **scene.member.map.lock());
    let again = scene.join("n2", 20, false).await.expect("it is let in again");
    assert_eq!(again, admitted, "nothing changed");
}

#[tokio::test(start_paused = true)]
async fn a_seed_that_has_no_cluster_yet_is_asked_again() {
    let scene = scene(Member { busy: Mutex::new(5), ..Member::new() });
    assert_eq!(scene.join("n2", 20, false).await.expect("in the end").node, NodeId(2));
    assert_eq!(*scene.member.asked.lock(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_name_in_use_is_refused_with_what_to_do() {
    let scene = scene(Member::new());
    let node = scene.with("n2", 20).await;
    for (standing, words) in [
        (Standing::Down, ["n2 has been down for 5 min", "--replace n2"]),
        (Standing::Left, ["n2 was stopped 5 min ago", "--replace n2"]),
        (Standing::Up, ["n2 is up", "another --name"]),
    ] {
        scene.member.see(node.0, standing);
        let before = scene.member.map();
        let refused = scene.join("n2", 30, false).await.expect_err("the name is taken");
        assert_eq!(refused.code, "name_in_use");
        assert!(words.iter().all(|word| refused.message.contains(word)), "{refused}");
        assert_eq!(scene.member.map(), before);
    }
    scene.join("n3", 40, false).await.expect("it is let in");
    let refused = scene.join("n3", 50, false).await.expect_err("it is held for another");
    assert!(refused.message.contains("has not started yet"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_down_for_a_while_is_replaced_and_no_other() {
    let scene = scene(Member::new());
    let old = scene.with("n2", 20).await;
    for standing in [Standing::Up, Standing::Suspect] {
        scene.member.see(old.0, standing);
        let refused = scene.join("n2", 30, true).await.expect_err("it is there");
        assert_eq!(refused.code, "name_in_use");
        assert!(refused.message.contains("n2 is up"), "{refused}");
    }
    // It may be about to come back: it goes on asking.
    scene.member.see(old.0, Standing::Down);
    *scene.member.lasted.lock() = REPLACE_AFTER - Duration::from_secs(1);
    let waiting = tokio::time::timeout(Duration::from_secs(60), scene.join("n2", 30, true));
    assert!(waiting.await.is_err(), "it has not been down for long enough");
    let Some(Answer::Busy { why }) = may_replace(&*scene.member, old) else { panic!("it may") };
    assert!(why.starts_with("name_in_use: n2 was seen 9 s ago"), "{why}");
    assert!(!scene.member.map().nodes[&old].is_gone());
    // Who said goodbye is not guessed about.
    scene.member.see(old.0, Standing::Left);
    assert_eq!(may_replace(&*scene.member, old), None);
    scene.member.see(old.0, Standing::Down);
    *scene.member.lasted.lock() = REPLACE_AFTER;
    let admitted = scene.join("n2", 30, true).await.expect("it takes the place");
    assert_eq!(admitted.node, NodeId(3));
    assert!(admitted.map.nodes[&old].is_gone());
    // A repeated question does not replace the replacement.
    scene.member.see(3, Standing::Up);
    assert_eq!(scene.join("n2", 30, true).await, Ok(admitted));
    // Nobody has the name: there is nobody to replace, and nothing is wrong with that.
    assert_eq!(scene.join("n7", 70, true).await.map(|done| done.node), Ok(NodeId(4)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_get_better_ends_the_asking_by_name() {
    for why in Denied::ALL {
        let scene = scene(Member { denies: Some(why), ..Member::new() });
        let asking = tokio::time::timeout(Duration::from_secs(60), scene.join("n2", 20, false));
        match (why, asking.await) {
            // Both may pass: the first names the node itself in the list of seeds.
            (Denied::SelfConnection | Denied::Crowded, Err(_)) => {}
            (why, Ok(Err(refused))) => {
                assert_eq!(refused.code, why.name());
                assert!(refused.message.contains(SEED), "{refused}");
            }
            (why, outcome) => panic!("{why:?}: {outcome:?}"),
        }
        assert_eq!(scene.member.map().nodes.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_directory_of_another_cluster_is_refused() {
    let scene = scene(Member::new());
    scene.newcomer.assume(Identity { cluster: ClusterId(0xdd), ..Identity::default() });
    let refused = scene.join("n2", 20, false).await.expect_err("it is of another cluster");
    assert_eq!(refused.code, "foreign_cluster");
    assert!(refused.message.contains("--data"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_profile_and_a_bad_name_are_refused_by_name() {
    let scene = scene(Member::new());
    let seeds = [SEED.to_owned()];
    let heavy = Profile { weight: u16::MAX, ..Profile::default() };
    let refused = ask_in(&scene.newcomer, &seeds, "n2", 20, &heavy, false).await;
    assert_eq!(refused.expect_err("too heavy").code, "bad_profile");
    assert_eq!(scene.join("n 2", 20, false).await.expect_err("no name").code, "bad_name");
}

#[tokio::test(start_paused = true)]
async fn seeds_that_name_only_the_node_itself_are_refused() {
    let scene = scene(Member::new());
    let own = ["n2:7401".to_owned()];
    let refused = ask_in(&scene.newcomer, &own, "n2", 20, &profile(), false).await;
    assert_eq!(refused.expect_err("it is itself").code, "self_connection");
}

#[test]
fn words_of_a_later_version_are_passed_on() {
    let refused = JoinError::refused("too_tall", "it does not fit".to_owned());
    assert_eq!(refused.to_string(), "join_refused: too_tall: it does not fit");
    let homeless = Homeless { boot: 1, nodes: 3, known: vec![], promised: None };
    assert_eq!(taken_in(Answer::Homeless(homeless), 1), Ok(None));
}
