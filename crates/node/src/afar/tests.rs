//! Requests over three nodes, as commands make them: run again until they are answered.

use super::*;
use crate::coordinator::rig::Cluster;
use crate::errand::Errands;
use crate::replicas::rig::KEYSPACE;
use crate::transaction::Footprint;
use crate::{Node, NodeConfig, TimeSource};
use shoal_core::Body;
use shoal_core::map::{ClusterMap, EngineKind, Eviction, KeyspaceSpec};
use shoal_core::quorum::Level;
use shoal_core::record::Record;
use std::sync::atomic::{AtomicU64, Ordering};

/// Several nodes, and one that makes its requests through the first of them.
struct Bench {
    cluster: Cluster,
    node: Arc<Node>,
    target: Target,
    /// What the node's clock shows, in milliseconds.
    clock: Arc<AtomicU64>,
    _directory: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        Self::of(KeyspaceSpec::new(EngineKind::Memory)).await
    }

    /// The same with a keyspace like this, as far as whoever asks goes by it.
    async fn of(spec: KeyspaceSpec) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // What the clocks of the others began with.
        let clock = Arc::new(AtomicU64::new(1_700_000_000_000));
        let shown = Arc::clone(&clock);
        let config = NodeConfig {
            data: directory.path().join("data"),
            default_in_memory: true,
            min_free: Some(0),
            time: TimeSource::new(move || shown.load(Ordering::Relaxed)),
            ..NodeConfig::default()
        };
        let node = Node::start(config).expect("a new node starts");
        let mut target = None;
        for number in 0..10 {
            let name = format!("k{number}");
            node.create_keyspace(&name, spec, None).expect("it is made");
            let map = node.map();
            if map.keyspaces[&name].incarnation == KEYSPACE {
                target = Some(Target::Named(Arc::from(name)));
            }
        }
        node.catalogue.adopt(&node.map()).expect("the same map, of several nodes now");
        let target = target.expect("lives are counted");
        let cluster = Cluster::new(3, 3, false).await;
        Self { cluster, node, target, clock, _directory: directory }
    }

    /// Runs a command until it is done; how often it left is counted.
    async fn run<R>(
        &self,
        command: impl FnMut(&mut Access<'_>) -> Result<R, Halt>,
    ) -> (Result<R, Refusal>, usize) {
        self.run_beside(command, async |_| ()).await
    }

    /// The same, with something that happens each time that it was answered, before it runs again.
    async fn run_through<R>(
        &self,
        command: impl FnMut(&mut Access<'_>) -> Result<R, Halt>,
        mut meanwhile: impl FnMut(usize),
    ) -> (Result<R, Refusal>, usize) {
        self.run_beside(command, async |left| meanwhile(left)).await
    }

    /// The same, with something that takes its time.
    async fn run_beside<R>(
        &self,
        mut command: impl FnMut(&mut Access<'_>) -> Result<R, Halt>,
        mut meanwhile: impl AsyncFnMut(usize),
    ) -> (Result<R, Refusal>, usize) {
        let mut errands = Errands::default();
        let mut left = 0;
        loop {
            let outcome = {
                let mut access = self.access(Patience::Inline);
                access.resume(errands);
                let outcome = command(&mut access);
                errands = access.suspend();
                outcome
            };
            match outcome {
                Ok(result) => return (Ok(result), left),
                Err(Halt::Refused(refusal)) => return (Err(refusal), left),
                Err(Halt::Cold) => panic!("there is no disk to wait for"),
                Err(Halt::Away) => {
                    left += 1;
                    errands.answered().await;
                    meanwhile(left).await;
                }
            }
        }
    }

    /// Lets the first node forget who owns what.
    fn lose_the_map(&self) {
        self.cluster.at(1).coordinator.routes().install(&ClusterMap::default());
    }

    fn access(&self, patience: Patience) -> Access<'_> {
        let mut access = self.node.access(patience);
        access.others = Some(&self.cluster.at(1).coordinator);
        access
    }

    async fn set(&self, key: &'static str, value: &'static str) {
        self.run(|access| put(access, &self.target, key, value)).await.0.expect("it is written");
    }

    async fn get(&self, key: &'static str) -> Option<Vec<u8>> {
        self.run(|access| access.read(&self.target, key.as_bytes(), value)).await.0.expect("read")
    }
}

fn value(record: Option<Record<'_>>) -> Option<Vec<u8>> {
    match record?.body {
        Body::Live { bytes, .. } => Some(bytes.to_vec()),
        Body::Tombstone => panic!("a reader never sees a tombstone"),
    }
}

fn put(access: &mut Access<'_>, target: &Target, key: &str, value: &str) -> Result<(), Halt> {
    let (expiry, when) = (SetExpiry::Never, When::Always);
    let update = Update::Set { value: value.as_bytes(), expiry, when };
    access.update(target, key.as_bytes(), &update, |updated| assert!(updated.blind))
}

fn add(access: &mut Access<'_>, target: &Target, key: &str) -> Result<Outcome, Halt> {
    access.update(target, key.as_bytes(), &Update::Add { delta: 1 }, |updated| updated.outcome)
}

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn footprint<'a>(keys: &'a [(&'a Target, &'a [u8])]) -> Footprint<'a> {
    Footprint { keys, writes: true, ..Footprint::default() }
}

#[tokio::test(start_paused = true)]
async fn what_a_command_changes_is_changed_once_however_often_it_runs() {
    let bench = Bench::new().await;
    let (outcome, left) = bench
        .run(|access| {
            let first = add(access, &bench.target, "n")?;
            let second = add(access, &bench.target, "n")?;
            Ok((first, second))
        })
        .await;
    assert_eq!(outcome, Ok((Outcome::Integer(1), Outcome::Integer(2))));
    assert_eq!(left, 2, "one question after the other");
    assert_eq!(bench.get("n").await, Some(b"2".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn many_keys_are_asked_for_at_once() {
    let bench = Bench::new().await;
    bench.set("b", "1").await;
    let keys = || KEYS.iter().map(|key| key.as_bytes());
    let (found, left) = bench
        .run(|access| {
            access.ahead(&bench.target, keys())?;
            let found = keys().map(|key| access.read(&bench.target, key, value));
            found.collect::<Result<Vec<_>, _>>()
        })
        .await;
    assert_eq!(found, Ok(vec![None, Some(b"1".to_vec()), None, None]));
    assert_eq!(left, 1);
    let (count, left) = bench.run(|access| access.remove_all(&bench.target, keys())).await;
    assert_eq!((count, left), (Ok(1), 1));
    assert_eq!(bench.get("b").await, None);
}

#[tokio::test(start_paused = true)]
async fn writes_of_commands_to_come_are_begun_together_and_each_is_made_once() {
    let bench = Bench::new().await;
    let pairs = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];
    let bytes = |(key, value): &(&'static str, &'static str)| (key.as_bytes(), value.as_bytes());
    let writes = || {
        let figures = bench.cluster.at(1).coordinator.figures().into_iter();
        figures.filter(|figure| figure.kind == "write").map(|figure| figure.count).sum::<u64>()
    };
    let (before, mut made) = (writes(), 0);
    let (outcome, left) = bench
        .run(|access| {
            while let Some((key, value)) = pairs.get(made) {
                access.write_ahead_of_commands(&bench.target, pairs[made..].iter().map(bytes));
                put(access, &bench.target, key, value)?;
                access.over();
                made += 1;
            }
            Ok(())
        })
        .await;
    assert_eq!((outcome, left), (Ok(()), 1), "all are answered at once");
    assert_eq!(writes() - before, 4);
    for (key, value) in pairs {
        assert_eq!(bench.get(key).await, Some(value.as_bytes().to_vec()));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_missing_is_told_by_name_at_the_level_that_was_asked_for() {
    let bench = Bench::new().await;
    bench.set("k", "v").await;
    bench.cluster.cut_off(2);
    bench.cluster.cut_off(3);
    let refused = bench.run(|access| put(access, &bench.target, "k", "w")).await.0;
    let lack = Refusal::new(Code::NoQuorum, "have 1 of 2 needed, unreachable: n2, n3");
    assert_eq!(refused, Err(lack.clone()));
    let refused = bench.run(|access| add(access, &bench.target, "k")).await.0;
    assert_eq!(refused, Err(lack.clone()));
    let keys = || KEYS.iter().map(|key| key.as_bytes());
    let refused = bench.run(|access| access.remove_all(&bench.target, keys())).await.0;
    assert_eq!(refused, Err(lack));
    let read = bench.run(|access| {
        access.at(Some(Level::One));
        access.read(&bench.target, b"k", value)
    });
    assert_eq!(read.await.0, Ok(Some(b"v".to_vec())));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_sees_what_it_changed_and_others_see_it_at_its_end() {
    let bench = Bench::new().await;
    bench.set("n", "1").await;
    let keys: Vec<(&Target, &[u8])> = vec![(&bench.target, b"n"), (&bench.target, b"m")];
    let (seen, _) = bench
        .run(|access| {
            access.transaction(&footprint(&keys), |access| {
                add(access, &bench.target, "n")?;
                put(access, &bench.target, "m", "new")?;
                add(access, &bench.target, "n")?;
                let n = access.read(&bench.target, b"n", value)?;
                Ok((n, access.read(&bench.target, b"m", value)?))
            })
        })
        .await;
    assert_eq!(seen, Ok((Some(b"3".to_vec()), Some(b"new".to_vec()))));
    assert_eq!(bench.get("n").await, Some(b"3".to_vec()));
    assert_eq!(bench.get("m").await, Some(b"new".to_vec()));
    let failed = bench.run(|access| {
        access.transaction(&footprint(&keys), |access| {
            put(access, &bench.target, "m", "lost")?;
            Err::<(), _>(Refusal::new(Code::BadRequest, "after all not").into())
        })
    });
    assert_eq!(failed.await.0.map_err(|refusal| refusal.code), Err(Code::BadRequest));
    assert_eq!(bench.get("m").await, Some(b"new".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_others_changed_meanwhile_is_read_again() {
    let bench = Bench::new().await;
    let keys: Vec<(&Target, &[u8])> = vec![(&bench.target, b"n")];
    let add_one = || {
        bench.run(|access| {
            access.transaction(&footprint(&keys), |access| add(access, &bench.target, "n"))
        })
    };
    let ((first, _), (second, _)) = tokio::join!(add_one(), add_one());
    let mut told = [first, second].map(|outcome| match outcome {
        Ok(Outcome::Integer(number)) => number,
        other => panic!("{other:?}"),
    });
    told.sort_unstable();
    assert_eq!(told, [1, 2]);
    assert_eq!(bench.get("n").await, Some(b"2".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn what_came_after_a_removal_found_nothing_in_a_cache_is_not_removed_unseen() {
    let mut spec = KeyspaceSpec::new(EngineKind::Memory);
    (spec.options.max_memory, spec.options.eviction) = (Some(1 << 20), Eviction::Lru);
    let bench = Bench::of(spec).await;
    let keys: [(&Target, &[u8]); 1] = [(&bench.target, b"n")];
    let remove = Update::Delete { when: When::Always };
    let remove = |access: &mut Access<'_>| {
        access.transaction(&footprint(&keys), |access| {
            access.update(&bench.target, b"n", &remove, |updated| updated.outcome)
        })
    };
    let write = async |left: usize| {
        if left == 1 {
            bench.set("n", "between").await;
        }
    };
    let (outcome, _) = bench.run_beside(remove, write).await;
    assert_eq!(outcome, Ok(Outcome::Done), "it was read again");
    assert_eq!(bench.get("n").await, None);
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_stands_whatever_becomes_of_the_map() {
    let bench = Bench::new().await;
    let add_one =
        bench.run_through(|access| add(access, &bench.target, "n"), |_| bench.lose_the_map());
    assert_eq!(add_one.await.0, Ok(Outcome::Integer(1)));
    let refused = bench.run(|access| add(access, &bench.target, "n")).await.0;
    assert_eq!(refused.map_err(|refusal| refusal.code), Err(Code::TryAgain), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn half_a_transaction_is_never_answered_as_one_that_may_be_sent_again() {
    let bench = Bench::new().await;
    let keys: Vec<(&Target, &[u8])> = vec![(&bench.target, b"n"), (&bench.target, b"m")];
    let both = |access: &mut Access<'_>| {
        access.transaction(&footprint(&keys), |access| {
            put(access, &bench.target, "n", "1")?;
            put(access, &bench.target, "m", "1")
        })
    };
    let (refused, left) = bench.run_through(both, |_| bench.lose_the_map()).await;
    assert_eq!(refused, Err(unknown()));
    assert_eq!(left, 1, "the first slot was written");
    // One that fails in a later run, having written in an earlier one, has not failed.
    let bench = Bench::new().await;
    let keys: Vec<(&Target, &[u8])> = vec![(&bench.target, b"n")];
    let mut runs = 0;
    let fickle = |access: &mut Access<'_>| {
        runs += 1;
        access.transaction(&footprint(&keys), |access| {
            put(access, &bench.target, "n", "1")?;
            let refusal = Refusal::new(Code::TryAgain, "not now");
            if runs > 1 { Err(refusal.into()) } else { Ok(()) }
        })
    };
    assert_eq!(bench.run(fickle).await.0, Err(unknown()));
}

#[tokio::test(start_paused = true)]
async fn deletes_of_which_some_were_begun_are_not_answered_as_if_none_was() {
    let bench = Bench::new().await;
    bench.set("a", "1").await;
    let keys = || KEYS.iter().map(|key| key.as_bytes());
    let all = |access: &mut Access<'_>| access.remove_all(&bench.target, keys());
    let (count, left) = bench.run_through(all, |_| bench.lose_the_map()).await;
    assert_eq!((count, left), (Ok(1), 1), "all were begun and answered");
}

#[tokio::test(start_paused = true)]
async fn all_runs_of_a_command_go_by_the_clock_of_its_first() {
    let bench = Bench::new().await;
    let mut clocks = Vec::new();
    let twice = |access: &mut Access<'_>| {
        clocks.push(access.now());
        add(access, &bench.target, "n")?;
        add(access, &bench.target, "n")
    };
    let tick = |_| {
        bench.clock.fetch_add(1_000, Ordering::Relaxed);
    };
    bench.run_through(twice, tick).await.0.expect("it is answered");
    let first = clocks[0];
    assert_eq!(clocks, [first; 3]);
    // The next command has its own.
    let mut errands = Errands::default();
    for runs in 0..2 {
        let mut access = bench.access(Patience::Inline);
        access.resume(errands);
        let added = add(&mut access, &bench.target, "n");
        if runs == 1 {
            assert_eq!(added, Ok(Outcome::Integer(3)));
            access.over();
            assert!(access.now() >= first + 3_000, "{} after {first}", access.now());
        }
        errands = access.suspend();
        errands.answered().await;
        tick(0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_with_nothing_to_write_is_none_that_was_written() {
    let bench = Bench::new().await;
    let keys: Vec<(&Target, &[u8])> = vec![(&bench.target, b"n"), (&bench.target, b"m")];
    let both = |access: &mut Access<'_>| {
        access.transaction(&footprint(&keys), |access| {
            // Absent before, and again at the end.
            access.read(&bench.target, b"n", |record| assert!(record.is_none()))?;
            put(access, &bench.target, "n", "1")?;
            let delete = Update::Delete { when: When::Always };
            access.update(&bench.target, b"n", &delete, |_| ())?;
            put(access, &bench.target, "m", "1")
        })
    };
    let cut = |_| {
        bench.cluster.cut_off(2);
        bench.cluster.cut_off(3);
    };
    let (refused, left) = bench.run_through(both, cut).await;
    assert_eq!(refused.map_err(|refusal| refusal.code), Err(Code::NoQuorum));
    assert_eq!(left, 1, "it was read, and nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_watched_key_tells_of_changes_by_its_version() {
    let bench = Bench::new().await;
    bench.set("k", "1").await;
    let watched = bench.run(|access| access.watch(&bench.target, b"k")).await.0.expect("it is");
    let unchanged = || bench.run(|access| access.unchanged(&watched));
    assert_eq!(unchanged().await.0, Ok(true));
    bench.set("k", "1").await;
    assert_eq!(unchanged().await.0, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn keys_of_one_slot_are_written_only_if_what_was_looked_at_there_is_as_it_was() {
    let bench = Bench::new().await;
    bench.set("{s}lease", "mine").await;
    let watched = bench.run(|access| access.watch(&bench.target, b"{s}lease")).await.0;
    let watched = watched.expect("it is");
    let keys: Vec<(&Target, &[u8])> = vec![
        (&bench.target, b"{s}lease"),
        (&bench.target, b"{s}data"),
        (&bench.target, b"{s}more"),
    ];
    let command = |access: &mut Access<'_>| {
        access.transaction(&footprint(&keys), |access| {
            if !access.unchanged(&watched)? {
                return Ok(false);
            }
            put(access, &bench.target, "{s}data", "by the owner")?;
            put(access, &bench.target, "{s}more", "by the owner")?;
            Ok(true)
        })
    };
    // Somebody else takes it just after it was looked at, and before anything was written.
    let taken = bench.run_beside(command, async |left| {
        if left == 1 {
            let outcome = bench.cluster.at(2).set(Level::Quorum, "{s}lease", "theirs").await;
            assert!(matches!(outcome, WriteOutcome::Done { .. }), "{outcome:?}");
        }
    });
    assert_eq!(taken.await.0, Ok(false));
    assert_eq!(bench.get("{s}data").await, None);
    assert_eq!(bench.get("{s}more").await, None);
}

#[tokio::test(start_paused = true)]
async fn several_keys_of_one_slot_that_were_read_are_written_as_one() {
    let bench = Bench::new().await;
    let keys: Vec<(&Target, &[u8])> = vec![(&bench.target, b"{s}n"), (&bench.target, b"{s}m")];
    let add_both = || {
        bench.run(|access| {
            access.transaction(&footprint(&keys), |access| {
                add(access, &bench.target, "{s}n")?;
                add(access, &bench.target, "{s}m")
            })
        })
    };
    let ((first, _), (second, _), (third, _)) = tokio::join!(add_both(), add_both(), add_both());
    let mut told = [first, second, third].map(|outcome| match outcome {
        Ok(Outcome::Integer(number)) => number,
        other => panic!("{other:?}"),
    });
    told.sort_unstable();
    assert_eq!(told, [1, 2, 3]);
    assert_eq!(bench.get("{s}n").await, Some(b"3".to_vec()));
    assert_eq!(bench.get("{s}m").await, Some(b"3".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn an_event_wins_over_older_ones_and_gives_way_to_newer_ones() {
    let bench = Bench::new().await;
    let now = bench.access(Patience::Inline).now();
    let name = bench.node.name_of(&bench.target).expect("it is there");
    bench.node.catalogue.accept_event_time(&name).expect("a node that decides for all");
    bench.node.catalogue.adopt(&bench.node.map()).expect("adopted");
    let event = |ago: Millis, value: &'static str| {
        let (expiry, when) = (SetExpiry::Never, When::Always);
        let update = Update::Set { value: value.as_bytes(), expiry, when };
        let target = &bench.target;
        bench.run(move |access| {
            access.update_at(target, b"k", &update, Some(now - ago), |updated| updated.version)
        })
    };
    let version = event(1_000, "second").await.0.expect("it is the first there");
    assert_eq!(version.map(|version| version.wall_ms), Some(now - 1_000));
    let older = event(2_000, "first").await.0;
    assert_eq!(older.map_err(|refusal| refusal.code), Err(Code::Superseded));
    assert_eq!(bench.get("k").await, Some(b"second".to_vec()));
    let newer = event(500, "third").await.0;
    assert!(newer.is_ok());
    assert_eq!(bench.get("k").await, Some(b"third".to_vec()));
    let add = Update::Add { delta: 1 };
    let target = &bench.target;
    let refused = bench.run(|access| access.update_at(target, b"k", &add, Some(now), |_| ()));
    assert_eq!(refused.await.0.map_err(|refusal| refusal.code), Err(Code::BadRequest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_may_block_waits_in_place() {
    let bench = Arc::new(Bench::new().await);
    let there = Arc::clone(&bench);
    let sum = tokio::task::spawn_blocking(move || {
        let mut access = there.access(Patience::Block);
        for _ in 0..3 {
            add(&mut access, &there.target, "n").expect("it is answered");
            access.over();
        }
        access.read(&there.target, b"n", value).expect("it is answered")
    });
    assert_eq!(sum.await.expect("it ends"), Some(b"3".to_vec()));
}
