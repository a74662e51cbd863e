//! A thousand changes at once, while answers are lost and leaders are cut off.

use super::*;
use crate::MetaError;
use shoal_core::ids::MapVersion;

const CHANGES: u32 = 1_000;
/// So many are made before the leader is cut off. How many after that is up to chance: an
/// election whose votes are lost takes another three seconds, and a proposal has five.
const BEFORE_THE_CUT: u64 = 100;
const SEEDS: u64 = 2;

/// Every map that any store has shown.
#[derive(Default)]
struct Chain {
    maps: Mutex<BTreeMap<MapVersion, Arc<ClusterMap>>>,
    faults: Mutex<Vec<String>>,
}

impl Chain {
    /// Looks on for as long as the store is there.
    fn watch(self: &Arc<Self>, store: &RaftStore) {
        let (here, node, mut maps) = (Arc::clone(self), store.node(), store.subscribe());
        tokio::spawn(async move {
            let mut before = MapVersion::default();
            loop {
                let map = Arc::clone(&maps.borrow_and_update());
                let version = map.version;
                let known = Arc::clone(here.maps.lock().entry(version).or_insert(map.clone()));
                if known != map {
                    here.faults.lock().push(format!("{node} has another map of {version:?}"));
                }
                if version < before {
                    here.faults.lock().push(format!("{node} went back to {version:?}"));
                }
                before = version;
                if maps.changed().await.is_err() {
                    return;
                }
            }
        });
    }
}

/// What came of proposals: how many were made, and how many may have been.
async fn count(
    proposals: Vec<tokio::task::JoinHandle<Result<Arc<ClusterMap>, MetaError>>>,
) -> [u32; 2] {
    let [mut made, mut open] = [0, 0];
    for proposal in proposals {
        match proposal.await.expect("no panic") {
            Ok(_) => made += 1,
            Err(MetaError::Unknown { .. }) => open += 1,
            Err(MetaError::NoMajority { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    [made, open]
}

async fn a_thousand(seed: u64) {
    // What is lost and how long everything takes; Raft draws its timeouts elsewhere.
    fastrand::seed(seed);
    let mut cluster = Cluster::of(5).await;
    cluster.join().await;
    let (chain, before) = (Arc::new(Chain::default()), cluster.agree().await);
    cluster.stores.values().for_each(|store| chain.watch(store));
    *cluster.net.lossy.lock() = 20;
    // Never refused, and each begins a life under a number of its own: a second time would show.
    let flush = Command::FlushKeyspaces { names: BTreeSet::from(["default".to_owned()]) };
    let mut proposals = Vec::new();
    for number in 0..CHANGES {
        let (store, flush) = (Arc::clone(cluster.store(number % 6 + 1)), flush.clone());
        let wait = Duration::from_millis(fastrand::u64(0..2_000));
        proposals.push(tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            store.propose_async(&flush).await
        }));
    }
    let leader = cluster.leader().await;
    let mut maps = cluster.store(leader).subscribe();
    let there = maps.wait_for(|map| map.version.index - before.version.index >= BEFORE_THE_CUT);
    tokio::time::timeout(LONG, there).await.expect("in time").expect("it is open");
    let others: Vec<u32> = (1..=6).filter(|node| *node != leader).collect();
    cluster.net.split(&[leader], &others);
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.net.cut.lock().clear();
    let [made, open] = count(proposals).await;
    cluster.net.heal();
    let after = cluster.agree().await;
    let lives = after.next_incarnation.0 - before.next_incarnation.0;
    assert!((made..=made + open).contains(&lives), "seed {seed}: {made}, {open} open: {lives}");
    assert_eq!(after.version.index - before.version.index, u64::from(lives), "seed {seed}");
    assert_eq!(*chain.faults.lock(), Vec::<String>::new(), "seed {seed}");
    assert!(u64::from(lives) >= BEFORE_THE_CUT, "seed {seed}: only {lives} were made");
    assert!(chain.maps.lock().len() > 10, "somebody looked on");
    cluster.propose(leader, &flush).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_changes_at_once_are_made_once_each_and_form_one_chain() {
    for seed in 1..=SEEDS {
        a_thousand(seed).await;
    }
}
