//! From one node to three, and through the death of the first.

use super::checker::Load;
use super::rig::Rig;
use crate::client::ask_all;
use crate::reply::Reply;
use crate::settings::{number, seed};

/// A key that is written while the first node is alone.
fn early(key: usize) -> String {
    format!("early:{key}")
}

/// Whether an answer is what is stored under a key of this number.
fn is_value(key: usize, answer: &Reply) -> bool {
    answer.bulk() == Some(key.to_string().as_bytes())
}

/// Asks once more where the first answer is an error; any other must fit.
#[track_caller]
fn at_most_twice(
    rig: &Rig,
    node: usize,
    keys: usize,
    line: impl Fn(usize) -> String,
    fits: impl Fn(usize, &Reply) -> bool,
) {
    let mut client = rig.client(node);
    let judge = |key, answer: &Reply| {
        let fits = fits(key, answer);
        assert!(fits || answer.error().is_some(), "n{node}, {key}: {answer:?}\n{}", rig.logs());
        fits
    };
    let others = ask_all(&mut client, 0..keys, &line, judge);
    let others = ask_all(&mut client, others, &line, judge);
    assert!(others.is_empty(), "n{node}: refused twice are {others:?}\n{}", rig.logs());
}

#[test]
fn one_node_becomes_three_under_load_and_the_first_may_die() {
    let keys = number("SHOAL_KEYS", 1_000, 100_000) as usize;
    let mut rig = Rig::new("growing");
    rig.start(&[1]);
    let set = |key| format!("SET {} {key}", early(key));
    let refused = ask_all(&mut rig.client(1), 0..keys, set, |_, answer| *answer == Reply::ok());
    assert!(refused.is_empty(), "a node alone takes everything");
    let load = Load::start(&rig, &[1], 3, seed("growing"));
    load.wait(&rig, 50);
    rig.start(&[2, 3]);
    rig.wait_whole(&[1, 2, 3]);
    load.wait(&rig, 50);
    let mut known = load.stop(&rig);
    for node in [1, 2, 3] {
        check_early(&rig, node, keys);
        assert!(rig.ask(node, "DBSIZE").integer() >= Some(keys as i64), "n{node} counts all");
    }
    known.check(&rig, &[1, 2, 3]);

    rig.kill(1);
    for node in [2, 3] {
        check_early(&rig, node, keys);
    }
    known.check(&rig, &[2, 3]);
    let set_late = |key| format!("SET late:{key} {key}");
    at_most_twice(&rig, 2, keys / 10, set_late, |_, answer| *answer == Reply::ok());

    rig.start(&[1]);
    rig.wait_whole(&[1, 2, 3]);
    let (mut client, mut missed) = (rig.client(1), (0..keys / 10).collect::<Vec<_>>());
    rig.wait("n1 itself holds what it missed", || {
        let get = |key| format!("AT one GET late:{key}");
        missed = ask_all(&mut client, std::mem::take(&mut missed), get, is_value);
        missed.is_empty()
    });
    known.check(&rig, &[1, 2, 3]);
}

fn check_early(rig: &Rig, node: usize, keys: usize) {
    at_most_twice(rig, node, keys, |key| format!("GET {}", early(key)), is_value);
}
