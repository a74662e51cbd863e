//! What goes on while owners do not change: hints, comparison, purge.

use super::*;
use crate::repair::{HintStore, purge, sync};
use crate::replicas::rig::{live, memory};
use bytes::Bytes;
use shoal_core::quorum::{Item, Origin};
use shoal_core::replica::Floor;
use shoal_core::update::{OwnedUpdate, OwnedWhen};
use shoal_storage::disk::{DiskEngine, DiskOptions};
use shoal_storage::files::RealFiles;
use shoal_storage::{Engine, Policy};

const DELETE: OwnedUpdate = OwnedUpdate::Delete { when: OwnedWhen::Always };

fn three() -> Arc<Owners> {
    owners(1, &[member(1, 1), member(2, 1), member(3, 1)], &[])
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_hints_is_slowed_down_and_who_is_down_is_left_alone() {
    let cluster = Arc::new(Cluster::new(3, 3, false).await);
    let options = Options { hints_per_second: 100, ..Options::default() };
    let _stop = deliver(&cluster, options);
    cluster.cut_off(3);
    let keys = keys(ALL, 300);
    let writes = keys.iter().map(|key| {
        let (cluster, key) = (Arc::clone(&cluster), *key);
        tokio::spawn(async move { set(&cluster, 1, Level::Quorum, key, "v").await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.expect("it is written");
    }
    let coordinator = &cluster.at(1).coordinator;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(coordinator.hints(), 300);
    assert!(coordinator.hint_bytes() > 300 * 100);
    let counts = coordinator.repairs();
    assert_eq!(counts.hints_failed.load(Ordering::Relaxed), 0, "nobody asked who is down");
    cluster.mend().await;
    let delivered = || counts.hints_delivered.load(Ordering::Relaxed);
    let before = delivered();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!((50..=120).contains(&(delivered() - before)), "{} in a second", delivered() - before);
    super::delivered(cluster.at(1)).await;
    assert_eq!(delivered(), 300);
    assert_eq!(coordinator.hint_bytes(), 0);
    for key in keys {
        assert!(held(cluster.at(3), key).await.is_some(), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_seems_up_and_does_not_answer_is_tried_less_and_less() {
    let cluster = Cluster::new(3, 3, false).await;
    let _stop = deliver(&cluster, Options::default());
    cluster.cut_off(3);
    for key in keys(ALL, 100) {
        set(&cluster, 1, Level::Quorum, key, "v").await;
    }
    for peer in &cluster.peers {
        peer.around.down.lock().clear();
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let coordinator = &cluster.at(1).coordinator;
    let failed = coordinator.repairs().hints_failed.load(Ordering::Relaxed);
    assert!((32..=32 * 12).contains(&failed), "{failed} in two minutes");
    assert_eq!(coordinator.hints(), 100);
    cluster.mend().await;
    delivered(cluster.at(1)).await;
}

#[tokio::test(start_paused = true)]
async fn hints_that_were_kept_are_delivered_after_a_restart_and_kept_no_longer() {
    let cluster = Cluster::new(3, 3, false).await;
    let engine = memory();
    let store = || HintStore::open(Arc::clone(&engine), |_| true).expect("it opens");
    let key = keys(ALL, 1)[0];
    let item = |text| Item { key: Bytes::from(key), record: live(1_000, text) };
    let before = store();
    for text in ["older", "newer"] {
        before.keep(KEYSPACE, PartitionId(0), NodeId(3), &item(text)).expect("it is kept");
    }
    let coordinator = &cluster.at(1).coordinator;
    coordinator.restore_hints(store()).expect("they are read");
    assert_eq!(coordinator.hints(), 1);
    let _stop = deliver(&cluster, Options::default());
    delivered(cluster.at(1)).await;
    assert_eq!(held(cluster.at(3), key).await, Some(live(1_000, "newer")));
    assert_eq!(held(cluster.at(2), key).await, None);
    let mut left = 0;
    store().load(|_| left += 1).expect("they are read");
    assert_eq!(left, 0);
}

#[tokio::test(start_paused = true)]
async fn hints_of_a_life_that_is_over_are_dropped_and_reach_nobody() {
    let cluster = Cluster::new(3, 3, false).await;
    cluster.cut_off(3);
    let key = keys(ALL, 1)[0];
    set(&cluster, 1, Level::Quorum, key, "v").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let coordinator = &cluster.at(1).coordinator;
    assert_eq!(coordinator.hints(), 1);
    // The keyspace was dropped.
    coordinator.routes().install(&ClusterMap::default());
    cluster.mend().await;
    let _stop = deliver(&cluster, Options::default());
    delivered(cluster.at(1)).await;
    assert_eq!(coordinator.repairs().hints_void.load(Ordering::Relaxed), 1);
    assert_eq!(held(cluster.at(3), key).await, None);
}

#[test]
fn hints_outlast_a_restart_on_disk_but_those_of_keyspaces_in_memory() {
    struct NothingDies;
    impl Policy for NothingDies {
        fn is_dead(&self, _: u32) -> bool {
            false
        }
        fn due(&self, _: u32, _: &[u8]) -> Option<u64> {
            None
        }
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = || {
        let options = DiskOptions { min_free_bytes: Some(0), ..DiskOptions::default() };
        let rules = Arc::new(NothingDies);
        let engine = DiskEngine::open(Arc::new(RealFiles), directory.path(), &options, rules);
        let engine: Arc<dyn Engine> = Arc::new(engine.expect("it opens"));
        (HintStore::open(Arc::clone(&engine), |of| of == KEYSPACE).expect("it opens"), engine)
    };
    let item = |key, text| Item { key: Bytes::from_static(key), record: live(1_000, text) };
    {
        let (store, engine) = open();
        let other = shoal_core::Incarnation(KEYSPACE.0 + 1);
        for (keyspace, key) in [(KEYSPACE, &b"a"[..]), (KEYSPACE, b"b"), (other, b"c")] {
            let kept = store.keep(keyspace, PartitionId(9), NodeId(3), &item(key, "v"));
            kept.expect("it is kept");
        }
        store.drop_hint(KEYSPACE, PartitionId(9), NodeId(3), b"b").expect("it goes");
        engine.close().expect("it closes");
    }
    let mut found = Vec::new();
    let damaged = open().0.load(|kept| found.push(kept)).expect("they are read");
    assert_eq!((damaged, found.len()), (0, 1));
    let kept = &found[0];
    assert_eq!((kept.keyspace, kept.partition, kept.target), (KEYSPACE, PartitionId(9), NodeId(3)));
    assert_eq!(kept.item, item(b"a", "v"));
}

#[tokio::test(start_paused = true)]
async fn copies_that_differ_are_made_alike_without_hints() {
    let cluster = Cluster::new(3, 3, false).await;
    let keys = keys(ALL, 120);
    for key in &keys[..40] {
        set(&cluster, 1, Level::Quorum, key, "old").await;
    }
    cluster.cut_off(3);
    // What 1 and 2 have, and what 3 alone has.
    for key in &keys[20..80] {
        set(&cluster, 1, Level::Quorum, key, "new").await;
    }
    cluster.at(2).update(keys[0], DELETE).await;
    for key in &keys[80..] {
        set(&cluster, 3, Level::One, key, "alone").await;
    }
    // Nothing of it is on its way any more.
    tokio::time::sleep(Duration::from_secs(30)).await;
    cluster.mend().await;
    let (stop, stopped) = watch::channel(false);
    let maps = maps(&cluster, &three());
    let drivers: Vec<_> = cluster
        .peers
        .iter()
        .map(|peer| {
            let coordinator = Arc::clone(&peer.coordinator);
            let options = Options::default();
            tokio::spawn(sync::run(coordinator, Arc::clone(&maps), stopped.clone(), options))
        })
        .collect();
    let counts = cluster.at(1).coordinator.repairs();
    until(async || counts.sync_passes.load(Ordering::Relaxed) >= 1).await;
    for key in &keys {
        let first = held(cluster.at(1), key).await;
        assert!(first.is_some(), "{key}");
        for node in [2, 3] {
            assert_eq!(held(cluster.at(node), key).await, first, "{key} at {node}");
        }
    }
    assert_eq!(counts.sync_pulled.load(Ordering::Relaxed), 40);
    assert_eq!(counts.sync_pushed.load(Ordering::Relaxed), 40 + 60 + 1);
    // Another time there is nothing to do, and only the first owner did anything.
    until(async || counts.sync_passes.load(Ordering::Relaxed) >= 2).await;
    assert_eq!(counts.sync_pushed.load(Ordering::Relaxed), 40 + 60 + 1);
    assert_eq!(counts.sync_failures.load(Ordering::Relaxed), 0);
    let differing = counts.sync_differing.load(Ordering::Relaxed);
    assert!((1..=64).contains(&differing), "{differing} slots were looked into");
    until(async || counts.sync_passes.load(Ordering::Relaxed) >= 4).await;
    assert_eq!(
        counts.sync_differing.load(Ordering::Relaxed),
        differing,
        "what is kept says enough"
    );
    assert_eq!(counts.sync_slots.load(Ordering::Relaxed) % (64 * 2), 0, "all, with both");
    let other = cluster.at(2).coordinator.repairs();
    assert_eq!(other.sync_slots.load(Ordering::Relaxed), 0);
    stop.send(true).expect("they listen");
    for driver in drivers {
        driver.await.expect("it ends");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_is_purged_once_all_have_it_and_what_is_older_stays_away() {
    let cluster = Cluster::new(3, 3, false).await;
    let keys = keys(ALL, 90);
    for key in &keys {
        set(&cluster, 1, Level::Quorum, key, "v").await;
    }
    let before = held(cluster.at(3), keys[0]).await.expect("it is there");
    cluster.cut_off(3);
    for key in &keys[..80] {
        cluster.at(1).update(key, DELETE).await;
    }
    let (_stop, stopped) = watch::channel(false);
    let maps = maps(&cluster, &three());
    for peer in &cluster.peers {
        let (coordinator, options) = (Arc::clone(&peer.coordinator), Options::default());
        tokio::spawn(purge::run(
            Arc::clone(&coordinator),
            Arc::clone(&maps),
            stopped.clone(),
            options,
        ));
        tokio::spawn(sync::run(coordinator, Arc::clone(&maps), stopped.clone(), options));
    }
    let counts = cluster.at(1).coordinator.repairs();
    tokio::time::sleep(Duration::from_secs(1_200)).await;
    assert_eq!(counts.purged.load(Ordering::Relaxed), 0, "3 has not proven anything");
    assert!(counts.purge_put_off.load(Ordering::Relaxed) > 0);
    assert!(
        held(cluster.at(2), keys[0]).await.is_some_and(|record| record.borrow().is_tombstone())
    );
    cluster.mend().await;
    until(async || counts.purged.load(Ordering::Relaxed) == 80).await;
    for node in 1..=3 {
        assert_eq!(held(cluster.at(node), keys[0]).await, None, "at {node}");
        assert!(held(cluster.at(node), keys[85]).await.is_some(), "at {node}");
    }
    // It was on its way all the time.
    let items = Arc::from([Item { key: Bytes::from(keys[0]), record: before }]);
    let ask = Ask::Take { items, origin: Origin::Kept { floor: Floor::ZERO } };
    let (to, slot, epoch) = (NodeId(2), Slot::of(keys[0].as_bytes()), three().epoch);
    let question = Question { to, keyspace: KEYSPACE, slot, epoch, round: 0, ask };
    let answer = cluster.at(3).coordinator.answer(question).await.expect("it answers");
    assert!(matches!(answer.reply, Reply::BelowFloor(_)), "{answer:?}");
    assert_eq!(cluster.at(3).value(keys[0]).await, None);
}
