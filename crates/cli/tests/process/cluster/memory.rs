//! A keyspace in memory, whose copies are empty after a restart and made anew from the others, and
//! one whose owners evict, each by itself.

use super::checker::Load;
use super::rig::Rig;
use crate::client::Client;
use crate::reply::Reply;
use crate::settings::{say, seed};
use fastrand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Clients of a scenario.
const CLIENTS: usize = 8;
/// How long is waited until a node that does not answer is tried again.
const REST: Duration = Duration::from_millis(5);

fn with_cache(name: &str) -> Rig {
    with_keyspace(name, r#"{"engine":"memory"}"#)
}

fn with_keyspace(name: &str, document: &str) -> Rig {
    let rig = Rig::of_three(name);
    let made = rig.http(1, "PUT", "/v1/keyspaces/cache", document);
    assert!(matches!(made, Some((201, _))), "{made:?}");
    for node in [1, 2, 3] {
        rig.wait(&format!("n{node} knows it"), || {
            matches!(rig.http(node, "GET", "/v1/keyspaces/cache", ""), Some((200, _)))
        });
    }
    rig.wait_whole(&[1, 2, 3]);
    rig
}

#[test]
fn a_memory_keyspace_loses_nothing_while_nodes_start_again_one_by_one() {
    let mut rig = with_cache("memory");
    let load = Load::start_in(&rig, "cache", &[1, 2, 3], CLIENTS, seed("memory"));
    for (share, node) in [(10, 1), (25, 2), (40, 3), (55, 1), (70, 2), (85, 3)] {
        load.wait_share(&rig, share);
        if share % 2 == 0 {
            rig.kill(node);
        } else {
            rig.stop(node);
        }
        load.wait(&rig, 50);
        rig.start(&[node]);
        rig.wait_whole(&[1, 2, 3]);
    }
    let mut known = load.finish(&rig);
    known.check(&rig, &[1, 2, 3]);
    say(&format!("cluster, memory: {}", known.summary()));
}

#[test]
fn a_memory_keyspace_whose_nodes_all_go_at_once_is_empty_and_says_so() {
    let mut rig = with_cache("memory-lost");
    let load = Load::start_in(&rig, "cache", &[1, 2, 3], CLIENTS, seed("memory lost"));
    load.wait(&rig, 500);
    let mut known = load.stop(&rig);
    known.check(&rig, &[1, 2, 3]);
    for node in [1, 2, 3] {
        rig.kill(node);
    }
    rig.start(&[1, 2, 3]);
    rig.wait_whole(&[1, 2, 3]);
    rig.wait("somebody says that data is lost", || {
        [1, 2, 3].into_iter().any(|node| rig.happened(node, "data_lost", "cache"))
    });
    assert!([1, 2, 3].into_iter().all(|node| !rig.happened(node, "data_lost", "default")));
    // It begins with nothing, and nothing of before comes back into what is written now.
    let load = Load::start_in(&rig, "cache", &[1, 2, 3], CLIENTS, seed("memory anew"));
    let mut known = load.finish(&rig);
    known.check(&rig, &[1, 2, 3]);
    say(&format!("cluster, memory lost: {}", known.summary()));
}

/// How much the cache holds at each node, in bytes. Of that the marks take a quarter.
const ROOM: usize = 1 << 20;
/// Bytes of what is written only to take room: a few of them fill it.
const FILLING: usize = 1 << 16;

#[test]
fn a_cache_of_several_nodes_forgets_and_never_goes_back() {
    let document = format!(
        r#"{{"engine":"memory","partitions":4,"max_memory":{ROOM},"eviction":"lru","replication":3}}"#
    );
    let mut rig = with_keyspace("evicting", &document);
    let load = Load::start_in_cache(&rig, "cache", &[1, 2, 3], CLIENTS, seed("evicting"));
    let is_over = Arc::new(AtomicBool::new(false));
    let fillers: Vec<_> =
        [1, 2, 3].map(|node| fill(rig.address(node), Arc::clone(&is_over))).into();
    for (share, node) in [(20, 1), (40, 2), (60, 3)] {
        load.wait_share(&rig, share);
        rig.kill(node);
        load.wait(&rig, 50);
        rig.start(&[node]);
        rig.wait_whole(&[1, 2, 3]);
    }
    load.wait_share(&rig, 100);
    rig.wait("every owner evicts", || [1, 2, 3].into_iter().all(|node| evicted(&rig, node) > 0));
    is_over.store(true, Ordering::Relaxed);
    fillers.into_iter().for_each(|filler| filler.join().expect("it fills"));
    let known = load.stop(&rig);
    known.judge(&rig);
    // What each owner has evicted is its own affair: nothing is brought back, nor said to differ
    // for long.
    rig.wait_whole(&[1, 2, 3]);
    let count = |node| evicted(&rig, node);
    say(&format!(
        "cluster, evicting: {}; evicted {}, {}, {}",
        known.summary(),
        count(1),
        count(2),
        count(3)
    ));
}

#[test]
fn a_keyspace_whose_replicas_are_full_says_so_changes_nothing_and_takes_removals() {
    let document =
        format!(r#"{{"engine":"memory","partitions":4,"max_memory":{ROOM},"replication":3}}"#);
    let rig = with_keyspace("full", &document);
    let value = "x".repeat(FILLING);
    let mut clients = [1, 2, 3].map(|node| rig.client(node));
    let mut ask = |number: usize, line: &str| {
        let client = &mut clients[number % 3];
        assert_eq!(client.line("USE cache").expect("it answers"), Reply::ok());
        client.line(line).expect("it answers")
    };
    // Owners may meet their bounds one after the other: then some have taken a write.
    let mut kept = Vec::new();
    let mut refused = 0;
    for number in 0..20 * ROOM / FILLING {
        match ask(number, &format!("SET filling:{number} {value}")) {
            reply if reply == Reply::ok() => kept.push(number),
            reply => {
                let error = reply.error().expect("a refusal").to_owned();
                assert!(error.contains("have met their bound on memory"), "{error}");
                refused += usize::from(error.starts_with("OOM "));
            }
        }
    }
    assert!(!kept.is_empty() && refused > 0, "{} kept, {refused} refused", kept.len());
    for (number, line) in [(0, "APPEND"), (1, "SETNX"), (2, "MSETNX")] {
        let reply = ask(number, &format!("{line} another {value}"));
        let error = reply.error().expect("a refusal");
        assert!(error.starts_with("OOM "), "{line}: {error}");
    }
    assert_eq!(ask(0, "EXISTS another").integer(), Some(0));
    for number in &kept {
        assert_eq!(
            ask(*number, &format!("STRLEN filling:{number}")).integer(),
            Some(FILLING as i64)
        );
    }
    for number in &kept {
        assert_eq!(ask(*number, &format!("DEL filling:{number}")).integer(), Some(1));
    }
    rig.wait("there is room again", || ask(0, &format!("SET another {value}")) == Reply::ok());
    say(&format!("cluster, full: {} kept, {refused} refused for certain", kept.len()));
}

/// Takes room in the cache through a node, as often as it answers.
fn fill(address: String, is_over: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut client: Option<Client> = None;
        let mut rng = Rng::with_seed(1);
        while !is_over.load(Ordering::Relaxed) {
            let mut connected = client.take().or_else(|| Client::connect(&address).ok());
            let Some(held) = connected.as_mut() else {
                std::thread::sleep(REST);
                continue;
            };
            let key = format!("filling:{}", rng.u8(..64));
            let value = "x".repeat(FILLING);
            let done =
                held.line("USE cache").and_then(|_| held.line(&format!("SET {key} {value}")));
            client = connected.filter(|_| done.is_ok());
        }
    })
}

fn evicted(rig: &Rig, node: usize) -> u64 {
    let metrics = rig.http(node, "GET", "/metrics", "").map(|(_, text)| text).unwrap_or_default();
    let line = metrics.lines().find_map(|line| line.strip_prefix("shoal_evicted_keys"));
    line.and_then(|rest| rest.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}
