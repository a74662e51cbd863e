//! A keyspace in memory, whose copies are empty after a restart and made anew from the others.

use super::checker::Load;
use super::rig::Rig;
use crate::settings::{say, seed};

/// Clients of a scenario.
const CLIENTS: usize = 8;

fn with_cache(name: &str) -> Rig {
    let rig = Rig::of_three(name);
    let made = rig.http(1, "PUT", "/v1/keyspaces/cache", r#"{"engine":"memory"}"#);
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
