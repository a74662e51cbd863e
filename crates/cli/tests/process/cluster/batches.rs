//! Batches of one slot whose coordinator is killed while they are under way.

use super::rig::Rig;
use crate::client::{Client, encode};
use crate::reply::Reply;
use crate::settings::{number, say, seed};
use fastrand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Keys of a batch.
const KEYS: usize = 8;
/// Clients that send batches.
const CLIENTS: usize = 4;
/// Batches that a client has under way at a time.
const AT_ONCE: u64 = 16;

/// The words of a batch: its keys, each with the batch's own name as its value.
fn batch(name: &str) -> Vec<String> {
    let pairs = (0..KEYS).flat_map(|place| [key(name, place), name.to_owned()]);
    ["MSET".to_owned()].into_iter().chain(pairs).collect()
}

fn key(name: &str, place: usize) -> String {
    format!("{{{name}}}:{place}")
}

/// Sends batches until the node answers no more. The names of those that were acknowledged, and
/// of those that were not answered.
fn send(mut client: Client, prefix: &str, acknowledged: &AtomicU64) -> (Vec<String>, Vec<String>) {
    let (mut done, mut open) = (Vec::new(), Vec::new());
    for first in (0..).step_by(AT_ONCE as usize) {
        let names: Vec<_> = (first..first + AT_ONCE).map(|at| format!("{prefix}:{at}")).collect();
        let mut bytes = Vec::new();
        names.iter().for_each(|name| encode(&batch(name), &mut bytes));
        let mut alive = client.send(&bytes).is_ok();
        for name in names {
            let answer = if alive { client.read().ok() } else { None };
            alive = answer.is_some();
            match answer {
                Some(answer) if answer == Reply::ok() => {
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                    done.push(name);
                }
                _ => open.push(name),
            }
        }
        if !alive {
            break;
        }
    }
    (done, open)
}

/// How many keys of a batch are there, as a node says at this level.
fn there(client: &mut Client, level: &str, name: &str) -> usize {
    let keys: Vec<_> = (0..KEYS).map(|place| key(name, place)).collect();
    let answer = client.line(&format!("AT {level} MGET {}", keys.join(" ")));
    let answer = answer.expect("a node that runs answers");
    let Reply::Array(values) = &answer else { panic!("{name}: {answer:?}") };
    let is_there = |value: &&Reply| {
        assert!(value.is_nil() || value.bulk() == Some(name.as_bytes()), "{name}: {answer:?}");
        !value.is_nil()
    };
    values.iter().filter(is_there).count()
}

#[test]
fn a_batch_is_there_whole_or_not_at_all_when_the_node_that_took_it_is_killed() {
    let kills = number("SHOAL_BATCH_KILLS", 2, 6);
    let mut rng = Rng::with_seed(seed("batches"));
    let mut rig = Rig::of_three("batches");
    let (mut whole, mut taken, mut none) = (0, 0, 0);
    for kill in 0..kills {
        let node = rng.usize(1..=3);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let clients = (0..CLIENTS).map(|number| {
            let (client, prefix) = (rig.client(node), format!("b{kill}:{number}"));
            let acknowledged = Arc::clone(&acknowledged);
            std::thread::spawn(move || send(client, &prefix, &acknowledged))
        });
        let clients: Vec<_> = clients.collect();
        let wanted = rng.u64(50..300);
        rig.wait("batches are taken", || acknowledged.load(Ordering::Relaxed) >= wanted);
        rig.kill(node);
        let sent = clients.into_iter().map(|client| client.join().expect("it found nothing wrong"));
        let (done, open): (Vec<_>, Vec<_>) = sent.unzip();
        let (done, open) = (done.concat(), open.concat());
        let others = (1..=3).filter(|other| *other != node);
        for mut client in others.map(|other| rig.client(other)) {
            for name in &done {
                assert_eq!(there(&mut client, "quorum", name), KEYS, "{name} was acknowledged");
            }
            for name in &open {
                // What was under way between nodes may still arrive.
                rig.wait(&format!("{name} is whole or not there"), || {
                    [0, KEYS].contains(&there(&mut client, "quorum", name))
                });
            }
        }
        rig.start(&[node]);
        rig.wait_whole(&[1, 2, 3]);
        let mut clients = [1, 2, 3].map(|node| rig.client(node));
        for name in &done {
            rig.wait(&format!("every copy has {name}"), || {
                clients.iter_mut().all(|client| there(client, "one", name) == KEYS)
            });
        }
        for name in &open {
            // What some copies have taken becomes known to the others in its time.
            let held = clients.each_mut().map(|client| there(client, "one", name));
            assert!(held.iter().all(|held| [0, KEYS].contains(held)), "{name} is torn: {held:?}");
            *(if held.contains(&KEYS) { &mut taken } else { &mut none }) += 1;
        }
        whole += done.len();
    }
    say(&format!(
        "cluster, batches: {kills} kills, {whole} acknowledged; of the others {taken} there, {none} not"
    ));
}
